"""Spend report: sums of the ledger's purchases by group."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pendulum

from airflow_provider_grokvideo.core.billing.entries import Entry
from airflow_provider_grokvideo.core.billing.money import plain
from airflow_provider_grokvideo.core.jobs import usd


@dataclass(frozen=True)
class Line:
    """Sums of a group of purchases; amounts in ticks of 1/10^10 USD.

    Attributes:
        keys: Values of the group, one for each column it is grouped by.
        purchases: Number of submissions that were or may have been accepted.
        billed: Sum of the bills.
        possible: Further possible cost: pending, unconfirmed and unpriced requests.
        estimated: Sum of the estimated prices.
        moderated: Number of requests that the content rules blocked.
        failed: Number of requests that failed, expired or were abandoned.
        open: Number of requests that are pending or unconfirmed.
    """

    keys: tuple[str, ...]
    purchases: int
    billed: int
    possible: int
    estimated: int
    moderated: int
    failed: int
    open: int

    def to_json(self, words: Sequence[str]) -> dict[str, Any]:
        """Return the line as plain JSON with exact dollars."""
        return {
            **dict(zip(words, self.keys, strict=True)),
            "purchases": self.purchases,
            "billed_usd": in_dollars(self.billed),
            "possible_usd": in_dollars(self.possible),
            "estimated_usd": in_dollars(self.estimated),
            "moderated": self.moderated,
            "failed": self.failed,
            "open": self.open,
        }


def _outcome(entry: Entry) -> str:
    return entry.outcome or ("pending" if entry.request_id else "reserved")


def _local(form: str) -> Callable[[Entry, str], str]:
    return lambda entry, timezone: pendulum.from_timestamp(entry.reserved_at, tz=timezone).strftime(form)


WORDS: dict[str, Callable[[Entry, str], str]] = {
    "day": _local("%Y-%m-%d"),
    "month": _local("%Y-%m"),
    "dag": lambda entry, _: entry.owner.dag_id,
    "run": lambda entry, _: entry.owner.run_id,
    "task": lambda entry, _: f"{entry.owner.dag_id}.{entry.owner.task_id}",
    "connection": lambda entry, _: entry.conn_id,
    "model": lambda entry, _: entry.model or "-",
    "mode": lambda entry, _: entry.mode or "-",
    "outcome": lambda entry, _: _outcome(entry),
}
"""Columns to group by; a function of the entry and the time zone each."""


def grouped(entries: Iterable[Entry], by: Sequence[str], timezone: str) -> list[Line]:
    """Return a line for each group of purchases, in the order of their keys.

    Args:
        entries: From the ledger; released ones are left out.
        by: Keys of :data:`WORDS`; without any there is one group.
        timezone: Time zone of days and months.
    """
    groups: dict[tuple[str, ...], list[Entry]] = {}
    for entry in entries:
        if entry.state != "released":
            groups.setdefault(tuple(WORDS[word](entry, timezone) for word in by), []).append(entry)
    return [line(keys, groups[keys]) for keys in sorted(groups)]


def line(keys: tuple[str, ...], entries: Sequence[Entry]) -> Line:
    """Return the sums of some purchases."""
    bought = [entry for entry in entries if entry.state != "released"]
    return Line(
        keys,
        purchases=len(bought),
        billed=sum(entry.billed or 0 for entry in bought),
        possible=sum(entry.possible for entry in bought),
        estimated=sum(entry.estimated or 0 for entry in bought),
        moderated=sum(entry.outcome == "moderated" for entry in bought),
        failed=sum(entry.outcome in ("failed", "expired", "abandoned") for entry in bought),
        open=sum(entry.state == "reserved" for entry in bought),
    )


def in_dollars(ticks: int) -> str:
    """Return ticks as exact dollars, with at least two decimals."""
    amount = usd(ticks) or Decimal(0)
    return f"{amount:.2f}" if amount == round(amount, 2) else plain(amount)
