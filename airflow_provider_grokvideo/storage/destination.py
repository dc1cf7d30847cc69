"""Destination of a video: parsing of ``destination`` and the check that it is writable."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from airflow_provider_grokvideo.core.errors import InvalidInput
from airflow_provider_grokvideo.core.texts import can_be_sent
from airflow_provider_grokvideo.storage import names, places

SUFFIX = ".mp4"

POSTER_SUFFIX = ".poster.jpg"
"""Replaces :data:`SUFFIX`; not ``.jpg`` alone, which may be the input image of the video."""

_FIELD = "destination"
_ALLOWED = (
    "a file ending in .mp4, or a directory (ending in '/' or without a suffix), as a local path or as an "
    "ObjectStorage URL such as s3://conn_id@bucket/path"
)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_ONE_SLASH = re.compile(r"(s3|s3a|gs|gcs|abfs|abfss|adl|sftp|hdfs|file|local|https?):(?!//)", re.IGNORECASE)
_BUCKETS = frozenset({"s3", "s3a", "s3n", "gs", "gcs", "abfs", "abfss"})
_FILE_SUFFIX = re.compile(r"\.(mp4|[a-z][a-z0-9]{1,4})$", re.IGNORECASE)
"""A suffix that makes the last part of a path a file name; dots of dates, run ids and versions do not count."""

_PROBE = ".grokvideo-write-check"
"""A fixed name, so that an account that may write but not delete leaves only one such object."""


@dataclass(frozen=True)
class Target:
    """The file of a video.

    Attributes:
        directory: An absolute local path or an ObjectStorage URL, without a trailing slash.
        name: The file's name with its suffix.
        is_local: Whether it is a local path.
    """

    directory: str
    name: str
    is_local: bool

    @property
    def uri(self) -> str:
        """URI of the video for ``ObjectStoragePath``: ``file:///...`` (not percent-encoded) or a URL."""
        return self._uri(self.name)

    @property
    def sidecar_name(self) -> str:
        """The name of the sidecar, the JSON file beside the video."""
        return f"{self.stem}.json"

    @property
    def sidecar_uri(self) -> str:
        """URI of the sidecar."""
        return self._uri(self.sidecar_name)

    @property
    def poster_name(self) -> str:
        """The name of the poster, the picture beside the video."""
        return f"{self.stem}{POSTER_SUFFIX}"

    @property
    def poster_uri(self) -> str:
        """URI of the poster."""
        return self._uri(self.poster_name)

    @property
    def stem(self) -> str:
        """The name without ``.mp4``."""
        return self.name[: -len(SUFFIX)]

    def beside(self, request_id: str) -> Target:
        """Return a target in the same directory with the request id in its name."""
        own = f"-{file_name(request_id)}{SUFFIX}"
        room = names.LONGEST_NAME - len(own.encode()) - len(POSTER_SUFFIX) + len(SUFFIX)
        return replace(self, name=f"{names.shortened(self.stem, room)}{own}")

    @property
    def names(self) -> tuple[str, str, str]:
        """The names of video, sidecar and poster."""
        return self.name, self.sidecar_name, self.poster_name

    @property
    def claim_name(self) -> str:
        """The name of the file that is there while a video is written."""
        return names.hidden(self.name, ".claim")

    def place(self) -> places.Place:
        """Open its storage.

        Raises:
            InvalidInput: The storage is not installed; the message names the package.
        """
        return places.open_place(self.directory, is_local=self.is_local, field=_FIELD, shown=self.uri)

    def _uri(self, name: str) -> str:
        path = f"{self.directory.rstrip('/')}/{name}"
        return f"file://{path}" if self.is_local else path


def target(destination: str | os.PathLike[str], *, default_name: str) -> Target:
    """Parse a destination.

    Local paths may be relative (to the worker's current directory) or start with ``~``. Names are not decoded: blanks,
    ``%``, ``#``, ``?`` are literal, as for ``ObjectStoragePath``.

    Args:
        destination: A file ending in ``.mp4``, or a directory, which ends in ``/`` or has no suffix.
        default_name: The file's name in a directory, without suffix.

    Raises:
        InvalidInput: It is empty, has another suffix, or is not a writable kind of storage.
    """
    scheme, text = checked_path(destination, field=_FIELD, allowed=_ALLOWED)
    return _object(text, scheme, default_name) if scheme else _local(text, default_name)


