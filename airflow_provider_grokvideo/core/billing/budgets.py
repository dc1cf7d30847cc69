"""Budgets: which purchases they count, their day or month, and whether a purchase fits."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, get_args

import pendulum

from airflow_provider_grokvideo.core.billing.money import amount, dollars, ticks_of
from airflow_provider_grokvideo.core.errors import InvalidInput
from airflow_provider_grokvideo.core.jobs import usd
from airflow_provider_grokvideo.core.purchases.records import Owner

Word = Literal["dag_run", "dag", "connection", "day", "month"]

WORDS: tuple[Word, ...] = get_args(Word)

_KEYS = ("usd", "per", "dag_id", "conn_id", "timezone")


@dataclass(frozen=True)
class Budget:
    """Limit of what a group of purchases may cost.

    Attributes:
        ticks: The limit in 1/10^10 USD.
        per: Unit of the budget: ``dag_run``, ``dag``, ``connection``, ``day``, ``month``. Several units combine:
            ``("dag", "day")`` is one day of one DAG.
        dag_ids: DAGs whose purchases it counts and limits; None for all.
        conn_ids: Connections whose purchases it counts and limits; None for all.
        timezone: Time zone of its days and months.
        where: Setting, connection or argument that declares it, for messages.
    """

    ticks: int
    per: tuple[Word, ...]
    dag_ids: tuple[str, ...] | None = None
    conn_ids: tuple[str, ...] | None = None
    timezone: str = "UTC"
    where: str = ""

    def __str__(self) -> str:
        filters = [*(self.dag_ids or ()), *(self.conn_ids or ())]
        only = f" of {', '.join(filters)}" if filters else ""
        return f"{_dollars(self.ticks)} per {' and '.join(word.replace('_', ' ') for word in self.per)}{only}"


@dataclass(frozen=True)
class Scope:
    """The purchases that count against a budget together with a given purchase.

    Attributes:
        budget: The budget.
        dag_ids: Their DAGs; None for all.
        conn_ids: Their connections; None for all.
        run: Their DAG run, as DAG id and run id.
        start: Reserved at or after this moment, in epoch seconds.
        end: Reserved before this moment.
    """

    budget: Budget
    dag_ids: tuple[str, ...] | None = None
    conn_ids: tuple[str, ...] | None = None
    run: tuple[str, str] | None = None
    start: float | None = None
    end: float | None = None


@dataclass(frozen=True)
class Overrun:
    """A budget that a purchase would exceed.

    Attributes:
        scope: The budget and the purchases that it counts.
        used: Ticks already spent or reserved.
        wanted: Ticks of the purchase.
    """

    scope: Scope
    used: int
    wanted: int

    def __str__(self) -> str:
        budget = self.scope.budget
        left = max(0, budget.ticks - self.used)
        until = ""
        if self.scope.end is not None:
            moment = pendulum.from_timestamp(self.scope.end, tz=budget.timezone)
            until = f"; the next {'day' if 'day' in budget.per else 'month'} begins at {moment.to_iso8601_string()}"
        return (
            f"the budget of {budget} ({budget.where}) has {_dollars(self.used)} spent or reserved and "
            f"{_dollars(left)} left{until}"
        )


def parse(declared: object, *, where: str, timezone: str = "UTC", conn_id: str | None = None) -> list[Budget]:
    """Parse declared budgets.

    Args:
        declared: A list, or its JSON text, of ``{"usd": 20, "per": "day"}``; `per` is one or a list of
            ``dag_run``, ``dag``, ``connection``, ``day``, ``month``. ``dag_id`` and ``conn_id``, a name or a list of
            names, restrict it to those; ``timezone`` is the time zone of its days and months. An empty list means no
            budget; an empty text, None and ``null`` are errors, because a template may have rendered to nothing.
        where: Setting, connection or argument that declares them, for messages.
        timezone: Time zone of budgets that set none.
        conn_id: Restrict all of them to this connection.

    Raises:
        InvalidInput: An entry is not a valid budget; the message names it.
    """
    if isinstance(declared, str):
        text = declared.strip()
        try:
            declared = json.loads(text)
        except (ValueError, RecursionError) as error:
            hint = " (a template may have rendered to nothing)" if text in ("", "None") else f" ({error})"
            raise InvalidInput(where, text, f"JSON such as {_EXAMPLE}{hint}") from None
    if not isinstance(declared, Sequence) or isinstance(declared, str | bytes):
        # None may be a template that rendered to nothing: no budget is an empty list.
        raise InvalidInput(where, declared, f"a list such as {_EXAMPLE}, or an empty one")
    return [_budget(each, f"{where}[{index}]", timezone, conn_id) for index, each in enumerate(declared)]


def scopes(budgets: Iterable[Budget], owner: Owner, conn_id: str, now: float) -> list[Scope]:
    """Return the scope of each budget that applies to a purchase made `now`."""
    return [
        Scope(
            budget,
            dag_ids=(owner.dag_id,) if "dag" in budget.per else budget.dag_ids,
            conn_ids=(conn_id,) if "connection" in budget.per else budget.conn_ids,
            run=(owner.dag_id, owner.run_id) if "dag_run" in budget.per else None,
            start=bounds[0],
            end=bounds[1],
        )
        for budget in budgets
        if _covers(budget.dag_ids, owner.dag_id) and _covers(budget.conn_ids, conn_id)
        for bounds in [window(budget, now)]
    ]


def whole(budget: Budget, now: float) -> Scope:
    """Return the scope `now` of a budget that is not per DAG, run or connection."""
    start, end = window(budget, now)
    return Scope(budget, budget.dag_ids, budget.conn_ids, start=start, end=end)


def window(budget: Budget, now: float) -> tuple[float | None, float | None]:
    """Return the begin and end of the budget's current day or month in epoch seconds; a day has 23 to 25 hours."""
    today = pendulum.from_timestamp(now, tz=budget.timezone).date()
    if "day" in budget.per:
        return begin(today, budget.timezone), begin(today.add(days=1), budget.timezone)
    if "month" in budget.per:
        first = today.start_of("month")
        return begin(first, budget.timezone), begin(first.add(months=1), budget.timezone)
    return None, None


