"""Takes of a reviewed clip, and the next step of a review.

Take 1 is the clip that the review was given. Each further take is one purchase of the review's own task instance. Its
number is part of the fingerprint of its record, so two takes with equal arguments are two purchases, and a retry of one
is no new purchase. A response only counts for the question that it answers. A question names the take on display and
the number of the next take, so a response that was already followed no longer matches. Then the review asks again,
without a charge.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from airflow_provider_grokvideo.core.purchases.records import ANY_INPUTS, Record

FIRST = 1
"""The number of the clip that the review was given."""

Choice = Literal["approve", "reject", "another"]


@dataclass(frozen=True)
class Question:
    """Question of a review.

    Attributes:
        take: Number of the take on display: the latest that was delivered.
        next: Number of the next take.
    """

    take: int
    next: int


def parse(value: object) -> Question | None:
    """Parse a question; None if the value is not one."""
    if not isinstance(value, Mapping):
        return None
    take, following = value.get("take"), value.get("next")
    return Question(take, following) if isinstance(take, int) and isinstance(following, int) else None


@dataclass(frozen=True)
class QuestionShown:
    """Content of a try's question; Airflow keeps the first one.

    Attributes:
        clip: The clip, as :func:`clip_of` names it.
        conn_id: Connection whose account would pay for the next take.
        asked: Fingerprint of the next take's request with the prompt of the form; None if there is none.
        usd: Price of the next take in dollars, as text; None if unknown.
    """

    clip: str
    conn_id: str
    asked: str | None = None
    usd: str | None = None


def difference(shown: QuestionShown, now: QuestionShown, choice: Choice) -> str | None:
    """Return what has changed since the question was shown; None if the response still applies.

    "Reject" always applies. A response to a higher price covers a lower one.
    """
    if choice == "reject":
        return None
    if now.clip != shown.clip:
        return "the video has changed"
    if choice == "approve":
        return None
    if now.conn_id != shown.conn_id:
        return f"the connection has changed from {shown.conn_id} to {now.conn_id}"
    if now.asked != shown.asked:
        return "the request of the next take has changed"
    if None in (shown.usd, now.usd):
        return None if shown.usd == now.usd else "the price of the next take has changed"
    return "the next take has become more expensive" if Decimal(str(now.usd)) > Decimal(str(shown.usd)) else None


@dataclass(frozen=True)
class TakeResponse:
    """Response to a question.

    Attributes:
        choice: ``approve``, ``reject`` or ``another``.
        question: The question that it answers; None if unknown.
        take: The approved take; None for the take on display.
    """

    choice: Choice
    question: Question | None
    take: int | None = None


@dataclass(frozen=True)
class Ask:
    """Ask about a take; `why` is the reason why an earlier response was not followed."""

    question: Question
    why: str | None = None


@dataclass(frozen=True)
class Buy:
    """Submit the take of this number, which was not sent before."""

    number: int


@dataclass(frozen=True)
class GoOn:
    """Resume the request of a take: poll it and deliver its video. No new charge."""

    number: int
    record: Record


@dataclass(frozen=True)
class Unconfirmed:
    """Stop: the submission of a take is unconfirmed, and you decide with ``journal adopt`` or ``journal forget``."""

    number: int
    record: Record


@dataclass(frozen=True)
class Approve:
    """Publish this take."""

    number: int


@dataclass(frozen=True)
class Reject:
    """Publish nothing; this is the take on display."""

    number: int


Step = Ask | Buy | GoOn | Unconfirmed | Approve | Reject


def clip_of(manifest: Mapping[str, Any]) -> str:
    """Return the identity of the first take: its request id, or else its hash or its address."""
    return str(manifest.get("request_id") or manifest.get("sha256") or manifest.get("uri"))


def fingerprint(clip: str, number: int) -> str:
    """Return the fingerprint of a take's record, which does not depend on the arguments.

    Args:
        clip: From :func:`clip_of`.
        number: From 2.
    """
    return hashlib.sha256(json.dumps(["take", clip, number]).encode()).hexdigest()


def takes(records: Sequence[Record], clip: str) -> dict[int, Record]:
    """Return the purchases of further takes of a clip by their number, the earliest first.

    Submissions that were provably not accepted do not count. An adopted record without inputs is the next take.

    Args:
        records: All purchases of the task instance, oldest first. Those of another clip, such as one that
            was made again since, are left out.
        clip: From :func:`clip_of`.
    """
    numbers = {fingerprint(clip, number): number for number in range(FIRST + 1, len(records) + FIRST + 1)}
    found: dict[int, Record] = {}
    for record in records:
        if record.phase == "withdrawn":
            continue
        if record.fingerprint == ANY_INPUTS:
            found[max(found, default=FIRST) + 1] = record
        elif record.fingerprint in numbers:
            found[numbers[record.fingerprint]] = record
    return found


def question(records: Sequence[Record], clip: str) -> Question:
    """Return the question about the current takes."""
    known = takes(records, clip)
    delivered = [number for number, record in known.items() if record.phase == "delivered"]
    return Question(max(delivered, default=FIRST), max(known, default=FIRST) + 1)


def next_step(
    records: Sequence[Record],
    clip: str,
    *,
    answer: TakeResponse | None = None,
    max_takes: int,
    resubmit: bool = False,
) -> Step:
    """Return the next step of a review.

    Args:
        records: All purchases of its task instance, oldest first.
        clip: From :func:`clip_of`.
        answer: The response; None at the beginning of a try, which knows no questions of earlier tries.
        max_takes: Maximum number of takes, including the first one and those that ended without a video.
        resubmit: ``resubmit_on`` contains ``unconfirmed``: an unconfirmed submission does not stop the review. It still
            counts as a take.
    """
    known = takes(records, clip)
    now = question(records, clip)
    newest = known.get(now.next - 1)
    fits = answer is not None and answer.question == now
    if newest is not None and newest.phase == "intent" and not resubmit:
        return Unconfirmed(now.next - 1, newest)
    # An expired request is polled once in each try, and does not block a response.
    if newest is not None and newest.phase == "submitted" and not (fits and newest.outcome):
        return GoOn(now.next - 1, newest)
    if answer is None:
        return Ask(now)
    if not fits:
        return Ask(now, "the response was to an earlier question")
    match answer.choice:
        case "approve":
            return _approve(known, now, answer.take)
        case "reject":
            return Reject(now.take)
        case "another" if now.next > max_takes:
            return Ask(now, f"max_takes={max_takes} is reached, so no further take was submitted")
        case "another":
            return Buy(now.next)


def _approve(known: Mapping[int, Record], now: Question, wanted: int | None) -> Step:
    number = now.take if wanted is None else wanted
    if number == FIRST or (number in known and known[number].phase == "delivered"):
        return Approve(number)
    return Ask(now, f"take {number} cannot be approved: it has no video")
