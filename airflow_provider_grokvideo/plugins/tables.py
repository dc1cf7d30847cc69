"""Result tables for users who may see their task: opened by their record, parsed once for each content.

A card has the address of a table, but users may edit cards. So a table is only read if the record beside it names the
task instance of the card, and if its content is the one that the record names.
"""

from __future__ import annotations

import asyncio
import heapq
import json
import logging
import threading
import time
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

from fastapi import HTTPException

from airflow_provider_grokvideo.core.cards import Card
from airflow_provider_grokvideo.core.purchases.records import Owner
from airflow_provider_grokvideo.plugins import media, rows
from airflow_provider_grokvideo.plugins.keeping import Kept
from airflow_provider_grokvideo.plugins.lanes import Busy, Lanes
from airflow_provider_grokvideo.plugins.view import Shown
from airflow_provider_grokvideo.storage import table_files, table_records
from airflow_provider_grokvideo.storage.names import CONTENT_TYPES
from airflow_provider_grokvideo.storage.parquet import WrongTable
from airflow_provider_grokvideo.storage.places import Place
from airflow_provider_grokvideo.storage.table_records import TableRecord

LARGEST = 64 * 1024 * 1024
"""Bytes of a table that the page reads, and of what it keeps of one."""

KEPT = 32
"""Maximum number of cached tables."""

KEPT_BYTES = 128 * 1024 * 1024
"""Maximum size of the cached tables in bytes."""

BELIEVED = 4.0
"""Seconds for which a cached table is not compared with its record: a page of rows has many posters."""

NEWEST = 100
"""Rows of a table whose order by age is kept, for the gallery."""

TABLES = 5
"""Tables whose rows are in the gallery; of older ones there is only the table."""

READING = 5.0
"""Seconds that the gallery waits for a table."""

NO_TABLE = "This task has no result table yet"

NOT_HERE = (
    "The result table is not at its address, or this API server cannot read it: the path is on another machine, or the "
    "storage's provider or connection is missing here"
)
"""One message for all reasons, so that it reveals nothing about other files on the API server."""

NO_ANSWER = "The storage of the result table does not respond"

TOO_LARGE = (
    f"The page does not read result tables of more than {LARGEST // 1024**2} MiB; the task's result has its address"
)

CHANGED = "The result table is being written, or was changed by others; it is shown when its task has written it again"

DAMAGED = "The result table is damaged"

_LANES = Lanes(threads=1, lanes=4, limit=15.0)
"""Few threads: each may hold one whole table."""

