"""Images, videos and audio clips as inputs of a request.

The API takes an object with exactly one source, ``{"url": ...}`` or ``{"file_id": ...}``; it may silently ignore other
shapes and bill an unrelated clip (contract §3.1). Tasks may give a string. This module turns the string into the object
and adds a third source, ``path``: a file that Airflow's ObjectStorage can read. It is inlined or uploaded before the
request is sent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal
from urllib.parse import SplitResult, unquote, urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationInfo

from airflow_provider_grokvideo.core.errors import InvalidInput, shorten
from airflow_provider_grokvideo.core.texts import USE_THE_OUTPUT, can_be_sent, is_rendered_data

Source = Literal["url", "file_id", "path"]

_FILE_ID = re.compile(r"file[_-][A-Za-z0-9_-]+")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_AUDIO_SUFFIX = re.compile(r"\.(mp3|wav|m4a|aac|ogg|flac)$", re.IGNORECASE)
_ALLOWED = (
    "an https URL, a data: URI, a file id (file_...), a path that Airflow's ObjectStorage can read, or an object "
    "with exactly one of url and file_id"
)


_SOUNDS = "a voice id, an https URL, a data: URI or the path of an audio file"


class Media(BaseModel):
    """One image, video or audio clip: exactly one of `url`, `file_id`, `path` and `voice_id`.

    `sha256` is the hash of a path's bytes once they were read, so that the same file uploaded twice is the same
    request. `known_as` is the stable name of a clip that has several addresses, some of them temporary.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str | None = None
    file_id: str | None = None
    path: str | None = None
    voice_id: str | None = None
    sha256: str | None = None
    known_as: str | None = None

    def __repr__(self) -> str:
        """Return the source without its payload and without the query string, which may hold a signature."""
        return f"Media({self})"

    def __str__(self) -> str:
        return shorten(self.url or self.path or self.identity())

    def body(self, field: str) -> dict[str, str]:
        """Return the object the API wants.

        Raises:
            InvalidInput: It is still a path; paths are inlined or uploaded first.
        """
        if self.path is not None:
            raise InvalidInput(
                field, self.path, "a URL or a file id; a path must be inlined or uploaded before the request is sent"
            )
        named = {"url": self.url, "file_id": self.file_id, "voice_id": self.voice_id}
        return {name: value for name, value in named.items() if value is not None}

    def identity(self) -> str:
        """Return the stable identity of the input: its name or hash if known, else its address."""
        return self.known_as or self.sha256 or self.url or self.file_id or self.path or self.voice_id or ""


def source_of(text: str) -> Source:
    """Return what kind of source a string is: ``url`` (https, http or data:), ``file_id``, or else ``path``."""
    if re.match(r"data:|https?://", text, re.IGNORECASE):
        return "url"
    if _FILE_ID.fullmatch(text):
        return "file_id"
    return "path"


def _parse(value: object, info: ValidationInfo) -> object:
    return parse_media(value, field=info.field_name or "media")


def _parse_audio(value: object, info: ValidationInfo) -> object:
    return parse_audio(value, field=info.field_name or "reference_audios")


def parse_media(value: object, *, field: str) -> Media:
    """Turn a task's argument into one :class:`Media`.

    Raises:
        InvalidInput: It is empty, has a wrong type, or does not have exactly one source.
    """
    if isinstance(value, Media):
        return value
    if isinstance(value, str):
        text = value.strip()
        if not text or text == "None":
            raise InvalidInput(field, value, f"{_ALLOWED}; a template may have rendered to nothing")
        if is_rendered_data(text):
            raise InvalidInput(field, "the text of another task's result", f"{_ALLOWED}, {USE_THE_OUTPUT}")
        if not can_be_sent(text):
            raise InvalidInput(field, text, "a URL, file id or path without a lone surrogate (half an emoji)")
        source = source_of(text)
        return _checked(Media(**{source: text}), field)
    if isinstance(value, Mapping):
        return _checked(_from_object(value, field, allowed=("url", "file_id")), field)
    if hasattr(value, "__fspath__") or hasattr(value, "protocol"):
        return Media(path=str(value))
    raise InvalidInput(field, value, f"{_ALLOWED}, {USE_THE_OUTPUT}")


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        usable = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return None
    return parts if usable else None


def parse_audio(value: object, *, field: str) -> Media:
    """Turn a reference audio into a :class:`Media`: ``{voice_id}``, ``{url}``, or a string with either.

    Raises:
        InvalidInput: As :func:`parse_media`, and for a file id (contract §3.1).
    """
    if isinstance(value, Mapping):
        return _checked(_from_object(value, field, allowed=("voice_id", "url")), field)
    if value is None or (isinstance(value, str) and source_of(value) == "file_id"):
        raise InvalidInput(field, value, f"{_SOUNDS}, but not a file id")
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9_-]+", value) and value != "None":
        return Media(voice_id=value)
    media = parse_media(value, field=field)
    if media.path is not None and not _AUDIO_SUFFIX.search(media.path):
        raise InvalidInput(field, media.path, _SOUNDS)
    return media


def _from_object(value: Mapping[Any, Any], field: str, allowed: tuple[str, ...]) -> Media:
    given = {name: part for name, part in value.items() if part is not None}
    if unknown := [str(name) for name in given if name not in allowed]:
        raise InvalidInput(field, sorted(unknown), f"an object with exactly one of {' and '.join(allowed)}")
    if len(given) != 1:
        raise InvalidInput(
            field,
            sorted(map(str, given)),
            f"an object with exactly one of {' and '.join(allowed)}",
        )
    ((name, part),) = given.items()
    if not isinstance(part, str) or not part.strip():
        raise InvalidInput(f"{field}.{name}", part, "a non-empty string")
    return Media(**{name: part.strip()})


def _checked(media: Media, field: str) -> Media:
    url = media.url
    if url is None:
        return media
    if source_of(url) == "url" and url[:5].lower() == "data:":
        return media.model_copy(update={"url": clean_data_uri(url, field)})
    parts = _split(url)
    if parts is None or parts.scheme.lower() not in ("http", "https") or re.search(r"\s", url):
        raise InvalidInput(field, url, "a direct, public https URL")
    if parts.username or parts.password:
        raise InvalidInput(field, f"{parts.scheme}://...@{parts.hostname}", "a URL without user name and password")
    return media


def clean_data_uri(uri: str, field: str) -> str:
    """Return a ``data:`` URI as it is sent: ``data:<type>;base64,<data>``.

    Parameters and line breaks are removed; ``data:`` and ``base64`` may have any case (RFC 2397).

    Raises:
        InvalidInput: It has no type, no base64 or no data.
    """
    head, comma, data = uri.partition(",")
    kind, *parameters = [part.strip() for part in head[5:].split(";")]
    data = "".join(unquote(data).split())
    usable = comma and re.fullmatch(r"[\w.+-]+/[\w.+-]+", kind) and parameters and parameters[-1].lower() == "base64"
    if not usable or not re.fullmatch(r"[A-Za-z0-9+/_-]+=*", data):
        raise InvalidInput(field, uri, "a data: URI of the form data:<type>;base64,<data>")
    return f"data:{kind.lower()};base64,{data}"


def is_storage_url(path: str) -> bool:
    """Return whether a path has a scheme, as ``s3://bucket/key`` does; else it is local."""
    return bool(_SCHEME.match(path))


Visual = Annotated[Media, BeforeValidator(_parse)]
"""An image or a video in a request."""

Audio = Annotated[Media, BeforeValidator(_parse_audio)]
"""A reference audio in a request."""
