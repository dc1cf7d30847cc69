"""Output of plans: table, CSV and JSON."""

from __future__ import annotations

import csv
import io
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from airflow_provider_grokvideo.core.billing.money import plain
from airflow_provider_grokvideo.core.billing.pricing import Prices
from airflow_provider_grokvideo.core.billing.upper_bound import BoundLine, Total, total
from airflow_provider_grokvideo.planning.schedule import Runs
from airflow_provider_grokvideo.terminal import printable

WIDTH = 120
"""Maximum width of the table in columns, unless a task id or model name is very long."""

ASSUMED = (
    "every task runs once per run, whatever branches and trigger rules do, and is not cleared",
    "a retry has the same arguments and resumes the request, with no new charge, unless a line says otherwise",
    "params have their defaults; every other template is unknown until the task runs",
    "a clip has the requested length and resolution",
    "budgets are ignored; they can only prevent purchases",
)

_HEADINGS = ("TASK", "MODE", "MODEL", "PRICED FOR", "COUNT", "EACH $", "USD")
_NUMBERS = frozenset({"COUNT", "EACH $", "USD"})
_INDENT = "  "
_COLUMNS = (
    "dag_id", "what", "task_id", "mode", "model", "priced_for", "count", "per_item", "purchases_each", "usd_each",
    "usd", "complete", "notes",
)  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """Worst-case cost of one DAG.

    Attributes:
        dag_id: As in Airflow.
        lines: Tasks of this provider.
        runs: Runs of a month.
    """

    dag_id: str
    lines: Sequence[BoundLine]
    runs: Runs

    @property
    def run(self) -> Total:
        """The price of one run."""
        return total(self.lines)

    @property
    def month(self) -> Total | None:
        """The price of a month's runs; None if their number is unknown."""
        return None if self.runs.count is None else self.run.times(self.runs.count)

    @property
    def is_bound(self) -> bool:
        """Whether both totals are upper bounds."""
        return not self.lines or (self.run.is_bound and (self.runs.is_bound or not self.runs.scheduled))


def table(plans: Iterable[Plan], prices: Prices, said: Sequence[str] = ()) -> list[str]:
    """Return the lines of the table."""
    found: list[str] = []
    for plan in plans:
        found += [*_block(plan), ""]
    by = f" ({prices.source})" if prices.source else ""
    found += _wrapped(f"Prices of {prices.as_of}{by}; xAI's bill decides. Assumptions:", "", "")
    found += [f"- {each}" for each in (*ASSUMED, *said)]
    return [printable(line) for line in found]


def as_json(plans: Iterable[Plan], prices: Prices, file: str, said: Sequence[str] = ()) -> dict[str, Any]:
    """Return plain JSON with exact dollars as text."""
    return {
        "file": file,
        "prices": {"as_of": prices.as_of, "source": prices.source},
        "assumed": [*ASSUMED, *said],
        "dags": [_dag_json(plan) for plan in plans],
    }


def as_csv(plans: Iterable[Plan]) -> str:
    """Return a row for each task and price, then one for the run and one for the month."""
    text = io.StringIO()
    rows = csv.DictWriter(text, _COLUMNS, restval="", lineterminator="\n")
    rows.writeheader()
    for plan in plans:
        for line in plan.lines:
            rows.writerow({"dag_id": plan.dag_id, "what": "task", **_flat(_line_json(line))})
        rows.writerow({"dag_id": plan.dag_id, "what": "run", **_sum_row(plan.run)})
        month = plan.month
        rows.writerow(
            {
                "dag_id": plan.dag_id,
                "what": plan.runs.month,
                "count": "" if plan.runs.count is None else plan.runs.count,
                **({} if month is None else _sum_row(month)),
                "complete": str(plan.run.is_bound and plan.runs.is_bound).lower(),
                "notes": plan.runs.told,
            }
        )
    return text.getvalue()


def dollars(usd: Decimal) -> str:
    """Return an exact amount with at least two decimals."""
    whole, _, cents = plain(usd).partition(".")
    return f"{whole}.{cents:0<2}"


def told(price: Total) -> list[str]:
    """Return a total as text; a plain number only if it is an upper bound."""
    if price.is_bound:
        return [f"{dollars(price.usd)} USD"]
    names = ["n"] if len(price.per_item) == 1 else [f"n{number}" for number in range(1, len(price.per_item) + 1)]
    parts = [f"{dollars(price.usd)} USD"] if price.usd or not price.per_item else []
    parts += [f"{name} x {dollars(usd)} USD" for name, usd in zip(names, price.per_item.values(), strict=True)]
    found = f"at least {' + '.join(parts)}" if price.usd and price.per_item else " + ".join(parts)
    if price.unpriced:
        found = f"unknown: no price for {', '.join(price.unpriced)}; the rest is {found}"
    meant = ", ".join(f"{name} items of {what}" for name, what in zip(names, price.per_item, strict=True))
    return [found, f"{meant}: known at run time"] if meant else [found]


