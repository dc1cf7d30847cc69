"""Local and object storage with the operations that deliveries and journals need.

In every storage, an object is complete or missing. The methods differ:

* Local: a part file in the same directory, flushed to disk, then renamed over the final name, which is atomic.
* S3 and Google Cloud Storage: one upload to the final name. Both show an object only when its upload is complete
  (a multipart upload when it is closed). A temporary key and a move would be a second, server-side copy: more
  expensive, slower and no safer.
* Any other: a part object, then the storage's own move. Some of them (SFTP, HDFS, SMB) show a file while it grows.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import inspect
import logging
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Protocol

from airflow_provider_grokvideo.core.errors import DeliveryFailed, GrokVideoError, InvalidInput

_WHOLE_OR_NOTHING = frozenset({"s3", "s3a", "s3n", "gs", "gcs"})
_BROUGHT_BY = {
    "s3": "apache-airflow-providers-amazon[s3fs]",
    "s3a": "apache-airflow-providers-amazon[s3fs]",
    "s3n": "apache-airflow-providers-amazon[s3fs]",
    "gs": "apache-airflow-providers-google",
    "gcs": "apache-airflow-providers-google",
    "abfs": "apache-airflow-providers-microsoft-azure",
    "abfss": "apache-airflow-providers-microsoft-azure",
    "adl": "apache-airflow-providers-microsoft-azure",
    "sftp": "apache-airflow-providers-sftp",
    "ssh": "apache-airflow-providers-sftp",
}
_PART = 8 * 1024 * 1024
_NOTHING_SENT = "Nothing was sent or billed."
_LOG = logging.getLogger(__name__)


class Place(Protocol):
    """A directory, local or in object storage; names are those of the files in it."""

    def prepare(self) -> None:
        """Create the directory, if the storage has directories."""

    def put(self, local: Path, name: str) -> None:
        """Store a local file under a name, completely or not at all."""

    def copy(self, source: str, name: str) -> None:
        """Copy a file to another name, completely or not at all."""

    def write(self, name: str, data: bytes) -> None:
        """Store a few bytes under a name, completely or not at all."""

    def create(self, name: str, data: bytes) -> bool:
        """Store a few bytes unless the name is taken; return whether they were stored."""

    def read(self, name: str) -> bytes | None:
        """Return what is stored under a name, not much more than :data:`LARGEST_READ`; None if nothing is."""

    def open(self, name: str) -> IO[bytes]:
        """Open a file for reading."""

    def part(self, name: str, start: int, end: int) -> bytes:
        """Return the bytes of a file from `start` up to, but not including, `end`."""

    def size(self, name: str) -> int | None:
        """Return the size of a file; None if it does not exist."""

    def remove(self, name: str) -> None:
        """Delete a file, if allowed; never fails."""

    def is_no_file(self, name: str) -> bool:
        """Say whether a name is taken by something that is not a file, such as a directory."""

    def check_names(self, names: Iterable[str]) -> None:
        """Check that files of these names can be written.

        Raises:
            OSError: One of them cannot be written; the message names it.
        """


def open_place(directory: str, *, is_local: bool, field: str, shown: str) -> Place:
    """Open a directory, without reading or writing.

    Args:
        directory: A local path or an ObjectStorage URL.
        is_local: Whether it is a local path.
        field: The operator argument, for messages.
        shown: Its value, for messages.

    Raises:
        InvalidInput: No filesystem is registered for the scheme, or the connection in the URL does not exist.
    """
    if is_local:
        return LocalPlace(Path(directory))
    fs, path = open_storage(directory, field=field, shown=shown)
    return ObjectPlace(fs, path, directory.partition("://")[0])


def open_storage(url: str, *, field: str, shown: str) -> tuple[Any, str]:
    """Return the fsspec filesystem of an ObjectStorage URL and its path in it, as ``ObjectStoragePath`` would.

    The path is not parsed further: ``ObjectStoragePath`` itself takes ``#`` and ``?`` for parts of a URL.

    Raises:
        InvalidInput: No filesystem is registered for the scheme, or the connection in the URL does not exist.
    """
    from airflow.sdk.io import attach

    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    conn_id, _, bucket = host.rpartition("@")
    try:
        fs = attach(scheme, conn_id or None).fs
    except (ValueError, ImportError) as error:
        package = _BROUGHT_BY.get(scheme)
        hint = f"install {package} on the workers" if package else "no installed provider supports this storage"
        raise InvalidInput(field, shown, f"storage that Airflow can open; {hint} ({error})") from error
    except Exception as error:
        if type(error).__name__ == "AirflowNotFoundException":
            raise InvalidInput(field, shown, f"a URL with an existing connection ({error})") from error
        raise DeliveryFailed(f"The storage of {url} cannot be opened: {reason(error)}") from error
    return fs, fs._strip_protocol(f"{scheme}://{bucket}{slash}{path}")


class LocalPlace:
    """A local directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def prepare(self) -> None:
        """Create the directory and its parents."""
        self.directory.mkdir(parents=True, exist_ok=True)

    def put(self, local: Path, name: str) -> None:
        """Copy to a part file and rename it."""

        def copy(part: IO[bytes]) -> None:
            with local.open("rb") as source:
                shutil.copyfileobj(source, part, 1024 * 1024)

        self._write_aside(name, copy)

    def copy(self, source: str, name: str) -> None:
        """Copy to a part file and rename it."""
        self.put(self.directory / source, name)

    def write(self, name: str, data: bytes) -> None:
        """Write to a part file and rename it."""

        def fill(part: IO[bytes]) -> None:
            part.write(data)

        self._write_aside(name, fill)

    def create(self, name: str, data: bytes) -> bool:
        """Create exclusively: by a hard link, so that no reader gets a partial file, or directly without links."""
        final = self.directory / name
        part = self.directory / part_name(name)
        try:
            part.write_bytes(data)
            try:
                os.link(part, final)
            except FileExistsError:
                return False
            except OSError:
                return self._create_in_place(final, data)
        finally:
            part.unlink(missing_ok=True)
        return True

    def read(self, name: str) -> bytes | None:
        """Return the content of a file."""
        try:
            with self.open(name) as file:
                return file.read(LARGEST_READ + 1)
        except FileNotFoundError:
            return None

    def open(self, name: str) -> IO[bytes]:
        """Open a file; a pipe or device would never end."""
        path = self.directory / name
        if not stat.S_ISREG(path.stat().st_mode):
            raise OSError(errno.EINVAL, f"{name} is not a regular file")
        return path.open("rb")

    def part(self, name: str, start: int, end: int) -> bytes:
        """Return a part of a file."""
        with self.open(name) as file:
            file.seek(start)
            return file.read(end - start)

    def size(self, name: str) -> int | None:
        """Return the size of a file."""
        try:
            return (self.directory / name).stat().st_size
        except FileNotFoundError:
            return None

    def remove(self, name: str) -> None:
        """Delete a file."""
        with contextlib.suppress(OSError):
            (self.directory / name).unlink()

    def is_no_file(self, name: str) -> bool:
        """Say whether a name is a directory, a pipe, a socket or a device."""
        path = self.directory / name
        return path.exists() and not path.is_file()

    def check_names(self, names: Iterable[str]) -> None:
        """Create and delete a helper file of each name; filesystems differ in the names that they allow."""
        for name in names:
            helper = self.directory / part_name(name)
            try:
                helper.touch()
            finally:
                with contextlib.suppress(OSError):
                    helper.unlink()
            (self.directory / name).exists()

    def _create_in_place(self, final: Path, data: bytes) -> bool:
        try:
            with final.open("xb") as file:
                file.write(data)
        except FileExistsError:
            return False
        return True

    def _write_aside(self, name: str, fill: Callable[[IO[bytes]], None]) -> None:
        part = self.directory / part_name(name)
        try:
            with part.open("xb") as file:
                fill(file)
                file.flush()
                os.fsync(file.fileno())
            part.replace(self.directory / name)
        finally:
            part.unlink(missing_ok=True)


