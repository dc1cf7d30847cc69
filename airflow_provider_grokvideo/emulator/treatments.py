"""Effects of edits, chosen by the words of the prompt."""

from __future__ import annotations

from collections.abc import Callable
from math import sin

from PIL import Image, ImageChops, ImageDraw, ImageEnhance, ImageFilter, ImageOps

from airflow_provider_grokvideo.emulator import sprites
from airflow_provider_grokvideo.emulator.palette import RGB, colour_of, palette_of, words
from airflow_provider_grokvideo.emulator.recipe import FPS

Treatment = Callable[[Image.Image, int], Image.Image]
"""A frame and its number in; the treated frame out, of the same size."""


def treatment_of(prompt: str, size: tuple[int, int]) -> Treatment:
    """Return the treatment for an edit prompt; a prompt without a known word tints by its digest."""
    named = set(words(prompt))
    for keys, treatment in _BY_WORD:
        if named & keys:
            return treatment
    if named & {"add", "give", "put", "place", "insert", "swap", "replace"}:
        return _guest(prompt, size)
    return _tint(colour_of(prompt) or palette_of(prompt).subject)


def _grey(frame: Image.Image, index: int) -> Image.Image:
    return ImageOps.grayscale(frame).convert("RGB")


def _sepia(frame: Image.Image, index: int) -> Image.Image:
    matrix = (0.39, 0.77, 0.19, 0, 0.35, 0.69, 0.17, 0, 0.27, 0.53, 0.13, 0)
    return frame.convert("RGB", matrix)


def _night(frame: Image.Image, index: int) -> Image.Image:
    return ImageChops.multiply(frame, Image.new("RGB", frame.size, (70, 88, 160)))


def _warm(frame: Image.Image, index: int) -> Image.Image:
    return ImageChops.soft_light(frame, Image.new("RGB", frame.size, (255, 140, 50)))


def _negative(frame: Image.Image, index: int) -> Image.Image:
    return ImageChops.invert(frame)


def _dream(frame: Image.Image, index: int) -> Image.Image:
    small = frame.resize((frame.width // 6, frame.height // 6), Image.Resampling.BOX)
    soft = small.resize(frame.size, Image.Resampling.BILINEAR)
    return ImageChops.screen(soft, Image.eval(frame, lambda value: value // 4))


def _drawn(frame: Image.Image, index: int) -> Image.Image:
    flat = ImageOps.posterize(ImageEnhance.Color(frame).enhance(1.7), 3)
    edges = ImageOps.grayscale(frame).filter(ImageFilter.FIND_EDGES).point([255 - min(255, v * 3) for v in range(256)])
    return ImageChops.multiply(flat, edges.convert("RGB"))


def _mirror(frame: Image.Image, index: int) -> Image.Image:
    return ImageOps.mirror(frame)


def _winter(frame: Image.Image, index: int) -> Image.Image:
    cold = Image.blend(frame, Image.new("RGB", frame.size, (196, 214, 240)), 0.35)
    return _fall(cold, index, speed=0.09, length=0, colour=(255, 255, 255))


def _rain(frame: Image.Image, index: int) -> Image.Image:
    wet = Image.blend(frame, Image.new("RGB", frame.size, (70, 84, 104)), 0.4)
    return _fall(wet, index, speed=0.9, length=18, colour=(190, 206, 226))


def _fall(frame: Image.Image, index: int, speed: float, length: int, colour: RGB) -> Image.Image:
    draw = ImageDraw.Draw(frame)
    width, height = frame.size
    for drop in range(90):
        x = (drop * 7919) % width + int(6 * sin(index / 9 + drop))
        y = int((drop * 104729 % height) + index * height * speed * (0.6 + drop % 5 / 6) / FPS) % height
        size = 2 + drop % 3
        if length:
            draw.line((x, y, x - 2, y + length), fill=colour, width=1)
        else:
            draw.ellipse((x, y, x + size, y + size), fill=colour)
    return frame


def _tint(colour: RGB) -> Treatment:
    def treat(frame: Image.Image, index: int) -> Image.Image:
        grey = ImageOps.grayscale(frame)
        duotone = ImageOps.colorize(grey, (12, 12, 20), (255, 255, 255), mid=colour)
        return Image.blend(frame, duotone, 0.72)

    return treat


def _guest(prompt: str, size: tuple[int, int]) -> Treatment:
    colour = colour_of(prompt) or palette_of(prompt).subject
    guest = sprites.subject(prompt, colour, int(min(size) * 0.22))

    def treat(frame: Image.Image, index: int) -> Image.Image:
        x = int(size[0] * (0.5 + 0.36 * sin(1.3 * index / FPS + 2)))
        y = int(size[1] * (0.30 + 0.05 * sin(3 * index / FPS)))
        frame.paste(guest, (x - guest.width // 2, y - guest.height // 2), guest)
        return frame

    return treat


_BY_WORD: tuple[tuple[set[str], Treatment], ...] = (
    ({"monochrome", "noir", "grayscale", "greyscale", "grey", "gray"}, _grey),
    ({"sepia", "vintage", "retro", "western"}, _sepia),
    ({"snow", "winter", "snowy", "arctic", "ice"}, _winter),
    ({"rain", "rainy", "storm", "stormy"}, _rain),
    ({"night", "dark", "moonlight", "midnight"}, _night),
    ({"sunset", "sunrise", "warm", "autumn", "dusk"}, _warm),
    ({"negative", "invert", "inverted"}, _negative),
    ({"dream", "dreamy", "blur", "blurred", "fog", "foggy", "mist"}, _dream),
    ({"cartoon", "anime", "sketch", "painting", "watercolor", "watercolour", "comic"}, _drawn),
    ({"mirror", "flip", "mirrored"}, _mirror),
)
