"""Update of one purchase in the ledger from its journal record."""

from __future__ import annotations

from collections.abc import Sequence

from airflow_provider_grokvideo.core.billing import entries as ledger_entries
from airflow_provider_grokvideo.core.billing.entries import Entry
from airflow_provider_grokvideo.core.purchases.records import Record
from airflow_provider_grokvideo.ledger.backends import Ledger


def follow(ledger: Ledger, record: Record, entry: Entry | None, *, dry_run: bool = False) -> list[Change]:
    """Update a purchase from its record; a request has one entry, even if several tasks adopted it.

    Args:
        ledger: The ledger.
        record: The journal's record.
        entry: The ledger's entry with the record's token.
        dry_run: Do not write.

    Returns:
        The changes, or those that a run without `dry_run` makes.
    """
    changes: list[Change] = []
    other = ledger.find(record.request_id) if record.request_id else None
    if other is not None and other.token != record.token:
        if entry is not None and entry.state == "reserved":
            # The unconfirmed submission is that request, which has an entry already.
            changes.append((entry, ledger_entries.released(entry)))
            if not dry_run:
                ledger.change(entry.token, lambda known: known and ledger_entries.released(known))
        entry = other
    wanted = ledger_entries.reconciled(entry, record)
    if wanted != entry:
        changes.append((entry, wanted))
        if not dry_run:
            ledger.change(wanted.token, lambda known: ledger_entries.reconciled(known, record))
    return changes


def follow_rows(ledger: Ledger, records: Sequence[Record], entries: Sequence[Entry]) -> list[Entry]:
    """Update the purchases of a table's rows from their records; write only what differs.

    Args:
        ledger: The ledger.
        records: The journal's records of all rows.
        entries: The ledger's entries of the task instance.

    Returns:
        The entries without a record.
    """
    known = {entry.token: entry for entry in entries}
    for record in records:
        entry = known.pop(record.token, None)
        is_same = entry is not None and entry.request_id == record.request_id
        if not is_same or ledger_entries.reconciled(entry, record) != entry:
            follow(ledger, record, entry)
    return list(known.values())


Change = tuple[Entry | None, Entry]
"""An entry before, None if there was none, and after."""
