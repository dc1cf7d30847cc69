"""What a decorated function returned: the arguments of one video, or the rows of a table."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, time, timedelta
from decimal import Decimal
from itertools import islice
from os import PathLike
from typing import Any

from airflow_provider_grokvideo.core.bulk import columns
from airflow_provider_grokvideo.core.bulk.cells import plain
from airflow_provider_grokvideo.core.bulk.rows import FILE_SUFFIXES, MOST_ROWS, check_number
from airflow_provider_grokvideo.core.errors import InvalidInput

LARGEST = 1024 * 1024
"""Bytes of JSON that a task keeps in XCom of what its function returned."""

_DEEPEST = 50
_LONGEST_NUMBER = 1024
_EXPECTED = (
    "a prompt, a mapping of arguments, or an iterable of mappings; for many rows also the path of a .csv, .jsonl or "
    ".parquet file"
)
_PLACES = ("/", "~", "./", "../")


@dataclass(frozen=True)
class Video:
    """Arguments of one video.

    Attributes:
        mode: ``generate``, ``edit`` or ``extend``.
        arguments: The arguments that the function returned, as plain JSON.
    """

    mode: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True)
class Rows:
    """Rows of a table.

    Attributes:
        rows: The rows as plain JSON, or the path of a file.
    """

    rows: list[Any] | str


Returned = Video | Rows


def read(value: Any, *, function: str, given: Mapping[str, Any], options: Collection[str]) -> Returned:
    """Return what the value of a function means.

    A text is a prompt, unless it is the path of a table's file. A mapping has the arguments of one video. Any other
    iterable has rows, even if it has only one, so that the kind of result does not change with their number.

    Args:
        value: What the function returned.
        function: Its name, for messages.
        given: Arguments of the decorator that are arguments of a request, and its `mode`; None is "not given".
        options: Arguments that a mapping may have besides those of a request.

    Raises:
        InvalidInput: It is nothing of the kind, or too large to be kept.
    """
    field = field_of(function)
    if (path := _path(value)) is not None:
        return Rows(path)
    if isinstance(value, str):
        if not value.strip():
            raise InvalidInput(field, value, _EXPECTED)
        return _video({"prompt": value}, field, given, options)
    if isinstance(value, Mapping):
        return _video(value, field, given, options)
    if value is None or isinstance(value, bytes | bytearray) or not isinstance(value, Iterable):
        raise InvalidInput(field, value, _EXPECTED)
    rows = list(islice(value, MOST_ROWS + 1))
    check_number(len(rows))
    return Rows(_kept([_json(row, field) for row in rows], field))


def field_of(function: str) -> str:
    """Return what messages call the value of a function."""
    return f"return value of {function}()"


def to_kept(found: Returned) -> dict[str, Any]:
    """Return what is kept of it between the legs of a task."""
    if isinstance(found, Rows):
        return {"rows": found.rows}
    return {"mode": found.mode, "arguments": dict(found.arguments)}


def from_kept(kept: Any) -> Returned | None:
    """Return what :func:`to_kept` wrote; None if it is something else."""
    match kept:
        case {"rows": list() | str() as rows}:
            return Rows(rows)
        case {"mode": str() as mode, "arguments": Mapping() as arguments}:
            return Video(mode, dict(arguments))
    return None


def _path(value: Any) -> str | None:
    """Return the path of a table's file; a prompt may end like one, but has blanks in it."""
    if isinstance(value, PathLike) or hasattr(value, "protocol"):
        return str(value)
    text = value.strip() if isinstance(value, str) else ""
    if not text.lower().removesuffix(".gz").endswith(FILE_SUFFIXES) or "\n" in text:
        return None
    is_place = text.startswith(_PLACES) or "://" in text.partition(" ")[0] or " " not in text
    return text if is_place else None


def _video(value: Mapping[Any, Any], field: str, given: Mapping[str, Any], options: Collection[str]) -> Video:
    arguments = {_name(name, field, options): _json(part, field) for name, part in value.items()}
    own_mode = arguments.pop("mode", None)
    said = given.get("mode") if own_mode is None else own_mode
    both = {**given, **arguments}
    named = [name for name in columns.ALL_ARGUMENTS if both.get(name) is not None]
    mode = _mode(named) if said is None else said
    if mode not in columns.MODES:
        raise InvalidInput("mode", mode, f"one of {', '.join(columns.MODES)}")
    for name, part in arguments.items():
        if name in columns.ALL_ARGUMENTS and name not in columns.ARGUMENTS[mode] and part is not None:
            raise InvalidInput(field, name, f"arguments of mode {mode} ({', '.join(columns.ARGUMENTS[mode])})")
    for name in columns.REQUIRED[mode]:
        if both.get(name) is None:
            raise InvalidInput(field, sorted(arguments), f"{name}, which mode {mode} needs")
    kept: Mapping[str, Any] = _kept(arguments, field)
    return Video(mode, kept)


def _mode(named: Sequence[str]) -> str:
    """Return the mode of the arguments; a clip with a duration is extended, one without is edited."""
    if "video" not in named:
        return columns.DEFAULT_MODE
    for mode in columns.MODES:
        if set(named) <= set(columns.ARGUMENTS[mode]):
            return mode
    raise InvalidInput("mode", None, f"edit or extend; no mode takes {', '.join(named)} together")


def _name(name: object, field: str, options: Collection[str]) -> str:
    known = (*columns.ALL_ARGUMENTS, "mode", *options)
    if isinstance(name, str) and name in known:
        return name
    close = difflib.get_close_matches(str(name), known, n=1)
    meant = f"; is this {close[0]}?" if close else ""
    raise InvalidInput(field, name, f"arguments of the task ({', '.join(known)}){meant}")


def _kept(value: Any, field: str) -> Any:
    size = len(json.dumps(value))
    if size > LARGEST:
        raise InvalidInput(
            field,
            f"{size:,} bytes",
            f"at most {LARGEST:,} bytes as JSON, which is kept in XCom; write the rows to a file (.csv, .jsonl, "
            ".parquet) that every worker can read, and return its path",
        )
    return value


def _json(value: Any, field: str, depth: int = 0) -> Any:
    """Return a value as plain JSON, in which form it is used in every leg."""
    if depth > _DEEPEST:
        raise InvalidInput(field, value, f"values that are nested at most {_DEEPEST} levels deep")
    value = plain(value)
    match value:
        case None | bool() | str():
            return value
        case int() if value.bit_length() <= _LONGEST_NUMBER:
            return value
        case float() if math.isfinite(value):
            return value
        case Decimal() if value.is_finite():
            return int(value) if value == int(value) else float(value)
        case Mapping():
            if bad := [name for name in value if not isinstance(name, str)]:
                raise InvalidInput(field, bad[0], "text as the names of arguments and columns")
            return {name: _json(part, field, depth + 1) for name, part in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_json(part, field, depth + 1) for part in value]
    return _as_text(value, field)


def _as_text(value: Any, field: str) -> str | float:
    """Return a date, a time span in seconds, or a path as JSON has it."""
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, PathLike) or hasattr(value, "protocol"):
        return str(value)
    raise InvalidInput(field, value, "values that JSON can hold, dates, or paths")
