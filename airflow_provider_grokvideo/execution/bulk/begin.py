"""Begin of a leg: read the table and its journals, check all rows, price and reserve what is to be bought."""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING

from airflow_provider_grokvideo.core import requests
from airflow_provider_grokvideo.core.billing.pricing import Estimate
from airflow_provider_grokvideo.core.bulk import rows as tables
from airflow_provider_grokvideo.core.bulk import states
from airflow_provider_grokvideo.core.bulk.rows import BadRow, Row, Table
from airflow_provider_grokvideo.core.errors import GrokVideoError, InvalidInput
from airflow_provider_grokvideo.core.purchases import records as purchases
from airflow_provider_grokvideo.execution import advice, prepare
from airflow_provider_grokvideo.execution.bulk import rows
from airflow_provider_grokvideo.execution.bulk.rows import RowWork
from airflow_provider_grokvideo.execution.bulk.work import Crew
from airflow_provider_grokvideo.execution.manifest import Source

if TYPE_CHECKING:
    from airflow_provider_grokvideo.core.billing.pricing import Prices
    from airflow_provider_grokvideo.core.purchases.records import Record
    from airflow_provider_grokvideo.core.requests import VideoRequest
    from airflow_provider_grokvideo.execution.bulk.options import BulkOptions
    from airflow_provider_grokvideo.execution.bulk.ports import BulkServices
    from airflow_provider_grokvideo.journal.items import Items

MANY_ROWS = (
    "a table that fits into Airflow's task state store, which holds {most} rows; for more set [grokvideo] "
    "ledger_conn_id or journal_path"
)

log = logging.getLogger(__name__)


@dataclass
class OpenTable:
    """A table and its journals, as a leg works with them.

    Attributes:
        works: The good rows.
        bad: The bad ones.
        left: Rows that are not in the table any more and whose video is paid and not stored.
        carried: Names of the free columns.
        items: The journals.
        records: Of all rows that were ever in the table, by their ids, as they were read.
        content: Hash of what the table asks for.
        problem: Why the table could not be read again; only its paid rows are known then.
    """

    works: list[RowWork]
    bad: list[BadRow]
    left: list[RowWork]
    carried: tuple[str, ...]
    items: Items
    records: dict[str, list[Record]]
    content: str
    problem: GrokVideoError | None = None

    @property
    def to_buy(self) -> list[RowWork]:
        """Rows whose next step is a submit."""
        return [work for work in self.works if isinstance(work.step, purchases.Submit)]


