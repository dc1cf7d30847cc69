"""A local directory as a place for videos."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO

from airflow_provider_grokvideo.storage.names import (
    LARGEST_READ,
    part_name,
)


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
