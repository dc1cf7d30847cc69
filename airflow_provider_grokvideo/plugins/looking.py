"""Ask the service how far a request is, for somebody who watches its page.

A look is free, and counts towards the same limit as those of the triggerer. So requests are looked at rarely, and all
viewers of this process share one poll.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from dataclasses import replace

from airflow_provider_grokvideo.core.jobs import Job, Pending
from airflow_provider_grokvideo.plugins.lanes import Busy, Lanes

BETWEEN_POLLS = 10.0
"""Seconds between two polls of one request."""

BETWEEN_ANY = 4.0
"""Seconds between two polls of any: a sixteenth of the usual pace of an account."""

AT_ONCE = 2
"""Polls that wait for the service; further viewers are told what was seen before."""

KEPT = 1_000

PATIENCE = 5.0
"""Seconds that a page waits for a poll; what comes later is left out."""

_LANES = Lanes(threads=AT_ONCE, lanes=1, limit=PATIENCE)

log = logging.getLogger(__name__)


class Polls:
    """What this process has seen of requests that somebody watches."""

    def __init__(self) -> None:
        self._seen: OrderedDict[tuple[str, str], tuple[float, float, Job | None]] = OrderedDict()
        self._last = 0.0
        self._under_way = 0

    async def at(self, conn_id: str, request_id: str) -> tuple[Job | None, float]:
        """Return what the service says of a request, and when it said so; None where nobody knows."""
        now, key = time.time(), (conn_id, request_id)
        tried, at, job = self._seen.get(key, (0.0, 0.0, None))
        if now - tried < BETWEEN_POLLS or now - self._last < BETWEEN_ANY or self._under_way >= AT_ONCE:
            return job, at
        self._last = now
        # Written before the poll, so that those who ask meanwhile do not look too.
        self._keep(key, now, at, job)
        self._under_way += 1
        try:
            seen = await _LANES.run("polls", _poll, conn_id, request_id)
        except Busy:
            seen = None
        finally:
            self._under_way -= 1
        if seen is not None:
            at, job = time.time(), _keeping(job, seen)
        self._keep(key, now, at, job)
        return job, at

    def _keep(self, key: tuple[str, str], tried: float, at: float, job: Job | None) -> None:
        self._seen[key] = (tried, at, job)
        self._seen.move_to_end(key)
        while len(self._seen) > KEPT:
            self._seen.popitem(last=False)


def _keeping(before: Job | None, seen: Job) -> Job:
    """Return what was seen, with the progress that was told before where an answer tells none (contract P1, P3)."""
    if isinstance(before, Pending) and isinstance(seen, Pending) and seen.progress is None:
        return replace(seen, progress=before.progress)
    return seen


def _poll(conn_id: str, request_id: str) -> Job | None:
    from airflow_provider_grokvideo.hooks.grokvideo import GrokVideoHook

    try:
        hook = GrokVideoHook(conn_id)
        # A card names the connection, and people may edit cards: no key goes to a host of another service.
        if hook.get_connection(conn_id).conn_type != GrokVideoHook.conn_type:
            return None
        with hook.get_conn():
            return hook.get_job(request_id)
    except Exception as error:  # noqa: BLE001 - the page does without
        log.info("Request %s cannot be looked at from the API server: %s: %s", request_id, type(error).__name__, error)
        return None
