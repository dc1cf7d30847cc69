"""Inspection of media files by their content.

It checks the input files of a request before the purchase, and the downloaded video before it is delivered.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Literal

from airflow_provider_grokvideo.media import boxes, decoding, headers, sniffing
from airflow_provider_grokvideo.media.sniffing import Kind

Checked = Literal["decoded", "structure"]


@dataclass(frozen=True)
class Probe:
    """A media file and its properties.

    Attributes:
        kind: ``video``, ``image``, ``audio`` or ``unknown``.
        mime: Its MIME type by content, such as ``video/mp4``.
        label: Its type in a sentence, such as "a PNG image".
        bytes: Its size.
        duration: Seconds; None for images and if unknown.
        width: Pixels.
        height: Pixels.
        has_audio: Whether a video has a sound track; None if unknown.
        codec: Video codec (or else audio codec) by FFmpeg's names: ``h264``, ``hevc``, ``av1``, ...
        checked: ``decoded`` if every frame was decoded, ``structure`` if only headers and lengths were checked.
        problem: Why the file is not complete, as part of a sentence; None for a good one.
        odd: Warnings about a complete file, as parts of sentences.
        odd_size: Why it was not decoded although PyAV is installed: more pixels or samples than a clip, another codec.
    """

    kind: Kind
    mime: str
    label: str
    bytes: int
    duration: float | None = None
    width: int | None = None
    height: int | None = None
    has_audio: bool | None = None
    codec: str | None = None
    checked: Checked = "structure"
    problem: str | None = None
    odd: tuple[str, ...] = ()
    odd_size: str | None = None

    @property
    def container(self) -> str:
        """The format's short name, the second half of the MIME type."""
        return self.mime.partition("/")[2]


def probe(path: Path, *, decode: bool = True) -> Probe:
    """Inspect a file: format by its first bytes, then lengths and headers, then, with PyAV, every frame.

    Images are not decoded: their headers show the size and whether they are complete, and FFmpeg refuses variants that
    browsers and xAI accept. Without the extra ``media`` videos are checked by their boxes and MP3s not at all.

    Args:
        path: A local file.
        decode: Whether to decode if PyAV is installed.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(sniffing.HEAD_BYTES)
    format_ = sniffing.sniff(head)
    found = Probe(format_.kind, format_.mime, format_.label, path.stat().st_size)
    if format_ == sniffing.EMPTY:
        return replace(found, problem="it is empty")
    if found.kind == "image":
        return _with_header(found, headers.read(path, format_))
    if format_ == sniffing.WAV:
        found = _with_header(found, headers.read(path, format_))
    elif format_ in (sniffing.MP4, sniffing.MP4_AUDIO):
        with path.open("rb") as file:
            found = _with_boxes(found, file)
    if found.problem is None and not found.odd_size and found.kind in ("video", "audio") and decode:
        return _decoded(found, path) if decoding.available() else found
    return found


def probe_structure(file: BinaryIO) -> Probe:
    """Inspect a remote file as :func:`probe`, but only the boxes of an MP4."""
    head = file.read(sniffing.HEAD_BYTES)
    format_ = sniffing.sniff(head)
    found = Probe(format_.kind, format_.mime, format_.label, file.seek(0, os.SEEK_END))
    if format_ == sniffing.EMPTY:
        return replace(found, problem="it is empty")
    return _with_boxes(found, file) if format_ in (sniffing.MP4, sniffing.MP4_AUDIO) else found


def _with_header(found: Probe, header: headers.Header) -> Probe:
    return replace(
        found,
        width=header.width,
        height=header.height,
        duration=header.duration,
        codec=header.codec,
        problem=header.problem,
    )


def _with_boxes(found: Probe, file: BinaryIO) -> Probe:
    try:
        structure = boxes.walk(file)
    except boxes.Broken as error:
        return replace(found, problem=str(error))
    format_ = sniffing.MP4 if structure.has_video else sniffing.MP4_AUDIO
    return replace(
        found,
        kind=format_.kind,
        mime=format_.mime,
        label=format_.label,
        duration=structure.duration,
        width=structure.width,
        height=structure.height,
        has_audio=structure.has_audio,
        codec=structure.codec,
        odd=(f"it has {structure.trailing} bytes after its last box",) if structure.trailing else (),
        odd_size=_odd_size(structure),
    )


def _odd_size(structure: boxes.Structure) -> str | None:
    """Return why a video is too large to be decoded; None if it is not."""
    pixels = (structure.width or 0) * (structure.height or 0)
    if pixels > decoding.MOST_PIXELS:
        return f"its frames have {structure.width} x {structure.height} pixels"
    if structure.samples > decoding.MOST_SAMPLES and structure.has_video:
        return f"it has {structure.samples} samples"
    if structure.has_video and structure.codec is not None and structure.codec not in decoding.CLIP_CODECS:
        return f"its codec is {structure.codec}"
    return None


def _decoded(found: Probe, path: Path) -> Probe:
    try:
        seen = decoding.decode(path)
    except decoding.TooMuch as error:
        return replace(found, odd_size=str(error))
    except decoding.Undecodable as error:
        return replace(found, checked="decoded", problem=f"it cannot be decoded: {error}")
    return replace(
        found,
        duration=seen.duration if seen.duration is not None else found.duration,
        width=seen.width,
        height=seen.height,
        has_audio=seen.has_audio,
        codec=seen.codec,
        checked="decoded",
    )
