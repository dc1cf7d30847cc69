"""Ledger in an SQL database: PostgreSQL in production, SQLite on one machine.

Reservations are serialized: each transaction first locks the ledger's only lock row (SQLite: its file), then sums up
the entries of each budget, then writes. So no two transactions see the same remaining budget, and with one lock there
is no deadlock. The database releases the lock when a client dies. The sums come from the entries, so a new budget
counts earlier purchases too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from typing import Any

import sqlalchemy as sa

from airflow_provider_grokvideo.core.billing import budgets
from airflow_provider_grokvideo.core.billing.budgets import Overrun, Scope
from airflow_provider_grokvideo.core.billing.entries import Entry
from airflow_provider_grokvideo.core.errors import LedgerUnavailable
from airflow_provider_grokvideo.core.purchases.records import Owner
from airflow_provider_grokvideo.database import Database, Schema, lock_table, sqlite_engine

SCHEMA = 1

_metadata = sa.MetaData()

SPEND = sa.Table(
    "grokvideo_spend",
    _metadata,
    sa.Column("token", sa.String(64), primary_key=True),
    sa.Column("reserved_at", sa.Double(), nullable=False),
    sa.Column("conn_id", sa.String(250), nullable=False),
    sa.Column("dag_id", sa.String(250), nullable=False),
    sa.Column("run_id", sa.String(250), nullable=False),
    sa.Column("task_id", sa.String(250), nullable=False),
    sa.Column("map_index", sa.Integer(), nullable=False),
    sa.Column("try_number", sa.Integer()),
    sa.Column("mode", sa.String(40)),
    sa.Column("model", sa.String(250)),
    sa.Column("estimated_ticks", sa.BigInteger()),
    sa.Column("billed_ticks", sa.BigInteger()),
    sa.Column("counted_ticks", sa.BigInteger(), nullable=False),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("outcome", sa.String(20)),
    sa.Column("request_id", sa.String(250)),
    sa.Column("approved_by", sa.String(250)),
    sa.Index("grokvideo_spend_time", "reserved_at"),
    sa.Index("grokvideo_spend_run", "dag_id", "run_id"),
    sa.Index("grokvideo_spend_request", "request_id"),
)

LOCK = lock_table("grokvideo_spend_lock", _metadata)

_SCHEMA = Schema("ledger", _metadata, LOCK, version=SCHEMA, error=LedgerUnavailable)


class SqlLedger:
    """Ledger in a database that SQLAlchemy can reach.

    Methods raise :class:`LedgerUnavailable` if the database cannot be reached or refuses.

    Args:
        engine: Engine of the database; without a pool every transaction opens its own connection, as short tasks need.
        told: Description for messages, without secrets.
    """

    def __init__(self, engine: sa.Engine, told: str) -> None:
        self.told = told
        self._database = Database(engine, told, _SCHEMA)

    def shares(self, engine: sa.Engine) -> bool:
        """Say whether a transaction of this ledger can write what `engine` reads."""
        return engine.url == self._database.engine.url

    def reserve(
        self,
        entry: Entry,
        scopes: Sequence[Scope],
        *,
        anyway: bool = False,
        also: Callable[[sa.Connection], None] | None = None,
    ) -> list[Overrun]:
        """Write a reservation if no budget is exceeded, in one transaction.

        Args:
            entry: The reservation. An existing one is replaced and does not count twice.
            scopes: The budgets that apply, from :func:`budgets.scopes`.
            anyway: Write it even if a budget is exceeded, because a user has approved it.
            also: Writes more into the same transaction, where the reservation is written.

        Returns:
            The exceeded budgets; the reservation is only written if there are none, or with `anyway`.
        """

        def write(connection: sa.Connection) -> list[Overrun]:
            used = [(scope, _used(connection, scope, without=entry.token)) for scope in scopes]
            over = budgets.overruns(entry.counted, used)
            if not over or anyway:
                _put(connection, entry)
                if also is not None:
                    also(connection)
            return over

        return self._database.transact(write)

    def change(self, token: str, change: Callable[[Entry | None], Entry | None]) -> Entry | None:
        """Replace an entry, or None, by the result of `change`; return the new entry.

        Concurrent changes of one entry are serialized.
        """

        def write(connection: sa.Connection) -> Entry | None:
            known = next(iter(_entries(connection, SPEND.c.token == token)), None)
            wanted = change(known)
            if wanted is not None and wanted != known:
                _put(connection, wanted)
            return wanted

        return self._database.transact(write)

    def find(self, request_id: str) -> Entry | None:
        """Return the purchase of a request; None if it is unknown."""
        found = self._database.read(lambda connection: _entries(connection, SPEND.c.request_id == request_id))
        return found[-1] if found else None

    def of_owner(self, owner: Owner) -> list[Entry]:
        """Return the purchases of a task instance, oldest first."""
        mine = sa.and_(*(SPEND.c[each.name] == getattr(owner, each.name) for each in fields(Owner)))
        return self._database.read(lambda connection: _entries(connection, mine))

    def entries(self, start: float | None = None, end: float | None = None) -> list[Entry]:
        """Return the purchases reserved at or after `start` and before `end`, oldest first."""
        return self._database.read(lambda connection: _entries(connection, _within(start, end)))

    def used(self, scope: Scope) -> int:
        """Return the ticks that count against a budget."""
        return self._database.read(lambda connection: _used(connection, scope))


def open_sqlite(path: str, told: str | None = None) -> SqlLedger:
    """Open a ledger in a file, which is created if missing; its directory must exist."""
    return SqlLedger(sqlite_engine(path), told or path)


def _within(start: float | None, end: float | None) -> sa.ColumnElement[bool]:
    conditions = [
        *([] if start is None else [SPEND.c.reserved_at >= start]),
        *([] if end is None else [SPEND.c.reserved_at < end]),
    ]
    return sa.and_(sa.true(), *conditions)


def _used(connection: sa.Connection, scope: Scope, without: str = "") -> int:
    conditions = [_within(scope.start, scope.end), SPEND.c.token != without]
    if scope.dag_ids is not None:
        conditions.append(SPEND.c.dag_id.in_(scope.dag_ids))
    if scope.conn_ids is not None:
        conditions.append(SPEND.c.conn_id.in_(scope.conn_ids))
    if scope.run is not None:
        conditions += [SPEND.c.dag_id == scope.run[0], SPEND.c.run_id == scope.run[1]]
    total = connection.execute(sa.select(sa.func.sum(SPEND.c.counted_ticks)).where(sa.and_(*conditions))).scalar_one()
    return int(total or 0)


def _entries(connection: sa.Connection, condition: sa.ColumnElement[bool]) -> list[Entry]:
    order = (SPEND.c.reserved_at, SPEND.c.token)
    return [_entry(row) for row in connection.execute(sa.select(SPEND).where(condition).order_by(*order)).mappings()]


def _entry(row: Any) -> Entry:
    return Entry(
        owner=Owner(row["dag_id"], row["run_id"], row["task_id"], row["map_index"]),
        estimated=row["estimated_ticks"],
        billed=row["billed_ticks"],
        **{name: row[name] for name in _PLAIN},
    )


_PLAIN = (
    "token", "reserved_at", "conn_id", "try_number", "mode", "model", "state", "outcome", "request_id", "approved_by",
)  # fmt: skip


def _put(connection: sa.Connection, entry: Entry) -> None:
    """Insert or update an entry while the lock is held."""
    row = {
        **{name: getattr(entry, name) for name in _PLAIN},
        **asdict(entry.owner),
        "estimated_ticks": entry.estimated,
        "billed_ticks": entry.billed,
        "counted_ticks": entry.counted,
    }
    changed = connection.execute(SPEND.update().where(SPEND.c.token == entry.token).values(row)).rowcount
    if changed == 0:
        connection.execute(SPEND.insert().values(row))
