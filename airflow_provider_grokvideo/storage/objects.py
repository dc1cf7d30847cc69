"""A directory of an object store as a place for videos."""

from __future__ import annotations

import contextlib
import errno
import inspect
import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Any

from airflow_provider_grokvideo.storage.names import (
    CONTENT_TYPES,
    LARGEST_READ,
    LONGEST_KEY,
    part_name,
)

_LOG = logging.getLogger(__name__)


WHOLE_OR_NOTHING = frozenset({"s3", "s3a", "s3n", "gs", "gcs"})


PART = 8 * 1024 * 1024


class ObjectPlace:
    """A prefix in object storage, or a directory on a remote filesystem.

    Names are passed unchanged: only fsspec calls without wildcards are used.
    """

    def __init__(self, fs: Any, directory: str, scheme: str) -> None:
        self.fs = fs
        self.directory = directory.rstrip("/")
        self.at_once = scheme in WHOLE_OR_NOTHING

    def prepare(self) -> None:
        """Create the directory, if the storage has directories; buckets are never created."""
        if not self.at_once:
            self.fs.makedirs(self.directory or "/", exist_ok=True)

    def put(self, local: Path, name: str) -> None:
        """Upload at once, or aside and move."""
        # s3fs would else hold several parts of 50 MiB in memory.
        known = self._parameters("put_file")
        sparing = {"chunksize": PART, "max_concurrency": 1} if {"chunksize", "max_concurrency"} <= known else {}
        self._store(name, lambda path: self.fs.put_file(str(local), path, **sparing, **self._typed(name, "put_file")))

    def copy(self, source: str, name: str) -> None:
        """Let the storage copy, without a download if it can."""
        self._store(name, lambda path: self.fs.cp_file(self._path(source), path, **self._typed(name, "cp_file")))

    def write(self, name: str, data: bytes) -> None:
        """Upload at once, or aside and move."""
        self._store(name, lambda path: self.fs.pipe_file(path, data, **self._typed(name, "pipe_file")))

    def create(self, name: str, data: bytes) -> bool:
        """Create by a conditional write if the filesystem has one; else check first, which leaves a race."""
        path = self._path(name)
        if "mode" in inspect.signature(getattr(self.fs, "_pipe_file", self.fs.pipe_file)).parameters:
            try:
                self.fs.pipe_file(path, data, mode="create", **self._typed(name, "pipe_file"))
            except FileExistsError:
                return False
            except (OSError, ValueError, TypeError, NotImplementedError) as error:
                _LOG.debug("no conditional write at %s: %s", path, error)
            else:
                return True
        if self.read(name) is not None:
            return False
        self.write(name, data)
        return True

    def read(self, name: str) -> bytes | None:
        """Return the content of an object.

        S3 answers "forbidden" for a missing object if the account may not list; it counts as missing.
        """
        try:
            self.fs.invalidate_cache()
            with self.fs.open(self._path(name), "rb") as file:
                return bytes(file.read(LARGEST_READ + 1))
        except FileNotFoundError:
            return None
        except PermissionError as error:
            _LOG.info("%s cannot be read (%s) and counts as missing", self._path(name), error)
            return None

    def open(self, name: str) -> IO[bytes]:
        """Open an object; reads fetch ranges."""
        stream: IO[bytes] = self.fs.open(self._path(name), "rb")
        return stream

    def part(self, name: str, start: int, end: int) -> bytes:
        """Return a part of an object by one call for just these bytes."""
        content: bytes = self.fs.cat_file(self._path(name), start=start, end=end)
        return content

    def size(self, name: str) -> int | None:
        """Return the current size of an object."""
        path = self._path(name)
        self.fs.invalidate_cache()
        try:
            return int(self.fs.info(path)["size"])
        except FileNotFoundError:
            return None

    def remove(self, name: str) -> None:
        """Delete an object."""
        with contextlib.suppress(Exception):
            self.fs.rm_file(self._path(name))

    def is_no_file(self, name: str) -> bool:
        """Say whether a name is a directory; a prefix is none."""
        return not self.at_once and bool(self.fs.isdir(self._path(name)))

    def check_names(self, names: Iterable[str]) -> None:
        """Check the length of each whole name."""
        for name in names:
            length = len(self._path(name).partition("/")[2].encode())
            if length > LONGEST_KEY:
                raise OSError(
                    errno.ENAMETOOLONG, f"the object's name has {length} bytes; at most {LONGEST_KEY} are allowed"
                )

    def _path(self, name: str) -> str:
        return f"{self.directory}/{name}"

    def _parameters(self, verb: str) -> set[str]:
        """Return the names of the parameters of a filesystem's method, of its coroutine if there is one."""
        method = getattr(self.fs, f"_{verb}", None) or getattr(self.fs, verb)
        return set(inspect.signature(method).parameters)

    def _typed(self, name: str, verb: str) -> dict[str, Any]:
        """Return the arguments for the content type of an object; empty if the filesystem has none."""
        kind = CONTENT_TYPES.get(Path(name).suffix.lower())
        protocols = self.fs.protocol if isinstance(self.fs.protocol, tuple | list) else (self.fs.protocol,)
        if kind is None:
            return {}
        if {"s3", "s3a"} & set(protocols):
            # A copy keeps what its source has unless it is told to replace it.
            return {"ContentType": kind, **({"MetadataDirective": "REPLACE"} if verb == "cp_file" else {})}
        if {"gs", "gcs"} & set(protocols):
            return {} if verb == "cp_file" else {"content_type": kind}
        if {"abfs", "abfss", "az"} & set(protocols) and verb != "cp_file":
            return azure(kind)
        return {}

    def _store(self, name: str, upload: Callable[[str], object]) -> None:
        if self.at_once:
            upload(self._path(name))
            return
        part = part_name(name)
        try:
            upload(self._path(part))
            self._move(self._path(part), self._path(name))
        except BaseException:
            self.remove(part)
            raise

    def _move(self, part: str, final: str) -> None:
        try:
            self._rename(part, final)
        except (OSError, NotImplementedError):
            # HDFS and SMB do not rename over a file that is there.
            if not self.fs.exists(final):
                raise
            self.fs.rm_file(final)
            self._rename(part, final)

    def _rename(self, part: str, final: str) -> None:
        from fsspec import AbstractFileSystem

        if type(self.fs).mv is not AbstractFileSystem.mv:
            self.fs.mv(part, final)
            return
        self.fs.cp_file(part, final)
        self.fs.rm_file(part)


def azure(kind: str) -> dict[str, Any]:
    """Return how adlfs takes a content type."""
    try:
        from azure.storage.blob import ContentSettings
    except ImportError:
        return {}
    return {"content_settings": ContentSettings(content_type=kind)}
