"""Amounts of money: parsing, formatting, and the unit of xAI's bills."""

from __future__ import annotations

from decimal import ROUND_CEILING, Decimal, InvalidOperation

from airflow_provider_grokvideo.core.errors import InvalidInput
from airflow_provider_grokvideo.core.jobs import TICKS_PER_USD
from airflow_provider_grokvideo.core.numbers import is_number

MOST = Decimal(100_000_000)
"""Larger amounts in USD are refused as mistakes; in ticks this one fits a database's integers."""

TOLERATED = Decimal("0.1")
"""Share of the estimate by which a bill may differ without a warning."""


def amount(value: object, field: str, *, most: Decimal = MOST, also: str = "") -> Decimal:
    """Return an amount in USD, given as a number or as text.

    Empty text is refused: a template may have rendered to nothing, and that must not remove a limit.

    Args:
        value: The amount.
        field: The argument or setting, for the message.
        most: The largest amount allowed.
        also: Other allowed values, for the message.

    Raises:
        InvalidInput: It is not an amount from 0 to `most`.
    """
    usd = Decimal("NaN")
    try:
        if isinstance(value, int | Decimal):
            usd = Decimal(value)
        elif isinstance(value, float | str):
            usd = Decimal(text) if is_number(text := str(value).strip()) else usd
    except InvalidOperation:
        usd = Decimal("NaN")
    if isinstance(value, bool) or not usd.is_finite() or not 0 <= usd <= most:
        raise InvalidInput(field, value, f"0 to {most} USD{also}")
    return usd


def ticks_of(usd: Decimal) -> int:
    """Return an amount in the unit of xAI's bills, never rounded down."""
    return int((usd * TICKS_PER_USD).to_integral_value(ROUND_CEILING))


def differ(estimated: Decimal | None, actual: Decimal | None) -> bool:
    """Return whether a bill differs from its estimate by more than :data:`TOLERATED`."""
    if estimated is None or actual is None:
        return False
    return abs(actual - estimated) > TOLERATED * estimated


def plain(usd: Decimal) -> str:
    """Return an amount without exponent and without trailing zeros."""
    return f"{usd.normalize():f}"


def dollars(usd: Decimal) -> str:
    """Return an amount with its unit."""
    return f"{plain(usd)} USD"
