"""Input files of requests: images, videos and sounds, checked before the purchase.

The format of a link or file id is checked. A path is opened through Airflow's ObjectStorage and inspected; then it is
inlined into the request (a ``data:`` URI), or uploaded and referenced by its file id.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from airflow_provider_grokvideo.client import addresses
from airflow_provider_grokvideo.core.errors import DeliveryFailed, InvalidInput, shorten
from airflow_provider_grokvideo.core.media import source_of
from airflow_provider_grokvideo.media import sniffing
from airflow_provider_grokvideo.media.probe import Probe, probe
from airflow_provider_grokvideo.storage import places
from airflow_provider_grokvideo.storage.destination import expanded, local_path

Want = Literal["image", "video", "audio"]
Source = Literal["url", "data", "file_id", "path"]
Upload = Callable[[Path, str, str], str]
"""Takes a local file, its name and its MIME type; returns xAI's file id."""

MIB = 1024 * 1024
BODY_BYTES = 18 * MIB
"""Largest JSON of a request in bytes; xAI publishes no limit, gRPC's is 20 MiB (contract §3.4)."""

_NOTHING_SENT = "Nothing was sent or billed."
_SLACK_SECONDS = 0.05
"""Tolerance: the length of a container and the one xAI measures differ by a frame or the encoder's delay."""

_MIMES: dict[Want, tuple[str, ...]] = {
    "image": ("image/jpeg", "image/png", "image/webp"),
    "video": ("video/mp4",),
    "audio": ("audio/mpeg", "audio/wav", "audio/mp4", "audio/aac", "audio/ogg", "audio/flac"),
}
_NAMES: dict[Want, str] = {"image": "a JPEG, PNG or WebP image", "video": "an MP4 video", "audio": "an audio file"}
_ALIASES = {"image/jpg": "image/jpeg", "audio/mp3": "audio/mpeg", "audio/x-wav": "audio/wav", "audio/wave": "audio/wav"}
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Limits:
    """Limits of a field.

    Attributes:
        bytes: Largest file.
        seconds: Shortest and longest length; None without a limit.
        codecs: Allowed video codecs, by FFmpeg's names; empty if any.
    """

    bytes: int
    seconds: tuple[float | None, float | None] = (None, None)
    codecs: tuple[str, ...] = ()


_VIDEO_CODECS = ("h264", "hevc", "av1")

IMAGE = Limits(10 * MIB)
"""Contract §3.1."""

EDIT_VIDEO = Limits(50 * MIB, (None, 8.7), _VIDEO_CODECS)
"""Contract §3.2 and §8."""

EXTEND_VIDEO = Limits(50 * MIB, (2.0, 15.0), _VIDEO_CODECS)
"""Contract §3.3 and §8."""

AUDIO = Limits(50 * MIB, (None, 15.0))
"""Contract §3.1 and §8."""


@dataclass(frozen=True)
class Loaded:
    """A file that was inspected and is valid for its field.

    Attributes:
        field: The operator argument.
        want: Its kind.
        name: The file's own name.
        mime: Its MIME type, by content.
        bytes: Its length.
        sha256: In hexadecimal.
        duration: Seconds; None for images and if unknown.
        width: Pixels.
        height: Pixels.
        local: The local file with its bytes, while :func:`load` is open.
    """

    field: str
    want: Want
    name: str
    mime: str
    bytes: int
    sha256: str
    duration: float | None
    width: int | None
    height: int | None
    local: Path


def classify(value: str) -> Source:
    """Return the kind of a source: ``url`` (http or https), ``data`` (a data: URI), ``file_id`` or else ``path``."""
    source = source_of(value)
    return "data" if source == "url" and value.startswith("data:") else source


