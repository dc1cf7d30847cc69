"""Paid runs of single rows, in the threads of a table."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow_provider_grokvideo.core.errors import GrokVideoError
from airflow_provider_grokvideo.core.purchases import records as purchases
from airflow_provider_grokvideo.execution.journal import TaskJournal
from airflow_provider_grokvideo.execution.ports import RunAgain, Services, SkipTask, WaitFor
from airflow_provider_grokvideo.execution.run import PaidRun
from airflow_provider_grokvideo.storage import destination

if TYPE_CHECKING:
    from airflow_provider_grokvideo.core.purchases.records import Owner
    from airflow_provider_grokvideo.core.requests import VideoRequest
    from airflow_provider_grokvideo.execution.bulk.begin import Opener, OpenTable
    from airflow_provider_grokvideo.execution.bulk.options import BulkOptions
    from airflow_provider_grokvideo.execution.bulk.ports import BulkServices
    from airflow_provider_grokvideo.execution.bulk.rows import RowWork
    from airflow_provider_grokvideo.execution.ports import Next
    from airflow_provider_grokvideo.hooks.grokvideo import GrokVideoHook

log = logging.getLogger(__name__)


class RowHost:
    """A row as its run sees it: the journal and the result table keep what a task instance keeps in XCom."""

    def __init__(self, owner: Owner, interruptions: tuple[type[BaseException], ...]) -> None:
        self.owner = owner
        self.interruptions = interruptions
        self._kept: dict[str, Any] = {}

    def keep(self, key: str, value: Any) -> None:
        """Keep a value for this leg."""
        self._kept[key] = value

    def recall(self, key: str) -> Any:
        """Return what this leg has kept."""
        return self._kept.get(key)

    def show(self, outcome: Any, **facts: Any) -> None:
        """Show nothing: the card tells of the whole table."""


class RowRuns:
    """Carries out the runs of rows; every method may be called in any thread, for one row at a time.

    Args:
        options: Of the task.
        services: What it works with.
        opener: Decides again after each run.
        opened: The table.
    """

    def __init__(self, options: BulkOptions, services: BulkServices, opener: Opener, opened: OpenTable) -> None:
        self._options = options
        self._services = services
        self._opener = opener
        self._items = opened.items
        self._idle: list[GrokVideoHook] = []
        self._known_places: set[str] = set()

    def close(self) -> None:
        """Close the connections; no run is under way any more."""
        while self._idle:
            self._idle.pop().get_conn().close()

    def buy(self, work: RowWork) -> None:
        """Submit a row."""
        self._run(work, lambda run: run.buy())
        # Only a directory in which the checks before a purchase have passed needs no second one.
        if work.error is None and work.row.destination is not None:
            self._known_places.add(_directory(work.row.destination))

    def fetch(self, work: RowWork) -> None:
        """Poll the request of a row once, and deliver it if it has ended."""
        step = work.step
        if isinstance(step, purchases.Attach):
            self._run(work, lambda run: run.attach(step.record, self._request(work, step.record.asked)))
        elif isinstance(step, purchases.Ambiguous):
            self._run(work, lambda run: run.settle_unconfirmed(step.record, self._request(work, step.record.asked)))
        elif isinstance(step, purchases.Reuse):
            # Whatever is missing of a delivered video is fetched again, or copied to where it goes now.
            self._run(work, lambda run: run.run())

    def _request(self, work: RowWork, asked: str) -> VideoRequest | None:
        """Return the request for the sidecar; None where the row asks for something else by now."""
        if work.is_left:
            return None
        try:
            request = work.order.build_request()
        except GrokVideoError:
            return None
        return request if asked in (request.fingerprint(), purchases.ANY_INPUTS) else None

    def _run(self, work: RowWork, leg: Callable[[PaidRun], Next]) -> None:
        host = self._services.host
        owner = replace(host.owner, item=work.row.id)
        journals: list[TaskJournal] = []

        def open_journal() -> TaskJournal:
            opened = TaskJournal(
                self._items.of(work.row.id),
                owner,
                try_number=host.try_number,
                tries=host.tries,
                clears=host.clears,
                interruptions=host.interruptions,
                records=[*work.records],
            )
            journals.append(opened)
            return opened

        found: Next | None = None
        work.error = work.flight = work.again_at = None
        try:
            with self._hook() as hook:
                services = Services(
                    RowHost(owner, host.interruptions), hook, open_journal, self._services.ledger,
                    self._services.clock, work.reserved, is_known_place=self._is_known(work.row.destination),
                )  # fmt: skip
                found = leg(PaidRun(work.order, self._options.row_options(work.row.destination), services))
        except GrokVideoError as error:
            work.error = error
        except Exception as problem:
            log.exception("Row %r: unexpected error", work.row.id)
            work.error = GrokVideoError(f"{type(problem).__name__}: {problem}")
        if journals:
            work.records = journals[0].records
            # Used, or given back by the run.
            work.reserved = None
        match found:
            case WaitFor():
                work.flight = found
            case RunAgain(at):
                work.again_at = at
            case SkipTask(why):
                work.error = GrokVideoError(why)
        self._opener.restep(work)

    @contextmanager
    def _hook(self) -> Iterator[GrokVideoHook]:
        """Lend a hook to one run: it tells of one submit whether a byte of it was sent."""
        try:
            hook = self._idle.pop()
        except IndexError:
            hook = self._services.new_hook()
            hook.use(self._services.hook.account())
        try:
            yield hook
        finally:
            self._idle.append(hook)

    def _is_known(self, place: str | None) -> bool:
        return place is not None and bool(self._known_places) and _directory(place) in self._known_places


def _directory(place: str) -> str:
    return destination.target(place, default_name="video").directory