class ObjectPlace:
    """A prefix in object storage, or a directory on a remote filesystem.

    Names are passed unchanged: only fsspec calls without wildcards are used.
    """

    def __init__(self, fs: Any, directory: str, scheme: str) -> None:
        self.fs = fs
        self.directory = directory.rstrip("/")
        self.at_once = scheme in _WHOLE_OR_NOTHING

    def prepare(self) -> None:
        """Create the directory, if the storage has directories; buckets are never created."""
        if not self.at_once:
            self.fs.makedirs(self.directory or "/", exist_ok=True)

    def put(self, local: Path, name: str) -> None:
        """Upload at once, or aside and move."""
        # s3fs would else hold several parts of 50 MiB in memory.
        known = self._parameters("put_file")
        sparing = {"chunksize": _PART, "max_concurrency": 1} if {"chunksize", "max_concurrency"} <= known else {}
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
            return _azure(kind)
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


def part_name(name: str) -> str:
    """Return a hidden and unique temporary name for `name`."""
    return hidden(name, f".{secrets.token_hex(4)}.part")


def hidden(name: str, suffix: str) -> str:
    """Return the name of a helper file of `name`: hidden, and short enough if `name` itself is."""
    plain = f".{name}{suffix}"
    if len(plain.encode()) <= LONGEST_NAME:
        return plain
    digest = hashlib.sha256(name.encode()).hexdigest()[:16]
    return f".{shortened(name, 120)}~{digest}{suffix}"


