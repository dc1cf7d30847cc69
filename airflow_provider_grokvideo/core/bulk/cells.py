"""Cells of a table: empty ones, values of pandas and numpy, text that stands for a number, a flag or JSON."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from datetime import date, time
from decimal import Decimal
from typing import Any
from uuid import UUID

from airflow_provider_grokvideo.core.errors import shorten
from airflow_provider_grokvideo.core.texts import can_be_sent

_WHOLE = re.compile(r"([+-]?[0-9]{1,9})(?:\.0*)?")
_FLAGS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_LISTS = frozenset({"reference_images", "reference_audios", "keyframes"})
_ONE_TEXT = frozenset({"reference_images", "reference_audios"})
_OBJECTS = frozenset({"storage_options"})
_WORDS = frozenset({"model", "aspect_ratio", "resolution"})
_DEEPEST = 50
_LONGEST_NUMBER = 1024
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")

LONGEST_ID = 200
"""Characters of a row's id."""


class BadCell(Exception):
    """A cell that cannot be used.

    Args:
        problem: What is wrong, and what is expected.
    """

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem


def plain(value: Any) -> Any:
    """Return a cell as a plain Python value; None where it is NaN, NA or NaT. An empty text stays."""
    kind = type(value)
    if value is None or kind in (str, int, bool, list, dict):
        return value
    if kind.__name__ in ("NAType", "NaTType"):
        return None
    if kind.__module__.partition(".")[0] == "numpy" and hasattr(value, "tolist"):
        value = value.tolist()
    elif hasattr(value, "to_pydatetime"):
        value = value.to_pydatetime()
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, Decimal):
        return None if value.is_nan() else value
    return None if isinstance(value, float) and math.isnan(value) else value


def is_given(value: Any) -> bool:
    """Return whether a plain cell has a value; None and blank text are "not given"."""
    return value is not None and (not isinstance(value, str) or (value != "" and not value.isspace()))


def argument(name: str, value: Any) -> Any:
    """Return a given cell as the value of an operator's argument.

    What has no such meaning is returned unchanged: the request says what is wrong with it.

    Raises:
        BadCell: A text is no JSON, or JSON of another kind than the argument.
    """
    if name == "duration":
        return _seconds(value)
    if name == "generate_audio":
        return _flag(value)
    if name in _LISTS or name in _OBJECTS:
        return _structured(name, value)
    return value.strip() if name in _WORDS and isinstance(value, str) else value


def _seconds(value: Any) -> Any:
    if isinstance(value, str):
        found = _WHOLE.fullmatch(value.strip())
        return int(found[1]) if found else value
    if isinstance(value, float | Decimal) and math.isfinite(value) and value == int(value):
        return int(value)
    return value


def _flag(value: Any) -> Any:
    if isinstance(value, str):
        return _FLAGS.get(value.strip().lower(), value)
    if isinstance(value, int | float | Decimal) and value in (0, 1):
        return bool(value)
    return value


def _structured(name: str, value: Any) -> Any:
    expected = "an object" if name in _OBJECTS else "a list"
    if isinstance(value, str):
        if name in _ONE_TEXT and value.lstrip()[0] not in "[{":
            return [value.strip()]
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise BadCell(f"{shorten(value)} is not JSON; expected {expected}, as JSON text") from None
    elif isinstance(value, tuple):
        value = list(value)
    if not isinstance(value, Mapping if name in _OBJECTS else list):
        raise BadCell(f"{shorten(value)} is not {expected}")
    return value


def row_id(value: Any) -> str:
    """Return a cell as the id of its row; pandas makes 7.0 of a 7 in a column with empty cells.

    Raises:
        BadCell: It is empty, no text or number, too long, or has control characters or blanks at its ends.
    """
    if not is_given(value):
        raise BadCell("is empty; expected a text that no other row has")
    if isinstance(value, bool | list | tuple | Mapping | bytes | bytearray):
        raise BadCell(f"{shorten(value)} is no id; expected text or a whole number")
    try:
        text = in_text(value)
    except ValueError:
        raise BadCell("is too long a number; expected a text") from None
    if _CONTROL.search(text):
        raise BadCell(f"{shorten(text)} has control characters; expected printable text")
    if text != text.strip():
        raise BadCell(f"{shorten(text)} begins or ends with a blank; expected text without")
    if len(text) > LONGEST_ID:
        raise BadCell(f"has {len(text)} characters; expected at most {LONGEST_ID}")
    return text


def in_text(value: Any) -> str:
    """Return a cell as text; whole numbers without a decimal point.

    Raises:
        ValueError: It is a number with thousands of digits.
    """
    if isinstance(value, float | Decimal) and math.isfinite(value):
        return str(int(value)) if value == int(value) else f"{value:f}" if isinstance(value, Decimal) else str(value)
    return str(value)


def check_carried(value: Any, depth: int = 0) -> None:
    """Check a plain cell of a free column, which goes into the result table.

    Raises:
        BadCell: A result table cannot hold it.
    """
    if isinstance(value, str):
        if not can_be_sent(value):
            raise BadCell(f"{shorten(value)} has a lone surrogate (half an emoji), which UTF-8 cannot encode")
    elif isinstance(value, float | Decimal):
        if not math.isfinite(value):
            raise BadCell(f"is {value}; expected a finite number, or an empty cell")
    elif isinstance(value, int):
        if value.bit_length() > _LONGEST_NUMBER:
            raise BadCell("is too long a number; expected a text")
    elif isinstance(value, list | tuple | Mapping):
        if depth >= _DEEPEST:
            raise BadCell(f"is nested more than {_DEEPEST} levels deep")
        names = tuple(value) if isinstance(value, Mapping) else ()
        if bad := [name for name in names if not isinstance(name, str)]:
            raise BadCell(f"has the key {shorten(bad[0])}; JSON has only text as keys")
        for part in (*names, *(value.values() if isinstance(value, Mapping) else value)):
            check_carried(part, depth + 1)
    elif not (value is None or (depth == 0 and isinstance(value, date | time))):
        raise BadCell(f"is of the type {type(value).__name__}; expected text, a number, a date or JSON")


def storable(value: Any) -> Any:
    """Return a cell of a free column as a result table can hold it; that of a bad row may need another form."""
    value = plain(value)
    try:
        check_carried(value)
    except BadCell:
        return None if isinstance(value, float | Decimal) else shorten(value)
    return value


def canonical(value: Any) -> Any:
    """Return a value so that equal cells are equal JSON: 7, 7.0 and "7" are, which pandas and CSV mix up."""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return {str(name): canonical(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [canonical(part) for part in value]
    if isinstance(value, date | time):
        return value.isoformat()
    return value if value is None or isinstance(value, bool) else in_text(value)
