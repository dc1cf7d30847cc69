"""Requests to the API, checked against the contract before they are sent.

There is one class per operation of the API. A request is a value: build it, read ``.endpoint`` and ``.body()``, send
it. The limits of the models (lengths, resolutions, counts) are in :mod:`airflow_provider_grokvideo.core.models`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Annotated, Any, ClassVar
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ValidationInfo, model_validator
from typing_extensions import Self, override

from airflow_provider_grokvideo.core import models
from airflow_provider_grokvideo.core.errors import InvalidInput
from airflow_provider_grokvideo.core.fields import (
    AspectRatio,
    Flag,
    Moment,
    Name,
    Resolution,
    Seconds,
    Text,
    Value,
    sequence,
)
from airflow_provider_grokvideo.core.media import Audio, Media, Visual
from airflow_provider_grokvideo.core.texts import can_be_sent

STORED_FILE_SECONDS = (3600, 2_592_000)
"""The shortest and the longest time that xAI keeps a stored output, in seconds (contract §3.1)."""


class Keyframe(Value):
    """An image at a moment of the clip, in seconds from its beginning."""

    image: Visual
    timestamp_s: Moment


def _keyframes(value: object, info: ValidationInfo) -> list[Keyframe]:
    found = []
    for index, item in enumerate(sequence(value, info)):
        field = f"keyframes[{index}]"
        if isinstance(item, Mapping):
            try:
                item = Keyframe(**item)  # noqa: PLW2901
            except InvalidInput as problem:
                raise InvalidInput(f"{field}.{problem.field}", problem.value, problem.allowed) from None
        if not isinstance(item, Keyframe):
            raise InvalidInput(field, item, "an object with image and timestamp_s")
        found.append(item)
    return found


class _Request(Value):
    """Base of all requests.

    Args:
        prompt: What to make, or what to change. It must not be empty: xAI accepted image-to-video without a prompt
            and failed later (contract §3.1).
        model: Model name; unknown names are sent with a warning.
        storage_options: ``{"filename": ..., "expires_after": seconds, "public_url": ...}`` to have xAI store the
            output beyond the temporary link (contract §5.3).
        output: ``{"upload_url": <signed PUT URL>}``: xAI uploads the video there; required for teams with zero data
            retention (contract §3.5).
    """

    mode: ClassVar[str]
    endpoint: ClassVar[str] = "/videos/generations"

    prompt: Text
    model: Name = models.DEFAULT_MODEL
    storage_options: Mapping[str, Any] | None = None
    output: Mapping[str, Any] | None = None

    def media(self) -> Iterator[tuple[str, Media]]:
        """Yield (field, media) for each input, in the order of the contract's prompt tags (§3.1)."""
        yield from ()

    def with_media(self, found: Mapping[Media, Media]) -> Self:
        """Return the request with some inputs replaced, for example after an upload."""
        return self.model_validate({name: _replaced(value, found) for name, value in _fields(self)})

    def body(self) -> dict[str, Any]:
        """Return the JSON body of the request; xAI's defaults apply to unset fields."""
        words: dict[str, Any] = {"model": self.model, "prompt": self.prompt}
        words |= self._own_words()
        words |= {"storage_options": _plain(self.storage_options), "output": _plain(self.output)}
        return {name: value for name, value in words.items() if value is not None}

    def warnings(self) -> list[str]:
        """Return warnings for the log about allowed but doubtful arguments."""
        found = []
        if models.find_model(self.model) is None:
            known = ", ".join(model.name for model in models.MODELS)
            found.append(
                f"model {self.model!r} is unknown to this version (known: {known}); its limits are not checked"
            )
        if len(self.prompt) > models.PROMPT_WARNING_LENGTH:
            found.append(
                f"the prompt has {len(self.prompt)} characters; xAI publishes no limit, but refused some prompts with "
                f"more than {models.PROMPT_WARNING_LENGTH}"
            )
        return found

    def fingerprint(self) -> str:
        """Return a SHA-256 of the inputs; equal inputs have the same one, in whatever form they were given.

        The upload address does not count, because it does not change the video.
        """
        parts: dict[str, Any] = {"mode": self.mode}
        for name, value in _fields(self):
            if value is not None and self._decides(name):
                parts[name] = _identified(value)
        return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()

    def kind(self) -> str:
        """Return the group of its latency: mode, model, seconds and resolution, ``-`` if unknown."""
        model = models.find_model(self.model)
        seconds, resolution = self._size()
        return f"{self.mode}/{model.name if model else self.model}/{seconds or '-'}/{resolution or '-'}"

    def _size(self) -> tuple[int | None, str | None]:
        """Return seconds and resolution of the rendered video; None if the request does not set them."""
        return None, None

    def _own_words(self) -> dict[str, Any]:
        return {}

    def _decides(self, name: str) -> bool:
        """Return whether a set field changes the video."""
        return name != "output"

    @model_validator(mode="after")
    def _check_texts(self) -> Self:
        for name, value in _fields(self):
            for text in _texts(value):
                if not can_be_sent(text):
                    raise InvalidInput(name, text, "text without a lone surrogate (half an emoji)")
        return self

    @model_validator(mode="after")
    def _check_output(self) -> Self:
        if self.output is not None:
            address = self.output.get("upload_url")
            if set(self.output) != {"upload_url"} or not _is_https(address):
                raise InvalidInput(
                    "output", sorted(map(str, self.output)), "an object with one key, upload_url, and an https URL"
                )
        if self.storage_options is not None:
            _check_storage(self.storage_options)
        return self