_ROW = 200
"""Approximate bytes of a row in memory besides its text."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ShownTable:
    """A parsed result table.

    Attributes:
        record: The record beside it.
        place: Its storage.
        name: Its name in the storage.
        lane: Name of the threads that read it.
    """

    record: TableRecord
    place: Place
    name: str
    lane: str
    _rows: Sequence[bytes]
    _by_status: Mapping[str, array[int]]
    _by_id: Mapping[str, int]
    _newest: Sequence[int]

    def page(self, status: str | None, offset: int, limit: int) -> tuple[list[dict[str, Any]], int]:
        """Return rows of a status, and how many rows have it; None stands for all."""
        found: Sequence[int] = range(len(self._rows)) if status is None else self._by_status.get(status, array("I"))
        return [self._at(index) for index in found[offset : offset + limit]], len(found)

    def row(self, item: str) -> dict[str, Any] | None:
        """Return the row of an id."""
        index = self._by_id.get(item)
        return None if index is None else self._at(index)

    def newest(self, limit: int) -> list[dict[str, Any]]:
        """Return rows with a video, the newest first."""
        return [self._at(index) for index in self._newest[:limit]]

    def counts(self) -> dict[str, int]:
        """Return how many rows have each status."""
        return {status: len(found) for status, found in self._by_status.items()}

    @property
    def file(self) -> media.Found:
        """The table as a file to download."""
        mime = CONTENT_TYPES[".parquet" if self.name.lower().endswith(".parquet") else ".jsonl"]
        return media.Found(
            self.place, self.name, self.record.bytes, mime, None, f'"{self.record.sha256[:24]}"', self.lane
        )

    def weight(self) -> int:
        """Return its approximate size in memory in bytes."""
        return sum(map(len, self._rows)) + _ROW * len(self._rows)

    def _at(self, index: int) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._rows[index])
        return found


class TableCache:
    """Cache of parsed tables in this process; thread-safe."""

    def __init__(self) -> None:
        self._known: Kept[str, ShownTable] = Kept(KEPT, KEPT_BYTES)
        self._compared: Kept[str, float] = Kept(KEPT, KEPT)
        self._lock = threading.Lock()

    async def find(self, card: Card, owner: Owner, *, believed: float = BELIEVED) -> ShownTable:
        """Return the result table of a task instance.

        Args:
            card: Its card.
            owner: The task instance; the user may see it.
            believed: Seconds for which a cached table is taken without a look at its record.

        Raises:
            HTTPException: There is none, it is another task's, damaged, too large, or its storage does not respond.
        """
        uri = None if card.rows is None else card.rows.table_uri
        if not uri:
            raise HTTPException(404, NO_TABLE)
        known = self._fresh(uri, believed)
        if known is None:
            try:
                known = await _LANES.run(media.lane_of(uri), self._read, uri, owner.whole, believed)
            except Busy:
                raise HTTPException(504, NO_ANSWER) from None
        _check_owner(known.record, owner.whole)
        return known

    def _fresh(self, uri: str, believed: float) -> ShownTable | None:
        with self._lock:
            known, at = self._known.get(uri), self._compared.get(uri)
        return known if at is not None and time.monotonic() < at + believed else None

    def _read(self, uri: str, owner: Owner, believed: float) -> ShownTable:
        """Return a table in a thread, from the cache if its record is the same."""
        if (fresh := self._fresh(uri, believed)) is not None:
            return fresh
        now = time.monotonic()
        try:
            table = self._current(uri, owner)
        except HTTPException:
            raise
        except Exception as problem:  # noqa: BLE001 - storage raises what it likes
            # The message of a storage library may contain the address, so it is only logged.
            log.info("Cannot show a result table: %s: %s", type(problem).__name__, problem)
            raise HTTPException(404, NOT_HERE) from None
        with self._lock:
            self._known.put(uri, table, table.weight())
            self._compared.put(uri, now, 1)
        return table

    def _current(self, uri: str, owner: Owner) -> ShownTable:
        if not uri.lower().endswith((".jsonl", ".parquet")):
            raise HTTPException(404, NOT_HERE)
        try:
            place, name = media.opened(uri)
        except HTTPException:
            raise HTTPException(404, NOT_HERE) from None
        record = table_records.read_record(place, name)
        if record is None:
            raise HTTPException(404, NOT_HERE)
        _check_owner(record, owner)
        with self._lock:
            known = self._known.get(uri)
        if known is not None and known.record == record:
            return known
        try:
            content = _content(place, name, record)
        except HTTPException:
            if known is not None and known.record.owner == owner:
                # It is being written right now.
                return known
            raise
        return _parsed(content, record, place, name, media.lane_of(uri))


def _check_owner(record: TableRecord, owner: Owner) -> None:
    wrote = record.owner
    if wrote == owner:
        return
    if wrote.dag_id != owner.dag_id:
        raise HTTPException(404, NOT_HERE)
    raise HTTPException(404, f"Another task has replaced the result table: {wrote.task} of run {wrote.run_id}")


def _content(place: Place, name: str, record: TableRecord) -> bytes:
    size = place.size(name)
    if size is None:
        raise HTTPException(404, NOT_HERE)
    if size > LARGEST:
        raise HTTPException(413, TOO_LARGE)
    with place.open(name) as file:
        content = file.read(LARGEST + 1)
    if (record.sha256, record.bytes) != table_records.digest_of(BytesIO(content)):
        raise HTTPException(409, CHANGED)
    return content


def _parsed(content: bytes, record: TableRecord, place: Place, name: str, lane: str) -> ShownTable:
    try:
        found = _Index()
        found.add(table_files.lines_in(content, is_parquet=name.lower().endswith(".parquet")))
    except HTTPException:
        raise
    except WrongTable as problem:
        raise HTTPException(404, f"The result table cannot be read here: it needs {problem}") from None
    except Exception as problem:  # noqa: BLE001 - a damaged table raises whatever its reader raises
        log.info("A result table is damaged: %s: %s", type(problem).__name__, problem)
        raise HTTPException(404, DAMAGED) from None
    newest = heapq.nlargest(NEWEST, found.finished)
    by_age = [index for _, index in newest]
    return ShownTable(record, place, name, lane, found.rows, found.by_status, found.by_id, by_age)


@dataclass
class _Index:
    """Rows of a table as they are found."""

    rows: list[bytes] = field(default_factory=list)
    by_status: dict[str, array[int]] = field(default_factory=dict)
    by_id: dict[str, int] = field(default_factory=dict)
    finished: list[tuple[str, int]] = field(default_factory=list)

    def add(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Add lines."""
        size = 0
        for row in _rows(lines):
            index = len(self.rows)
            text = json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode()
            size += len(text)
            if size > LARGEST:
                raise HTTPException(413, TOO_LARGE)
            self.rows.append(text)
            self.by_status.setdefault(row["status"], array("I")).append(index)
            if row.get("id"):
                self.by_id[row["id"]] = index
                if row["status"] == rows.WITH_VIDEO:
                    self.finished.append((row.get("finished_at") or "", index))


def _rows(lines: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    for line in lines:
        row = rows.trimmed(line)
        if row is None:
            raise HTTPException(404, DAMAGED)
        yield row


async def with_rows(cache: TableCache, shown: Sequence[Shown], limit: int) -> list[Shown]:
    """Return the cards, and behind each of the newest tables its newest videos.

    Args:
        cache: Of result tables.
        shown: The cards, newest first.
        limit: How many cards the page shows; the number of rows follows it.
    """
    tables = [each for each in shown if each.card.rows is not None and each.card.rows.table_uri][:TABLES]
    most = min(NEWEST, limit // TABLES)
    found = await asyncio.gather(*(_newest(cache, each, most) for each in tables))
    of_table = dict(zip((each.owner for each in tables), found, strict=True))
    return [part for each in shown for part in (each, *of_table.get(each.owner, ()))]


async def _newest(cache: TableCache, table: Shown, most: int) -> list[Shown]:
    try:
        found = await asyncio.wait_for(cache.find(table.card, table.owner), READING)
        return [rows.shown(row, table) for row in found.newest(most)]
    except (HTTPException, asyncio.TimeoutError) as problem:
        log.info("The gallery shows no rows of %s: %s", table.owner, problem)
        return []
