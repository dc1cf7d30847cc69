"""Models and their limits: the one table to edit when xAI adds or changes a model.

Source: contract §3 and §4 (limits as of August to October 2026). A model that is not in the table is sent with a
warning, because new names appear faster than releases of this package.
"""

from __future__ import annotations

from dataclasses import dataclass

DEFAULT_MODEL = "grok-imagine-video"
"""Default model: the only one that can also edit and extend (contract §4)."""

ASPECT_RATIOS = ("1:1", "16:9", "9:16", "4:3", "3:4", "3:2", "2:3")
RESOLUTIONS = ("480p", "720p", "1080p")

DEFAULT_SECONDS = 8
DEFAULT_EXTENSION_SECONDS = 6
DEFAULT_RESOLUTION = "480p"

EXTENSION_SECONDS = (2, 10)
"""Seconds that an extension may add (contract §3.3)."""

EDIT_SOURCE_SECONDS = (0.0, 8.7)
"""Length of a clip that can be edited (contract §3.2)."""

EXTENSION_SOURCE_SECONDS = (2.0, 15.0)
"""Length of a clip that can be extended (contract §3.3)."""

MAX_KEYFRAMES = 4
KEYFRAME_GRID = 3
"""Keyframes snap to a grid of this many slots a second; xAI refuses two in one slot (contract §3.1)."""

PROMPT_WARNING_LENGTH = 4000
"""Longer prompts were sometimes refused, in characters; the limit is not published (contract §3.1)."""


@dataclass(frozen=True)
class Generation:
    """Limits of one mode: seconds (inclusive) and resolutions."""

    seconds: tuple[int, int] = (1, 15)
    resolutions: tuple[str, ...] = ("480p", "720p")


@dataclass(frozen=True)
class References:
    """Limits of reference-to-video, beyond those of :class:`Generation`."""

    images: int = 7
    audios: int = 0
    pinned_frames: bool = False
    """Whether first frame (beside references), last frame and keyframes can be pinned."""


@dataclass(frozen=True)
class Model:
    """Limits of one model; None for a mode that it does not have."""

    name: str
    aliases: tuple[str, ...] = ()
    text: Generation | None = None
    image: Generation | None = None
    reference: Generation | None = None
    references: References = References()
    edits: bool = False
    extends: bool = False


MODELS: tuple[Model, ...] = (
    Model(
        name="grok-imagine-video",
        text=Generation(),
        image=Generation(),
        reference=Generation(seconds=(1, 10)),
        edits=True,
        extends=True,
    ),
    Model(
        name="grok-imagine-video-1.5",
        aliases=("grok-imagine-video-1.5-preview", "grok-imagine-video-1.5-2026-05-30"),
        text=Generation(resolutions=RESOLUTIONS),
        image=Generation(resolutions=RESOLUTIONS),
        reference=Generation(),
        references=References(images=14, audios=3, pinned_frames=True),
    ),
    Model(
        name="grok-imagine-video-1.5-lite",
        text=Generation(resolutions=RESOLUTIONS),
        image=Generation(resolutions=RESOLUTIONS),
    ),
)

_BY_NAME = {name: model for model in MODELS for name in (model.name, *model.aliases)}


def find_model(name: str) -> Model | None:
    """Return the row for a model's name or alias, or None if this package does not know it."""
    return _BY_NAME.get(name)


def names_of(offers: str) -> str:
    """Return the names of the models that offer `offers` (an attribute of :class:`Model`), for messages."""
    return ", ".join(model.name for model in MODELS if getattr(model, offers))
