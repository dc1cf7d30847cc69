"""Result tables: written whole as JSONL or Parquet, checked before the purchase, read in pages."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, time, timezone
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from typing import Any

from airflow_provider_grokvideo.core.billing import money
from airflow_provider_grokvideo.core.bulk.cells import storable
from airflow_provider_grokvideo.core.bulk.lines import COLUMNS, Kind
from airflow_provider_grokvideo.core.errors import DeliveryFailed, GrokVideoError, InvalidInput
from airflow_provider_grokvideo.core.purchases.records import Owner
from airflow_provider_grokvideo.core.redaction import foreign
from airflow_provider_grokvideo.storage import parquet, table_records
from airflow_provider_grokvideo.storage.destination import checked_path, expanded
from airflow_provider_grokvideo.storage.names import LONGEST_NAME, hidden
from airflow_provider_grokvideo.storage.parquet import LARGEST_TABLE, WrongTable, encodable, to_json
from airflow_provider_grokvideo.storage.places import Place, before_purchase, open_place, reason

_FIELD = "table"
_ALLOWED = "a file ending in .jsonl or .parquet, as a local path or an ObjectStorage URL"
_SUFFIXES = (".jsonl", ".parquet")
_PROBE = ".table-write-check"


@dataclass(frozen=True)
class _File:
    """The file of a table: its directory, its name, and whether it is Parquet."""

    place: Place
    name: str
    shown: str
    is_parquet: bool


def check_table(uri: str | os.PathLike[str]) -> None:
    """Check before the purchase that a result table can be written; it writes and deletes a small object.

    Raises:
        InvalidInput: It has another suffix, pyarrow is missing, or it cannot be written.
        DeliveryFailed: The storage does not respond; this may be temporary.
    """
    file = _file(uri)
    if file.is_parquet:
        with _readable(file):
            parquet.check_installed()
    probe = hidden(file.name, _PROBE)
    with before_purchase(_FIELD, file.shown):
        if file.place.is_no_file(file.name):
            raise InvalidInput(_FIELD, file.shown, f"a free name; {file.name} is there and is not a file")
        file.place.prepare()
        file.place.write(probe, b"")
    file.place.remove(probe)
    with before_purchase(_FIELD, file.shown):
        file.place.check_names((file.name,))


def is_same(uri: str | os.PathLike[str], other: str | os.PathLike[str]) -> bool:
    """Return whether two paths or URLs name the same file."""
    places = []
    for each in (uri, other):
        scheme, text = checked_path(each, field=_FIELD, allowed=_ALLOWED)
        places.append((scheme, text if scheme else os.path.realpath(expanded(text, _FIELD))))
    return places[0] == places[1]


def write_table(
    uri: str | os.PathLike[str],
    lines: Iterable[Mapping[str, Any]],
    carried: Sequence[str],
    *,
    owner: Owner | None = None,
) -> None:
    """Write a result table; a reader gets the earlier table or this one, and always a whole one.

    Args:
        uri: A file ending in ``.jsonl`` or ``.parquet``.
        lines: Lines with the columns of :data:`COLUMNS` and the free columns; a missing one is empty.
        carried: Names of the free columns, in order.
        owner: The task instance that writes it, for the record beside it; without one there is no record.

    Raises:
        InvalidInput: It has another suffix, or pyarrow is missing.
        DeliveryFailed: The storage failed.
    """
    file = _file(uri)
    with tempfile.TemporaryDirectory(prefix="grokvideo-") as directory:
        whole = Path(directory, "table")
        if file.is_parquet:
            try:
                parquet.write(whole, lines, carried)
            except WrongTable as error:
                raise InvalidInput(_FIELD, file.shown, str(error)) from None
        else:
            with whole.open("w", encoding="utf-8", newline="\n") as text:
                text.writelines(_json_line(line, carried) for line in lines)
        with _storage_of(file, "written"):
            file.place.prepare()
            file.place.put(whole, file.name)
            if owner is not None:
                table_records.write_record(file.place, file.name, whole, owner)


def read_lines(
    uri: str | os.PathLike[str], *, status: str | None = None, offset: int = 0, limit: int | None = None
) -> tuple[list[dict[str, Any]], int]:
    """Return lines of a result table as plain JSON, and how many there are; decimals and timestamps are text.

    Args:
        uri: The table.
        status: Only lines of this status are returned and counted.
        offset: Lines to leave out at the beginning.
        limit: Most lines to return.

    Raises:
        InvalidInput: There is no table, it is damaged, or pyarrow is missing.
        DeliveryFailed: The storage failed.
    """
    file = _file(uri)
    content = _content(file)
    start, end = max(0, offset), None if limit is None else max(0, offset) + max(0, limit)
    with _readable(file):
        if file.is_parquet:
            lines, count = parquet.page(BytesIO(content), status, start, end)
        else:
            found = [line for line in map(_parsed, content.splitlines()) if status in (None, line["status"])]
            lines, count = found[start:end], len(found)
        return [_plain_line(line) for line in lines], count


def lines_in(content: bytes, *, is_parquet: bool) -> Iterator[dict[str, Any]]:
    """Yield the lines of a result table as plain JSON, with the columns of :data:`COLUMNS` only.

    Args:
        content: The file.
        is_parquet: Whether it is Parquet, or else JSONL.

    Raises:
        WrongTable: pyarrow is missing, or the table is too large. A damaged table raises whatever its reader raises.
    """
    found = parquet.own_lines(BytesIO(content)) if is_parquet else map(_parsed, content.splitlines())
    for line in found:
        yield _plain_line({name: line.get(name) for name in COLUMNS})


def _file(uri: str | os.PathLike[str]) -> _File:
    """Return the file of a result table.

    Raises:
        InvalidInput: It is no place for one.
    """
    scheme, text = checked_path(uri, field=_FIELD, allowed=_ALLOWED)
    shown = foreign(text, 200)
    parent, _, name = text.rpartition("/")
    suffix = next((each for each in _SUFFIXES if name.lower().endswith(each)), None)
    if suffix is None or text.endswith(f"://{name}") or not name[: -len(suffix)].strip(" ."):
        raise InvalidInput(_FIELD, shown, _ALLOWED)
    if len(name.encode()) > LONGEST_NAME:
        raise InvalidInput(_FIELD, shown, f"a file name of at most {LONGEST_NAME} bytes")
    directory = parent if scheme else str(expanded(parent or ("/" if text.startswith("/") else "."), _FIELD))
    return _File(
        open_place(directory, is_local=not scheme, field=_FIELD, shown=shown), name, shown, suffix == _SUFFIXES[1]
    )


@contextmanager
def _readable(file: _File) -> Iterator[None]:
    """Turn the many errors of a damaged table, and a missing pyarrow, into an input error."""
    try:
        yield
    except WrongTable as error:
        raise InvalidInput(_FIELD, file.shown, str(error)) from None
    except Exception as error:
        raise InvalidInput(_FIELD, file.shown, f"a result table of this provider ({reason(error)})") from error


@contextmanager
def _storage_of(file: _File, what: str) -> Iterator[None]:
    """Turn errors of the storage into errors of this package."""
    try:
        yield
    except GrokVideoError:
        raise
    except Exception as error:
        text = f"The result table {file.shown} cannot be {what}: {reason(error)}"
        raise DeliveryFailed(text, advice="A retry writes it again; there is no new charge.") from error


def _content(file: _File) -> bytes:
    """Return a whole table by one read, so that two versions of it are never mixed."""
    with _storage_of(file, "read"):
        size = file.place.size(file.name)
        if size is None:
            raise InvalidInput(_FIELD, file.shown, "an existing result table")
        if size > LARGEST_TABLE:
            raise InvalidInput(_FIELD, file.shown, f"a result table of at most {LARGEST_TABLE // 1024**2:,} MiB")
        with file.place.open(file.name) as source:
            return source.read()


def _parsed(line: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(line, parse_float=Decimal)
    return found


def _json_line(line: Mapping[str, Any], carried: Sequence[str]) -> str:
    cells = [f'"{name}": {_own_json(kind, line.get(name))}' for name, kind in COLUMNS.items()]
    cells += [f"{json.dumps(name, ensure_ascii=False)}: {to_json(storable(line.get(name)))}" for name in carried]
    return f"{{{', '.join(cells)}}}\n"


def _own_json(kind: Kind, value: Any) -> str:
    if value is None:
        return "null"
    if kind == "text":
        return _TEXT(encodable(str(value)))
    if kind == "timestamp":
        return f'"{_moment(datetime.fromtimestamp(value, timezone.utc))}"'
    return str(value) if type(value) is int else to_json(storable(value))


_TEXT = json.JSONEncoder(ensure_ascii=False).encode
"""Made once: with this setting ``json.dumps`` makes an encoder for each text."""


def _moment(at: datetime) -> str:
    return at.astimezone(timezone.utc).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def _plain_line(line: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _plain(value, COLUMNS.get(name)) for name, value in line.items()}


def _plain(value: Any, kind: Kind | None) -> Any:
    if kind == "decimal" and value is not None:
        return money.plain(Decimal(value))
    if kind == "timestamp" and isinstance(value, datetime):
        return _moment(value)
    if isinstance(value, Decimal):
        return float(value)
    return value.isoformat() if isinstance(value, date | time) else value
