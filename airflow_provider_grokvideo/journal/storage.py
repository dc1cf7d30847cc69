"""Small files that must not be lost: created exclusively, replaced whole, read without a doubt.

Unlike a delivery, a journal never takes the next best way where it costs certainty: whatever goes wrong is an error,
and "forbidden" is not "not there".
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
from airflow_provider_grokvideo.delivery.destination import local_path
from airflow_provider_grokvideo.delivery.places import ObjectPlace, open_storage, reason

_KNOWS_NO_CONDITION = ("NotImplementedError", "TypeError", "ParamValidationError")
"""What a storage library raises that cannot make a conditional write; the service may also say so itself."""


class Storage(Protocol):
    """A tree of small files; names have forward slashes and no wildcards."""

    where: str

    def create(self, name: str, data: bytes) -> bool:
        """Store under a free name; return False if it is taken."""

    def replace(self, name: str, data: bytes) -> None:
        """Store under a name that exists already."""

    def read(self, name: str) -> bytes | None:
        """Return what is stored; None only if there is provably nothing."""

    def folder(self, name: str, suffix: str = ".json") -> list[str]:
        """Return the names of the files directly in a directory, sorted; empty only if there are provably none."""

    def everything(self) -> list[str]:
        """Return the names of all files, sorted."""


def open_tree(path: str) -> Storage:
    """Open the directory of a journal: a local path or an ObjectStorage URL; nothing is read or written yet.

    Raises:
        InvalidInput: It is relative, no filesystem is registered for the scheme, or the connection in the URL does not
            exist.
    """
    local = local_path(path)
    if local is not None:
        return LocalTree(absolute_path(str(local), "[grokvideo] journal_path"))
    with _trouble(path):
        fs, root = open_storage(path, field="[grokvideo] journal_path", shown=path)
    return ObjectTree(fs, root, path)


def absolute_path(text: str, setting: str) -> Path:
    """Return the local path that a setting names.

    Raises:
        InvalidInput: It is relative, so that each process would have another one below its own directory; or this
            machine has no such home directory.
    """
    try:
        path = Path(text).expanduser()
    except RuntimeError as error:
        raise InvalidInput(setting, text, f"an absolute path ({error})") from error
    if not path.is_absolute():
        raise InvalidInput(setting, text, "an absolute path: a relative one depends on where a process was started")
    return path


class LocalTree:
    """A directory of this machine, or one that all workers mount. What is written has reached the disk."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.where = str(root)

    def create(self, name: str, data: bytes) -> bool:
        """Write aside, then link to the final name, which fails if it is taken."""
        final = self.root / name
        with _trouble(self.where):
            final.parent.mkdir(parents=True, exist_ok=True)
            with _aside(final, data) as part:
                created = self._linked(part, final, data)
            if created:
                _sync_directory(final.parent)
        return created

    def replace(self, name: str, data: bytes) -> None:
        """Write aside, then rename over the old one."""
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
                raise FileNotFoundError("there is no such directory")
            # Not `rglob`: it takes a directory that may not be listed for an empty one.
            tree = os.walk(self.root, onerror=_raised)
            found = (Path(folder, name).relative_to(self.root) for folder, _, names in tree for name in names)
            return sorted(name.as_posix() for name in found if _is_record(name.name))

    def _linked(self, part: Path, final: Path, data: bytes) -> bool:
        try:
            os.link(part, final)
        except FileExistsError:
            # It may be ours: a network filesystem lost the first answer and sent the link again.
            return part.samefile(final)
        except OSError:
            # A filesystem without hard links: exclusive all the same, but a file is seen while it is written.
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
        """Create by a conditional write where the storage knows one; elsewhere look first, which leaves a gap."""
        path = self._path(name)
        with _trouble(self.where):
            self._prepare(path)
            if "mode" in inspect.signature(getattr(self.fs, "_pipe_file", self.fs.pipe_file)).parameters:
                try:
                    self.fs.pipe_file(path, data, mode="create")
                except FileExistsError:
                    # It may be ours: the first answer to this write was lost and the library sent it again.
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
        """Write over the old one, whole or not at all where the storage is an object store."""
        with _trouble(self.where):
            self.fs.pipe_file(self._path(name), data)

    def read(self, name: str) -> bytes | None:
        """Return the content of an object, asked for anew."""
        path = self._path(name)
        with _trouble(self.where):
            # s3fs answers "not there" from a listing that it kept.
            self.fs.invalidate_cache(path)
            try:
                return bytes(self.fs.cat_file(path))
            except FileNotFoundError as error:
                _refuse_missing_bucket(error)
                return None

    def folder(self, name: str, suffix: str = ".json") -> list[str]:
        """Return the names of the files in a directory; asked anew, because another try may just have written."""
        with _trouble(self.where):
            self.fs.invalidate_cache()
            try:
                # Not `find`: in its general form it takes a listing that failed for an empty one.
                found = self.fs.ls(self._path(name), detail=False)
            except FileNotFoundError as error:
                _refuse_missing_bucket(error)
                return []
            return sorted(f"{name}/{path.rpartition('/')[2]}" for path in found if _is_record(path, suffix))

    def everything(self) -> list[str]:
        """Return the names of all files."""
        with _trouble(self.where):
            self.fs.invalidate_cache()
            root = self.fs._strip_protocol(self.root)
            found = self.fs.find(root) if _lists_trees(self.fs) else list(_files_below(self.fs, root))
            start = len(root) + 1
            return sorted(path[start:] for path in found if _is_record(path))

    def _path(self, name: str) -> str:
        return f"{self.root}/{name}"

    def _prepare(self, path: str) -> None:
        """Make the directory of a file where there are directories; buckets are never made."""
        ObjectPlace(self.fs, path.rpartition("/")[0], self.where.partition("://")[0]).prepare()


