"""Answers of the API as data: JSON, damaged JSON included, and its fields, whatever type they have."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from airflow_provider_grokvideo.core.redaction import foreign

_MOST_TICKS = 10**18
"""A bill of a hundred million dollars is none."""

_TAG = re.compile(r"<(script|style)\b.*?</\1>|<[^>]*>", re.IGNORECASE | re.DOTALL)


def json_object(body: bytes | str) -> dict[str, Any] | None:
    """Return the JSON object of a body; None if it has none."""
    answer = _json(body)
    if answer is None:
        # A byte of another encoding in one field, or a NUL at the end, must not hide the others.
        answer = _json(readable(body))
    return answer if isinstance(answer, dict) else None


def _json(body: bytes | str) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def readable(body: bytes | str) -> str:
    """Return a body as text, without what stands around its JSON."""
    text = body if isinstance(body, str) else body.decode("utf-8", "replace")
    # What guards JSON against being run as a script stands before it.
    return text.strip("\ufeff\x00 \t\r\n").removeprefix(")]}'").lstrip(", \r\n")


def excerpt(body: bytes | str) -> str:
    """Return the readable beginning of a body that is not JSON, such as a gateway's HTML page."""
    beginning = body[:4_000]
    text = _TAG.sub(" ", beginning if isinstance(beginning, str) else beginning.decode("utf-8", "replace"))
    return foreign(" ".join(text.split()), 300)


def status_word(answer: Mapping[str, Any]) -> str:
    """Return the status in lower case; empty without one."""
    return str(answer.get("status") or "").strip().lower()


def ticks_of(answer: Mapping[str, Any]) -> int | None:
    """Return the cost in ticks; None if it is missing or is no cost."""
    ticks = object_in(answer, "usage").get("cost_in_usd_ticks")
    if isinstance(ticks, str) and ticks.isascii() and ticks.isdigit() and len(ticks) < 20:
        ticks = int(ticks)
    if isinstance(ticks, float) and 0 <= ticks < 2**53 and ticks.is_integer():
        ticks = int(ticks)
    return ticks if isinstance(ticks, int) and not isinstance(ticks, bool) and 0 <= ticks <= _MOST_TICKS else None


def first_text(answer: Mapping[str, Any] | None, *names: str) -> str:
    """Return the first of the fields that has a text; empty without one."""
    return next((text for name in names if answer and (text := text_of(answer.get(name)))), "")


def first_number(*values: object) -> float | None:
    """Return the first value that is a number, if one is."""
    return next((number for value in values if (number := number_of(value)) is not None), None)


def text_of(value: object) -> str | None:
    """Return a value as text if it is a non-empty text or a whole number."""
    if isinstance(value, str) and value.strip():
        return value.strip()
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


def number_of(value: object) -> float | None:
    """Return a value if it is a number that can be a length or a percentage."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e9:
        return float(value)
    return None


def object_in(value: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return the object in a field; empty without one."""
    found = value.get(name)
    return found if isinstance(found, dict) else {}