class _Generated(_Request):
    """Base of all generations.

    Args:
        duration: Seconds of the clip; None is xAI's default, 8.
        aspect_ratio: None is xAI's default, 16:9.
        resolution: None is xAI's default, 480p.
        generate_audio: False for a silent clip; costs the same (contract §4).
        user: An opaque id of your end user, which is sent to xAI.
    """

    duration: Seconds = None
    aspect_ratio: AspectRatio = None
    resolution: Resolution = None
    generate_audio: Flag = None
    user: str | None = None

    @override
    def _size(self) -> tuple[int | None, str | None]:
        seconds = models.DEFAULT_SECONDS if self.duration is None else self.duration
        return seconds, self.resolution or models.DEFAULT_RESOLUTION

    @override
    def _own_words(self) -> dict[str, Any]:
        return {
            "duration": self.duration,
            "aspect_ratio": self.aspect_ratio,
            "resolution": self.resolution,
            # The field is missing from the REST schema, so it is sent only where it changes something (§3.1).
            "generate_audio": False if self.generate_audio is False else None,
            "user": self.user,
        }

    @override
    def _decides(self, name: str) -> bool:
        return super()._decides(name) and (name != "generate_audio" or self.generate_audio is False)

    def _check_generation(self, offers: str, what: str) -> None:
        model = models.find_model(self.model)
        if model is None:
            _check_seconds("duration", self.duration, (1, 15), "any model")
            return
        limits: models.Generation | None = getattr(model, offers)
        if limits is None:
            raise InvalidInput("model", self.model, f"a model with {what}: {models.names_of(offers)}")
        _check_seconds("duration", self.duration, limits.seconds, f"{what} with {self.model}")
        if self.resolution is not None and self.resolution not in limits.resolutions:
            raise InvalidInput(
                "resolution",
                self.resolution,
                f"one of {', '.join(limits.resolutions)} for {what} with {self.model}",
            )


class TextToVideo(_Generated):
    """A clip from a prompt."""

    mode: ClassVar[str] = "text-to-video"

    @model_validator(mode="after")
    def _check(self) -> Self:
        self._check_generation("text", "text-to-video")
        return self


class ImageToVideo(_Generated):
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


class ReferenceToVideo(_Generated):
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
    keyframes: Annotated[tuple[Keyframe, ...], BeforeValidator(_keyframes)] = ()

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
        _check_keyframes(self.keyframes, self.duration or models.DEFAULT_SECONDS)
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


class EditVideo(_Request):
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


