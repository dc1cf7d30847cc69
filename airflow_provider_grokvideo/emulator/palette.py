"""Colours and moods found in the words of a prompt, or derived from its digest where it names none."""

from __future__ import annotations

import colorsys
import hashlib
import re
from dataclasses import dataclass

RGB = tuple[int, int, int]

COLOURS: dict[str, RGB] = {
    "red": (222, 52, 52),
    "crimson": (200, 30, 60),
    "orange": (245, 136, 40),
    "yellow": (250, 208, 60),
    "golden": (240, 186, 66),
    "gold": (240, 186, 66),
    "green": (62, 170, 92),
    "teal": (36, 160, 160),
    "cyan": (70, 200, 220),
    "blue": (58, 116, 226),
    "purple": (136, 82, 210),
    "violet": (136, 82, 210),
    "pink": (240, 120, 170),
    "silver": (190, 198, 208),
    "white": (240, 242, 246),
    "black": (44, 46, 54),
    "brown": (140, 94, 60),
}
"""Colour words and what they look like."""

_SCENES: tuple[tuple[tuple[str, ...], RGB, RGB], ...] = (
    (("beach", "sand", "shore", "dune", "desert"), (110, 190, 226), (236, 206, 150)),
    (("sea", "ocean", "lake", "river", "water", "waves"), (126, 186, 222), (22, 82, 130)),
    (("sunset", "sunrise", "dusk", "dawn"), (92, 54, 120), (250, 146, 84)),
    (("night", "moon", "stars", "space", "galaxy"), (12, 16, 42), (52, 46, 104)),
    (("forest", "jungle", "meadow", "garden", "grass"), (146, 196, 166), (38, 96, 62)),
    (("snow", "winter", "ice", "arctic"), (176, 204, 230), (236, 242, 248)),
    (("city", "street", "neon", "tokyo"), (28, 22, 58), (170, 52, 130)),
)


@dataclass(frozen=True)
class Palette:
    """The colours of one prompt: sky and ground of the scene, the subject, and a companion to it."""

    sky: RGB
    ground: RGB
    subject: RGB
    companion: RGB
    seed: int


def words(text: str) -> list[str]:
    """Return the lower-case words of a text in their order."""
    return re.findall(r"[a-z]+", text.lower())


def colour_of(text: str) -> RGB | None:
    """Return the first colour a text names."""
    return next((COLOURS[word] for word in words(text) if word in COLOURS), None)


def palette_of(text: str) -> Palette:
    """Return the colours for a prompt; equal prompts get equal colours."""
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    hue = (seed % 360) / 360
    named = set(words(text))
    scene = next(((sky, ground) for keys, sky, ground in _SCENES if named.intersection(keys)), None)
    sky, ground = scene or (_shade(hue, 0.55, 0.30), _shade(hue + 0.12, 0.62, 0.72))
    subject = colour_of(text) or _shade(hue + 0.45, 0.66, 0.95)
    return Palette(sky, ground, subject, _shade(hue + 0.72, 0.5, 0.9), seed)


def _shade(hue: float, saturation: float, value: float) -> RGB:
    red, green, blue = colorsys.hsv_to_rgb(hue % 1, saturation, value)
    return round(red * 255), round(green * 255), round(blue * 255)
