"""Next step and status of a row, from the journal's records of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from typing_extensions import assert_never

from airflow_provider_grokvideo.core.bulk.lines import Status
from airflow_provider_grokvideo.core.purchases import records as purchases
from airflow_provider_grokvideo.core.purchases.records import Policy, Record


@dataclass(frozen=True)
class Refused:
    """Leave the row: its request was refused in this try. Nothing was accepted."""

    record: Record


Step = purchases.Step | Refused


def of_this_try(records: Sequence[Record], try_number: int | None) -> Record | None:
    """Return the record that this try wrote last, or saw the end of; None if there is none.

    A row that a try has bought, or whose end it has seen, is not submitted again in the same try: what `resubmit_on`
    allows is for a later one. A submission that was withdrawn because of an outage does not count.
    """
    for record in reversed(records):
        if record.closed_in is not None and record.closed_in == try_number:
            return record
        if record.phase != "withdrawn" and record.try_number == try_number:
            return record
    return None


def next_step(records: Sequence[Record], fingerprint: str, policy: Policy, try_number: int | None) -> Step:
    """Return what to do with a row.

    Args:
        records: Its purchases, oldest first.
        fingerprint: Of its request.
        policy: When a later try submits again.
        try_number: This try.
    """
    mine = of_this_try([r for r in records if r.fingerprint == fingerprint], try_number)
    if mine is not None:
        return settled_step(mine)
    return purchases.next_step(purchases.latest(records, fingerprint), fingerprint, policy)


def settled_step(record: Record) -> Step:
    """Return what to do with a row that this try has bought or seen the end of; never another submit."""
    if record.phase == "withdrawn":
        return Refused(record)
    if record.phase == "submitted" and record.outcome is not None and record.closed_in is not None:
        return purchases.Report(record)
    return purchases.next_step(record, record.fingerprint, Policy((), record.tries))


def status_of(step: Step) -> Status:
    """Return the status of a row in the result table."""
    match step:
        case purchases.Submit():
            return "not_sent"
        case Refused(record):
            return record.outcome or "refused"
        case purchases.Ambiguous():
            return "unconfirmed"
        case purchases.Reuse():
            return "delivered"
        case purchases.Report(record):
            return record.outcome or "failed"
        case purchases.Attach():
            return "submitted"
        case _:
            assert_never(step)
