"""Ledger of one task instance as one try uses it.

Before a purchase a ledger that fails stops the task if a budget applies. After it nothing may: a paid video is worth
more than its entry, which the journal can restore.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow_provider_grokvideo.core.billing import entries as ledger_entries
from airflow_provider_grokvideo.core.billing import money, pricing
from airflow_provider_grokvideo.core.billing.budgets import overruns
from airflow_provider_grokvideo.core.billing.budgets import scopes as scopes_of
from airflow_provider_grokvideo.core.billing.entries import Entry
from airflow_provider_grokvideo.core.errors import (
    GrokVideoError,
    JournalUnavailable,
    LedgerUnavailable,
    SpendLimitExceeded,
    VideoFailed,
)
from airflow_provider_grokvideo.core.jobs import usd
from airflow_provider_grokvideo.core.texts import counted
from airflow_provider_grokvideo.execution.journal import new_token

if TYPE_CHECKING:
    from airflow_provider_grokvideo.client.account import Account
    from airflow_provider_grokvideo.core.billing.budgets import Budget, Overrun, Scope
    from airflow_provider_grokvideo.core.billing.pricing import Estimate, Prices
    from airflow_provider_grokvideo.core.jobs import FinalJob
    from airflow_provider_grokvideo.core.purchases.records import Owner, Record
    from airflow_provider_grokvideo.core.requests import VideoRequest
    from airflow_provider_grokvideo.execution.journal import TaskJournal
    from airflow_provider_grokvideo.journal.backends import Joint
    from airflow_provider_grokvideo.ledger.backends import Ledger

NO_PRICE = "no price is known for this model, so budgets cannot be enforced; add one in [grokvideo] prices_path"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Approval:
    """An approval of a purchase above its limits.

    Attributes:
        usd: The most it may cost; None where its price was unknown and that was accepted.
        by: Name of the user.
        conn_id: The connection that was shown.
        fingerprint: Of the request that was shown.
    """

    usd: Decimal | None
    by: str
    conn_id: str | None = None
    fingerprint: str | None = None

    def is_for(self, conn_id: str, fingerprint: str) -> bool:
        """Say whether this request by this connection is what was shown."""
        return (conn_id, fingerprint) == (self.conn_id, self.fingerprint)

    def difference(self, entry: Entry, fingerprint: str) -> str:
        """Return how a purchase differs from the approved one."""
        if entry.conn_id != self.conn_id:
            return f"connection {self.conn_id}"
        return "other inputs" if fingerprint != self.fingerprint else "less"

    def covers(self, estimate: Estimate) -> bool:
        """Return whether this is the purchase that the question showed, or a cheaper one."""
        return self.usd is None if estimate.usd is None else self.usd is not None and estimate.usd <= self.usd


class TaskLedger:
    """The ledger as a task sees it; opened when it is first needed."""

    @cached_property
    def _ledger(self) -> Ledger:
        from airflow_provider_grokvideo.ledger import settings

        return settings.open_ledger()

    def check(
        self,
        entry: Entry,
        estimate: Estimate,
        *,
        limit: object,
        budgets: Sequence[Budget],
        approval: Approval | None = None,
    ) -> None:
        """Refuse a purchase that a limit or a budget does not allow now; nothing is written.

        Args:
            entry: What is about to be bought.
            estimate: Its price.
            limit: The task's ``max_cost_usd``.
            budgets: All that are declared.
            approval: Of a user who was asked.

        Raises:
            SpendLimitExceeded: It costs more than the task or a budget allows.
            InvalidInput: A limit, a budget or a setting of the ledger cannot be used.
        """
        most = None if limit is None else money.amount(limit, "max_cost_usd", also=", or None for no limit")
        scopes = scopes_of(budgets, entry.owner, entry.conn_id, entry.reserved_at)
        if approval is not None and approval.covers(estimate):
            return
        over_limit = pricing.over_limit(estimate, most)
        reasons = [] if over_limit is None else [over_limit]
        if scopes and estimate.usd is None:
            reasons.append(NO_PRICE)
        # The question has to show everything that an approval would allow.
        reasons += map(str, self._no_room(entry.counted, scopes))
        if reasons:
            raise _refused(estimate, reasons)

    def reserve(
        self,
        entry: Entry,
        estimate: Estimate,
        *,
        budgets: Sequence[Budget],
        approval: Approval | None = None,
        joint: Joint | None = None,
    ) -> bool:
        """Reserve the estimate in every budget that applies, and write the intent with it where that is possible.

        Args:
            entry: What is about to be bought; :meth:`check` has allowed it.
            estimate: Its price.
            budgets: All that are declared.
            approval: Of a user who was asked.
            joint: The intent; written in the same transaction if the journal is in the same database.

        Returns:
            Whether the intent is written.

        Raises:
            SpendLimitExceeded: A budget has no room any more; nothing is written.
            LedgerUnavailable: A budget applies and the ledger does not answer.
            InvalidInput: A budget applies and there is no ledger.
        """
        scopes = scopes_of(budgets, entry.owner, entry.conn_id, entry.reserved_at)
        allowed = approval is not None and approval.covers(estimate)
        also = None
        try:
            ledger = self._ledger
            also = joint.write if joint is not None and ledger.shares(joint.engine) else None
            over = ledger.reserve(entry, scopes, anyway=allowed, also=also)
        except LedgerUnavailable as error:
            if scopes:
                raise
            if also is not None:
                raise JournalUnavailable(error.what) from error
            log.warning(
                "%s. No budget applies, so the task continues; the purchase is booked when it ends.", error.what
            )
            return False
        if over and not allowed:
            raise _refused(estimate, [str(each) for each in over])
        for each in over:
            log.warning("Approved by %s although %s", entry.approved_by, each)
        return also is not None

    def prices(self) -> Prices:
        """Return what the models cost, by ``[grokvideo] prices_path`` and the built-in table."""
        from airflow_provider_grokvideo.ledger import settings

        return settings.prices()

    def budgets(self, account: Account, conn_id: str, declared: Sequence[Mapping[str, Any]]) -> list[Budget]:
        """Return all budgets: of the settings, of the connection, and those `declared` by the DAG's author."""
        from airflow_provider_grokvideo.ledger import settings

        return settings.declared_budgets(account, conn_id, declared)

    def follow(self, journal: TaskJournal) -> None:
        """Bring the ledger up to what the journal of a task instance holds.

        A journal with a backend knows of every submission; without one nothing can be said of what is not in it.
        """
        from airflow_provider_grokvideo.ledger.sync import follow

        def bring(ledger: Ledger) -> None:
            known = {entry.token: entry for entry in ledger.of_owner(journal.owner)}
            if known.keys() - {record.token for record in journal.records}:
                # What another try has written since the journal was read is not missing there.
                journal.read_again()
            for record in journal.records:
                follow(ledger, record, known.get(record.token))
            for token in known.keys() - {record.token for record in journal.records}:
                if journal.backend is not None and ledger_entries.forgotten(known[token]) != known[token]:
                    ledger.change(token, lambda entry: entry and ledger_entries.forgotten(entry))

        self._try(bring)

    def follow_items(
        self, items_records: Mapping[str, Sequence[Record]], owner: Owner, *, has_journal: bool
    ) -> dict[str, Entry]:
        """Bring the ledger up to what the journal of a table's rows holds; read it once, write only what differs.

        Args:
            items_records: The records of each row, by its id.
            owner: The task instance.
            has_journal: There is a journal; without one nothing can be said of what is not in it.

        Returns:
            The last reservation of each row without a record, by the row's id: an earlier leg or try ended before it
            submitted. They stay reserved. Nothing if the ledger fails.
        """
        from airflow_provider_grokvideo.ledger.sync import follow_rows

        records = [record for each in items_records.values() for record in each]
        held: dict[str, Entry] = {}

        def bring(ledger: Ledger) -> None:
            unknown = follow_rows(ledger, records, ledger.of_task(owner))
            found = [entry for entry in unknown if ledger_entries.forgotten(entry) != entry]
            held.update({entry.owner.item: entry for entry in found if entry.owner.item is not None})

        self._try(bring)
        return held if has_journal else {}

    def check_all(
        self,
        entries: Sequence[Entry],
        *,
        limit: object,
        budgets: Sequence[Budget],
        approval: Approval | None = None,
        release: Sequence[Entry] = (),
    ) -> None:
        """Refuse a table whose sum a limit or a budget does not allow now; nothing is written.

        Args:
            entries: What is about to be bought, by one task instance and one connection.
            limit: The task's ``max_cost_usd``, here for the whole table.
            budgets: All that are declared.
            approval: Of a user who was asked.
            release: Reservations that the purchase would release.

        Raises:
            SpendLimitExceeded: It costs more than the task or a budget allows, or a price is unknown and one applies.
            InvalidInput: A limit, a budget or a setting of the ledger cannot be used.
        """
        most = None if limit is None else money.amount(limit, "max_cost_usd", also=", or None for no limit")
        total, scopes = total_of(entries), _scopes_of_all(entries, budgets)
        if approval is not None and approval.covers(total):
            return
        over_limit = pricing.over_limit(total, most)
        reasons = [] if over_limit is None else [over_limit]
        if scopes and total.usd is None:
            reasons.append(NO_PRICE)
        freed = {entry.token for entry in (*entries, *release)}
        reasons += map(str, self._no_room(sum(entry.counted for entry in entries), scopes, freed))
        if reasons:
            raise _table_refused(entries, total, reasons)

    def reserve_all(
        self,
        entries: Sequence[Entry],
        *,
        limit: object,
        budgets: Sequence[Budget],
        approval: Approval | None = None,
        release: Sequence[Entry] = (),
    ) -> None:
        """Reserve a whole table in every budget that applies, in one transaction, or nothing of it.

        The arguments are those of :meth:`check_all`; `release` is released in the same transaction.

        Raises:
            SpendLimitExceeded: As :meth:`check_all`; nothing is written.
            LedgerUnavailable: A budget applies and the ledger does not answer.
            InvalidInput: A limit or a budget cannot be used, or a budget applies and there is no ledger.
        """
        self.check_all(entries, limit=limit, budgets=budgets, approval=approval, release=release)
        total, scopes = total_of(entries), _scopes_of_all(entries, budgets)
        allowed = approval is not None and approval.covers(total)
        try:
            over = self._ledger.reserve_all(entries, scopes, anyway=allowed, release=[entry.token for entry in release])
        except LedgerUnavailable as error:
            if scopes:
                raise
            log.warning(
                "%s. No budget applies, so the task continues; the purchases are booked when they end.", error.what
            )
            return
        if over and not allowed:
            raise _table_refused(entries, total, [str(each) for each in over])
        for each in over:
            log.warning("Approved by %s although %s", approval.by if approval else None, each)

    def release_rows(self, entries: Sequence[Entry]) -> None:
        """Release reservations of rows for which nothing was sent."""
        self._try(lambda ledger: ledger.release_all([entry.token for entry in entries]))

    def accepted(self, entry: Entry, request_id: str) -> None:
        """Book that a submission was accepted."""
        self._change(entry, lambda known: ledger_entries.accepted(known or entry, request_id))

    def unconfirmed(self, entry: Entry) -> None:
        """Book an unconfirmed submission; its reservation stays."""
        self._change(entry, lambda known: ledger_entries.unconfirmed(known or entry))

    def released(self, entry: Entry, error: GrokVideoError | None = None) -> None:
        """Release a reservation: its submission was not accepted, as `error` says, or never sent."""
        usd = error.cost_usd if isinstance(error, VideoFailed) else None
        billed = None if usd is None else money.ticks_of(Decimal(usd))
        self._try(
            lambda ledger: ledger.change(entry.token, lambda known: known and ledger_entries.refused(known, billed))
        )

    def settled(self, job: FinalJob, record: Record | None = None) -> None:
        """Book how a request ended and what it cost.

        Args:
            job: What xAI reported.
            record: The purchase, booked where the ledger does not know it; None books only what it knows.
        """
        entry = None if record is None else ledger_entries.entry_of(record)

        def write(ledger: Ledger) -> None:
            known = ledger.find(job.request_id) if job.request_id else None
            base = known or entry
            if base is not None:
                ledger.change(base.token, lambda there: ledger_entries.settled(there or base, job))

        self._try(write)

    def _no_room(self, wanted: int, scopes: Sequence[Scope], without: Collection[str] = ()) -> list[Overrun]:
        """Return the budgets that so many more ticks would exceed; none of a ledger that fails."""
        try:
            known = [(scope, self._ledger.used(scope, without=without)) for scope in scopes]
        except LedgerUnavailable:
            return []
        return overruns(wanted, known)

    def _change(self, entry: Entry, change: Callable[[Entry | None], Entry]) -> None:
        self._try(lambda ledger: ledger.change(entry.token, change))

    def _try(self, book: Callable[[Ledger], object]) -> None:
        try:
            book(self._ledger)
        except Exception as error:  # noqa: BLE001 - a driver may raise anything, and the video is paid
            told = error.what if isinstance(error, GrokVideoError) else f"{type(error).__name__}: {error}"
            log.warning(
                "Could not update the ledger: %s. The task continues; 'grokvideo reconcile' restores the entry from "
                "the journal.",
                told,
            )


