"""One paid run: find what was bought, or check, price, reserve, submit; then wait, deliver, book.

:class:`PaidRun` knows no Airflow. What it needs is handed in (:class:`Services`), and what its carrier has to do comes
back as a value (:data:`Next`): wait for a request, run again later, ask for an approval, skip, finish. What goes wrong
is a :class:`~airflow_provider_grokvideo.core.errors.GrokVideoError` that says whether a retry is safe.

The order of the steps around the submit is what keeps a request from being paid twice; see :meth:`PaidRun._buy`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, cast

from typing_extensions import assert_never

from airflow_provider_grokvideo.core.errors import (
    AmbiguousSubmit,
    GrokVideoError,
    SpendLimitExceeded,
)
from airflow_provider_grokvideo.core.purchases import records as purchases
from airflow_provider_grokvideo.execution import advice, approval, handover, inputs, ledger, prepare
from airflow_provider_grokvideo.execution.manifest import Source
from airflow_provider_grokvideo.execution.ports import (
    AskApproval,
    Next,
    SkipTask,
)
from airflow_provider_grokvideo.execution.purchased import PurchasedRun

if TYPE_CHECKING:
    from airflow_provider_grokvideo.core.billing.budgets import Budget
    from airflow_provider_grokvideo.core.billing.entries import Entry
    from airflow_provider_grokvideo.core.billing.pricing import Estimate
    from airflow_provider_grokvideo.core.requests import VideoRequest

log = logging.getLogger(__name__)


class PaidRun(PurchasedRun):
    """The life of one purchase, in as many legs as waiting takes.

    This class is what happens before a request is paid; :class:`PurchasedRun` is what happens then.
    """

    def run(self) -> Next:
        """Find what was bought, else buy; deliver what is finished."""
        return self._guarded(self._run)

    def buy(self) -> Next:
        """Buy, whatever was bought before: the caller has decided that."""
        return self._guarded(self._buy_anew)

    def run_at(self, moment: float) -> Next:
        """Sleep until `moment`, in epoch seconds, then run."""

        def leg() -> Next:
            time.sleep(max(0.0, moment - self._now()))
            return self._run()

        return self._guarded(leg)

    def respond(self, event: object) -> Next:
        """Submit what was approved, if it is still what the question showed; else skip."""
        return self._guarded(lambda: self._respond(event))

    def _run(self) -> Next:
        self.options.check()
        # The rows of a table are followed all at once.
        if self.journal.owner.item is None and (self.journal.records or (self.journal.try_number or 1) > 1):
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
            self.log.info("The mapped list may have changed: another map index bought these inputs")
        return purchases.next_step(known, found.fingerprint, policy)

    def _buy_anew(self) -> Next:
        with ExitStack() as stack:
            return self._buy(self._read(stack))

    def _buy(self, found: inputs.Inputs) -> Next:
        """Check what is free to check, upload, reserve and write the intent, submit, write the id, book.

        Each step stands before the next one because the process may die between any two of them:

        - reservation and intent are one transaction where journal and ledger are in one database; else the reservation
          comes first, because a purchase that a budget does not allow must leave no intent; a row of a table has got
          its reservation with all others;
        - the intent before the POST: a retry must know that something may have been sent;
        - the id right after the POST: it is the only way to a video that is paid;
        - the ledger last: the journal can restore it, and nothing restores the journal.
        """
        with self._released_if_it_fails():
            opened = prepare.checked(found, self.order, self.options, self.hook, is_known_place=self._is_known_place)
            estimate = self.estimate(found.request, opened.source)
            entry = self._reserved or ledger.about_to_buy(
                found.request, estimate, self.journal, self.conn_id, self._approval(found)
            )
            try:
                ready = self._intend(found, opened, entry, estimate)
            except SpendLimitExceeded as error:
                return self._beyond_limit(error, entry, estimate, found)
        try:
            self._submit(ready, entry)
        except AmbiguousSubmit:
            if seen := self._find_witness(self.journal.current):
                return seen
            raise
        return self._wait(found.request)

    def estimate(self, request: VideoRequest, source: Source) -> Estimate:
        """Return what a request will cost."""
        return prepare.estimate(request, source, self.order.known_source(), self.ledger.prices())

    def _intend(self, found: inputs.Inputs, opened: inputs.Opened, entry: Entry, estimate: Estimate) -> VideoRequest:
        """Upload the inputs, reserve the price and write the intent; return the request as it is sent.

        What was written is undone where a later step here fails.
        """
        request, approval = found.request, self._approval(found)
        budgets: list[Budget] = []
        if self._reserved is None:
            budgets = self.ledger.budgets(self.hook.account(), self.conn_id, self.options.budgets)
            limit = self.options.max_cost_usd
            self.ledger.check(entry, estimate, limit=limit, budgets=budgets, approval=approval)
        ready, witness = prepare.ready(
            opened, found.fingerprint, entry.token, options=self.options, hook=self.hook, journal=self.journal
        )
        for record in purchases.left_behind(self.journal.records, found.fingerprint):
            self.log.warning("%s", advice.left_behind(record))
        if self.journal.backend is None:
            self.log.warning("%s", advice.NO_JOURNAL)
        intent = self.journal.new_intent(
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
        try:
            written = False
            if self._reserved is None:
                joint = self.journal.joint(intent)
                written = self.ledger.reserve(entry, estimate, budgets=budgets, approval=approval, joint=joint)
            self.journal.intend(intent, written=written)
            self.log.info("Submitting %s with %s; estimated cost %s", request.mode, request.model, estimate.explained())
            # Before the submit, so that the Video tab knows of it if the worker dies in the middle of it.
            self._show("submitting", request=request, estimated_usd=estimate.usd)
        except BaseException as problem:
            if isinstance(problem, self.host.interruptions) and not isinstance(problem, SpendLimitExceeded):
                self.journal.take_back(intent)
                self.ledger.released(entry)
            raise
        return ready

    @contextmanager
    def _released_if_it_fails(self) -> Iterator[None]:
        """Release a reservation that was made with those of a whole table, where this purchase fails unsent."""
        try:
            yield
        except self.host.interruptions:
            if self._reserved is not None:
                self.ledger.release_rows([self._reserved])
            raise

    def _beyond_limit(self, error: SpendLimitExceeded, entry: Entry, estimate: Estimate, found: inputs.Inputs) -> Next:
        """Return what the author wants where a limit does not allow a purchase."""
        if self.options.on_limit == "skip":
            self._show(None, request=found.request, error=error)
            return SkipTask(str(error.about(conn_id=self.conn_id)))
        if self.options.on_limit != "ask":
            raise error
        if (given := self.state.allowed) is not None:
            # Airflow shows a try's first question only, so another one cannot be asked in this try.
            error.what += f"; {given.by} approved {given.difference(entry, found.fingerprint)}"
            error.what_to_do = "Nothing was submitted. Clear the task to be asked again."
            raise error
        self.host.keep("asked_usd", approval.UNKNOWN_PRICE if estimate.usd is None else str(estimate.usd))
        self.host.keep("asked_for", [self.conn_id, found.fingerprint])
        self._show("asking", request=found.request, estimated_usd=estimate.usd)
        return AskApproval(*approval.question(found.request, estimate, error.why, self.conn_id))

    def _submit(self, request: VideoRequest, entry: Entry) -> None:
        """Submit and write the id down, whatever interrupts that.

        What interrupts the submit itself, ``execution_timeout`` included, leaves it unconfirmed.
        """
        try:
            self._move("paid", self.hook.submit(request, client_id=entry.token))
            # The log is the last place that knows the id if this process dies before the next line.
            self.log.info("Request %s was accepted by xAI; it will be billed", self.state.request_id)
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

    def _respond(self, event: object) -> Next:
        buy, by = approval.answered(event)
        if not buy:
            refusal = f"{by} refused the purchase"
            self._show(None, error=SpendLimitExceeded(refusal, advice=""))
            return SkipTask(refusal)
        usd, shown = self.host.recall("asked_usd"), self.host.recall("asked_for")
        conn_id, fingerprint = shown if isinstance(shown, list | tuple) and len(shown) == 2 else (None, None)
        amount = None if usd in (None, approval.UNKNOWN_PRICE) else Decimal(str(usd))
        self.state = replace(self.state, allowed=ledger.Approval(amount, by, conn_id, fingerprint))
        # From here on a lost trigger is no lost question.
        self.host.keep("asked_usd", None)
        self.log.info("%s approved the purchase", by)
        return self._run()

    def _approval(self, found: inputs.Inputs) -> ledger.Approval | None:
        """Return the approval if it is for these inputs and this connection; a yes is for what was seen."""
        given = self.state.allowed
        return given if given and given.is_for(self.conn_id, found.fingerprint) else None
