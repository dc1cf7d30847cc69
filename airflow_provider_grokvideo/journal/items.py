"""Journal of a table: the records of all rows of one task instance, and the backend of each row.

============ =================================== ======================================================================
class        location                            rows
============ =================================== ======================================================================
`SqlItems`   the database of the ledger          any number; one statement reads all, each write costs the same
`FileItems`  ``[grokvideo] journal_path``        any number; one listing, one read for each purchase
`StateItems` Airflow's ``task_state_store``      as many as fit into the one value of the task instance
============ =================================== ======================================================================

What two tries of one task instance may do to a row at the same moment is as in
:mod:`~airflow_provider_grokvideo.journal.backends`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Lock, RLock
from typing import TYPE_CHECKING, Any, Protocol

from airflow_provider_grokvideo.core.errors import JournalCorrupt
from airflow_provider_grokvideo.core.purchases import stored
from airflow_provider_grokvideo.core.purchases.records import Owner, Record
from airflow_provider_grokvideo.journal.backends import (
    Backend,
    FileBackend,
    TaskStateBackend,
    parsed,
    row_folder,
    rows_folder,
)

if TYPE_CHECKING:
    from airflow_provider_grokvideo.journal.sql import SqlJournal
    from airflow_provider_grokvideo.storage.directories import Storage

ROWS_IN_STATE = 20
"""The most rows of a table whose journal is in the task state store. Airflow keeps 64 kB for a task instance: 3.2 kB
for each of 20 rows. A delivered row with its manifest takes 1.9 kB, with a prompt of 300 characters and long URLs."""

READERS = 8
"""Files that are read at the same moment: an object store takes 20 to 100 ms for each."""


class Items(Protocol):
    """The records of all rows of one task instance; safe for threads that work on different rows.

    Attributes:
        name: Where they are, for messages.
        access: What the commands of ``grokvideo journal`` need to reach it, as one line of a message.
        most: How many rows it can hold; None is any number.
    """

    name: str
    access: str
    most: int | None

    def records(self) -> dict[str, list[Record]]:
        """Read all rows at once; return the records of each by its id, oldest first.

        Raises:
            JournalUnavailable: The backend does not answer.
            JournalCorrupt: A record cannot be read.
        """

    def of(self, item: str) -> Backend:
        """Return the backend of a row, the same one until all are read again; it knows what was read of the row."""


class _Opened(ABC):
    """The backends of the rows that are in use, and what was read of all rows."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner.whole
        self._read: Mapping[str, Sequence[Record]] = {}
        self._backends: dict[str, Backend] = {}
        self._opening = Lock()

    def records(self) -> dict[str, list[Record]]:
        """Read all rows at once."""
        found: dict[str, list[Record]] = {}
        for record in self._all():
            if record.owner.item is not None:
                found.setdefault(record.owner.item, []).append(record)
        for records in found.values():
            records.sort(key=lambda record: record.number)
        with self._opening:
            self._read = {item: tuple(records) for item, records in found.items()}
            self._backends.clear()
        return found

    def of(self, item: str) -> Backend:
        """Return the backend of a row."""
        with self._opening:
            if item not in self._backends:
                self._backends[item] = self._open(replace(self._owner, item=item), self._read.get(item, ()))
            return self._backends[item]

    @abstractmethod
    def _all(self) -> Iterable[Record]:
        """Return the records of all rows, in any order."""

    @abstractmethod
    def _open(self, owner: Owner, known: Sequence[Record]) -> Backend:
        """Return the backend of a row of which `known` was read."""


class SqlItems(_Opened):
    """Rows in an SQL database.

    Args:
        journal: All journals of the database.
        owner: The task instance.
    """

    most: int | None = None

    def __init__(self, journal: SqlJournal, owner: Owner) -> None:
        from airflow_provider_grokvideo.journal.sql import SqlBackend

        super().__init__(owner)
        self._journal = journal
        self._kind = SqlBackend
        self.name = f"database {journal.label}"
        self.access = SqlBackend.access

    def _all(self) -> Iterable[Record]:
        return self._journal.of_task(self._owner)

    def _open(self, owner: Owner, known: Sequence[Record]) -> Backend:
        return self._kind(self._journal, owner, known=known)


class FileItems(_Opened):
    """Rows in files: ``<journal_path>/<dag>/<run>/<task>/<map index>/rows/<item>/0001.json``.

    Args:
        tree: The directory.
        owner: The task instance.
    """

    access = FileBackend.access
    most: int | None = None

    def __init__(self, tree: Storage, owner: Owner) -> None:
        super().__init__(owner)
        self._tree = tree
        self.name = f"{tree.where.rstrip('/')}/{rows_folder(owner)}"

    def _all(self) -> Iterable[Record]:
        names = self._tree.below(rows_folder(self._owner))
        with ThreadPoolExecutor(READERS) as pool:
            contents = pool.map(self._tree.read, names)
            # A file that was removed since the listing does not affect the others.
            return [self._parsed(text, name) for name, text in zip(names, contents, strict=True) if text is not None]

    def _parsed(self, content: bytes, name: str) -> Record:
        record = parsed(content, name, None)
        if name.rpartition("/")[0] != row_folder(record.owner):
            raise JournalCorrupt(f"found a journal record of {record.owner} in {name}")
        return stored.of_task(record, self._owner)

    def _open(self, owner: Owner, known: Sequence[Record]) -> Backend:
        return FileBackend(self._tree, owner, known=known)


class StateItems(_Opened):
    """Rows in the one value of a task instance in the task state store.

    Every write replaces the value, so they come one after the other. A try that was replaced is refused by Airflow.

    Args:
        store: As for :class:`~airflow_provider_grokvideo.journal.backends.TaskStateBackend`.
        owner: The task instance.
        options: Further arguments of ``store.set``, such as a retention.
    """

    name = TaskStateBackend.name
    access = TaskStateBackend.access
    most: int | None = ROWS_IN_STATE

    def __init__(self, store: Any, owner: Owner, options: Mapping[str, Any] | None = None) -> None:
        super().__init__(owner)
        self._store = store
        self._options = options
        self._writing = RLock()

    def _all(self) -> Iterable[Record]:
        return TaskStateBackend(self._store, self._owner).all_records()

    def _open(self, owner: Owner, known: Sequence[Record]) -> Backend:
        return TaskStateBackend(self._store, owner, self._options, known=known, lock=self._writing)
