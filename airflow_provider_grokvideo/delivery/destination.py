"""Where a video goes: the reading of ``destination``, and whether one may write there."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path

from airflow_provider_grokvideo.core.errors import InvalidInput
from airflow_provider_grokvideo.delivery import places

SUFFIX = ".mp4"

POSTER_SUFFIX = ".poster.jpg"
"""In place of :data:`SUFFIX`; not ``.jpg`` alone, which may be the image that the video was made from."""

_FIELD = "destination"
_ALLOWED = (
    "a file ending in .mp4, or a directory (ending in '/' or without a suffix), as a local path or as an "
    "ObjectStorage URL such as s3://conn_id@bucket/path"
)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_ONE_SLASH = re.compile(r"(s3|s3a|gs|gcs|abfs|abfss|adl|sftp|hdfs|file|local|https?):(?!//)", re.IGNORECASE)
_BUCKETS = frozenset({"s3", "s3a", "s3n", "gs", "gcs", "abfs", "abfss"})
_FILE_SUFFIX = re.compile(r"\.(mp4|[a-z][a-z0-9]{1,4})$", re.IGNORECASE)
"""What makes the last part of a path a file's name; the dots of dates, run ids and versions do not."""

_PROBE = ".grokvideo-write-check"
"""One fixed name, so that accounts that may write but not delete keep a single such object."""


@dataclass(frozen=True)
class Target:
    """The file a video will be.

    Attributes:
        directory: An absolute local path or an ObjectStorage URL, without a trailing slash.
        name: The file's name with its suffix.
        is_local: Whether it is a path of this machine.
    """

    directory: str
    name: str
    is_local: bool

    @property
    def uri(self) -> str:
        """Where the video is, readable by ``ObjectStoragePath``: ``file:///...`` (not percent-encoded) or a URL."""
        return self._uri(self.name)

    @property
    def sidecar_name(self) -> str:
        """The name of the JSON file beside it."""
        return f"{self.stem}.json"

    @property
    def sidecar_uri(self) -> str:
        """Where the JSON file beside it is."""
        return self._uri(self.sidecar_name)

    @property
    def poster_name(self) -> str:
        """The name of the picture beside it."""
        return f"{self.stem}{POSTER_SUFFIX}"

    @property
    def poster_uri(self) -> str:
        """Where the picture beside it is."""
        return self._uri(self.poster_name)

    @property
    def stem(self) -> str:
        """The name without ``.mp4``."""
        return self.name[: -len(SUFFIX)]

    def beside(self, request_id: str) -> Target:
        """Return the target in the same directory that is this request's alone."""
        return replace(self, name=f"{self.stem}-{file_name(request_id)}{SUFFIX}")

    def place(self) -> places.Place:
        """Open the storage it is in.

        Raises:
            InvalidInput: There is no such storage here; the message names the package that brings it.
        """
        return places.open_place(self.directory, is_local=self.is_local, field=_FIELD, shown=self.uri)

    def _uri(self, name: str) -> str:
        path = f"{self.directory.rstrip('/')}/{name}"
        return f"file://{path}" if self.is_local else path


def target(destination: str | os.PathLike[str], *, default_name: str) -> Target:
    """Read a destination as the user wrote it.

    Local paths may be relative (to the worker's current directory) or start with ``~``. In names nothing is decoded:
    blanks, ``%``, ``#``, ``?`` stand for themselves, as for ``ObjectStoragePath``.

    Args:
        destination: A file ending in ``.mp4``, or a directory: ends in ``/`` or has no suffix.
        default_name: The file's name in a directory, without suffix.

    Raises:
        InvalidInput: Empty, rendered to nothing, another suffix, or no place one can write to.
    """
    text = str(destination).strip() if destination is not None else ""
    if text in ("", "None", "none", "null"):
        raise InvalidInput(_FIELD, destination, f"{_ALLOWED}; a template may have rendered to nothing")
    if re.search(r"[\x00-\x1f\x7f]", text):
        raise InvalidInput(_FIELD, destination, "a path without line breaks and control characters")
    if found := _ONE_SLASH.match(text):
        raise InvalidInput(_FIELD, destination, f"{found[1]}:// with two slashes, if the scheme is meant")
    scheme = _SCHEME.match(text)
    if scheme is None or scheme[1].lower() in ("file", "local"):
        return _local(text if scheme is None else _without_host(text[scheme.end() :], destination), default_name)
    if scheme[1].lower() in ("http", "https"):
        raise InvalidInput(_FIELD, destination, f"{_ALLOWED}; nothing can be written to a web address")
    return _object(text, scheme[1].lower(), default_name)


