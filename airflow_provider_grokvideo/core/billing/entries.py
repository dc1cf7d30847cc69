"""Ledger entries of purchases, and how a task's findings change them.

::

    reserve          POST refused           submitted          the request ended
    (before POST) ─► released (0 USD)   ─►  reserved       ─►  settled
         └────── response lost: stays reserved, unconfirmed ──────────┘

A reservation counts with its estimate until the outcome is known. A bill counts as soon as xAI reports it. Where
something may have been charged and no bill is known, the estimate still counts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from typing import Any, Literal

from typing_extensions import assert_never

from airflow_provider_grokvideo.core.billing.money import MOST, plain, ticks_of
from airflow_provider_grokvideo.core.jobs import Done, Expired, Failed, FinalJob, Moderated, usd
from airflow_provider_grokvideo.core.purchases.records import Owner, Record

State = Literal["reserved", "settled", "released"]
Outcome = Literal["done", "moderated", "failed", "expired", "unconfirmed", "abandoned"]


@dataclass(frozen=True)
class Entry:
    """One purchase in the ledger; amounts in ticks of 1/10^10 USD, the unit of xAI's bills.

    Attributes:
        token: Token of the journal's record of the same purchase.
        reserved_at: Epoch seconds; decides which day and month the purchase belongs to.
        conn_id: Connection whose account pays.
        owner: Task instance of the purchase, and its row where it buys a table.
        try_number: Try that submitted it.
        mode: Mode of the request.
        model: Requested model, or the billed one once known.
        estimated: Estimated price; None if unknown.
        billed: Billed amount; None until xAI reports it.
        state: ``reserved`` (may cost its estimate), ``settled`` (the outcome is known), ``released`` (provably not
            accepted).
        outcome: How it ended; ``unconfirmed`` if the response to the submission was lost, ``abandoned`` if you have
            forgotten an accepted request with ``journal forget``.
        request_id: xAI's id of the request, once known.
        approved_by: User who approved it above a limit.
    """

    token: str
    reserved_at: float
    conn_id: str
    owner: Owner
    try_number: int | None = None
    mode: str | None = None
    model: str | None = None
    estimated: int | None = None
    billed: int | None = None
    state: State = "reserved"
    outcome: Outcome | None = None
    request_id: str | None = None
    approved_by: str | None = None

    @property
    def counted(self) -> int:
        """Ticks that count against budgets: the bill, or else the estimate if something may have been charged.

        A failed request without a reported cost counts nothing: xAI reports the cost with the end of a request, even if
        it failed (contract §5.1). A moderated, expired or unconfirmed one counts in full (§11).
        """
        if self.billed is not None:
            return self.billed
        return 0 if self.state == "released" or self.outcome == "failed" else self.estimated or 0

    @property
    def known(self) -> int | None:
        """The confirmed cost in ticks; None if unknown."""
        return self.counted if self.billed is not None or (self.counted == 0 and self.state != "reserved") else None

    @property
    def possible(self) -> int:
        """The counted ticks that no bill confirms."""
        return 0 if self.billed is not None else self.counted


def accepted(entry: Entry, request_id: str) -> Entry:
    """Return the entry of an accepted submission; a settled entry stays settled."""
    if entry.state == "settled":
        return replace(entry, request_id=entry.request_id or request_id)
    return replace(entry, state="reserved", outcome=None, request_id=request_id)


def unconfirmed(entry: Entry) -> Entry:
    """Return the entry of an unconfirmed submission, which keeps its reservation."""
    return entry if entry.state == "settled" else replace(entry, state="reserved", outcome="unconfirmed")


def released(entry: Entry) -> Entry:
    """Return the entry of a submission that was provably not accepted."""
    return replace(entry, state="released", outcome=None)


def refused(entry: Entry, billed: int | None) -> Entry:
    """Return the entry of a submission that was not accepted; a cost in the response still counts."""
    return released(entry) if billed is None else replace(entry, state="settled", outcome="moderated", billed=billed)


def settled(entry: Entry, job: FinalJob) -> Entry:
    """Return the entry of a request that ended; a known bill stays if this poll reports none."""
    request_id = job.request_id or entry.request_id
    outcome: Outcome
    ticks: int | None
    match job:
        case Done(model=model, cost_ticks=ticks):
            entry, outcome = replace(entry, model=model or entry.model), "done"
        case Moderated(cost_ticks=ticks):
            outcome = "moderated"
        case Failed(cost_ticks=ticks):
            outcome = "failed"
        case Expired():
            if entry.state == "settled":
                # A poll of an expired request does not change a known outcome.
                return entry
            ticks, outcome = None, "expired"
        case _:
            assert_never(job)
    return replace(
        entry,
        state="settled",
        outcome=outcome,
        billed=entry.billed if ticks is None else ticks,
        request_id=request_id,
    )


def entry_of(record: Record) -> Entry:
    """Return the ledger entry of a journal record."""
    entry = Entry(
        token=record.token,
        reserved_at=record.intended_at,
        conn_id=record.conn_id or "",
        owner=record.owner,
        try_number=record.try_number,
        mode=record.mode,
        model=(record.manifest or {}).get("model") or record.model,
        estimated=None if record.estimate is None else ticks_of(record.estimate),
        request_id=record.request_id,
    )
    match record.phase:
        case "intent":
            return unconfirmed(entry)
        case "submitted":
            return replace(entry, state="settled", outcome="expired") if record.outcome == "expired" else entry
        case "delivered":
            return replace(
                entry, state="settled", outcome="done", billed=_ticks((record.manifest or {}).get("cost_usd"))
            )
        case "ended":
            return replace(entry, state="settled", outcome=record.outcome, billed=_ticks(record.cost_usd))
        case "withdrawn":
            # Only what was never accepted is free: xAI still bills a forgotten request.
            if record.request_id:
                return replace(entry, state="settled", outcome="abandoned")
            return refused(entry, _ticks(record.cost_usd))
        case _:
            assert_never(record.phase)


def reconciled(entry: Entry | None, record: Record) -> Entry:
    """Return the entry updated from the journal's record; the same entry if nothing is new.

    The ledger learns of a bill before the video is stored and the journal after that, so a known bill is kept.
    """
    found = entry_of(record)
    if entry is None:
        return found
    if record.phase == "withdrawn" and entry.request_id:
        # The journal does not know that it was accepted.
        found = replace(found, state="settled", outcome="abandoned")
    knows_more = entry.state == "settled" and entry.outcome in ("done", "moderated", "failed")
    if knows_more and found.billed in (None, entry.billed):
        return entry
    return replace(
        found,
        token=entry.token,
        reserved_at=entry.reserved_at,
        owner=entry.owner,
        try_number=entry.try_number,
        conn_id=entry.conn_id or found.conn_id,
        mode=entry.mode or found.mode,
        model=found.model or entry.model,
        estimated=found.estimated if entry.estimated is None else entry.estimated,
        request_id=found.request_id or entry.request_id,
        billed=entry.billed if found.billed is None else found.billed,
        approved_by=entry.approved_by,
    )


def forgotten(entry: Entry) -> Entry:
    """Return the entry of a reservation without a record in its task instance's journal.

    The intent is written after the reservation and before the submission, so nothing was sent for it. An entry with a
    request id or an unconfirmed submission was sent and has lost its record: it keeps its reservation.
    """
    sent = entry.request_id is not None or entry.outcome == "unconfirmed"
    return entry if entry.state != "reserved" or sent else released(entry)


def _ticks(usd: Any) -> int | None:
    try:
        amount = Decimal(str(usd))
    except InvalidOperation:
        return None
    return ticks_of(amount) if amount.is_finite() and 0 <= amount <= MOST else None


def as_json(entry: Entry) -> dict[str, Any]:
    """Return an entry as plain JSON with dollars, for reports."""

    def amount(ticks: int | None) -> str | None:
        known = usd(ticks)
        return None if known is None else plain(known)

    owner = entry.owner
    return {
        "token": entry.token,
        "reserved_at": entry.reserved_at,
        "conn_id": entry.conn_id,
        "dag_id": owner.dag_id,
        "run_id": owner.run_id,
        "task_id": owner.task_id,
        "map_index": owner.map_index,
        "item": owner.item,
        "try_number": entry.try_number,
        "mode": entry.mode,
        "model": entry.model,
        "state": entry.state,
        "outcome": entry.outcome,
        "request_id": entry.request_id,
        "estimated_usd": amount(entry.estimated),
        "billed_usd": amount(entry.billed),
        "counted_usd": amount(entry.counted),
        "approved_by": entry.approved_by,
    }
