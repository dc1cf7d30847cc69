"""Backends of the journal of a task instance, or of one row of it.

================== ========================================= =======================================================
backend            location                                  two simultaneous tries of one task instance
================== ========================================= =======================================================
`TaskStateBackend` Airflow's ``task_state_store`` (3.3+)     the API server refuses a try that was replaced, so the
                                                             later try sees the records of the earlier one
`FileBackend`      ``[grokvideo] journal_path``, any storage creating a record is exclusive if the storage has
                                                             conditional writes (local, S3, Google Cloud Storage)
================== ========================================= =======================================================
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from threading import RLock
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote, unquote

from airflow_provider_grokvideo.core.errors import GrokVideoError, JournalCorrupt, JournalUnavailable
from airflow_provider_grokvideo.core.purchases import records as purchases
from airflow_provider_grokvideo.core.purchases import stored
from airflow_provider_grokvideo.core.purchases.records import Owner, Record

if TYPE_CHECKING:
    from airflow_provider_grokvideo.storage.directories import Storage

STATE_KEY = "grokvideo_journal"
"""Key in the task state store, as the "Storage" tab of a task instance shows it."""

_NO_KEY = f"{STATE_KEY}_probe"
_NOTHING = object()
_LONGEST_NAME = 180
_HINT = ".at"


@dataclass(frozen=True)
class Joint:
    """A write of the journal that can be part of another transaction in the same database.

    Attributes:
        engine: Of the database.
        write: Writes, given a connection in a transaction.
    """

    engine: Any
    write: Callable[[Any], None]


class Backend(Protocol):
    """The records of one task instance, or of one row of it.

    All methods raise :class:`JournalUnavailable` if the backend cannot be reached and :class:`JournalCorrupt` if its
    content cannot be read.
    """

    name: str
    access: str
    """What the commands of ``grokvideo journal`` need to reach it, as one line of a message."""

    def records(self) -> list[Record]:
        """Return all records, oldest first."""

    def create(self, record: Record) -> None:
        """Write a new record; an error if another try was faster."""

    def update(self, record: Record) -> bool:
        """Write an existing record; False if another process has written a record that must be kept.

        :func:`~airflow_provider_grokvideo.core.purchases.records.may_replace` decides that from what this object has
        read.
        """

    def joint(self, record: Record) -> Joint | None:
        """Return how a new record is written in a transaction of the ledger; None where that cannot be."""

    def elsewhere(self, fingerprint: str) -> list[list[Record]]:
        """Return the records of the other map indexes of the same task and run that have bought from these inputs."""

    def claim(self, record: Record) -> bool:
        """Say that another map index's purchase is used by this one; False if a third one uses it already."""


