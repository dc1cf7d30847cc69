"""What the tests of the emulator share: a plain HTTP client for it, a poll into MP4s, and a place to upload to."""

from __future__ import annotations

import base64
import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import av
import httpx
from PIL import Image

from airflow_provider_grokvideo.emulator import Emulator

CLASSIC = "grok-imagine-video"
NEW = "grok-imagine-video-1.5"
LITE = "grok-imagine-video-1.5-lite"

GENERATIONS = "/videos/generations"
EDITS = "/videos/edits"
EXTENSIONS = "/videos/extensions"

PNG_URL = "https://media.example/robot.png"
MP4_URL = "https://media.example/clip.mp4"
"""Not on this machine, so the emulator puts a clip of 6 s in 480p in its place."""


class Api:
    """The emulator seen through plain httpx, the way any client sees it."""

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator
        self.http = httpx.Client(base_url=emulator.base_url, trust_env=False, timeout=30)
        self._files = httpx.Client(trust_env=False, timeout=30)

    def __enter__(self) -> Api:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()
        self._files.close()

    def ask(self, method: str, path: str, key: str | None = "", **words: Any) -> httpx.Response:
        """Send one request with the emulator's key, another ``key``, or none for ``None``."""
        headers = dict(words.pop("headers", {}))
        if key is not None:
            headers["authorization"] = f"Bearer {key or self.emulator.api_key}"
        return self.http.request(method, path, headers=headers, **words)

    def submit(self, endpoint: str = GENERATIONS, key: str | None = "", **body: Any) -> httpx.Response:
        """Send a body to a submit endpoint; model and prompt are given unless the body has its own or None."""
        given = {"model": CLASSIC, "prompt": "A red ball", **body}
        return self.ask("POST", endpoint, key, json={name: value for name, value in given.items() if value is not None})

    def start(self, endpoint: str = GENERATIONS, **body: Any) -> str:
        """Submit and return the request id."""
        answer = self.submit(endpoint, **body)
        answer.raise_for_status()
        request_id: str = answer.json()["request_id"]
        return request_id

    def poll(self, request_id: str, key: str | None = "") -> httpx.Response:
        """Poll once."""
        return self.ask("GET", f"/videos/{request_id}", key)

    def video(self, request_id: str) -> dict[str, Any]:
        """Poll a job that is due and return the ``video`` of its answer."""
        found: dict[str, Any] = self.poll(request_id).json()["video"]
        return found

    def film(self, endpoint: str = GENERATIONS, **body: Any) -> bytes:
        """Submit, poll, and download the MP4."""
        return self.fetch(self.video(self.start(endpoint, **body))["url"])

    def fetch(self, url: str) -> bytes:
        """Download without the key."""
        answer = self.download(url)
        answer.raise_for_status()
        return answer.content

    def download(self, url: str, **headers: str) -> httpx.Response:
        """Ask the download origin without the key."""
        return self._files.get(url, headers=headers)

    def link(self, **body: Any) -> str:
        """Make a clip and return its link; nothing is rendered."""
        url: str = self.video(self.start(**body))["url"]
        return url

    def order(self, **orders: Any) -> None:
        """Give orders at the control endpoint."""
        self.control("POST", "script", json=orders).raise_for_status()

    def control(self, method: str, name: str, **words: Any) -> httpx.Response:
        """Send a request to the control endpoint, without a key."""
        address = f"{self.emulator.base_url.removesuffix('/v1')}/_emulator/{name}"
        return self.http.request(method, address, **words)

    def upload(self, data: bytes, name: str = "input.bin") -> str:
        """Upload a file and return its id."""
        answer = self.ask("POST", "/files", files={"file": (name, data)})
        answer.raise_for_status()
        file_id: str = answer.json()["id"]
        return file_id


@dataclass(frozen=True)
class Clip:
    """What PyAV finds in an MP4: ``frames`` that really decode, ``seconds`` of picture and of ``sound``."""

    size: tuple[int, int]
    frames: int
    fps: float
    seconds: float
    sound: float
    codecs: tuple[str, ...]
    pixels: str


def look_into(data: bytes) -> Clip:
    """Decode a whole MP4."""
    with av.open(io.BytesIO(data), format="mp4") as container:
        picture = container.streams.video[0]
        frames = sum(1 for _ in container.decode(picture))
        tracks = container.streams.audio
        return Clip(
            size=(picture.width, picture.height),
            frames=frames,
            fps=float(picture.average_rate or 0),
            seconds=float((picture.duration or 0) * (picture.time_base or 0)),
            sound=float(tracks[0].duration * tracks[0].time_base) if tracks else 0.0,
            codecs=tuple(stream.codec_context.name for stream in container.streams),
            pixels=picture.codec_context.pix_fmt or "",
        )


def frame_at(data: bytes, index: int) -> Image.Image:
    """Return one decoded frame."""
    with av.open(io.BytesIO(data), format="mp4") as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number == index:
                return frame.to_image()
    raise IndexError(index)


def picture(size: tuple[int, int] = (320, 180), colour: tuple[int, int, int] = (200, 40, 40)) -> bytes:
    """Return a PNG of one colour."""
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "PNG")
    return buffer.getvalue()


def data_uri(data: bytes, kind: str = "image/png") -> str:
    """Return bytes as a data: URI."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


@dataclass
class Bucket:
    """A place on this machine that takes uploads and remembers them; ``status`` is what it answers."""

    url: str = ""
    status: int = 200
    got: list[tuple[str, bytes]] = field(default_factory=list)


@contextmanager
def bucket(status: int = 200) -> Iterator[Bucket]:
    """Run a bucket on a free port."""
    place = Bucket(status=status)

    class Taker(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            data = self.rfile.read(int(self.headers["content-length"]))
            place.got.append((self.headers["content-type"], data))
            self.send_response(place.status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Stay silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Taker)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    place.url = f"http://127.0.0.1:{server.server_port}/clip.mp4?signature=abc"
    try:
        yield place
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
