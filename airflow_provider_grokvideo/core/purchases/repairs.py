"""Manual edits of the journal: adopt a request id, forget a submission.

Both settle what the provider cannot find out itself (contract §6.3: no list, no idempotency key). The result is a
:class:`Change` to write, :class:`AsItIs` if there is nothing to change, or :class:`RepairRefused`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from airflow_provider_grokvideo.core.errors import InvalidInput
from airflow_provider_grokvideo.core.purchases.records import ADOPTED, ANY_INPUTS, HOW_TO_CLEAR, Owner, Record, latest
from airflow_provider_grokvideo.core.wire import is_request_id

FORGOTTEN = "forgotten by hand"

_EXPECTED_ID = "a request id of xAI, such as 59607e49-72e0-4cda-902b-0ebf4d2ad037: ASCII without blanks"


@dataclass(frozen=True)
class Change:
    """One record to write.

    Attributes:
        record: The new record.
        is_new: Whether it is added; otherwise it replaces the record with the same token.
        told: Message for the user.
    """

    record: Record
    is_new: bool
    told: str


@dataclass(frozen=True)
class AsItIs:
    """Nothing to change."""

    told: str


@dataclass(frozen=True)
class RepairRefused:
    """The edit is impossible, or would lose a paid video."""

    why: str


Edit = Change | AsItIs | RepairRefused


def adopt(
    records: Sequence[Record], owner: Owner, request_id: str, *, token: str, now: float, force: bool = False
) -> Edit:
    """Return the edit that makes a task instance resume a request that you found.

    The last unconfirmed submission gets the id, or else the one that was just forgotten. If there is neither, a record
    without inputs is added, unless another request is running.

    Args:
        records: All purchases of `owner`, oldest first.
        owner: The task instance.
        request_id: The id of the request, from xAI's console or a log.
        token: Token of an added record.
        now: Epoch seconds.
        force: Add the record even if another request is running.

    Raises:
        InvalidInput: The id cannot be one of xAI.
    """
    if not is_request_id(request_id) or " " in request_id:
        raise InvalidInput("REQUEST_ID", request_id, _EXPECTED_ID)
    known = next((each for each in reversed(records) if each.request_id == request_id), None)
    if known is not None and known.phase != "withdrawn":
        return AsItIs(f"{_named(known)} already has request {request_id}; its phase is {known.phase}.{_still(records)}")
    nameless = known or _unconfirmed(records) or _just_forgotten(records)
    if nameless is not None:
        # A deadline counts from the submit, and the intent was written right before it.
        at = nameless.submitted_at or nameless.intended_at
        record = replace(
            nameless,
            phase="submitted",
            request_id=request_id,
            submitted_at=at,
            outcome=None,
            closed_in=None,
            code=None,
            note=ADOPTED,
        )
        return Change(
            record, is_new=False, told=f"{_named(record)} now has request {request_id}.{_next(records, record)}"
        )
    counting = [each for each in records if each.phase != "withdrawn"]
    if counting and counting[-1].phase == "submitted" and not force:
        return RepairRefused(
            f"{_named(counting[-1])} has the running request {counting[-1].request_id}, and no submission is "
            f"unconfirmed. --force adds {request_id} as a new purchase, which the task then resumes instead"
        )
    record = Record(
        owner, _next_number(records), token, "submitted", ANY_INPUTS, ANY_INPUTS, now,
        request_id=request_id, submitted_at=now, note=ADOPTED,
    )  # fmt: skip
    why = "No submission was unconfirmed" if records else "This task instance had no purchase"
    told = f"{why}; added {_named(record)} for request {request_id}.{_next([], record)}"
    return Change(record, is_new=True, told=told)


def forget(records: Sequence[Record], owner: Owner, *, force: bool = False) -> Edit:
    """Return the edit that lets a task instance submit again.

    The last unconfirmed submission is withdrawn. With `force` it may be a request with an id that was not delivered. A
    delivered one is never forgotten: ``resubmit_on=['cleared']`` submits again without that.

    Args:
        records: All purchases of `owner`, oldest first.
        owner: The task instance.
        force: Also withdraw a request with an id.
    """
    unconfirmed = _unconfirmed(records)
    if unconfirmed is not None:
        return _withdrawn(records, unconfirmed)
    bought = [each for each in records if each.phase in ("submitted", "ended")]
    if not bought:
        return RepairRefused(_nothing_to_forget(records, owner))
    last = bought[-1]
    if force:
        return _withdrawn(records, last)
    if last.phase == "ended":
        return RepairRefused(
            f"{_named(last)}, request {last.request_id}, ended: {last.outcome or 'no video'}. No submission is "
            f"unconfirmed. Run the command with --force to forget this request, then clear the task to submit again"
        )
    return RepairRefused(
        f"{_named(last)} has request {last.request_id}, which will be billed and is not delivered. Clear the task to "
        f"resume it, or use GrokVideoSensor(request_id={last.request_id!r}) with a destination. --force forgets it"
    )


def no_purchase(owner: Owner) -> str:
    """Return the message for a task instance without a purchase."""
    hint = "; for a mapped task add --map-index" if owner.map_index < 0 else ""
    return f"no purchase found for {owner}{hint}"


def _unconfirmed(records: Sequence[Record]) -> Record | None:
    return next((each for each in reversed(records) if each.phase == "intent"), None)


def _just_forgotten(records: Sequence[Record]) -> Record | None:
    last = records[-1] if records else None
    if last is None or last.phase != "withdrawn" or last.note != FORGOTTEN or last.request_id is not None:
        return None
    return last


def _withdrawn(records: Sequence[Record], record: Record) -> Change:
    record = replace(record, phase="withdrawn", note=FORGOTTEN)
    request = f" (request {record.request_id})" if record.request_id else ""
    leading = latest(_with(records, record), record.fingerprint)
    if leading is None:
        then = "Clear the task to submit again."
    elif leading.phase == "intent":
        then = f"Purchase {leading.number} is still unconfirmed: forget it too, or adopt its request."
    else:
        then = f"The task now uses purchase {leading.number}, whose phase is {leading.phase}."
    return Change(record, is_new=False, told=f"{_named(record)}{request} is forgotten. {then}")


def _with(records: Sequence[Record], record: Record) -> list[Record]:
    return [record if each.token == record.token else each for each in records] or [record]


def _next(records: Sequence[Record], record: Record) -> str:
    """Return what a clear does after `record` was written."""
    leading = latest(_with(records, record), record.fingerprint)
    if leading is None or leading.token == record.token:
        return f" Clear the task to fetch this video; no new charge. {HOW_TO_CLEAR}"
    return (
        f" The task uses purchase {leading.number}, which is newer. To fetch this video use GrokVideoSensor("
        f"request_id={record.request_id!r}) with a destination; no new charge."
    )


def _still(records: Sequence[Record]) -> str:
    unconfirmed = _unconfirmed(records)
    return "" if unconfirmed is None else f" Purchase {unconfirmed.number} is still unconfirmed."


def _nothing_to_forget(records: Sequence[Record], owner: Owner) -> str:
    if any(each.phase == "delivered" for each in records):
        return (
            f"{owner} has no unconfirmed submission: its video was delivered. To submit again, set "
            "resubmit_on=['cleared'] and clear the task"
        )
    return f"{owner} has no unconfirmed submission" if records else no_purchase(owner)


def _named(record: Record) -> str:
    return f"purchase {record.number} of {record.owner}"


def _next_number(records: Sequence[Record]) -> int:
    return max((each.number for each in records), default=0) + 1
