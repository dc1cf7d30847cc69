"""Trigger of a bulk task: it waits for many requests and wakes the worker when enough have finished."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent
from asgiref.sync import sync_to_async

from airflow_provider_grokvideo.core.bulk import rounds
from airflow_provider_grokvideo.core.bulk.rounds import InFlight, RoundEvent, round_event
from airflow_provider_grokvideo.core.errors import (
    GrokVideoError,
    JournalUnavailable,
    WaitTimeout,
)
from airflow_provider_grokvideo.core.jobs import Pending
from airflow_provider_grokvideo.core.polling import decisions
from airflow_provider_grokvideo.core.purchases.records import Owner
from airflow_provider_grokvideo.core.texts import counted
from airflow_provider_grokvideo.hooks.grokvideo import GrokVideoHook
from airflow_provider_grokvideo.triggers.waiting import Waiter

if TYPE_CHECKING:
    from airflow_provider_grokvideo.client.account import Account
    from airflow_provider_grokvideo.core.jobs import Job
    from airflow_provider_grokvideo.triggers.poller import Heard

_AT_ONCE = 50
"""Waits that begin before the other triggers get their turn."""


@dataclass(frozen=True)
class _Kwargs:
    """Arguments of a trigger: plain values that survive a restart of the triggerer. No key, no link."""

    requests: Mapping[str, Any] | None
    owner: Sequence[Any] | None
    most: int | None
    patience: float
    latest: float | None
    grokvideo_conn_id: str
    not_before: float | None
    poll_interval: float | None


@dataclass
class _Round:
    """What is known of a flight.

    Attributes:
        flight: Number of its requests.
        ended: Those whose wait has ended, in this order.
        found_at: Epoch seconds when each of them ended.
        refused: Refused polls in a row.
        failed: What ended the wait of all.
        news: Set when anything has changed.
    """

    flight: int
    ended: list[str] = field(default_factory=list)
    found_at: list[float] = field(default_factory=list)
    refused: int = 0
    failed: Exception | None = None
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def end(self, request_id: str, ended: decisions.Settled | decisions.Abandoned, now: float) -> None:
        """Note that a wait has ended."""
        self.ended.append(request_id)
        self.found_at.append(now)
        if isinstance(ended, decisions.Abandoned) and not isinstance(ended.error, WaitTimeout):
            self.refused += 1
            if rounds.refuses_all(self.flight, self.refused):
                self.failed = self.failed or ended.error
        self.news.set()


class GrokVideoBulkTrigger(BaseTrigger):
    """Poll many requests until enough of them have ended, then yield exactly one event.

    Enough is a quarter of them, or one that ended 30 s ago. The event is the versioned payload of
    :class:`airflow_provider_grokvideo.core.bulk.rounds.RoundEvent`; it has request ids, but no link and no price. All
    times are wall clock, so a restart of the triggerer changes nothing. See :meth:`of_flight`.

    :param requests: The requests as :func:`airflow_provider_grokvideo.core.bulk.rounds.pack` has packed them; None if
        they are in the journal.
    :param owner: The task instance whose journal has them: dag id, run id, task id, map index.
    :param most: How many requests of the journal are waited for; None is all.
    :param patience: Seconds from a submit to the deadline of a request from the journal.
    :param latest: Epoch seconds of the last deadline of a request from the journal.
    :param grokvideo_conn_id: Airflow connection of type ``grokvideo``.
    :param not_before: Epoch seconds of the earliest poll and event, as for ``GrokVideoTrigger``.
    :param poll_interval: Seconds between polls; None lets the connection, then the schedule decide.
    """

    def __init__(
        self,
        *,
        requests: Mapping[str, Any] | None = None,
        owner: Sequence[Any] | None = None,
        most: int | None = None,
        patience: float = decisions.DEFAULT_TIMEOUT,
        latest: float | None = None,
        grokvideo_conn_id: str = GrokVideoHook.default_conn_name,
        not_before: float | None = None,
        poll_interval: float | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._kwargs = _Kwargs(requests, owner, most, patience, latest, grokvideo_conn_id, not_before, poll_interval)
        self._round: _Round | None = None
        self._warned_at = float("-inf")
        self._said = decisions.LogThrottle()

    @classmethod
    def of_flight(
        cls,
        flight: Sequence[InFlight],
        *,
        owner: Owner | None,
        patience: float,
        latest: float | None = None,
        grokvideo_conn_id: str = GrokVideoHook.default_conn_name,
        not_before: float | None = None,
        poll_interval: float | None = None,
    ) -> GrokVideoBulkTrigger:
        """Return the trigger that waits for a flight.

        It names the requests if they fit into 16 kB, else the task instance in whose journal they are.

        :param flight: The requests; sort those submitted first to the beginning.
        :param owner: The task instance; None if a triggerer cannot read its journal. Of a flight that does not fit
            then, only the first requests are waited for.
        :param patience: Seconds from a submit to the deadline of its request.
        :param latest: Epoch seconds of the last deadline.
        :param grokvideo_conn_id: Airflow connection of type ``grokvideo``.
        :param not_before: Epoch seconds of the earliest poll and event.
        :param poll_interval: Seconds between polls.
        """
        packed = rounds.pack(flight)
        if packed is None and owner is None:
            packed = rounds.pack_some(flight)
        where: dict[str, Any] = {"requests": packed}
        if packed is None and owner is not None:
            ids = [owner.dag_id, owner.run_id, owner.task_id, owner.map_index]
            where = {"owner": ids, "most": len(flight), "patience": patience, "latest": latest}
        return cls(**where, grokvideo_conn_id=grokvideo_conn_id, not_before=not_before, poll_interval=poll_interval)

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments of this trigger."""
        return f"{type(self).__module__}.{type(self).__qualname__}", asdict(self._kwargs)

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, then yield one event."""
        event = await self._wait()
        # Airflow 3.3 can fail a task that resumes before the scheduler has processed the deferral.
        await asyncio.sleep((self._kwargs.not_before or 0.0) - time.time())
        yield TriggerEvent(event.payload())  # type: ignore[no-untyped-call]

    async def on_kill(self) -> None:
        """Log how many requests keep running when the task is cleared or marked."""
        given = self._kwargs
        if self._round is not None:
            count = self._round.flight - len(self._round.ended)
        else:
            count = (given.most or 0) if given.requests is None else len(given.requests["requests"])
        self.log.warning(
            "%d requests keep running at xAI and will be billed; the API has no cancel. Retry or clear the task to "
            "resume them.",
            count,
        )

    async def _wait(self) -> RoundEvent:
        try:
            flight = await self._flight()
            if not flight:
                self.log.info("No request is waiting; resuming the task")
                return round_event(None)
            waiter = self._waiter(flight)
            # Known now, it lets each wait begin in a step of its own; otherwise all would begin in one.
            await waiter.account()
        except GrokVideoError as error:
            return round_event(None, error)
        found = self._round = _Round(len(flight))
        await self._wait_together(flight, waiter, found)
        return self._event(found)

    async def _wait_together(self, flight: list[InFlight], waiter: Waiter, found: _Round) -> None:
        """Wait for all requests until the worker is worth waking; end all waits."""
        waits: list[asyncio.Task[None]] = []
        try:
            for number, each in enumerate(flight, 1):
                waits.append(asyncio.create_task(self._wait_for(each, waiter, found)))
                if number % _AT_ONCE == 0:
                    await asyncio.sleep(0)
            await self._enough(found)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    def _event(self, found: _Round) -> RoundEvent:
        problem = found.failed
        if problem is not None and not isinstance(problem, GrokVideoError):
            raise problem
        why = "" if problem is None else f" ({problem.what})"
        self.log.info("%d of %d requests have finished; resuming the task%s", len(found.ended), found.flight, why)
        return round_event(found.ended, problem)

    async def _enough(self, found: _Round) -> None:
        """Return when the worker is worth waking; log the progress."""
        said_at, said = time.time(), 0
        while found.failed is None:
            now, ended = time.time(), len(found.ended)
            at = rounds.start_at(found.flight, found.found_at, now)
            if at is not None and at <= now:
                return
            if rounds.worth_saying(said_at, said, ended, now):
                self.log.info("%d of %d requests are waiting, %d finished", found.flight - ended, found.flight, ended)
                said_at, said = now, ended
            pause = min(rounds.SAY_EVERY, (at or now + rounds.SAY_EVERY) - now)
            # Not wait_for, which before Python 3.12 can lose a cancellation.
            timer = asyncio.get_running_loop().call_later(pause, found.news.set)
            try:
                await found.news.wait()
            finally:
                timer.cancel()
            found.news.clear()

    async def _wait_for(self, each: InFlight, waiter: Waiter, found: _Round) -> None:
        """Wait for one request."""

        def begin(account: Account) -> tuple[decisions.Watch, Heard]:
            return self._watch(each, account), heard

        def heard(watch: decisions.Watch, seen: Job | GrokVideoError, now: float) -> None:
            if not isinstance(seen, GrokVideoError):
                found.refused = 0
            self._say(watch, seen, now)

        try:
            found.end(each.request_id, await waiter.wait(begin), time.time())
        except Exception as error:  # noqa: BLE001 - no connection, or a bug: the trigger ends with it
            found.failed = found.failed or error
            found.news.set()

    def _watch(self, each: InFlight, account: Account) -> decisions.Watch:
        given = self._kwargs
        return decisions.Watch(
            request_id=each.request_id,
            since=time.time() if each.submitted_at is None else each.submitted_at,
            deadline=each.deadline,
            # Where the submit is not known, the age is not, either.
            kind=None if each.submitted_at is None else each.kind,
            poll_interval=account.interval(given.poll_interval),
            not_before=given.not_before or 0.0,
            uploads=each.uploads,
        )

    def _waiter(self, flight: list[InFlight]) -> Waiter:
        """Return what the waits have in common; it logs one line when all of them have begun."""
        pauses: list[float] = []

        def begun(_: decisions.Watch, pause: float) -> None:
            pauses.append(pause)
            if len(pauses) == len(flight):
                self.log.info("Waiting for %s; first poll in %.0f s", counted(len(flight), "request"), min(pauses))

        latest = max(each.deadline for each in flight)
        return Waiter(self._kwargs.grokvideo_conn_id, latest, begun, self._warn)

    def _say(self, watch: decisions.Watch, seen: Job | GrokVideoError, now: float) -> None:
        """Log failed polls and unknown status words: each kind at once, then once a minute, whatever the request."""
        odd = isinstance(seen, GrokVideoError) or (isinstance(seen, Pending) and seen.word is not None)
        if odd and decisions.worth_saying(self._said, seen, now):
            self.log.info("%s", decisions.progress_line(watch, seen, now))
            self._said = decisions.now_said(self._said, seen, now)

    def _warn(self, what: str) -> None:
        """Log why something is repeated; all waits repeat it, so not each of them."""
        if time.time() >= self._warned_at + decisions.DEFAULT_INTERVAL / 2:
            self._warned_at = time.time()
            self.log.warning("%s; trying again", what)

    async def _flight(self) -> list[InFlight]:
        """Return the requests; a short failure of the journal's backend must not end a wait for paid videos."""
        given = self._kwargs
        if given.requests is not None:
            return rounds.unpack(given.requests)
        from airflow_provider_grokvideo.triggers.flight import read_flight

        # Of the ways into a thread, in this one Airflow's triggerer can look connections up before 3.3, too.
        read = sync_to_async(read_flight, thread_sensitive=False)
        owner = Owner(*(given.owner or ("", "", "")))
        give_up_at = time.time() + given.patience if given.latest is None else given.latest
        while True:
            try:
                return await read(owner, patience=given.patience, latest=given.latest, most=given.most)
            except Exception as problem:
                if isinstance(problem, GrokVideoError) and not isinstance(problem, JournalUnavailable):
                    raise
                told = problem.what if isinstance(problem, GrokVideoError) else f"{type(problem).__name__}: {problem}"
                what = f"the journal of {owner} cannot be read ({told})"
                if time.time() >= give_up_at:
                    raise JournalUnavailable(what) from problem
            self._warn(what)
            await asyncio.sleep(decisions.DEFAULT_INTERVAL)
