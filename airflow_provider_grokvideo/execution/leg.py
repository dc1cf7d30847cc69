"""Leg of a run: the services it works with, its journal, and the purchase it is about."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from airflow_provider_grokvideo.core.errors import GrokVideoError
from airflow_provider_grokvideo.core.purchases import records as purchases
from airflow_provider_grokvideo.execution.journal import TaskJournal, log_of
from airflow_provider_grokvideo.execution.manifest import as_number
from airflow_provider_grokvideo.execution.ports import Order, Phase, Services, State

if TYPE_CHECKING:
    from airflow_provider_grokvideo.core.cards import Outcome as Shown
    from airflow_provider_grokvideo.core.purchases.records import Record
    from airflow_provider_grokvideo.core.requests import VideoRequest
    from airflow_provider_grokvideo.execution.options import RunOptions

log = logging.getLogger(__name__)


class Leg:
    """What every step of a run needs; each leg is a new object over the same journal.

    Args:
        order: What is asked for.
        options: How.
        services: With what.
        known_as: Stands for the request in the journal instead of its fingerprint, where equal requests are not the
            same purchase.
    """

    def __init__(self, order: Order, options: RunOptions, services: Services, *, known_as: str | None = None) -> None:
        self.order = order
        self.options = options
        self.host = services.host
        self.hook = services.hook
        self.ledger = services.ledger
        self.state = State()
        self._open_journal = services.open_journal
        self._now = services.clock
        self._known_as = known_as
        self._reserved = services.reserved
        self._is_known_place = services.is_known_place
        self._started = services.clock()
        self.log = log_of(log, self.host.owner)

    @property
    def journal(self) -> TaskJournal:
        """The journal, opened when it is first needed.

        Before a purchase one that does not answer ends the run. After it the run continues without: a paid video is
        stored, and no retry can submit on this ground, because it would have to read the journal first.
        """
        if self.state.journal is None:
            try:
                opened = self._open_journal()
            except GrokVideoError as error:
                if not self.state.is_paid:
                    raise
                self.log.warning("%s The task continues without it.", error)
                opened = TaskJournal(None, self.host.owner, away=True)
            self.state = replace(self.state, journal=opened)
            return opened
        return self.state.journal

    @property
    def conn_id(self) -> str:
        """The connection that pays."""
        return self.options.grokvideo_conn_id

    @property
    def _bought(self) -> Record:
        """The purchase that this run is about, with its request even if the journal could not save that."""
        record = cast("Record", self.journal.current)
        return record if record.request_id else replace(record, request_id=self.state.request_id)

    def _show(self, outcome: Shown | None, **facts: Any) -> None:
        """Show how far the run is, with all purchases of the task instance."""
        records = self.state.journal.records if self.state.journal else ()
        self.host.show(outcome, records=records, **facts)

    def _move(self, phase: Phase, request_id: str | None = None) -> None:
        self.state = replace(self.state, phase=phase, request_id=request_id)

    def _hold(self, record: Record, request: VideoRequest | None = None) -> None:
        """Make the purchase of an earlier try the one this run is about."""
        self._move("paid", record.request_id)
        self.state = replace(self.state, request=request or self.state.request)
        self.journal.hold(record)

    def _hold_again(self, request_id: str | None, submitted_at: float | None = None) -> None:
        """Find the purchase that a resumed leg is about; what the journal does not hold comes from XCom."""
        held = self.journal
        if request_id is None:
            under_way = [each for each in held.records if each.is_orphan and (each.request_id or each.has_witness)]
            if under_way and under_way[-1].request_id is None:
                held.hold(under_way[-1])
                return
            request_id = under_way[-1].request_id if under_way else None
            self._move("paid", request_id)
        known = request_id is not None and held.hold_request(request_id, submitted_at, self.conn_id)
        if not known and held.backend is not None:
            self.log.warning(
                "The journal does not hold request %s; a retry of this task would submit again", request_id
            )
        if not known:
            usd = self.host.recall("estimated_cost_usd")
            held.hold_unknown(request_id, submitted_at, self.conn_id, None if usd is None else str(usd))

    def _remember(self) -> Record:
        """Keep what a resumed leg, a sensor or a reader of XCom needs to know; return the purchase."""
        record = self._bought
        self.host.keep("request_id", record.request_id)
        self.host.keep("estimated_cost_usd", as_number(record.estimate))
        if uri := self._upload_uri():
            self.host.keep("upload_uri", uri)
        return record

    def _upload_uri(self) -> str | None:
        """Return where xAI uploads to, even where a resumed leg cannot read its journal."""
        record = self.journal.current
        if record is not None and record.number != purchases.NOT_WRITTEN:
            return record.upload_uri
        uri = self.host.recall("upload_uri") if self.options.deliver_via == "upload" else None
        return str(uri) if uri else None
