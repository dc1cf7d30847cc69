"""Kind, size and length of a picture or clip, from its bytes. Needs PyAV and Pillow."""

from __future__ import annotations

import io
from dataclasses import dataclass
from fractions import Fraction

import av
from PIL import Image

from airflow_provider_grokvideo.emulator.recipe import FPS

_PICTURES = ("JPEG", "PNG", "WEBP")


@dataclass(frozen=True)
class ClipProbe:
    """What bytes hold: ``frames`` counts 1/24 s and is 0 for a picture."""

    kind: str
    width: int
    height: int
    frames: int = 0
    audio: bool = False


def probe(data: bytes) -> ClipProbe | None:
    """Return what the bytes are, or None when they are neither a JPEG, PNG or WebP nor a decodable MP4."""
    return _clip(data) if data[4:8] == b"ftyp" else _picture(data)


def _picture(data: bytes) -> ClipProbe | None:
    try:
        with Image.open(io.BytesIO(data), formats=_PICTURES) as picture:
            picture.load()
            return ClipProbe("image", picture.width, picture.height)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def _clip(data: bytes) -> ClipProbe | None:
    try:
        with av.open(io.BytesIO(data), "r", format="mp4") as container:
            if not container.streams.video:
                return None
            stream = container.streams.video[0]
            if next(container.decode(stream), None) is None:
                return None
            length = _seconds(container, stream)
            audio = bool(container.streams.audio)
            return ClipProbe("video", stream.width, stream.height, max(1, round(length * FPS)), audio)
    except (av.FFmpegError, ValueError):
        return None


def _seconds(container: av.container.InputContainer, stream: av.VideoStream) -> Fraction:
    if stream.duration is not None and stream.time_base is not None:
        return stream.duration * stream.time_base
    if stream.frames and stream.average_rate:
        return Fraction(stream.frames) / stream.average_rate
    return Fraction(container.duration or 0, 1_000_000)
