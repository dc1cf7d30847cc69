"""Recipe of a clip: everything that decides its bytes, and nothing else."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from fractions import Fraction

FPS = 24
MAX_EDIT_SHORT_SIDE = 720

_SHORT_SIDES = {"480p": 480, "720p": 720, "1080p": 1080}
_LONG_SIDES = {
    "16:9": (848, 1280, 1920),
    "4:3": (640, 960, 1440),
    "3:2": (720, 1080, 1620),
    "1:1": (480, 720, 1080),
}


@dataclass(frozen=True)
class Footage:
    """A clip or picture that is at hand: its bytes, or the recipe that makes them.

    ``frames`` counts frames of 1/24 s and is 0 for a picture; ``origin`` says where it came from and ends up in the
    ledger.
    """

    kind: str
    key: str
    origin: str
    width: int
    height: int
    frames: int = 0
    audio: bool = False
    data: bytes | None = field(default=None, repr=False)
    recipe: Recipe | None = field(default=None, repr=False)

    @property
    def seconds(self) -> Fraction:
        """The length, exact to a frame."""
        return Fraction(self.frames, FPS)


@dataclass(frozen=True)
class Still:
    """A picture in a clip: ``role`` is first, last, key or reference; ``at`` is its time in seconds."""

    role: str
    picture: Footage
    at: float = 0.0


@dataclass(frozen=True)
class Recipe:
    """One clip to be made, at 24 frames per second.

    ``mode`` is that of the order; ``source`` is the clip an edit or an extension starts from; ``depth`` counts how
    many of those lie underneath, so that captions can be stacked.
    """

    mode: str
    prompt: str
    model: str
    width: int
    height: int
    frames: int
    audio: bool = True
    stills: tuple[Still, ...] = ()
    source: Footage | None = None
    depth: int = 0

    @property
    def seconds(self) -> Fraction:
        """The length, exact to a frame."""
        return Fraction(self.frames, FPS)

    @property
    def key(self) -> str:
        """A digest of the content: equal recipes make equal bytes."""
        parts = (
            self.mode,
            self.prompt,
            self.model,
            f"{self.width}x{self.height}",
            str(self.frames),
            str(self.audio),
            *(f"{s.role}@{s.at}={s.picture.key}" for s in self.stills),
            self.source.key if self.source else "",
        )
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def frame_size(aspect: str, resolution: str) -> tuple[int, int]:
    """Return width and height, both even: 848x480 for 16:9 in 480p (contract §4)."""
    tier = list(_SHORT_SIDES).index(resolution)
    short = _SHORT_SIDES[resolution]
    if aspect in _LONG_SIDES:
        return _LONG_SIDES[aspect][tier], short
    across, _, down = aspect.partition(":")
    return short, _LONG_SIDES[f"{down}:{across}"][tier]


def nearest_aspect(width: int, height: int) -> str:
    """Return the offered aspect ratio closest to a picture's own (image-to-video follows its image)."""
    offered = [*_LONG_SIDES, *(":".join(reversed(a.split(":"))) for a in _LONG_SIDES if a != "1:1")]
    return min(offered, key=lambda a: abs(Fraction(*map(int, a.split(":"))) - Fraction(width, height)))


def edited_size(width: int, height: int) -> tuple[int, int]:
    """Return the size of an edit or extension: the source's, with a short side of 720 at most, made even."""
    shrink = min(Fraction(1), Fraction(MAX_EDIT_SHORT_SIDE, min(width, height)))
    return max(2, int(width * shrink) // 2 * 2), max(2, int(height * shrink) // 2 * 2)


def resolution_of(width: int, height: int) -> str:
    """Return the price tier of a clip of this size: 480p or 720p."""
    return "480p" if min(width, height) <= 480 else "720p"
