"""Base of the operators: arguments, and Airflow's side of a paid run."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow.sdk import BaseOperator

from airflow_provider_grokvideo.compat import AirflowTaskTimeout, TaskDeferralError, TaskDeferralTimeout
from airflow_provider_grokvideo.core.errors import GrokVideoError
from airflow_provider_grokvideo.core.polling import decisions
from airflow_provider_grokvideo.execution import advice, airflow_errors, asset_events, task
from airflow_provider_grokvideo.execution.manifest import Source
from airflow_provider_grokvideo.hooks.grokvideo import GrokVideoHook
from airflow_provider_grokvideo.links.grokvideo import GrokVideoLink, XAIRequestLink

if TYPE_CHECKING:
    from decimal import Decimal

    from airflow.sdk import Context

    from airflow_provider_grokvideo.core.purchases.records import ResubmitOn
    from airflow_provider_grokvideo.core.requests import VideoRequest
    from airflow_provider_grokvideo.execution.options import RunOptions
    from airflow_provider_grokvideo.execution.ports import Next
    from airflow_provider_grokvideo.execution.run import PaidRun


class GrokVideoPaidOperator(BaseOperator):
    """Arguments that all operators share, and the hook of their connection.

    :param destination: Where to store the MP4: any ObjectStorage URL (``s3://conn@bucket/dir/clip.mp4``) or local
        path; a directory gets ``<request id>.mp4``. A sidecar JSON is written beside it. None stores nothing and
        leaves a temporary link that dies within hours.
    :param deliver_via: ``"download"`` fetches the video into the worker and stores it from there. ``"upload"`` lets
        xAI upload it, to a destination in S3: no byte passes through the worker, a lost answer to the submit is
        settled by looking for the upload, and teams with zero data retention need it. The file is checked by its
        structure only then, and the manifest has no ``sha256``.
    :param grokvideo_conn_id: Airflow connection of type ``grokvideo``.
    :param deferrable: Wait in the triggerer. True by default, unlike elsewhere in Airflow, because these tasks do
        nothing but wait.
    :param timeout: Seconds (or timedelta) to wait from the submit; the request itself cannot be cancelled and keeps
        running. Default 900: the slowest published request took 240. A shorter ``execution_timeout`` counts too.
    :param poll_interval: Seconds between two polls; None lets the connection, then the schedule decide.
    :param on_moderated: ``"fail"`` or ``"skip"`` when the content rules block the video, which is usually billed.
    :param resubmit_on: When a retry or clear submits again, and pays again: ``"failed"``, ``"moderated"`` or
        ``"expired"``: the last request ended so. ``"unconfirmed"``: it is not known whether it was accepted.
        ``"cleared"``: it has ended and the task was cleared since. Empty by default: a retry or clear then returns the
        delivered video, resumes the request, or reports its end, and an unconfirmed submission stops the task.
    :param max_cost_usd: The most that one video may cost, by its estimate. None sets no limit of the task; the budgets
        of the connection and of ``[grokvideo] budgets`` hold in any case.
    :param budgets: Budgets of the DAG's author, besides those of the settings and of the connection:
        ``[{"usd": 5, "per": "dag_run"}]``, as in ``[grokvideo] budgets``. They need a ledger.
    :param on_limit: What to do with a request that ``max_cost_usd`` or a budget does not allow: ``"fail"`` without a
        retry, ``"skip"`` the task, or ``"ask"`` for an approval under Required Actions, which shows price and prompt.
        No worker slot is held meanwhile; a refusal skips the task.
    :param response_timeout: Seconds (or timedelta) to wait for the response; then the task fails. None waits as long
        as the DAG run does.
    :param assigned_users: Who may respond, each ``{"id": ..., "name": ...}`` as Airflow's auth manager knows them.
        Empty lets everyone respond who may act on the DAG.
    """

    template_fields: Sequence[str] = ("destination", "grokvideo_conn_id", "max_cost_usd", "budgets")
    template_fields_renderers: ClassVar[dict[str, str]] = {"budgets": "json"}
    ui_color = "#e8e4f3"

    def __init__(
        self,
        *,
        destination: str | None = None,
        deliver_via: Literal["download", "upload"] = "download",
        grokvideo_conn_id: str = GrokVideoHook.default_conn_name,
        deferrable: bool = True,
        timeout: float | timedelta = decisions.DEFAULT_TIMEOUT,
        poll_interval: float | None = None,
        on_moderated: Literal["fail", "skip"] = "fail",
        resubmit_on: Collection[ResubmitOn] = (),
        max_cost_usd: float | str | Decimal | None = None,
        budgets: Sequence[Mapping[str, Any]] = (),
        on_limit: Literal["fail", "skip", "ask"] = "fail",
        response_timeout: float | timedelta | None = None,
        assigned_users: Sequence[Mapping[str, str]] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.destination = destination
        self.deliver_via = deliver_via
        self.grokvideo_conn_id = grokvideo_conn_id
        self.deferrable = deferrable
        self.timeout = timeout
        self.poll_interval = poll_interval
        self.on_moderated = on_moderated
        self.resubmit_on = resubmit_on
        self.max_cost_usd = max_cost_usd
        self.budgets = budgets
        self.on_limit = on_limit
        self.response_timeout = response_timeout
        self.assigned_users = assigned_users

    @cached_property
    def hook(self) -> GrokVideoHook:
        """Return the hook of the task's connection."""
        return GrokVideoHook(self.grokvideo_conn_id)

    def options(self) -> RunOptions:
        """Return the options of a run, as they were rendered."""
        from airflow_provider_grokvideo.execution.options import RunOptions

        names = RunOptions.__dataclass_fields__
        return RunOptions(**{name: getattr(self, name) for name in names if hasattr(self, name)})


class GrokVideoBaseOperator(GrokVideoPaidOperator):
    """What the operators of one video share; use one of them.

    A task runs in four steps: check the request and its price, submit it, wait for it in the triggerer, store the
    video. Everything that can be wrong is checked before the submit, because the submit costs money.

    :param wait_for_completion: False returns right after the submit, with ``status="submitted"``; a
        :class:`~airflow_provider_grokvideo.sensors.grokvideo.GrokVideoSensor` waits and stores elsewhere.
    """

    operator_extra_links = (GrokVideoLink(), XAIRequestLink())

    _run: PaidRun | None = None
    """The run of this leg, for :meth:`on_kill`, to which Airflow gives nothing."""

    def __init__(self, *, wait_for_completion: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.wait_for_completion = wait_for_completion

    @abstractmethod
    def build_request(self) -> VideoRequest:
        """Return the request that the rendered arguments describe.

        :raises InvalidInput: An argument is wrong.
        """

    def known_source(self) -> Source:
        """Return what the arguments tell about the clip that is edited or extended."""
        return Source()

    def made_from(self) -> tuple[str, Any] | None:
        """Return the argument that holds the clip or image that the video starts from, and its value."""
        return None

    def execute(self, context: Context) -> Any:
        """Find what earlier tries bought, else submit; then wait or defer; return the manifest."""
        return self.start(context)

    def start(self, context: Context) -> Any:
        """Do what :meth:`execute` does, for a task that another operator carries out."""
        return self._carry_out(context, lambda run: run.run())

    def execute_again(self, context: Context, event: Any = None) -> Any:
        """Start over after a pause; the journal knows what was done."""
        return self.start(context)

    def execute_complete(self, context: Context, event: Any = None) -> Any:
        """Check the trigger's event, poll once more for a fresh link and the final cost, and deliver."""
        return self._carry_out(context, lambda run: run.complete(event))

    def execute_after_response(self, context: Context, event: Any = None) -> Any:
        """Submit what was approved, if it is still what the question showed."""
        return self._carry_out(context, lambda run: run.respond(event))

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume; a trigger that was lost or never ran is a wait that ended, not a video that failed."""
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except (TaskDeferralTimeout, TaskDeferralError) as problem:
            return self._carry_out(context, lambda run, why=problem: run.lost(why))  # type: ignore[misc]

    def on_kill(self) -> None:
        """Say what killing the task cannot stop."""
        if self._run is not None and (request_id := self._run.state.under_way):
            self.log.warning(advice.KEEPS_RUNNING, request_id)

    def _host(self, context: Context) -> task.TaskHost:
        own = [name for name in self.template_fields if name not in GrokVideoBaseOperator.template_fields]
        arguments = {name: getattr(self, name, None) for name in own}
        return task.TaskHost(context, self, self.grokvideo_conn_id, arguments)

    def _carry_out(self, context: Context, leg: Callable[[PaidRun], Next]) -> dict[str, Any]:
        """Carry out a leg of the task's run; return the manifest, and put its facts into the outlets' events."""
        from airflow_provider_grokvideo.execution.ports import Services
        from airflow_provider_grokvideo.execution.run import PaidRun

        services = Services(self._host(context), self.hook, lambda: task.open_journal(context))
        run = PaidRun(self, self.options(), services)
        made = self.carry(lambda: leg(run), run, context)
        asset_events.tell(self.outlets, made, context)
        return made

    def carry(self, leg: Callable[[], Next], run: PaidRun, context: Context) -> dict[str, Any]:
        """Carry out a leg of a run until the run finishes, the task pauses, or an error ends it."""
        self._run = run
        try:
            try:
                return task.do(leg(), run, self, context)
            except AirflowTaskTimeout as problem:
                # It may strike between two legs, too, such as right before a deferral.
                return task.do(run.interrupted(problem), run, self, context)
        except GrokVideoError as error:
            raise airflow_errors.for_airflow(error) from error.__cause__
