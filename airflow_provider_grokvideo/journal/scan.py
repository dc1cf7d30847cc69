"""All journals of a deployment: the backend of each task instance, and every record in it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from airflow_provider_grokvideo.core.errors import JournalCorrupt, JournalUnavailable
from airflow_provider_grokvideo.core.purchases.records import Owner, Record
from airflow_provider_grokvideo.core.purchases.stored import parse
from airflow_provider_grokvideo.journal.backends import Backend, FileBackend, TaskStateBackend, task_folder
from airflow_provider_grokvideo.journal.items import FileItems
from airflow_provider_grokvideo.storage.directories import LocalTree, Storage, open_tree

if TYPE_CHECKING:
    from airflow_provider_grokvideo.journal.rest import AirflowApi
    from airflow_provider_grokvideo.journal.sql import SqlJournal


@dataclass(frozen=True)
class Unreadable:
    """Unreadable records.

    Attributes:
        where: The file or the task instance.
        what: The reason.
    """

    where: str
    what: str


@dataclass(frozen=True)
class Wanted:
    """Filter of task instances; None matches any."""

    dag_id: str | None = None
    run_id: str | None = None
    task_id: str | None = None


class Journals(Protocol):
    """All backends of one kind.

    Attributes:
        told: Description for messages.
        words: The command-line arguments that name it, as given.
    """

    told: str
    words: Sequence[str]

    def backend(self, owner: Owner) -> Backend:
        """Return the backend of a task instance, or of one row of it."""

    def of_task(self, owner: Owner) -> list[Record]:
        """Return the records of a task instance, then those of its rows."""

    def purchases(self, wanted: Wanted) -> Iterator[Record | Unreadable]:
        """Yield the readable records and a problem for each unreadable one."""

    def has(self, owner: Owner) -> bool:
        """Return whether a task instance without a record provably has no purchase."""


class FileJournals:
    """Journals in files; a local ``journal_path`` must exist, because a misspelt one would look like an empty journal.

    Args:
        path: A local directory or an ObjectStorage URL.
        words: The command-line arguments that name it.

    Raises:
        InvalidInput: The path cannot be opened.
        JournalUnavailable: The local directory does not exist.
    """

    def __init__(self, path: str, words: Sequence[str]) -> None:
        self._tree: Storage = open_tree(path)
        if isinstance(self._tree, LocalTree) and not os.path.isdir(self._tree.root):  # noqa: PTH112 - never raises
            raise JournalUnavailable(f"there is no directory {self._tree.root}; check the journal_path")
        self.told = f"files under {self._tree.where}"
        self.words = words

    def backend(self, owner: Owner) -> Backend:
        """Return the backend of a task instance."""
        return FileBackend(self._tree, owner)

    def of_task(self, owner: Owner) -> list[Record]:
        """Read the files of a task instance and of all its rows."""
        rows = FileItems(self._tree, owner).records()
        return [*self.backend(owner.whole).records(), *(record for each in rows.values() for record in each)]

    def purchases(self, wanted: Wanted) -> Iterator[Record | Unreadable]:
        """Read every file whose directories match."""
        given = (wanted.dag_id, wanted.run_id, wanted.task_id)
        folders = task_folder(Owner(wanted.dag_id or "", wanted.run_id or "", wanted.task_id or ""))
        for file in self._tree.everything():
            parts = file.split("/")
            if all(name is None or has == part for name, has, part in zip(given, folders, parts, strict=False)):
                yield from self._read(file)

    def has(self, owner: Owner) -> bool:
        """Return True: Airflow never removes these files."""
        return True

    def _read(self, file: str) -> Iterator[Record | Unreadable]:
        content = self._tree.read(file)
        if content is None:
            return
        try:
            yield parse(json.loads(content))
        except JournalCorrupt as error:
            yield Unreadable(file, error.what)
        except (ValueError, RecursionError) as error:
            yield Unreadable(file, f"not valid JSON ({error})")


class ApiJournals:
    """The task state stores of an Airflow.

    Args:
        api: Client of the API server.
        words: The command-line arguments that name it.
        operators: Further operator classes whose tasks have a journal.
    """

    def __init__(self, api: AirflowApi, words: Sequence[str], operators: Sequence[str] = ()) -> None:
        self._api = api
        self._operators = tuple(operators)
        self.told = f"task state store of Airflow {api.version} at {api.url}"
        self.words = words

    def backend(self, owner: Owner) -> Backend:
        """Return the backend of a task instance."""
        return TaskStateBackend(self._api.store(owner), owner)

    def of_task(self, owner: Owner) -> list[Record]:
        """Read the value of a task instance."""
        return _rows_last(TaskStateBackend(self._api.store(owner), owner).all_records())

    def purchases(self, wanted: Wanted) -> Iterator[Record | Unreadable]:
        """Read the journal of each task instance that may have one."""
        for owner in self._api.owners(wanted.dag_id, wanted.run_id, wanted.task_id, also=self._operators):
            try:
                yield from self.of_task(owner)
            except JournalCorrupt as error:
                yield Unreadable(str(owner), error.what)

    def has(self, owner: Owner) -> bool:
        """Return whether the task instance still exists in Airflow; a deleted one has lost its journal."""
        return owner.whole in self._api.owners(owner.dag_id, owner.run_id, owner.task_id, also=self._operators)


class SqlJournals:
    """The journals in the database of the ledger.

    Args:
        journal: All of them.
    """

    words: Sequence[str] = ()

    def __init__(self, journal: SqlJournal) -> None:
        self._journal = journal
        self.told = f"database {journal.label}"

    def backend(self, owner: Owner) -> Backend:
        """Return the backend of a task instance."""
        return self._journal.of(owner)

    def of_task(self, owner: Owner) -> list[Record]:
        """Read the rows of a task instance."""
        return _rows_last(self._journal.of_task(owner))

    def purchases(self, wanted: Wanted) -> Iterator[Record | Unreadable]:
        """Read every row that fits."""
        from airflow_provider_grokvideo.journal.sql import parsed

        for row in self._journal.matching(wanted.dag_id, wanted.run_id, wanted.task_id):
            try:
                yield parsed(row)
            except JournalCorrupt as error:
                yield Unreadable(
                    f"row {row['number']} of {row['dag_id']}.{row['task_id']} of {row['run_id']}", error.what
                )

    def has(self, owner: Owner) -> bool:
        """Say yes: Airflow never deletes these rows."""
        return True


def _rows_last(records: Sequence[Record]) -> list[Record]:
    """Return records with those of one row one after the other, and those of no row first."""
    return sorted(records, key=lambda each: (each.owner.item is not None, each.owner.item or "", each.number))