class TaskStateBackend:
    """One JSON value in the task state store of Airflow 3.3+; it survives retries and clears of the task.

    Args:
        store: ``context["task_state_store"]``, or ``get(key)`` and ``set(key, value)`` against the REST API, whose None
            means that the key does not exist.
        owner: The task instance, or one row of it: all rows share the value.
        options: Further arguments of ``store.set``, such as a retention.
        known: What was read of it already.
        lock: Held while the value is replaced, where threads of this process work on several rows.
    """

    name = "task_state_store"
    access = (
        "The commands ask Airflow's API: set AIRFLOW_API_TOKEN, or AIRFLOW_API_USERNAME and AIRFLOW_API_PASSWORD, "
        f"unless all users are admins; elsewhere add --api-url. {purchases.HOW_TO_CLEAR}"
    )

    def __init__(
        self,
        store: Any,
        owner: Owner,
        options: Mapping[str, Any] | None = None,
        *,
        known: Iterable[Record] = (),
        lock: AbstractContextManager[Any] | None = None,
    ) -> None:
        self._store = store
        self._owner = owner
        self._options = dict(options or {})
        self._known = {each.token: each for each in known}
        self._lock = lock or RLock()

    def records(self) -> list[Record]:
        """Read the value."""
        return self._remembered(self._mine(self.all_records()))

    def all_records(self) -> list[Record]:
        """Return the records of the task instance with all its rows."""
        value = self._ask(self._read)
        if value is _NOTHING:
            return []
        if value is None:
            # Airflow keeps a reference, and its [workers] state_store_backend has lost the value.
            raise JournalCorrupt(
                f"task state {STATE_KEY!r} of {self._owner} exists, but its value is missing from the state store "
                f"backend"
            )
        if not isinstance(value, Mapping) or not isinstance(value.get("purchases"), list):
            raise JournalCorrupt(f"task state {STATE_KEY!r} of {self._owner} is not a journal")
        if type(value.get("schema")) is not int or value["schema"] != purchases.SCHEMA:
            raise JournalCorrupt(
                f"task state {STATE_KEY!r} of {self._owner} has schema {value.get('schema')!r}; this version "
                f"reads {purchases.SCHEMA}"
            )
        return [stored.of_task(stored.parse(each), self._owner) for each in value["purchases"]]

    def create(self, record: Record) -> None:
        """Append, then read back: another try may have written in between."""
        with self._lock:
            records = self.all_records()
            if any(each.number >= record.number for each in self._mine(records)):
                raise taken(record)
            self._write([*records, record])
            if self.records()[-1:] != [record]:
                raise taken(record)

    def update(self, record: Record) -> bool:
        """Replace the record of the same token."""
        with self._lock:
            records = self.all_records()
            there = next((each for each in self._mine(records) if each.token == record.token), None)
            if not purchases.may_replace(there, self._known.get(record.token), record):
                return False
            self._write([record if each is there else each for each in records] + [record] * (there is None))
            self._known[record.token] = record
            return True

    def _mine(self, records: Iterable[Record]) -> list[Record]:
        return [each for each in records if each.owner == self._owner]

    def _remembered(self, records: list[Record]) -> list[Record]:
        self._known = {each.token: each for each in records}
        return records

    def _write(self, records: list[Record]) -> None:
        value = {"schema": purchases.SCHEMA, "purchases": [each.to_json() for each in records]}
        self._ask(lambda: self._store.set(STATE_KEY, value, **self._options))

    def _read(self) -> Any:
        """Return the value; _NOTHING only if the key provably does not exist.

        Airflow's API server answers a `get` of a try that was replaced as if the key were not there, and refuses its
        `delete`. A try that may delete after the `get` was known at the `get`: the id of a try never comes back.
        """
        delete = getattr(self._store, "delete", None)
        if delete is None:
            value = self._store.get(STATE_KEY)
            return _NOTHING if value is None else value
        value = self._store.get(STATE_KEY, _NOTHING)
        if value is _NOTHING:
            delete(_NO_KEY)
        return value

    def joint(self, record: Record) -> Joint | None:
        """Return None: no transaction of the ledger reaches it."""
        return None

    def elsewhere(self, fingerprint: str) -> list[list[Record]]:
        """Return nothing: a task instance sees no other's state."""
        return []

    def claim(self, record: Record) -> bool:
        """Say yes; nothing of others is ever found."""
        return True

    def _ask(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except GrokVideoError:
            raise
        except Exception as error:
            what = f"the task state store of {self._owner} is unavailable ({type(error).__name__}: {error})"
            raise JournalUnavailable(what) from error


class FileBackend:
    """One file per purchase under ``<journal_path>/<dag>/<run>/<task>/<map index>/``; Airflow never touches them.

    The files of a row are below that, in ``rows/<item>/``.

    Args:
        tree: The directory.
        owner: The task instance, or one row of it.
        known: What was read of it already.
    """

    access = "The commands read [grokvideo] journal_path; elsewhere add --journal-path."

    def __init__(self, tree: Storage, owner: Owner, *, known: Iterable[Record] = ()) -> None:
        self._tree = tree
        self._owner = owner
        self._folder = row_folder(owner)
        self.name = f"{tree.where.rstrip('/')}/{self._folder}"
        self._known = {each.token: each for each in known}

    def records(self) -> list[Record]:
        """Read all files; a removed file does not affect the others."""
        found = []
        for name in self._tree.folder(self._folder):
            content = self._tree.read(name)
            if content is not None:
                found.append(parsed(content, name, self._owner))
        self._known = {each.token: each for each in found}
        return found

    def create(self, record: Record) -> None:
        """Create the next file exclusively, then read it back."""
        if self._owner.map_index >= 0:
            # Tells other map indexes where these inputs are, so they need not read all records.
            self._tree.create(f"{self._inputs(record.fingerprint)}/{self._owner.map_index}{_HINT}", b"")
        name = self._file(record.number)
        if not self._tree.create(name, _json(record)) or self._tree.read(name) != _json(record):
            raise taken(record)
        self._known[record.token] = record

    def update(self, record: Record) -> bool:
        """Replace the file."""
        name = self._file(record.number)
        content = self._tree.read(name)
        there = None if content is None else parsed(content, name, self._owner)
        if not purchases.may_replace(there, self._known.get(record.token), record):
            return False
        self._tree.replace(name, _json(record))
        self._known[record.token] = record
        return True

    def joint(self, record: Record) -> Joint | None:
        """Return None: no transaction of the ledger reaches it."""
        return None

    def elsewhere(self, fingerprint: str) -> list[list[Record]]:
        """Return the records of other map indexes of the same task and run that have a purchase of these inputs."""
        hints = self._tree.folder(self._inputs(fingerprint), _HINT)
        indexes = [int(name.rpartition("/")[2].removesuffix(_HINT)) for name in hints]
        return [self._at(index).records() for index in sorted(indexes) if index != self._owner.map_index]

    def claim(self, record: Record) -> bool:
        """Claim another map index's purchase for this one; return False if a third one has claimed it."""
        me = str(self._owner.map_index).encode()
        name = f"{self._inputs(record.fingerprint)}/{record.token}.taken"
        return self._tree.create(name, me) or self._tree.read(name) == me

    def _at(self, map_index: int) -> FileBackend:
        return FileBackend(self._tree, replace(self._owner, map_index=map_index))

    def _inputs(self, fingerprint: str) -> str:
        row = [] if self._owner.item is None else [_safe(self._owner.item)]
        return "/".join([*task_folder(self._owner), "inputs", fingerprint[:32], *row])

    def _file(self, number: int) -> str:
        return f"{self._folder}/{number:04d}.json"


def task_folder(owner: Owner) -> list[str]:
    """Return the directories of a task in a DAG run."""
    return [_safe(part) for part in (owner.dag_id, owner.run_id, owner.task_id)]


def rows_folder(owner: Owner) -> str:
    """Return the directory of all rows of a task instance."""
    return "/".join([*task_folder(owner), str(owner.map_index), "rows"])


def row_folder(owner: Owner) -> str:
    """Return the directory of the files of a task instance, or of one row of it."""
    if owner.item is None:
        return "/".join([*task_folder(owner), str(owner.map_index)])
    return f"{rows_folder(owner)}/{_safe(owner.item)}"


def numbered(record: Record, records: list[Record]) -> Record:
    """Return a new record with the number after the last one."""
    return replace(record, number=max((each.number for each in records), default=0) + 1)


def _safe(part: str) -> str:
    """Return a name without wildcards and slashes that any filesystem takes."""
    text = quote(part, safe="-_.=+@,")
    if text.strip(".") == "":
        text = text.replace(".", "%2E") or "%"
    if len(text) <= _LONGEST_NAME:
        return text
    return f"{text[: _LONGEST_NAME - 17]}-{hashlib.sha256(unquote(text).encode()).hexdigest()[:16]}"


def _json(record: Record) -> bytes:
    text = json.dumps(record.to_json(), indent=2, sort_keys=True, ensure_ascii=False)
    # Half a surrogate pair, which a response of xAI may contain, becomes its JSON escape.
    return f"{text}\n".encode(errors="backslashreplace")


def parsed(content: bytes, name: str, owner: Owner | None) -> Record:
    """Read a file.

    Raises:
        JournalCorrupt: It holds no record, or one of another task instance or row.
    """
    try:
        return stored.parse(json.loads(content), owner)
    except (ValueError, RecursionError) as error:
        raise JournalCorrupt(f"journal record {name} is not valid JSON ({error})") from error
    except JournalCorrupt as error:
        raise JournalCorrupt(f"{error.what} ({name})") from None


def taken(record: Record) -> JournalUnavailable:
    """Return the error of a try whose place another one has taken."""
    return JournalUnavailable(
        f"another try of {record.owner} is submitting right now",
        advice="This try sent nothing. A retry finds the purchase of the other try.",
    )
