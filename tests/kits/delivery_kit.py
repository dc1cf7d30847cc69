"""Makes real files and answers of a real server."""

from __future__ import annotations

import io
import math
import os
import struct
import threading
import wave
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import av

WITHOUT_AV = """
import sys

class NotInstalled:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "av":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, NotInstalled())
"""
"""Code that makes an interpreter one without PyAV."""


def make_video(
    path: Path,
    *,
    seconds: float = 2.0,
    size: tuple[int, int] = (64, 36),
    fps: int = 12,
    codec: str = "libx264",
    sound: bool = True,
    **options: str,
) -> Path:
    """Render a clip of moving noise, so that damage to it cannot go unnoticed."""
    noise = os.urandom(8192)
    with av.open(str(path), "w", options=options) as container:
        picture = container.add_stream(codec, rate=fps)
        picture.width, picture.height = size
        picture.pix_fmt = "yuv420p"
        audio = container.add_stream("aac", rate=44100) if sound else None
        for number in range(round(seconds * fps)):
            frame = av.VideoFrame(*size, "yuv420p")
            for plane in frame.planes:
                rows = (noise[(9 * row + 5 * number) % 4096 :][: plane.line_size] for row in range(plane.height))
                plane.update(b"".join(rows))
            frame.pts, frame.time_base = number, Fraction(1, fps)
            container.mux(picture.encode(frame))
        container.mux(picture.encode())
        if audio is not None:
            for start in range(0, round(seconds * 44100), 1024):
                sound_frame = av.AudioFrame("fltp", "stereo", 1024)
                for plane in sound_frame.planes:
                    plane.update(bytes(plane.buffer_size))
                sound_frame.sample_rate, sound_frame.pts = 44100, start
                container.mux(audio.encode(sound_frame))
            container.mux(audio.encode())
    return path


@dataclass(frozen=True)
class Media:
    """Files of many kinds; two seconds long where they have a length."""

    folder: Path

    def __getattr__(self, name: str) -> Path:
        return next(self.folder.glob(f"{name}.*"))


def make_wav(seconds: float) -> bytes:
    """Return a WAV file with a tone."""
    into = io.BytesIO()
    with wave.open(into, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(b"".join(struct.pack("<h", int(9000 * math.sin(n / 5))) for n in range(int(seconds * 8000))))
    return into.getvalue()


def make_tone(container: Any, codec: str) -> None:
    """Write two seconds of silence into an open container."""
    stream = container.add_stream(codec, rate=44100)
    for start in range(0, 2 * 44100, 1024):
        frame = av.AudioFrame("fltp", "stereo", 1024)
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        frame.sample_rate, frame.pts = 44100, start
        container.mux(stream.encode(frame))
    container.mux(stream.encode())


Answer = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class Server:
    """A file server on loopback that does what its routes say and remembers what it was asked."""

    routes: dict[str, Answer | list[Answer]] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)
    port: int = 0

    def url(self, path: str) -> str:
        """Return the address of a route."""
        return f"http://127.0.0.1:{self.port}{path}"

    def paths(self) -> list[str]:
        """Return what was asked for, in order, without queries."""
        return [path.partition("?")[0] for path, _ in self.asked]

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Answer by the route; of a list the first is used up, the last stays."""
        self.asked.append((request.path, {name.lower(): value for name, value in request.headers.items()}))
        route = self.routes[request.path.partition("?")[0]]
        if isinstance(route, list):
            route = route.pop(0) if len(route) > 1 else route[0]
        route(request)


def body(data: bytes, kind: str | None = "video/mp4", status: int = 200, **headers: str) -> Answer:
    """Answer with a body and its length."""

    def send(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        if kind:
            request.send_header("Content-Type", kind)
        if "content_length" not in headers:
            request.send_header("Content-Length", str(len(data)))
        for name, value in headers.items():
            request.send_header(name.replace("_", "-"), value)
        request.end_headers()
        request.wfile.write(data)

    return send


def redirect(where: str, status: int = 302) -> Answer:
    """Answer with a redirect."""
    return body(b"", status=status, location=where, set_cookie="session=abc")


def ranged(data: bytes, etag: str | None = '"v1"', first: int | None = None) -> Answer:
    """Answer like an object store; break off after `first` bytes of a whole answer."""

    def send(request: BaseHTTPRequestHandler) -> None:
        asked = request.headers.get("Range")
        matches = request.headers.get("If-Range") in (None, etag)
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and matches else 0
        request.send_response(206 if start else 200)
        request.send_header("Content-Type", "video/mp4")
        request.send_header("Content-Length", str(len(data) - start))
        if start:
            request.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        if etag:
            request.send_header("ETag", etag)
        request.end_headers()
        request.wfile.write(data[start:] if start or first is None else data[:first])

    return send
