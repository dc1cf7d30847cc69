"""One leg of a review: from a response or the start of a try to the next question, an approval, or an error."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeVar, cast

from typing_extensions import assert_never

from airflow_provider_grokvideo.compat import AirflowFailException, AirflowSkipException
from airflow_provider_grokvideo.core.errors import (
    AmbiguousSubmit,
    EventRejected,
    GrokVideoError,
    InvalidInput,
    JournalCorrupt,
    JournalUnavailable,
)
from airflow_provider_grokvideo.core.purchases import stored, takes
from airflow_provider_grokvideo.execution import advice, airflow_errors, approval, asset_events, card, review_form
from airflow_provider_grokvideo.execution.journal import TaskJournal, outcome_of
from airflow_provider_grokvideo.execution.manifest import Source
from airflow_provider_grokvideo.execution.ports import Next, Services
from airflow_provider_grokvideo.execution.run import PaidRun
from airflow_provider_grokvideo.execution.take import Take, without_request
from airflow_provider_grokvideo.execution.task import TaskHost, open_journal

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_grokvideo.core.billing.pricing import Estimate
    from airflow_provider_grokvideo.core.purchases.records import Record
    from airflow_provider_grokvideo.core.purchases.takes import Question
    from airflow_provider_grokvideo.core.requests import VideoRequest
    from airflow_provider_grokvideo.execution.options import RunOptions
    from airflow_provider_grokvideo.execution.review_form import Clip, ReviewResponse
    from airflow_provider_grokvideo.operators.review import GrokVideoReviewOperator

MOST_TAKES = 100

_ASKED, _TAKE, _TAKES = "grokvideo_review", "grokvideo_take", "grokvideo_takes"
"""XCom keys: the question that is open, the take that is made, and what a task without a journal bought."""

_T = TypeVar("_T")

log = logging.getLogger(__name__)


class _Host(TaskHost):
    """The task instance of a review without a journal: XCom keeps its takes, for as long as a try lasts."""

    leg: ReviewLeg

    def keep(self, key: str, value: Any) -> None:
        """Push an XCom, and the takes with each request."""
        super().keep(key, value)
        if key == "request_id" and self.leg.journal.backend is None:
            self.leg.keep_takes()


class ReviewLeg:
    """One leg of a review task.

    Args:
        operator: The task.
        context: Its context.
    """

    def __init__(self, operator: GrokVideoReviewOperator, context: Context) -> None:
        self._operator = operator
        self._context = context
        self._host = _Host(context, operator, operator.grokvideo_conn_id, {"video": operator.video})
        self._host.leg = self
        self._opened: TaskJournal | None = None

    def begin(self) -> dict[str, Any]:
        """Resume a take that is under way, then ask."""

        def next_step() -> takes.Step:
            self._check()
            if self.journal.records or (self.journal.try_number or 1) > 1:
                self._run_of(takes.FIRST, None).ledger.follow(self.journal)
            return self._next_take()

        return self._do(self._checked(next_step))

    def respond(self, event: object) -> dict[str, Any]:
        """Do what a response says, if it was given to the question that is open."""

        def next_step() -> tuple[ReviewResponse, takes.Step]:
            self._check()
            said = review_form.said(event)
            self._open()
            self._check_shown(said)
            step = self._next_take(self._answer(said))
            if said.problem is not None and isinstance(step, takes.Ask):
                step = takes.Ask(step.question, said.problem)
            return said, step

        said, step = self._checked(next_step)
        return self._do(step, said)

    def complete(self, event: object) -> dict[str, Any]:
        """Store a take that is done, then ask about it."""
        taking = self._host.recall(_TAKE)
        if not isinstance(taking, Mapping) or not isinstance(taking.get("number"), int):
            # Without it there is no place for the video; the journal knows it, in another try.
            raise EventRejected("the triggerer reports on a take that this try does not know")
        run = self._run_of(taking["number"], taking.get("words"))
        return self._make(run, lambda: run.complete(event))

    def lost(self, problem: Exception) -> dict[str, Any]:
        """Say what became of a wait whose trigger was lost."""
        taking = self._host.recall(_TAKE)
        if not taking:
            raise GrokVideoError(
                f"the triggerer stopped waiting for the response to a review ({problem})",
                conn_id=self._operator.grokvideo_conn_id,
                advice="A retry or clear of this task asks again at no charge.",
            ) from None
        run = self._run_of(taking["number"], taking.get("words"))
        return self._operator.carry(lambda: run.lost(problem), run, self._context)

    def _do(self, step: takes.Step, said: ReviewResponse | None = None) -> dict[str, Any]:
        match step:
            case takes.Ask(question, why):
                return self._ask(question, why)
            case takes.Buy(number):
                return self._another(number, cast("ReviewResponse", said))
            case takes.GoOn(number, record):
                run, request = self._behind(number, record)
                return self._make(run, lambda: run.attach(record, request))
            case takes.Unconfirmed(number, record):
                run, request = self._behind(number, record)
                self._operator.carry(lambda: run.settle_unconfirmed(record, request), run, self._context)
                return self._ask_next()
            case takes.Approve(number):
                return self._approve(number, cast("ReviewResponse", said))
            case takes.Reject(number):
                return self._reject(number, cast("ReviewResponse", said))
            case _:
                assert_never(step)

    def _another(self, number: int, said: ReviewResponse) -> dict[str, Any]:
        """Buy a take."""
        prompt = said.words if said.words is not None else self._offered()
        log.info("%s wants take %d", said.by, number)
        self._host.keep(_TAKE, {"number": number, "words": prompt})
        run = self._run_of(number, prompt)
        return self._make(run, run.buy)

    def _make(self, run: PaidRun, leg: Callable[[], Next]) -> dict[str, Any]:
        """Carry out the run of a take, then ask about it; where there is none to come, about the one before."""
        try:
            self._operator.carry(leg, run, self._context)
        except GrokVideoError as error:
            return self._ask_without(error, run)
        return self._ask_next()

    def _ask_without(self, error: GrokVideoError, run: PaidRun) -> NoReturn:
        """Ask about an earlier take where there is no new one to come; raise where money or a video is at stake."""
        unconfirmed = isinstance(error, AmbiguousSubmit)
        if unconfirmed and "unconfirmed" in self._operator.resubmit_on:
            unconfirmed, error.what_to_do = False, "resubmit_on has 'unconfirmed': another response submits again."
        unclear = unconfirmed or isinstance(error, JournalUnavailable | JournalCorrupt)
        under_way = run.state.is_paid and outcome_of(error) is None
        if unclear or under_way or self._opened is None or self._opened.away:
            raise error
        log.warning("Could not create another take: %s", error)
        self._ask(takes.question(self.journal.records, self._clip.name), error=error)

    def _approve(self, number: int, said: ReviewResponse) -> dict[str, Any]:
        made = self._manifest(number)
        log.info("%s approved take %d: %s", said.by, number, made.get("uri"))
        self._host.keep("reviewed", {"answer": "approve", "take": number, "by": said.by})
        self._show_take(number, "delivered" if made.get("uri") else "done")
        asset_events.tell(self._operator.outlets, made, self._context)
        return made

    def _reject(self, number: int, said: ReviewResponse) -> NoReturn:
        uri = self._manifest(number).get("uri")
        why = f"{said.by} rejected the video (take {number}: {uri})"
        self._host.keep("reviewed", {"answer": "reject", "take": number, "by": said.by})
        error = GrokVideoError(f"{said.by} rejected the video")
        self._show_take(number, "delivered" if uri else "done", error=error)
        raise AirflowFailException(why) if self._operator.on_reject == "fail" else AirflowSkipException(why)

    def _ask_next(self) -> NoReturn:
        """Ask about the latest take."""
        if self.journal.away:
            raise JournalUnavailable(
                "the new take is stored, and the journal cannot be read to find its number",
                conn_id=self._operator.grokvideo_conn_id,
                advice="A retry or clear of this task asks about it at no charge.",
            )
        self._ask(takes.question(self.journal.records, self._clip.name))

    def _ask(self, question: Question, why: str | None = None, *, error: GrokVideoError | None = None) -> NoReturn:
        if why is not None:
            error = GrokVideoError(why, advice="")
            log.warning("Asking again: %s", why)
        made = self._manifest(question.take)
        why_no_other = self._clip.why_no_other or ("max_takes is 1" if self._most == 1 else None)
        prompt, asked = self._offered(), self._asked
        estimate = None if why_no_other else self._price(prompt)
        # Airflow shows the first question of a try, whatever is asked later.
        shown = asked.get("shown") or asdict(self._shown(prompt, estimate))
        kept = {"take": question.take, "next": question.next, "words": prompt, "shown": shown}
        self._host.keep(_ASKED, {**kept, "seen": asked.get("seen") or []})
        self._host.keep(_TAKE, {})
        if self.journal.backend is None:
            self.keep_takes()
        self._show_take(question.take, "asking", error=error)
        log.info("Take %d is to be reviewed: %s", question.take, made.get("uri") or "not stored, see the Video tab")
        form = review_form.form(self._clip, words=prompt, max_takes=self._most, why_no_other=why_no_other)
        approval.ask(
            self._operator,
            self._context,
            review_form.question(
                self._clip,
                self._host.owner,
                estimate=estimate,
                max_takes=self._most,
                why_no_other=why_no_other,
            ),
            method_name="execute_after_review",
            timeout=self._operator.response_timeout,
            users=self._operator.assigned_users,
            options=[review_form.APPROVE, review_form.REJECT, *([] if why_no_other else [review_form.ANOTHER])],
            params={name: param.serialize() for name, param in form.items()},
        )

    @property
    def _asked(self) -> Mapping[str, Any]:
        asked = self._host.recall(_ASKED)
        return asked if isinstance(asked, Mapping) else {}

    def _shown(self, prompt: str, estimate: Estimate | None) -> takes.QuestionShown:
        """Return what a question about another take with this prompt shows."""
        try:
            asked = self._clip.request(prompt).fingerprint()
        except InvalidInput:
            asked = None
        usd = None if estimate is None or estimate.usd is None else str(estimate.usd)
        return takes.QuestionShown(self._clip.name, self._operator.grokvideo_conn_id, asked, usd)

    def _check_shown(self, said: ReviewResponse) -> None:
        """Check that a response still leads to what was shown: a yes is for what was seen.

        Raises:
            GrokVideoError: It does not; a new try asks a new question, which this one cannot.
        """
        shown = self._asked.get("shown")
        if not isinstance(shown, Mapping) or said.choice is None:
            return
        prompt = self._offered()
        now = self._shown(prompt, self._price(prompt) if said.choice == "another" else None)
        if changed := takes.difference(takes.QuestionShown(**shown), now, said.choice):
            raise GrokVideoError(
                f"{said.by} responded {said.choice!r}, and since the question {changed}",
                advice="Nothing was approved or submitted. A retry or clear of this task asks about what it has now.",
            )

    def _answer(self, said: ReviewResponse) -> takes.TakeResponse | None:
        """Return a response with the question it was given to; one that comes again was given to none that is open."""
        kept = dict(self._asked)
        seen = list(kept.get("seen") or [])
        if said.at is not None and said.at in seen:
            return takes.TakeResponse(said.choice or "reject", None)
        self._host.keep(_ASKED, {**kept, "seen": [*seen, said.at]})
        return None if said.choice is None else takes.TakeResponse(said.choice, takes.parse(kept), said.take)

    def _offered(self) -> str:
        """Return the prompt that the form starts with: Airflow keeps that of the first question of a try."""
        return str(self._asked.get("words") or self._clip.prompt)

    def _price(self, prompt: str) -> Estimate | None:
        try:
            return self._run_of(takes.FIRST + 1, prompt).estimate(self._clip.request(prompt), Source())
        except GrokVideoError as problem:
            log.warning("The price of another take is unknown: %s", problem)
            return None

    @property
    def journal(self) -> TaskJournal:
        """The journal of the review's task instance."""
        return self._opened or self._open()

    def keep_takes(self) -> None:
        """Keep the takes in XCom."""
        self._host.keep(_TAKES, [record.to_json() for record in self.journal.records])

    @property
    def _clip(self) -> Clip:
        return self._operator.clip

    @property
    def _most(self) -> int:
        return int(self._operator.max_takes)

    def _next_take(self, answer: takes.TakeResponse | None = None) -> takes.Step:
        resubmit = "unconfirmed" in self._operator.resubmit_on
        return takes.next_step(
            self.journal.records, self._clip.name, answer=answer, max_takes=self._most, resubmit=resubmit
        )

    def _open(self) -> TaskJournal:
        """Open the journal; without a backend XCom has the takes."""
        opened = open_journal(self._context)
        kept = self._host.recall(_TAKES) if opened.backend is None else None
        if isinstance(kept, list):
            opened.records = [stored.parse(each, opened.owner) for each in kept]
        self._opened = opened
        return opened

    def _run_of(self, number: int, prompt: str | None) -> PaidRun:
        """Return the run of a take: it goes to a place of its own, and a limit or a block leads to another question."""
        operator = self._operator
        options = replace(
            self._options(number),
            on_limit="fail",
            on_moderated="fail",
            resubmit_on=[each for each in operator.resubmit_on if each == "unconfirmed"],
        )
        services = Services(self._host, operator.hook, lambda: self.journal)
        known_as = takes.fingerprint(self._clip.name, number)
        return PaidRun(Take(self._clip, prompt), options, services, known_as=known_as)

    def _options(self, number: int) -> RunOptions:
        given = self._operator.options()
        # The place beside the first take is as good as one that was named.
        return replace(given, destination=review_form.place_of(self._clip, given.place, number))

    def _behind(self, number: int, record: Record) -> tuple[PaidRun, VideoRequest | None]:
        """Return the run of a take that an earlier try bought, and its request where its prompt is still known."""
        taking = self._host.recall(_TAKE)
        kept = taking.get("words") if isinstance(taking, Mapping) else None
        for prompt in (kept, self._clip.prompt):
            try:
                request = self._clip.request(prompt) if prompt else None
            except InvalidInput:
                continue
            if request is not None and request.fingerprint() == record.asked:
                self._host.keep(_TAKE, {"number": number, "words": prompt})
                return self._run_of(number, prompt), request
        self._host.keep(_TAKE, {"number": number, "words": None})
        return self._run_of(number, None), None

    def _manifest(self, number: int) -> dict[str, Any]:
        if number == takes.FIRST:
            return dict(self._clip.manifest)
        return dict(takes.takes(self.journal.records, self._clip.name)[number].manifest or {})

    def _check(self) -> None:
        """Refuse arguments that cannot be used.

        Raises:
            InvalidInput: It names the field.
        """
        operator = self._operator
        self._options(takes.FIRST + 1).check()
        if not operator.wait_for_completion:
            raise InvalidInput("wait_for_completion", False, "True: a video can be reviewed when it is there")
        if operator.on_reject not in ("skip", "fail"):
            raise InvalidInput("on_reject", operator.on_reject, "one of skip, fail")
        text = str(operator.max_takes).strip()
        whole = text.isascii() and text.isdecimal() and not isinstance(operator.max_takes, bool)
        if not whole or not 1 <= int(text) <= MOST_TAKES:
            raise InvalidInput("max_takes", operator.max_takes, f"a whole number from 1 to {MOST_TAKES}")

    def _checked(self, step: Callable[[], _T]) -> _T:
        """Return what a step says; an error of it comes before any purchase, and is shown."""
        try:
            return step()
        except GrokVideoError as error:
            advice.before_purchase(error.about(conn_id=self._operator.grokvideo_conn_id), self._opened)
            self._host.show(None, error=error, records=self._opened.records if self._opened else ())
            raise airflow_errors.for_airflow(error) from error.__cause__

    def _show_take(
        self, number: int, outcome: Literal["asking", "delivered", "done"], *, error: GrokVideoError | None = None
    ) -> None:
        """Let the Video tab show a take."""
        made = self._manifest(number)
        record = takes.takes(self.journal.records, self._clip.name).get(number)
        # Each take's own sidecar says what it was made from; the prompt of one may be gone with the try that had it.
        clip = self._clip if record is None else review_form.clip_in(made)
        card.show(
            self._context,
            outcome,
            request=None if clip.why_no_other else clip.request(),
            made_from=clip.made_from,
            made=made,
            error=without_request(error),
            records=self.journal.records,
            conn_id=self._operator.grokvideo_conn_id,
        )
