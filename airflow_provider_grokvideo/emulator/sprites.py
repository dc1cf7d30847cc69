"""Small pictures that are drawn once per clip and pasted on every frame: subjects, glows, texts."""

from __future__ import annotations

import random
from bisect import bisect_left
from collections.abc import Callable
from functools import lru_cache
from math import cos, pi, sin

from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont

from airflow_provider_grokvideo.emulator.palette import RGB, words

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
_OVERSAMPLE = 3


@lru_cache(maxsize=32)
def font(size: int) -> Font:
    """Return DejaVu Sans where the machine has it, for its many scripts, or Pillow's own font."""
    try:
        return ImageFont.truetype("DejaVuSans.ttf", size)
    except OSError:
        return ImageFont.load_default(size)


def wrap(text: str, face: Font, width: int, lines: int) -> list[str]:
    """Break a text into at most so many lines of a width in pixels; an ellipsis stands for the rest."""
    rows: list[str] = []
    row = ""
    # No more characters than pixels are shown, so that a long text costs no more than a short one.
    for word in text[: width * lines].split():
        longer = f"{row} {word}".strip()
        if row and face.getlength(longer) > width:
            rows.append(row)
            row = word
        else:
            row = longer
    rows.append(row)
    if len(rows) > lines:
        rows = [*rows[: lines - 1], f"{rows[lines - 1]} …"]
    return [_fit(row, face, width) for row in rows]


def _fit(row: str, face: Font, width: int) -> str:
    if face.getlength(row) <= width:
        return row
    kept = bisect_left(range(1, len(row) + 1), True, key=lambda length: face.getlength(f"{row[:length]}…") > width)
    return f"{row[:kept]}…"