def _block(plan: Plan) -> list[str]:
    if not plan.lines:
        return [f"DAG {plan.dag_id}: no purchasing task of this provider"]
    runs = plan.runs
    facts = [("one run", text) for text in told(plan.run)]
    if runs.scheduled:
        facts += [(runs.month, text) for text in [*_monthly(plan), *([runs.told] if runs.told else [])]]
    else:
        facts.append(("a month", runs.told))
    found = [f"DAG {plan.dag_id}", *_rows(plan.lines), ""]
    before = ""
    for name, text in facts:
        found += _wrapped(text, f"{_INDENT}{'' if name == before else name:<7}  ", " " * 11)
        before = name
    return found


def _monthly(plan: Plan) -> list[str]:
    runs, month = plan.runs, plan.month
    if month is None:
        return [f"an unknown number of runs in {runs.timezone}"]
    price, *more = told(month)
    many = f"{'at least ' * runs.more}{runs.count} run{'' if runs.count == 1 else 's'} in {runs.timezone}"
    return [f"{many}: {price}", *(f"{each}, the same in each run" for each in more)]


def _wrapped(text: str, first: str, then: str) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent=first, subsequent_indent=then, break_long_words=False, break_on_hyphens=False
    )


def _rows(lines: Sequence[BoundLine]) -> list[str]:
    """Return the table of tasks; the priced items move below each row if they would make it too wide."""
    cells = [dict(zip(_HEADINGS, _cells(line), strict=True)) for line in lines]
    widths = {name: max(len(name), *(len(each[name]) for each in cells)) for name in _HEADINGS}
    below = sum(widths.values()) + len(_INDENT) * len(widths) > WIDTH
    shown = [name for name in _HEADINGS if not (below and name == "PRICED FOR")]
    found = [_aligned({name: name for name in _HEADINGS}, shown, widths)]
    for line, each in zip(lines, cells, strict=True):
        found.append(_aligned(each, shown, widths))
        notes = [each["PRICED FOR"]] * (below and each["PRICED FOR"] != "-") + list(line.worst.notes)
        for note in notes:
            found += _wrapped(note, _INDENT * 3, _INDENT * 4)
    return found


def _cells(line: BoundLine) -> tuple[str, ...]:
    worst = line.worst
    count = f"{'' if line.count == 1 else line.count}n" if line.per_item else str(line.count)
    each = "?" if worst.usd is None else dollars(worst.usd)
    usd = "?" if line.usd is None else f"n x {dollars(line.usd)}" if line.per_item else dollars(line.usd)
    return (
        line.task_id,
        worst.mode or "-",
        worst.model or "-",
        " + ".join(worst.priced_for) or "-",
        count if worst.tries == 1 else f"{count} x {worst.tries}",
        each,
        usd,
    )


def _aligned(cells: dict[str, str], shown: Sequence[str], widths: dict[str, int]) -> str:
    parts = (cells[name].rjust(widths[name]) if name in _NUMBERS else cells[name].ljust(widths[name]) for name in shown)
    return f"{_INDENT}{_INDENT.join(parts)}".rstrip()


def _dag_json(plan: Plan) -> dict[str, Any]:
    runs, month = plan.runs, plan.month
    return {
        "dag_id": plan.dag_id,
        "tasks": [_line_json(line) for line in plan.lines],
        "run": _total_json(plan.run),
        "month": {
            "month": runs.month,
            "timezone": runs.timezone,
            "runs": runs.count,
            "scheduled": runs.scheduled,
            "note": runs.told or None,
            **(_total_json(month) if month else {"usd": None, "per_item": {}, "unpriced": []}),
            "complete": plan.run.is_bound and runs.is_bound,
        },
    }


def _total_json(price: Total) -> dict[str, Any]:
    return {
        "usd": plain(price.usd),
        "per_item": {what: plain(usd) for what, usd in price.per_item.items()},
        "unpriced": list(price.unpriced),
        "complete": price.is_bound,
    }


def _line_json(line: BoundLine) -> dict[str, Any]:
    worst = line.worst
    return {
        "task_id": line.task_id,
        "mode": worst.mode or None,
        "model": worst.model or None,
        "priced_for": list(worst.priced_for),
        "count": line.count,
        "per_item": line.per_item or None,
        "purchases_each": worst.tries,
        "usd_each": None if worst.usd is None else plain(worst.usd),
        "usd": None if line.usd is None else plain(line.usd),
        "complete": line.usd is not None and not line.per_item,
        "notes": list(worst.notes),
    }


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    lists = {"priced_for": " + ".join(row["priced_for"]), "notes": "; ".join(row["notes"])}
    found = {name: "" if value is None else value for name, value in {**row, **lists}.items()}
    return {**found, "complete": str(row["complete"]).lower()}


def _sum_row(price: Total) -> dict[str, str]:
    return {
        "usd": plain(price.usd),
        "per_item": "; ".join(f"{plain(usd)} per item of {what}" for what, usd in price.per_item.items()),
        "complete": str(price.is_bound).lower(),
        "notes": f"no price for {', '.join(price.unpriced)}" if price.unpriced else "",
    }
