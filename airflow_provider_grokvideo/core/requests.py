"""Requests to the API, checked against the contract before they are sent.

There is one class per operation of the API. A request is a value: build it, read ``.endpoint`` and ``.body()``, send
it. What all of them share is in :mod:`airflow_provider_grokvideo.core.request_base`; the limits of the models (lengths,
resolutions, counts) are in :mod:`airflow_provider_grokvideo.core.models`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, model_validator
from typing_extensions import Self, override

from airflow_provider_grokvideo.core import models
from airflow_provider_grokvideo.core.errors import InvalidInput
from airflow_provider_grokvideo.core.fields import Seconds, sequence
from airflow_provider_grokvideo.core.keyframes import Keyframe, check_keyframes, read_keyframes
from airflow_provider_grokvideo.core.media import Audio, Media, Visual
from airflow_provider_grokvideo.core.request_base import GenerationRequest, Request, check_seconds


class TextToVideo(GenerationRequest):
    """A clip from a prompt."""

    mode: ClassVar[str] = "text-to-video"

    @model_validator(mode="after")
    def _check(self) -> Self:
        self._check_generation("text", "text-to-video")
        return self


class ImageToVideo(GenerationRequest):
    """A clip that starts from an image; its aspect ratio is the image's, so `aspect_ratio` is not sent."""

    mode: ClassVar[str] = "image-to-video"

    image: Visual

    @override
    def media(self) -> Iterator[tuple[str, Media]]:
        yield "image", self.image

    @override
    def warnings(self) -> list[str]:
        found = super().warnings()
        if self.aspect_ratio is not None:
            found.append(f"aspect_ratio={self.aspect_ratio!r} is not sent: the clip has the image's aspect ratio")
        return found

    @override
    def _own_words(self) -> dict[str, Any]:
        return super()._own_words() | {"aspect_ratio": None, "image": self.image.body("image")}

    @override
    def _decides(self, name: str) -> bool:
        return super()._decides(name) and name != "aspect_ratio"

    @model_validator(mode="after")
    def _check(self) -> Self:
        self._check_generation("image", "image-to-video")
        return self


class ReferenceToVideo(GenerationRequest):
    """A clip guided by reference images or voices, or pinned to frames; at least one of them is required.

    Args:
        reference_images: Up to 7 images whose subjects appear in the clip; up to 14 with grok-imagine-video-1.5.
        reference_audios: Up to 3 voices or audio clips (``{"voice_id": ...}``, ``{"url": ...}``).
        image: The first frame.
        last_frame: The last frame.
        keyframes: Up to 4 images at moments in between, in different thirds of a second.
    """

    mode: ClassVar[str] = "reference-to-video"

    reference_images: Annotated[tuple[Visual, ...], BeforeValidator(sequence)] = ()
    reference_audios: Annotated[tuple[Audio, ...], BeforeValidator(sequence)] = ()
    image: Visual | None = None
    last_frame: Visual | None = None
    keyframes: Annotated[tuple[Keyframe, ...], BeforeValidator(read_keyframes)] = ()

    @override
    def media(self) -> Iterator[tuple[str, Media]]:
        if self.image is not None:
            yield "image", self.image
        for index, image in enumerate(self.reference_images):
            yield f"reference_images[{index}]", image
        for index, frame in enumerate(self.keyframes):
            yield f"keyframes[{index}].image", frame.image
        if self.last_frame is not None:
            yield "last_frame", self.last_frame
        for index, audio in enumerate(self.reference_audios):
            yield f"reference_audios[{index}]", audio

    @override
    def _own_words(self) -> dict[str, Any]:
        frames = [{"image": f.image.body("keyframes"), "timestamp_s": f.timestamp_s} for f in self.keyframes]
        return super()._own_words() | {
            "image": self.image.body("image") if self.image else None,
            "reference_images": [image.body("reference_images") for image in self.reference_images] or None,
            "reference_audios": [audio.body("reference_audios") for audio in self.reference_audios] or None,
            "last_frame": self.last_frame.body("last_frame") if self.last_frame else None,
            "keyframes": frames or None,
        }

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not (self.reference_images or self.reference_audios or self.last_frame or self.keyframes):
            raise InvalidInput("reference_images", None, "at least one reference image, audio, last frame or keyframe")
        self._check_generation("reference", "reference-to-video")
        model = models.find_model(self.model)
        if model is not None:
            self._check_references(model.references)
        check_keyframes(self.keyframes, self.duration or models.DEFAULT_SECONDS)
        return self

    def _check_references(self, limits: models.References) -> None:
        if len(self.reference_images) > limits.images:
            raise InvalidInput(
                "reference_images", len(self.reference_images), f"at most {limits.images} images with {self.model}"
            )
        if len(self.reference_audios) > limits.audios:
            raise InvalidInput(
                "reference_audios",
                len(self.reference_audios),
                f"at most {limits.audios} voices or audio clips with {self.model}",
            )
        if limits.pinned_frames:
            return
        for field in ("last_frame", "keyframes"):
            if getattr(self, field):
                raise InvalidInput(field, "...", f"None with {self.model}; use grok-imagine-video-1.5 to pin frames")
        if self.image is not None:
            raise InvalidInput(
                "image", self.image, f"None with references and {self.model}; use grok-imagine-video-1.5"
            )


