"""Journal in an SQL database: the database of the ledger, so that intent and reservation are one transaction."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from airflow_provider_grokvideo.core.errors import JournalCorrupt, JournalUnavailable
from airflow_provider_grokvideo.core.purchases import records as purchases
from airflow_provider_grokvideo.core.purchases import stored
from airflow_provider_grokvideo.core.purchases.records import Owner, Record
from airflow_provider_grokvideo.database import Database, Schema, lock_table
from airflow_provider_grokvideo.journal.backends import Joint, taken

SCHEMA = 1

_metadata = sa.MetaData()

PURCHASES = sa.Table(
    "grokvideo_purchases",
    _metadata,
    sa.Column("owner", sa.String(64), primary_key=True),
    sa.Column("number", sa.Integer(), primary_key=True, autoincrement=False),
    sa.Column("token", sa.String(64), nullable=False),
    sa.Column("dag_id", sa.String(250), nullable=False),
    sa.Column("run_id", sa.String(250), nullable=False),
    sa.Column("task_id", sa.String(250), nullable=False),
    sa.Column("map_index", sa.Integer(), nullable=False),
    sa.Column("item", sa.String(250)),
    sa.Column("inputs", sa.String(64), nullable=False),
    sa.Column("intended_at", sa.Double(), nullable=False),
    sa.Column("record", sa.Text(), nullable=False),
    sa.Index("grokvideo_purchases_run", "dag_id", "run_id", "task_id", "map_index"),
    sa.Index("grokvideo_purchases_inputs", "inputs"),
)
"""One row for each purchase.

``owner`` stands for the task instance, and its row where it buys a table (``item``); ``inputs`` for the fingerprint.
"""

CLAIMS = sa.Table(
    "grokvideo_purchase_claims",
    _metadata,
    sa.Column("token", sa.String(64), primary_key=True),
    sa.Column("map_index", sa.Integer(), nullable=False),
)
"""Which other map index uses a purchase whose mapped list has changed."""

LOCK = lock_table("grokvideo_purchase_lock", _metadata)

_SCHEMA = Schema("journal", _metadata, LOCK, version=SCHEMA, error=JournalUnavailable)


class SqlJournal:
    """All journals in one database.

    Args:
        engine: Of the database.
        label: Description for messages, without secrets.
    """

    def __init__(self, engine: sa.Engine, label: str) -> None:
        self.label = label
        self.database = Database(engine, label, _SCHEMA)

    def of(self, owner: Owner) -> SqlBackend:
        """Return the journal of a task instance."""
        return SqlBackend(self, owner)

    def matching(self, dag_id: str | None, run_id: str | None, task_id: str | None) -> list[Any]:
        """Return the rows of a DAG, a run, a task; None is any."""
        given = {"dag_id": dag_id, "run_id": run_id, "task_id": task_id}
        conditions = [PURCHASES.c[name] == value for name, value in given.items() if value is not None]
        return self.rows(sa.and_(sa.true(), *conditions))

    def of_task(self, owner: Owner) -> list[Record]:
        """Return the records of a task instance and of all its rows, oldest first.

        Raises:
            JournalCorrupt: One of them cannot be read.
        """
        named = {"dag_id": owner.dag_id, "run_id": owner.run_id, "task_id": owner.task_id, "map_index": owner.map_index}
        mine = sa.and_(*(PURCHASES.c[name] == value for name, value in named.items()))
        return [parsed(row, replace(owner, item=row["item"])) for row in self.rows(mine)]

    def rows(self, condition: sa.ColumnElement[bool]) -> list[Any]:
        """Return rows, oldest first."""
        order = (PURCHASES.c.intended_at, PURCHASES.c.owner, PURCHASES.c.number)
        statement = sa.select(PURCHASES).where(condition).order_by(*order)
        return self.database.read(lambda connection: list(connection.execute(statement).mappings()))


class SqlBackend:
    """The journal of one task instance in an SQL database; no clear, and no deletion of the run, touches it.

    Args:
        journal: All journals of the database.
        owner: The task instance, or one row of it.
        known: What was read of it already.
    """

    access = "The commands read the database of [grokvideo] ledger_conn_id or ledger_path, with Airflow's settings."

    def __init__(self, journal: SqlJournal, owner: Owner, *, known: Iterable[Record] = ()) -> None:
        self._journal = journal
        self._owner = owner
        self._key = owner_key(owner)
        self._known = {each.token: each for each in known}
        self.name = f"database {journal.label}"

    def records(self) -> list[Record]:
        """Read all rows, oldest first."""
        rows = self._journal.rows(PURCHASES.c.owner == self._key)
        found = sorted((parsed(row, self._owner) for row in rows), key=lambda record: record.number)
        self._known = {each.token: each for each in found}
        return found

    def create(self, record: Record) -> None:
        """Insert a row; the primary key keeps a second try out."""
        self._journal.database.transact(lambda connection: self.insert(connection, record), lock=False)

    def joint(self, record: Record) -> Joint:
        """Return how a new record is written in a transaction of the ledger."""
        self._journal.database.prepare()
        return Joint(self._journal.database.engine, lambda connection: self.insert(connection, record))

    def insert(self, connection: sa.Connection, record: Record) -> None:
        """Insert a row in an open transaction, which fails if another try was faster."""
        try:
            connection.execute(_INSERT, _row(self._key, record))
        except IntegrityError as error:
            raise taken(record) from error
        self._known[record.token] = record

    def update(self, record: Record) -> bool:
        """Replace a row, unless another try has written there what must stay."""
        which = {"of_owner": self._key, "of_number": record.number}

        def write(connection: sa.Connection) -> bool:
            row = connection.execute(_SELECT, which).mappings().one_or_none()
            there = None if row is None else parsed(row, self._owner)
            if not purchases.may_replace(there, self._known.get(record.token), record):
                return False
            if row is None:
                connection.execute(_INSERT, _row(self._key, record))
            else:
                connection.execute(_UPDATE, {**which, **_row(self._key, record)})
            return True

        written = self._journal.database.transact(write, lock=False)
        if written:
            self._known[record.token] = record
        return written

    def elsewhere(self, fingerprint: str) -> list[list[Record]]:
        """Return the records of the other map indexes of the same task and run that have bought from these inputs."""
        owner = self._owner
        siblings = sa.and_(
            PURCHASES.c.dag_id == owner.dag_id,
            PURCHASES.c.run_id == owner.run_id,
            PURCHASES.c.task_id == owner.task_id,
            PURCHASES.c.inputs == fingerprint[:64],
            PURCHASES.c.map_index != owner.map_index,
            PURCHASES.c.item == owner.item,
        )
        indexes = sorted({row["map_index"] for row in self._journal.rows(siblings)})
        return [self._journal.of(replace(owner, map_index=index)).records() for index in indexes]

    def claim(self, record: Record) -> bool:
        """Say that another map index's purchase is used by this one; return False if a third one uses it already."""

        def write(connection: sa.Connection) -> bool:
            mine = sa.select(CLAIMS.c.map_index).where(CLAIMS.c.token == record.token)
            by = connection.execute(mine).scalar_one_or_none()
            if by is None:
                connection.execute(CLAIMS.insert().values(token=record.token, map_index=self._owner.map_index))
            return by in (None, self._owner.map_index)

        return self._journal.database.transact(write)


