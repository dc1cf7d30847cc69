"""Trigger that waits for a request, without a worker slot."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_grokvideo.core.errors import GrokVideoError
from airflow_provider_grokvideo.core.polling import decisions
from airflow_provider_grokvideo.core.polling.events import Event, abandoned
from airflow_provider_grokvideo.hooks.grokvideo import GrokVideoHook
from airflow_provider_grokvideo.triggers.waiting import MISSING_FOR, Waiter

if TYPE_CHECKING:
    from airflow_provider_grokvideo.client.account import Account
    from airflow_provider_grokvideo.core.jobs import Job


@dataclass(frozen=True)
class _Kwargs:
    """Arguments of a trigger: plain values that survive a restart of the triggerer. No key, no link."""

    request_id: str
    grokvideo_conn_id: str
    deadline: float
    submitted_at: float | None = None
    not_before: float | None = None
    poll_interval: float | None = None
    uploads: bool = False
    kind: str | None = None


class GrokVideoTrigger(BaseTrigger):
    """Poll a request until it ends or the deadline passes, then yield exactly one event.

    The event is the versioned payload of :class:`airflow_provider_grokvideo.core.polling.events.Event`; it has the
    request id, but no link and no price. All times are wall clock, so a restart of the triggerer changes nothing.

    :param request_id: The request to wait for.
    :param grokvideo_conn_id: Airflow connection of type ``grokvideo``.
    :param deadline: Epoch seconds after which the wait ends; the request itself keeps running.
    :param submitted_at: Epoch seconds of the submit, if known.
    :param not_before: Epoch seconds of the earliest poll. Operators set it a few seconds ahead: Airflow 3.3 can fail a
        task that resumes before the scheduler has processed the deferral.
    :param poll_interval: Seconds between polls; None lets the connection, then the schedule decide.
    :param uploads: xAI uploads the video itself, so done without a link is a success.
    :param kind: The group of its latency, the request's ``kind()``; None if unknown.
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
        """Return the class path and the arguments of this trigger."""
        return f"{type(self).__module__}.{type(self).__qualname__}", asdict(self._kwargs)

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, then yield one event."""
        event = await self._wait()
        yield TriggerEvent(event.payload())  # type: ignore[no-untyped-call]

    async def on_kill(self) -> None:
        """Log that the request keeps running when the task is cleared or marked."""
        self.log.warning(
            "Request %s keeps running at xAI and will be billed; the API has no cancel. Retry or clear its task to "
            "resume it (needs a journal), or use GrokVideoSensor(request_id=...).",
            self._kwargs.request_id,
        )

    async def _wait(self) -> Event:
        given = self._kwargs
        waiter = Waiter(given.grokvideo_conn_id, given.deadline, self._begun, self._warn, MISSING_FOR)
        try:
            ended = await waiter.wait(lambda account: (self._watch(account), self._heard()))
        except GrokVideoError as error:
            return abandoned(given.request_id, error, given.submitted_at)
        if isinstance(ended, decisions.Settled):
            return Event(given.request_id, "settled", given.submitted_at)
        return abandoned(given.request_id, ended.error, given.submitted_at)

    def _watch(self, account: Account) -> decisions.Watch:
        given = self._kwargs
        return decisions.Watch(
            request_id=given.request_id,
            since=time.time() if given.submitted_at is None else given.submitted_at,
            deadline=given.deadline,
            # Where the submit is not known, the age is not, either.
            kind=None if given.submitted_at is None else given.kind,
            poll_interval=account.interval(given.poll_interval),
            not_before=given.not_before or 0.0,
            uploads=given.uploads,
        )

    def _begun(self, watch: decisions.Watch, pause: float) -> None:
        self.log.info("Waiting for request %s; first poll in %.0f s", watch.request_id, pause)

    def _warn(self, what: str) -> None:
        self.log.warning("%s; trying again", what)

    def _heard(self) -> Callable[[decisions.Watch, Job | GrokVideoError, float], None]:
        """Return the callback that logs polls, without repetitions."""
        said = decisions.LogThrottle()

        def heard(watch: decisions.Watch, seen: Job | GrokVideoError, now: float) -> None:
            nonlocal said
            if decisions.worth_saying(said, seen, now):
                self.log.info("%s", decisions.progress_line(watch, seen, now))
                said = decisions.now_said(said, seen, now)

        return heard
