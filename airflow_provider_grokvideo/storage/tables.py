"""Files of tables: the rows of CSV, JSONL and Parquet files, from any place that Airflow's ObjectStorage can read."""

from __future__ import annotations

import csv
import gzip
import json
import os
import stat
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any

from airflow_provider_grokvideo.core.bulk.rows import FILE_SUFFIXES, check_number
from airflow_provider_grokvideo.core.errors import DeliveryFailed, GrokVideoError, InvalidInput, shorten
from airflow_provider_grokvideo.core.redaction import foreign
from airflow_provider_grokvideo.storage import parquet, places
from airflow_provider_grokvideo.storage.destination import expanded, local_path
from airflow_provider_grokvideo.storage.parquet import LARGEST_TABLE, WrongTable, check_names, checked_size

_FIELD = "rows"
_NOTHING_SENT = "Nothing was sent or billed."
_DELIMITERS = ",;\t|"
_PIECE = 1024 * 1024


def read_cells(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Return the rows of a table, by column.

    Cells of a CSV file are text; those of the other formats are plain Python values.

    Args:
        path: A local path or an ObjectStorage URL that ends in ``.csv``, ``.tsv``, ``.jsonl`` or ``.ndjson``, also with
            ``.gz`` behind it, or in ``.parquet``.

    Raises:
        InvalidInput: It is missing, cannot be read, is damaged, has another format, or is too large.
        DeliveryFailed: The storage did not respond.
    """
    text = str(path).strip()
    shown = foreign(text, 200)
    name = text.lower()
    is_packed = name.endswith(".gz")
    suffix = next((each for each in FILE_SUFFIXES if name.removesuffix(".gz").endswith(each)), None)
    if suffix is None or (is_packed and suffix == ".parquet"):
        raise InvalidInput(_FIELD, shown, f"a file ending in {', '.join(FILE_SUFFIXES)}; all but Parquet also with .gz")
    with _reading(shown), _opened(text, shown) as file:
        if suffix == ".parquet":
            return parquet.cells(file)
        lines = _lines(gzip.GzipFile(fileobj=file) if is_packed else file)
        return _csv(lines) if suffix in (".csv", ".tsv") else _json_lines(lines)


@contextmanager
def _opened(text: str, shown: str) -> Iterator[IO[bytes]]:
    """Open a regular local file; an object is copied first, so that it is read only once."""
    local = local_path(text)
    if local is not None:
        path = expanded(local, _FIELD)
        if not stat.S_ISREG(path.stat().st_mode):
            raise WrongTable("a file, and no directory or pipe")
        with path.open("rb") as file:
            yield file
        return
    fs, remote = places.open_storage(text, field=_FIELD, shown=shown)
    with tempfile.TemporaryFile(prefix="grokvideo-") as copy:
        with fs.open(remote, "rb") as source:
            while piece := source.read(_PIECE):
                checked_size(copy.tell() + len(piece))
                copy.write(piece)
        copy.seek(0)
        yield copy


@contextmanager
def _reading(shown: str) -> Iterator[None]:
    """Turn errors of the storage and of the file into errors of this package."""
    try:
        yield
    except GrokVideoError:
        raise
    except WrongTable as error:
        raise InvalidInput(_FIELD, shown, str(error)) from error.__cause__
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise InvalidInput(_FIELD, shown, "an existing file, on the worker that runs this task") from error
    except PermissionError as error:
        raise InvalidInput(_FIELD, shown, f"a file that this worker may read ({places.reason(error)})") from error
    except Exception as error:
        raise DeliveryFailed(f"{shown} cannot be read: {places.reason(error)}", advice=_NOTHING_SENT) from error


def _lines(stream: Any) -> Iterator[bytes]:
    """Yield the lines of a file that may be compressed, without the byte order mark."""
    size = 0
    try:
        while line := stream.readline(LARGEST_TABLE + 1 - size):
            is_first = not size
            size = checked_size(size + len(line))
            yield line.removeprefix(b"\xef\xbb\xbf") if is_first else line
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise WrongTable(f"a complete gzip file ({places.reason(error)})") from error


def _decoded(line: bytes, row: Callable[[], str]) -> str:
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        byte = line[error.start]
        raise WrongTable(
            f"UTF-8, but {row()} has the byte 0x{byte:02x} after {line[: error.start].decode()[-20:]!r}; "
            "in a spreadsheet, save it as CSV UTF-8"
        ) from None
    if "\0" in text:
        raise WrongTable(f"text, but {row()} has a NUL byte")
    return text


def _csv(lines: Iterator[bytes]) -> list[dict[str, Any]]:
    first = next(lines, None)
    if first is None:
        return []
    rows: list[dict[str, Any]] = []
    header: list[str] | None = None

    def row() -> str:
        return "the header" if header is None else f"row {len(rows) + 1}"

    def texts() -> Iterator[str]:
        yield head
        for line in lines:
            yield _decoded(line, row)

    head = _decoded(first, row)
    reader = csv.reader(texts(), delimiter=_delimiter(head), strict=True)
    with _long_cells():
        try:
            for cells in reader:
                if not cells:
                    continue
                if header is None:
                    header = _header(cells)
                    continue
                if len(cells) != len(header):
                    raise WrongTable(f"{len(header)} cells in each row, as in the header, but {row()} has {len(cells)}")
                rows.append(dict(zip(header, cells, strict=True)))
                check_number(len(rows))
        except csv.Error as error:
            raise WrongTable(f"valid CSV, but {row()} is not: {error}") from error
    return rows


@contextmanager
def _long_cells() -> Iterator[None]:
    """Allow cells as long as a data: URI; Python's limit is 128 KiB."""
    before = csv.field_size_limit(max(csv.field_size_limit(), LARGEST_TABLE))
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _delimiter(header: str) -> str:
    """Return the delimiter that the header has most often outside of quotes."""
    bare = "".join(header.split('"')[::2])
    return max(_DELIMITERS, key=bare.count)


def _header(cells: list[str]) -> list[str]:
    names = [name.strip() for name in cells]
    check_names(names)
    return names


def _json_lines(lines: Iterator[bytes]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []

    def row() -> str:
        return f"row {len(rows) + 1}"

    for line in lines:
        if not line.strip():
            continue
        text = _decoded(line, row)
        try:
            cells = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise WrongTable(f"one JSON object per line, but {row()} is none: {places.reason(error)}") from None
        if not isinstance(cells, dict):
            raise WrongTable(f"one JSON object per line, but {row()} is {shorten(cells)}")
        rows.append(cells)
        check_number(len(rows))
    return rows
