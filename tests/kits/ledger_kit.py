"""Ledgers for tests, purchases to put into them, and crowds of clients that each have a process of their own."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from typing import Any

import sqlalchemy as sa

from airflow_provider_grokvideo import database
from airflow_provider_grokvideo.core.billing import budgets
from airflow_provider_grokvideo.core.billing.budgets import Scope
from airflow_provider_grokvideo.core.billing.entries import Entry
from airflow_provider_grokvideo.core.purchases import records
from airflow_provider_grokvideo.core.purchases.records import Owner, Record
from airflow_provider_grokvideo.journal.sql import SqlBackend, SqlJournal
from airflow_provider_grokvideo.ledger import settings, sql
from airflow_provider_grokvideo.ledger.sql import SqlLedger

NOON = 1_800_014_400.0
"""2027-01-15T12:00:00Z."""

OWNER = Owner("films", "manual__1", "make")

USD = 10**10

PATIENCE = 60.0
"""Seconds until a client counts as stuck."""


@dataclass(frozen=True)
class Place:
    """Where a ledger is; opened anew by each client.

    Attributes:
        backend: ``sqlite`` or ``postgresql``.
        where: The file, or the URI of an Airflow connection.
    """

    backend: str
    where: str

    def open(self) -> SqlLedger:
        """Open it the way the settings do."""
        if self.backend == "sqlite":
            return sql.open_sqlite(self.where)
        os.environ["AIRFLOW_CONN_THE_LEDGER"] = self.where
        return settings.open_connection("the_ledger")

    def engine(self) -> sa.Engine:
        """Return a way around our code."""
        url = f"sqlite:///{self.where}" if self.backend == "sqlite" else self.where.replace("postgres:", "postgresql:")
        return sa.create_engine(url, poolclass=sa.NullPool)


def bought(token: str = "t-1", ticks: int | None = USD, **facts: Any) -> Entry:
    """Return a purchase."""
    return Entry(
        **{
            "token": token,
            "reserved_at": NOON,
            "conn_id": "grokvideo_default",
            "owner": OWNER,
            "estimated": ticks,
            **facts,
        }
    )


def limits(*declared: Any, owner: Owner = OWNER, now: float = NOON) -> list[Scope]:
    """Return what a purchase is held to; a number is dollars per day."""
    each = [{"usd": one, "per": "day"} if isinstance(one, int | float | str) else one for one in declared]
    return budgets.scopes(budgets.parse(each, where="budgets"), owner, "grokvideo_default", now)


class Crowd:
    """Clients that wait for each other, then do their work at the same moment, each in its own process.

    Args:
        work: Called as ``work(ledger, tell, *arguments)`` in each process; `tell` sends a word to :meth:`hear`.
        place: The ledger, opened by each client.
        arguments: One tuple for each client.
    """

    def __init__(self, work: Callable[..., Any], place: Place, arguments: Sequence[tuple[Any, ...]]) -> None:
        context = multiprocessing.get_context("forkserver")
        # The server imports once what every client needs.
        context.set_forkserver_preload(["pytest", "airflow.sdk", "airflow.providers.postgres.hooks.postgres", __name__])
        self._gate = context.Event()
        self._pipes: list[Connection] = []
        self.processes = []
        for each in arguments:
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(work, place, each, self._gate, theirs), daemon=True)
            process.start()
            theirs.close()
            self._pipes.append(ours)
            self.processes.append(process)

    def hear(self, client: int = 0) -> Any:
        """Return the next word of a client."""
        if not self._pipes[client].poll(PATIENCE):
            raise TimeoutError(f"client {client} says nothing")
        return self._pipes[client].recv()

    def go(self) -> None:
        """Wait until all are ready, then let them begin."""
        for client in range(len(self._pipes)):
            assert self.hear(client) == "ready"
        self._gate.set()

    def results(self) -> list[Any]:
        """Return what the work of each returned, an error as its text."""
        return [self.hear(client) for client in range(len(self._pipes))]

    def end(self) -> None:
        """End those that are left."""
        for process in self.processes:
            process.kill()
            process.join()


@contextmanager
def crowd(work: Callable[..., Any], place: Place, arguments: Sequence[tuple[Any, ...]]) -> Iterator[Crowd]:
    """Let clients begin; they are gone when the block ends."""
    found = Crowd(work, place, arguments)
    try:
        found.go()
        yield found
    finally:
        found.end()


def together(work: Callable[..., Any], place: Place, arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
    """Let clients work at the same moment and return what each found."""
    with crowd(work, place, arguments) as clients:
        return clients.results()


def _serve(work: Callable[..., Any], place: Place, arguments: tuple[Any, ...], gate: Any, pipe: Connection) -> None:
    ledger = place.open()
    pipe.send("ready")
    gate.wait(PATIENCE)
    try:
        result = work(ledger, pipe.send, *arguments)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told
        result = f"{type(error).__name__}: {error}"
    pipe.send(result)


def reserve(ledger: SqlLedger, tell: Callable[[Any], None], token: str, ticks: int, declared: list[Any]) -> int:
    """Reserve, and return how many budgets had no room."""
    return len(ledger.reserve(bought(token, ticks), limits(*declared)))


def table(prefix: str, count: int, ticks: int | None = USD, **facts: Any) -> list[Entry]:
    """Return the reservations of a table's rows."""
    items = [f"{prefix}-{number}" for number in range(count)]
    return [bought(item, ticks, **{"owner": replace(OWNER, item=item), **facts}) for item in items]


