"""Wait for a request in the worker, by the same decisions as the trigger."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from airflow_provider_grokvideo.client import flow
from airflow_provider_grokvideo.core.jobs import FinalJob
from airflow_provider_grokvideo.core.polling import decisions
from airflow_provider_grokvideo.core.polling.latency import Latencies

if TYPE_CHECKING:
    from airflow_provider_grokvideo.client.carriers import Client
    from airflow_provider_grokvideo.execution.ports import WaitFor
    from airflow_provider_grokvideo.hooks.grokvideo import GrokVideoHook

AFTER_RESUME = 180.0
"""Seconds for which a resumed task keeps looking when the service falters: the video is finished and paid, and a
short outage must not lose it."""

BETWEEN_POLLS = 2.0
"""Seconds between those polls: the task holds a worker slot meanwhile."""

LATENCIES = Latencies()
"""A worker sees one request at a time, so this is what was known before."""

Heard = Callable[[decisions.Watch, object, float], None]
"""Called with the wait, what a poll found, and when."""

log = logging.getLogger(__name__)


def watch_of(found: WaitFor, interval: float | None) -> decisions.Watch:
    """Return the wait that a run asks for; `interval` is the seconds between two polls, None for the schedule."""
    return decisions.Watch(
        request_id=found.request_id,
        since=found.since,
        deadline=found.deadline,
        kind=found.kind,
        poll_interval=interval,
        not_before=found.since + min(decisions.FIRST_POLL, interval or decisions.FIRST_POLL),
        uploads=found.uploads,
    )


def wait(watch: decisions.Watch, client: Client, heard: Heard | None = None) -> FinalJob:
    """Poll a request until it ends; holds the worker slot. `heard` is called after each poll.

    Raises:
        GrokVideoError: The deadline passed, or the key stopped working.
    """
    said = decisions.LogThrottle()
    curve = LATENCIES.of(watch.kind).curve
    at = decisions.first_poll(watch, time.time(), curve)
    while True:
        time.sleep(max(0.0, at - time.time()))
        seen = client.run(flow.poll(watch.request_id, uploads=watch.uploads, retry=False))
        now = time.time()
        if heard is not None:
            heard(watch, seen, now)
        elif decisions.worth_saying(said, seen, now):
            log.info("%s", decisions.progress_line(watch, seen, now))
            said = decisions.now_said(said, seen, now)
        verdict = decisions.poll(watch, seen, now, curve)
        if isinstance(verdict, decisions.Settled):
            return verdict.job
        if isinstance(verdict, decisions.Abandoned):
            raise verdict.error
        watch, at = verdict.watch, verdict.at


def poll_once_more(
    request_id: str, submitted_at: float | None, hook: GrokVideoHook, *, uploads: bool = False
) -> FinalJob:
    """Return the job that a trigger saw settled, with a fresh link and the final cost.

    Raises:
        GrokVideoError: xAI could not be polled for three minutes, or the key stopped working.
    """
    now = time.time()
    # The trigger has seen it, so an unknown request is not one that is not known yet.
    since = min(submitted_at or now, now - decisions.PROPAGATION)
    watch = decisions.Watch(
        request_id, since=since, deadline=now + AFTER_RESUME, poll_interval=BETWEEN_POLLS, uploads=uploads
    )
    return wait(watch, hook.get_conn())
