"""One paid run: find what was bought, or check, price, reserve, submit; then wait, deliver, book.

:class:`PaidRun` knows no Airflow. What it needs is handed in (:class:`Services`), and what its carrier has to do comes
back as a value (:data:`Next`): wait for a request, run again later, ask for an approval, skip, finish. What goes wrong
is a :class:`~airflow_provider_grokvideo.core.errors.GrokVideoError` that says whether a retry is safe.

The order of the steps around the submit is what keeps a request from being paid twice; see :meth:`PaidRun._buy`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

from typing_extensions import assert_never

from airflow_provider_grokvideo.client import flow
from airflow_provider_grokvideo.core import events, files, pricing, requests, watching
from airflow_provider_grokvideo.core import journal as purchases
from airflow_provider_grokvideo.core.errors import (
    AmbiguousSubmit,
    DeliveryFailed,
    GrokVideoError,
    InvalidInput,
    SpendLimitExceeded,
    VideoExpired,
    VideoFailed,
    VideoModerated,
    WaitTimeout,
)
from airflow_provider_grokvideo.core.jobs import Done, Expired, FinalJob
from airflow_provider_grokvideo.execution import advice, approval, handover, inputs, ledger, wait
from airflow_provider_grokvideo.execution.journal import TaskJournal, outcome_of
from airflow_provider_grokvideo.execution.manifest import Manifest, Source, as_number, as_time, manifest

if TYPE_CHECKING:
    from airflow_provider_grokvideo.core.cards import Outcome as Shown
    from airflow_provider_grokvideo.core.journal import Owner, Record
    from airflow_provider_grokvideo.core.pricing import Estimate
    from airflow_provider_grokvideo.core.requests import VideoRequest
    from airflow_provider_grokvideo.core.spending import Entry
    from airflow_provider_grokvideo.execution.options import RunOptions
    from airflow_provider_grokvideo.hooks.grokvideo import GrokVideoHook

BETWEEN_WITNESS_CHECKS = 60.0
"""Seconds between two checks for what an unconfirmed submission uploaded or stored; each costs a short worker run."""

SHORTEST_SIGNATURE = 3600.0
"""Seconds that an upload address lasts at least: a request may run long after the task stopped waiting."""

UNKNOWN_PRICE = "unknown"
"""Stands in XCom for the price of a question whose price is not known."""

log = logging.getLogger(__name__)


class Order(Protocol):
    """What is asked for."""

    def build_request(self) -> VideoRequest:
        """Return the request; raises :class:`InvalidInput` where an argument is wrong."""

    def known_source(self) -> Source:
        """Return what is known about the clip that is edited or extended."""

    def made_from(self) -> tuple[str, Any] | None:
        """Return the argument that holds the clip or image that the video starts from, and its value."""


class Host(Protocol):
    """Where a run is carried out."""

    @property
    def interruptions(self) -> tuple[type[BaseException], ...]:
        """What may end a step besides the death of the process; more than ``Exception`` in Airflow."""

    @property
    def owner(self) -> Owner:
        """Whose purchases these are."""

    def keep(self, key: str, value: Any) -> None:
        """Keep a value for a later leg of this try and for people."""

    def recall(self, key: str) -> Any:
        """Return a value that was kept; None without one."""

    def show(
        self,
        outcome: Shown | None,
        *,
        request: VideoRequest | None = None,
        record: Record | None = None,
        error: GrokVideoError | None = None,
        **facts: Any,
    ) -> None:
        """Show how far the run is; never fails."""


@dataclass(frozen=True)
class Services:
    """What a run works with.

    Attributes:
        host: Where it is carried out.
        hook: The API with the key of the run's connection.
        open_journal: Opens the journal; called once, in the first step that needs it.
        ledger: The ledger.
        clock: Epoch seconds now.
    """

    host: Host
    hook: GrokVideoHook
    open_journal: Callable[[], TaskJournal]
    ledger: ledger.TaskLedger = field(default_factory=ledger.TaskLedger)
    clock: Callable[[], float] = time.time


@dataclass(frozen=True)
class State:
    """How far a run is; replaced as a whole.

    Attributes:
        phase: ``checking``: this run has bought nothing and found nothing that is under way. ``paid``: a request is
            running or finished at xAI, so an error must lead back to it. ``delivered``: its video is stored and the
            journal says so.
        request_id: The request, once it is known.
        request: What was asked for, once it is known.
        journal: The journal, once it is open.
        allowed: The approval of a purchase above its limits, once there is one.
    """

    phase: Literal["checking", "paid", "delivered"] = "checking"
    request_id: str | None = None
    request: VideoRequest | None = None
    journal: TaskJournal | None = None
    allowed: ledger.Approval | None = None

    @property
    def is_paid(self) -> bool:
        """Whether an error comes after a purchase."""
        return self.phase != "checking"

    @property
    def under_way(self) -> str | None:
        """The request that a kill of the task would leave running."""
        return self.request_id if self.phase == "paid" else None


@dataclass(frozen=True)
class Finished:
    """Hand the manifest on."""

    manifest: Manifest


@dataclass(frozen=True)
class WaitFor:
    """Wait for a request: in a trigger, then call :meth:`PaidRun.complete` with its event; or :meth:`PaidRun.wait`."""

    request_id: str
    since: float
    deadline: float
    kind: str | None
    uploads: bool


@dataclass(frozen=True)
class RunAgain:
    """Call :meth:`PaidRun.run` again at `at`, in epoch seconds."""

    at: float


@dataclass(frozen=True)
class AskApproval:
    """Ask whether a purchase may exceed its limits, then run again with the approval."""

    subject: str
    body: str


@dataclass(frozen=True)
class SkipTask:
    """Do nothing more, and say why."""

    why: str


Next = Finished | WaitFor | RunAgain | AskApproval | SkipTask


class PaidRun:
    """The life of one purchase, in as many legs as waiting takes; each leg is a new object over the same journal.

    Args:
        order: What is asked for.
        options: How.
        services: With what.
        known_as: Stands for the request in the journal instead of its fingerprint, where equal requests are not the
            same purchase.
    """

    def __init__(
        self,
        order: Order,
        options: RunOptions,
        services: Services,
        *,
        known_as: str | None = None,
    ) -> None:
        self.order = order
        self.options = options
        self.host = services.host
        self.hook = services.hook
        self.ledger = services.ledger
        self.state = State()
        self._open_journal = services.open_journal
        self._now = services.clock
        self._known_as = known_as
        self._started = services.clock()

    # The legs

    def run(self) -> Next:
        """Find what was bought, else buy; deliver what is finished."""
        return self._guarded(self._run)

    def buy(self) -> Next:
        """Buy, whatever was bought before: the caller has decided that."""
        return self._guarded(self._buy_anew)

    def attach(self, record: Record, request: VideoRequest | None) -> Next:
        """Resume the request of an earlier try."""
        return self._guarded(lambda: self._attach(record, request))

    def settle_unconfirmed(self, record: Record, request: VideoRequest | None) -> Next:
        """Deliver what xAI uploaded or stored for an unconfirmed submission; else stop."""
        return self._guarded(lambda: self._stop_or_find(record, request))

    def complete(self, event: object) -> Next:
        """Deliver what the trigger has seen settled, with a fresh link and the final cost."""
        self._move("paid")
        return self._guarded(lambda: self._complete(event))

    def wait(self, watch: watching.Watch) -> Next:
        """Wait for the request in this process, then deliver it."""
        return self._guarded(lambda: self._deliver(wait.wait(watch, self.hook.get_conn())))

    def respond(self, event: object) -> Next:
        """Submit what was approved, if it is still what the question showed; else skip."""
        return self._guarded(lambda: self._respond(event))

    def lost(self, problem: object) -> Next:
        """Say what became of a wait whose trigger was lost or never ran: it ended, the video did not fail."""
        # Until the opposite is known, what was waited for is a video that is paid for.
        self._move("paid")
        return self._guarded(lambda: self._lost(problem))

    def _respond(self, event: object) -> Next:
        buy, by = approval.answered(event)
        if not buy:
            refusal = f"{by} refused the purchase"
            self.host.show(None, error=SpendLimitExceeded(refusal, advice=""))
            return SkipTask(refusal)
        usd, shown = self.host.recall("asked_usd"), self.host.recall("asked_for")
        conn_id, fingerprint = shown if isinstance(shown, list | tuple) and len(shown) == 2 else (None, None)
        amount = None if usd in (None, UNKNOWN_PRICE) else Decimal(str(usd))
        self.state = replace(self.state, allowed=ledger.Approval(amount, by, conn_id, fingerprint))
        # From here on a lost trigger is no lost question.
        self.host.keep("asked_usd", None)
        log.info("%s approved the purchase", by)
        return self._run()

    # Find

    @property
    def journal(self) -> TaskJournal:
        """The journal, opened when it is first needed.

        Before a purchase one that does not answer ends the run. After it the run continues without: a paid video is
        stored, and no retry can submit on this ground, because it would have to read the journal first.
        """
        if self.state.journal is None:
            try:
                opened = self._open_journal()
            except GrokVideoError as error:
                if not self.state.is_paid:
                    raise
                log.warning("%s The task continues without it.", error)
                opened = TaskJournal(None, self.host.owner, away=True)
            self.state = replace(self.state, journal=opened)
            return opened
        return self.state.journal

    def _run(self) -> Next:
        self.options.check()
        if self.journal.records or (self.journal.try_number or 1) > 1:
            self.ledger.follow(self.journal)
        with ExitStack() as stack:
            found = self._read(stack)
            if seen := self._find_witness(self.journal.last(found.fingerprint)):
                return seen
            step = self._next_step(found)
            if isinstance(step, purchases.Submit):
                return self._buy(found)
        match step:
            case purchases.Attach(record):
                return self._attach(record, found.request)
            case purchases.Reuse(record):
                return self._reuse(record, found.request)
            case purchases.Ambiguous(record):
                self.journal.hold(record)
                raise AmbiguousSubmit(advice.submission(record), client_id=record.token)
            case purchases.Report(record):
                self._hold(record)
                raise handover.reported(record)
            case _:
                assert_never(step)

    def _read(self, stack: ExitStack) -> inputs.Inputs:
        """Build the request and read its inputs; `stack` closes them."""
        request = self.order.build_request()
        self.state = replace(self.state, request=request)
        found = inputs.read(request, self.hook, self.journal, stack)
        return found if self._known_as is None else replace(found, fingerprint=self._known_as)

    def _next_step(self, found: inputs.Inputs) -> purchases.Step:
        policy = purchases.Policy(tuple(self.options.resubmit_on), self.journal.tries)  # type: ignore[arg-type]
        known = self.journal.last(found.fingerprint)
        if known is None and (known := self.journal.of_another_index(found.fingerprint)):
            log.info("The mapped list may have changed: another map index bought these inputs")
        return purchases.next_step(known, found.fingerprint, policy)

    # Check, price, reserve, submit

    def _buy_anew(self) -> Next:
        with ExitStack() as stack:
            return self._buy(self._read(stack))

    def _buy(self, found: inputs.Inputs) -> Next:
        """Check what is free to check, reserve, write the intent, submit, write the id, book.

        Each step stands before the next one because the process may die between any two of them:

        - the reservation before the intent: a purchase that a budget does not allow must leave no intent;
        - the intent before the POST: a retry must know that something may have been sent;
        - the id right after the POST: it is the only way to a video that is paid;
        - the ledger last: the journal can restore it, and nothing restores the journal.
        """
        opened = self._checked(found)
        estimate = self.estimate(found.request, opened.source)
        entry = ledger.about_to_buy(found.request, estimate, self.journal, self.conn_id, self._approval(found))
        if stop := self._reserve(entry, estimate, found):
            return stop
        ready = self._intend(found, opened, entry, estimate)
        try:
            self._submit(ready, entry)
        except AmbiguousSubmit:
            if seen := self._find_witness(self.journal.current):
                return seen
            raise
        return self._wait(found.request)

    def _checked(self, found: inputs.Inputs) -> inputs.Opened:
        """Refuse what can be seen to fail after it is paid; everything here is free."""
        if found.opened is None:
            raise cast("GrokVideoError", found.problem)
        for warning in found.request.warnings():
            log.warning("%s", warning)
        requests.check_source(found.request, self.order.known_source().seconds)
        account, place = self.hook.account(), self.options.place
        if place is not None and self.options.wait_for_completion:
            from airflow_provider_grokvideo.delivery.destination import check_writable

            check_writable(place, inputs=self._files_read(found.request))
            if self.options.deliver_via == "download":
                from airflow_provider_grokvideo.delivery.download import check_reachable

                check_reachable(account.base_url, account.download_hosts)
        return found.opened

    def estimate(self, request: VideoRequest, source: Source) -> Estimate:
        """Return what a request will cost."""
        known = self.order.known_source()
        return pricing.estimate(
            request,
            source_seconds=source.seconds or known.seconds,
            source_resolution=source.resolution or known.resolution,
            prices=self.ledger.prices(),
        )

    def _reserve(self, entry: Entry, estimate: Estimate, found: inputs.Inputs) -> Next | None:
        """Reserve the price; where a limit does not allow it, return what the author wants then."""
        try:
            self.ledger.reserve(
                entry,
                estimate,
                limit=self.options.max_cost_usd,
                budgets=self.ledger.budgets(self.hook.account(), self.conn_id, self.options.budgets),
                approval=self._approval(found),
            )
        except SpendLimitExceeded as error:
            if self.options.on_limit == "skip":
                self.host.show(None, request=found.request, error=error)
                return SkipTask(str(error.about(conn_id=self.conn_id)))
            if self.options.on_limit != "ask":
                raise
            if (given := self.state.allowed) is not None:
                # Airflow shows a try's first question only, so another one cannot be asked in this try.
                error.what += f"; {given.by} approved {given.difference(entry, found.fingerprint)}"
                error.what_to_do = "Nothing was submitted. Clear the task to be asked again."
                raise
            self.host.keep("asked_usd", UNKNOWN_PRICE if estimate.usd is None else str(estimate.usd))
            self.host.keep("asked_for", [self.conn_id, found.fingerprint])
            self.host.show("asking", request=found.request, estimated_usd=estimate.usd)
            return AskApproval(*approval.question(found.request, estimate, error.why, self.conn_id))
        return None

    def _intend(self, found: inputs.Inputs, opened: inputs.Opened, entry: Entry, estimate: Estimate) -> VideoRequest:
        """Upload the inputs and write the intent; return the request as it is sent. Undone where it is interrupted."""
        try:
            ready, witness = self._ready(opened, found.fingerprint, entry.token)
            for record in purchases.left_behind(self.journal.records, found.fingerprint):
                log.warning("%s", advice.left_behind(record))
            if self.journal.backend is None:
                log.warning("%s", advice.NO_JOURNAL)
            request = found.request
            log.info("Submitting %s with %s; estimated cost %s", request.mode, request.model, estimate.explained())
            self.journal.intend(
                request,
                found.fingerprint,
                found.asked,
                token=entry.token,
                conn_id=self.conn_id,
                estimated_usd=None if estimate.usd is None else str(estimate.usd),
                destination=self.options.place,
                waits_elsewhere=not self.options.wait_for_completion,
                **witness,
            )
            # Before the submit, so that the Video tab knows of it if the worker dies in the middle of it.
            self.host.show("submitting", request=request, estimated_usd=estimate.usd)
        except BaseException as problem:
            if isinstance(problem, self.host.interruptions):
                self.journal.take_back(entry.token)
            self.ledger.released(entry)
            raise
        return ready

    def _ready(self, opened: inputs.Opened, fingerprint: str, token: str) -> tuple[VideoRequest, dict[str, str]]:
        """Return the request as it can be sent, and what the journal notes of where its video can be found."""
        ready = opened.request()
        if self.options.deliver_via == "upload":
            from airflow_provider_grokvideo.delivery import uploads

            of_purchase = purchases.upload_token(self.journal.owner, fingerprint, len(self.journal.records) + 1)
            upload_uri = uploads.upload_uri(str(self.options.place), of_purchase)
            address = uploads.signed(upload_uri, max(2 * self.options.patience, SHORTEST_SIGNATURE))
            return ready.model_copy(update={"output": {"upload_url": address}}), {"upload_uri": upload_uri}
        options = files.stored_as(ready.storage_options, token, wanted=self.hook.account().witness)
        if options is None:
            return ready, {}
        return ready.model_copy(update={"storage_options": options}), {"stored_as": options["filename"]}

    def _submit(self, request: VideoRequest, entry: Entry) -> None:
        """Submit and write the id down, whatever interrupts that.

        What interrupts the submit itself, ``execution_timeout`` included, leaves it unconfirmed.
        """
        try:
            self._move("paid", self.hook.submit(request, client_id=entry.token))
            # The log is the last place that knows the id if this process dies before the next line.
            log.info("Request %s was accepted by xAI; it will be billed", self.state.request_id)
            self._note_id()
        except AmbiguousSubmit as error:
            self.journal.note(note=error.what)
            self.ledger.unconfirmed(entry)
            raise
        except GrokVideoError as error:
            self.journal.note(phase="withdrawn", note=error.what, cost_usd=getattr(error, "cost_usd", None))
            self.ledger.released(entry, error)
            raise
        except self.host.interruptions as problem:
            if self.state.is_paid:
                self._note_id()
                self.ledger.accepted(entry, cast("str", self.state.request_id))
                raise
            what = f"the submit was interrupted ({type(problem).__name__}: {problem})"
            if not self.hook.may_have_bought:
                # No byte of it had reached a socket, so a retry is free.
                self.journal.note(phase="withdrawn", note=what)
                self.ledger.released(entry)
                raise
            self.journal.note(note=what)
            self.ledger.unconfirmed(entry)
            raise AmbiguousSubmit(what, client_id=entry.token) from problem
        self.ledger.accepted(entry, cast("str", self.state.request_id))

    def _note_id(self) -> None:
        self.journal.note(phase="submitted", request_id=self.state.request_id, submitted_at=self._now())

    # A submission whose answer was lost

    def _stop_or_find(self, record: Record, request: VideoRequest | None) -> Next:
        self.journal.hold(record)
        self.state = replace(self.state, request=request)
        if seen := self._find_witness(record):
            return seen
        raise AmbiguousSubmit(advice.submission(record), client_id=record.token)

    def _find_witness(self, record: Record | None) -> Next | None:
        """Deliver what xAI uploaded or stored for a submission whose answer was lost, or wait for it.

        It is looked for within the timeout, and once in each later try. Returns None where nothing can prove that the
        request was accepted, or nothing came.
        """
        if record is None or record.phase != "intent" or not record.has_witness:
            return None
        if record.upload_uri is None and not self.options.wait_for_completion:
            return None
        where, until = record.upload_uri or f"file {record.stored_as}", record.intended_at + self.options.patience
        self.journal.hold(record)
        if (job := self._witnessed(record)) is not None:
            log.info("The submission was accepted: its video was found as %s", where)
            self._move("paid")
            return self._deliver(job)
        now = self._now()
        if now >= until:
            self.journal.note(note=f"its video was not found as {where} by {as_time(now)}")
            return None
        if self.options.deferrable and self.journal.backend is None:
            # A resumed task would know nothing of this submission, and send another.
            return None
        log.info("The answer to the submission was lost; looking for %s until %s", where, as_time(until))
        self.host.show("waiting", request=self.state.request, submitted_at=record.intended_at, deadline=until)
        return RunAgain(min(now + BETWEEN_WITNESS_CHECKS, until))

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
            log.warning("Could not look for the stored file %s: %s", record.stored_as, error.what)
            return None
        return None if found is None else Done(request_id="", file=replace(found, filename=record.stored_as))

    # Wait

    def _wait(self, request: VideoRequest | None) -> Next:
        """Return what there is to wait for, or hand the request on to whoever does."""
        record = self._remember()
        if not self.options.wait_for_completion:
            return self._handed_on(request)
        since = record.submitted_at or self._now()
        deadline = self.options.deadline(self._started, since)
        self.host.show("waiting", request=request, record=record, deadline=deadline)
        kind = None if request is None else request.kind()
        return WaitFor(cast("str", record.request_id), since, deadline, kind, self._upload_uri() is not None)

    def _handed_on(self, request: VideoRequest | None) -> Next:
        """Hand on a request that another task waits for."""
        record = self._bought
        made = manifest(record, request, status="submitted")
        self.journal.note(manifest=made)
        self.host.show("submitted", request=request, record=record, made=made)
        return Finished(made)

    def _attach(self, record: Record, request: VideoRequest | None) -> Next:
        """Resume a request that an earlier try submitted; what is finished is delivered without deferring."""
        self._hold(record, request)
        log.info(
            "Resuming request %s (submitted %s by try %s); no new charge",
            record.request_id, as_time(record.submitted_at), record.try_number,
        )  # fmt: skip
        self._remember()
        if not self.options.wait_for_completion:
            return self._handed_on(request)
        now = self._now()
        since = now if record.submitted_at is None else record.submitted_at
        request_id, uploads = cast("str", record.request_id), record.upload_uri is not None
        watch = watching.Watch(request_id, since=since, deadline=self.options.deadline(self._started, since))
        seen = self.hook.get_conn().run(flow.poll(request_id, uploads=uploads))
        verdict = watching.poll(watch, seen, now)
        if isinstance(verdict, watching.Abandoned):
            raise verdict.error
        return self._deliver(verdict.job) if isinstance(verdict, watching.Settled) else self._wait(request)

    def _complete(self, event: object) -> Next:
        settled = events.parse(event)
        self._move("paid", settled.request_id)
        self._hold_again(settled.request_id, settled.submitted_at)
        if error := settled.as_error(self.conn_id):
            raise error
        self.state = replace(self.state, request=self._rebuilt())
        uploads = self._upload_uri() is not None
        return self._deliver(wait.poll_once_more(settled.request_id, settled.submitted_at, self.hook, uploads=uploads))

    def _lost(self, problem: object) -> Next:
        request_id = self.host.recall("request_id")
        if request_id is None and self.host.recall("asked_usd") is not None:
            self._move("checking")
            what = f"the triggerer stopped waiting for the response about the price ({problem})"
            raise GrokVideoError(what, advice="Nothing was submitted. A retry or clear asks again.")
        self._move("paid", request_id)
        self._hold_again(request_id)
        record = self.journal.current
        if self.state.request_id is None and record is not None and record.phase == "intent":
            what = f"the triggerer stopped waiting for the video of an unconfirmed submission ({problem})"
            raise GrokVideoError(what, advice="xAI may have accepted and billed it.")
        raise WaitTimeout(f"the triggerer did not report on the request ({problem})")

    def _hold_again(self, request_id: str | None, submitted_at: float | None = None) -> None:
        """Find the purchase that a resumed leg is about; what the journal does not hold comes from XCom."""
        held = self.journal
        if request_id is None:
            under_way = [each for each in held.records if each.is_orphan and (each.request_id or each.has_witness)]
            if under_way and under_way[-1].request_id is None:
                held.hold(under_way[-1])
                return
            request_id = under_way[-1].request_id if under_way else None
            self._move("paid", request_id)
        known = request_id is not None and held.hold_request(request_id, submitted_at, self.conn_id)
        if not known and held.backend is not None:
            log.warning("The journal does not hold request %s; a retry of this task would submit again", request_id)
        if not known:
            usd = self.host.recall("estimated_cost_usd")
            held.hold_unknown(request_id, submitted_at, self.conn_id, None if usd is None else str(usd))

    def _rebuilt(self) -> VideoRequest | None:
        """Return the request of a resumed leg, whose arguments were rendered again; None where it is another one."""
        record = self._bought
        try:
            request = self.order.build_request()
        except InvalidInput as error:
            # A template that renders differently now must not keep a paid video from its destination.
            log.warning("Cannot rebuild the request for the sidecar: %s", error.what)
            return None
        if record.asked not in (request.fingerprint(), purchases.ANY_INPUTS):
            log.warning("The arguments have changed since the submit; the sidecar leaves them out")
            return None
        return request

    # Deliver

    def _deliver(self, job: FinalJob) -> Next:
        record, request, place = self._bought, self.state.request, self.options.place
        upload_uri = self._upload_uri()
        job = self._unless_uploaded(job, record)
        made = self._stored_before(record, request) if isinstance(job, Expired) else None
        if made is None:
            self.ledger.settled(job, record)
            done = self._finished(job)
            if place is not None:
                # xAI may give back the address it uploaded to, whose signature is a secret.
                shown = replace(done, url=None) if upload_uri else done
                at_service = manifest(record, request, status="done", job=shown, now=self._now())
                self.host.show("waiting", request=request, record=record, made=at_service)
            made = self._handed_over(done, record, request)
        # The link opens the video to whoever has it, and is dead when it would be read again.
        noted = self.journal.note(phase="delivered", manifest={**made, "url": None}, destination=place, outcome=None)
        self._move("delivered", record.request_id)
        if upload_uri is not None and noted:
            # Only now: until the journal says delivered, the upload is what a retry delivers from.
            handover.discard_upload(upload_uri)
        with suppress(*(kind for kind in self.host.interruptions if kind is not Exception)):
            # The video is stored and the journal says so: a card that takes too long does not undo that.
            self.host.show("delivered" if made["uri"] else "done", request=request, record=record, made=made)
        return Finished(made)

    def _handed_over(self, done: Done, record: Record, request: VideoRequest | None) -> Manifest:
        try:
            return handover.hand_over(
                done,
                record,
                request,
                hook=self.hook,
                destination=self.options.place,
                owner=self.host.owner,
                made_from=self.order.made_from(),
                upload_uri=self._upload_uri(),
            )
        except DeliveryFailed:
            made = self._stored_before(record, request)
            if made is None:
                raise
            return made

    def _stored_before(self, record: Record, request: VideoRequest | None) -> Manifest | None:
        """Return the manifest of a delivery that the journal does not know, because its worker died after it."""
        if self.options.place is None:
            return None
        made = handover.stored_before(record, request, self.options.place, self._upload_uri())
        if made is not None:
            log.info("The video was stored at %s by an earlier try", made["uri"])
        return made

    def _unless_uploaded(self, job: FinalJob, record: Record) -> FinalJob:
        """Return a forgotten request as done where its video was uploaded all the same."""
        uri = self._upload_uri() if isinstance(job, Expired) else None
        if uri is None:
            return job
        from airflow_provider_grokvideo.delivery.uploads import arrived

        return Done(request_id=record.request_id or "") if arrived(uri) else job

    def _finished(self, job: FinalJob) -> Done:
        """Return a job that is done, or write down how it ended and raise that."""
        try:
            return handover.finished(job, self.conn_id)
        except VideoExpired as error:
            # Not the end of it: with the key of the right account the request may be there.
            self.journal.note(phase="submitted", outcome="expired", note=error.what)
            raise
        except VideoFailed as error:
            end = outcome_of(error)
            self.journal.note(phase="ended", outcome=end, note=error.what, code=error.code, cost_usd=error.cost_usd)
            raise

    def _reuse(self, record: Record, request: VideoRequest) -> Next:
        """Return the manifest of what was delivered before, if the file is still there; else fetch it again."""
        from airflow_provider_grokvideo.delivery.store import still_there

        self._hold(record, request)
        made = cast("Manifest", {**(record.manifest or {}), "reused": True})
        uri = made.get("uri")
        if not uri or not still_there(uri, made.get("bytes")):
            return self._again(record, request, uri)
        if self.options.place is not None and self.options.place != record.destination:
            asked = handover.described(request, self.order.made_from())
            made = handover.redeliver(made, asked, destination=self.options.place, owner=self.host.owner)
            self.journal.note(manifest=made, destination=self.options.place)
        log.info("Request %s was delivered before to %s; no new charge", record.request_id, made["uri"])
        self._remember()
        self.host.show("delivered", request=request, record=record, made=made)
        return Finished(made)

    def _again(self, record: Record, request: VideoRequest, uri: str | None) -> Next:
        """Fetch a delivered video again, whose file is gone or was never kept."""
        if record.request_id is None:
            job = self._witnessed(record)
            if job is None:
                raise VideoExpired(f"{uri or 'the video'} is gone, and its request id was never known")
            found = self._deliver(job)
        else:
            if uri:
                log.warning("%s is not there any more, or not as it was; fetching it again", uri)
            found = self._attach(record, request)
        if isinstance(found, Finished):
            return Finished(cast("Manifest", {**found.manifest, "reused": True}))
        return found

    # What every step uses

    @property
    def conn_id(self) -> str:
        """The connection that pays."""
        return self.options.grokvideo_conn_id

    @property
    def _bought(self) -> Record:
        """The purchase that this run is about."""
        return cast("Record", self.journal.current)

    def _move(self, phase: Literal["checking", "paid", "delivered"], request_id: str | None = None) -> None:
        self.state = replace(self.state, phase=phase, request_id=request_id)

    def _hold(self, record: Record, request: VideoRequest | None = None) -> None:
        """Make the purchase of an earlier try the one this run is about."""
        self._move("paid", record.request_id)
        self.state = replace(self.state, request=request or self.state.request)
        self.journal.hold(record)

    def _remember(self) -> Record:
        """Keep what a resumed leg, a sensor or a reader of XCom needs to know; return the purchase."""
        record = self._bought
        self.host.keep("request_id", record.request_id)
        self.host.keep("estimated_cost_usd", as_number(record.estimate))
        if uri := self._upload_uri():
            self.host.keep("upload_uri", uri)
        return record

    def _upload_uri(self) -> str | None:
        """Return where xAI uploads to, even where a resumed leg cannot read its journal."""
        record = self.journal.current
        if record is not None and record.number != purchases.NOT_WRITTEN:
            return record.upload_uri
        uri = self.host.recall("upload_uri") if self.options.deliver_via == "upload" else None
        return str(uri) if uri else None

    def _files_read(self, request: VideoRequest) -> list[str]:
        """Return the paths and URIs of what the video is made from; a manifest names its file beside its link."""
        given = self.order.made_from()
        source = given[1] if given else None
        stored = [str(source["uri"])] if isinstance(source, Mapping) and source.get("uri") else []
        return [*stored, *(media.path for _, media in request.media() if media.path is not None)]

    def _approval(self, found: inputs.Inputs) -> ledger.Approval | None:
        """Return the approval if it is for these inputs and this connection; a yes is for what was seen."""
        given = self.state.allowed
        return given if given and given.is_for(self.conn_id, found.fingerprint) else None

    # Errors

    def _guarded(self, leg: Callable[[], Next]) -> Next:
        """Say whether a retry is safe, whatever goes wrong: after a purchase only where the journal has it."""
        try:
            return leg()
        except GrokVideoError as error:
            return self._ruled(error, error.__cause__)
        except self.host.interruptions as problem:
            if not self.state.is_paid:
                raise
            return self._ruled(_unexpected(problem), problem)

    def _ruled(self, error: GrokVideoError, cause: BaseException | None) -> Next:
        """Raise the error with its advice, and show it; a moderated video may skip the task instead."""
        error.about(request_id=self.state.under_way, conn_id=self.conn_id)
        skips = isinstance(error, VideoModerated) and self.options.on_moderated == "skip"
        try:
            if not skips:
                error = self._after_purchase(error) if self.state.is_paid else self._before_purchase(error)
        finally:
            records = self.state.journal.records if self.state.journal else ()
            try:
                self.host.show(None, request=self.state.request, error=error, records=records)
            except self.host.interruptions:
                # What the error says of a retry must reach Airflow.
                log.warning("execution_timeout passed while updating the Video tab")
        if skips:
            return SkipTask(str(error))
        raise error from cause

    def _before_purchase(self, error: GrokVideoError) -> GrokVideoError:
        held = self.state.journal
        if not isinstance(error, AmbiguousSubmit):
            return advice.before_purchase(error, held.records if held else ())
        if "unconfirmed" in self.options.resubmit_on:
            return _resubmits(error, "unconfirmed")
        return advice.unconfirmed(error, self.journal)

    def _after_purchase(self, error: GrokVideoError) -> GrokVideoError:
        if (request_id := self.state.under_way) is not None and self.state.journal is not None:
            self.journal.keep_id(request_id)
        retry_resumes = self.journal.lets_retry
        if retry_resumes and (end := outcome_of(error)) is not None and end in self.options.resubmit_on:
            return _resubmits(error, end)
        return advice.after_purchase(error, retry_resumes=retry_resumes)


def _resubmits(error: GrokVideoError, end: str) -> GrokVideoError:
    error.what_to_do = f"resubmit_on has {end!r}: a retry of this task submits again."
    error.resubmits = True
    return error


def _unexpected(problem: BaseException) -> GrokVideoError:
    if not isinstance(problem, Exception):
        return WaitTimeout(f"execution_timeout passed ({problem})")
    return GrokVideoError(f"{type(problem).__name__} after the purchase: {problem}")