@contextmanager
def load(
    value: str | os.PathLike[str], *, field: str, want: Want, limits: Limits, log: logging.Logger = _LOG
) -> Iterator[Loaded]:
    """Open a path, inspect the file, and provide its bytes as a local file in the ``with`` block.

    A local file is used in place; another is copied to a temporary directory, once its size and first bytes are
    valid.

    Args:
        value: A local path or an ObjectStorage URL.
        field: The operator argument, for messages.
        want: The kind of the field.
        limits: The limits of the field.
        log: Gets a line for what could not be checked.

    Raises:
        InvalidInput: It is missing, not a file, not readable, of another kind, too large, too long, too short or
            damaged.
        DeliveryFailed: The storage did not respond.
    """
    text = str(value)
    local = local_path(text)
    if local is not None:
        path = expanded(local, field)
        with _opening(field, text, path):
            size = _local_size(path, field, text)
            head = _head(path)
        _check_head(head, size, field, text, want, limits)
        yield _looked_into(path, path.name, field, text, want, limits, log)
        return
    fs, remote = places.open_storage(text, field=field, shown=text)
    name = remote.rstrip("/").rpartition("/")[2]
    with tempfile.TemporaryDirectory(prefix="grokvideo-") as temporary:
        copy = Path(temporary, "input")
        with _opening(field, text, None):
            info = fs.info(remote)
            if info["type"] != "file":
                raise InvalidInput(field, text, f"{_NAMES[want]}, but this is a directory")
            head = fs.cat_file(remote, start=0, end=sniffing.HEAD_BYTES)
            _check_head(head, int(info["size"]), field, text, want, limits)
            with fs.open(remote, "rb") as source, copy.open("wb") as file:
                shutil.copyfileobj(source, file, MIB)
        yield _looked_into(copy, name, field, text, want, limits, log)


def to_reference(loaded: Loaded, *, room_bytes: int, upload: Upload | None) -> dict[str, str]:
    """Return the reference: ``{"url": "data:..."}`` if there is room, else ``{"file_id": ...}`` of an upload.

    Args:
        loaded: The file, with :func:`load` still open.
        room_bytes: The part of :data:`BODY_BYTES` that is left for this reference.
        upload: Uploads a file to xAI; None if the field allows no file ids, as for sounds (contract §3.1).

    Raises:
        InvalidInput: There is no room and no upload.
    """
    if inline_bytes(loaded) <= room_bytes:
        data = base64.b64encode(loaded.local.read_bytes()).decode("ascii")
        return {"url": f"data:{loaded.mime};base64,{data}"}
    if upload is None or loaded.want == "audio":
        raise InvalidInput(
            loaded.field, loaded.name, f"a file of at most {room_bytes * 3 // 4} bytes, which fits into the request"
        )
    return {"file_id": upload(loaded.local, loaded.name, loaded.mime)}


