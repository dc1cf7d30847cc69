"""How bytes that came compressed are packed: they tell it themselves, a label only where they tell nothing."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import Any

MOST_LAYERS = 4
"""How often something may be packed; two proxies that each compress make two."""

MOST_MEMBERS = 100_000
"""Streams of a gzip file that follow each other; a packer that works in blocks of 64 kB makes some thousand."""

WINDOW = {"gzip": 31, "deflate": 15, "raw deflate": -15}
"""zlib's ``wbits`` for each packing that can be unpacked here."""

HEAD = 16
"""Bytes that tell how something is packed."""

PIECE = 1024 * 1024
_READ = 64 * 1024
_GZIP = b"\x1f\x8b\x08"
_BOXES = (b"ftyp", b"styp", b"moov", b"free", b"skip", b"wide", b"mdat")


class TooManyParts(Exception):
    """More gzip members follow each other than any file has."""


def packed(head: bytes, label: str | None) -> str | None:
    """Say how a file is packed, by its first bytes, or else by its label; None if it is not."""
    if head.startswith(_GZIP):
        return "gzip"
    if head.startswith(b"\x28\xb5\x2f\xfd"):
        return "zstd"
    if head[4:8] in _BOXES:
        return None
    if _is_zlib(head):
        return "deflate"
    return {"deflate": "raw deflate", "br": "br", "zstd": "zstd", "compress": "compress"}.get(label or "")


def _is_zlib(head: bytes) -> bool:
    """Say whether bytes begin a zlib stream, of any window: method 8, at most 32 kB, and a checksum of two bytes."""
    return len(head) > 1 and head[0] & 15 == 8 and head[0] >> 4 <= 7 and int.from_bytes(head[:2], "big") % 31 == 0


def labels(label: str | None) -> list[str]:
    """Return the parts of a ``Content-Encoding``, the one that was applied last at the end."""
    parts = (part.strip().lower().removeprefix("x-") for part in (label or "").split(","))
    return [part for part in parts if part not in ("", "identity")]


def pieces(read: Callable[[int], bytes], window: int) -> Iterator[bytes]:
    """Yield what is in a packed file, member by member, in pieces; bytes behind the last member are left out.

    Raises:
        EOFError: The last member is cut off; what is there was yielded.
        zlib.error: It is damaged.
        TooManyParts: It has more members than any file.
    """
    rest = b""
    for _ in range(MOST_MEMBERS):
        unpacker: Any = zlib.decompressobj(window)
        while not unpacker.eof:
            chunk = unpacker.unconsumed_tail or rest or read(_READ)
            rest = b""
            if not chunk:
                raise EOFError("it is cut off")
            yield unpacker.decompress(chunk, PIECE)
        rest = _next_member(read, unpacker.unused_data)
        if not rest:
            return
    raise TooManyParts(f"more than {MOST_MEMBERS} parts")


def _next_member(read: Callable[[int], bytes], rest: bytes) -> bytes:
    """Return the beginning of another gzip member; empty if none follows."""
    if len(rest) < len(_GZIP):
        rest += read(_READ)
    return rest if rest.startswith(_GZIP) else b""
