"""SQL tables of the journal and of the ledger: transactions, versions of their schema, errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from airflow_provider_grokvideo.core.errors import GrokVideoError

T = TypeVar("T")

LOCK_WAIT = 30
"""Seconds that a transaction waits for others; each takes milliseconds."""

FROZEN_AFTER = 15
"""Seconds after which PostgreSQL ends an idle transaction, such as that of a suspended worker; shorter than
:data:`LOCK_WAIT`."""

LOCKING = ("postgresql", "sqlite", "mysql", "mariadb")
"""Databases with row locks; for others SQLAlchemy silently omits ``FOR UPDATE``."""

_READS = "grokvideo_reads"


@dataclass(frozen=True)
class Schema:
    """A group of tables that have one version and one lock.

    Attributes:
        name: Name in messages: ``ledger`` or ``journal``.
        metadata: The tables.
        lock: The table of one row with ``id`` and ``schema_version``; a transaction that writes holds its lock.
        version: The version that this code reads and writes.
        error: Of a database that does not answer or refuses.
    """

    name: str
    metadata: sa.MetaData
    lock: sa.Table
    version: int
    error: type[GrokVideoError]


def lock_table(name: str, metadata: sa.MetaData) -> sa.Table:
    """Return the table of a schema's version and lock."""
    return sa.Table(
        name,
        metadata,
        sa.Column("id", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("schema_version", sa.Integer(), nullable=False),
    )


class Database:
    """A schema in a database that SQLAlchemy can reach. The tables are made where they are missing.

    Args:
        engine: Of the database; every transaction opens a connection of its own where it has no pool, which is what
            short tasks need.
        label: Description for messages, without secrets.
        schema: Which tables.
    """

    def __init__(self, engine: sa.Engine, label: str, schema: Schema) -> None:
        self.schema = schema
        if engine.dialect.name not in LOCKING:
            raise schema.error(
                f"{schema.name} {label} is in {engine.dialect.name}, which has no row locks; supported databases: "
                f"{', '.join(LOCKING)}",
                advice="Nothing was submitted. Name another database in [grokvideo] ledger_conn_id.",
            )
        self.engine = engine
        self.label = label
        self._is_ready = False
        # A snapshot taken before the lock was given would miss what was written in between.
        self._isolated = (
            engine if engine.dialect.name == "sqlite" else engine.execution_options(isolation_level="READ COMMITTED")
        )
        lock = schema.lock
        self._lock_row = sa.select(lock.c.schema_version).where(lock.c.id == 1).with_for_update()
        if engine.dialect.name == "sqlite":
            begin_explicitly(engine)

    def transact(self, steps: Callable[[sa.Connection], T], *, lock: bool = True) -> T:
        """Run steps in one transaction; with `lock`, one after the other with all others of this schema."""
        with self._reported():
            self._prepare()
            with self._isolated.begin() as connection:
                self._limit(connection)
                if lock:
                    self._lock(connection)
                return steps(connection)

    def read(self, steps: Callable[[sa.Connection], T]) -> T:
        """Run steps that only read."""
        with self._reported():
            self._prepare()
            with self._reading() as connection:
                return steps(connection)

    def prepare(self) -> None:
        """Create missing tables."""
        with self._reported():
            self._prepare()

    def exists(self) -> bool:
        """Return whether the tables are there; nothing is created."""
        with self._reported():
            return self._has_tables()

    def _prepare(self) -> None:
        """Create missing tables; another process may be creating them too."""
        if self._is_ready:
            return
        if not self._has_tables():
            try:
                self.schema.metadata.create_all(self.engine)
            except SQLAlchemyError:
                if not self._has_tables():
                    raise
        lock = self.schema.lock
        with self._reading() as connection:
            version = connection.execute(sa.select(lock.c.schema_version)).scalar_one_or_none()
        if version is None:
            with suppress(IntegrityError), self.engine.begin() as connection:
                connection.execute(lock.insert().values(id=1, schema_version=self.schema.version))
        else:
            self._check(version)
        self._is_ready = True

    def _limit(self, connection: sa.Connection) -> None:
        """Let no transaction wait for a lock, or hold one, longer than it should; SQLite's limit is its engine's."""
        if self.engine.dialect.name == "postgresql":
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{LOCK_WAIT}s'")
            connection.exec_driver_sql(f"SET LOCAL idle_in_transaction_session_timeout = '{FROZEN_AFTER}s'")

    def _lock(self, connection: sa.Connection) -> None:
        """Wait until no other transaction writes; the database keeps the lock until this one ends."""
        self._check(connection.execute(self._lock_row).scalar_one_or_none())

    def _check(self, version: int | None) -> None:
        if version != self.schema.version:
            raise self.schema.error(
                f"{self.schema.name} {self.label} has schema {version}; this version of the provider reads schema "
                f"{self.schema.version}",
                advice="Nothing was submitted. Install the version of the provider that created it, or a newer one.",
            )

    def _has_tables(self) -> bool:
        with self._reading() as connection:
            there = set(sa.inspect(connection).get_table_names())
        return set(self.schema.metadata.tables) <= there

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        with self.engine.connect() as connection:
            yield connection.execution_options(**{_READS: True})

    @contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except (SQLAlchemyError, OSError, OverflowError, ValueError) as error:
            # SQLAlchemy's message includes the statement; the driver's own says what is wrong.
            cause = getattr(error, "orig", None) or error
            first = str(cause).strip().partition("\n")[0]
            raise self.schema.error(
                f"{self.schema.name} {self.label} is unavailable ({type(cause).__name__}: {first})"
            ) from error


def sqlite_engine(path: str) -> sa.Engine:
    """Return the engine of an SQLite file, which is made if it is missing; its directory must be there."""
    url = sa.URL.create("sqlite+pysqlite", database=path)
    return sa.create_engine(url, poolclass=sa.NullPool, connect_args={"timeout": LOCK_WAIT})


def begin_explicitly(engine: sa.Engine) -> None:
    """Make each transaction take SQLite's write lock at its beginning: taking it later may fail.

    By default Python's driver begins transactions itself, at other moments.
    """

    @sa.event.listens_for(engine, "connect")
    def _connected(connection: Any, _: Any) -> None:
        connection.isolation_level = None

    @sa.event.listens_for(engine, "begin")
    def _began(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN" if connection.get_execution_options().get(_READS) else "BEGIN IMMEDIATE")