def backdrop(size: tuple[int, int], sky: RGB, ground: RGB, lights: list[tuple[float, float, RGB]]) -> Image.Image:
    """Return a smooth gradient from sky to ground with soft lights at relative positions."""
    small = (size[0] // 8, size[1] // 8)
    ramp = Image.linear_gradient("L").resize(small)
    picture = Image.composite(Image.new("RGB", small, ground), Image.new("RGB", small, sky), ramp)
    radius = max(small)
    falloff = ImageChops.invert(Image.radial_gradient("L")).resize((radius, radius))
    falloff = falloff.point([int(v * v / 255 * 0.75) for v in range(256)])
    for x, y, colour in lights:
        corner = (int(x * small[0] - radius / 2), int(y * small[1] - radius / 2))
        picture.paste(Image.new("RGB", falloff.size, colour), corner, falloff)
    grown = picture.resize(size, Image.Resampling.BICUBIC)
    # A little grain keeps the encoder from drawing steps into the gradient.
    return Image.blend(grown, ImageChops.overlay(grown, _grain(size)), 0.35)


def _grain(size: tuple[int, int]) -> Image.Image:
    # Pillow's own noise is another one each time; equal recipes must make equal bytes.
    noise = Image.frombytes("L", size, random.Random(size[0]).randbytes(size[0] * size[1]))  # noqa: S311
    return noise.point([112 + v // 8 for v in range(256)]).convert("RGB")


def subject(prompt: str, colour: RGB, diameter: int) -> Image.Image:
    """Return what a prompt is about, as far as a ball, a star, a heart, a cube or a ring can tell."""
    named = set(words(prompt))
    side = diameter * _OVERSAMPLE
    mask = Image.new("L", (side, side), 0)
    _shape(named)(ImageDraw.Draw(mask), side)
    body = _shaded(colour, side)
    body.putalpha(mask)
    return body.resize((diameter, diameter), Image.Resampling.LANCZOS)


def _shape(named: set[str]) -> Callable[[ImageDraw.ImageDraw, int], None]:
    if named & {"star", "stars", "sparkle", "crown"}:
        return _star
    if named & {"heart", "love", "rose"}:
        return _heart
    if named & {"cube", "box", "house", "car", "robot", "train", "book"}:
        return _cube
    if named & {"ring", "wheel", "portal", "donut", "halo"}:
        return _ring
    return _ball


def _ball(draw: ImageDraw.ImageDraw, side: int) -> None:
    draw.ellipse((0, 0, side - 1, side - 1), fill=255)


def _ring(draw: ImageDraw.ImageDraw, side: int) -> None:
    draw.ellipse((0, 0, side - 1, side - 1), fill=255)
    inner = side * 0.3
    draw.ellipse((inner, inner, side - inner, side - inner), fill=0)


def _cube(draw: ImageDraw.ImageDraw, side: int) -> None:
    draw.rounded_rectangle((side * 0.06, side * 0.06, side * 0.94, side * 0.94), side * 0.14, fill=255)


def _star(draw: ImageDraw.ImageDraw, side: int) -> None:
    half = side / 2
    points = []
    for index in range(10):
        reach = half * (1.0 if index % 2 == 0 else 0.46)
        angle = index * pi / 5 - pi / 2
        points.append((half + reach * cos(angle), half + reach * sin(angle)))
    draw.polygon(points, fill=255)


def _heart(draw: ImageDraw.ImageDraw, side: int) -> None:
    points = []
    for step in range(80):
        angle = step * pi / 40
        x = 16 * sin(angle) ** 3
        y = 13 * cos(angle) - 5 * cos(2 * angle) - 2 * cos(3 * angle) - cos(4 * angle)
        points.append((side * (0.5 + x / 35), side * (0.46 - y / 35)))
    draw.polygon(points, fill=255)


def _shaded(colour: RGB, side: int) -> Image.Image:
    # A light from the upper left: white where it falls, the colour in between, darkness opposite.
    light = ImageChops.invert(Image.radial_gradient("L")).resize((side * 2, side * 2))
    offset = int(side * 0.68)
    light = light.crop((offset, offset, offset + side, offset + side))
    dark = Image.new("RGB", (side, side), (colour[0] // 4, colour[1] // 4, colour[2] // 4))
    lit = Image.composite(Image.new("RGB", (side, side), colour), dark, light.point(_curve(0.9, 40)))
    return Image.composite(Image.new("RGB", (side, side), (255, 255, 255)), lit, light.point(_curve(3.2, -520)))


def _curve(gain: float, lift: int) -> list[int]:
    return [max(0, min(235, int(v * gain + lift))) for v in range(256)]


def shadow(diameter: int) -> Image.Image:
    """Return the soft shadow that lies under a subject."""
    width, height = int(diameter * 1.3), int(diameter * 0.36)
    mask = Image.new("L", (width, height), 0)
    ImageDraw.Draw(mask).ellipse((width * 0.12, height * 0.2, width * 0.88, height * 0.8), fill=120)
    picture = Image.new("RGBA", (width, height), (0, 0, 0, 0))
    picture.putalpha(mask.filter(ImageFilter.GaussianBlur(height * 0.12)))
    return picture


def glow(colour: RGB, diameter: int) -> Image.Image:
    """Return a soft light of one colour."""
    falloff = ImageChops.invert(Image.radial_gradient("L")).resize((diameter, diameter))
    picture = Image.new("RGBA", (diameter, diameter), (*colour, 0))
    # The corners of Pillow's radial gradient are not black, so everything beyond the circle is cut off.
    picture.putalpha(falloff.point([max(0, int((v - 76) * 0.75)) for v in range(256)]))
    return picture


def panel(width: int, rows: list[tuple[str, Font, RGB]], shade: tuple[int, int, int, int]) -> Image.Image:
    """Return a translucent band with rows of text."""
    pad = max(6, width // 70)
    heights = [int(_line_height(face) * 1.25) for _, face, _ in rows]
    band = Image.new("RGBA", (width, sum(heights) + 2 * pad), shade)
    draw = ImageDraw.Draw(band)
    top = pad
    for (text, face, colour), height in zip(rows, heights, strict=True):
        draw.text((pad * 2, top), text, font=face, fill=(*colour, 255))
        top += height
    return band


def _line_height(face: Font) -> float:
    box = face.getbbox("Ag|")
    return box[3] - box[1]


def cover(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Return the picture scaled and cropped so that it fills a size."""
    scale = max(size[0] / picture.width, size[1] / picture.height)
    width, height = size[0] / scale, size[1] / scale
    left, top = (picture.width - width) / 2, (picture.height - height) / 2
    box = (left, top, left + width, top + height)
    return picture.resize(size, Image.Resampling.BICUBIC, box=box)