def checked_path(value: str | os.PathLike[str], *, field: str, allowed: str) -> tuple[str, str]:
    """Check the path of something that is written.

    Args:
        value: A local path or an ObjectStorage URL.
        field: The operator argument, for messages.
        allowed: What it may be, for messages.

    Returns:
        The scheme in lower case, and the URL; or an empty text, and the local path without ``file://``.

    Raises:
        InvalidInput: It is empty, or not a writable kind of storage.
    """
    text = str(value).strip() if value is not None else ""
    if text in ("", "None", "none", "null"):
        raise InvalidInput(field, value, f"{allowed}; a template may have rendered to nothing")
    if re.search(r"[\x00-\x1f\x7f]", text):
        raise InvalidInput(field, value, "a path without line breaks and control characters")
    if not can_be_sent(text):
        raise InvalidInput(field, value, "a path without a lone surrogate (half an emoji), which UTF-8 cannot encode")
    if ".." in re.split(r"[/\\]", text):
        # A run id may be "..", and a rendered path must not leave the directory that the DAG's author wrote.
        raise InvalidInput(field, value, "a path without '..'; write the directory itself")
    if text[:5].lower() == "data:":
        raise InvalidInput(field, value, f"{allowed}; nothing can be written to a data URI")
    if found := _ONE_SLASH.match(text):
        raise InvalidInput(field, value, f"two slashes after the scheme ({found[1]}://)")
    scheme = _SCHEME.match(text)
    if scheme is None:
        return "", text
    host, slash, path = text[scheme.end() :].partition("/")
    if scheme[1].lower() in ("file", "local"):
        if not slash or host.rpartition("@")[2] not in ("", "localhost"):
            raise InvalidInput(field, value, "file:/// with three slashes and an absolute path")
        return "", f"/{path}"
    if scheme[1].lower() in ("http", "https"):
        raise InvalidInput(field, value, f"{allowed}, but not a web address")
    if not host.rpartition("@")[2] and scheme[1].lower() in _BUCKETS:
        raise InvalidInput(field, text, f"{scheme[1].lower()}://bucket/path, but the bucket is missing")
    return scheme[1].lower(), text


def check_writable(
    destination: str | os.PathLike[str],
    *,
    default_name: str = "video",
    inputs: Iterable[str] = (),
    only_names: bool = False,
) -> Target:
    """Check before the purchase that a video can be stored; return its target.

    The check writes: it creates missing local directories, writes and deletes a small object, and checks each name of
    the delivery. A foreign file with the sidecar's name is not overwritten.

    Args:
        destination: The destination, as :func:`target` parses it.
        default_name: The file's name in a directory, without suffix.
        inputs: Paths and URIs of the input media, which must not be overwritten.
        only_names: The directory has been checked for another video a moment ago; nothing is written.

    Raises:
        InvalidInput: It is not writable, the bucket does not exist, the storage is not installed, or a name is too long
            or taken.
        DeliveryFailed: The storage does not respond; this may be temporary.
    """
    to = target(destination, default_name=default_name)
    if longest := next((each for each in to.names if len(each.encode()) > names.LONGEST_NAME), None):
        most = names.LONGEST_NAME - len(POSTER_SUFFIX) + len(SUFFIX)
        raise InvalidInput(
            _FIELD, str(destination), f"a file name of at most {most} bytes, with room for {longest[-20:]} beside it"
        )
    if any(is_same_file(each, to) for each in inputs):
        raise InvalidInput(_FIELD, str(destination), "a file that is not an input of the video")
    place = to.place()
    with places.before_purchase(_FIELD, str(destination)):
        for name in (*to.names, to.claim_name):
            if place.is_no_file(name):
                raise InvalidInput(_FIELD, str(destination), f"a free name; {name} is there and is not a file")
        if not only_names:
            place.prepare()
            place.write(_PROBE, b"")
    if not only_names:
        place.remove(_PROBE)
    with places.before_purchase(_FIELD, str(destination)):
        place.check_names(to.names)
        if is_foreign(place.read(to.sidecar_name)):
            expected = f"another name: {to.sidecar_name} exists there and is not a sidecar of this provider"
            raise InvalidInput(_FIELD, str(destination), expected)
    return to


