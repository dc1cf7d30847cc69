"""The trigger: waits for a request in the triggerer, without a worker slot."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_grokvideo.client import flow
from airflow_provider_grokvideo.core import watching
from airflow_provider_grokvideo.core.errors import GrokVideoError, ServiceUnavailable
from airflow_provider_grokvideo.core.events import Event, abandoned
from airflow_provider_grokvideo.hooks.grokvideo import GrokVideoHook

if TYPE_CHECKING:
    from airflow_provider_grokvideo.client.account import Account
    from airflow_provider_grokvideo.client.carriers import AsyncClient


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
    :param poll_interval: Seconds between two looks; None lets the connection, then the schedule decide.
    :param uploads: The service uploads the video itself, so that done without a link is success.
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
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._kwargs = _Kwargs(
            request_id, grokvideo_conn_id, deadline, submitted_at, not_before, poll_interval, uploads
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
        hook = GrokVideoHook(given.grokvideo_conn_id)
        try:
            account = await self._account(hook)
        except GrokVideoError as error:
            return abandoned(given.request_id, error, given.submitted_at)
        now = time.time()
        watch = watching.Watch(
            request_id=given.request_id,
            since=now if given.submitted_at is None else given.submitted_at,
            deadline=given.deadline,
            poll_interval=account.interval(given.poll_interval),
            not_before=given.not_before or 0.0,
            uploads=given.uploads,
        )
        async with await hook.get_async_conn() as client:
            return await self._watch(watch, client)

    async def _account(self, hook: GrokVideoHook) -> Account:
        """Look the connection up; Airflow being away for a moment must not end a wait for a paid video."""
        while True:
            try:
                return await hook.aaccount()
            except GrokVideoError:
                raise
            except Exception as problem:
                what = f"Airflow did not hand out the connection ({type(problem).__name__}: {problem})"
                if time.time() >= self._kwargs.deadline:
                    raise ServiceUnavailable(what, conn_id=hook.grokvideo_conn_id) from problem
                self.log.warning("%s; trying again", what)
                await asyncio.sleep(watching.DEFAULT_INTERVAL)

    async def _watch(self, watch: watching.Watch, client: AsyncClient) -> Event:
        said = watching.Said()
        at = watching.first_look(watch, time.time())
        self.log.info("Waiting for request %s; first look in %.0f s", watch.request_id, max(0.0, at - time.time()))
        while True:
            await asyncio.sleep(max(0.0, at - time.time()))
            seen = await client.run(flow.look(watch.request_id, uploads=watch.uploads, retry=False))
            now = time.time()
            if watching.worth_saying(said, seen, now):
                self.log.info("%s", watching.progress_line(watch, seen, now))
                said = watching.now_said(said, seen, now)
            verdict = watching.look(watch, seen, now)
            if isinstance(verdict, watching.Settled):
                return Event(watch.request_id, "settled", self._kwargs.submitted_at)
            if isinstance(verdict, watching.Abandoned):
                return abandoned(watch.request_id, verdict.error, self._kwargs.submitted_at)
            watch, at = verdict.watch, verdict.at
