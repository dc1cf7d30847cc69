"""Rounds of a table: which rows are delivered, submitted and waited for next."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

from airflow_provider_grokvideo.core.bulk.rows import bad_row
from airflow_provider_grokvideo.core.errors import AmbiguousSubmit, DeliveryFailed, GrokVideoError, InvalidInput
from airflow_provider_grokvideo.core.purchases import records as purchases
from airflow_provider_grokvideo.execution.bulk import outcome
from airflow_provider_grokvideo.execution.bulk.work import Crew
from airflow_provider_grokvideo.execution.ports import WaitFor

if TYPE_CHECKING:
    from airflow_provider_grokvideo.execution.bulk.begin import OpenTable
    from airflow_provider_grokvideo.execution.bulk.options import BulkOptions
    from airflow_provider_grokvideo.execution.bulk.ports import KeptNumbers
    from airflow_provider_grokvideo.execution.bulk.rowruns import RowRuns
    from airflow_provider_grokvideo.execution.bulk.rows import RowWork

MOST_STUCK = 100
"""Rows whose video could not be stored after which a task stops submitting: the storage is at fault, not the rows."""

log = logging.getLogger(__name__)


class Rounds:
    """The rounds of one leg.

    Args:
        options: Of the task.
        opened: The table.
        runs: Carries out the run of a row.
        kept: What an earlier leg of this try has kept.
        clock: Returns epoch seconds.
        progress: Called about every second while threads work.

    Attributes:
        kept: What this try keeps between its legs.
        stop: Why nothing more is submitted.
        blind: Why polls cannot find the end of a request, either.
    """

    def __init__(
        self,
        options: BulkOptions,
        opened: OpenTable,
        runs: RowRuns,
        kept: KeptNumbers,
        *,
        clock: Callable[[], float],
        progress: Callable[[], None],
    ) -> None:
        self.kept = kept
        self.stop: GrokVideoError | None = None
        self.blind: GrokVideoError | None = None
        self._options = options
        self._opened = opened
        self._rows = runs
        self._now = clock
        self._progress = progress
        self._started = clock()
        self._unanswered = 0

    def deliver(self, due: Collection[str] | None) -> None:
        """Poll what has ended, as far as is known, and store its video."""
        self.fetch([work for work in (*self._opened.works, *self._opened.left) if self._is_due(work, due)])

    def fetch(self, works: Sequence[RowWork]) -> None:
        """Poll these rows, and store the videos of those that have ended."""
        Crew(self._delivered).run(works, self._progress)

    def _is_due(self, work: RowWork, due: Collection[str] | None) -> bool:
        step = work.step
        if isinstance(step, purchases.Ambiguous):
            looked = work.again_at is not None and work.again_at > self._now()
            return step.record.has_witness and work.error is None and not looked
        if not isinstance(step, purchases.Attach | purchases.Reuse) or step.record.request_id in self.kept.stuck:
            return False
        if isinstance(step, purchases.Reuse):
            # Its file was missing at the begin of this try, and could not be fetched then.
            return due is not None and (step.record.request_id or step.record.token) in due
        return due is None or step.record.request_id in due

    def _delivered(self, work: RowWork) -> None:
        self._rows.fetch(work)
        if work.error is None:
            return
        log.warning("Row %r: %s", work.row.id, work.error)
        step = work.step
        if not isinstance(step, purchases.Attach | purchases.Reuse):
            self._failed()
        elif isinstance(work.error, DeliveryFailed) or isinstance(step, purchases.Reuse):
            self.keep(stuck=(*self.kept.stuck, step.record.request_id or step.record.token))
            if len(self.kept.stuck) >= MOST_STUCK:
                self.stop = work.error
        elif outcome.effect_of(work.error) == "stop":
            self.blind = work.error

    def submit(self) -> None:
        """Submit rows while there is room, in the order of the table."""
        waiting_rows = iter([work for work in self._opened.to_buy if self._may_change(work)])
        while self._may_submit():
            room = self._options.max_in_flight - len(self.flight())
            jobs = list(islice(waiting_rows, max(0, room)))
            if not jobs:
                return
            Crew(self._bought, self._may_submit).run(jobs, self._progress)
            self._set_aside()

    def _may_submit(self) -> bool:
        return self._goes_on and self.kept.pause_until <= self._now()

    @property
    def _goes_on(self) -> bool:
        """Whether rows that were not sent may still be, in this try."""
        return self.stop is None and not self.kept.stopped

    def _bought(self, work: RowWork) -> None:
        self._rows.buy(work)
        error = work.error
        if error is None:
            self._unanswered = 0
            self.keep(pauses=0)
            return
        if self._is_bad(work):
            return
        log.warning("Row %r: %s", work.row.id, error)
        match outcome.effect_of(error):
            case "row":
                self._failed()
                self._unanswered = self._unanswered + 1 if isinstance(error, AmbiguousSubmit) else 0
                if self._unanswered >= outcome.UNANSWERED:
                    self.keep(stopped=outcome.NO_ANSWERS)
            case "pause":
                self.kept = outcome.paused(self.kept, error, self._now())
                if self.kept.pauses > outcome.PAUSES:
                    self.stop = error
            case "stop":
                self.stop = error

    def _is_bad(self, work: RowWork) -> bool:
        """Say whether a row has a mistake that the author has left out; a resumed leg meets it only when it submits."""
        return self._options.on_bad_rows == "skip" and not work.records and isinstance(work.error, InvalidInput)

    def _set_aside(self) -> None:
        """Move rows with a mistake to the bad ones, as the first leg does."""
        opened = self._opened
        found = [work for work in opened.works if self._is_bad(work)]
        opened.bad += [bad_row(work.row, work.error.field, work.error.what) for work in found]  # type: ignore[union-attr]
        if found:
            opened.works[:] = [work for work in opened.works if not self._is_bad(work)]

    def _failed(self) -> None:
        """Note that a row failed for good in this try."""
        if self._options.on_row_error == "stop":
            self.keep(stopped=outcome.ROW_FAILED)

    def flight(self) -> list[WaitFor]:
        """Return the requests that run at xAI and are worth waiting for."""
        flight = []
        for work in (*self._opened.works, *self._opened.left):
            if isinstance(work.step, purchases.Attach) and work.step.record.outcome is None:
                waits = work.flight or self._wait_for(work)
                if waits.deadline > self._now() and waits.request_id not in self.kept.stuck and self._may_change(work):
                    flight.append(waits)
        return flight

    @staticmethod
    def _may_change(work: RowWork) -> bool:
        """Say whether another call for a row may end differently in this leg."""
        return work.error is None or outcome.effect_of(work.error) == "pause"

    def _wait_for(self, work: RowWork) -> WaitFor:
        """Return what there is to wait for of a request that was submitted in an earlier leg."""
        record = work.step.record  # type: ignore[union-attr]
        since = record.sent_at or self._now()
        try:
            kind = None if work.is_left else work.order.build_request().kind()
        except GrokVideoError:
            kind = None
        deadline = self._options.run.deadline(self._started, since)
        work.flight = WaitFor(str(record.request_id), since, deadline, kind, record.upload_uri is not None)
        return work.flight

    def next_look(self) -> float | None:
        """Return when to resume although no request is waited for; None where there is nothing left to do."""
        moments = [work.again_at for work in self._opened.works if work.again_at is not None]
        if self._goes_on and self.kept.pause_until > self._now() and any(map(self._may_change, self._opened.to_buy)):
            moments.append(self.kept.pause_until)
        return min(moments) if moments else None

    def keep(self, **changes: object) -> None:
        """Change the numbers that this try keeps."""
        self.kept = replace(self.kept, **changes)  # type: ignore[arg-type]
