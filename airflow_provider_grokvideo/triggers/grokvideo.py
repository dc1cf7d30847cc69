"""The trigger: waits for a request in the triggerer, without a worker slot."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_grokvideo.compat import AirflowNotFoundException
from airflow_provider_grokvideo.core import watching
from airflow_provider_grokvideo.core.errors import AuthenticationFailed, GrokVideoError, ServiceUnavailable
from airflow_provider_grokvideo.core.events import Event, abandoned
from airflow_provider_grokvideo.hooks.grokvideo import GrokVideoHook
from airflow_provider_grokvideo.triggers.accounts import account_of
from airflow_provider_grokvideo.triggers.poller import shared

if TYPE_CHECKING:
    from airflow_provider_grokvideo.client.account import Account
    from airflow_provider_grokvideo.core.jobs import Job


MISSING_FOR = 15.0
"""Seconds for which a connection that does not exist is looked for: where Airflow's own API fails for a moment, the
triggerer is told the same, and the task had the connection a moment ago."""


@dataclass(frozen=True)
class _Kwargs:
    """What a trigger is made of; plain values that survive a restart of the triggerer. No key, no link."""

    request_id: str
    grokvideo_conn_id: str
    deadline: float
    submitted_at: float | None = None
    not_before: float | None = None
    poll_interval: float | None = None
    uploads: bool = False
    kind: str | None = None


class GrokVideoTrigger(BaseTrigger):
    """Look at a request until it ends or the deadline passes, then yield exactly one event.

    The event is the versioned payload of :class:`airflow_provider_grokvideo.core.events.Event`; it names the request
    and carries neither link nor price. All times are wall clock, so a restart of the triggerer changes nothing.

    :param request_id: The request to wait for.
    :param grokvideo_conn_id: Airflow connection of type ``grokvideo``.
    :param deadline: Epoch seconds after which the wait is given up; the request itself goes on.
    :param submitted_at: Epoch seconds of the submit, if known.
    :param not_before: Epoch seconds before which nobody looks. Operators set it a few seconds ahead: Airflow 3.3 can
        fail a task that resumes before the scheduler has taken notice of the deferral.
    :param poll_interval: Seconds between two polls; None lets the connection, then the schedule decide.
    :param uploads: The service uploads the video itself, so that done without a link is success.
    :param kind: What its latency has in common with that of others, the request's
        ``kind()``; None if nothing is known about it.
    """

    def __init__(
        self,
        *,
        request_id: str,
        grokvideo_conn_id: str = GrokVideoHook.default_conn_name,
        deadline: float,
        submitted_at: float | None = None,
        not_before: float | None = None,
        poll_interval: float | None = None,
        uploads: bool = False,
        kind: str | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._kwargs = _Kwargs(
            request_id, grokvideo_conn_id, deadline, submitted_at, not_before, poll_interval, uploads, kind
        )

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments that make the same trigger again."""
        return f"{type(self).__module__}.{type(self).__qualname__}", asdict(self._kwargs)

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, then yield the one event."""
        event = await self._wait()
        yield TriggerEvent(event.payload())  # type: ignore[no-untyped-call]

    async def on_kill(self) -> None:
        """Say what a user's clear or mark cannot stop."""
        self.log.warning(
            "Request %s goes on at the service and is billed: nothing can cancel it. A retry or clear of its task "
            "goes on with it if the task has a journal; a GrokVideoSensor with this request_id does in any case.",
            self._kwargs.request_id,
        )

    async def _wait(self) -> Event:
        given = self._kwargs
        try:
            account, known_since = await self._account(), time.time()
            while True:
                ended = await self._poll(account)
                if isinstance(ended, watching.Settled):
                    return Event(given.request_id, "settled", given.submitted_at)
                known = account
                if isinstance(ended.error, AuthenticationFailed):
                    # Somebody may have changed the key. One lookup answers all who ask because of the same old one.
                    account, known_since = await self._account(newer_than=known_since), time.time()
                if account == known:
                    return abandoned(given.request_id, ended.error, given.submitted_at)
        except GrokVideoError as error:
            return abandoned(given.request_id, error, given.submitted_at)

    async def _poll(self, account: Account) -> watching.Settled | watching.Abandoned:
        given = self._kwargs
        now = time.time()
        watch = watching.Watch(
            request_id=given.request_id,
            since=now if given.submitted_at is None else given.submitted_at,
            deadline=given.deadline,
            # Where the submit is not known, the age is not, either.
            kind=None if given.submitted_at is None else given.kind,
            poll_interval=account.interval(given.poll_interval),
            not_before=given.not_before or 0.0,
            uploads=given.uploads,
        )
        async with shared(account, given.grokvideo_conn_id) as poller:
            pause = max(0.0, poller.first_poll(watch) - now)
            self.log.info("Waiting for request %s; first poll in %.0f s", watch.request_id, pause)
            return await poller.wait(watch, self._heard())

    def _heard(self) -> Callable[[watching.Watch, Job | GrokVideoError, float], None]:
        """Return what tells the log about polls, as far as they are news."""
        said = watching.Said()

        def heard(watch: watching.Watch, seen: Job | GrokVideoError, now: float) -> None:
            nonlocal said
            if watching.worth_saying(said, seen, now):
                self.log.info("%s", watching.progress_line(watch, seen, now))
                said = watching.now_said(said, seen, now)

        return heard

    async def _account(self, newer_than: float = 0.0) -> Account:
        """Look the connection up; Airflow being away for a moment must not end a wait for a paid video."""
        given = self._kwargs
        give_up_at = min(time.time() + MISSING_FOR, given.deadline)
        while True:
            try:
                return await account_of(given.grokvideo_conn_id, newer_than=newer_than)
            except GrokVideoError as error:
                if not isinstance(error.__context__, AirflowNotFoundException) or time.time() >= give_up_at:
                    raise
                what = error.what
            except Exception as problem:
                what = f"Airflow did not hand out the connection ({type(problem).__name__}: {problem})"
                if time.time() >= given.deadline:
                    raise ServiceUnavailable(what, conn_id=given.grokvideo_conn_id) from problem
            self.log.warning("%s; trying again", what)
            await asyncio.sleep(watching.DEFAULT_INTERVAL)
