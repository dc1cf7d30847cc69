"""Sensor that waits for a request of another task, and can store its video."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from airflow.sdk import BaseSensorOperator, PokeReturnValue

from airflow_provider_grokvideo.client import flow
from airflow_provider_grokvideo.compat import AirflowFailException, AirflowSensorTimeout, AirflowSkipException
from airflow_provider_grokvideo.core.errors import GrokVideoError, InvalidInput, VideoModerated, WaitTimeout
from airflow_provider_grokvideo.core.jobs import Job, Pending
from airflow_provider_grokvideo.core.polling import decisions, events
from airflow_provider_grokvideo.core.texts import USE_THE_OUTPUT, is_rendered_data
from airflow_provider_grokvideo.core.wire import is_request_id
from airflow_provider_grokvideo.execution import airflow_errors, asset_events, handover
from airflow_provider_grokvideo.execution.manifest import record_in
from airflow_provider_grokvideo.execution.task import owner_in
from airflow_provider_grokvideo.hooks.grokvideo import GrokVideoHook
from airflow_provider_grokvideo.links.grokvideo import GrokVideoLink, XAIRequestLink

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_grokvideo.core.cards import Outcome


class GrokVideoSensor(BaseSensorOperator):
    """Wait until a request is done, then store its video if there is a destination; return the manifest.

    It never submits, so retries and clears cost nothing. Use it after an operator with
    ``wait_for_completion=False``, or with a request id from a log to recover its video.

    :param request_id: The request id, or the manifest that a task of this provider returned.
    :param destination: Where to store the MP4, as in the operators. None stores nothing.
    :param grokvideo_conn_id: Airflow connection of the account that submitted the request.
    :param deferrable: Wait in the triggerer (default). False pokes from a worker, in ``mode`` poke or reschedule.
    :param timeout: Seconds (or timedelta) to wait. Default 900, not Airflow's seven days.
    :param poke_interval: Seconds between polls when not deferrable. Default 10, not Airflow's 60.
    :param poll_interval: Seconds between polls when deferrable; None lets the connection, then the schedule decide.
    :param on_moderated: ``"fail"`` or ``"skip"`` when content moderation blocked the video.
    """

    template_fields: Sequence[str] = ("request_id", "destination", "grokvideo_conn_id")
    operator_extra_links = (GrokVideoLink(), XAIRequestLink())
    ui_color = "#e8e4f3"

    def __init__(
        self,
        *,
        request_id: Any,
        destination: str | None = None,
        grokvideo_conn_id: str = GrokVideoHook.default_conn_name,
        deferrable: bool = True,
        timeout: float | timedelta = decisions.DEFAULT_TIMEOUT,
        poke_interval: float | timedelta = 10.0,
        poll_interval: float | None = None,
        on_moderated: Literal["fail", "skip"] = "fail",
        **kwargs: Any,
    ) -> None:
        super().__init__(timeout=timeout, poke_interval=poke_interval, **kwargs)
        self.request_id = request_id
        self.destination = destination
        self.grokvideo_conn_id = grokvideo_conn_id
        self.deferrable = deferrable
        self.poll_interval = poll_interval
        self.on_moderated = on_moderated

    @cached_property
    def hook(self) -> GrokVideoHook:
        """Return the hook of the task's connection."""
        return GrokVideoHook(self.grokvideo_conn_id)

    def execute(self, context: Context) -> Any:
        """Poll once, then wait in the triggerer; without `deferrable`, poke in the worker."""
        if not self.deferrable:
            return super().execute(context)
        try:
            request_id = self._checked_id()
            now = time.time()
            watch = decisions.Watch(request_id, since=now, deadline=now + self.timeout)
            seen = self.hook.get_conn().run(flow.poll(request_id))
            verdict = decisions.poll(watch, seen, now)
            if isinstance(verdict, decisions.Abandoned):
                raise verdict.error
            if isinstance(verdict, decisions.Settled):
                return self._hand_over(verdict.job, request_id, context)
        except GrokVideoError as error:
            raise self._failure(error, context) from error.__cause__
        self._show(context, "waiting", request_id=request_id, deadline=watch.deadline)
        return self._defer(watch, now)

    def _defer(self, watch: decisions.Watch, now: float) -> NoReturn:
        from airflow_provider_grokvideo.triggers.grokvideo import GrokVideoTrigger

        self.defer(
            trigger=GrokVideoTrigger(
                request_id=watch.request_id,
                grokvideo_conn_id=self.grokvideo_conn_id,
                deadline=watch.deadline,
                not_before=now + decisions.FIRST_POLL,
                poll_interval=self.poll_interval,
            ),
            method_name="execute_complete",
            timeout=timedelta(seconds=self.timeout + 60),
        )

    def execute_complete(self, context: Context, event: Any = None) -> dict[str, Any]:
        """Check the trigger's event, poll once more, and return the manifest."""
        from airflow_provider_grokvideo.execution.wait import poll_once_more

        try:
            settled = events.parse(event)
            if error := settled.as_error(self.grokvideo_conn_id):
                raise error
            job = poll_once_more(settled.request_id, settled.submitted_at, self.hook)
            return self._hand_over(job, settled.request_id, context)
        except WaitTimeout as error:
            self._show(context, None, error=error)
            raise AirflowSensorTimeout(str(error)) from None
        except GrokVideoError as error:
            raise self._failure(error, context) from error.__cause__

    def poke(self, context: Context) -> PokeReturnValue:
        """Poll once."""
        try:
            request_id = self._checked_id()
            seen = self.hook.get_conn().run(flow.poll(request_id))
            now = time.time()
            watch = self._watch(request_id, context, now)
            self.log.info("%s", decisions.progress_line(watch, seen, now))
            verdict = decisions.poll(watch, seen, now)
            if isinstance(verdict, decisions.Abandoned):
                raise verdict.error
            if isinstance(verdict, decisions.PollAgain):
                self._show(context, "waiting", request_id=request_id)
                return PokeReturnValue(is_done=False)
            return PokeReturnValue(is_done=True, xcom_value=self._hand_over(verdict.job, request_id, context))
        except GrokVideoError as error:
            raise self._failure(error, context) from error.__cause__

    def _watch(self, request_id: str, context: Context, now: float) -> decisions.Watch:
        """Return the wait of this poke; BaseSensorOperator has its own deadline."""
        started = getattr(context.get("ti"), "start_date", None)
        since = started.timestamp() if started is not None else now
        return decisions.Watch(request_id, since=since, deadline=float("inf"))

    def _hand_over(self, job: Job, request_id: str, context: Context) -> dict[str, Any]:
        from airflow_provider_grokvideo.execution.ledger import TaskLedger

        if not isinstance(job, Pending):
            TaskLedger().settled(job)
        made = handover.hand_over(
            handover.finished(job, self.grokvideo_conn_id),
            record_in(self.request_id, request_id),
            hook=self.hook,
            destination=self.destination,
            owner=owner_in(context),
        )
        self._show(context, "delivered" if made["uri"] else "done", made=made)
        result = dict(made)
        asset_events.tell(self.outlets, result, context)
        return result

    def _show(self, context: Context, outcome: Outcome | None, **facts: Any) -> None:
        """Update the card of this task instance, for the Video tab."""
        from airflow_provider_grokvideo.execution.card import show

        show(context, outcome, conn_id=self.grokvideo_conn_id, **facts)

    def _failure(self, error: GrokVideoError, context: Context) -> Exception:
        """Return the exception to raise: the error, or a skip with `soft_fail` or `never_fail`.

        Airflow applies the two in its poke loop and, for some errors, on resuming; here they always apply.
        """
        error.about(conn_id=self.grokvideo_conn_id)
        self._show(context, None, error=error)
        if isinstance(error, VideoModerated) and self.on_moderated == "skip":
            return AirflowSkipException(str(error))
        failed = airflow_errors.for_airflow(error)
        if self.never_fail or (self.soft_fail and isinstance(failed, AirflowFailException)):
            option = "never_fail" if self.never_fail else "soft_fail"
            skipped = AirflowSkipException(f"Skipped because of {option}=True: {failed}")
            skipped.__cause__ = failed
            return skipped
        return failed

    def _checked_id(self) -> str:
        if self.on_moderated not in ("fail", "skip"):
            raise InvalidInput("on_moderated", self.on_moderated, "fail or skip")
        decisions.checked_interval(self.poll_interval)
        value = self.request_id
        if isinstance(value, Mapping):
            value = value.get("request_id")
        if isinstance(value, str) and is_rendered_data(value):
            raise InvalidInput("request_id", "the text of a manifest", f"a request id, {USE_THE_OUTPUT}")
        if not isinstance(value, str) or value.strip() in ("", "None"):
            raise InvalidInput("request_id", self.request_id, f"a request id, {USE_THE_OUTPUT}")
        if not is_request_id(value.strip()):
            raise InvalidInput("request_id", value, "a request id, such as a UUID")
        return value.strip()
