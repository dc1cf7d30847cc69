"""Headers of image and sound files: pixels, seconds, and whether the file is complete."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from airflow_provider_grokvideo.media.sniffing import JPEG, PNG, WAV, WEBP, Format


@dataclass(frozen=True)
class Header:
    """Pixels or seconds, if the format has them, and the problem of the file, as part of a sentence."""

    width: int | None = None
    height: int | None = None
    duration: float | None = None
    codec: str | None = None
    problem: str | None = None


CUT_OFF = "it is cut off"


def read(path: Path, format_: Format) -> Header:
    """Read the header of a PNG, JPEG, WebP or WAV file; other formats have no properties here.

    Raises:
        OSError: The file cannot be read.
    """
    readers = {PNG: _png, JPEG: _jpeg, WEBP: _webp, WAV: _wav}
    reader = readers.get(format_)
    if reader is None:
        return Header()
    with path.open("rb") as file:
        length = file.seek(0, os.SEEK_END)
        file.seek(0)
        try:
            return reader(file, length)
        except (struct.error, IndexError):
            return Header(problem=CUT_OFF)


def _png(file: BinaryIO, length: int) -> Header:
    width, height = struct.unpack(">II", file.read(24)[16:24])
    at = 8
    while at + 12 <= length:
        file.seek(at)
        size, kind = struct.unpack(">I4s", file.read(8))
        at += 12 + size
        if kind == b"IEND":
            return Header(width, height, codec="png", problem=None if at <= length else CUT_OFF)
    return Header(width, height, codec="png", problem=CUT_OFF)


def _jpeg(file: BinaryIO, length: int) -> Header:
    at = 2
    width = height = None
    while True:
        file.seek(at)
        mark, kind, size = struct.unpack(">BBH", file.read(4))
        if mark != 0xFF:
            return Header(problem="its segments are damaged")
        if kind == 0xFF:
            at += 1
            continue
        # SOF0..SOF15 hold the size; C4, C8 and CC in that range are tables.
        if 0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC):
            _, height, width = struct.unpack(">BHH", file.read(5))
        if kind == 0xDA:
            break
        at += 2 + size
    # Cameras append data of their own, so the end marker need not be last.
    file.seek(at)
    problem = None if _contains(file, b"\xff\xd9") else CUT_OFF
    return Header(width, height, codec="mjpeg", problem=problem)


def _contains(file: BinaryIO, mark: bytes) -> bool:
    """Look for a mark in the rest of a file, block by block."""
    kept = b""
    while block := file.read(1024 * 1024):
        if mark in kept + block:
            return True
        kept = block[-len(mark) + 1 :]
    return False


def _webp(file: BinaryIO, length: int) -> Header:
    head = file.read(30)
    (size,) = struct.unpack("<I", head[4:8])
    problem = CUT_OFF if 8 + size > length else None
    kind = head[12:16]
    if kind == b"VP8 ":
        width, height = (side & 0x3FFF for side in struct.unpack("<HH", head[26:30]))
    elif kind == b"VP8L":
        (bits,) = struct.unpack("<I", head[21:25])
        width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    elif kind == b"VP8X":
        width, height = 1 + int.from_bytes(head[24:27], "little"), 1 + int.from_bytes(head[27:30], "little")
    else:
        return Header(problem="its picture has an unknown coding")
    return Header(width, height, codec="webp", problem=problem)


def _wav(file: BinaryIO, length: int) -> Header:
    at, rate = 12, 0
    while at + 8 <= length:
        file.seek(at)
        kind, size = struct.unpack("<4sI", file.read(8))
        if kind == b"fmt ":
            _, _, _, rate = struct.unpack("<HHII", file.read(12))
        elif kind == b"data":
            there = min(size, length - at - 8)
            # A recorder that streams leaves the length at its largest value.
            problem = CUT_OFF if there < size and size != 0xFFFFFFFF else None
            return Header(duration=there / rate if rate else None, codec="pcm", problem=problem)
        at += 8 + size + size % 2
    return Header(problem=CUT_OFF)