_MINE = sa.and_(PURCHASES.c.owner == sa.bindparam("of_owner"), PURCHASES.c.number == sa.bindparam("of_number"))
_SELECT = sa.select(PURCHASES).where(_MINE).with_for_update()
_INSERT = PURCHASES.insert()
_UPDATE = PURCHASES.update().where(_MINE)
"""Statements are made once, because making one costs more than carrying it out."""


def owner_key(owner: Owner) -> str:
    """Return what stands for a task instance or a row: names of 250 characters each make no primary key everywhere."""
    return hashlib.sha256(json.dumps(list(owner.words().values())).encode()).hexdigest()


def parsed(row: Any, owner: Owner | None = None) -> Record:
    """Read a row.

    Raises:
        JournalCorrupt: It holds no record, or one of another task instance.
    """
    where = f"row {row['number']} of {row['dag_id']}.{row['task_id']} of {row['run_id']}"
    try:
        return stored.parse(json.loads(row["record"]), owner)
    except (ValueError, RecursionError) as error:
        raise JournalCorrupt(f"the journal record in {where} is not JSON ({error})") from error
    except JournalCorrupt as error:
        raise JournalCorrupt(f"{error.what} ({where})") from None


def _row(key: str, record: Record) -> dict[str, Any]:
    owner = record.owner
    # Half a surrogate pair, which an answer of xAI may hold, stays the escape that JSON has for it.
    text = json.dumps(record.to_json(), sort_keys=True)
    return {
        "owner": key, "number": record.number, "token": record.token,
        "dag_id": owner.dag_id, "run_id": owner.run_id, "task_id": owner.task_id, "map_index": owner.map_index,
        "item": owner.item, "inputs": record.fingerprint[:64], "intended_at": record.intended_at,
        "record": text,
    }  # fmt: skip
