"""One purchase in the ledger, brought up to what the journal knows of it."""

from __future__ import annotations

from airflow_provider_grokvideo.core import spending
from airflow_provider_grokvideo.core.journal import Record
from airflow_provider_grokvideo.core.spending import Entry
from airflow_provider_grokvideo.ledger.backends import Ledger


def follow(ledger: Ledger, record: Record, entry: Entry | None, *, dry_run: bool = False) -> list[Change]:
    """Bring a purchase up to its record; a request has one entry, whoever adopted it and whatever for.

    Args:
        ledger: The ledger.
        record: What the journal knows.
        entry: What the ledger has under the record's token.
        dry_run: Change nothing.

    Returns:
        What was changed, or would be.
    """
    changes: list[Change] = []
    other = ledger.find(record.request_id) if record.request_id else None
    if other is not None and other.token != record.token:
        if entry is not None and entry.state == "reserved":
            # The start that was unconfirmed has turned out to be that request, which is booked already.
            changes.append((entry, spending.released(entry)))
            if not dry_run:
                ledger.change(entry.token, lambda known: known and spending.released(known))
        entry = other
    wanted = spending.reconciled(entry, record)
    if wanted != entry:
        changes.append((entry, wanted))
        if not dry_run:
            ledger.change(wanted.token, lambda known: spending.reconciled(known, record))
    return changes


Change = tuple[Entry | None, Entry]
"""An entry before, None where there was none, and after."""
