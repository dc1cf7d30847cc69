"""Order: a valid submit body."""

from __future__ import annotations

from dataclasses import dataclass

ENDPOINTS = ("/videos/generations", "/videos/edits", "/videos/extensions")


@dataclass(frozen=True)
class Medium:
    """A picture, clip or sound handed in: by ``url`` (http, https or data:) or by ``file_id``, never both."""

    url: str | None = None
    file_id: str | None = None


@dataclass(frozen=True)
class StorageOrder:
    """The wish to keep the result in the Files API (contract §5.3); times in seconds."""

    filename: str
    expires_after: int | None = None
    public: bool = False
    public_expires_after: int | None = None


@dataclass(frozen=True)
class Doom:
    """Why a job that was accepted will fail: one of the service's failure codes and a sentence."""

    code: str
    message: str


@dataclass(frozen=True)
class JobOrder:
    """One accepted body.

    ``seconds`` is the length of a generation or the added seconds of an extension, and 0 for an edit. ``prompt`` is
    the text without directives. ``doom`` is set when the service accepts the body and fails the job later.
    """

    mode: str
    model: str
    prompt: str
    seconds: int = 0
    resolution: str = "480p"
    aspect: str = "16:9"
    audio: bool = True
    image: Medium | None = None
    last_frame: Medium | None = None
    references: tuple[Medium, ...] = ()
    keyframes: tuple[tuple[float, Medium], ...] = ()
    sounds: int = 0
    video: Medium | None = None
    storage: StorageOrder | None = None
    upload_url: str | None = None
    doom: Doom | None = None

    @property
    def pictures(self) -> tuple[Medium, ...]:
        """Every picture that is paid for."""
        single = tuple(m for m in (self.image, self.last_frame) if m is not None)
        return single + self.references + tuple(m for _, m in self.keyframes)
