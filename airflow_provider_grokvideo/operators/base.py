"""What the three operators share: find out what was bought, submit if nothing, wait without a worker slot, deliver."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from functools import cached_property
from os import PathLike
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

import pendulum
from airflow.sdk import BaseOperator
from typing_extensions import assert_never

from airflow_provider_grokvideo.client import flow
from airflow_provider_grokvideo.compat import (
    AirflowFailException,
    AirflowSkipException,
    AirflowTaskTimeout,
    TaskDeferralError,
    TaskDeferralTimeout,
)
from airflow_provider_grokvideo.core import events, files, journal, watching
from airflow_provider_grokvideo.core.errors import (
    AmbiguousSubmit,
    DeliveryFailed,
    GrokVideoError,
    InvalidInput,
    SpendLimitExceeded,
    VideoExpired,
    VideoFailed,
    WaitTimeout,
)
from airflow_provider_grokvideo.core.jobs import Done, Expired, FinalJob
from airflow_provider_grokvideo.core.texts import is_rendered_data
from airflow_provider_grokvideo.hooks.grokvideo import GrokVideoHook, check_conn_id
from airflow_provider_grokvideo.links.grokvideo import GrokVideoLink, XAIRequestLink
from airflow_provider_grokvideo.tasks import asking, assets, failing, handover
from airflow_provider_grokvideo.tasks.manifest import (
    Purchase,
    Source,
    as_number,
    as_time,
    manifest,
)
from airflow_provider_grokvideo.tasks.memory import TaskJournal, open_journal, outcome_of

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_grokvideo.core.cards import Outcome as Shown
    from airflow_provider_grokvideo.core.journal import Record, ResubmitOn
    from airflow_provider_grokvideo.core.pricing import Estimate
    from airflow_provider_grokvideo.core.requests import VideoRequest
    from airflow_provider_grokvideo.core.spending import Entry
    from airflow_provider_grokvideo.tasks.books import Approval, TaskLedger
    from airflow_provider_grokvideo.tasks.inputs import Inputs, Opened

DEFER_GRACE = 60.0
"""Seconds that Airflow's own deferral timeout leaves the trigger to report a passed deadline itself."""

BETWEEN_WITNESS_CHECKS = 60.0
"""Seconds between two checks for what an unconfirmed submission uploaded or stored; each costs a short worker run."""

SHORTEST_SIGNATURE = 3600.0
"""Seconds that an upload address lasts at least: a request may go on long after the task stopped waiting."""


