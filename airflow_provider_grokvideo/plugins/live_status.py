"""Status polls of requests for the page.

A poll is free, but counts towards the same rate limit as those of the triggerer. So the page polls rarely, and all its
users in this process share one poll.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from dataclasses import replace

from airflow_provider_grokvideo.core.jobs import Job, Pending
from airflow_provider_grokvideo.plugins.lanes import Busy, Lanes

BETWEEN_POLLS = 10.0
"""Minimum seconds between two polls of one request."""

BETWEEN_ANY = 4.0
"""Minimum seconds between two polls of any requests: a sixteenth of the default rate limit."""

AT_ONCE = 2
"""Maximum number of simultaneous polls; further users see the last known state."""

KEPT = 1_000

PATIENCE = 5.0
"""Seconds that the page waits for a poll."""

_LANES = Lanes(threads=AT_ONCE, lanes=1, limit=PATIENCE)

log = logging.getLogger(__name__)


class Polls:
    """Last polled states of requests in this process."""

    def __init__(self) -> None:
        self._seen: OrderedDict[tuple[str, str], tuple[float, float, Job | None]] = OrderedDict()
        self._last = 0.0
        self._under_way = 0

    async def at(self, conn_id: str, request_id: str) -> tuple[Job | None, float]:
        """Return the last polled state of a request, or None, and its time."""
        now, key = time.time(), (conn_id, request_id)
        tried, at, job = self._seen.get(key, (0.0, 0.0, None))
        if now - tried < BETWEEN_POLLS or now - self._last < BETWEEN_ANY or self._under_way >= AT_ONCE:
            return job, at
        self._last = now
        # Stored before the poll, so that simultaneous users do not poll too.
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
    """Return the new state, with the earlier progress if the response has none (contract P1, P3)."""
    if isinstance(before, Pending) and isinstance(seen, Pending) and seen.progress is None:
        return replace(seen, progress=before.progress)
    return seen


def _poll(conn_id: str, request_id: str) -> Job | None:
    from airflow_provider_grokvideo.hooks.grokvideo import GrokVideoHook

    try:
        hook = GrokVideoHook(conn_id)
        # The connection comes from a card, which users may edit: never send a key to another service.
        if hook.get_connection(conn_id).conn_type != GrokVideoHook.conn_type:
            return None
        with hook.get_conn():
            return hook.get_job(request_id)
    except Exception as error:  # noqa: BLE001 - the page does without
        log.info("The API server cannot poll request %s: %s: %s", request_id, type(error).__name__, error)
        return None
