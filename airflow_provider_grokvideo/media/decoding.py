"""Decoding of media files with FFmpeg, through PyAV (the extra ``media``)."""

from __future__ import annotations

import importlib.util
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DECODED_SECONDS = 120.0
"""Longest part of a clip that is decoded, in seconds; xAI's clips are shorter (contract §3.3)."""


MOST_SECONDS = 120.0
"""Seconds that decoding may take; xAI's clips take a few."""

MOST_PIXELS = 4096 * 2304
"""Largest frame that is decoded, in pixels; xAI makes 1920 x 1080 at most (contract §4), cameras 4K."""

MOST_SAMPLES = 10_000
"""Most frames of a track: two minutes at 60 per second and some; xAI makes some hundred."""

MOST_PACKETS = 4 * MOST_SAMPLES
"""Most packets of all tracks, for a file without their number in its index."""

CLIP_CODECS = frozenset({"h264", "hevc", "av1", "mpeg4", "vp8", "vp9", "prores"})
"""Video codecs that are decoded. FFmpeg has hundreds more, which are not made for clips."""


class TooMuch(Exception):
    """Decoding would take more time or memory than any clip needs; the message says why, as part of a sentence."""


class Undecodable(Exception):
    """FFmpeg cannot decode the file; the message says why, as part of a sentence."""


@dataclass(frozen=True)
class Decoded:
    """Decoded properties: seconds, pixels, sound, video codec or else audio codec."""

    duration: float | None
    width: int | None
    height: int | None
    has_video: bool
    has_audio: bool
    codec: str | None


def available() -> bool:
    """Return whether PyAV is installed."""
    try:
        return importlib.util.find_spec("av") is not None
    except (ImportError, ValueError):
        return False


def lenient(version: str) -> dict[str, Any]:
    """Return what keeps a title in an odd encoding from counting as damage; PyAV 19 has no such setting."""
    return {"metadata_errors": "ignore"} if int(version.partition(".")[0]) < 19 else {}


def decode(path: Path) -> Decoded:
    """Decode a video or a sound from beginning to end, frame by frame, in constant memory.

    All of it and not a sample: a hole in the middle is as bad as a missing end, and clips of seconds cost seconds at
    most. Frames that FFmpeg marks as damaged count as undecodable.

    Raises:
        Undecodable: There is no stream, or one of its frames cannot be decoded.
        TooMuch: It is of a size, length or codec that no clip has.
    """
    import av
    from av.error import FFmpegError

    try:
        with av.open(str(path), mode="r", **lenient(av.__version__)) as container:
            streams = [*container.streams.video[:1], *container.streams.audio[:1]]
            if not streams:
                raise Undecodable("it has neither picture nor sound")
            has_video, has_audio = bool(container.streams.video), bool(container.streams.audio)
            main = streams[0]
            context = main.codec_context
            if context is None:
                raise Undecodable("no decoder knows its codec")
            if has_video:
                _check_size(context)
                context.thread_type = "AUTO"
                # FFmpeg holds every frame against it: the index may tell another size than the pictures have.
                context.options = {"max_pixels": str(MOST_PIXELS)}
            width, height = (context.width, context.height) if has_video else (None, None)
            # The decoder's own name would be libdav1d for AV1.
            codec = context.codec.canonical_name
            known = float(container.duration / av.time_base) if container.duration else None
            end = _decode_streams(container, streams)
    except (FFmpegError, ValueError) as error:
        raise Undecodable(getattr(error, "strerror", None) or str(error) or type(error).__name__) from error
    return Decoded(known if known is not None else end, width, height, has_video, has_audio, codec)


def _check_size(context: Any) -> None:
    if context.codec.canonical_name not in CLIP_CODECS:
        raise TooMuch(f"its codec is {context.codec.canonical_name}")
    if (context.width or 0) * (context.height or 0) > MOST_PIXELS:
        raise TooMuch(f"its frames have {context.width} x {context.height} pixels")


def _decode_streams(container: object, streams: list[object]) -> float:
    frames, packets, end = 0, 0, 0.0
    until = time.monotonic() + MOST_SECONDS
    main = streams[0]
    for packet in container.demux(streams):  # type: ignore[attr-defined]
        if packet.pts is not None and float(packet.pts * packet.time_base) > DECODED_SECONDS:
            continue
        packets += 1
        if packets > MOST_PACKETS or time.monotonic() > until:
            raise TooMuch(f"decoding was stopped after {packets} packets")
        for frame in packet.decode():
            if packet.stream is not main:
                continue
            if getattr(frame, "is_corrupt", False):
                raise Undecodable(f"the frame at {frame.time or 0:.2f} s is damaged")
            frames += 1
            end = max(end, float(frame.time or 0.0))
    if not frames:
        raise Undecodable("it has no frame")
    return end
