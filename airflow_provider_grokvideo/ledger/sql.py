"""Ledger in an SQL database: PostgreSQL in production, SQLite on one machine.

Reservations are serialized: each transaction first locks the ledger's only lock row (SQLite: its file), then sums up
the entries of each budget, then writes. So no two transactions see the same remaining budget, and with one lock there
is no deadlock. The database releases the lock when a client dies. The sums come from the entries, so a new budget
counts earlier purchases too.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import fields
from typing import Any

import sqlalchemy as sa

from airflow_provider_grokvideo.core.billing import budgets
from airflow_provider_grokvideo.core.billing.budgets import Overrun, Scope
from airflow_provider_grokvideo.core.billing.entries import Entry
from airflow_provider_grokvideo.core.errors import LedgerUnavailable
from airflow_provider_grokvideo.core.purchases.records import Owner
from airflow_provider_grokvideo.database import Database, Schema, lock_table, sqlite_engine

SCHEMA = 1

_IN_ONE_STATEMENT = 500

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
    sa.Column("item", sa.String(250)),
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
    sa.Index("grokvideo_spend_run", "dag_id", "run_id", "task_id", "map_index"),
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
            used = [(scope, _used(connection, scope, SPEND.c.token != entry.token)) for scope in scopes]
            over = budgets.overruns(entry.counted, used)
            if not over or anyway:
                _put(connection, entry)
                if also is not None:
                    also(connection)
            return over

        return self._database.transact(write)

    def reserve_all(
        self, entries: Sequence[Entry], scopes: Sequence[Scope], *, anyway: bool = False, release: Sequence[str] = ()
    ) -> list[Overrun]:
        """Write the reservations of a table if no budget is exceeded by their sum, in one transaction.

        Args:
            entries: The reservations. Existing ones are replaced and do not count twice.
            scopes: The budgets that apply to each of them, from :func:`budgets.scopes`.
            anyway: Write them even if a budget is exceeded, because a user has approved it.
            release: Tokens of reservations to release first, as :meth:`release_all` does.

        Returns:
            The exceeded budgets; the reservations are only written, and those others only released, if there are none,
            or with `anyway`.
        """
        tokens = [entry.token for entry in entries]
        wanted = sum(entry.counted for entry in entries)

        def write(connection: sa.Connection) -> list[Overrun]:
            known = _present(connection, tokens)
            free = {*known, *_present(connection, release, _UNSENT)}
            over = budgets.overruns(wanted, [(scope, _used_without(connection, scope, [*free])) for scope in scopes])
            if not over or anyway:
                _release(connection, release)
                for part in _parts(known):
                    connection.execute(SPEND.delete().where(SPEND.c.token.in_(part)))
                if entries:
                    connection.execute(SPEND.insert(), [_row(entry) for entry in entries])
            return over

        return self._database.transact(write)

    def release_all(self, tokens: Sequence[str]) -> None:
        """Release the reservations with these tokens in one transaction.

        One with a request id, or whose submission is unconfirmed, stays: something was sent for it.
        """
        if tokens:
            self._database.transact(lambda connection: _release(connection, tokens))

    def change(self, token: str, change: Callable[[Entry | None], Entry | None]) -> Entry | None:
        """Replace an entry, or None, by the result of `change`; return the new entry.

        Concurrent changes of one entry are serialized.
        """

        def write(connection: sa.Connection) -> Entry | None:
            found = connection.execute(_OF_TOKEN, {"of_token": token}).mappings().one_or_none()
            known = None if found is None else _entry(found)
            wanted = change(known)
            if wanted is not None and wanted != known:
                _put(connection, wanted)
            return wanted

        return self._database.transact(write)

    def find(self, request_id: str) -> Entry | None:
        """Return the purchase of a request; None if it is unknown."""
        which = {"of_request": request_id}
        found = self._database.read(lambda connection: list(connection.execute(_OF_REQUEST, which).mappings()))
        return _entry(found[-1]) if found else None

    def of_owner(self, owner: Owner) -> list[Entry]:
        """Return the purchases of a task instance, or of one row of it, oldest first."""
        mine = sa.and_(*(SPEND.c[each.name] == getattr(owner, each.name) for each in fields(Owner)))
        return self._database.read(lambda connection: _entries(connection, mine))

    def of_task(self, owner: Owner) -> list[Entry]:
        """Return the purchases of a task instance and of all its rows, oldest first."""
        names = [each.name for each in fields(Owner) if each.name != "item"]
        mine = sa.and_(*(SPEND.c[name] == getattr(owner, name) for name in names))
        return self._database.read(lambda connection: _entries(connection, mine))

    def entries(self, start: float | None = None, end: float | None = None) -> list[Entry]:
        """Return the purchases reserved at or after `start` and before `end`, oldest first."""
        return self._database.read(lambda connection: _entries(connection, _within(start, end)))

    def used(self, scope: Scope, *, without: Collection[str] = ()) -> int:
        """Return the ticks that count against a budget, besides the purchases with these tokens."""
        return self._database.read(lambda connection: _used_without(connection, scope, [*without]))


def open_sqlite(path: str, told: str | None = None) -> SqlLedger:
    """Open a ledger in a file, which is created if missing; its directory must exist."""
    return SqlLedger(sqlite_engine(path), told or path)


def _within(start: float | None, end: float | None) -> sa.ColumnElement[bool]:
    conditions = [
        *([] if start is None else [SPEND.c.reserved_at >= start]),
        *([] if end is None else [SPEND.c.reserved_at < end]),
    ]
    return sa.and_(sa.true(), *conditions)


def _used_without(connection: sa.Connection, scope: Scope, tokens: Sequence[str]) -> int:
    """Return the ticks that count against a budget besides those of some purchases, of which each token is distinct."""
    mine = sum(_used(connection, scope, SPEND.c.token.in_(part)) for part in _parts(tokens))
    return _used(connection, scope) - mine


def _used(connection: sa.Connection, scope: Scope, *which: sa.ColumnElement[bool]) -> int:
    conditions = [_within(scope.start, scope.end), *which]
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
        owner=Owner(row["dag_id"], row["run_id"], row["task_id"], row["map_index"], row["item"]),
        estimated=row["estimated_ticks"],
        billed=row["billed_ticks"],
        **{name: row[name] for name in _PLAIN},
    )


_OWNER = tuple(each.name for each in fields(Owner))
_PLAIN = (
    "token", "reserved_at", "conn_id", "try_number", "mode", "model", "state", "outcome", "request_id", "approved_by",
)  # fmt: skip


def _put(connection: sa.Connection, entry: Entry) -> None:
    """Insert or update an entry while the lock is held."""
    row = _row(entry)
    if connection.execute(_UPDATE, {"of_token": entry.token, **row}).rowcount == 0:
        connection.execute(SPEND.insert(), row)


_WITH_TOKEN = SPEND.c.token == sa.bindparam("of_token")
_OF_TOKEN = sa.select(SPEND).where(_WITH_TOKEN)
_OF_REQUEST = (
    sa.select(SPEND)
    .where(SPEND.c.request_id == sa.bindparam("of_request"))
    .order_by(SPEND.c.reserved_at, SPEND.c.token)
)
_UPDATE = SPEND.update().where(_WITH_TOKEN)
"""Statements are made once, because making one costs more than carrying it out."""


def _row(entry: Entry) -> dict[str, Any]:
    return {
        **{name: getattr(entry, name) for name in _PLAIN},
        **{name: getattr(entry.owner, name) for name in _OWNER},
        "estimated_ticks": entry.estimated,
        "billed_ticks": entry.billed,
        "counted_ticks": entry.counted,
    }


_UNSENT = sa.and_(
    SPEND.c.state == "reserved",
    SPEND.c.request_id.is_(None),
    sa.func.coalesce(SPEND.c.outcome, "") != "unconfirmed",
)
"""A reservation for which nothing was sent, as far as the ledger knows."""


def _release(connection: sa.Connection, tokens: Sequence[str]) -> None:
    """Release reservations while the lock is held."""
    for part in _parts(tokens):
        unsent = sa.and_(SPEND.c.token.in_(part), _UNSENT)
        free = {"state": "released", "outcome": None, "counted_ticks": sa.func.coalesce(SPEND.c.billed_ticks, 0)}
        connection.execute(SPEND.update().where(unsent).values(free))


def _present(connection: sa.Connection, tokens: Sequence[str], *which: sa.ColumnElement[bool]) -> list[str]:
    """Return the tokens that the ledger knows."""
    return [
        token
        for part in _parts(tokens)
        for token in connection.scalars(sa.select(SPEND.c.token).where(SPEND.c.token.in_(part), *which))
    ]


def _parts(tokens: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yield tokens in parts that any database takes as the values of one statement."""
    for start in range(0, len(tokens), _IN_ONE_STATEMENT):
        yield tokens[start : start + _IN_ONE_STATEMENT]
