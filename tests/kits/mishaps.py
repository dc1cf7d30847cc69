"""What can happen to a task from outside: its worker dies at a chosen point, its journal stops answering, time flies.

Everything here wraps what is there and calls it; nothing is replaced.
"""

from __future__ import annotations

import functools
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_grokvideo.client import carriers
from airflow_provider_grokvideo.core.errors import JournalUnavailable
from airflow_provider_grokvideo.core.polling import decisions
from airflow_provider_grokvideo.database import Database
from airflow_provider_grokvideo.delivery import deliver, store
from airflow_provider_grokvideo.execution import handover, journal, wait
from airflow_provider_grokvideo.hooks.grokvideo import GrokVideoHook
from airflow_provider_grokvideo.journal.backends import FileBackend, TaskStateBackend
from airflow_provider_grokvideo.journal.sql import SqlBackend
from airflow_provider_grokvideo.operators.grokvideo import GrokVideoGenerateOperator
from airflow_provider_grokvideo.storage.directories import LocalTree

POINTS = tuple(
    (name, when)
    for name in (
        "write intent",
        "submit",
        "post",
        "write submitted",
        "write withdrawn",
        "defer",
        "execute_complete",
        "store file",
        "write sidecar",
        "hand over",
        "write delivered",
        "write ended",
    )
    for when in ("before", "after")
)
"""Where a worker can die: on either side of every step that leaves something behind."""


class Killed(BaseException):
    """The worker is gone; no ``except Exception`` notices."""


class Mishaps:
    """What will go wrong next.

    Attributes:
        death: A point of :data:`POINTS` at which the worker dies, once.
        outage_after: How many operations of the journal's storage work before the outage: the first ones of a try are
            reads, and an outage that begins there ends the try before anything is written.
        outage: How many operations fail then.
        outage_hits: Whether an operation that fails was carried out all the same, its answer being lost.
        outages_seen: How many operations failed so far.
    """

    def __init__(self) -> None:
        self.death: tuple[str, str] | None = None
        self.outage_after = 0
        self.outage = 0
        self.outage_hits = False
        self.outages_seen = 0

    def cross(self, name: str, when: str) -> None:
        """Die here, if that is the plan."""
        if self.death == (name, when):
            self.death = None
            raise Killed(f"{when} {name}")

    def storage(self, write: bool, call: Callable[[], Any]) -> Any:
        """Carry out an operation of the journal's storage, or not."""
        if self.outage == 0:
            return call()
        if self.outage_after > 0:
            self.outage_after -= 1
            return call()
        self.outage -= 1
        self.outages_seen += 1
        if write and self.outage_hits:
            call()
        raise JournalUnavailable("the journal's storage is down")

    def install(self, patch: pytest.MonkeyPatch) -> None:
        """Wrap every step."""
        for backend in (FileBackend, TaskStateBackend):
            for verb in ("create", "update"):
                self._wrap(patch, backend, verb, lambda _backend, record: f"write {record.phase}")
        self._wrap(patch, GrokVideoHook, "submit", lambda *_: "submit")
        self._wrap(patch, carriers.Client, "_send", lambda _client, call: "post" if call.paid else "")
        self._wrap(patch, GrokVideoGenerateOperator, "defer", lambda *_: "defer")
        self._wrap(patch, GrokVideoGenerateOperator, "execute_complete", lambda *_: "execute_complete")
        self._wrap(patch, handover, "hand_over", lambda *_: "hand over")
        self._wrap(patch, store, "_put", lambda *_: "store file")
        self._wrap(patch, store, "to_json", lambda record: "write sidecar" if "sidecar_uri" in record else "")
        for verb in ("create", "replace", "read", "folder"):
            self._wrap_storage(patch, LocalTree, verb)
        self._wrap(patch, SqlBackend, "insert", lambda _backend, _connection, record: f"write {record.phase}")
        self._wrap(patch, SqlBackend, "update", lambda _backend, record: f"write {record.phase}")
        for verb in ("transact", "read"):
            self._wrap_storage(patch, Database, verb)

    def _wrap(self, patch: pytest.MonkeyPatch, owner: Any, attribute: str, name: Callable[..., str]) -> None:
        original = getattr(owner, attribute)

        @functools.wraps(original)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            point = name(*args)
            self.cross(point, "before")
            try:
                return original(*args, **kwargs)
            finally:
                self.cross(point, "after")

        patch.setattr(owner, attribute, wrapped)

    def _wrap_storage(self, patch: pytest.MonkeyPatch, owner: Any, verb: str) -> None:
        original = getattr(owner, verb)

        @functools.wraps(original)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            if isinstance(args[0], Database) and args[0].schema.name != "journal":
                return original(*args, **kwargs)
            return self.storage(verb in ("create", "replace", "transact"), lambda: original(*args, **kwargs))

        patch.setattr(owner, verb, wrapped)


def read_rows(database: Path) -> list[dict[str, Any]]:
    """Read the journal in an SQLite file without the package."""
    if not database.exists():
        return []
    with closing(sqlite3.connect(database)) as connection, suppress(sqlite3.OperationalError):
        rows = connection.execute("SELECT record FROM grokvideo_purchases ORDER BY number")
        return [json.loads(record) for (record,) in rows]
    return []


def write_row(database: Path, record: dict[str, Any]) -> None:
    """Change a record in an SQLite file by hand."""
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(
            "UPDATE grokvideo_purchases SET record = ? WHERE token = ?", (json.dumps(record), record["token"])
        )


class StateStore:
    """As Airflow's task state store, where its API server can be down."""

    def __init__(self, mishaps: Mishaps) -> None:
        self.values: dict[str, str] = {}
        self._mishaps = mishaps

    def get(self, key: str, default: Any = None) -> Any:
        """Return a value."""
        return self._mishaps.storage(False, lambda: json.loads(self.values[key]) if key in self.values else default)

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
        """Keep a value."""
        self._mishaps.storage(True, lambda: self.values.update({key: json.dumps(value)}))


def let_time_fly(patch: pytest.MonkeyPatch) -> None:
    """Take the pauses out: no wait of the code under test lasts longer than some hundredths of a second."""
    patch.setitem(carriers.Client.__init__.__kwdefaults__, "sleep", lambda seconds: None)
    patch.setitem(deliver.deliver.__kwdefaults__, "pause", lambda seconds: None)
    patch.setattr(journal, "BETWEEN_TRIES", 0.0)
    patch.setattr(decisions, "PROPAGATION", 0.0)
    patch.setattr(wait, "AFTER_RESUME", 0.05)
    patch.setattr(wait, "BETWEEN_POLLS", 0.01)
