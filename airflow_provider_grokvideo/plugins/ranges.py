"""Byte ranges of HTTP requests (RFC 9110, section 14)."""

from __future__ import annotations

import re
from dataclasses import dataclass

_ONE = re.compile(r"bytes\s*=\s*(\d{0,18})\s*-\s*(\d{0,18})\s*", re.IGNORECASE)


@dataclass(frozen=True)
class ByteRange:
    """Bytes `start` up to and without `end`, of a file of `size`.

    Attributes:
        start: The first.
        end: The one after the last.
        size: Of the file.
        asked: Whether the request has a range, so that the status is 206 even for the whole file.
    """

    start: int
    end: int
    size: int
    asked: bool = True

    @property
    def status(self) -> int:
        """HTTP status of a response with these bytes."""
        return 206 if self.asked else 200

    def headers(self) -> dict[str, str]:
        """Return the headers of a response with these bytes."""
        told = {"Content-Length": str(self.end - self.start), "Accept-Ranges": "bytes"}
        return {**told, "Content-Range": f"bytes {self.start}-{self.end - 1}/{self.size}"} if self.asked else told


def wanted(header: str | None, size: int) -> ByteRange | None:
    """Return the bytes of a ``Range`` header; None if the file has no such bytes (416).

    An invalid header, or one with several ranges, is ignored, as the RFC allows: the response is the whole file.

    Args:
        header: The header's value, or None.
        size: Bytes of the file.
    """
    whole = ByteRange(0, size, size, asked=False)
    found = _ONE.fullmatch(header.strip()) if header else None
    if found is None or not (found[1] or found[2]):
        return whole
    if not found[1]:
        last = int(found[2])
        return ByteRange(max(0, size - last), size, size) if last and size else None
    start, end = int(found[1]), int(found[2]) + 1 if found[2] else size
    if found[2] and end <= start:
        return whole
    return ByteRange(start, min(end, size), size) if start < size else None
