"""Making MP4s: H.264 (yuv420p) and AAC, 24 frames per second, index at the front."""

from __future__ import annotations

import io
import tempfile
from array import array
from collections.abc import Callable, Iterator
from fractions import Fraction
from math import pi, sin
from pathlib import Path

import av
from PIL import Image

from airflow_provider_grokvideo.emulator import sprites
from airflow_provider_grokvideo.emulator.palette import palette_of
from airflow_provider_grokvideo.emulator.recipe import FPS, Recipe
from airflow_provider_grokvideo.emulator.stage import Stage
from airflow_provider_grokvideo.emulator.treatments import treatment_of

SAMPLE_RATE = 48_000
"""A multiple of 24, so that every frame of picture has a whole number of samples."""

_SAMPLES_PER_FRAME = SAMPLE_RATE // FPS
_X264 = {"preset": "veryfast", "crf": "25", "bf": "0", "x264-params": "mbtree=0"}
"""Without mbtree, which now and then encodes equal pictures to other bytes."""

_NOTES = (220, 247, 277, 330, 370, 440)
_CROSSFADE_FRAMES = 12

Cancelled = Callable[[], bool]


class RenderingStopped(Exception):
    """The emulator was stopped while a clip was being made."""


def render(recipe: Recipe, source: bytes | None = None, cancelled: Cancelled = lambda: False) -> bytes:
    """Return the MP4 of a recipe; ``source`` holds the bytes of the clip an edit or extension starts from.

    Raises:
        RenderingStopped: when ``cancelled()`` becomes true between two frames.
    """
    if recipe.mode == "edit":
        frames = _edited(recipe, source or b"")
    elif recipe.mode == "extend":
        frames = _extended(recipe, source or b"")
    else:
        stage = Stage(recipe)
        frames = (stage.frame(index) for index in range(recipe.frames))
    return _encode(recipe, frames, cancelled)


def _edited(recipe: Recipe, source: bytes) -> Iterator[Image.Image]:
    size = (recipe.width, recipe.height)
    treat = treatment_of(recipe.prompt, size)
    band = _band(recipe)
    top = band.height * ((recipe.depth - 1) % 4)
    for index, frame in enumerate(decode(source, size, recipe.frames)):
        treated = treat(frame, index)
        treated.paste(band, (0, top), band)
        yield treated


def _band(recipe: Recipe) -> Image.Image:
    face = sprites.font(max(13, min(recipe.width, recipe.height) // 26))
    room = recipe.width - 4 * max(6, recipe.width // 70)
    row = sprites.wrap(f"edit: {recipe.prompt}", face, room, 1)[0]
    red, green, blue = palette_of(recipe.prompt).subject
    return sprites.panel(recipe.width, [(row, face, (255, 255, 255))], (red // 3, green // 3, blue // 3, 205))


def _extended(recipe: Recipe, source: bytes) -> Iterator[Image.Image]:
    if recipe.source is None:
        raise ValueError("an extension needs a source")
    size = (recipe.width, recipe.height)
    last = Image.new("RGB", size)
    for last in decode(source, size, recipe.source.frames):
        yield last
    tail = recipe.frames - recipe.source.frames
    stage = Stage(_tail_recipe(recipe, tail), first=recipe.source.frames)
    for index in range(tail):
        frame = stage.frame(index)
        yield Image.blend(last, frame, min(1.0, (index + 1) / _CROSSFADE_FRAMES))


def _tail_recipe(recipe: Recipe, frames: int) -> Recipe:
    return Recipe("extend", recipe.prompt, recipe.model, recipe.width, recipe.height, frames)


def decode(data: bytes, size: tuple[int, int], count: int) -> Iterator[Image.Image]:
    """Yield exactly ``count`` frames of a clip at 24 per second, scaled to ``size``.

    A source with another rate is sampled by its time stamps; the last frame stands in where frames are missing.
    """
    with av.open(io.BytesIO(data), "r", format="mp4") as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        current: Image.Image | None = None
        given = 0
        start: float | None = None
        for frame in container.decode(stream):
            moment = frame.time or 0.0
            start = moment if start is None else start
            due = round((moment - start) * FPS)
            while current is not None and given < min(due, count):
                given += 1
                yield current.copy()
            current = frame.to_image(width=size[0], height=size[1])
        if current is None:
            raise ValueError("the source holds no picture")
        for _ in range(count - given):
            yield current.copy()


def _encode(recipe: Recipe, frames: Iterator[Image.Image], cancelled: Cancelled) -> bytes:
    with tempfile.TemporaryDirectory(prefix="grokvideo-emulator-") as folder:
        path = Path(folder) / "clip.mp4"
        # faststart moves the index in a second pass over the file, hence a path and not a buffer.
        with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
            _mux(container, recipe, frames, cancelled)
        return path.read_bytes()


def _mux(
    container: av.container.OutputContainer, recipe: Recipe, frames: Iterator[Image.Image], cancelled: Cancelled
) -> None:
    video = container.add_stream("libx264", rate=FPS, options=_X264)
    video.width, video.height, video.pix_fmt = recipe.width, recipe.height, "yuv420p"
    video.time_base = Fraction(1, FPS)
    sound = container.add_stream("aac", rate=SAMPLE_RATE, layout="mono") if recipe.audio else None
    tone = _tone(palette_of(recipe.prompt).seed) if sound else array("f")
    for index, picture in enumerate(frames):
        if cancelled():
            raise RenderingStopped
        frame = av.VideoFrame.from_image(picture)  # type: ignore[no-untyped-call]
        frame.pts, frame.time_base = index, Fraction(1, FPS)
        container.mux(video.encode(frame))
        if sound is not None:
            container.mux(sound.encode(_sound(tone, index)))
    container.mux(video.encode(None))
    if sound is not None:
        container.mux(sound.encode(None))


def _sound(tone: array[float], index: int) -> av.AudioFrame:
    frame = av.AudioFrame(format="fltp", layout="mono", samples=_SAMPLES_PER_FRAME)
    frame.sample_rate, frame.time_base = SAMPLE_RATE, Fraction(1, SAMPLE_RATE)
    frame.pts = index * _SAMPLES_PER_FRAME
    begin = (index % FPS) * _SAMPLES_PER_FRAME
    samples = tone[begin : begin + _SAMPLES_PER_FRAME].tobytes()
    # A plane may be padded beyond its samples.
    frame.planes[0].update(samples.ljust(frame.planes[0].buffer_size, b"\0"))
    return frame


def _tone(seed: int) -> array[float]:
    """Return one second of a soft two-note tone; whole frequencies make its loop seamless."""
    low = _NOTES[seed % len(_NOTES)]
    high = _NOTES[(seed >> 8) % len(_NOTES)] * 2
    step = 2 * pi / SAMPLE_RATE
    return array(
        "f",
        (0.07 * sin(low * step * n) + 0.03 * sin(high * step * n) * sin(step * n) ** 2 for n in range(SAMPLE_RATE)),
    )