def begin(day: pendulum.Date, timezone: str) -> float:
    """Return the first moment of a date in a time zone, in epoch seconds.

    If a clock change skips midnight, it is the moment of the change; if midnight comes twice, it is the first. That is
    the meaning of a datetime with ``fold=0`` (PEP 495).
    """
    return datetime(day.year, day.month, day.day, tzinfo=pendulum.timezone(timezone), fold=0).timestamp()


def overruns(wanted: int, used: Iterable[tuple[Scope, int]]) -> list[Overrun]:
    """Return the budgets that so many more ticks would exceed."""
    return [Overrun(scope, spent, wanted) for scope, spent in used if spent + wanted > scope.budget.ticks]


_EXAMPLE = '[{"usd": 20, "per": "day"}]'


def _budget(each: object, where: str, timezone: str, conn_id: str | None) -> Budget:
    if not isinstance(each, Mapping):
        raise InvalidInput(where, each, 'an object such as {"usd": 20, "per": "day"}')
    if unknown := sorted(set(map(str, each)) - set(_KEYS)):
        raise InvalidInput(f"{where}: {unknown[0]}", each.get(unknown[0]), f"one of the keys {', '.join(_KEYS)}")
    limit = amount(each.get("usd"), f"{where}: usd")
    zone = each.get("timezone", timezone)
    return Budget(
        ticks_of(limit),
        _per(each.get("per"), f"{where}: per"),
        dag_ids=_names(each.get("dag_id"), f"{where}: dag_id"),
        conn_ids=(conn_id,) if conn_id is not None else _names(each.get("conn_id"), f"{where}: conn_id"),
        timezone=checked_zone(zone, f"{where}: timezone"),
        where=where,
    )


def checked_zone(name: Any, where: str) -> str:
    """Return the name of a time zone.

    Raises:
        InvalidInput: There is no such zone.
    """
    try:
        # A number would be an offset in seconds to pendulum.
        pendulum.timezone(name if isinstance(name, str) else "")
    except Exception as error:
        raise InvalidInput(where, name, "the name of a time zone, such as Europe/Berlin") from error
    return str(name)


def _per(value: object, where: str) -> tuple[Word, ...]:
    words = [value] if isinstance(value, str) else value
    allowed = f"one or more of {', '.join(WORDS)}, and not both day and month"
    if not isinstance(words, Sequence) or isinstance(words, bytes | bytearray) or not words:
        raise InvalidInput(where, value, allowed)
    # In the order of WORDS, whatever the user's.
    known = tuple(word for word in WORDS if word in words)
    if len(known) != len(words) or {"day", "month"} <= set(known):
        raise InvalidInput(where, value, allowed)
    return known


def _names(value: object, where: str) -> tuple[str, ...] | None:
    if value is None:
        return None
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, Sequence) or not names or not all(isinstance(name, str) and name for name in names):
        raise InvalidInput(where, value, "a name or a list of names")
    return tuple(names)


def _covers(names: tuple[str, ...] | None, name: str) -> bool:
    return names is None or name in names


def _dollars(ticks: int) -> str:
    found = usd(ticks)
    assert found is not None  # noqa: S101 - only None is None
    return dollars(found)