def shortened(text: str, most: int) -> str:
    """Return the beginning of a text with at most `most` bytes of UTF-8."""
    return text.encode()[:most].decode(errors="ignore")


LARGEST_READ = 4 * 1024 * 1024
"""Bytes of a record that is read; ours have a few thousand, and a prompt has no published limit."""

LONGEST_NAME = 255
"""Longest file name on common filesystems, in bytes."""

LONGEST_KEY = 1024
"""Longest object name in S3, Google Cloud Storage and Azure, in bytes."""

CONTENT_TYPES = {".mp4": "video/mp4", ".jpg": "image/jpeg", ".json": "application/json"}
"""Content types of stored objects, for browsers and players."""


def _azure(kind: str) -> dict[str, Any]:
    try:
        from azure.storage.blob import ContentSettings
    except ImportError:
        return {}
    return {"content_settings": ContentSettings(content_type=kind)}


@contextmanager
def before_purchase(field: str, where: str) -> Iterator[None]:
    """Turn errors of the storage into errors that say that nothing was sent.

    Raises:
        InvalidInput: The destination or its permissions must be changed.
        DeliveryFailed: The problem may be temporary.
    """
    try:
        yield
    except GrokVideoError:
        raise
    except OSError as error:
        lasting = isinstance(
            error, PermissionError | FileNotFoundError | NotADirectoryError | IsADirectoryError | FileExistsError
        )
        if not lasting and error.errno not in (errno.ENAMETOOLONG, errno.EROFS, errno.EINVAL, errno.ELOOP):
            raise DeliveryFailed(f"Cannot write to {where}: {reason(error)}", advice=_NOTHING_SENT) from error
        raise InvalidInput(field, where, f"a location that this worker can write to ({reason(error)})") from error
    except Exception as error:
        raise DeliveryFailed(f"Cannot write to {where}: {reason(error)}", advice=_NOTHING_SENT) from error


@contextmanager
def while_storing(where: str) -> Iterator[None]:
    """Turn errors of the storage into :class:`DeliveryFailed`."""
    try:
        yield
    except GrokVideoError:
        raise
    except Exception as error:
        raise DeliveryFailed(f"The video could not be stored at {where}: {reason(error)}") from error


def reason(error: BaseException) -> str:
    """Return an error of a storage library as one line."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}" if text else type(error).__name__
