"""Review gate: shows a video under Required Actions, to be approved, rejected, or made again."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow_provider_grokvideo.compat import TaskDeferralError, TaskDeferralTimeout
from airflow_provider_grokvideo.core.errors import InvalidInput
from airflow_provider_grokvideo.execution import review_form
from airflow_provider_grokvideo.operators.base import GrokVideoBaseOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_grokvideo.core.requests import VideoRequest
    from airflow_provider_grokvideo.execution.review_form import Clip
    from airflow_provider_grokvideo.operators.review_leg import ReviewLeg


class GrokVideoReviewOperator(GrokVideoBaseOperator):
    """Show a video under Required Actions; return the manifest of the take that is approved.

    *Another take* is a purchase of this task: the request of the first take with the prompt of the response, within
    every limit and budget. Then the question comes again. Each such response buys at most one video, whatever crashes,
    is retried or cleared, and nothing is bought without one: a retry or clear asks about the latest take again, and
    first fetches one that was bought and not stored. A take that cannot be had, because a limit refuses it or the
    content rules block it, is reported in the log and on the Video tab, and the question comes again about the one
    before.

    No worker slot is held while the question is open or a take is made.

    :param video: Result of the task that made the first take, as in ``video=film.output``.
    :param max_takes: How many takes there may be: the first one, and every further purchase, even one that is blocked
        or fails. Default 3; 1 offers no other take.
    :param on_reject: ``"skip"`` skips the task, and with it what depends on it; ``"fail"`` fails it without a retry.
    :param destination: Where further takes are stored: a name gets ``-take-2`` and so on, a directory gets
        ``<request id>.mp4``. None stores them beside the first, as ``<its name>-take-2.mp4``.
    :param response_timeout: Seconds (or timedelta) to wait for each response; then the task fails. None waits as long
        as the DAG run does.

    The other arguments mean what they mean elsewhere. ``on_limit`` and ``on_moderated`` do not: what a limit does not
    allow or the content rules block is asked about again. Of ``resubmit_on`` only ``"unconfirmed"`` has an effect,
    because only a response buys.
    """

    template_fields: Sequence[str] = ("video", "max_takes", *GrokVideoBaseOperator.template_fields)
    template_fields_renderers: ClassVar[dict[str, str]] = {
        **GrokVideoBaseOperator.template_fields_renderers,
        "video": "json",
    }

    def __init__(
        self,
        *,
        video: Any,
        max_takes: int | str = 3,
        on_reject: Literal["skip", "fail"] = "skip",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.video = video
        self.max_takes = max_takes
        self.on_reject = on_reject

    @cached_property
    def clip(self) -> Clip:
        """Return the first take; read when it is first needed.

        :raises InvalidInput: `video` is no result of a task that waited for its video.
        """
        return review_form.clip_in(self.video)

    def build_request(self) -> VideoRequest:
        """Return the request of another take with the prompt of the first.

        :raises InvalidInput: It cannot be made again as it was.
        """
        return self.clip.request()

    def made_from(self) -> tuple[str, Any] | None:
        """Return the clip or image that the first take, and so every other one, starts from."""
        try:
            return self.clip.made_from
        except InvalidInput:
            return None

    def execute(self, context: Context) -> Any:
        """Resume a take that is under way, then ask."""
        return self._leg(context).begin()

    def execute_after_review(self, context: Context, event: Any = None) -> Any:
        """Do what the response says, if it was given to the question that is open."""
        return self._leg(context).respond(event)

    def execute_complete(self, context: Context, event: Any = None) -> Any:
        """Store a take that is done, then ask about it."""
        return self._leg(context).complete(event)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume; where the wait for a response was lost nothing was bought."""
        try:
            return super(GrokVideoBaseOperator, self).resume_execution(next_method, next_kwargs, context)
        except (TaskDeferralTimeout, TaskDeferralError) as problem:
            return self._leg(context).lost(problem)

    def _leg(self, context: Context) -> ReviewLeg:
        from airflow_provider_grokvideo.operators.review_leg import ReviewLeg

    def _settle(self, number: int, record: Record, context: Context) -> dict[str, Any]:
        """Store what the service uploaded or stored for an unconfirmed submission; else stop."""
        with self._making(number), self._guarded(context):
            memory = self._known
            memory.hold(record)
            if not self._settle_by_witness(record, self._request_behind(record, context), context):
                raise AmbiguousSubmit(failing.doubt(record), client_id=record.token)
        return self._ask_next(context)

    def _do_without(self, error: GrokVideoError, context: Context) -> NoReturn:
        """Ask about an earlier take where there is no new one to come; raise where money or a video is at stake."""
        unconfirmed = isinstance(error, AmbiguousSubmit)
        if unconfirmed and "unconfirmed" in self.resubmit_on:
            unconfirmed, error.what_to_do = False, "resubmit_on has 'unconfirmed': another answer submits again."
        unclear = unconfirmed or isinstance(error, JournalUnavailable | JournalCorrupt)
        goes_on = self._bought and outcome_of(error) is None
        if unclear or goes_on or self._memory is None:
            raise error
        self.log.warning("There is no new take: %s", error)
        self._bought, self._goes_on = False, None
        self._ask(takes.question(self._known.records, self.clip.name), context, error=error)

    def _approve(self, number: int, said: Said, context: Context) -> dict[str, Any]:
        made = self._manifest(number)
        self.log.info("%s approved take %d: %s", said.by, number, made.get("uri"))
        self._push(context, "reviewed", {"answer": "approve", "take": number, "by": said.by})
        self._show_take(number, context, "delivered" if made.get("uri") else "done")
        assets.tell(self.outlets, made, context)
        return made

    def _reject(self, number: int, said: Said, context: Context) -> NoReturn:
        told = f"{said.by} rejected the video (take {number}: {self._manifest(number).get('uri')})"
        self._push(context, "reviewed", {"answer": "reject", "take": number, "by": said.by})
        outcome: Literal["delivered", "done"] = "delivered" if self._manifest(number).get("uri") else "done"
        self._show_take(number, context, outcome, error=GrokVideoError(f"{said.by} rejected the video"))
        raise AirflowFailException(told) if self.on_reject == "fail" else AirflowSkipException(told)

    # The question

    def _ask_next(self, context: Context) -> NoReturn:
        """Ask about the latest take."""
        if self._memory is None:
            raise JournalUnavailable(
                "the new take is stored, and the journal does not answer to say which one it is",
                conn_id=self.grokvideo_conn_id,
                advice="A retry or clear of this task asks about it and buys nothing.",
            )
        self._bought, self._goes_on = False, None
        self._ask(takes.question(self._known.records, self.clip.name), context)

    def _ask(
        self, question: Question, context: Context, why: str | None = None, *, error: GrokVideoError | None = None
    ) -> NoReturn:
        if why is not None:
            error = GrokVideoError(why, advice="")
            self.log.warning("Asking again: %s", why)
        made = self._manifest(question.take)
        why_no_other = self.clip.why_no_other or ("max_takes is 1" if self._most == 1 else None)
        words = self._offered(context)
        asked = self._recall(_ASKED, context)
        seen = asked.get("seen") if isinstance(asked, Mapping) else None
        estimate = None if why_no_other else self._price(words)
        # Airflow shows the first question of a try, whatever is asked later.
        shown = (asked.get("shown") if isinstance(asked, Mapping) else None) or asdict(self._shown(words, estimate))
        kept = {"take": question.take, "next": question.next, "words": words, "seen": seen or [], "shown": shown}
        self._push(context, _ASKED, kept)
        self._push(context, _TAKE, {})
        if self._known.backend is None:
            self._push(context, _TAKES, [record.to_json() for record in self._known.records])
        self._show_take(question.take, context, "asking", error=error)
        self.log.info(
            "Take %d is to be reviewed: %s", question.take, made.get("uri") or "not stored, see the Video tab"
        )
        form = reviewing.form(self.clip, words=words, max_takes=self._most, why_no_other=why_no_other)
        asking.ask(
            self,
            context,
            reviewing.question(
                self.clip,
                self._known.owner,
                estimate=estimate,
                max_takes=self._most,
                why_no_other=why_no_other,
            ),
            method_name="execute_after_review",
            timeout=self.response_timeout,
            users=self.assigned_users,
            options=[reviewing.APPROVE, reviewing.REJECT, *([] if why_no_other else [reviewing.ANOTHER])],
            params={name: param.serialize() for name, param in form.items()},
        )

    def _shown(self, words: str, estimate: Estimate | None) -> takes.Shown:
        """Return what a question about another take in these words shows."""
        try:
            asked = self.clip.request(words).fingerprint()
        except InvalidInput:
            asked = None
        usd = None if estimate is None or estimate.usd is None else str(estimate.usd)
        return takes.Shown(self.clip.name, self.grokvideo_conn_id, asked, usd)

    def _check_shown(self, said: Said, context: Context) -> None:
        """Check that an answer still leads to what was shown: a yes is for what was seen.

        Raises:
            GrokVideoError: It does not; a new try asks a new question, which this one cannot.
        """
        asked = self._recall(_ASKED, context)
        shown = asked.get("shown") if isinstance(asked, Mapping) else None
        if not isinstance(shown, Mapping) or said.choice is None:
            return
        words = self._offered(context)
        now = self._shown(words, self._price(words) if said.choice == "another" else None)
        if changed := takes.difference(takes.Shown(**shown), now, said.choice):
            raise GrokVideoError(
                f"{said.by} answered {said.choice!r}, and since the question {changed}",
                advice="Nothing was approved or bought. A retry or clear of this task asks about what it has now.",
            )

    def _answer(self, said: Said, context: Context) -> takes.Answer | None:
        """Return an answer with the question it was given to; one that comes again was given to none that is open."""
        asked = self._recall(_ASKED, context)
        kept = dict(asked) if isinstance(asked, Mapping) else {}
        seen = list(kept.get("seen") or [])
        if said.at is not None and said.at in seen:
            return takes.Answer(said.choice or "reject", None)
        self._push(context, _ASKED, {**kept, "seen": [*seen, said.at]})
        return None if said.choice is None else takes.Answer(said.choice, takes.parse(kept), said.take)

    def _offered(self, context: Context) -> str:
        """Return the words that the form starts with: Airflow keeps those of the first question of a try."""
        asked = self._recall(_ASKED, context)
        return str(asked["words"]) if isinstance(asked, Mapping) and asked.get("words") else self.clip.prompt

    def _price(self, words: str) -> Estimate | None:
        try:
            return self._estimate(self.clip.request(words), Source())
        except GrokVideoError as problem:
            self.log.warning("The price of another take is not known: %s", problem)
            return None

    # What is known

    @property
    def _known(self) -> TaskJournal:
        return cast("TaskJournal", self._memory)

    @property
    def _most(self) -> int:
        return int(self.max_takes)

    def _next_take(self, memory: TaskJournal, answer: takes.Answer | None = None) -> takes.Step:
        resubmit = "unconfirmed" in self.resubmit_on
        return takes.next_step(memory.records, self.clip.name, answer=answer, max_takes=self._most, resubmit=resubmit)

    def _open(self, context: Context) -> TaskJournal:
        memory = self._memory = open_journal(context)
        self._bring_back(memory, context)
        return memory

    def _opened_again(
        self, context: Context, request_id: str | None, submitted_at: float | None = None
    ) -> TaskJournal | None:
        memory = super()._opened_again(context, request_id, submitted_at)
        if memory is not None and memory.backend is None:
            self._bring_back(memory, context)
            memory.hold_request(request_id or "", submitted_at, self.grokvideo_conn_id)
        return memory

    def _bring_back(self, memory: TaskJournal, context: Context) -> None:
        """Without a journal XCom keeps the takes, for as long as a try lasts."""
        kept = self._recall(_TAKES, context) if memory.backend is None else None
        if isinstance(kept, list):
            memory.records = [journal.parse(each, memory.owner) for each in kept]

    def _remember(self, purchase: Purchase, context: Context) -> None:
        super()._remember(purchase, context)
        if self._known.backend is None:
            self._push(context, _TAKES, [record.to_json() for record in self._known.records])

    def _manifest(self, number: int) -> dict[str, Any]:
        if number == takes.FIRST:
            return dict(self.clip.manifest)
        return dict(takes.takes(self._known.records, self.clip.name)[number].manifest or {})

    def _request_behind(self, record: Record, context: Context) -> VideoRequest | None:
        """Return the request of a record; None where its words are gone with the try that had them."""
        taking = self._recall(_TAKE, context)
        kept = taking.get("words") if isinstance(taking, Mapping) else None
        for words in (kept, self.clip.prompt):
            try:
                request = self.clip.request(words) if words else None
            except InvalidInput:
                continue
            if request is not None and request.fingerprint() == record.asked:
                self._words = words
                return request
        return None

    @contextmanager
    def _making(self, number: int) -> Iterator[None]:
        """Let the steps of a purchase be about a take: where it goes, and that a person is asked where it fails."""
        given = self.destination, self.on_limit, self.on_moderated, self.resubmit_on
        self.destination = reviewing.place_of(self.clip, self.destination, number)
        self.on_limit, self.on_moderated = "fail", "fail"
        self.resubmit_on = [each for each in self.resubmit_on if each == "unconfirmed"]
        try:
            yield
        finally:
            self.destination, self.on_limit, self.on_moderated, self.resubmit_on = given

    def _check_words(self) -> None:
        given = self.destination
        # The place beside the first take is as good as one that was named.
        self.destination = reviewing.place_of(self.clip, given, takes.FIRST + 1)
        try:
            super()._check_words()
        finally:
            self.destination = given
        if not self.wait_for_completion:
            raise InvalidInput("wait_for_completion", False, "True: a person can look at a video when it is there")
        if self.on_reject not in ("skip", "fail"):
            raise InvalidInput("on_reject", self.on_reject, "one of skip, fail")
        text = str(self.max_takes).strip()
        if (
            isinstance(self.max_takes, bool)
            or not (text.isascii() and text.isdecimal())
            or not 1 <= int(text) <= MOST_TAKES
        ):
            raise InvalidInput("max_takes", self.max_takes, f"a whole number from 1 to {MOST_TAKES}")

    def _show_take(
        self,
        number: int,
        context: Context,
        outcome: Literal["asking", "delivered", "done"],
        *,
        error: GrokVideoError | None = None,
    ) -> None:
        """Let the Video tab show a take."""
        from airflow_provider_grokvideo.tasks.cards import show

        made = self._manifest(number)
        record = takes.takes(self._known.records, self.clip.name).get(number)
        # Each take's own sidecar says what it was made from; the words of one may be gone with the try that had them.
        clip = self.clip if record is None else reviewing.clip_in(made)
        show(
            context,
            outcome,
            request=None if clip.why_no_other else clip.request(),
            made_from=clip.made_from,
            made=made,
            error=_without_request(error),
            records=self._known.records,
            conn_id=self.grokvideo_conn_id,
        )

    def _push(self, context: Context, key: str, value: Any) -> None:
        if (ti := context.get("ti")) is not None:
            ti.xcom_push(key=key, value=value)


def _without_request(error: GrokVideoError | None) -> GrokVideoError | None:
    """Return an error about one take as it is told beside another, whose request and cost the card names."""
    if error is None:
        return None
    told = copy(error)
    told.request_id = None
    if isinstance(told, VideoFailed):
        told.cost_usd = None
    return told
