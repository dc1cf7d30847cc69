"""Structure of an MP4 file, read without decoding (ISO/IEC 14496-12).

This finds incomplete clips: every top-level box must end where the next begins, and no sample may be outside of the
data boxes. Bytes after a complete index and its data, as phones, proxies and tape-like storage append them, are
allowed.
"""

from __future__ import annotations

import bisect
import itertools
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

_LARGEST_INDEX = 64 * 1024 * 1024
"""Largest ``moov`` in bytes, which is read into memory; a clip of minutes needs some hundred kilobytes."""

_MOST_SAMPLES = 10_000_000
_PARTS_OF_A_CLIP = frozenset({b"ftyp", b"moov", b"mdat", b"moof", b"styp", b"sidx", b"mfra"})
_NEEDED = (b"ftyp", b"moov", b"mdat")
_MOST_BOXES = 100_000
"""Most top-level boxes; a fragmented file has two for each fragment."""

_MOST_TRACKS = 64

_CODECS = {
    b"avc1": "h264",
    b"avc3": "h264",
    b"hvc1": "hevc",
    b"hev1": "hevc",
    b"av01": "av1",
    b"mp4v": "mpeg4",
    b"vp08": "vp8",
    b"vp09": "vp9",
    b"apch": "prores",
    b"apcn": "prores",
}


class Broken(Exception):
    """The file is not a complete MP4; the message says why, as part of a sentence."""


@dataclass
class Structure:
    """Content of the boxes: seconds, pixels, tracks, video codec, samples of the longest track.

    `trailing` is the number of bytes after the last box.
    """

    duration: float | None = None
    width: int | None = None
    height: int | None = None
    codec: str | None = None
    handlers: set[bytes] = field(default_factory=set)
    samples: int = 0
    trailing: int = 0

    @property
    def has_video(self) -> bool:
        """Whether there is a picture track."""
        return b"vide" in self.handlers

    @property
    def has_audio(self) -> bool:
        """Whether there is a sound track."""
        return b"soun" in self.handlers


@dataclass(frozen=True)
class _Box:
    kind: bytes
    start: int
    content: int
    end: int


def walk(file: BinaryIO) -> Structure:
    """Read the structure of an MP4 file; only its box headers and its index are read.

    Raises:
        Broken: It is incomplete, lacks ``ftyp``, ``moov`` or ``mdat``, or points outside of itself.
        OSError: It cannot be read.
    """
    length = file.seek(0, os.SEEK_END)
    boxes = list(itertools.islice(_top_level(file, length), _MOST_BOXES + 1))
    if len(boxes) > _MOST_BOXES:
        raise Broken("it has more boxes than any clip needs")
    for kind in _NEEDED:
        if not any(box.kind == kind for box in boxes):
            raise Broken(f"it has no {kind.decode()} box")
    index = next(box for box in boxes if box.kind == b"moov")
    if index.end - index.content > _LARGEST_INDEX:
        raise Broken("its index is larger than any clip needs")
    file.seek(index.content)
    moov = file.read(index.end - index.content)
    data = [(box.content, box.end) for box in boxes if box.kind == b"mdat"]
    try:
        structure = _read_index(moov, data)
    except (struct.error, IndexError) as error:
        raise Broken("its index is damaged") from error
    structure.trailing = length - boxes[-1].end
    return structure


def _top_level(file: BinaryIO, length: int) -> Iterator[_Box]:
    """Yield the boxes of the file; other bytes end it, once all boxes of a clip were found."""
    at, seen = 0, set()
    while at < length:
        file.seek(at)
        head = file.read(16)
        box = _box(head, at, length) if len(head) >= 8 else None
        problem = _problem(box, at, length)
        if problem is None and box is not None:
            yield box
            seen.add(box.kind)
            at = box.end
            continue
        cut_inside = box is not None and box.kind in _PARTS_OF_A_CLIP
        # Fewer than 8 bytes may be the beginning of a further fragment, unless they are padding or a line's end.
        cut_before = b"moof" in seen and box is None and bool(head.strip(b"\0\r\n"))
        if seen.issuperset(_NEEDED) and not cut_inside and not cut_before:
            return
        raise Broken(problem or f"it is cut off at byte {length}")


def _problem(box: _Box | None, at: int, length: int) -> str | None:
    if box is None:
        return f"it is cut off at byte {length}"
    if not box.kind.isascii() or not box.kind.decode("ascii").isprintable() or box.end < box.content:
        return f"there is no MP4 box at byte {at}"
    if box.end > length:
        name = box.kind.decode("ascii")
        return f"it is cut off: its {name} box ends at byte {box.end}, the file at byte {length}"
    return None


def _box(head: bytes, at: int, end: int) -> _Box:
    size, kind = struct.unpack_from(">I4s", head)
    if size == 1:
        if len(head) < 16:
            return _Box(kind, at, at + 16, end + 1)
        return _Box(kind, at, at + 16, at + struct.unpack_from(">Q", head, 8)[0])
    return _Box(kind, at, at + 8, end if size == 0 else at + size)


def _inside(data: bytes, start: int = 0, end: int | None = None) -> Iterator[_Box]:
    at, end = start, len(data) if end is None else end
    while at + 8 <= end:
        box = _box(data[at : at + 16], at, end)
        if box.end > end or box.end < box.content:
            raise Broken("its index is damaged")
        yield box
        at = box.end


