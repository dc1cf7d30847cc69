"""Base classes of the requests: the arguments that they share, body, warnings and fingerprint."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, model_validator
from typing_extensions import Self, override

from airflow_provider_grokvideo.core import models
from airflow_provider_grokvideo.core.errors import InvalidInput
from airflow_provider_grokvideo.core.fields import AspectRatio, Flag, Name, Resolution, Seconds, Text, Value
from airflow_provider_grokvideo.core.keyframes import Keyframe
from airflow_provider_grokvideo.core.media import Media
from airflow_provider_grokvideo.core.outputs import check_storage, check_upload
from airflow_provider_grokvideo.core.texts import can_be_sent


class Request(Value):
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
            check_upload(self.output)
        if self.storage_options is not None:
            check_storage(self.storage_options)
        return self


class GenerationRequest(Request):
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
            check_seconds("duration", self.duration, (1, 15), "any model")
            return
        limits: models.Generation | None = getattr(model, offers)
        if limits is None:
            raise InvalidInput("model", self.model, f"a model with {what}: {models.names_of(offers)}")
        check_seconds("duration", self.duration, limits.seconds, f"{what} with {self.model}")
        if self.resolution is not None and self.resolution not in limits.resolutions:
            raise InvalidInput(
                "resolution",
                self.resolution,
                f"one of {', '.join(limits.resolutions)} for {what} with {self.model}",
            )


def check_seconds(field: str, value: int | None, allowed: tuple[int, int], what: str) -> None:
    """Refuse a number of seconds outside of the limits; None is within."""
    low, high = allowed
    if value is not None and not low <= value <= high:
        raise InvalidInput(field, value, f"{low} to {high} seconds for {what}")


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