def _lists_trees(fs: Any) -> bool:
    """Say whether a storage has a listing of its own for a whole tree, as object stores do."""
    from fsspec import AbstractFileSystem
    from fsspec.asyn import AsyncFileSystem

    kind = type(fs)
    return kind.find is not AbstractFileSystem.find or (
        isinstance(fs, AsyncFileSystem) and kind._find is not AsyncFileSystem._find
    )


def _files_below(fs: Any, directory: str) -> Iterator[str]:
    """List a tree directory by directory; fsspec's general `find` takes a listing that failed for an empty one."""
    for item in fs.ls(directory, detail=True):
        if item["type"] == "directory":
            yield from _files_below(fs, item["name"])
        else:
            yield item["name"]


def _refuse_missing_bucket(error: FileNotFoundError) -> None:
    """Raise if it is the bucket that is missing: the path is wrong then, not empty."""
    if type(error.__cause__).__name__ == "NoSuchBucket":
        raise error


def _is_record(path: str, suffix: str = ".json") -> bool:
    name = path.rpartition("/")[2]
    return name.endswith(suffix) and not name.startswith(".")


def _cannot_be_conditional(error: Exception) -> bool:
    return type(error).__name__ in _KNOWS_NO_CONDITION or "not implemented" in str(error).lower()


@contextmanager
def _aside(final: Path, data: bytes) -> Iterator[Path]:
    """Write a file under a hidden name beside its final one; it is gone afterwards if nobody renamed it."""
    part = final.with_name(f".{final.name}.{secrets.token_hex(4)}")
    try:
        _write_through(part.open("xb"), data)
        yield part
    finally:
        part.unlink(missing_ok=True)


def _write_through(file: IO[bytes], data: bytes) -> None:
    """Write and close a file; it has reached the disk then."""
    with file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _raised(error: OSError) -> None:
    raise error


def _sync_directory(path: Path) -> None:
    """Make the name itself durable, where the system can."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _trouble(where: str) -> Iterator[None]:
    """Turn what a storage raises into :class:`JournalUnavailable`."""
    try:
        yield
    except GrokVideoError:
        raise
    except Exception as error:
        raise JournalUnavailable(f"the journal at {where} does not work: {reason(error)}") from error
