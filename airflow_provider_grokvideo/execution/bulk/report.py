"""What a table has come to: the lines of the result table, counts, costs, progress in the log."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from airflow_provider_grokvideo.core.billing.money import plain
from airflow_provider_grokvideo.core.bulk import states
from airflow_provider_grokvideo.core.bulk.lines import COLUMNS, STATUSES, Status
from airflow_provider_grokvideo.core.errors import VideoExpired
from airflow_provider_grokvideo.core.redaction import shareable
from airflow_provider_grokvideo.execution import advice
from airflow_provider_grokvideo.execution.manifest import as_number

if TYPE_CHECKING:
    from airflow_provider_grokvideo.core.bulk.rows import BadRow
    from airflow_provider_grokvideo.core.purchases.records import Record
    from airflow_provider_grokvideo.execution.bulk.rows import RowWork

NAMED_ERRORS = 5
"""Rows whose error is in the task's result; all of them are in the result table."""

LONGEST_ERROR = 500
"""Characters of an error in the task's result: the whole result stays below 16 kB."""

SUCCEEDED: frozenset[Status] = frozenset({"delivered"})

_MEASURED = ("uri", "sha256", "bytes", "duration", "width", "height", "has_audio")


def status_of(work: RowWork) -> Status:
    """Return the status of a row; one that could not be sent in this leg was refused, unless a retry may help.

    A row whose video was stored before, is not there any more, and could not be fetched again has no video.
    """
    status = states.status_of(work.step)
    if status in SUCCEEDED and work.error is not None:
        return "expired" if isinstance(work.error, VideoExpired) else "submitted"
    if status == "not_sent" and work.error is not None and not work.error.retry_helps:
        return "refused"
    return status


def line(work: RowWork) -> dict[str, Any]:
    """Return a row's line of the result table."""
    status, last = status_of(work), work.last
    made = (last.manifest if last else None) or {}
    given = work.row.arguments
    prompt = given.get("prompt")
    bought = [record for record in work.records if record.phase != "withdrawn"]
    error, what_to_do = _problem(work, status, last)
    return {
        "id": work.row.id,
        "status": status,
        **({name: made.get(name) for name in _MEASURED} if status in SUCCEEDED else dict.fromkeys(_MEASURED)),
        "mode": (last.mode if last else None) or work.row.mode,
        "model": made.get("model") or (last.model if last else None) or given.get("model"),
        "prompt": prompt,
        "prompt_sha256": _sha256(prompt),
        "request_id": last.request_id if last else None,
        "estimated_cost_usd": _estimate(work, last),
        "cost_usd": _sum(_billed(record) for record in work.records),
        "attempts": len(bought),
        "submitted_at": last.submitted_at if last else None,
        "finished_at": _epoch(made.get("finished_at")) if status in SUCCEEDED else None,
        "error": error,
        "advice": what_to_do,
        **work.row.carried,
    }


def bad_line(bad: BadRow) -> dict[str, Any]:
    """Return the line of a row that was refused before anything was sent."""
    return {
        **dict.fromkeys(COLUMNS),
        "id": bad.id,
        "status": "refused",
        "mode": bad.mode,
        "model": bad.model,
        "prompt": bad.prompt,
        "prompt_sha256": None
        if bad.prompt is None
        else hashlib.sha256(bad.prompt.encode(errors="replace")).hexdigest(),
        "attempts": 0,
        "error": str(bad),
        "advice": "Nothing was sent for this row. Correct it and clear the task.",
        **bad.carried,
    }


