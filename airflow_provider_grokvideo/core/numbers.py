"""Checks of numbers: type, finite, within bounds."""

from __future__ import annotations

import math
import re

from airflow_provider_grokvideo.core.errors import InvalidInput

_WRITTEN = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


def number_in(text: str) -> float | None:
    """Return the number that a text is, in plain digits; None for ``1_0`` and digits of other scripts, too."""
    return float(text) if is_number(text) else None


def is_number(text: str) -> bool:
    """Say whether a text is a number as JSON writes it; Python itself takes more."""
    return _WRITTEN.fullmatch(text.strip()) is not None


def checked_number(
    value: object, field: str, *, least: float, most: float, expected: str, may_be_text: bool = False
) -> float:
    """Return a number within its bounds.

    Args:
        value: A number, or numeric text from a template.
        field: The argument.
        least: Smallest value; 0 itself is excluded.
        most: Largest value.
        expected: The bounds, for the message.
        may_be_text: Whether numeric text is allowed.

    Raises:
        InvalidInput: The value has another type, is not finite, or is out of bounds.
    """
    number = math.nan
    if isinstance(value, int | float) and not isinstance(value, bool):
        number = float(value) if abs(value) <= 1e300 else math.inf
    elif may_be_text and isinstance(value, str):
        found = number_in(value)
        number = math.nan if found is None else found
    if not (least <= number <= most) or (least == 0 and number == 0):
        raise InvalidInput(field, value, expected)
    return number
