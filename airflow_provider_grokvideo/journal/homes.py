"""The two homes of a task instance's journal behind one small protocol.

===================  ==========================================  ======================================================
home                 where                                       two tries of one task instance at once
===================  ==========================================  ======================================================
`StateStoreHome`     Airflow's ``task_state_store`` (3.3+)       the API server refuses a try that was replaced, so the
                                                                 later one sees what the earlier one wrote
`FileHome`           ``[grokvideo] journal_path``, any storage   creating a record is exclusive where the storage has
                                                                 conditional writes (local, S3, Google Cloud Storage)
===================  ==========================================  ======================================================
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol
from urllib.parse import quote, unquote

from airflow_provider_grokvideo.core import journal
from airflow_provider_grokvideo.core.errors import GrokVideoError, JournalCorrupt, JournalUnavailable
from airflow_provider_grokvideo.core.journal import Owner, Record
from airflow_provider_grokvideo.journal.storage import Storage, open_tree

STATE_KEY = "grokvideo_journal"
"""The key in the task state store; the "Storage" tab of a task instance shows it."""

_LONGEST_NAME = 180


class Home(Protocol):
    """The records of one task instance.

    All methods raise :class:`JournalUnavailable` where the home cannot be reached and :class:`JournalCorrupt` where
    what is there cannot be read.
    """

    name: str

    def records(self) -> list[Record]:
        """Return all records, oldest first."""

    def create(self, record: Record) -> None:
        """Write a new record; returns only if it is there and no other try was faster."""

    def update(self, record: Record) -> None:
        """Write a record that exists already."""


class StateStoreHome:
    """One JSON value in the task state store of Airflow 3.3+; it survives retries and clears of the task.

    Args:
        store: ``context["task_state_store"]``, or the same verbs against the REST API.
        owner: The task instance.
        options: Further arguments of ``store.set``, such as a retention.
    """

    name = "task_state_store"

    def __init__(self, store: Any, owner: Owner, options: Mapping[str, Any] | None = None) -> None:
        self._store = store
        self._owner = owner
        self._options = dict(options or {})

    def records(self) -> list[Record]:
        """Read the value."""
        value = self._ask(lambda: self._store.get(STATE_KEY))
        if value is None:
            return []
        if not isinstance(value, Mapping) or not isinstance(value.get("purchases"), list):
            raise JournalCorrupt(f"the task state {STATE_KEY!r} of {self._owner} is not a journal")
        if value.get("schema") != journal.SCHEMA:
            raise JournalCorrupt(
                f"the task state {STATE_KEY!r} of {self._owner} has schema {value.get('schema')!r}, this version "
                f"reads {journal.SCHEMA}"
            )
        return [journal.parse(item, self._owner) for item in value["purchases"]]

    def create(self, record: Record) -> None:
        """Append, then read back: another try may have written in between."""
        records = self.records()
        if any(each.number >= record.number for each in records):
            raise _taken(record)
        self._write([*records, record])
        if self.records()[-1:] != [record]:
            raise _taken(record)

    def update(self, record: Record) -> None:
        """Replace the record of the same token."""
        records = self.records()
        if record.token not in [each.token for each in records]:
            records.append(record)
        self._write([record if each.token == record.token else each for each in records])

    def _write(self, records: list[Record]) -> None:
        value = {"schema": journal.SCHEMA, "purchases": [each.to_json() for each in records]}
        self._ask(lambda: self._store.set(STATE_KEY, value, **self._options))

    def _ask(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except GrokVideoError:
            raise
        except Exception as error:
            what = f"the task state store of {self._owner} does not work ({type(error).__name__}: {error})"
            raise JournalUnavailable(what) from error


class FileHome:
    """One file per purchase under ``<journal_path>/<dag>/<run>/<task>/<map index>/``; Airflow never touches them.

    Args:
        tree: The directory.
        owner: The task instance.
    """

    def __init__(self, tree: Storage, owner: Owner) -> None:
        self._tree = tree
        self._owner = owner
        self._folder = "/".join([*task_folder(owner), str(owner.map_index)])
        self.name = f"{tree.where.rstrip('/')}/{self._folder}"

    def records(self) -> list[Record]:
        """Read all files; one that a person removed leaves the others."""
        found = []
        for name in self._tree.folder(self._folder):
            content = self._tree.read(name)
            if content is not None:
                found.append(_parsed(content, name, self._owner))
        return found

    def create(self, record: Record) -> None:
        """Create the next file exclusively, then read it back."""
        name = self._file(record.number)
        if not self._tree.create(name, _json(record)) or self._tree.read(name) != _json(record):
            raise _taken(record)

    def update(self, record: Record) -> None:
        """Replace the file."""
        self._tree.replace(self._file(record.number), _json(record))

    def _file(self, number: int) -> str:
        return f"{self._folder}/{number:04d}.json"


def journal_files(path: str) -> list[Record]:
    """Return every record under a ``journal_path``, sorted by the time of the intent."""
    tree = open_tree(path)
    found = []
    for name in tree.everything():
        content = tree.read(name)
        if content is not None:
            found.append(_parsed(content, name, None))
    return sorted(found, key=lambda record: record.intended_at)


def task_folder(owner: Owner) -> list[str]:
    """Return the directories that belong to a task of a run."""
    return [_safe(part) for part in (owner.dag_id, owner.run_id, owner.task_id)]


def numbered(record: Record, records: list[Record]) -> Record:
    """Return a new record with the number after the last one."""
    return replace(record, number=max((each.number for each in records), default=0) + 1)


def _safe(part: str) -> str:
    """Return a name without wildcards and slashes that any filesystem takes."""
    text = quote(part, safe="-_.=+@,")
    if text.strip(".") == "":
        text = text.replace(".", "%2E")
    if len(text) <= _LONGEST_NAME:
        return text
    return f"{text[: _LONGEST_NAME - 17]}-{hashlib.sha256(unquote(text).encode()).hexdigest()[:16]}"


def _json(record: Record) -> bytes:
    return f"{json.dumps(record.to_json(), indent=2, sort_keys=True, ensure_ascii=False)}\n".encode()


def _parsed(content: bytes, name: str, owner: Owner | None) -> Record:
    try:
        return journal.parse(json.loads(content), owner)
    except ValueError as error:
        raise JournalCorrupt(f"the journal record {name} is not JSON ({error})") from error
    except JournalCorrupt as error:
        raise JournalCorrupt(f"{error.what} ({name})") from None


def _taken(record: Record) -> JournalUnavailable:
    return JournalUnavailable(
        f"another try of {record.owner} is submitting right now",
        advice="This try sent nothing. A retry finds what the other one bought.",
    )
