"""Spend of a period, for the DAGs that a user may see."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any

from airflow_provider_grokvideo.core.billing import money, reports
from airflow_provider_grokvideo.core.billing.entries import Entry
from airflow_provider_grokvideo.core.purchases.records import Owner
from airflow_provider_grokvideo.ledger import settings
from airflow_provider_grokvideo.ledger.backends import Ledger, NoLedger
from airflow_provider_grokvideo.plugins.airflow_rest import Airflow
from airflow_provider_grokvideo.plugins.lanes import Busy, Lanes
from airflow_provider_grokvideo.plugins.view import Shown

log = logging.getLogger(__name__)

SHARED = 10.0
"""Seconds for which users share one read of the ledger; a period begins and ends on a multiple of it."""

DAY = 86_400.0
"""Extra seconds before the period: a purchase is often older than its card."""

PATIENCE = 10.0
"""Seconds that the page waits for the ledger."""

AT_ONCE = 8
"""Number of DAGs whose permission is checked at the same time."""

_LANES = Lanes(threads=1, lanes=1, limit=PATIENCE)

_ENDED = ("moderated", "failed", "expired")
_OPEN = ("submitting", "waiting", "submitted", "unconfirmed", "trouble")


async def of_period(
    airflow: Airflow, shown: Sequence[Shown], since: float, until: float
) -> tuple[dict[str, Any], dict[str, Entry]]:
    """Return the spend of a period, from the ledger if the API server can read it, else from the shown videos.

    The second result has the ledger entry of each request, including those of the day before the period.

    Args:
        airflow: REST API with the user's permissions.
        shown: The videos of the page.
        since: Start of the period in epoch seconds.
        until: End of the period in epoch seconds.
    """
    start, end = since // SHARED * SHARED, -(-until // SHARED) * SHARED
    read = await _patiently(_booked, start - DAY, end, time.time() // SHARED)
    booked = None if read is None else await _permitted(airflow, read)
    if booked is None:
        entries = _told_by(shown, since, until)
    else:
        entries = [entry for entry in booked if entry.reserved_at >= start]
    dags = sorted({entry.owner.dag_id for entry in entries})
    lines = [reports.line((dag_id,), [each for each in entries if each.owner.dag_id == dag_id]) for dag_id in dags]
    told = reports.line((), entries).to_json(())
    spent = {
        **told,
        "source": "videos" if booked is None else "ledger",
        "by_dag": [
            line.to_json(("dag_id",)) for line in sorted(lines, key=lambda line: -(line.billed + line.possible))
        ],
    }
    return spent, {entry.request_id: entry for entry in booked or () if entry.request_id}


async def of_request(owner: Owner, request_id: str | None) -> Entry | None:
    """Return the ledger entry of a request of a task instance that the user may see."""
    found = None if request_id is None else await _patiently(_of_owner, owner)
    return next((each for each in found or () if each.request_id == request_id), None)


async def _patiently(read: Callable[..., list[Entry] | None], *given: Any) -> list[Entry] | None:
    """Return entries of the ledger; None if there is no ledger, or it does not respond in time."""
    try:
        return await _LANES.run("ledger", read, *given)
    except Busy:
        return None


async def _permitted(airflow: Airflow, entries: Sequence[Entry]) -> list[Entry]:
    dags = sorted({entry.owner.dag_id for entry in entries})
    gate = asyncio.Semaphore(AT_ONCE)

    async def may_see(dag_id: str) -> bool:
        async with gate:
            return await airflow.may_see(dag_id)

    seen = await asyncio.gather(*map(may_see, dags))
    allowed = {dag_id for dag_id, may in zip(dags, seen, strict=True) if may}
    return [entry for entry in entries if entry.owner.dag_id in allowed]


@lru_cache(maxsize=4)
def _booked(since: float, until: float, now: float) -> list[Entry] | None:
    """Return the purchases of a period, None without a ledger; `now` expires the cache."""
    return _read(lambda ledger: ledger.entries(since, until))


def _of_owner(owner: Owner) -> list[Entry] | None:
    return _read(lambda ledger: ledger.of_owner(owner))


def _read(question: Callable[[Ledger], list[Entry]]) -> list[Entry] | None:
    try:
        path = settings.embedded_path()
        if path is not None and not Path(path).is_file():
            # The tasks run on another machine; opening the file here would create an empty ledger.
            return None
        ledger = settings.open_ledger()
        return None if isinstance(ledger, NoLedger) else question(ledger)
    except Exception as error:  # noqa: BLE001 - the page does without
        log.warning("The API server cannot read the ledger: %s: %s", type(error).__name__, error)
        return None


def _told_by(shown: Sequence[Shown], since: float, until: float) -> list[Entry]:
    """Return the purchases of cards as ledger entries."""
    entries: dict[str, Entry] = {}
    for entry in (entry for each in shown for entry in _purchases(each)):
        # Two tasks can show one request, such as a task and its review or sensor.
        known = entries.get(entry.token)
        if since <= entry.reserved_at <= until and (known is None or known.billed is None):
            entries[entry.token] = entry
    return list(entries.values())


def _purchases(shown: Shown) -> Iterator[Entry]:
    card = shown.card
    if card.rows is not None:
        # The card has the sum of the rows only, so the table counts as one purchase.
        yield Entry(
            token=str(shown.owner),
            reserved_at=card.at,
            conn_id=card.conn_id or "",
            owner=shown.owner,
            estimated=_ticks(card.estimated_usd),
            billed=_ticks(card.cost_usd),
            state="settled",
            outcome="done",
        )
        return
    for each in card.purchases:
        yield Entry(
            token=each.request_id or f"{shown.owner} {each.number}",
            reserved_at=card.at if each.at is None else each.at,
            conn_id=card.conn_id or "",
            owner=shown.owner,
            estimated=_ticks(each.estimated_usd),
            billed=_ticks(each.cost_usd),
            state="reserved" if each.outcome is None and each.phase in ("intent", "submitted") else "settled",
            outcome=each.outcome if each.outcome in _ENDED else None if each.phase == "intent" else "done",  # type: ignore[arg-type]
            request_id=each.request_id,
        )
    reused = (card.manifest or {}).get("reused")
    if card.purchases or card.request_id is None or card.outcome == "refused" or reused:
        return
    open_ = card.outcome in _OPEN
    outcome: Any = card.outcome if card.outcome in _ENDED else "done"
    yield Entry(
        token=card.request_id,
        reserved_at=card.submitted_at or card.at,
        conn_id=card.conn_id or "",
        owner=shown.owner,
        estimated=_ticks(card.estimated_usd),
        billed=_ticks(card.cost_usd),
        state="reserved" if open_ else "settled",
        outcome=None if open_ else outcome,
        request_id=card.request_id,
    )


def _ticks(usd: str | None) -> int | None:
    return None if usd is None else money.ticks_of(Decimal(usd))
