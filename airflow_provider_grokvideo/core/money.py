"""Amounts of money: as users write them, as people read them, as the service bills them."""

from __future__ import annotations

from decimal import ROUND_CEILING, Decimal, InvalidOperation

from airflow_provider_grokvideo.core.errors import InvalidInput
from airflow_provider_grokvideo.core.jobs import TICKS_PER_USD
from airflow_provider_grokvideo.core.numbers import is_number

MOST = Decimal(100_000_000)
"""Dollars above which an amount is taken for a mistake; in ticks it fits a database's integers."""

TOLERATED = Decimal("0.1")
"""Share of the estimate by which a bill may differ before it is worth a warning."""


def amount(value: object, field: str, *, most: Decimal = MOST, also: str = "") -> Decimal:
    """Read dollars as a user writes them, as a number or as text.

    A text that is empty is a mistake, such as a template that rendered to nothing, and not the absence of a limit.

    Args:
        value: What the user wrote.
        field: Where, for the message.
        most: The largest amount that makes sense there.
        also: What else is allowed there, for the message.

    Raises:
        InvalidInput: It is no amount.
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
        raise InvalidInput(field, value, f"dollars, 0 to {most}{also}")
    return usd


def ticks_of(usd: Decimal) -> int:
    """Return dollars in the unit of the service's bills, never rounded down."""
    return int((usd * TICKS_PER_USD).to_integral_value(ROUND_CEILING))


def differ(estimated: Decimal | None, actual: Decimal | None) -> bool:
    """Say whether a bill is so far from its estimate that a person should know."""
    if estimated is None or actual is None:
        return False
    return abs(actual - estimated) > TOLERATED * estimated


def plain(usd: Decimal) -> str:
    """Return an amount without exponent and without trailing zeros."""
    return f"{usd.normalize():f}"


def dollars(usd: Decimal) -> str:
    """Return an amount with its unit."""
    return f"{plain(usd)} USD"
