"""What a person's word does to the purchases of a task instance: a found request is adopted, a start is forgotten.

Both settle what the provider cannot know by itself (contract §6.3: no list, no idempotency key). Each decision is a
:class:`Change` to write, :class:`AsItIs` where it is so already, or :class:`Refused`; the texts are for that person.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from airflow_provider_grokvideo.core.errors import InvalidInput
from airflow_provider_grokvideo.core.journal import ADOPTED, ANY_INPUTS, HOW_TO_CLEAR, Owner, Record, latest

FORGOTTEN = "forgotten by hand"


@dataclass(frozen=True)
class Change:
    """One record to write.

    Attributes:
        record: As it will be.
        is_new: Whether it is added; else it replaces the one of the same token.
        told: What this means.
    """

    record: Record
    is_new: bool
    told: str


@dataclass(frozen=True)
class AsItIs:
    """The journal says so already."""

    told: str


@dataclass(frozen=True)
class Refused:
    """There is nothing to change, or it would lose a video that is paid."""

    why: str


Edit = Change | AsItIs | Refused


def adopt(
    records: Sequence[Record], owner: Owner, request_id: str, *, token: str, now: float, force: bool = False
) -> Edit:
    """Say what it takes for a task instance to go on with a request that a person found.

    The last unconfirmed submission gets the id, else one that was forgotten as the last thing. Where there is neither,
    a record for whatever inputs is added, unless another request is under way.

    Args:
        records: All purchases of `owner`, oldest first.
        owner: The task instance.
        request_id: The service's id, from its console or a log.
        token: For a record that is added.
        now: Epoch seconds.
        force: Add the record although another request is under way.

    Raises:
        InvalidInput: The id is empty or has blanks in it.
    """
    if not request_id or any(letter.isspace() or not letter.isprintable() for letter in request_id):
        raise InvalidInput("REQUEST_ID", request_id, "the service's id of a request, without blanks")
    known = next((each for each in reversed(records) if each.request_id == request_id), None)
    if known is not None and known.phase != "withdrawn":
        return AsItIs(f"{_named(known)} has request {request_id} already; it is {known.phase}.{_still(records)}")
    nameless = known or _unconfirmed(records) or _just_forgotten(records)
    if nameless is not None:
        # A deadline counts from the submit, and the intent was written right before it.
        at = nameless.submitted_at or nameless.intended_at
        record = replace(
            nameless, phase="submitted", request_id=request_id, submitted_at=at, outcome=None, code=None, note=ADOPTED
        )
        return Change(record, is_new=False, told=f"{_named(record)} has request {request_id}.{_next(records, record)}")
    counting = [each for each in records if each.phase != "withdrawn"]
    if counting and counting[-1].phase == "submitted" and not force:
        return Refused(
            f"{_named(counting[-1])} has request {counting[-1].request_id} under way, and no start is unconfirmed. "
            f"--force adds {request_id} as another purchase that the task goes on with instead"
        )
    record = Record(
        owner, _next_number(records), token, "submitted", ANY_INPUTS, ANY_INPUTS, now,
        request_id=request_id, submitted_at=now, note=ADOPTED,
    )  # fmt: skip
    why = "No start was unconfirmed" if records else "Nothing was written down for this task instance"
    return Change(record, is_new=True, told=f"{why}; {_named(record)} was added for {request_id}.{_next([], record)}")


def forget(records: Sequence[Record], owner: Owner, *, force: bool = False) -> Edit:
    """Say what it takes for a task instance to buy again.

    The last unconfirmed submission is withdrawn. With `force` it may be a request with an id that was not delivered;
    what was delivered is never forgotten, because ``resubmit_on=['cleared']`` submits again without that.

    Args:
        records: All purchases of `owner`, oldest first.
        owner: The task instance.
        force: Withdraw also a request with an id.
    """
    unconfirmed = _unconfirmed(records)
    if unconfirmed is not None:
        return _withdrawn(records, unconfirmed)
    bought = [each for each in records if each.phase in ("submitted", "ended")]
    if not bought:
        return Refused(_nothing_to_forget(records, owner))
    last = bought[-1]
    if force:
        return _withdrawn(records, last)
    if last.phase == "ended":
        return Refused(
            f"{_named(last)}, request {last.request_id}, ended {last.outcome or 'without a video'}; no start is in "
            f"doubt. --force forgets it, and a clear of the task buys anew"
        )
    return Refused(
        f"{_named(last)} has request {last.request_id}, which is billed and not delivered. Clear the task, or fetch "
        f"it with GrokVideoSensor(request_id={last.request_id!r}) and a destination; --force forgets it"
    )


def no_purchase(owner: Owner) -> str:
    """Say that there is none, and what may have been left out."""
    hint = "; one of a mapped task needs --map-index" if owner.map_index < 0 else ""
    return f"there is no purchase of {owner}{hint}"


def _unconfirmed(records: Sequence[Record]) -> Record | None:
    return next((each for each in reversed(records) if each.phase == "intent"), None)


def _just_forgotten(records: Sequence[Record]) -> Record | None:
    last = records[-1] if records else None
    if last is None or last.phase != "withdrawn" or last.note != FORGOTTEN or last.request_id is not None:
        return None
    return last


def _withdrawn(records: Sequence[Record], record: Record) -> Change:
    record = replace(record, phase="withdrawn", note=FORGOTTEN)
    request = f", request {record.request_id}," if record.request_id else ""
    leading = latest(_with(records, record), record.fingerprint)
    if leading is None:
        then = "Clear the task: it buys anew."
    elif leading.phase == "intent":
        then = f"Purchase {leading.number} is still unconfirmed: forget it too, or adopt its request."
    else:
        then = f"The task goes on with purchase {leading.number}, which is {leading.phase}."
    return Change(record, is_new=False, told=f"{_named(record)}{request} is forgotten. {then}")


def _with(records: Sequence[Record], record: Record) -> list[Record]:
    return [record if each.token == record.token else each for each in records] or [record]


def _next(records: Sequence[Record], record: Record) -> str:
    """Say what a clear does after `record` was written."""
    leading = latest(_with(records, record), record.fingerprint)
    if leading is None or leading.token == record.token:
        return f" Clear the task: it fetches this video and buys nothing. {HOW_TO_CLEAR}"
    return (
        f" The task goes on with purchase {leading.number}, which is newer; GrokVideoSensor("
        f"request_id={record.request_id!r}) with a destination fetches this video for free."
    )


def _still(records: Sequence[Record]) -> str:
    unconfirmed = _unconfirmed(records)
    return "" if unconfirmed is None else f" Purchase {unconfirmed.number} is still unconfirmed."


def _nothing_to_forget(records: Sequence[Record], owner: Owner) -> str:
    if any(each.phase == "delivered" for each in records):
        return (
            f"{owner} has no unconfirmed submission: its video was delivered. To submit again set "
            "resubmit_on=['cleared'] and clear the task"
        )
    return f"nothing of {owner} is unconfirmed" if records else no_purchase(owner)


def _named(record: Record) -> str:
    return f"purchase {record.number} of {record.owner}"


def _next_number(records: Sequence[Record]) -> int:
    return max((each.number for each in records), default=0) + 1
