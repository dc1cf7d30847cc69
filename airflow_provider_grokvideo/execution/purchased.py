"""Paid part of a run: resume a request, wait for it, deliver its video, book it; and what its errors say."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from airflow_provider_grokvideo.client import flow
from airflow_provider_grokvideo.core.errors import (
    AmbiguousSubmit,
    DeliveryFailed,
    GrokVideoError,
    VideoExpired,
    VideoFailed,
    VideoModerated,
    WaitTimeout,
)
from airflow_provider_grokvideo.core.jobs import Done, Expired, FinalJob
from airflow_provider_grokvideo.core.polling import decisions, events
from airflow_provider_grokvideo.execution import advice, handover, prepare, wait, witness
from airflow_provider_grokvideo.execution.journal import outcome_of
from airflow_provider_grokvideo.execution.leg import Leg
from airflow_provider_grokvideo.execution.manifest import Manifest, as_time, manifest
from airflow_provider_grokvideo.execution.ports import (
    Finished,
    Next,
    RunAgain,
    SkipTask,
    WaitFor,
)

if TYPE_CHECKING:
    from airflow_provider_grokvideo.core.purchases.records import Record
    from airflow_provider_grokvideo.core.requests import VideoRequest


class PurchasedRun(Leg):
    """What a run does with a request that is, or may be, paid."""

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

    def wait(self, found: WaitFor, heard: wait.Heard | None = None) -> Next:
        """Wait for a request in this process, then deliver it; `heard` is called after each poll."""
        interval = self.hook.account().interval(self.options.poll_interval)
        watch = wait.watch_of(found, interval)
        return self._guarded(lambda: self._deliver(wait.wait(watch, self.hook.get_conn(), heard)))

    def lost(self, problem: object) -> Next:
        """Say what became of a wait whose trigger was lost or never ran: it ended, the video did not fail."""
        # Until the opposite is known, what was waited for is a video that is paid for.
        self._move("paid")
        return self._guarded(lambda: self._lost(problem))

    def interrupted(self, problem: BaseException) -> Next:
        """Say what an interruption of the run, or between its legs, leaves behind; raises it where that is nothing."""
        if self.state.is_paid:
            return self._ruled(_unexpected(problem), problem)
        record = None if self.state.journal is None else self.state.journal.current
        if record is None or record.phase != "intent" or self.journal.lets_retry:
            raise problem
        # Without a journal a retry would not know of this submission, and send another.
        return self._ruled(AmbiguousSubmit(advice.submission(record), client_id=record.token), problem)

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
        if (job := witness.witnessed(record, self.hook)) is not None:
            self.log.info("The submission was accepted: its video was found as %s", where)
            self._move("paid")
            return self._deliver(job)
        now = self._now()
        if now >= until:
            self.journal.note(note=f"its video was not found as {where} by {as_time(now)}")
            return None
        if self.options.deferrable and self.journal.backend is None:
            # A resumed task would know nothing of this submission, and send another.
            return None
        self.log.info("The answer to the submission was lost; looking for %s until %s", where, as_time(until))
        self._show("waiting", request=self.state.request, submitted_at=record.intended_at, deadline=until)
        return RunAgain(min(now + witness.BETWEEN_CHECKS, until))

    def _wait(self, request: VideoRequest | None) -> Next:
        """Return what there is to wait for, or hand the request on to whoever does."""
        record = self._remember()
        if not self.options.wait_for_completion:
            return self._handed_on(request)
        since = record.sent_at or self._now()
        deadline = self.options.deadline(self._started, since)
        self._show("waiting", request=request, record=record, deadline=deadline)
        kind = None if request is None else request.kind()
        return WaitFor(cast("str", record.request_id), since, deadline, kind, self._upload_uri() is not None)

    def _handed_on(self, request: VideoRequest | None) -> Next:
        """Hand on a request that another task waits for."""
        record = self._bought
        made = manifest(record, request, status="submitted")
        self.journal.note(manifest=made)
        self._show("submitted", request=request, record=record, made=made)
        return Finished(made)

    def _attach(self, record: Record, request: VideoRequest | None) -> Next:
        """Resume a request that an earlier try submitted; what is finished is delivered without deferring."""
        self._hold(record, request)
        # Within a try it is no news.
        self.log.log(
            logging.DEBUG if record.try_number == self.journal.try_number else logging.INFO,
            "Resuming request %s (submitted %s by try %s); no new charge",
            record.request_id, as_time(record.submitted_at), record.try_number,
        )  # fmt: skip
        self._remember()
        if not self.options.wait_for_completion:
            return self._handed_on(request)
        now = self._now()
        since = now if record.submitted_at is None else record.submitted_at
        request_id, uploads = cast("str", record.request_id), record.upload_uri is not None
        watch = decisions.Watch(request_id, since=since, deadline=self.options.deadline(self._started, since))
        seen = self.hook.get_conn().run(flow.poll(request_id, uploads=uploads))
        verdict = decisions.poll(watch, seen, now)
        if isinstance(verdict, decisions.Abandoned):
            raise verdict.error
        return self._deliver(verdict.job) if isinstance(verdict, decisions.Settled) else self._wait(request)

    def _complete(self, event: object) -> Next:
        settled = events.parse(event)
        self._move("paid", settled.request_id)
        self._hold_again(settled.request_id, settled.submitted_at)
        if error := settled.as_error(self.conn_id):
            raise error
        self.state = replace(self.state, request=prepare.rebuilt(self.order, self._bought))
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

    def _deliver(self, job: FinalJob) -> Next:
        record, request, place = self._bought, self.state.request, self.options.place
        upload_uri = self._upload_uri()
        job = witness.unless_uploaded(job, record.request_id, upload_uri)
        made = self._stored_before(record, request) if isinstance(job, Expired) else None
        if made is None:
            self.ledger.settled(job, record)
            done = self._finished(job)
            if place is not None:
                # xAI may give back the address it uploaded to, whose signature is a secret.
                shown = replace(done, url=None) if upload_uri else done
                at_service = manifest(record, request, status="done", job=shown, now=self._now())
                self._show("waiting", request=request, record=record, made=at_service)
            made = self._stored(done, record, request)
        # The link opens the video to whoever has it, and is dead when it would be read again.
        noted = self.journal.note(phase="delivered", manifest={**made, "url": None}, destination=place, outcome=None)
        self._move("delivered", record.request_id)
        if upload_uri is not None and noted:
            # Only now: until the journal says delivered, the upload is what a retry delivers from.
            handover.discard_upload(upload_uri)
        with suppress(*(kind for kind in self.host.interruptions if kind is not Exception)):
            # The video is stored and the journal says so: a card that takes too long does not undo that.
            self._show("delivered" if made["uri"] else "done", request=request, record=record, made=made)
        return Finished(made)

    def _stored(self, done: Done, record: Record, request: VideoRequest | None) -> Manifest:
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
            if (made := self._stored_before(record, request)) is None:
                raise
            return made

    def _stored_before(self, record: Record, request: VideoRequest | None) -> Manifest | None:
        """Return the manifest of a delivery that the journal does not know, because its worker died after it."""
        if self.options.place is None:
            return None
        made = handover.stored_before(record, request, self.options.place, self._upload_uri())
        if made is not None:
            self.log.info("The video was stored at %s by an earlier try", made["uri"])
        return made

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
        self.log.info("Request %s was delivered before to %s; no new charge", record.request_id, made["uri"])
        self._remember()
        self._show("delivered", request=request, record=record, made=made)
        return Finished(made)

    def _again(self, record: Record, request: VideoRequest, uri: str | None) -> Next:
        """Fetch a delivered video again, whose file is gone or was never kept."""
        if record.request_id is None:
            job = witness.witnessed(record, self.hook)
            if job is None:
                raise VideoExpired(f"{uri or 'the video'} is gone, and its request id was never known")
            found = self._deliver(job)
        else:
            if uri:
                self.log.warning("%s is not there any more, or not as it was; fetching it again", uri)
            found = self._attach(record, request)
        if isinstance(found, Finished):
            return Finished(cast("Manifest", {**found.manifest, "reused": True}))
        return found

    def _guarded(self, leg: Callable[[], Next]) -> Next:
        """Say whether a retry is safe, whatever goes wrong: after a purchase only where the journal has it."""
        try:
            return leg()
        except GrokVideoError as error:
            return self._ruled(error, error.__cause__)
        except self.host.interruptions as problem:
            return self.interrupted(problem)

    def _ruled(self, error: GrokVideoError, cause: BaseException | None) -> Next:
        """Raise the error with its advice, and show it; a moderated video may skip the task instead."""
        error.about(request_id=self.state.under_way, conn_id=self.conn_id)
        skips = isinstance(error, VideoModerated) and self.options.on_moderated == "skip"
        try:
            if not skips:
                error = self._advised(error)
        finally:
            try:
                # After a purchase the card keeps what was shown, such as the link of a video that cannot be stored.
                self._show(None, request=None if self.state.is_paid else self.state.request, error=error)
            except self.host.interruptions:
                # What the error says of a retry must reach Airflow.
                self.log.warning("execution_timeout passed while updating the Video tab")
        if skips:
            return SkipTask(str(error))
        raise error from cause

    def _advised(self, error: GrokVideoError) -> GrokVideoError:
        if not self.state.is_paid:
            return advice.before_purchase(error, self.state.journal, self.options.resubmit_on)
        if (request_id := self.state.under_way) is not None and self.state.journal is not None:
            self.journal.keep_id(request_id)
        return advice.after_purchase(error, retry_resumes=self.journal.lets_retry, resubmit_on=self.options.resubmit_on)


def _unexpected(problem: BaseException) -> GrokVideoError:
    if isinstance(problem, KeyboardInterrupt):
        return WaitTimeout("interrupted")
    if not isinstance(problem, Exception):
        return WaitTimeout(f"execution_timeout passed ({problem})")
    return GrokVideoError(f"{type(problem).__name__} after the purchase: {problem}")