class EditVideo(Request):
    """A changed copy of a clip of at most 8.7 s, with the same length and aspect ratio (contract §3.2)."""

    mode: ClassVar[str] = "edit"
    endpoint: ClassVar[str] = "/videos/edits"

    video: Visual
    user: str | None = None

    @override
    def media(self) -> Iterator[tuple[str, Media]]:
        yield "video", self.video

    @override
    def _own_words(self) -> dict[str, Any]:
        return {"video": self.video.body("video"), "user": self.user}

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_offered(self.model, "edits", "editing")
        return self


class ExtendVideo(Request):
    """A clip of 2 to 15 s with 2 to 10 s added; the result is the whole clip (contract §3.3).

    Args:
        duration: Seconds to add; None is xAI's default, 6.
    """

    mode: ClassVar[str] = "extend"
    endpoint: ClassVar[str] = "/videos/extensions"

    video: Visual
    duration: Seconds = None

    @override
    def media(self) -> Iterator[tuple[str, Media]]:
        yield "video", self.video

    @override
    def _size(self) -> tuple[int | None, str | None]:
        return models.DEFAULT_EXTENSION_SECONDS if self.duration is None else self.duration, None

    @override
    def _own_words(self) -> dict[str, Any]:
        return {"video": self.video.body("video"), "duration": self.duration}

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_offered(self.model, "extends", "extending")
        check_seconds("duration", self.duration, models.EXTENSION_SECONDS, "the added part of an extension")
        return self


VideoRequest = TextToVideo | ImageToVideo | ReferenceToVideo | EditVideo | ExtendVideo
"""All requests that can be submitted."""


def generation(**words: Any) -> TextToVideo | ImageToVideo | ReferenceToVideo:
    """Build the generation that fits the arguments, by the rules of the API (contract §3.1).

    References, voices, a last frame or keyframes make it reference-to-video; else an image makes it image-to-video;
    else it is text-to-video. Arguments that are None count as unset.

    Raises:
        InvalidInput: An argument is missing or invalid.
    """
    given = _given(words)
    pinning = ("reference_images", "reference_audios", "last_frame", "keyframes")
    for name in pinning:
        if name in given and isinstance(given[name], Sequence) and not len(given[name]) and given[name] != "":
            del given[name]
    if any(name in given for name in pinning):
        return ReferenceToVideo(**given)
    return ImageToVideo(**given) if "image" in given else TextToVideo(**given)


def edit(**words: Any) -> EditVideo:
    """Build an edit; arguments that are None count as unset."""
    return EditVideo(**_given(words))


def extension(**words: Any) -> ExtendVideo:
    """Build an extension; arguments that are None count as unset."""
    return ExtendVideo(**_given(words))


def check_source(request: VideoRequest, seconds: float | None) -> None:
    """Check the length of the clip that is edited or extended, if it is known.

    Raises:
        InvalidInput: xAI would accept the request, fail later, and might bill it.
    """
    if seconds is None or not isinstance(request, EditVideo | ExtendVideo):
        return
    edits = isinstance(request, EditVideo)
    low, high = models.EDIT_SOURCE_SECONDS if edits else models.EXTENSION_SOURCE_SECONDS
    # A container's length and the one the service measures differ by a frame.
    if not low - 0.05 <= seconds <= high + 0.05:
        allowed = f"a clip of at most {high:g} s" if edits else f"a clip of {low:g} to {high:g} s"
        raise InvalidInput("video", request.video, f"{allowed}, but it has {seconds:g} s")


def _given(words: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in words.items() if value is not None}


def _check_offered(name: str, offers: str, what: str) -> None:
    model = models.find_model(name)
    if model is not None and not getattr(model, offers):
        raise InvalidInput("model", name, f"a model with {what}: {models.names_of(offers)}")


__all__ = [
    "EditVideo",
    "ExtendVideo",
    "ImageToVideo",
    "Keyframe",
    "ReferenceToVideo",
    "TextToVideo",
    "VideoRequest",
    "check_source",
    "edit",
    "extension",
    "generation",
]
