"""What the videos of a period cost, of those DAGs that a user may see."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any

from fastapi.concurrency import run_in_threadpool

from airflow_provider_grokvideo.core import money, reports
from airflow_provider_grokvideo.core.showing import Shown
from airflow_provider_grokvideo.core.spending import Entry
from airflow_provider_grokvideo.ledger import settings
from airflow_provider_grokvideo.ledger.backends import NoLedger
from airflow_provider_grokvideo.plugins.airflow_rest import Airflow

log = logging.getLogger(__name__)

SHARED = 10.0
"""Seconds within which all who look share one reading of the ledger; a period begins and ends on a multiple of them."""

_FAILED = ("failed", "expired")
_OPEN = ("waiting", "submitted", "doubt", "trouble")


async def of_period(airflow: Airflow, shown: Sequence[Shown], since: float, until: float) -> dict[str, Any]:
    """Return what was spent: by the ledger where the API server has one, else by the videos that are shown.

    Args:
        airflow: As the user sees it.
        shown: The videos of the page.
        since: Epoch seconds from which on.
        until: Epoch seconds up to which.
    """
    start, end = since // SHARED * SHARED, -(-until // SHARED) * SHARED
    booked = await run_in_threadpool(_booked, start, end, time.time() // SHARED)
    entries = _told_by(shown) if booked is None else await _permitted(airflow, booked)
    dags = sorted({entry.owner.dag_id for entry in entries})
    lines = [reports.line((dag_id,), [each for each in entries if each.owner.dag_id == dag_id]) for dag_id in dags]
    told = reports.line((), entries).to_json(())
    return {
        **told,
        "source": "videos" if booked is None else "ledger",
        "by_dag": [
            line.to_json(("dag_id",)) for line in sorted(lines, key=lambda line: -(line.billed + line.possible))
        ],
    }


async def _permitted(airflow: Airflow, entries: Sequence[Entry]) -> list[Entry]:
    dags = sorted({entry.owner.dag_id for entry in entries})
    seen = await asyncio.gather(*map(airflow.may_see, dags))
    allowed = {dag_id for dag_id, may in zip(dags, seen, strict=True) if may}
    return [entry for entry in entries if entry.owner.dag_id in allowed]


@lru_cache(maxsize=4)
def _booked(since: float, until: float, now: float) -> list[Entry] | None:
    """Return the purchases of a period, None without a ledger; `now` makes what was read before too old."""
    try:
        path = settings.embedded_path()
        if path is not None and not Path(path).is_file():
            # The tasks' own disk is elsewhere; opening it here would make an empty ledger.
            return None
        ledger = settings.open_ledger()
        return None if isinstance(ledger, NoLedger) else ledger.entries(since, until)
    except Exception as error:  # noqa: BLE001 - the page does without
        log.warning("The API server cannot read the ledger: %s: %s", type(error).__name__, error)
        return None


def _told_by(shown: Sequence[Shown]) -> list[Entry]:
    """Return the purchases of cards as a ledger would keep them."""
    entries = []
    for each in shown:
        card = each.card
        if card.outcome in ("refused", "asking") or (card.manifest or {}).get("reused"):
            continue
        known = card.outcome in _OPEN
        outcome: Any = card.outcome if card.outcome in ("moderated", *_FAILED) else "done"
        entries.append(
            Entry(
                token=card.request_id or "",
                reserved_at=card.submitted_at or card.at,
                conn_id=card.conn_id or "",
                owner=each.owner,
                estimated=_ticks(card.estimated_usd),
                billed=_ticks(card.cost_usd),
                state="reserved" if known else "settled",
                outcome=None if known else outcome,
                request_id=card.request_id,
            )
        )
    return entries


def _ticks(usd: str | None) -> int | None:
    return None if usd is None else money.ticks_of(Decimal(usd))
