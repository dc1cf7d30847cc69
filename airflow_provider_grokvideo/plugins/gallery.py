"""Cards that a user may see, from Airflow's list of XCom entries.

Each request of the page reads the list with the user's permissions; unchanged cards come from a cache.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any
from urllib.parse import quote

from fastapi import HTTPException

from airflow_provider_grokvideo.core import cards
from airflow_provider_grokvideo.core.cards import Card
from airflow_provider_grokvideo.core.polling.latency import Curve, Latencies
from airflow_provider_grokvideo.core.purchases.records import Owner
from airflow_provider_grokvideo.plugins import values
from airflow_provider_grokvideo.plugins import view as views
from airflow_provider_grokvideo.plugins.airflow_rest import PAGE, Airflow
from airflow_provider_grokvideo.plugins.keeping import Kept, weight
from airflow_provider_grokvideo.plugins.view import Shown

KEPT = 5_000
"""Maximum number of cached cards of a few kB each."""

KEPT_BYTES = 64 * 1024 * 1024
"""Maximum size of the cache in bytes, whatever users write into cards."""

READING = 5.0
"""Maximum seconds for reading one card."""

AT_ONCE = 8
"""Maximum number of simultaneous reads of cards, so that the page does not use all threads of the API server."""

LISTED = 5_000
"""Maximum number of entries for one page on Airflow 3.1, whose list cannot be sorted."""

log = logging.getLogger(__name__)

_SEEN_WITHIN = 3.0
"""Usual seconds between the end of a request and the poll that finds it."""


class Catalogue:
    """Cache of cards in this process; thread-safe.

    Args:
        newest_first: Whether Airflow can sort its list (3.2 and later).
    """

    def __init__(self, *, newest_first: bool) -> None:
        self._newest_first = newest_first
        self._known: Kept[Owner, tuple[str, Card | None]] = Kept(KEPT, KEPT_BYTES)
        self._latencies = Latencies()
        self._lock = threading.Lock()
        self._gate = asyncio.Semaphore(AT_ONCE)

    async def recent(self, airflow: Airflow, since: float, until: float, limit: int) -> tuple[list[Shown], bool]:
        """Return the videos of a period, the newest first, and whether there are more.

        Args:
            airflow: REST API with the user's permissions.
            since: Start of the period in epoch seconds.
            until: End of the period in epoch seconds.
            limit: Maximum number.

        Raises:
            HTTPException: Airflow refuses or fails.
        """
        entries, more = await self._entries(airflow, since, until, limit)
        found = await self._shown(airflow, entries[:limit])
        going_on = [each.owner for each in found if each.card.outcome not in cards.ENDINGS]
        tasks = await airflow.tasks(going_on)
        told = [replace(each, task=tasks.get(each.owner, each.task)) for each in found]
        return told, more or len(entries) > limit

    async def of_run(self, airflow: Airflow, owner: Owner) -> list[Shown]:
        """Return the videos of a DAG run, at most one page of Airflow's list, without task states.

        Raises:
            HTTPException: Airflow refuses or fails.
        """
        return await self._shown(airflow, await _page(airflow, owner.dag_id, owner.run_id, 0))

    def curve(self, kind: str | None) -> Curve:
        """Return the latency curve of a kind of requests, learned from their cards."""
        with self._lock:
            return self._latencies.of(kind).curve

    async def _entries(
        self, airflow: Airflow, since: float, until: float, limit: int
    ) -> tuple[list[dict[str, Any]], bool]:
        """Return the entries of a period, the newest first, and whether the list was truncated."""
        asked: dict[str, Any] = {"run_after_lte": values.iso(until)}
        if self._newest_first:
            asked["order_by"] = "-timestamp"
        else:
            asked["run_after_gte"] = values.iso(max(0.0, since - 31 * 86_400))
        found: list[dict[str, Any]] = []
        more = True
        for offset in range(0, LISTED, PAGE):
            page = await _page(airflow, "~", "~", offset, **asked)
            times = [(_epoch(entry["timestamp"]), entry) for entry in page]
            found += [entry for at, entry in times if since <= at <= until]
            past = self._newest_first and (len(found) > limit or any(at < since for at, _ in times))
            if len(page) < PAGE or past:
                more = False
                break
        # An entry may move to the next page while tasks write.
        once = {(entry["dag_id"], entry["run_id"], entry["task_id"], entry["map_index"]): entry for entry in found}
        return sorted(once.values(), key=lambda entry: _epoch(entry["timestamp"]), reverse=True), more

    async def _shown(self, airflow: Airflow, entries: Iterable[dict[str, Any]]) -> list[Shown]:
        found = await asyncio.gather(*(self._one(airflow, entry) for entry in entries))
        return [each for each in found if each is not None]

    async def _one(self, airflow: Airflow, entry: dict[str, Any]) -> Shown | None:
        owner = Owner(entry["dag_id"], entry["run_id"], entry["task_id"], entry["map_index"])
        written = str(entry["timestamp"])
        with self._lock:
            at, card = self._known.get(owner) or ("", None)
        if at != written:
            try:
                async with self._gate:
                    card = await asyncio.wait_for(airflow.card(owner), READING)
            except asyncio.TimeoutError:
                log.info("Timeout while reading the card of %s", owner)
                return None
            except HTTPException as problem:
                if problem.status_code in (401, 403):
                    raise
                # Cleared or deleted since, or unreadable for Airflow itself.
                return None
            self._keep(owner, written, card)
        return None if card is None else Shown(owner, card)

    def _keep(self, owner: Owner, written: str, card: Card | None) -> None:
        taught = None if card is None else views.taught_by(card)
        with self._lock:
            self._known.put(owner, (written, card), weight(None if card is None else card.to_json()))
            if taught is not None:
                kind, seconds = taught
                self._latencies.learn(kind, max(0.0, seconds - _SEEN_WITHIN), seconds, 0.5, ())


async def _page(airflow: Airflow, dag_id: str, run_id: str, offset: int, **asked: Any) -> list[dict[str, Any]]:
    path = f"/dags/{quote(dag_id, safe='~')}/dagRuns/{quote(run_id, safe='~')}/taskInstances/~/xcomEntries"
    answer = await airflow.get(path, xcom_key=cards.KEY, limit=PAGE, offset=offset, **asked)
    entries: list[dict[str, Any]] = answer["xcom_entries"]
    return entries


def _epoch(text: str) -> float:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
