"""Which bytes of a file a browser asks for (RFC 9110, section 14), as it does to start in the middle of a video."""

from __future__ import annotations

import re
from dataclasses import dataclass

_ONE = re.compile(r"bytes\s*=\s*(\d{0,18})\s*-\s*(\d{0,18})\s*", re.IGNORECASE)


@dataclass(frozen=True)
class Part:
    """Bytes `start` up to and without `end`, of a file of `size`.

    Attributes:
        start: The first.
        end: The one after the last.
        size: Of the file.
        asked: Whether a range was asked for, so that the answer is 206 even where it is all of the file.
    """

    start: int
    end: int
    size: int
    asked: bool = True

    @property
    def status(self) -> int:
        """HTTP status of an answer with these bytes."""
        return 206 if self.asked else 200

    def headers(self) -> dict[str, str]:
        """Return the headers of an answer with these bytes."""
        told = {"Content-Length": str(self.end - self.start), "Accept-Ranges": "bytes"}
        return {**told, "Content-Range": f"bytes {self.start}-{self.end - 1}/{self.size}"} if self.asked else told


def wanted(header: str | None, size: int) -> Part | None:
    """Return the bytes that a ``Range`` header asks for; None where there are no such bytes (416).

    A header that is no range of bytes, or asks for several, is left out, as the RFC allows: the answer is the file.

    Args:
        header: The header's value, or None.
        size: Bytes of the file.
    """
    whole = Part(0, size, size, asked=False)
    found = _ONE.fullmatch(header.strip()) if header else None
    if found is None or not (found[1] or found[2]):
        return whole
    if not found[1]:
        last = int(found[2])
        return Part(max(0, size - last), size, size) if last and size else None
    start, end = int(found[1]), int(found[2]) + 1 if found[2] else size
    if found[2] and end <= start:
        return whole
    return Part(start, min(end, size), size) if start < size else None
