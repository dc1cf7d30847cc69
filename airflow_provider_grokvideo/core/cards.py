"""Card of a task's video: the XCom entry that the Video tab shows.

A task rewrites its card at each step: the request was accepted, the video is stored, the task stopped. The page of the
plugin reads it. Users who may edit XCom may edit a card, so it is only used for display, never as a permission.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from airflow_provider_grokvideo.core.billing.money import MOST, plain
from airflow_provider_grokvideo.core.errors import (
    AmbiguousSubmit,
    GrokVideoError,
    VideoExpired,
    VideoFailed,
    VideoModerated,
)
from airflow_provider_grokvideo.core.purchases.records import Record

KEY = "grokvideo_card"
"""XCom key of cards; the page finds all videos of a deployment by it."""

SCHEMA = 1

Outcome = Literal[
    "submitting", "waiting", "submitted", "delivered", "done", "failed", "moderated", "expired", "unconfirmed",
    "refused", "asking", "trouble",
]  # fmt: skip
"""``submitting``: the request is being sent; if the task has ended since, the submission is unconfirmed. ``waiting``:
the request is running. ``submitted``: another task waits for it. ``delivered``: the file is at its destination.
``done``: there is only the temporary link. ``failed``, ``moderated``, ``expired``: it ended without a video.
``unconfirmed``: the submission may have been accepted, and no request id is known. ``refused``: the task stopped before
anything was charged. ``asking``: the task waits for a response in Required Actions. ``trouble``: the task stopped while
its request was running or its video was not stored."""

ENDINGS: frozenset[Outcome] = frozenset({"delivered", "done", "failed", "moderated", "expired"})
"""Outcomes that only another try can change."""

YEAR_10000 = 253_402_300_800
"""Epoch seconds of the first moment that ISO 8601 cannot express."""

_Epoch = Annotated[float, Field(ge=0, lt=YEAR_10000)]
_Dollars = Annotated[str, Field(pattern=r"^\d{1,12}(\.\d{1,12})?$")]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class CardProblem(_Part):
    """Why there is no video, or not yet.

    Attributes:
        type: The error's class.
        message: What happened.
        advice: What to do about it.
        code: xAI's error code.
    """

    type: str
    message: str
    advice: str = ""
    code: str | None = None


class MadeFrom(_Part):
    """Source of a request's first frame.

    Attributes:
        field: The argument: ``video`` or ``image``.
        request_id: Request of the source video, if another task made it.
        address: Path or URL; without query.
    """

    field: Literal["video", "image"]
    request_id: str | None = None
    address: str | None = None


class Purchase(_Part):
    """One request that the task instance paid for or may have paid for.

    Attributes:
        number: Number of the purchase within its task instance, from 1.
        phase: As in the journal.
        request_id: xAI's id of the request, once known.
        outcome: How it ended without a video.
        estimated_usd: Estimated price.
        cost_usd: Billed amount.
        at: Epoch seconds of the submission.
        note: One line of explanation.
    """

    number: int
    phase: str
    request_id: str | None = None
    outcome: str | None = None
    estimated_usd: _Dollars | None = None
    cost_usd: _Dollars | None = None
    at: _Epoch | None = None
    note: str | None = None


class RowCounts(_Part):
    """State of a table of videos; the rows themselves are in the result table.

    Attributes:
        total: Number of rows.
        counts: How many rows have each status of :data:`airflow_provider_grokvideo.core.bulk.lines.STATUSES`.
        in_flight: Requests that are running.
        table_uri: The result table.
    """

    total: int = Field(ge=0)
    counts: dict[str, int] = Field(default_factory=dict)
    in_flight: int = Field(default=0, ge=0)
    table_uri: str | None = None


class Card(_Part):
    """What is known about the video of a task instance.

    Attributes:
        outcome: Current state.
        at: Epoch seconds when the card was written.
        conn_id: Connection whose account pays.
        request_id: xAI's id of the request, once known.
        kind: Group of requests with a similar latency.
        mode: Mode of the request.
        model: Requested model.
        prompt: Prompt of the request.
        label: Rendered ``map_index_template`` of the task, if it has one.
        parameters: The other arguments of the request.
        made_from: Source of an edit, an extension or an animated image.
        estimated_usd: Estimated price.
        cost_usd: Billed amount.
        submitted_at: Epoch seconds of the submission.
        deadline: Epoch seconds until which the task waits.
        manifest: Result of the task, once there is one.
        problem: Why there is no video, or not yet.
        purchases: All purchases of the task instance, oldest first.
        rows: State of the table, if the task makes one.
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
    problem: CardProblem | None = None
    purchases: tuple[Purchase, ...] = ()
    rows: RowCounts | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the card as plain JSON, stamped with its schema version."""
        return {"schema": SCHEMA, **self.model_dump(mode="json", exclude_none=True)}


def parse(value: object) -> Card | None:
    """Parse a card; None if the value is not a card, or has another schema."""
    if not isinstance(value, Mapping) or value.get("schema") != SCHEMA:
        return None
    try:
        return Card.model_validate(value)
    except (ValidationError, RecursionError):
        return None


def outcome_of(error: GrokVideoError) -> Outcome:
    """Return the outcome of a video whose task stops with an error."""
    match error:
        case VideoModerated():
            return "moderated"
        case VideoFailed():
            return "failed"
        case VideoExpired():
            return "expired"
        case AmbiguousSubmit():
            return "unconfirmed"
    return "trouble" if error.request_id else "refused"


def problem_of(error: GrokVideoError) -> CardProblem:
    """Return an error as the page shows it."""
    return CardProblem(
        type=next(kind.__name__ for kind in type(error).__mro__ if kind.__module__ == GrokVideoError.__module__),
        message=error.what,
        advice=error.what_to_do,
        code=getattr(error, "code", None),
    )


def purchases_of(records: Sequence[Record]) -> tuple[Purchase, ...]:
    """Return the purchases of a task instance from its journal, without submissions that were not accepted."""
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
    """Return an amount in plain digits, without an exponent; None if it is not an amount."""
    try:
        number = Decimal(str(amount))
    except InvalidOperation:
        return None
    return plain(round(number, 10)) if number.is_finite() and 0 <= number <= MOST else None


def _billed(record: Record) -> object:
    return record.cost_usd or (record.manifest or {}).get("cost_usd")
