"""Poster of a video: one of its first frames, as a JPEG.

FFmpeg makes it, through PyAV (the extra ``media``). A JPEG comment has the hash of its request, so that it differs
from a user's picture with the same name.
"""

from __future__ import annotations

import hashlib
import itertools
import logging
import struct
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

from airflow_provider_grokvideo.media import decoding

LONGEST_SIDE = 1280
"""Largest side of a poster in pixels; enough for a gallery."""

LARGEST = 120 * 1024
"""Largest poster in bytes: a gallery loads dozens of them."""

LARGEST_KEPT = 1024 * 1024
"""Largest poster in bytes that is copied from an earlier delivery; usual ones are far smaller."""

HEAD_BYTES = 256
"""Bytes of a JPEG that contain the request of a poster."""

MOST_READ = 8 * 1024 * 1024
"""Most bytes that are read of a remote video; some hundred thousand are usual, for index and first picture."""

_QUALITIES = (3, 5, 8, 12, 20, 31)
"""FFmpeg's quantisers of a JPEG, best first; the first that makes it small enough is taken."""

_MOST_PIXELS = 8192 * 4320
_SECONDS, _FRAMES = 1.0, 120
_CELLS, _DARK, _LIT = 32, 40, 0.02
_BRIGHT = bytes(value > _DARK for value in range(256))
"""Turns each value of a colour into whether it is bright."""
_PLAUSIBLE_ASPECTS = (Fraction(1, 4), Fraction(4))
_UNSPECIFIED = 2
"""FFmpeg's AVCOL_SPC_UNSPECIFIED; Chromium takes such a picture for BT.709 from 720 lines on, else for BT.601."""

_MARK = b"airflow-provider-grokvideo poster of "
_LOG = logging.getLogger(__name__)


def make(source: Path | BinaryIO, *, log: logging.Logger = _LOG) -> bytes | None:
    """Return the poster of a video as a JPEG; None without PyAV or where none can be made, which is logged.

    It shows the first frame of the first second that is not nearly black, or else the very first. Nearly black is a
    frame of which, reduced to 32 x 32 cells, fewer than one in fifty has a colour brighter than 40 of 255. Non-square
    pixels and the rotation of the file are applied, as a player does.

    Args:
        source: A local file, or an open file that can seek; of the latter at most :data:`MOST_READ` bytes are read.
        log: Gets a line if no poster can be made.
    """
    if not decoding.available():
        return None
    try:
        return _jpeg(_picture(source))
    except Exception as error:  # noqa: BLE001 - FFmpeg and storage raise what they like, and no poster is worth a video
        log.info("The video gets no poster: %s: %s", type(error).__name__, error)
        return None


def marked(jpeg: bytes, request_id: str) -> bytes:
    """Return a JPEG with its request in a comment; the picture is unchanged."""
    if is_poster(jpeg[:HEAD_BYTES], request_id):
        return jpeg
    comment = _mark(request_id)
    return jpeg[:2] + b"\xff\xfe" + struct.pack(">H", len(comment) + 2) + comment + jpeg[2:]


def is_poster(head: bytes, request_id: str | None = None) -> bool:
    """Return whether a file is a poster of this provider (of one request, if given), by its first bytes."""
    return head.startswith(b"\xff\xd8\xff") and (_MARK if request_id is None else _mark(request_id)) in head


def _mark(request_id: str) -> bytes:
    """Return the comment; by a hash, because an id can be an address of the storage."""
    return _MARK + hashlib.sha256(request_id.encode()).hexdigest()[:32].encode()


class _Sparing:
    """A file of which no more than some bytes are read."""

    def __init__(self, file: BinaryIO, most: int) -> None:
        self._file = file
        self._left = most

    def read(self, size: int = -1) -> bytes:
        """Read; raise where more would be read than is allowed."""
        data = self._file.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise OSError(f"its first picture is not within the {MOST_READ} bytes that are read for it")
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go elsewhere."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Say where the next read begins."""
        return self._file.tell()


