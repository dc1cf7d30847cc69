"""What a review does next: which take of a clip to ask about, and when to buy another one.

Take 1 is the clip that the review was given. Every further take is one purchase of the review's own task instance; its
number is in the fingerprint of its record, so that two takes of the same words are two purchases and a retry of one is
none. An answer counts only for the question it was given to. A question names the take that is to be seen and the
number that another take would have, so an answer that was acted on, or whose worker died over it, fits no more: then
the person is asked again, which costs nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from airflow_provider_grokvideo.core.journal import ANY_INPUTS, Record

FIRST = 1
"""The number of the clip that the review was given."""

Choice = Literal["approve", "reject", "another"]


@dataclass(frozen=True)
class Question:
    """What a person is asked about.

    Attributes:
        take: The number of the take that is to be seen: the latest that was delivered.
        next: The number that another take would have.
    """

    take: int
    next: int


def parse(value: object) -> Question | None:
    """Read a question back; None where it is none."""
    if not isinstance(value, Mapping):
        return None
    take, following = value.get("take"), value.get("next")
    return Question(take, following) if isinstance(take, int) and isinstance(following, int) else None


@dataclass(frozen=True)
class Shown:
    """What the question of a try shows; Airflow keeps the first one.

    Attributes:
        clip: The clip, as :func:`clip_of` names it.
        conn_id: The connection that would pay for another take.
        asked: Fingerprint of the request of another take in the words of the form; None where there is none.
        usd: What it would cost, in dollars, as text; None where that is unknown.
    """

    clip: str
    conn_id: str
    asked: str | None = None
    usd: str | None = None


def difference(shown: Shown, now: Shown, choice: Choice) -> str | None:
    """Say in what the thing that an answer would lead to differs from what was shown; None where it does not.

    A no is always for what was seen. A lower price is covered by a yes to a higher one.
    """
    if choice == "reject":
        return None
    if now.clip != shown.clip:
        return "the video is another one"
    if choice == "approve":
        return None
    if now.conn_id != shown.conn_id:
        return f"the connection was {shown.conn_id} and is {now.conn_id}"
    if now.asked != shown.asked:
        return "the request of another take is another one"
    if None in (shown.usd, now.usd):
        return None if shown.usd == now.usd else "the price of another take is another one"
    return "another take costs more" if Decimal(str(now.usd)) > Decimal(str(shown.usd)) else None


@dataclass(frozen=True)
class Answer:
    """What a person said.

    Attributes:
        choice: ``approve``, ``reject`` or ``another``.
        question: What they were asked; None where nobody knows any more.
        take: The take they approve; None for the one of the question.
    """

    choice: Choice
    question: Question | None
    take: int | None = None


@dataclass(frozen=True)
class Ask:
    """Ask about a take; `why` says why an answer was not followed."""

    question: Question
    why: str | None = None


@dataclass(frozen=True)
class Buy:
    """Buy the take of this number; nothing of it was sent before."""

    number: int


@dataclass(frozen=True)
class GoOn:
    """A take was bought and not delivered: look at its request, wait for it, deliver it. Free."""

    number: int
    record: Record


@dataclass(frozen=True)
class Unconfirmed:
    """The start of a take may have been accepted and nobody knows its id: somebody has to find out."""

    number: int
    record: Record


@dataclass(frozen=True)
class Approve:
    """Hand on this take."""

    number: int


@dataclass(frozen=True)
class Reject:
    """Hand on none; this is the take that was to be seen."""

    number: int


Step = Ask | Buy | GoOn | Unconfirmed | Approve | Reject


def clip_of(manifest: Mapping[str, Any]) -> str:
    """Return what stands for the first take: its request, or where nobody knows that, its content or its place."""
    return str(manifest.get("request_id") or manifest.get("sha256") or manifest.get("uri"))


def fingerprint(clip: str, number: int) -> str:
    """Return the fingerprint of the record of a take: which one it is, whatever its words.

    Args:
        clip: From :func:`clip_of`.
        number: From 2.
    """
    return hashlib.sha256(json.dumps(["take", clip, number]).encode()).hexdigest()


def takes(records: Sequence[Record], clip: str) -> dict[int, Record]:
    """Return the purchases of further takes of a clip by their number, the earliest first.

    Starts that were provably not accepted are none. A record that a person wrote by hand for a request without inputs
    is the next take.

    Args:
        records: All purchases of the task instance, oldest first. Another clip's, as of a clip that was made anew
            since, are left out.
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
    """Return what a person can be asked about, as far as the takes are."""
    known = takes(records, clip)
    delivered = [number for number, record in known.items() if record.phase == "delivered"]
    return Question(max(delivered, default=FIRST), max(known, default=FIRST) + 1)


def next_step(
    records: Sequence[Record],
    clip: str,
    *,
    answer: Answer | None = None,
    max_takes: int,
    resubmit: bool = False,
) -> Step:
    """Say what a review has to do.

    Args:
        records: All purchases of its task instance, oldest first.
        clip: Stands for the first take, from :func:`clip_of`.
        answer: Of a person; None at the begin of a try, whose predecessor's questions are forgotten.
        max_takes: How many takes there may be, the first one and those that ended without a video included.
        resubmit: ``resubmit_on`` has ``unconfirmed``: an unconfirmed submission stops nothing. It counts as a take
            all the same.
    """
    known = takes(records, clip)
    now = question(records, clip)
    newest = known.get(now.next - 1)
    fits = answer is not None and answer.question == now
    if newest is not None and newest.phase == "intent" and not resubmit:
        return Unconfirmed(now.next - 1, newest)
    # One that the service does not know any more is looked for once in each try, and stands in no answer's way.
    if newest is not None and newest.phase == "submitted" and not (fits and newest.outcome):
        return GoOn(now.next - 1, newest)
    if answer is None:
        return Ask(now)
    if not fits:
        return Ask(now, "the answer was given to an earlier question")
    match answer.choice:
        case "approve":
            return _approve(known, now, answer.take)
        case "reject":
            return Reject(now.take)
        case "another" if now.next > max_takes:
            return Ask(now, f"max_takes={max_takes} is reached, so no other take is made")
        case "another":
            return Buy(now.next)


def _approve(known: Mapping[int, Record], now: Question, wanted: int | None) -> Step:
    number = now.take if wanted is None else wanted
    if number == FIRST or (number in known and known[number].phase == "delivered"):
        return Approve(number)
    return Ask(now, f"there is no take {number} to approve")