class ExtendVideo(_Request):
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
        _check_seconds("duration", self.duration, models.EXTENSION_SECONDS, "the added part of an extension")
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


def _check_seconds(field: str, value: int | None, allowed: tuple[int, int], what: str) -> None:
    low, high = allowed
    if value is not None and not low <= value <= high:
        raise InvalidInput(field, value, f"{low} to {high} seconds for {what}")


def _check_keyframes(frames: tuple[Keyframe, ...], seconds: int) -> None:
    if len(frames) > models.MAX_KEYFRAMES:
        raise InvalidInput("keyframes", len(frames), f"at most {models.MAX_KEYFRAMES} keyframes")
    taken: set[int] = set()
    for index, frame in enumerate(frames):
        field = f"keyframes[{index}].timestamp_s"
        if not 0 < frame.timestamp_s < seconds:
            raise InvalidInput(
                field, frame.timestamp_s, f"a moment inside the clip: more than 0 and less than {seconds} s"
            )
        slot = round(frame.timestamp_s * models.KEYFRAME_GRID)
        if slot in taken:
            raise InvalidInput(field, frame.timestamp_s, "a third of a second without another keyframe")
        taken.add(slot)
    moments = sorted(frame.timestamp_s for frame in frames)
    for earlier, later in pairwise(moments):
        if later - earlier < 1 / models.KEYFRAME_GRID - 1e-6:
            raise InvalidInput("keyframes", [earlier, later], "moments at least a third of a second apart")


def _check_storage(options: Mapping[str, Any]) -> None:
    if not isinstance(options.get("filename"), str) or not options["filename"]:
        raise InvalidInput("storage_options", sorted(map(str, options)), "an object with a filename")
    if unknown := set(map(str, options)) - {"filename", "expires_after", "public_url"}:
        raise InvalidInput("storage_options", sorted(unknown), "only filename, expires_after and public_url")
    _check_public_url(options.get("public_url"))
    _check_stored_seconds("storage_options.expires_after", options.get("expires_after"))


def _check_public_url(wish: object) -> None:
    field = "storage_options.public_url"
    if isinstance(wish, Mapping) and set(wish) <= {"expires_after"}:
        _check_stored_seconds(f"{field}.expires_after", wish.get("expires_after"))
    elif wish is not None and not isinstance(wish, bool):
        raise InvalidInput(field, wish, 'True, False or {"expires_after": seconds}')


def _check_stored_seconds(field: str, seconds: object) -> None:
    low, high = STORED_FILE_SECONDS
    if seconds is not None and (
        isinstance(seconds, bool) or not isinstance(seconds, int) or not low <= seconds <= high
    ):
        raise InvalidInput(field, seconds, f"{low} to {high} seconds")


def _is_https(address: object) -> bool:
    """Return whether an address is https; http is allowed on this machine, for the emulator and tests."""
    try:
        parts = urlsplit(address) if isinstance(address, str) else None
    except ValueError:
        return False
    if parts is None or not parts.hostname:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in ("127.0.0.1", "::1", "localhost"))


def _fields(value: BaseModel) -> list[tuple[str, Any]]:
    return [(name, getattr(value, name)) for name in type(value).model_fields]


def _replaced(value: Any, found: Mapping[Media, Media]) -> Any:
    match value:
        case Media():
            return found.get(value, value)
        case Keyframe():
            return Keyframe(image=found.get(value.image, value.image), timestamp_s=value.timestamp_s)
        case tuple():
            return tuple(_replaced(part, found) for part in value)
    return value


def _identified(value: Any) -> Any:
    match value:
        case Media():
            return value.identity()
        case Keyframe():
            return [value.image.identity(), value.timestamp_s]
        case tuple():
            return [_identified(part) for part in value]
        case Mapping():
            return _plain(value)
    return value


def _texts(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
        case BaseModel():
            for _, part in _fields(value):
                yield from _texts(part)
        case Mapping():
            for name, part in value.items():
                yield from _texts(name)
                yield from _texts(part)
        case tuple():
            for part in value:
                yield from _texts(part)


def _plain(value: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if value is None else dict(value)


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