def inline_bytes(loaded: Loaded) -> int:
    """Return the bytes of JSON that the file needs as a ``data:`` URI."""
    return len(f"data:{loaded.mime};base64,") + 4 * -(-loaded.bytes // 3)


def check_given(
    value: str, *, field: str, want: Want, limits: Limits, allow_loopback: bool = False, log: logging.Logger = _LOG
) -> None:
    """Check a link, a ``data:`` URI or a file id, without downloading it.

    Raises:
        InvalidInput: xAI could not use it.
    """
    source = classify(value)
    if source == "url":
        _check_url(value, field, allow_loopback)
    elif source == "data":
        _check_data(value, field, want, limits, log)


def _check_url(url: str, field: str, allow_loopback: bool) -> None:
    hop = addresses.parse(url, allow_loopback=True)
    shown = addresses.without_query(url)
    if isinstance(hop, addresses.AddressRefused):
        raise InvalidInput(field, shown, f"a direct, public https URL, but {hop.why}")
    if addresses.is_local_name(hop.host) and not allow_loopback:
        raise InvalidInput(field, shown, "a URL that xAI can reach from the internet; use a path to upload the file")


def _check_data(uri: str, field: str, want: Want, limits: Limits, log: logging.Logger) -> None:
    found = re.match(r"data:([\w.+-]+/[\w.+-]+)(?:;[\w.+-]+=[\w.+-]+)*;base64,", uri)
    if not found:
        raise InvalidInput(field, uri, "a data: URI of the form data:<type>;base64,<data>")
    mime = _ALIASES.get(found[1].lower(), found[1].lower())
    if mime not in _MIMES[want]:
        raise InvalidInput(field, uri, f"{_NAMES[want]} ({', '.join(_MIMES[want])})")
    payload = len(uri) - found.end()
    if payload * 3 // 4 > min(limits.bytes, BODY_BYTES) + 2:
        raise InvalidInput(field, uri, f"at most {_size(min(limits.bytes, BODY_BYTES * 3 // 4))}")
    try:
        data = base64.b64decode(uri[found.end() :], validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidInput(field, uri, f"valid base64 after the comma ({error})") from error
    with tempfile.TemporaryDirectory(prefix="grokvideo-") as temporary:
        file = Path(temporary, "input")
        file.write_bytes(data)
        _check_head(data[: sniffing.HEAD_BYTES], len(data), field, uri, want, limits)
        seen = _looked_into(file, "data", field, uri, want, limits, log)
    if seen.mime != mime:
        raise InvalidInput(field, uri, f"data of its own MIME type, but the data is {seen.mime}")


@contextmanager
def _opening(field: str, text: str, path: Path | None) -> Iterator[None]:
    """Turn errors of the storage into errors of this package."""
    try:
        yield
    except InvalidInput:
        raise
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InvalidInput(field, text, _not_there(text, path)) from error
    except PermissionError as error:
        raise InvalidInput(field, text, f"a file that this worker may read ({places.reason(error)})") from error
    except Exception as error:
        what = f"{field}={shorten(text)} cannot be read: {places.reason(error)}"
        raise DeliveryFailed(what, advice=_NOTHING_SENT) from error


def _not_there(text: str, path: Path | None) -> str:
    if path is None:
        return "an existing object"
    where = "" if str(path) == text else f" ({str(path)!r})"
    relative = (
        "" if Path(text).is_absolute() or "://" in text else "; relative paths start at the worker's current directory"
    )
    return f"an existing file on the worker that runs this task{where}{relative}"


def _local_size(path: Path, field: str, text: str) -> int:
    size = path.stat().st_size
    if not path.is_file():
        raise InvalidInput(field, text, "a file, but this is a directory" if path.is_dir() else "a regular file")
    return size


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(sniffing.HEAD_BYTES)


def _check_head(head: bytes, size: int, field: str, text: str, want: Want, limits: Limits) -> None:
    """Check size and first bytes, before the rest is read."""
    format_ = sniffing.sniff(head)
    if not size:
        raise InvalidInput(field, text, f"{_NAMES[want]}, but the file is empty")
    # An MP4 file with sound only and one with a picture look the same at the beginning.
    if format_.mime not in (*_MIMES[want], *(("video/mp4",) if want == "audio" else ())):
        raise InvalidInput(field, text, f"{_NAMES[want]}, but the file is {format_.label}")
    if size > limits.bytes:
        raise InvalidInput(field, text, f"at most {_size(limits.bytes)}, but it has {_size(size)}")


def _looked_into(
    path: Path, name: str, field: str, text: str, want: Want, limits: Limits, log: logging.Logger
) -> Loaded:
    with _opening(field, text, path):
        found = probe(path)
        digest = _sha256(path)
    if found.problem is not None:
        raise InvalidInput(field, text, f"a complete file, but {found.problem}")
    if found.mime not in _MIMES[want]:
        raise InvalidInput(field, text, f"{_NAMES[want]}, but the file is {found.label}")
    _check_codec(found, field, text, limits)
    if found.odd_size is not None and want == "video":
        raise InvalidInput(field, text, f"a clip as xAI makes them, but {found.odd_size}")
    _check_length(found, field, text, want, limits, log)
    return Loaded(
        field, want, name, found.mime, found.bytes, digest, found.duration, found.width, found.height, local=path
    )


def _check_codec(found: Probe, field: str, text: str, limits: Limits) -> None:
    if limits.codecs and found.codec is not None and found.codec not in limits.codecs:
        allowed = "H.264, H.265 or AV1" if limits.codecs == _VIDEO_CODECS else ", ".join(limits.codecs)
        raise InvalidInput(field, text, f"a video with the codec {allowed}, but it has {found.codec}")


def _check_length(found: Probe, field: str, text: str, want: Want, limits: Limits, log: logging.Logger) -> None:
    shortest, longest = limits.seconds
    if shortest is None and longest is None:
        return
    if found.duration is None:
        log.warning("%s=%s: its length cannot be read here; xAI will check it", field, shorten(text))
        return
    if longest is not None and found.duration > longest + _SLACK_SECONDS:
        raise InvalidInput(field, text, f"{_NAMES[want]} of at most {longest:g} s, but it has {found.duration:.2f} s")
    if shortest is not None and found.duration < shortest - _SLACK_SECONDS:
        raise InvalidInput(field, text, f"{_NAMES[want]} of at least {shortest:g} s, but it has {found.duration:.2f} s")


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(MIB):
            digest.update(chunk)
    return digest.hexdigest()


def _size(number: int) -> str:
    return f"{number / MIB:.1f} MiB" if number >= MIB else f"{number} bytes"