def check_writable(destination: str | os.PathLike[str], *, default_name: str = "video") -> Target:
    """Make sure, before money is spent, that a video could be stored; return where.

    It is really tried: missing local directories are made, and a small object is written and deleted.

    Raises:
        InvalidInput: It cannot work: not writable, no such bucket, no such storage installed.
        DeliveryFailed: It does not work, but may later: the storage does not answer.
    """
    to = target(destination, default_name=default_name)
    place = to.place()
    with places.before_purchase(_FIELD, str(destination)):
        if place.is_directory(to.name):
            raise InvalidInput(_FIELD, str(destination), f"{_ALLOWED}; there is a directory of that name")
        place.prepare()
        place.write(_PROBE, b"")
    place.remove(_PROBE)
    return to


def local_path(uri: str) -> Path | None:
    """Return the path behind a ``file://`` URI or a plain path; None for other storage."""
    scheme = _SCHEME.match(uri)
    if scheme is None:
        return Path(uri)
    return Path(uri[scheme.end() :]) if scheme[1].lower() in ("file", "local") else None


def file_name(text: str) -> str:
    """Return a text fit for one part of a path: slashes and control characters become underscores."""
    return re.sub(r"[/\\\x00-\x1f\x7f]", "_", text).strip() or "video"


def _without_host(rest: str, destination: object) -> str:
    host, slash, path = rest.partition("/")
    if not slash or host.rpartition("@")[2] not in ("", "localhost"):
        raise InvalidInput(_FIELD, destination, "file:/// with three slashes and an absolute path")
    return f"/{path}"


def _local(text: str, default_name: str) -> Target:
    directory, name = _split(text, text, default_name)
    path = expanded(directory or ("/" if text.startswith("/") else "."), _FIELD)
    return Target(str(path), name, is_local=True)


def expanded(path: str | Path, field: str) -> Path:
    """Return an absolute local path, with ``~`` replaced.

    Raises:
        InvalidInput: This worker has no such user or home directory, or no current directory.
    """
    try:
        return Path(path).expanduser().absolute()
    except (RuntimeError, OSError, ValueError) as error:
        raise InvalidInput(field, str(path), f"a path that exists on this worker ({error})") from error


def _object(text: str, scheme: str, default_name: str) -> Target:
    start = text.index("://") + 3
    host, slash, path = text[start:].partition("/")
    bucket = host.rpartition("@")[2]
    if not bucket and scheme in _BUCKETS:
        raise InvalidInput(_FIELD, text, f"{scheme}://bucket/path; the bucket is missing")
    directory, name = _split(path, text, default_name) if slash else ("", f"{file_name(default_name)}{SUFFIX}")
    root = f"{scheme}://{host}"
    return Target(f"{root}/{directory.strip('/')}".rstrip("/") if directory.strip("/") else root, name, is_local=False)


def _split(path: str, shown: str, default_name: str) -> tuple[str, str]:
    parent, slash, last = path.rpartition("/")
    suffix = _FILE_SUFFIX.search(last)
    if suffix is None or last in (".", ".."):
        return path, f"{file_name(default_name)}{SUFFIX}"
    if suffix[0].lower() != SUFFIX:
        raise InvalidInput(_FIELD, shown, f"{_ALLOWED}; put a '/' behind it if {last!r} is a directory")
    if not last[: -len(SUFFIX)].strip(" ."):
        raise InvalidInput(_FIELD, shown, "a file name before .mp4; a template may have rendered to nothing")
    return parent + slash, last