def _picture(source: Path | BinaryIO) -> Any:
    """Return the frame to show, upright, with square pixels, in its final size."""
    import av

    if isinstance(source, Path):
        readable: object = str(source)
    else:
        source.seek(0)
        readable = _Sparing(source, MOST_READ)
    with av.open(readable, mode="r", **decoding.lenient(av.__version__)) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        if context.width * context.height > _MOST_PIXELS or context.codec.canonical_name not in decoding.CLIP_CODECS:
            raise ValueError(f"no poster is made of {context.codec.canonical_name}, {context.width} x {context.height}")
        context.options = {"max_pixels": str(_MOST_PIXELS)}
        frame = _shown(container.decode(stream))
        width, height = _fitting(frame.width, frame.height, stream.sample_aspect_ratio)
        return _upright(frame, width, height)


def _shown(frames: Iterator[Any]) -> Any:
    first = None
    for frame in itertools.islice(frames, _FRAMES):
        first = frame if first is None else first
        if (frame.time or 0.0) - (first.time or 0.0) > _SECONDS:
            break
        if not _is_black(frame):
            return frame
    if first is None:
        raise ValueError("it has no frame")
    return first


def _is_black(frame: Any) -> bool:
    small = frame.reformat(width=_CELLS, height=_CELLS, format="rgb24", interpolation="AREA").planes[0]
    rows, step = bytes(small), small.line_size
    marks = b"".join(rows[start : start + 3 * _CELLS] for start in range(0, _CELLS * step, step)).translate(_BRIGHT)
    lit = sum(map(any, zip(marks[::3], marks[1::3], marks[2::3], strict=True)))
    return lit < _LIT * _CELLS**2


def _fitting(width: int, height: int, pixel_aspect: Fraction | None) -> tuple[int, int]:
    least, most = _PLAUSIBLE_ASPECTS
    stretch = pixel_aspect if pixel_aspect and least <= pixel_aspect <= most else Fraction(1)
    wide = width * stretch
    scale = min(Fraction(1), LONGEST_SIDE / max(wide, Fraction(height)))
    return _even(wide * scale), _even(height * scale)


def _even(length: Fraction) -> int:
    return max(2, 2 * round(length / 2))


def _upright(frame: Any, width: int, height: int) -> Any:
    """Scale, convert to what a JPEG holds (BT.601, full range), and turn as the file asks for."""
    turns = {90: ["transpose=cclock"], 180: ["hflip", "vflip"], 270: ["transpose=clock"]}
    # PyAV 14.0 does not tell.
    turn = turns.get(getattr(frame, "rotation", 0) % 360)
    untagged_hd = frame.colorspace == _UNSPECIFIED and frame.height >= 720
    upright = frame.reformat(
        width=width,
        height=height,
        format="yuvj420p",
        interpolation="AREA",
        src_colorspace="ITU709" if untagged_hd else None,
        dst_colorspace="ITU601",
        dst_color_range="JPEG",
    )
    return _filtered(upright, turn) if turn else upright


def _filtered(frame: Any, turn: list[str]) -> Any:
    from av.filter import Graph

    graph = Graph()
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1, 25))
    nodes = [source, *(graph.add(*each.split("=")) for each in turn), graph.add("buffersink")]
    for one, next_ in itertools.pairwise(nodes):
        one.link_to(next_)
    graph.configure()
    frame.pts = 0
    graph.push(frame)
    return graph.pull()


def _jpeg(frame: Any) -> bytes:
    data = b""
    for quality in _QUALITIES:
        data = _encoded(frame, quality)
        if len(data) <= LARGEST:
            break
    return data


def _encoded(frame: Any, quality: int) -> bytes:
    import av

    encoder: Any = av.CodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt = frame.width, frame.height, "yuvj420p"
    encoder.time_base = Fraction(1, 25)
    encoder.options = {"flags": "+bitexact", "qmin": str(quality), "qmax": str(quality)}
    frame.pts = 0
    return b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)])
