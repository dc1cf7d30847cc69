"""Names of files: temporary ones, their longest, their content types."""

from __future__ import annotations

import hashlib
import secrets


def part_name(name: str) -> str:
    """Return a hidden and unique temporary name for `name`."""
    return hidden(name, f".{secrets.token_hex(4)}.part")


def hidden(name: str, suffix: str) -> str:
    """Return the name of a helper file of `name`: hidden, and short enough if `name` itself is."""
    plain = f".{name}{suffix}"
    if len(plain.encode()) <= LONGEST_NAME:
        return plain
    digest = hashlib.sha256(name.encode()).hexdigest()[:16]
    return f".{shortened(name, 120)}~{digest}{suffix}"


def shortened(text: str, most: int) -> str:
    """Return the beginning of a text with at most `most` bytes of UTF-8."""
    return text.encode()[:most].decode(errors="ignore")


LARGEST_READ = 4 * 1024 * 1024
"""Bytes of a record that is read; ours have a few thousand, and a prompt has no published limit."""


LONGEST_NAME = 255
"""Longest file name on common filesystems, in bytes."""


LONGEST_KEY = 1024
"""Longest object name in S3, Google Cloud Storage and Azure, in bytes."""


CONTENT_TYPES = {
    ".mp4": "video/mp4",
    ".jpg": "image/jpeg",
    ".json": "application/json",
    ".jsonl": "application/x-ndjson",
    ".parquet": "application/vnd.apache.parquet",
}
"""Content types of stored objects, for browsers and players."""
