"""Money of a table: one price, one decision, a reservation for each row in one transaction."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING

from airflow_provider_grokvideo.core.billing.entries import Entry
from airflow_provider_grokvideo.core.errors import SpendLimitExceeded
from airflow_provider_grokvideo.core.texts import counted
from airflow_provider_grokvideo.execution import approval
from airflow_provider_grokvideo.execution.bulk.begin import digest_of, total_of
from airflow_provider_grokvideo.execution.journal import new_token
from airflow_provider_grokvideo.execution.ledger import Approval
from airflow_provider_grokvideo.execution.ports import AskApproval, SkipTask

if TYPE_CHECKING:
    from airflow_provider_grokvideo.core.billing.pricing import Estimate
    from airflow_provider_grokvideo.execution.bulk.begin import OpenTable
    from airflow_provider_grokvideo.execution.bulk.options import BulkOptions
    from airflow_provider_grokvideo.execution.bulk.ports import BulkServices
    from airflow_provider_grokvideo.execution.bulk.rows import RowWork

SAMPLE = 5
"""Prompts that a question shows of a table."""

log = logging.getLogger(__name__)


class Money:
    """The reservations of a table.

    Args:
        options: Of the task.
        services: What it works with.
    """

    def __init__(self, options: BulkOptions, services: BulkServices) -> None:
        self._options = options
        self._run = options.run
        self._services = services
        self._ledger = services.ledger
        self._held: dict[str, Entry] = {}

    def follow(self, opened: OpenTable) -> None:
        """Bring the ledger up to the journal, and take up the reservations of an earlier leg or try."""
        owner = self._services.host.owner
        # A row that was removed may have an unconfirmed submission, whose reservation stays.
        unsent = self._ledger.follow_items(opened.records, owner, has_journal=True)
        # What a later try has reserved is not this one's, which should have ended.
        this = self._services.host.try_number or 0
        self._held = {item: entry for item, entry in unsent.items() if (entry.try_number or 0) <= this}
        for work in opened.to_buy:
            held = self._held.get(work.row.id)
            # A price that has changed since is decided again.
            if held is not None and (work.estimate is None or work.estimate.ticks == held.estimated):
                work.reserved = held

    def reserve(self, opened: OpenTable, allowed: Approval | None) -> AskApproval | SkipTask | None:
        """Reserve the price of every row that is to be bought; None where that was possible.

        Raises:
            SpendLimitExceeded: A limit does not allow it, and the author wants the task to fail.
            GrokVideoError: A budget applies and the ledger cannot be used.
        """
        wanted = opened.to_buy
        if all(work.reserved is not None for work in wanted):
            self._take_over(wanted)
            return None
        total, digest = total_of(wanted), digest_of(wanted)
        given = allowed if allowed is not None and allowed.is_for(self._run.grokvideo_conn_id, digest) else None
        entries = [self._entry(work, given) for work in wanted]
        budgets = self._ledger.budgets(self._services.hook.account(), self._run.grokvideo_conn_id, self._run.budgets)
        try:
            # What an earlier try still holds is decided anew, together with the rest.
            self._ledger.reserve_all(
                entries, limit=self._run.max_cost_usd, budgets=budgets, approval=given, release=[*self._held.values()]
            )
        except SpendLimitExceeded as error:
            return self._beyond_limit(error, wanted, total, digest, allowed)
        for work, entry in zip(wanted, entries, strict=True):
            work.reserved = entry
        log.info("Submitting %s; estimated cost %s", counted(len(wanted), "row"), total.explained())
        return None

    def _take_over(self, wanted: Sequence[RowWork]) -> None:
        """Put reservations of this try in the place of those of an earlier one, which may still run and use them."""
        host = self._services.host
        for work in wanted:
            if work.reserved is not None:
                work.reserved = replace(work.reserved, token=new_token(), try_number=host.try_number)
        entries = [work.reserved for work in wanted if work.reserved is not None]
        self._ledger.reserve_all(entries, limit=None, budgets=[], release=[*self._held.values()])

    def release(self, opened: OpenTable) -> None:
        """Release what is reserved for rows that this try does not submit any more."""
        held = {**self._held, **{work.row.id: work.reserved for work in opened.works if work.reserved is not None}}
        sent = {record.token for work in opened.works for record in work.records}
        self._ledger.release_rows([entry for entry in held.values() if entry.token not in sent])
        self._held = {}
        for work in opened.works:
            work.reserved = None

    def _entry(self, work: RowWork, given: Approval | None) -> Entry:
        estimate = work.estimate
        return Entry(
            token=new_token(),
            reserved_at=self._services.clock(),
            conn_id=self._run.grokvideo_conn_id,
            owner=replace(self._services.host.owner, item=work.row.id),
            try_number=self._services.host.try_number,
            mode=work.mode,
            model=work.model,
            estimated=None if estimate is None else estimate.ticks,
            approved_by=None if given is None else given.by,
        )

    def _beyond_limit(
        self, error: SpendLimitExceeded, wanted: Sequence[RowWork], total: Estimate, digest: str,
        allowed: Approval | None,
    ) -> AskApproval | SkipTask:  # fmt: skip
        """Return what the author wants where a limit does not allow a table."""
        if self._run.on_limit == "skip":
            self._ledger.release_rows([*self._held.values()])
            return SkipTask(str(error.about(conn_id=self._run.grokvideo_conn_id)))
        if self._run.on_limit != "ask":
            raise error
        if allowed is not None:
            # Airflow shows a try's first question only, so another one cannot be asked in this try.
            error.what += f"; {allowed.by} approved other rows or less"
            error.what_to_do = "Nothing was submitted. Clear the task to be asked again."
            raise error
        host = self._services.host
        host.keep("asked_usd", approval.UNKNOWN_PRICE if total.usd is None else str(total.usd))
        host.keep("asked_for", [self._run.grokvideo_conn_id, digest])
        return AskApproval(*_question(wanted, total, error.why, self._run.grokvideo_conn_id))


def approved(event: object, services: BulkServices) -> tuple[Approval | None, str]:
    """Return the approval that a response gives, and by whom; None where it refuses.

    Raises:
        SpendLimitExceeded: There was no response in time.
        EventRejected: It is no valid response.
    """
    buy, by = approval.answered(event)
    if not buy:
        return None, by
    usd, shown = services.host.recall("asked_usd"), services.host.recall("asked_for")
    conn_id, digest = shown if isinstance(shown, list | tuple) and len(shown) == 2 else (None, None)
    amount = None if usd in (None, approval.UNKNOWN_PRICE) else Decimal(str(usd))
    services.host.keep("asked_usd", None)
    return Approval(amount, by, conn_id, digest), by


def _question(wanted: Sequence[RowWork], total: Estimate, why: str, conn_id: str) -> tuple[str, str]:
    """Return subject and body (Markdown) of the question whether a table may be bought."""
    shown = [f"> {str(work.row.arguments.get('prompt') or '')[:200]}" for work in wanted[:SAMPLE]]
    lines = [
        f"**Rows** {len(wanted)}",
        f"**Estimated cost** {total.explained()}",
        f"**Reason** {why}",
        f"**Connection** {conn_id}",
        f"**First {len(shown)} prompts**",
        "\n>\n".join(shown),
        "xAI bills each video when it accepts the request, even if content moderation blocks the result. The API has "
        "no cancel.",
    ]
    return f"Buy {counted(len(wanted), 'video')} for {total}?", "\n\n".join(lines)