class TableReport:
    """Counts and sums of a table.

    Args:
        works: All good rows.
        bad: All bad ones.
        left: Rows that are no longer in the table, whose videos are paid.
        table_uri: The result table; None where there is none.
    """

    def __init__(
        self, works: Sequence[RowWork], bad: Sequence[BadRow], left: Sequence[RowWork], table_uri: str | None
    ) -> None:
        self._works = works
        self._bad = bad
        self._left = left
        self.table_uri = table_uri

    def lines(self) -> Iterator[dict[str, Any]]:
        """Yield the lines of the result table: the rows, those with a mistake, those no longer in the table."""
        yield from map(line, self._works)
        yield from map(bad_line, self._bad)
        yield from map(line, self._left)

    def counts(self) -> dict[Status, int]:
        """Return how many rows have each status; none are left out."""
        found = Counter(map(status_of, self._works))
        found["refused"] += len(self._bad)
        return {status: found[status] for status in STATUSES if found[status]}

    def summary(self) -> dict[str, Any]:
        """Return the result of the task: counts, cost, the table's place, the first errors; never the rows."""
        counts = self.counts()
        return {
            "rows": len(self._works) + len(self._bad),
            "counts": dict(counts),
            "cost_usd": as_number(self.cost()),
            "estimated_cost_usd": as_number(self.estimated()),
            "table_uri": self.table_uri,
            "errors": [*self._errors()],
        }

    def cost(self) -> Decimal:
        """Return what the rows were billed, all attempts of all tries."""
        return _sum(_billed(r) for work in (*self._works, *self._left) for r in work.records) or Decimal(0)

    def estimated(self) -> Decimal:
        """Return the estimates of what was submitted."""
        bought = (r.estimate for work in self._works for r in work.records if r.phase != "withdrawn")
        return _sum(bought) or Decimal(0)

    def ratio(self, *, without: frozenset[Status]) -> float:
        """Return the share of rows with a video; 1 where no row counts.

        Args:
            without: Statuses that do not count.
        """
        counted = [status for status in map(status_of, self._works) if status not in without]
        return sum(status in SUCCEEDED for status in counted) / len(counted) if counted else 1.0

    def told(self) -> str:
        """Return the counts as words."""
        return (
            ", ".join(f"{number} {status.replace('_', ' ')}" for status, number in self.counts().items()) or "no rows"
        )

    def progress(self, flight: int, started: float, began_with: int, now: float) -> str:
        """Return the line about how far the table is.

        Args:
            flight: Requests that are running.
            started: Epoch seconds of the begin of this try.
            began_with: Rows that had a video then.
            now: Epoch seconds.
        """
        counts = self.counts()
        done = sum(counts.get(status, 0) for status in SUCCEEDED)
        failed = sum(counts.get(status, 0) for status in ("failed", "moderated", "expired", "refused"))
        unconfirmed = counts.get("unconfirmed", 0)
        total = len(self._works) + len(self._bad)
        rate = (done - began_with) / max(now - started, 1.0) * 60
        left = total - done - failed - unconfirmed
        told = [
            f"{done} of {total} rows have their video",
            f"{flight} running, {counts.get('not_sent', 0)} to submit, {failed} failed"
            + (f", {unconfirmed} unconfirmed" if unconfirmed else ""),
            f"billed {plain(self.cost())} USD",
            *([f"{rate:.1f} videos per minute"] if rate > 0 else []),
            *([f"about {_duration(left / rate * 60)} left"] if rate > 0 and left > 0 else []),
        ]
        return "; ".join(told)

    def _errors(self) -> Iterator[dict[str, Any]]:
        lines = chain(
            map(line, filter(_has_error, self._works)),
            map(bad_line, self._bad),
            map(line, filter(_has_error, self._left)),
        )
        for each in islice((each for each in lines if each["error"]), NAMED_ERRORS):
            yield {
                "id": None if each["id"] is None else str(each["id"])[:200],
                "status": each["status"],
                "error": str(each["error"])[:LONGEST_ERROR],
            }


def _has_error(work: RowWork) -> bool:
    """Say whether a row's line may have an error, without making the line."""
    status = status_of(work)
    return status not in SUCCEEDED and (work.error is not None or status not in ("submitted", "not_sent"))


def _problem(work: RowWork, status: Status, last: Record | None) -> tuple[str | None, str | None]:
    """Return what went wrong with a row, and what to do about it."""
    if status in SUCCEEDED:
        return None, None
    if work.error is not None:
        return str(shareable(work.error.what)), str(shareable(work.error.what_to_do)) or None
    if last is None or status in ("submitted", "not_sent"):
        return None, None
    if status == "unconfirmed":
        return advice.submission(last), unconfirmed_advice(last)
    return last.note, ADVICE.get(status)


def unconfirmed_advice(record: Record) -> str:
    """Return how a row is settled of which it is not known whether xAI accepted it."""
    return (
        "xAI may have accepted and billed it, so nothing is sent again. Look for it in the xAI console and in the "
        f"task's logs ('was accepted'). Found: {record.owner.command('adopt', '<request id>')} - Not found: "
        f"{record.owner.command('forget')} - Then clear the task."
    )


ADVICE: Mapping[str, str] = {
    "failed": "Submitting the row again is a new purchase: clear the task with resubmit_on=['failed'].",
    "moderated": "Change the prompt or the input media of the row and clear the task.",
    "expired": (
        "Check that the connection uses the account that submitted the row; resubmit_on=['expired'] submits it again."
    ),
    "refused": "Nothing was accepted. Correct the row and clear the task.",
}
"""What to do about a row that ended without a video."""


def _sha256(prompt: Any) -> str | None:
    return None if prompt is None else hashlib.sha256(str(prompt).encode(errors="replace")).hexdigest()


def _estimate(work: RowWork, last: Record | None) -> Decimal | None:
    if last is not None and last.estimate is not None:
        return last.estimate
    return None if work.estimate is None else work.estimate.usd


def _billed(record: Record) -> Decimal | None:
    usd = record.cost_usd if record.cost_usd is not None else (record.manifest or {}).get("cost_usd")
    return None if usd is None else Decimal(str(usd))


def _sum(amounts: Iterable[Decimal | None]) -> Decimal | None:
    known = [each for each in amounts if each is not None]
    return sum(known, Decimal(0)) if known else None


def _epoch(moment: object) -> float | None:
    # Python 3.10 does not know the Z.
    return datetime.fromisoformat(moment.replace("Z", "+00:00")).timestamp() if isinstance(moment, str) else None


def _duration(seconds: float) -> str:
    minutes = seconds / 60
    if minutes < 1:
        return f"{max(1, round(seconds))} s"
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"
