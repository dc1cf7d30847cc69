"""Real files and a real server for the delivery tests."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import av
import httpx
import pytest
from delivery_kit import Media, Server, make_tone, make_video, make_wav
from PIL import Image


@pytest.fixture(scope="session")
def media(tmp_path_factory: pytest.TempPathFactory) -> Media:
    """Return a folder of media files, made once."""
    folder = tmp_path_factory.mktemp("media")
    make_video(folder / "clip.mp4")
    make_video(folder / "faststart.mp4", movflags="faststart")
    make_video(folder / "silent.mp4", sound=False)
    make_video(folder / "fragmented.mp4", movflags="frag_keyframe+empty_moov")
    make_video(folder / "mpeg4.mp4", codec="mpeg4")
    make_video(folder / "vp9.mp4", codec="libvpx-vp9")
    make_video(folder / "hevc.mp4", codec="libx265", size=(128, 72))
    make_video(folder / "quicktime.mov")
    make_video(folder / "webm.webm", codec="libvpx-vp9", sound=False)
    make_video(folder / "long.mp4", seconds=16, fps=2)
    make_video(folder / "short.mp4", seconds=1)
    picture = Image.effect_noise((40, 30), 90).convert("RGB")
    picture.save(folder / "png.png")
    picture.save(folder / "jpeg.jpg")
    picture.save(folder / "webp.webp")
    picture.save(folder / "lossless.webp", lossless=True)
    picture.save(folder / "gif.gif")
    (folder / "wav.wav").write_bytes(make_wav(3.0))
    with av.open(str(folder / "m4a.m4a"), "w") as container:
        make_tone(container, "aac")
    with av.open(str(folder / "mp3.mp3"), "w") as container:
        make_tone(container, "libmp3lame")
    return Media(folder)


@pytest.fixture
def server() -> Iterator[Server]:
    """Serve routes on a free loopback port."""
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.answer(self)

        def log_message(self, *_: object) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            pass

    with Quiet(("127.0.0.1", 0), Handler) as http:
        state.port = http.server_address[1]
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield state
        state.stop.set()
        http.shutdown()
        thread.join(5)


@pytest.fixture
def pauses() -> list[float]:
    """Return the list that stands in for sleeping: pass its ``append`` as ``pause``."""
    return []


@dataclass
class Bucket:
    """Object storage as Airflow has it, and a look into it that goes around our code."""

    url: str
    fs: Any
    root: str

    def names(self) -> list[str]:
        """Return the names of all objects."""
        self.fs.invalidate_cache()
        return [name.removeprefix(f"{self.root}/") for name in self.fs.find(self.root)]

    def read(self, name: str) -> bytes:
        """Return an object's content."""
        return bytes(self.fs.cat_file(f"{self.root}/{name}"))


@pytest.fixture(scope="session")
def _airflow_home(tmp_path_factory: pytest.TempPathFactory) -> None:
    # Airflow writes its configuration into its home when it is first imported.
    os.environ.setdefault("AIRFLOW_HOME", str(tmp_path_factory.mktemp("airflow")))


@pytest.fixture(scope="session")
def _s3_server() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def _attach_s3(endpoint: str) -> Any:
    """Attach S3 in the place the Amazon provider would have."""
    import s3fs
    from airflow.sdk.io import attach
    from airflow.sdk.io.store import _STORE_CACHE

    _STORE_CACHE.pop("s3", None)
    fs = s3fs.S3FileSystem(
        key="test",
        secret="test",
        endpoint_url=endpoint,
        client_kwargs={"region_name": "us-east-1"},
        config_kwargs={"retries": {"max_attempts": 1}, "connect_timeout": 2},
        skip_instance_cache=True,
    )
    attach("s3", fs=fs)
    return fs


@pytest.fixture
def s3(_airflow_home: None, _s3_server: str) -> Iterator[Bucket]:
    """Attach an empty bucket of an S3 server on loopback."""
    from airflow.sdk.io.store import _STORE_CACHE

    httpx.post(f"{_s3_server}/moto-api/reset", trust_env=False).raise_for_status()
    fs = _attach_s3(_s3_server)
    fs.call_s3("create_bucket", Bucket="bucket")
    yield Bucket("s3://bucket", fs, "bucket")
    _STORE_CACHE.pop("s3", None)


@pytest.fixture
def dead_s3(_airflow_home: None) -> Iterator[str]:
    """Attach an S3 nobody serves."""
    from airflow.sdk.io.store import _STORE_CACHE

    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        _attach_s3(f"http://127.0.0.1:{held.getsockname()[1]}").retries = 1
        yield "s3://bucket"
    _STORE_CACHE.pop("s3", None)


@pytest.fixture
def memory(_airflow_home: None) -> Iterator[Bucket]:
    """Attach a storage that shows files while they are written, as SFTP does."""
    from airflow.sdk.io import attach
    from airflow.sdk.io.store import _STORE_CACHE
    from fsspec.implementations.memory import MemoryFileSystem

    fs = MemoryFileSystem(skip_instance_cache=True)
    fs.store.clear()
    _STORE_CACHE.pop("memory", None)
    attach("memory", fs=fs)
    yield Bucket("memory://files", fs, "/files")
    fs.store.clear()
    _STORE_CACHE.pop("memory", None)
