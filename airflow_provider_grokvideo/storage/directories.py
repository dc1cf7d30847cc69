"""Storage of journal files: exclusive creation, atomic replacement, reliable reads.

Unlike a delivery, a journal has no fallbacks: every failure is an error, and "forbidden" is never taken for "missing".
"""

from __future__ import annotations

import inspect
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Protocol

from airflow_provider_grokvideo.core.errors import GrokVideoError, InvalidInput, JournalUnavailable
from airflow_provider_grokvideo.storage.destination import local_path
from airflow_provider_grokvideo.storage.objects import ObjectPlace
from airflow_provider_grokvideo.storage.places import open_storage, reason

_KNOWS_NO_CONDITION = ("NotImplementedError", "TypeError", "ParamValidationError")
"""Errors of storage libraries without conditional writes; the storage service may also report it."""


class Storage(Protocol):
    """Directory tree of small files; names have forward slashes and no wildcards."""

    where: str

    def create(self, name: str, data: bytes) -> bool:
        """Create a file; return False if it exists."""

    def replace(self, name: str, data: bytes) -> None:
        """Replace an existing file."""

    def read(self, name: str) -> bytes | None:
        """Return the content of a file; None only if it provably does not exist."""

    def folder(self, name: str, suffix: str = ".json") -> list[str]:
        """Return the names of the files directly in a directory, sorted; empty only if there provably are none."""

    def below(self, name: str) -> list[str]:
        """Return the names of all files below a directory, sorted; empty only if there provably are none."""

    def everything(self) -> list[str]:
        """Return the names of all files, sorted."""


def open_tree(path: str) -> Storage:
    """Open the directory of a journal, a local path or an ObjectStorage URL, without reading or writing.

    Raises:
        InvalidInput: The path is relative, no filesystem is registered for the scheme, or the connection in the URL
            does not exist.
    """
    local = local_path(path)
    if local is not None:
        return LocalTree(absolute_path(str(local), "[grokvideo] journal_path"))
    with _trouble(path):
        fs, root = open_storage(path, field="[grokvideo] journal_path", shown=path)
    return ObjectTree(fs, root, path)


def absolute_path(text: str, setting: str) -> Path:
    """Return the local path of a setting.

    Raises:
        InvalidInput: The path is relative, or this machine has no such home directory.
    """
    try:
        path = Path(text).expanduser()
    except RuntimeError as error:
        raise InvalidInput(setting, text, f"an absolute path ({error})") from error
    if not path.is_absolute():
        raise InvalidInput(setting, text, "an absolute path (a relative one depends on the working directory)")
    return path