class Opener:
    """Opens a table at the begin of a leg.

    Args:
        options: Of the task.
        services: What it works with.
    """

    def __init__(self, options: BulkOptions, services: BulkServices) -> None:
        self._options = options
        self._services = services
        self._host = services.host
        self._warnings: Counter[str] = Counter()
        self._policy = purchases.Policy(tuple(options.run.resubmit_on), services.host.tries)  # type: ignore[arg-type]

    def fresh(self) -> OpenTable:
        """Open the table in the first leg of a try, and check every row.

        Raises:
            GrokVideoError: There is no journal, or an input cannot be read now.
        """
        items = self._items()
        try:
            table = self._services.source()
            if items.most is not None and len(table.rows) > items.most:
                raise InvalidInput("rows", len(table.rows), MANY_ROWS.format(most=items.most))
        except GrokVideoError as error:
            return self._only_paid(items, error)
        found = self._opened(table, items)
        self._check(found)
        return found

    def resumed(self) -> OpenTable:
        """Open the table in a later leg; one that cannot be read any more keeps no paid video from being stored."""
        items = self._items()
        try:
            found = self._opened(self._services.source(), items)
        except GrokVideoError as error:
            return self._only_paid(items, error)
        for work in found.works:
            self._decide(work, fresh=False)
        return found

    def restep(self, work: RowWork) -> None:
        """Decide again what to do with a row whose journal has changed."""
        mine = states.of_this_try(work.records, self._host.try_number)
        if mine is not None:
            work.step = states.settled_step(mine)
        elif work.fingerprint is not None:
            work.step = states.next_step(work.records, work.fingerprint, self._policy, self._host.try_number)

    def _only_paid(self, items: Items, problem: GrokVideoError) -> OpenTable:
        """Return the rows whose video is paid and not stored, where the table itself cannot be read."""
        found = self._opened(Table((), (), ()), items)
        found.problem = problem
        return found

    def _items(self) -> Items:
        items = self._services.open_items()
        if items is None:
            raise InvalidInput(
                "journal_path", None, "a journal: set [grokvideo] ledger_conn_id or journal_path, so that a row that "
                "was paid is found again",
            )  # fmt: skip
        return items

    def _opened(self, table: Table, items: Items) -> OpenTable:
        records = items.records()
        works = [RowWork(row, records.get(row.id, [])) for row in table.rows]
        known = {row.id for row in table.rows}
        removed = {item: held for item, held in records.items() if item not in known}
        left = [_left_over(item, held) for item, held in removed.items()]
        found = OpenTable(
            works,
            list(table.bad),
            [each for each in left if each is not None],
            table.carried,
            items,
            records,
            tables.content_of(table.rows),
        )
        for item, held in removed.items():
            for record in purchases.orphans(held):
                log.warning("Row %r is not in the table any more; %s", item, advice.left_behind(record))
        return found

    def _check(self, found: OpenTable) -> None:
        """Build every request and read every input, side by side; what cannot be sent is a bad row."""
        bad: dict[str, BadRow] = {}

        def check(work: RowWork) -> None:
            try:
                self._decide(work, fresh=True)
            except InvalidInput as error:
                bad[work.row.id] = tables.bad_row(work.row, error.field, f"{error.what}")

        plain = [work for work in found.works if not _has_files(work.row)]
        for work in plain:
            check(work)
        Crew(check).run([work for work in found.works if _has_files(work.row)])
        for warning, number in self._warnings.items():
            log.warning("%s (%d rows)", warning, number)
        found.works = [work for work in found.works if work.row.id not in bad]
        found.bad = sorted([*found.bad, *bad.values()], key=lambda each: each.number)

    def _decide(self, work: RowWork, *, fresh: bool) -> None:
        """Find out what to do with a row.

        Raises:
            InvalidInput: Its request cannot be sent, and nothing is paid for it.
        """
        if not fresh and states.of_this_try(work.records, self._host.try_number) is not None:
            self.restep(work)
            return
        if not fresh and all(record.phase == "withdrawn" for record in work.records):
            return
        try:
            request = work.order.build_request()
            work.fingerprint, source = self._identify(request, work, fresh=fresh)
        except GrokVideoError as error:
            if (under_way := _under_way(work.records)) is not None:
                # A row that is paid is fetched, whatever its arguments look like now.
                work.fingerprint, work.step = under_way.fingerprint, purchases.Attach(under_way)
                return
            if fresh:
                raise
            work.error = error
            return
        work.step = states.next_step(work.records, work.fingerprint, self._policy, self._host.try_number)
        if fresh and isinstance(work.step, purchases.Submit):
            work.mode, work.model = request.mode, request.model
            requests.check_source(request, work.order.known_source().seconds)
            self._warnings.update(request.warnings())
            work.estimate = prepare.estimate(request, source, work.order.known_source(), self._prices)

    def _identify(self, request: VideoRequest, work: RowWork, *, fresh: bool) -> tuple[str, Source]:
        """Return the fingerprint of a row's request; only the first leg of a try reads files again."""
        known = None if fresh else rows.known_as(request.fingerprint(), work.records)
        if known is not None:
            return known, Source()
        if not any(True for _ in request.media()):
            return request.fingerprint(), Source()
        return rows.read(request, work.records, self._services.hook)

    @cached_property
    def _prices(self) -> Prices:
        return self._services.ledger.prices()


def total_of(works: Sequence[RowWork]) -> Estimate:
    """Return the price of rows together; unknown if one of them is."""
    estimates = [work.estimate for work in works if work.estimate is not None]
    if any(each.usd is None for each in estimates):
        return Estimate(None, as_of=estimates[0].as_of)
    usd = sum((each.usd for each in estimates if each.usd is not None), Decimal(0))
    as_of = estimates[0].as_of if estimates else ""
    return Estimate(usd, at_most=any(each.at_most for each in estimates), as_of=as_of)


def digest_of(works: Sequence[RowWork]) -> str:
    """Return what stands for a set of requests in an approval: an approval is for the rows that were shown."""
    text = json.dumps(sorted((work.row.id, work.fingerprint) for work in works))
    return hashlib.sha256(text.encode(errors="backslashreplace")).hexdigest()


def _left_over(item: str, records: list[Record]) -> RowWork | None:
    record = _under_way(records)
    if record is None:
        return None
    mode = {"edit": "edit", "extend": "extend"}.get(str(record.mode), "generate")
    row = Row(item, 0, mode, {}, record.destination, {})
    return RowWork(row, records, step=purchases.Attach(record), fingerprint=record.fingerprint, is_left=True)


def _under_way(records: Sequence[Record]) -> Record | None:
    """Return the last request that is paid and not stored."""
    running = [r for r in records if r.phase == "submitted" and r.request_id and r.outcome is None]
    return running[-1] if running else None


def _has_files(row: Row) -> bool:
    return any(name not in ("prompt", "model", "duration", "aspect_ratio", "resolution") for name in row.arguments)