def _child(data: bytes, parent: _Box, *path: bytes) -> _Box | None:
    for kind in path:
        found = next((box for box in _inside(data, parent.content, parent.end) if box.kind == kind), None)
        if found is None:
            return None
        parent = found
    return parent


def _read_index(moov: bytes, data: list[tuple[int, int]]) -> Structure:
    structure = Structure()
    fragmented = any(box.kind == b"mvex" for box in _inside(moov))
    longest: float | None = None
    tracks = 0
    for box in _inside(moov):
        if box.kind == b"mvhd":
            structure.duration = _seconds(moov, box)
        elif box.kind == b"trak":
            _read_track(moov, box, structure)
            media = _child(moov, box, b"mdia", b"mdhd")
            seconds = None if media is None else _seconds(moov, media)
            longest = max(longest or 0.0, seconds) if seconds is not None else longest
            tracks += 1
            if tracks > _MOST_TRACKS:
                raise Broken("it has more tracks than any clip needs")
            # FFmpeg reads the tables of a fragmented file, too.
            structure.samples = max(structure.samples, _listed(moov, box) if fragmented else 0)
            if not fragmented:
                structure.samples = max(structure.samples, _check_samples(moov, box, data))
    if not structure.handlers:
        raise Broken("it has no track")
    said = structure.duration
    if longest is not None and (said is None or said > 1.1 * longest + 0.5) and not fragmented:
        # The header does not know, or promises what no track has.
        structure.duration = longest
    return structure


def _seconds(data: bytes, header: _Box) -> float | None:
    """Return the length of a movie or media header; None if it is 0 or all ones, which means unknown."""
    at = header.content
    if data[at] == 1:
        scale, ticks = struct.unpack_from(">IQ", data, at + 20)
        unknown = 2**64 - 1
    else:
        scale, ticks = struct.unpack_from(">II", data, at + 12)
        unknown = 2**32 - 1
    return float(ticks / scale) if scale and ticks not in (0, unknown) else None


def _read_track(data: bytes, track: _Box, structure: Structure) -> None:
    handler = _child(data, track, b"mdia", b"hdlr")
    if handler is None:
        raise Broken("its index is damaged")
    kind = data[handler.content + 8 : handler.content + 12]
    structure.handlers.add(kind)
    header = _child(data, track, b"tkhd")
    if kind != b"vide" or header is None or structure.codec is not None:
        return
    at = header.content + (88 if data[header.content] == 1 else 76)
    width, height = struct.unpack_from(">II", data, at)
    structure.width, structure.height = width >> 16, height >> 16
    described = _child(data, track, b"mdia", b"minf", b"stbl", b"stsd")
    if described is not None:
        code = data[described.content + 12 : described.content + 16]
        structure.codec = _CODECS.get(code, code.decode("latin-1"))


def _check_samples(data: bytes, track: _Box, places: list[tuple[int, int]]) -> int:
    """Check every chunk against the data boxes, and return the number of samples.

    This finds an incomplete data box that has no length of its own.
    """
    table = _child(data, track, b"mdia", b"minf", b"stbl")
    if table is None:
        raise Broken("its index is damaged")
    parts = {box.kind: box for box in _inside(data, table.content, table.end)}
    if not {b"stsz", b"stsc"} <= parts.keys() or not {b"stco", b"co64"} & parts.keys():
        return _listed(data, track)
    sizes = _sizes(data, parts[b"stsz"])
    wide = b"co64" in parts
    offsets = parts[b"co64" if wide else b"stco"]
    (count,) = struct.unpack_from(">I", data, offsets.content + 4)
    chunks = struct.unpack_from(f">{count}{'Q' if wide else 'I'}", data, offsets.content + 8)
    # Data boxes come in the order of their places.
    starts = [first for first, _ in places]
    for begin, samples in zip(chunks, _samples_per_chunk(data, parts[b"stsc"], count), strict=False):
        end = begin + sum(itertools.islice(sizes, samples))
        at = bisect.bisect_right(starts, begin) - 1
        if at < 0 or end > places[at][1]:
            raise Broken(f"it is cut off: a sample that ends at byte {end} is missing")
    return int(struct.unpack_from(">I", data, parts[b"stsz"].content + 8)[0])


def _listed(data: bytes, track: _Box) -> int:
    """Return how many samples a track's table claims to have, in either form (``stsz``, ``stz2``)."""
    table = _child(data, track, b"mdia", b"minf", b"stbl")
    if table is None:
        return 0
    boxes = (box for box in _inside(data, table.content, table.end) if box.kind in (b"stsz", b"stz2"))
    return max((int(struct.unpack_from(">I", data, box.content + 8)[0]) for box in boxes), default=0)


def _sizes(data: bytes, box: _Box) -> Iterator[int]:
    same, count = struct.unpack_from(">II", data, box.content + 4)
    if count > _MOST_SAMPLES:
        raise Broken("its index lists more samples than any clip has")
    if same:
        return itertools.repeat(same, count)
    return iter(struct.unpack_from(f">{count}I", data, box.content + 12))


def _samples_per_chunk(data: bytes, box: _Box, chunks: int) -> Iterator[int]:
    (count,) = struct.unpack_from(">I", data, box.content + 4)
    runs = [struct.unpack_from(">III", data, box.content + 8 + 12 * number) for number in range(count)]
    for number, (first, samples, _) in enumerate(runs):
        after = runs[number + 1][0] if number + 1 < len(runs) else chunks + 1
        for _ in range(first, min(after, chunks + 1)):
            yield samples