class LocalTree:
    """A local or mounted directory; each write is synced to disk."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.where = str(root)

    def create(self, name: str, data: bytes) -> bool:
        """Write a temporary file, then link it to the final name, which fails if that exists."""
        final = self.root / name
        with _trouble(self.where):
            final.parent.mkdir(parents=True, exist_ok=True)
            with _aside(final, data) as part:
                created = self._linked(part, final, data)
            if created:
                _sync_directory(final.parent)
        return created

    def replace(self, name: str, data: bytes) -> None:
        """Write a temporary file, then rename it over the old one."""
        final = self.root / name
        with _trouble(self.where):
            with _aside(final, data) as part:
                part.replace(final)
            _sync_directory(final.parent)

    def read(self, name: str) -> bytes | None:
        """Return the content of a file."""
        with _trouble(self.where):
            try:
                return (self.root / name).read_bytes()
            except FileNotFoundError:
                return None

    def folder(self, name: str, suffix: str = ".json") -> list[str]:
        """Return the names of the files in a directory."""
        with _trouble(self.where):
            try:
                found = [each.name for each in (self.root / name).iterdir()]
            except FileNotFoundError:
                return []
            return sorted(f"{name}/{each}" for each in found if _is_record(each, suffix))

    def everything(self) -> list[str]:
        """Return the names of all files."""
        with _trouble(self.where):
            if not self.root.is_dir():
                raise FileNotFoundError("no such directory")
            return self._files("")

    def below(self, name: str) -> list[str]:
        """Return the names of all files below a directory."""
        with _trouble(self.where):
            try:
                (self.root / name).stat()
            except FileNotFoundError:
                return []
            return self._files(name)

    def _files(self, name: str) -> list[str]:
        # Not `rglob`: it treats a directory without read permission as empty.
        tree = os.walk(self.root / name, onerror=_raised)
        found = (Path(folder, file).relative_to(self.root) for folder, _, files in tree for file in files)
        return sorted(file.as_posix() for file in found if _is_record(file.name))

    def _linked(self, part: Path, final: Path, data: bytes) -> bool:
        try:
            os.link(part, final)
        except FileExistsError:
            # It may be our own: a network filesystem may lose the first response and repeat the link.
            return part.samefile(final)
        except OSError:
            # A filesystem without hard links: still exclusive, but a partial file is visible.
            return self._create_in_place(final, data)
        return True

    def _create_in_place(self, final: Path, data: bytes) -> bool:
        try:
            file = final.open("xb")
        except FileExistsError:
            return False
        try:
            _write_through(file, data)
        except BaseException:
            final.unlink()
            raise
        return True


class ObjectTree:
    """A prefix in object storage, or a directory on a remote filesystem, through fsspec."""

    def __init__(self, fs: Any, root: str, where: str) -> None:
        self.fs = fs
        self.root = root.rstrip("/")
        self.where = where

    def create(self, name: str, data: bytes) -> bool:
        """Create by a conditional write if the storage supports it; otherwise check first, which is not atomic."""
        path = self._path(name)
        with _trouble(self.where):
            self._prepare(path)
            if "mode" in inspect.signature(getattr(self.fs, "_pipe_file", self.fs.pipe_file)).parameters:
                try:
                    self.fs.pipe_file(path, data, mode="create")
                except FileExistsError:
                    # It may be our own: the first response to this write was lost and the library repeated it.
                    return self.read(name) == data
                except Exception as error:
                    if not _cannot_be_conditional(error):
                        raise
                else:
                    return True
            if self.read(name) is not None:
                return False
            self.fs.pipe_file(path, data)
        return True

    def replace(self, name: str, data: bytes) -> None:
        """Overwrite the old object, atomically in an object store."""
        with _trouble(self.where):
            self.fs.pipe_file(self._path(name), data)

    def read(self, name: str) -> bytes | None:
        """Return the current content of an object."""
        path = self._path(name)
        with _trouble(self.where):
            # s3fs reports "not found" from a cached listing.
            self.fs.invalidate_cache(path)
            try:
                return bytes(self.fs.cat_file(path))
            except FileNotFoundError as error:
                _refuse_missing_bucket(error)
                return None

    def folder(self, name: str, suffix: str = ".json") -> list[str]:
        """Return the current names of the files in a directory."""
        with _trouble(self.where):
            self.fs.invalidate_cache()
            try:
                # Not `find`: its general form treats a failed listing as empty.
                found = self.fs.ls(self._path(name), detail=False)
            except FileNotFoundError as error:
                _refuse_missing_bucket(error)
                return []
            return sorted(f"{name}/{path.rpartition('/')[2]}" for path in found if _is_record(path, suffix))

    def everything(self) -> list[str]:
        """Return the names of all files."""
        with _trouble(self.where):
            return self._files(self.root)

    def below(self, name: str) -> list[str]:
        """Return the names of all files below a directory."""
        with _trouble(self.where):
            try:
                return self._files(self._path(name))
            except FileNotFoundError as error:
                _refuse_missing_bucket(error)
                return []

    def _files(self, directory: str) -> list[str]:
        self.fs.invalidate_cache()
        top = self.fs._strip_protocol(directory)
        found = self.fs.find(top) if _lists_trees(self.fs) else list(_files_below(self.fs, top))
        start = len(self.fs._strip_protocol(self.root)) + 1
        return sorted(path[start:] for path in found if _is_record(path))

    def _path(self, name: str) -> str:
        return f"{self.root}/{name}"

    def _prepare(self, path: str) -> None:
        """Create the directory of a file if the storage has directories; never a bucket."""
        ObjectPlace(self.fs, path.rpartition("/")[0], self.where.partition("://")[0]).prepare()


def _lists_trees(fs: Any) -> bool:
    """Return whether a storage lists a whole tree itself, as object stores do."""
    from fsspec import AbstractFileSystem
    from fsspec.asyn import AsyncFileSystem

    kind = type(fs)
    return kind.find is not AbstractFileSystem.find or (
        isinstance(fs, AsyncFileSystem) and kind._find is not AsyncFileSystem._find
    )


def _files_below(fs: Any, directory: str) -> Iterator[str]:
    """List a tree directory by directory; fsspec's general `find` treats a failed listing as empty."""
    for item in fs.ls(directory, detail=True):
        if item["type"] == "directory":
            yield from _files_below(fs, item["name"])
        else:
            yield item["name"]


def _refuse_missing_bucket(error: FileNotFoundError) -> None:
    """Raise if the bucket is missing: then the path is wrong, not empty."""
    if type(error.__cause__).__name__ == "NoSuchBucket":
        raise error


def _is_record(path: str, suffix: str = ".json") -> bool:
    name = path.rpartition("/")[2]
    return name.endswith(suffix) and not name.startswith(".")


def _cannot_be_conditional(error: Exception) -> bool:
    return type(error).__name__ in _KNOWS_NO_CONDITION or "not implemented" in str(error).lower()


@contextmanager
def _aside(final: Path, data: bytes) -> Iterator[Path]:
    """Write a hidden temporary file beside the final one; remove it afterwards unless it was renamed."""
    part = final.with_name(f".{final.name}.{secrets.token_hex(4)}")
    try:
        _write_through(part.open("xb"), data)
        yield part
    finally:
        part.unlink(missing_ok=True)


def _write_through(file: IO[bytes], data: bytes) -> None:
    """Write, sync and close a file."""
    with file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _raised(error: OSError) -> None:
    raise error


def _sync_directory(path: Path) -> None:
    """Sync a directory, if the system supports it."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _trouble(where: str) -> Iterator[None]:
    """Convert errors of a storage to :class:`JournalUnavailable`."""
    try:
        yield
    except GrokVideoError:
        raise
    except Exception as error:
        raise JournalUnavailable(f"journal {where} is unavailable: {reason(error)}") from error