class GrokVideoBaseOperator(BaseOperator):
    """What the three operators share; use one of them.

    A task runs in four steps: check the request and its price, submit it, wait for it in the triggerer, store the
    video. Everything that can be wrong is checked before the submit, because the submit costs money.

    :param destination: Where to store the MP4: any ObjectStorage URL (``s3://conn@bucket/dir/clip.mp4``) or local
        path; a directory gets ``<request id>.mp4``. A sidecar JSON is written beside it. None stores nothing and
        leaves a temporary link that dies within hours.
    :param deliver_via: ``"download"`` fetches the video into the worker and stores it from there. ``"upload"`` lets the
        service upload it, to a destination in S3: no byte passes through the worker, a lost answer to the submit is
        settled by looking for the upload, and teams with zero data retention need it. The file is checked by its
        structure only then, and the manifest has no ``sha256``.
    :param grokvideo_conn_id: Airflow connection of type ``grokvideo``.
    :param deferrable: Wait in the triggerer. True by default, unlike elsewhere in Airflow, because these tasks do
        nothing but wait.
    :param wait_for_completion: False returns right after the submit, with ``status="submitted"``; a
        :class:`~airflow_provider_grokvideo.sensors.grokvideo.GrokVideoSensor` waits and stores elsewhere.
    :param timeout: Seconds (or timedelta) to wait from the submit; the request itself cannot be cancelled and goes
        on. Default 900: the slowest published request took 240. A shorter ``execution_timeout`` counts too.
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
        retry, ``"skip"`` the task, or ``"ask"`` a person under Required Actions, who sees its price and prompt. No
        worker slot is held meanwhile; a no skips the task.
    :param response_timeout: Seconds (or timedelta) to wait for that person; then the task fails. None waits as long as
        the DAG run does.
    :param assigned_users: Who may answer, each ``{"id": ..., "name": ...}`` as Airflow's auth manager knows them.
        Nobody named lets everybody answer who may act on the DAG.
    """

    template_fields: Sequence[str] = (
        "destination",
        "grokvideo_conn_id",
        "max_cost_usd",
        "budgets",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"budgets": "json"}
    operator_extra_links = (GrokVideoLink(), XAIRequestLink())
    ui_color = "#e8e4f3"

    def __init__(
        self,
        *,
        destination: str | None = None,
        deliver_via: Literal["download", "upload"] = "download",
        grokvideo_conn_id: str = GrokVideoHook.default_conn_name,
        deferrable: bool = True,
        wait_for_completion: bool = True,
        timeout: float | timedelta = watching.DEFAULT_TIMEOUT,
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
        self.wait_for_completion = wait_for_completion
        self.timeout = timeout
        self.poll_interval = poll_interval
        self.on_moderated = on_moderated
        self.resubmit_on = resubmit_on
        self.max_cost_usd = max_cost_usd
        self.budgets = budgets
        self.on_limit = on_limit
        self.response_timeout = response_timeout
        self.assigned_users = assigned_users
        self._memory: TaskJournal | None = None
        self._approval: Approval | None = None
        self._journal_is_away = False
        self._bought = False
        self._goes_on: str | None = None
        self._asked_for: VideoRequest | None = None

    @cached_property
    def hook(self) -> GrokVideoHook:
        """Return the hook of the task's connection."""
        return GrokVideoHook(self.grokvideo_conn_id)

    @cached_property
    def books(self) -> TaskLedger:
        """Return the ledger as this try sees it."""
        from airflow_provider_grokvideo.tasks.books import TaskLedger

        return TaskLedger()

    @abstractmethod
    def build_request(self) -> VideoRequest:
        """Return the request that the rendered arguments describe.

        :raises InvalidInput: An argument is wrong.
        """

    def execute(self, context: Context) -> dict[str, Any]:
        """Find out what earlier tries bought, submit if nothing, then wait or defer; return the manifest."""
        from airflow_provider_grokvideo.tasks.inputs import read

        started = time.time()
        with self._guarded(context):
            self._check_words()
            memory = self._memory = open_journal(context)
            if memory.records or (memory.try_number or 1) > 1:
                self.books.follow(memory.owner, memory.records, complete=memory.backend is not None)
            request = self._asked_for = self.build_request()
            with ExitStack() as files:
                inputs = read(request, self.hook, memory, files)
                unconfirmed = memory.last(inputs.fingerprint)
                if unconfirmed is not None and (found := self._settle_by_witness(unconfirmed, request, context)):
                    return found
                step = self._next_step(inputs, memory)
                bought = None
                if isinstance(step, journal.Submit):
                    try:
                        bought = self._buy(inputs, memory, context)
                    except AmbiguousSubmit:
                        if found := self._settle_by_witness(cast("Record", memory.current), request, context):
                            return found
                        raise
            match step:
                case journal.Submit():
                    return self._begin(cast("Purchase", bought), context, started)
                case journal.Attach(record):
                    return self._pick_up(record, request, context, started)
                case journal.Reuse(record):
                    return self._reuse(record, request, context, started)
                case journal.Ambiguous(record):
                    memory.hold(record)
                    raise AmbiguousSubmit(failing.doubt(record), client_id=record.token)
                case journal.Report(record):
                    self._hold(record)
                    raise handover.told(record)
                case _:
                    assert_never(step)

    def execute_again(self, context: Context, event: Any = None) -> dict[str, Any]:
        """Start over after a pause; the journal knows what was done."""
        return self.execute(context)

    def execute_complete(self, context: Context, event: Any = None) -> dict[str, Any]:
        """Check the trigger's event, look once more for a fresh link and the final cost, and hand over."""
        self._bought = True
        with self._guarded(context):
            from airflow_provider_grokvideo.tasks.waiting import poll_once_more

            settled = events.parse(event)
            self._goes_on = settled.request_id
            self._memory = self._opened_again(context, settled.request_id, settled.submitted_at)
            if error := settled.as_error(self.grokvideo_conn_id):
                raise error
            purchase = self._remembered(settled, context)
            uploads = self._upload_uri(context) is not None
            job = poll_once_more(settled.request_id, settled.submitted_at, self.hook, uploads=uploads)
            return self._deliver(job, purchase, context)

    def execute_after_answer(self, context: Context, event: Any = None) -> dict[str, Any]:
        """Buy what a person has allowed, if it is still what they saw."""
        from airflow_provider_grokvideo.tasks.books import Approval

        with self._guarded(context):
            buy, by = asking.answered(event)
            if not buy:
                self._show(context, None, error=SpendLimitExceeded(f"{by} said not to buy the video", advice=""))
                raise AirflowSkipException(f"{by} said not to buy the video")
            asked = self._recall("asked_usd", context)
            if (ti := context.get("ti")) is not None:
                # From here on a lost trigger is no lost question.
                ti.xcom_push(key="asked_usd", value=None)
            shown = self._recall("asked_for", context) or (None, None)
            self._approval = Approval(None if asked in (None, _UNKNOWN) else Decimal(str(asked)), by, *shown)
            self.log.info("%s allowed the purchase", by)
        return self.execute(context)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume; a trigger that was lost or never ran is a wait that ended, not a video that failed."""
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except (TaskDeferralTimeout, TaskDeferralError) as problem:
            # Until the opposite is known, what was waited for is a video that is paid for.
            self._bought = True
            with self._guarded(context):
                self._goes_on = self._recall("request_id", context)
                if self._goes_on is None and self._recall("asked_usd", context) is not None:
                    self._bought = False
                    what = f"the triggerer stopped waiting for the answer about the price ({problem})"
                    raise GrokVideoError(what, advice="Nothing was bought. A retry or clear asks again.") from None
                memory = self._memory = self._opened_again(context, self._goes_on)
                if self._goes_on is None and memory is not None and memory.current is not None:
                    what = (
                        f"the triggerer stopped waiting for the video of a submission whose answer was lost ({problem})"
                    )
                    raise GrokVideoError(what, advice="It may have been accepted and billed.") from None
                raise WaitTimeout(f"the triggerer did not report on the request ({problem})") from None

    def on_kill(self) -> None:
        """Say what killing the task cannot stop."""
        if self._goes_on:
            self.log.warning(
                "Request %s goes on at the service and is billed: nothing can cancel it. A retry or clear of this task "
                "goes on with it if the task has a journal; a GrokVideoSensor with this request_id does in any case.",
                self._goes_on,
            )

    def known_source(self) -> Source:
        """Return what the arguments tell about the clip that is edited or extended."""
        return Source()

    def made_from(self) -> tuple[str, Any] | None:
        """Return the argument that holds the clip or picture that the video starts from, and its value."""
        return None

    def tell(self, made: Mapping[str, Any], context: Context) -> None:
        """Say in the outlets' asset events that there is a video, or a request that another task waits for."""
        assets.tell(self.outlets, made, context)

    def _next_step(self, inputs: Inputs, memory: TaskJournal) -> journal.Step:
        policy = journal.Policy(tuple(self.resubmit_on), memory.tries)
        known = memory.last(inputs.fingerprint)
        if known is None and (known := memory.of_another_index(inputs.fingerprint)):
            self.log.info("The mapped list may have changed: these inputs were bought by another map index")
        return journal.next_step(known, inputs.fingerprint, policy)

    def _buy(self, inputs: Inputs, memory: TaskJournal, context: Context) -> Purchase:
        """Check everything that can be checked for free, reserve the price, then submit."""
        from airflow_provider_grokvideo.core import requests
        from airflow_provider_grokvideo.tasks import books

        if inputs.opened is None:
            raise cast("GrokVideoError", inputs.problem)
        request = inputs.request
        for warning in request.warnings():
            self.log.warning("%s", warning)
        requests.check_source(request, self.known_source().seconds)
        self.hook.account()
        if self.destination is not None and self.wait_for_completion:
            from airflow_provider_grokvideo.delivery.destination import check_writable

            check_writable(self.destination, inputs=self._files_read(request))
            if self.deliver_via == "download":
                from airflow_provider_grokvideo.delivery.download import check_reachable

                account = self.hook.account()
                check_reachable(account.base_url, account.download_hosts)
        estimate = self._estimate(request, inputs.opened.source)
        entry = books.about_to_buy(
            request, estimate, memory, self.grokvideo_conn_id, self._approval_of(inputs.fingerprint)
        )
        self._reserve(entry, estimate, request, inputs.fingerprint, context)
        try:
            ready, witness = self._ready(inputs.opened, inputs.fingerprint, memory, entry.token)
            for record in journal.left_behind(memory.records, inputs.fingerprint):
                self.log.warning("%s", failing.left_behind(record))
            if memory.backend is None:
                self.log.warning("%s", failing.NO_JOURNAL)
            self.log.info("Submitting %s with %s; estimated cost %s", request.mode, request.model, estimate.explained())
            memory.intend(
                request,
                inputs.fingerprint,
                inputs.asked,
                token=entry.token,
                conn_id=self.grokvideo_conn_id,
                estimated_usd=None if estimate.usd is None else str(estimate.usd),
                destination=None if self.destination is None else str(self.destination),
                waits_elsewhere=not self.wait_for_completion,
                **witness,
            )
            # Before the submit, so that the Video tab knows of it if the worker dies in the middle of it.
            self._show(context, "submitting", request=request, estimated_usd=estimate.usd)
        except BaseException as problem:
            if isinstance(problem, AirflowTaskTimeout | Exception):
                memory.take_back(entry.token)
            self.books.released(entry)
            raise
        request_id, now = self._submit(ready, memory, entry)
        self.books.accepted(entry, request_id)
        return Purchase(request_id, now, request, estimate.usd)

    def _reserve(
        self, entry: Entry, estimate: Estimate, request: VideoRequest, fingerprint: str, context: Context
    ) -> None:
        """Reserve the price, or do what the user wants where a limit does not allow it."""
        from airflow_provider_grokvideo.ledger.settings import declared_budgets

        try:
            self.books.reserve(
                entry,
                estimate,
                limit=self.max_cost_usd,
                budgets=declared_budgets(self.hook.account(), self.grokvideo_conn_id, self.budgets),
                approval=self._approval_of(fingerprint),
            )
        except SpendLimitExceeded as error:
            if self.on_limit == "skip":
                self._show(context, None, error=error)
                raise AirflowSkipException(str(error.about(conn_id=self.grokvideo_conn_id))) from None
            if self.on_limit != "ask":
                raise
            if self._approval is not None:
                # Airflow shows a try's first question only, so another one cannot be asked in this try.
                error.what += f"; {self._approval.by} has allowed {self._approval.difference(entry, fingerprint)}"
                error.what_to_do = "Nothing was bought. Clear the task to be asked again."
                raise
            if (ti := context.get("ti")) is not None:
                ti.xcom_push(key="asked_usd", value=_UNKNOWN if estimate.usd is None else str(estimate.usd))
                ti.xcom_push(key="asked_for", value=[self.grokvideo_conn_id, fingerprint])
            self._show(context, "asking", request=request, estimated_usd=estimate.usd)
            asking.ask(
                self,
                context,
                asking.question(request, estimate, error.why, self.grokvideo_conn_id),
                method_name="execute_after_answer",
                timeout=self.response_timeout,
                users=self.assigned_users,
            )

    def _files_read(self, request: VideoRequest) -> list[str]:
        """Return the paths and URIs of what the video is made from; a manifest names its file beside its link."""
        given = self.made_from()
        source = given[1] if given else None
        stored = [str(source["uri"])] if isinstance(source, Mapping) and source.get("uri") else []
        return [*stored, *(media.path for _, media in request.media() if media.path is not None)]

    def _approval_of(self, fingerprint: str) -> Approval | None:
        """Return the approval if it is for these inputs and this connection; a yes is for what was seen."""
        approval = self._approval
        return approval if approval and approval.is_for(self.grokvideo_conn_id, fingerprint) else None

    def _ready(
        self, opened: Opened, fingerprint: str, memory: TaskJournal, token: str
    ) -> tuple[VideoRequest, dict[str, str]]:
        """Return the request as it can be sent, and what the journal notes of where its video can be found."""
        ready = opened.request()
        if self.deliver_via == "upload":
            from airflow_provider_grokvideo.delivery import uploads

            of_purchase = journal.upload_token(memory.owner, fingerprint, len(memory.records) + 1)
            upload_uri = uploads.upload_uri(str(self.destination), of_purchase)
            address = uploads.signed(upload_uri, max(2 * self._patience(), SHORTEST_SIGNATURE))
            return ready.model_copy(update={"output": {"upload_url": address}}), {"upload_uri": upload_uri}
        options = files.stored_as(ready.storage_options, token, wanted=self.hook.account().witness)
        if options is None:
            return ready, {}
        return ready.model_copy(update={"storage_options": options}), {"stored_as": options["filename"]}

    def _submit(self, request: VideoRequest, memory: TaskJournal, entry: Entry) -> tuple[str, float]:
        """Submit and write the id down, whatever interrupts that; return the id and when it was known.

        What interrupts the submit itself, execution_timeout included, leaves it unconfirmed.
        """
        try:
            request_id = self._goes_on = self.hook.submit(request, client_id=entry.token)
            self._bought = True
            # The log is the last place that knows the id if this process dies before the next lines.
            self.log.info("Request %s was accepted and is billed from here on", request_id)
            now = time.time()
            memory.note(phase="submitted", request_id=request_id, submitted_at=now)
        except AmbiguousSubmit as error:
            memory.note(note=error.what)
            self.books.unconfirmed(entry)
            raise
        except GrokVideoError as error:
            memory.note(phase="withdrawn", note=error.what, cost_usd=getattr(error, "cost_usd", None))
            self.books.released(entry, error)
            raise
        except (AirflowTaskTimeout, Exception) as problem:
            if self._goes_on is not None:
                self._bought = True
                memory.note(phase="submitted", request_id=self._goes_on, submitted_at=time.time())
                self.books.accepted(entry, self._goes_on)
                raise
            what = f"the start was interrupted ({type(problem).__name__}: {problem})"
            if not self.hook.may_have_bought:
                # No byte of it had reached a socket, so a retry is free.
                memory.note(phase="withdrawn", note=what)
                self.books.released(entry)
                raise
            memory.note(note=what)
            self.books.unconfirmed(entry)
            raise AmbiguousSubmit(what, client_id=entry.token) from problem
        return request_id, now

    def _settle_by_witness(
        self, record: Record, request: VideoRequest | None, context: Context
    ) -> dict[str, Any] | None:
        """Hand over what the service uploaded or stored for a submission whose answer was lost; wait for it.

        It is looked for within the timeout, and once in each later try. Returns None where nothing can prove that the
        request was accepted, or nothing came.
        """
        findable = record.upload_uri is not None or (record.stored_as is not None and self.wait_for_completion)
        if record.phase != "intent" or not findable or self._memory is None:
            return None
        where, until = record.upload_uri or f"file {record.stored_as}", record.intended_at + self._patience()
        self._memory.hold(record)
        while (job := self._witnessed(record)) is None:
            now = time.time()
            if now >= until:
                self._note(note=f"its video was not found as {where} by {as_time(now)}")
                return None
            if self.deferrable and self._memory.backend is None:
                # A resumed task would know nothing of this submission, and send another.
                return None
            self.log.info("The answer to the submission was lost; looking for %s until %s", where, as_time(until))
            self._show(context, "waiting", request=request, submitted_at=record.intended_at, deadline=until)
            at = min(now + BETWEEN_WITNESS_CHECKS, until)
            if self.deferrable:
                from airflow.providers.standard.triggers.temporal import DateTimeTrigger

                trigger = DateTimeTrigger(moment=pendulum.from_timestamp(at))
                self.defer(trigger=trigger, method_name="execute_again")
            time.sleep(at - now)
        self.log.info("The submission was accepted: its video was found as %s", where)
        self._bought = True
        return self._deliver(job, Purchase("", record.intended_at, request, record.estimate), context)

    def _witnessed(self, record: Record) -> Done | None:
        """Return a purchase without an id as done, if its upload or stored file is there; else nothing is proved."""
        if record.upload_uri is not None:
            from airflow_provider_grokvideo.delivery.uploads import arrived

            return Done(request_id="") if arrived(record.upload_uri) else None
        if record.stored_as is None:
            return None
        try:
            found = self.hook.find_file(record.stored_as)
        except GrokVideoError as error:
            self.log.warning("Could not look for the stored file %s: %s", record.stored_as, error.what)
            return None
        return None if found is None else Done(request_id="", file=replace(found, filename=record.stored_as))

    def _upload_uri(self, context: Context) -> str | None:
        """Return where the service uploads to, also where a resumed task cannot read its journal."""
        if self._memory is not None and self._memory.current is not None:
            return self._memory.current.upload_uri
        uri = self._recall("upload_uri", context) if self.deliver_via == "upload" else None
        return str(uri) if uri else None

    def _begin(self, purchase: Purchase, context: Context, started: float) -> dict[str, Any]:
        self._remember(purchase, context)
        if not self.wait_for_completion:
            return self._submitted(purchase, context)
        return self._wait(purchase, context, started)

    def _submitted(self, purchase: Purchase, context: Context) -> dict[str, Any]:
        """Hand on a request that another task waits for."""
        made = manifest(purchase, status="submitted")
        self._note(manifest=made)
        self._show(context, "submitted", purchase=purchase, made=made)
        self.tell(made, context)
        return made

    def _hold(self, record: Record) -> None:
        """Go on with the purchase of an earlier try."""
        self._bought = True
        self._goes_on = record.request_id
        if self._memory is not None:
            self._memory.hold(record)

    def _pick_up(
        self, record: Record, request: VideoRequest | None, context: Context, started: float
    ) -> dict[str, Any]:
        """Go on with a request that an earlier try bought; where it is finished it is delivered without deferring."""
        self._hold(record)
        purchase = Purchase(cast("str", record.request_id), record.submitted_at, request, record.estimate)
        self.log.info(
            "Going on with request %s, submitted %s by try %s; nothing is bought",
            purchase.request_id, as_time(record.submitted_at), record.try_number,
        )  # fmt: skip
        self._remember(purchase, context)
        if not self.wait_for_completion:
            return self._submitted(purchase, context)
        now = time.time()
        since = now if purchase.submitted_at is None else purchase.submitted_at
        watch = watching.Watch(purchase.request_id, since=since, deadline=self._deadline(started, since))
        uploads = record.upload_uri is not None
        seen = self.hook.get_conn().run(flow.poll(purchase.request_id, uploads=uploads))
        verdict = watching.poll(watch, seen, now)
        if isinstance(verdict, watching.Abandoned):
            raise verdict.error
        if isinstance(verdict, watching.Settled):
            return self._deliver(verdict.job, purchase, context)
        return self._wait(purchase, context, started)

    def _reuse(self, record: Record, request: VideoRequest, context: Context, started: float) -> dict[str, Any]:
        """Return the manifest of what was delivered before, if the file is still there; else fetch it again."""
        from airflow_provider_grokvideo.delivery.store import still_there

        self._hold(record)
        # What an earlier version wrote has no poster.
        made = {"poster_uri": None, **(record.manifest or {}), "reused": True}
        uri = made.get("uri")
        if not uri or not still_there(uri, made.get("bytes")):
            if record.request_id is None:
                job = self._witnessed(record)
                if job is None:
                    raise VideoExpired(f"{uri or 'the video'} is gone, and nobody knows the request it came from")
                self._bought = True
                again = Purchase("", record.intended_at, request, record.estimate)
                return {**self._deliver(job, again, context), "reused": True}
            if uri:
                self.log.warning("%s is not there any more, or not as it was; fetching it again", uri)
            return {**self._pick_up(record, request, context, started), "reused": True}
        purchase = Purchase(made["request_id"], record.submitted_at, request, record.estimate, self.made_from())
        if self.destination is not None and str(self.destination) != record.destination:
            owner = handover.owner_of(context)
            made = handover.redeliver(made, purchase, destination=self.destination, owner=owner)
            self._note(manifest=made, destination=str(self.destination))
        self.log.info("Request %s was delivered before to %s; nothing is bought", record.request_id, made["uri"])
        self._remember(purchase, context)
        self._show(context, "delivered", purchase=purchase, made=made)
        self.tell(made, context)
        return made

    @contextmanager
    def _guarded(self, context: Context) -> Iterator[None]:
        """Tell Airflow whether a retry is safe, whatever goes wrong: after a purchase only where the journal has it."""
        try:
            yield
        except GrokVideoError as error:
            raise self._ruled(error, context) from error.__cause__
        except (AirflowSkipException, AirflowFailException):
            raise
        except (AirflowTaskTimeout, Exception) as problem:
            if not self._bought:
                raise
            raise self._ruled(_unexpected(problem), context) from problem

    def _ruled(self, error: GrokVideoError, context: Context) -> GrokVideoError:
        """Return the error to raise, and show it; a moderated video may skip the task instead."""
        try:
            error = self._after_purchase(error) if self._bought else self._before_purchase(error)
        finally:
            try:
                self._show(context, None, error=error)
            except AirflowTaskTimeout:
                # What the error says of a retry must reach Airflow.
                self.log.warning("execution_timeout passed while the Video tab was brought up to date")
        return error

    def _show(self, context: Context, outcome: Shown | None, *, purchase: Purchase | None = None, **facts: Any) -> None:
        """Bring the card of this task instance up to date, for the Video tab."""
        from airflow_provider_grokvideo.tasks.cards import show

        if purchase is not None:
            bought = {
                "request": purchase.request,
                "request_id": purchase.request_id or None,
                "submitted_at": purchase.submitted_at,
                "estimated_usd": purchase.estimated_usd,
            }
            facts = {**bought, **facts}
        facts.setdefault("request", self._asked_for)
        if facts["request"] is None:
            # What could not be made into a request is shown as it was given, so that people see which one it is.
            own = [name for name in self.template_fields if name not in GrokVideoBaseOperator.template_fields]
            facts["given"] = {name: getattr(self, name, None) for name in own}
        records = self._memory.records if self._memory else ()
        show(context, outcome, made_from=self.made_from(), records=records, conn_id=self.grokvideo_conn_id, **facts)

    def _remember(self, purchase: Purchase, context: Context) -> None:
        """Keep in XCom what the resumed task, a sensor or a person needs to know."""
        if (ti := context.get("ti")) is not None:
            ti.xcom_push(key="request_id", value=purchase.request_id)
            ti.xcom_push(key="estimated_cost_usd", value=as_number(purchase.estimated_usd))
            if uri := self._upload_uri(context):
                ti.xcom_push(key="upload_uri", value=uri)

    def _estimate(self, request: VideoRequest, opened: Source) -> Estimate:
        from airflow_provider_grokvideo.core import pricing
        from airflow_provider_grokvideo.ledger import settings

        known = self.known_source()
        return pricing.estimate(
            request,
            source_seconds=opened.seconds or known.seconds,
            source_resolution=opened.resolution or known.resolution,
            prices=settings.prices(),
        )

    def _wait(self, purchase: Purchase, context: Context, started: float) -> dict[str, Any]:
        now = time.time()
        since = purchase.submitted_at or now
        deadline = self._deadline(started, since)
        self._show(context, "waiting", purchase=purchase, deadline=deadline)
        kind = None if purchase.request is None else purchase.request.kind()
        if self.deferrable:
            from airflow_provider_grokvideo.triggers.grokvideo import GrokVideoTrigger

            self.defer(
                trigger=GrokVideoTrigger(
                    request_id=purchase.request_id,
                    grokvideo_conn_id=self.grokvideo_conn_id,
                    deadline=deadline,
                    submitted_at=since,
                    not_before=now + watching.FIRST_POLL,
                    poll_interval=self.poll_interval,
                    uploads=self._upload_uri(context) is not None,
                    kind=kind,
                ),
                method_name="execute_complete",
                timeout=timedelta(seconds=deadline - now + DEFER_GRACE),
            )
        interval = self.hook.account().interval(self.poll_interval)
        watch = watching.Watch(
            request_id=purchase.request_id,
            since=since,
            deadline=deadline,
            kind=kind,
            poll_interval=interval,
            not_before=since + min(watching.FIRST_POLL, interval or watching.FIRST_POLL),
            uploads=self._upload_uri(context) is not None,
        )
        from airflow_provider_grokvideo.tasks.waiting import wait

        return self._deliver(wait(watch, self.hook.get_conn()), purchase, context)

    def _deliver(self, job: FinalJob, purchase: Purchase, context: Context) -> dict[str, Any]:
        from airflow_provider_grokvideo.tasks.books import bought

        purchase = replace(purchase, made_from=self.made_from())
        upload_uri = self._upload_uri(context)
        job = self._unless_uploaded(job, purchase, context)
        made = self._stored_before(purchase, upload_uri) if isinstance(job, Expired) else None
        if made is None:
            self.books.settled(job, bought(purchase, self._memory, self.grokvideo_conn_id))
            done = self._finished(job)
            if self.destination is not None:
                # The service may give back the address it uploaded to, whose signature is a secret.
                shown = replace(done, url=None) if upload_uri else done
                at_service = manifest(purchase, status="done", job=shown, now=time.time())
                self._show(context, "waiting", purchase=purchase, made=at_service)
            try:
                made = handover.hand_over(
                    done,
                    purchase,
                    hook=self.hook,
                    destination=self.destination,
                    owner=handover.owner_of(context),
                    upload_uri=upload_uri,
                )
            except DeliveryFailed:
                made = self._stored_before(purchase, upload_uri)
                if made is None:
                    raise
        destination = None if self.destination is None else str(self.destination)
        # The link opens the video to whoever has it, and is dead when it would be read again.
        noted = self._note(phase="delivered", manifest={**made, "url": None}, destination=destination, outcome=None)
        self._goes_on = None
        if upload_uri is not None and noted:
            # Only now: until the journal says delivered, the upload is what a retry delivers from.
            handover.discard_upload(upload_uri)
        with suppress(AirflowTaskTimeout):
            # The video is there and written down: a card that takes too long does not undo that.
            self._show(context, "delivered" if made["uri"] else "done", purchase=purchase, made=made)
        self.tell(made, context)
        return made

    def _stored_before(self, purchase: Purchase, upload_uri: str | None) -> dict[str, Any] | None:
        """Return the manifest of a delivery that the journal does not know, because its worker died after it."""
        if self.destination is None:
            return None
        made = handover.stored_before(purchase, str(self.destination), upload_uri)
        if made is not None:
            self.log.info("The video was stored at %s by an earlier try", made["uri"])
        return made

    def _unless_uploaded(self, job: FinalJob, purchase: Purchase, context: Context) -> FinalJob:
        """Return a forgotten request as done where its video is there all the same."""
        uri = self._upload_uri(context) if isinstance(job, Expired) else None
        if uri is None:
            return job
        from airflow_provider_grokvideo.delivery.uploads import arrived

        return Done(request_id=purchase.request_id) if arrived(uri) else job

    def _finished(self, job: FinalJob) -> Done:
        """Return a job that is done, or write down how it ended and raise that."""
        try:
            return handover.finished(job, self.grokvideo_conn_id)
        except VideoExpired as error:
            # Not the end of it: with the key of the right account the request may be there.
            self._note(phase="submitted", outcome="expired", note=error.what)
            raise
        except VideoFailed as error:
            end = outcome_of(error)
            self._note(phase="ended", outcome=end, note=error.what, code=error.code, cost_usd=error.cost_usd)
            raise

    def _note(self, **changes: Any) -> bool:
        return self._memory is not None and self._memory.note(**changes)

    def _opened_again(
        self, context: Context, request_id: str | None, submitted_at: float | None = None
    ) -> TaskJournal | None:
        """Open the journal of a resumed task; that it does not answer must not keep a paid video from being stored."""
        try:
            memory = open_journal(context)
        except GrokVideoError as error:
            self.log.warning("%s The task goes on without it.", error)
            # No retry can buy on this ground: it would have to read the journal first.
            self._journal_is_away = True
            return None
        if request_id is None:
            under_way = [each for each in memory.records if each.is_orphan and (each.request_id or each.has_witness)]
            if under_way and under_way[-1].request_id is None:
                memory.hold(under_way[-1])
                return memory
            request_id = self._goes_on = under_way[-1].request_id if under_way else None
        known = request_id is not None and memory.hold_request(request_id, submitted_at, self.grokvideo_conn_id)
        if not known and memory.backend is not None:
            self.log.warning("The journal does not know request %s; a retry of this task would buy again", request_id)
        return memory

    def _recall(self, key: str, context: Context) -> Any:
        """Return what this task instance pushed before it deferred."""
        ti = context.get("ti")
        return None if ti is None else ti.xcom_pull(task_ids=self.task_id, key=key, map_indexes=ti.map_index)

    def _remembered(self, event: events.Event, context: Context) -> Purchase:
        """Return what a resumed task still knows: its arguments were rendered again."""
        known = self._memory.current if self._memory else None
        usd = known.estimated_usd if known else self._recall("estimated_cost_usd", context)
        estimate = None if usd is None else Decimal(str(usd))
        try:
            request = self.build_request()
        except InvalidInput as error:
            # A template that renders differently now must not keep a paid video from its destination.
            self.log.warning("Cannot rebuild the request for the sidecar: %s", error.what)
            return Purchase(event.request_id, event.submitted_at, None, estimate)
        if known is not None and known.asked not in (request.fingerprint(), journal.ANY_INPUTS):
            self.log.warning("The arguments have changed since this video was bought; the sidecar leaves them out")
            return Purchase(event.request_id, event.submitted_at, None, estimate)
        return Purchase(event.request_id, event.submitted_at, request, estimate)

    def _patience(self) -> float:
        return self.timeout.total_seconds() if isinstance(self.timeout, timedelta) else float(self.timeout)

    def _deadline(self, started: float, since: float) -> float:
        """Return when to give up: `timeout` counts from the submit, Airflow's execution_timeout from the start."""
        deadline = since + self._patience()
        if self.execution_timeout is None:
            return deadline
        return min(deadline, started + self.execution_timeout.total_seconds())

    def _check_words(self) -> None:
        """Check the words about waiting and money; the request checks its own."""
        choices = {
            "on_moderated": ("fail", "skip"),
            "deliver_via": ("download", "upload"),
            "on_limit": ("fail", "skip", "ask"),
        }
        for field, allowed in choices.items():
            if not isinstance(getattr(self, field), str) or getattr(self, field) not in allowed:
                raise InvalidInput(field, getattr(self, field), f"one of {', '.join(allowed)}")
        again = self.resubmit_on
        listed = isinstance(again, Collection) and not isinstance(again, str | bytes | Mapping)
        if not listed or not all(each in journal.RESUBMIT_ON for each in again):
            raise InvalidInput("resubmit_on", again, f"a list of {', '.join(journal.RESUBMIT_ON)}, or an empty one")
        watching.checked_timeout(self.timeout)
        for flag in ("deferrable", "wait_for_completion"):
            if not isinstance(getattr(self, flag), bool):
                raise InvalidInput(flag, getattr(self, flag), "True or False")
        asking.check(self.response_timeout, self.assigned_users)
        watching.checked_interval(self.poll_interval)
        if self.destination is not None:
            _check_destination(self.destination)
        if self.deliver_via == "upload" and (self.destination is None or not self.wait_for_completion):
            raise InvalidInput("deliver_via", "upload", "used with a destination, by a task that waits")
        check_conn_id(self.grokvideo_conn_id)

    def _before_purchase(self, error: GrokVideoError) -> GrokVideoError:
        error.about(conn_id=self.grokvideo_conn_id)
        error = handover.skip_if_wanted(error, self.on_moderated)
        if not isinstance(error, AmbiguousSubmit):
            for record in self._memory.records if self._memory else ():
                if record.is_orphan and record.request_id:
                    # Whatever keeps this try from its inputs must not hide the video of an earlier one.
                    error.what_to_do = f"{error.what_to_do} {failing.left_behind(record)}".lstrip()
            return failing.for_airflow(error)
        if "unconfirmed" in self.resubmit_on:
            error.what_to_do = "resubmit_on has 'unconfirmed': a retry of this task submits again."
            error.resubmits = True
            return error
        if self._memory is None or self._memory.backend is None or self._memory.current is None:
            return failing.final(error)
        return failing.unconfirmed(error, self._memory.current)

    def _after_purchase(self, error: GrokVideoError) -> GrokVideoError:
        error.about(request_id=self._goes_on, conn_id=self.grokvideo_conn_id)
        error = handover.skip_if_wanted(error, self.on_moderated)
        if self._memory is not None and self._goes_on is not None:
            self._memory.keep_id(self._goes_on)
        if not self._journal_is_away and (self._memory is None or not self._memory.remembers):
            return failing.final_after_purchase(error)
        if (end := outcome_of(error)) in self.resubmit_on:
            error.what_to_do = f"resubmit_on has {end!r}: a retry of this task submits again."
            error.resubmits = True
            return error
        return failing.after_purchase(error)


_UNKNOWN = "unknown"


def _check_destination(value: object) -> None:
    """Check what a template may have made of a destination; where it leads is checked before the purchase."""
    if not isinstance(value, str | PathLike) and not hasattr(value, "protocol"):
        raise InvalidInput("destination", value, "a path or URL")
    text = str(value).strip()
    if text in ("", "None") or is_rendered_data(text):
        raise InvalidInput(
            "destination", text[:100], "a path or URL; a template may have rendered to nothing or to data"
        )


def _unexpected(problem: BaseException) -> GrokVideoError:
    if isinstance(problem, AirflowTaskTimeout):
        return WaitTimeout(f"execution_timeout passed ({problem})")
    return GrokVideoError(f"{type(problem).__name__} after the purchase: {problem}")
