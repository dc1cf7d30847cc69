"""A paid table: check all rows, price and reserve all, then rounds of submit, wait, deliver.

:class:`BulkRun` knows no Airflow, as :class:`~airflow_provider_grokvideo.execution.run.PaidRun` does not: what it needs
is handed in, and what its carrier has to do comes back as a value. Each row is a purchase of its own, carried out by a
``PaidRun`` over the row's own journal; this class decides which row is submitted, polled or delivered when.

Between two legs nothing is kept but the journal, the reservations in the ledger, and a few numbers: a resumed task
reads the table and the journal again.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from airflow_provider_grokvideo.core.bulk.rounds import parse as parse_event
from airflow_provider_grokvideo.core.bulk.rows import summary_of_bad
from airflow_provider_grokvideo.core.errors import GrokVideoError, InvalidInput
from airflow_provider_grokvideo.core.purchases import records as purchases
from airflow_provider_grokvideo.core.texts import counted
from airflow_provider_grokvideo.delivery.store import still_there
from airflow_provider_grokvideo.execution.bulk import outcome, waiting
from airflow_provider_grokvideo.execution.bulk.begin import Opener
from airflow_provider_grokvideo.execution.bulk.money import Money, approved
from airflow_provider_grokvideo.execution.bulk.ports import BulkNext, FinishedRows, KeptNumbers, WaitForRows, kept_from
from airflow_provider_grokvideo.execution.bulk.report import SUCCEEDED, TableReport, status_of
from airflow_provider_grokvideo.execution.bulk.rounds import Rounds
from airflow_provider_grokvideo.execution.bulk.rowruns import RowRuns
from airflow_provider_grokvideo.execution.ports import RunAgain, SkipTask, WaitFor
from airflow_provider_grokvideo.storage import destination, table_files

if TYPE_CHECKING:
    from airflow_provider_grokvideo.core.purchases.records import Owner
    from airflow_provider_grokvideo.execution.bulk.options import BulkOptions
    from airflow_provider_grokvideo.execution.bulk.ports import BulkServices
    from airflow_provider_grokvideo.execution.bulk.rows import RowWork
    from airflow_provider_grokvideo.execution.ledger import Approval

KEPT = "grokvideo_bulk"
"""Key of what a try keeps between its legs."""

BETWEEN_LINES = 15.0
"""Seconds between two lines about the progress."""

BETWEEN_TABLES = 15.0
"""Seconds between two versions of the result table while the task runs; writing 10,000 lines takes half a second."""

log = logging.getLogger(__name__)


class BulkRun:
    """One leg of a table; each leg is a new object over the same journal.

    Args:
        options: Of the task.
        services: What it works with.
        name: Name of the result table where the author gives no place, without suffix.
    """

    def __init__(self, options: BulkOptions, services: BulkServices, name: str) -> None:
        self.options = options
        self._services = services
        self._host = services.host
        self._now = services.clock
        self._name = name
        self._started = services.clock()
        self._said_at = self._started

    def begin(self, allowed: Approval | None = None) -> BulkNext:
        """Check, price and reserve the whole table, then submit."""
        self.options = self.options.check()
        self._open(None)
        try:
            self._check()
            self._start_over()
            if (asks := self._money.reserve(self._opened, allowed)) is not None:
                self._show()
                return asks
        except GrokVideoError as error:
            self._money.release(self._opened)
            # What is wrong with the table now keeps nothing that is paid from being stored.
            self._rounds.deliver(None)
            self._write()
            self._show(error)
            raise
        return self._go_round(None)

    def resume(self, event: object) -> BulkNext:
        """Go on after a wait: deliver what has ended, submit more."""
        if event is None:
            return self._resumed(set())
        found = parse_event(event)
        due = None if found.ended is None else set(found.ended)
        # What a few requests have met is asked again, before it ends the table.
        problem = None if found.ended else found.as_error(self.options.run.grokvideo_conn_id)
        return self._resumed(due, problem)

    def respond(self, event: object) -> BulkNext:
        """Submit what was approved, if it is still what the question showed."""
        allowed, by = approved(event, self._services)
        if allowed is None:
            return SkipTask(f"{by} refused the purchase")
        log.info("%s approved the purchase", by)
        return self.begin(allowed)

    def lost(self, problem: object) -> BulkNext:
        """Go on where the trigger was lost or never ran: every request is polled once."""
        if self._host.recall("asked_usd") is not None:
            what = f"the triggerer stopped waiting for the response about the price ({problem})"
            raise GrokVideoError(what, advice="Nothing was submitted. A retry or clear asks again.")
        log.warning("The triggerer stopped waiting (%s); every request is polled now", problem)
        return self._resumed(None)

    def close(self) -> None:
        """Close what this leg has opened; to be called at its end, whatever that is."""
        if hasattr(self, "_rows"):
            self._rows.close()

    def interrupted(self) -> None:
        """Release what is reserved for rows that were not sent: no later try may come."""
        if hasattr(self, "_money"):
            self._money.release(self._opened)

    @property
    def journal_owner(self) -> Owner | None:
        """The task instance in whose journal a triggerer finds the flight; None if it cannot read that."""
        return self._host.owner if self._opened.items.most is None else None

    @property
    def under_way(self) -> int:
        """How many requests a kill of the task would leave running."""
        return len(self._rounds.flight()) if hasattr(self, "_rounds") else 0

    def _resumed(self, due: set[str] | None, problem: GrokVideoError | None = None) -> BulkNext:
        kept = kept_from(self._host.recall(KEPT))
        if kept is None:
            # What was decided about the price is not known any more, so it is decided again.
            return self.begin()
        self.options = self.options.check()
        self._open(kept)
        if self._opened.content != kept.content and self._opened.to_buy:
            # Neither the limits nor an approval know of its rows.
            self._rounds.stop = outcome.changed()
        if problem is not None:
            # It would end the next wait, too.
            self._rounds.blind = problem
            return self._finish()
        return self._go_round(due)

    def _open(self, kept: KeptNumbers | None) -> None:
        """Open the table; `kept` is what an earlier leg has kept, None in the first one of a try."""
        opener = Opener(self.options, self._services)
        self._opened = opener.fresh() if kept is None else opener.resumed()
        self._rows = RowRuns(self.options, self._services, opener, self._opened)
        self._rounds = Rounds(
            self.options,
            self._opened,
            self._rows,
            kept or KeptNumbers(self._started),
            clock=self._now,
            progress=self._progress,
        )
        self._money = Money(self.options, self._services)
        self._money.follow(self._opened)
        places = [work.row.destination for work in self._opened.works if work.row.destination]
        place = self.options.table_place(places, self._name)
        self._is_input = place is not None and self._is_read(place)
        # Not even a table that is refused may be written over its own input.
        place = None if self._is_input else place
        self.report = TableReport(self._opened.works, self._opened.bad, self._opened.left, place)

    def _is_read(self, place: str) -> bool:
        """Say whether the result table would go where the rows come from."""
        try:
            return self._services.read_from is not None and table_files.is_same(place, self._services.read_from)
        except InvalidInput:
            # It is no place at all, which is told where it is used.
            return False

    def _check(self) -> None:
        """Refuse a table that cannot be bought as a whole.

        Raises:
            GrokVideoError: It names the rows, or the place.
        """
        if self._opened.problem is not None:
            raise self._opened.problem
        if self._is_input:
            raise InvalidInput("table", self._services.read_from, "another file than the one with the rows")
        bad = self._opened.bad
        if bad and self.options.on_bad_rows == "fail":
            error = InvalidInput("rows", len(bad), "rows without mistakes")
            total, place = len(bad) + len(self._opened.works), self.report.table_uri
            where = f"; all of them are in {place}" if place else ""
            error.what = f"{len(bad)} of {counted(total, 'row')} have a mistake{where}:\n{summary_of_bad(bad)}\n"
            raise error
        if bad:
            log.warning("%s. These rows are left out", summary_of_bad(bad))
        if not self._opened.works:
            log.info("There is no row to buy a video for")
        self._check_places()

    def _check_places(self) -> None:
        """Check where the videos and the table go, with one write for each directory.

        Raises:
            InvalidInput: A place cannot be written to, or the table is an input.
        """
        directories = set()
        for work in self._opened.works:
            if work.row.destination is None:
                raise InvalidInput("destination", None, "where the videos go, such as s3://bucket/clips/{id}.mp4")
            target = destination.target(work.row.destination, default_name="video")
            if target.directory not in directories:
                directories.add(target.directory)
                destination.check_writable(work.row.destination)
        if self.report.table_uri is not None:
            table_files.check_table(self.report.table_uri)

    def _start_over(self) -> None:
        """Note how this try begins, and look whether what was delivered is still there."""
        missing = [work for work in self._opened.works if not self._is_in_place(work)]
        self._rounds.fetch(missing)
        stored = sum(status_of(work) in SUCCEEDED for work in self._opened.works)
        self._rounds.keep(began_with=stored, content=self._opened.content)
        if stored:
            log.info("Delivered before, no new charge: %s", counted(stored, "row"))

    @staticmethod
    def _is_in_place(work: RowWork) -> bool:
        if not isinstance(work.step, purchases.Reuse):
            return True
        made, record = work.step.record.manifest or {}, work.step.record
        uri = str(made.get("uri") or "")
        return bool(uri) and record.destination == work.row.destination and still_there(uri, made.get("bytes"))

    def _go_round(self, due: set[str] | None) -> BulkNext:
        """Deliver and submit until there is something to wait for, or nothing left to do."""
        while True:
            self._rounds.deliver(due)
            if self._rounds.blind is not None:
                return self._finish()
            self._rounds.submit()
            flight = self._rounds.flight()
            at = self._rounds.next_look()
            if not flight and at is None:
                return self._finish()
            self._progress(force=self.options.run.deferrable)
            if self._now() - self._rounds.kept.written_at >= BETWEEN_TABLES:
                self._write()
            if self.options.run.deferrable:
                self._pause_task()
                return WaitForRows(tuple(flight)) if flight else RunAgain(at or self._now())
            due = self._waited(flight, at or self._now())

    def _waited(self, flight: list[WaitFor], at: float) -> set[str]:
        """Wait in this process; return the requests that have ended."""
        if flight:
            return waiting.wait(flight, self._services.hook, self.options.run.poll_interval, self._progress)
        time.sleep(max(0.0, at - self._now()))
        return set()

    def _finish(self) -> BulkNext:
        """End this try: store what could not be stored before, write the table, say what the rows came to."""
        if self._rounds.kept.stuck and self._rounds.blind is None:
            log.info("Trying once more to store %s", counted(len(self._rounds.kept.stuck), "video"))
            due = set(self._rounds.kept.stuck)
            self._rounds.keep(stuck=())
            self._rounds.deliver(due)
        self._money.release(self._opened)
        self._progress(force=True)
        problem = self._write()
        error = self._rounds.blind or self._rounds.stop or self._opened.problem or self._verdict() or problem
        self._show(error)
        if error is not None:
            raise error
        return FinishedRows(self.report.summary())

    def _verdict(self) -> GrokVideoError | None:
        skipped = frozenset({"moderated"} if self.options.run.on_moderated == "skip" else ())
        return outcome.verdict(
            self.report.counts(),
            self.report.ratio(without=skipped),  # type: ignore[arg-type]
            self.options.min_success_ratio,
            told=self.report.told(),
            table_uri=self.report.table_uri,
            resubmit_on=self.options.run.resubmit_on,
            stopped=self._rounds.kept.stopped,
        )

    def _pause_task(self) -> None:
        """Write down what a later leg needs."""
        self._host.keep(KEPT, self._rounds.kept.to_json())
        self._show()

    def _progress(self, *, force: bool = False) -> None:
        """Log from time to time how far the table is."""
        now = self._now()
        if not force and now - self._said_at < BETWEEN_LINES:
            return
        self._said_at = now
        flight = len(self._rounds.flight())
        log.info("%s", self.report.progress(flight, self._rounds.kept.started, self._rounds.kept.began_with, now))

    def _write(self) -> GrokVideoError | None:
        """Write the result table; return what kept it from being written."""
        if self.report.table_uri is None or self._opened.problem is not None:
            # Where the rows are not known the table stays as it was.
            return None
        self._rounds.keep(written_at=self._now())
        try:
            table_files.write_table(
                self.report.table_uri, self.report.lines(), self._opened.carried, owner=self._host.owner
            )
        except GrokVideoError as error:
            log.warning("The result table could not be written: %s", error)
            return error
        return None

    def _show(self, error: BaseException | None = None) -> None:
        self._host.show_table({**self.report.summary(), "in_flight": len(self._rounds.flight())}, error)
