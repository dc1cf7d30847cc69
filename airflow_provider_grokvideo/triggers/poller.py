"""Poller of all waits of an account in an event loop: one HTTP client, a few workers, one rate limit.

It exists while there are waits. Between polls it is one timer, so a loop that ends finds no task of the provider.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from airflow_provider_grokvideo.client import flow
from airflow_provider_grokvideo.client.account import Account
from airflow_provider_grokvideo.client.carriers import AsyncClient
from airflow_provider_grokvideo.core.errors import GrokVideoError, RateLimited, ServiceUnavailable
from airflow_provider_grokvideo.core.jobs import Done, Job
from airflow_provider_grokvideo.core.polling import decisions
from airflow_provider_grokvideo.core.polling.decisions import Abandoned, Settled, Watch
from airflow_provider_grokvideo.core.polling.latency import Latencies
from airflow_provider_grokvideo.core.polling.queue import PollQueue
from airflow_provider_grokvideo.core.polling.rate_limit import RateLimit
from airflow_provider_grokvideo.triggers.metrics import Meter

LANES = 6
"""Simultaneous polls and connections: enough for 60 polls per second if a response takes 0.1 s; with more of them httpx
is slower."""

Heard = Callable[[Watch, "Job | GrokVideoError", float], None]
"""Callback of a poll: the wait, the result and the time."""

log = logging.getLogger(__name__)

for _first_used in ("sniffio", "httpcore._backends.anyio", "anyio._backends._asyncio"):
    # httpx imports them with its first call, which would hold up the other waits of the event loop. Airflow imports a
    # trigger's module once, before any of its waits begins.
    with suppress(ImportError):
        import_module(_first_used)


@dataclass(eq=False)
class _Wait:
    watch: Watch
    heard: Heard
    ended: asyncio.Future[Settled | Abandoned]
    # Airflow sends log lines to the task whose trigger they come from, which it knows by the context.
    context: contextvars.Context = field(default_factory=contextvars.copy_context)


class Poller:
    """Polls all requests of an account that have waits. Bound to the running event loop.

    Args:
        account: The account, with its rate limit.
        latencies: Latencies of each kind; finished requests are added.
        conn_id: Airflow connection of the account, for the metrics.
    """

    def __init__(self, account: Account, latencies: Latencies, conn_id: str) -> None:
        self.users = 0
        self.closing = False
        self._loop = asyncio.get_running_loop()
        self._latencies = latencies
        self._agenda: PollQueue[_Wait] = PollQueue(RateLimit.of(account.pace, time.time()), latencies)
        self._client = AsyncClient(account, connections=LANES)
        self._lanes: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._meter = Meter(conn_id)

    async def wait(self, watch: Watch, heard: Heard) -> Settled | Abandoned:
        """Poll a request until it ends or its deadline passes; cancelling this ends the wait."""
        wait = _Wait(watch, heard, self._loop.create_future())
        self._agenda.put(wait, watch, self.first_poll(watch))
        self._wake()
        try:
            return await wait.ended
        finally:
            self._agenda.drop(wait)

    def first_poll(self, watch: Watch) -> float:
        """Return the epoch seconds of the first poll of a wait that begins now, if the rate limit allows it."""
        return decisions.first_poll(watch, time.time(), self._latencies.of(watch.kind).curve)

    def set_pace(self, account: Account) -> None:
        """Set the rate limit of an edited connection."""
        self._agenda.pace = self._agenda.pace.changed(account.pace)

    async def close(self) -> None:
        """Cancel running polls and close the connections."""
        self.closing = True
        if self._timer is not None:
            self._timer.cancel()
        for lane in self._lanes:
            lane.cancel()
        # A loop that ends cancels even this; the sockets must be closed anyway.
        try:
            await asyncio.gather(*self._lanes, return_exceptions=True)
        finally:
            try:
                await self._client.aclose()
            finally:
                await self._meter.close()

    def _wake(self) -> None:
        """Poll all due requests, and set the timer for the next one."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now = time.time()
        while len(self._lanes) < LANES and (wait := self._agenda.take(now)) is not None:
            lane = _apart(self._loop, self._lane(wait))
            self._lanes.add(lane)
            lane.add_done_callback(self._lane_ended)
        if len(self._lanes) < LANES and (at := self._agenda.next_at(now)) is not None:
            self._timer = self._loop.call_later(at - now, self._wake, context=contextvars.Context())
        self._meter.note(waits=len(self._agenda), overdue=self._agenda.overdue, pace=self._agenda.pace.now(now).rate)

    def _lane_ended(self, lane: asyncio.Task[None]) -> None:
        self._lanes.discard(lane)
        if self.users:
            self._wake()

    async def _lane(self, wait: _Wait | None) -> None:
        while wait is not None:
            try:
                await self._poll(wait)
            except asyncio.CancelledError:
                if not wait.ended.done():
                    self._agenda.put(wait, wait.watch, time.time())
                raise
            except Exception as problem:  # noqa: BLE001 - one bad watch must not end the lane of the others
                self._agenda.drop(wait)
                if not wait.ended.done():
                    wait.ended.set_exception(problem)
            wait = self._agenda.take(time.time())

    async def _poll(self, wait: _Wait) -> None:
        asked_at = time.time()
        seen = await self._seen(wait.watch)
        now = time.time()
        self._meter.polled(missed=isinstance(seen, GrokVideoError), limited=isinstance(seen, RateLimited))
        if isinstance(seen, RateLimited):
            self._agenda.limited(now, asked_at, seen.retry_after)
        if wait.ended.done():
            return
        watch = wait.watch
        wait.context.run(wait.heard, watch, seen, now)
        verdict = decisions.poll(watch, seen, now, self._latencies.of(watch.kind).curve)
        if isinstance(verdict, decisions.PollAgain):
            wait.watch = verdict.watch
            self._agenda.put(wait, verdict.watch, verdict.at)
            return
        teaches = self._agenda.teaches(wait)
        self._agenda.drop(wait)
        if isinstance(seen, Done):
            self._learn(watch, now, teaches=teaches)
        wait.ended.set_result(verdict)

    async def _seen(self, watch: Watch) -> Job | GrokVideoError:
        try:
            return await self._client.run(flow.poll(watch.request_id, uploads=watch.uploads, retry=False))
        except Exception as problem:
            # The request keeps running and is paid, so the poll counts as failed.
            log.exception("A poll of request %s failed unexpectedly", watch.request_id)
            return ServiceUnavailable(f"the poll failed unexpectedly ({type(problem).__name__}: {problem})")

    def _learn(self, watch: Watch, now: float, *, teaches: bool) -> None:
        pending, age = max(0.0, watch.seen_at - watch.since), now - watch.since
        self._meter.found(age - self._latencies.of(watch.kind).curve.value(pending, age, 0.5))
        if teaches:
            running = self._agenda.running(watch.kind)
            self._latencies.learn(watch.kind, pending, age, decisions.share(watch), running)


