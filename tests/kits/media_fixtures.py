"""Real files and a real server for the delivery tests."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import av
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