def is_foreign(content: bytes | None) -> bool:
    """Return whether a file with a sidecar's name is not a sidecar of this provider."""
    if not content:
        return False
    try:
        record = json.loads(content) if len(content) <= LARGEST_SIDECAR else None
    except (ValueError, RecursionError):
        return True
    return not (isinstance(record, dict) and _is_ours(record))


def _is_ours(record: dict[str, Any]) -> bool:
    owner = record.get("owner")
    by_a_task = isinstance(owner, dict) and {"dag_id", "run_id", "task_id"} <= owner.keys()
    return by_a_task and {"uri", "sidecar_uri"} <= record.keys()


LARGEST_SIDECAR = names.LARGEST_READ


def is_same_file(source: str, to: Target) -> bool:
    """Return whether a path or URI is the file of a target, in any known spelling."""
    local = local_path(source)
    if local is not None:
        if not to.is_local:
            return False
        path, final = expanded(local, "video"), Path(to.directory, to.name)
        try:
            return path.samefile(final)
        except OSError:
            return os.path.normpath(path) == os.path.normpath(final)
    return not to.is_local and _without_conn_id(source) == _without_conn_id(to.uri)


def _without_conn_id(url: str) -> str:
    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    same = {"s3a": "s3", "s3n": "s3", "gcs": "gs", "abfss": "abfs"}
    return f"{same.get(scheme.lower(), scheme.lower())}://{host.rpartition('@')[2]}{slash}{re.sub('/+', '/', path)}"


def local_path(uri: str) -> Path | None:
    """Return the path of a ``file://`` URI or a plain path; None for other storage."""
    scheme = _SCHEME.match(uri)
    if scheme is None:
        return Path(uri)
    return Path(uri[scheme.end() :]) if scheme[1].lower() in ("file", "local") else None


def file_name(text: str) -> str:
    """Return a text as one part of a path: slashes and control characters become underscores."""
    return re.sub(r"[/\\\x00-\x1f\x7f]", "_", text).strip() or "video"


def _local(text: str, default_name: str) -> Target:
    directory, name = _split(text, text, default_name)
    path = expanded(directory or ("/" if text.startswith("/") else "."), _FIELD)
    return Target(str(path), name, is_local=True)


def expanded(path: str | Path, field: str) -> Path:
    """Return an absolute local path, with ``~`` replaced.

    Raises:
        InvalidInput: The user, home directory or current directory does not exist on this worker.
    """
    try:
        return Path(path).expanduser().absolute()
    except (RuntimeError, OSError, ValueError) as error:
        raise InvalidInput(field, str(path), f"a path that exists on this worker ({error})") from error


def _object(text: str, scheme: str, default_name: str) -> Target:
    start = text.index("://") + 3
    host, slash, path = text[start:].partition("/")
    directory, name = _split(path, text, default_name) if slash else ("", f"{file_name(default_name)}{SUFFIX}")
    root = f"{scheme}://{host}"
    return Target(f"{root}/{directory.strip('/')}".rstrip("/") if directory.strip("/") else root, name, is_local=False)


def _split(path: str, shown: str, default_name: str) -> tuple[str, str]:
    parent, slash, last = path.rpartition("/")
    suffix = _FILE_SUFFIX.search(last)
    if suffix is None or last in (".", ".."):
        return path, f"{file_name(default_name)}{SUFFIX}"
    if suffix[0].lower() != SUFFIX:
        raise InvalidInput(_FIELD, shown, f"{_ALLOWED}; add a '/' if {last!r} is a directory")
    if not last[: -len(SUFFIX)].strip(" ."):
        raise InvalidInput(_FIELD, shown, "a file name before .mp4; a template may have rendered to nothing")
    return parent + slash, last