class _Here(threading.local):
    """Pollers of this thread, in which at most one event loop runs."""

    def __init__(self) -> None:
        self.pollers: dict[tuple[asyncio.AbstractEventLoop, str, str], Poller] = {}
        self.closing: set[asyncio.Task[None]] = set()


_here = _Here()

LATENCIES: dict[str, Latencies] = {}
"""Latencies learned by this process, by base URL; they outlive the pollers."""


@asynccontextmanager
async def shared(account: Account, conn_id: str) -> AsyncIterator[Poller]:
    """Provide the poller of an account in this event loop; the first user creates it, the last one closes it."""
    loop = asyncio.get_running_loop()
    key = (loop, account.base_url, account.api_key)
    poller = _here.pollers.get(key)
    if poller is None:
        # A loop that was closed with running waits leaves its poller behind.
        _here.pollers = {key: poller for key, poller in _here.pollers.items() if not key[0].is_closed()}
        poller = Poller(account, LATENCIES.setdefault(account.base_url, Latencies()), conn_id)
        _here.pollers[key] = poller
    else:
        poller.set_pace(account)
    poller.users += 1
    try:
        yield poller
    finally:
        poller.users -= 1
        # What outlives its loop is only collected as garbage, and cannot wait for anything.
        if not poller.users and not loop.is_closed():
            del _here.pollers[key]
            try:
                await asyncio.shield(_closing(poller, loop))
            except asyncio.CancelledError:
                # A loop that ends cancels what it finds, and a task that was not begun never is.
                if not poller.closing:
                    await asyncio.shield(_closing(poller, loop))
                raise


def _closing(poller: Poller, loop: asyncio.AbstractEventLoop) -> asyncio.Task[None]:
    """Close a poller in a separate task, which a second cancellation does not reach."""
    closing = _apart(loop, poller.close())
    _here.closing.add(closing)
    closing.add_done_callback(_here.closing.discard)
    return closing


def _apart(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Run work outside of all triggers, so that its log lines do not appear in a task's log."""
    return contextvars.Context().run(loop.create_task, work)