def about_to_buy(
    request: VideoRequest, estimate: Estimate, journal: TaskJournal, conn_id: str, approval: Approval | None
) -> Entry:
    """Return the reservation of a submission that is about to be sent."""
    return Entry(
        token=new_token(),
        reserved_at=time.time(),
        conn_id=conn_id,
        owner=journal.owner,
        try_number=journal.try_number,
        mode=request.mode,
        model=request.model,
        estimated=estimate.ticks,
        approved_by=None if approval is None else approval.by,
    )


def total_of(entries: Sequence[Entry]) -> Estimate:
    """Return the price of a table; unknown where that of a row is."""
    ticks = [entry.estimated for entry in entries]
    known = [each for each in ticks if each is not None]
    return pricing.Estimate(usd(sum(known)) if len(known) == len(ticks) else None)


def _scopes_of_all(entries: Sequence[Entry], budgets: Sequence[Budget]) -> list[Scope]:
    if not entries:
        return []
    first = entries[0]
    return scopes_of(budgets, first.owner.whole, first.conn_id, first.reserved_at)


def _table_refused(entries: Sequence[Entry], total: Estimate, reasons: Sequence[str]) -> SpendLimitExceeded:
    why = "; ".join(reasons)
    price = "an unknown price" if total.usd is None else str(total)
    return SpendLimitExceeded(f"{counted(len(entries), 'row')} would cost {price}: {why}", why=why)


def _refused(estimate: Estimate, reasons: Sequence[str]) -> SpendLimitExceeded:
    why = "; ".join(reasons)
    return SpendLimitExceeded(f"the request would cost {estimate.explained()}: {why}", why=why)
