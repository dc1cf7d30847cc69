"""Wait for many requests in the worker, by the same schedule as the trigger."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from airflow_provider_grokvideo.client import flow
from airflow_provider_grokvideo.core.bulk import rounds
from airflow_provider_grokvideo.core.errors import RateLimited
from airflow_provider_grokvideo.core.polling import decisions
from airflow_provider_grokvideo.core.polling.queue import PollQueue
from airflow_provider_grokvideo.core.polling.rate_limit import RateLimit
from airflow_provider_grokvideo.execution.wait import LATENCIES, watch_of

if TYPE_CHECKING:
    from airflow_provider_grokvideo.execution.ports import WaitFor
    from airflow_provider_grokvideo.hooks.grokvideo import GrokVideoHook

LONGEST_SLEEP = 1.0
"""Seconds between two calls of `meanwhile`."""


def wait(
    flight: Sequence[WaitFor],
    hook: GrokVideoHook,
    interval: float | None,
    meanwhile: Callable[[], None] = lambda: None,
) -> set[str]:
    """Poll until a useful number of requests has ended; return their ids. Holds the worker slot.

    A request whose wait is over, because its deadline passed or the key was refused, counts as ended: who polls it
    again finds out.
    """
    account = hook.account()
    queue: PollQueue[str] = PollQueue(RateLimit.of(account.pace, time.time()), LATENCIES)
    watches = {}
    for each in flight:
        watch = watch_of(each, account.interval(interval))
        watches[each.request_id] = watch
        queue.put(each.request_id, watch, decisions.first_poll(watch, time.time(), LATENCIES.of(watch.kind).curve))
    ended: dict[str, float] = {}
    while True:
        now = time.time()
        wake = rounds.wake_at(len(flight), list(ended.values()), now)
        if wake is not None and wake <= now:
            return set(ended)
        if (request_id := queue.take(now)) is None:
            moments = [at for at in (queue.next_at(now), wake, now + LONGEST_SLEEP) if at is not None]
            time.sleep(max(0.0, min(moments) - now))
            meanwhile()
            continue
        watch, asked_at = watches[request_id], now
        seen = hook.get_conn().run(flow.poll(request_id, uploads=watch.uploads, retry=False))
        now = time.time()
        if isinstance(seen, RateLimited):
            queue.limited(now, asked_at, seen.retry_after)
        verdict = decisions.poll(watch, seen, now, LATENCIES.of(watch.kind).curve)
        if isinstance(verdict, decisions.PollAgain):
            watches[request_id] = verdict.watch
            queue.put(request_id, verdict.watch, verdict.at)
        else:
            queue.drop(request_id)
            ended[request_id] = now
