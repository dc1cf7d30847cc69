"""File formats by their first bytes, whatever the name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["video", "image", "audio", "unknown"]

HEAD_BYTES = 64
"""Bytes of a file that :func:`sniff` needs."""


@dataclass(frozen=True)
class Format:
    """A file format: its kind, its MIME type, and its name in a sentence, with its article."""

    kind: Kind
    mime: str
    label: str


MP4 = Format("video", "video/mp4", "an MP4 video")
MP4_AUDIO = Format("audio", "audio/mp4", "an MP4 file with sound only")
PNG = Format("image", "image/png", "a PNG image")
JPEG = Format("image", "image/jpeg", "a JPEG image")
WEBP = Format("image", "image/webp", "a WebP image")
WAV = Format("audio", "audio/wav", "a WAV audio file")
MP3 = Format("audio", "audio/mpeg", "an MP3 audio file")
EMPTY = Format("unknown", "application/x-empty", "an empty file")
UNKNOWN = Format("unknown", "application/octet-stream", "a file of an unknown kind")

_QUICKTIME = Format("video", "video/quicktime", "a QuickTime video")
_BRANDS = {
    b"qt  ": _QUICKTIME,
    b"M4A ": MP4_AUDIO,
    b"M4B ": MP4_AUDIO,
    b"heic": Format("image", "image/heic", "a HEIC image"),
    b"heix": Format("image", "image/heic", "a HEIC image"),
    b"mif1": Format("image", "image/heif", "a HEIF image"),
    b"avif": Format("image", "image/avif", "an AVIF image"),
    b"avis": Format("image", "image/avif", "an AVIF image"),
}
_RIFF = {b"WAVE": WAV, b"WEBP": WEBP, b"AVI ": Format("video", "video/x-msvideo", "an AVI video")}
_MAGIC: tuple[tuple[bytes, Format], ...] = (
    (b"\x89PNG\r\n\x1a\n", PNG),
    (b"\xff\xd8\xff", JPEG),
    (b"GIF8", Format("image", "image/gif", "a GIF image")),
    (b"BM", Format("image", "image/bmp", "a BMP image")),
    (b"\x1aE\xdf\xa3", Format("video", "video/webm", "a WebM or Matroska video")),
    (b"ID3", MP3),
    (b"OggS", Format("audio", "audio/ogg", "an Ogg file")),
    (b"fLaC", Format("audio", "audio/flac", "a FLAC audio file")),
    (b"%PDF", Format("unknown", "application/pdf", "a PDF document")),
    (b"PK\x03\x04", Format("unknown", "application/zip", "a ZIP archive")),
    (b"\x1f\x8b", Format("unknown", "application/gzip", "gzip data")),
)
_MARKUP: tuple[tuple[bytes, Format], ...] = (
    (b"<?xml", Format("unknown", "application/xml", "an XML document")),
    (b"<!doctype", Format("unknown", "text/html", "a web page")),
    (b"<html", Format("unknown", "text/html", "a web page")),
    (b"{", Format("unknown", "application/json", "a JSON document")),
)


def sniff(head: bytes) -> Format:
    """Return a file's format by its beginning; 64 bytes are enough.

    ISO media files (MP4, QuickTime, HEIC, ...) are told apart by their brand only; whether an MP4 has a picture at all
    is for its boxes to say.
    """
    if not head:
        return EMPTY
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12], MP4)
    if head[4:8] in (b"moov", b"mdat", b"wide", b"free", b"skip"):
        return _QUICKTIME
    if head[:4] == b"RIFF":
        return _RIFF.get(head[8:12], UNKNOWN)
    for magic, found in _MAGIC:
        if head.startswith(magic):
            return found
    # ADTS has layer bits 00, MPEG audio layer III has 01.
    if len(head) > 1 and head[0] == 0xFF and head[1] & 0xE6 == 0xE2:
        return MP3
    if len(head) > 1 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0:
        return Format("audio", "audio/aac", "an AAC audio file")
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return next((found for magic, found in _MARKUP if text.startswith(magic)), UNKNOWN)