def reserve_table(ledger: SqlLedger, tell: Callable[[Any], None], prefix: str, count: int, ticks: int) -> int:
    """Reserve a table against ten dollars per day, and return how many budgets had no room."""
    return len(ledger.reserve_all(table(prefix, count, ticks), limits(10)))


def add_ticks(ledger: SqlLedger, tell: Callable[[Any], None], token: str, times: int) -> None:
    """Add one tick to the bill of a purchase, again and again."""

    def one_more(entry: Entry | None) -> Entry:
        entry = entry or bought(token)
        return replace(entry, billed=(entry.billed or 0) + 1)

    for _ in range(times):
        ledger.change(token, one_more)


def stop_in_change(ledger: SqlLedger, tell: Callable[[Any], None], token: str) -> None:
    """Hold the lock before anything is written, and do not go on."""

    def hold(entry: Entry | None) -> Entry:
        tell("holding")
        signal.pause()
        return bought(token)

    ledger.change(token, hold)


def stop_before_commit(ledger: SqlLedger, tell: Callable[[Any], None], token: str) -> None:
    """Hold the lock with the entry written and not committed, and do not go on."""
    ledger.entries()

    @sa.event.listens_for(sa.Engine, "commit")
    def hold(connection: sa.Connection) -> None:
        tell("holding")
        signal.pause()

    ledger.reserve(bought(token), [])


def freeze(ledger: SqlLedger, tell: Callable[[Any], None], token: str, frozen_after: int) -> None:
    """Be suspended while the lock is held; go on when somebody resumes the process."""
    database.FROZEN_AFTER = frozen_after

    def hold(entry: Entry | None) -> Entry:
        tell("holding")
        os.kill(os.getpid(), signal.SIGSTOP)
        return bought(token)

    ledger.change(token, hold)


def journal_record() -> Record:
    """Return an unconfirmed submission."""
    return Record(OWNER, 1, "t-1", "intent", "f", "f", NOON)


def journal_of(conn_id: str) -> SqlBackend:
    """Open the journal of a task instance in the database of a connection."""
    return SqlJournal(settings.connection_engine(conn_id), f"in connection {conn_id}").of(OWNER)


def freeze_in_update(ledger: SqlLedger, tell: Callable[[Any], None], frozen_after: int) -> bool:
    """Be suspended while a record of the journal is replaced; go on when somebody resumes the process."""
    database.FROZEN_AFTER = frozen_after
    backend = journal_of("the_ledger")
    (record,) = backend.records()

    def hold(*_: Any) -> bool:
        tell("holding")
        os.kill(os.getpid(), signal.SIGSTOP)
        return True

    records.may_replace = hold
    return backend.update(replace(record, note="frozen"))
