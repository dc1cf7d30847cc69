"""What a task leaves in XCom about its video, for people to look at: the card.

A card is rewritten whenever something becomes known: the request was accepted, the video is stored, the task stopped.
It is read by the page of the plugin. Whoever may edit XCom may edit a card, so a reader believes it only as far as it
shows things, never as a permission.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from airflow_provider_grokvideo.core.errors import (
    AmbiguousSubmit,
    GrokVideoError,
    VideoExpired,
    VideoFailed,
    VideoModerated,
)
from airflow_provider_grokvideo.core.journal import Record
from airflow_provider_grokvideo.core.money import MOST, plain

KEY = "grokvideo_card"
"""The XCom key; by it the page finds all videos of a deployment."""

SCHEMA = 1

Outcome = Literal[
    "submitting", "waiting", "submitted", "delivered", "done", "failed", "moderated", "expired", "doubt", "refused",
    "asking", "trouble",
]  # fmt: skip
"""``submitting``: the request is being sent; where its task ended meanwhile, the submission is unconfirmed.
``waiting``: the request is under way. ``submitted``: another task waits for it. ``delivered``: the file is at its
destination. ``done``: there is only the temporary link. ``failed``, ``moderated``, ``expired``: it ended without a
video. ``doubt``: nobody knows whether the start was accepted. ``refused``: stopped before money was spent. ``asking``:
a person is asked. ``trouble``: the request goes on or its video exists, and the task stopped."""

ENDINGS: frozenset[Outcome] = frozenset({"delivered", "done", "failed", "moderated", "expired"})
"""Outcomes that only another try can change."""

YEAR_10000 = 253_402_300_800
"""Epoch seconds from which on a moment cannot be written as ISO 8601."""

_Epoch = Annotated[float, Field(ge=0, lt=YEAR_10000)]
_Dollars = Annotated[str, Field(pattern=r"^\d{1,12}(\.\d{1,12})?$")]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Problem(_Part):
    """Why there is no video, or not yet.

    Attributes:
        type: The error's class.
        message: What happened.
        advice: What to do about it.
        code: The service's word for it.
    """

    type: str
    message: str
    advice: str = ""
    code: str | None = None


class MadeFrom(_Part):
    """What the first picture of a request comes from.

    Attributes:
        field: The argument: ``video`` or ``image``.
        request_id: Of the video that another task made.
        address: Path or URL; without query.
    """

    field: Literal["video", "image"]
    request_id: str | None = None
    address: str | None = None


class Purchase(_Part):
    """One request that the task instance paid for, or may have.

    Attributes:
        number: Which of its purchases, from 1.
        phase: As in the journal.
        request_id: The service's id, once it is known.
        outcome: How it ended, if not with a video.
        estimated_usd: What it should cost.
        cost_usd: What it cost.
        at: Epoch seconds of the start.
        note: One line for people.
    """

    number: int
    phase: str
    request_id: str | None = None
    outcome: str | None = None
    estimated_usd: _Dollars | None = None
    cost_usd: _Dollars | None = None
    at: _Epoch | None = None
    note: str | None = None


class Card(_Part):
    """What is known about the video of a task instance.

    Attributes:
        outcome: How far it is.
        at: Epoch seconds when that was written down.
        conn_id: Connection that pays.
        request_id: The service's id, once it is known.
        kind: What its latency has in common with others.
        mode: Mode of the request.
        model: Model that was asked for.
        prompt: What was asked for.
        label: What Airflow shows instead of the map index, where the task has a ``map_index_template``.
        parameters: The other arguments that were given.
        made_from: What an edit, an extension or an animated image started from.
        estimated_usd: What it should cost.
        cost_usd: What the service billed.
        submitted_at: Epoch seconds of the start.
        deadline: Epoch seconds until which the task waits.
        manifest: The task's result, once there is one.
        problem: Why there is no video, or not yet.
        purchases: All purchases of the task instance, oldest first.
    """

    outcome: Outcome
    at: _Epoch
    conn_id: str | None = None
    request_id: str | None = None
    kind: str | None = None
    mode: str | None = None
    model: str | None = None
    prompt: str | None = None
    label: str | None = None
    parameters: dict[str, Any] = Field(default_factory=dict)
    made_from: MadeFrom | None = None
    estimated_usd: _Dollars | None = None
    cost_usd: _Dollars | None = None
    submitted_at: _Epoch | None = None
    deadline: _Epoch | None = None
    manifest: dict[str, Any] | None = None
    problem: Problem | None = None
    purchases: tuple[Purchase, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the card as plain JSON, stamped with its schema version."""
        return {"schema": SCHEMA, **self.model_dump(mode="json", exclude_none=True)}


def parse(value: object) -> Card | None:
    """Read a card back; None where it is none, or of another schema."""
    if not isinstance(value, Mapping) or value.get("schema") != SCHEMA:
        return None
    try:
        return Card.model_validate(value)
    except (ValidationError, RecursionError):
        return None


def outcome_of(error: GrokVideoError) -> Outcome:
    """Return how far a video is whose task stops with an error."""
    match error:
        case VideoModerated():
            return "moderated"
        case VideoFailed():
            return "failed"
        case VideoExpired():
            return "expired"
        case AmbiguousSubmit():
            return "doubt"
    return "trouble" if error.request_id else "refused"


def problem_of(error: GrokVideoError) -> Problem:
    """Return an error in words for people."""
    return Problem(
        type=next(kind.__name__ for kind in type(error).__mro__ if kind.__module__ == GrokVideoError.__module__),
        message=error.what,
        advice=error.what_to_do,
        code=getattr(error, "code", None),
    )


def purchases_of(records: Sequence[Record]) -> tuple[Purchase, ...]:
    """Return what the journal knows of the purchases of a task instance; a start that was not accepted is none."""
    return tuple(
        Purchase(
            number=record.number,
            phase=record.phase,
            request_id=record.request_id,
            outcome=record.outcome,
            estimated_usd=dollars(record.estimated_usd),
            cost_usd=dollars(_billed(record)),
            at=record.submitted_at or record.intended_at,
            note=record.note,
        )
        for record in records
        if record.phase != "withdrawn"
    )


def dollars(amount: object) -> str | None:
    """Return an amount as a card holds it: plain digits, without an exponent; None where it is none."""
    try:
        number = Decimal(str(amount))
    except InvalidOperation:
        return None
    return plain(round(number, 10)) if number.is_finite() and 0 <= number <= MOST else None


def _billed(record: Record) -> object:
    return record.cost_usd or (record.manifest or {}).get("cost_usd")
