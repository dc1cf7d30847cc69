"""Settings of prices, budgets and the ledger."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_grokvideo.compat import AirflowNotFoundException, conf
from airflow_provider_grokvideo.core.billing import budgets, pricing
from airflow_provider_grokvideo.core.errors import InvalidInput, JournalUnavailable, LedgerUnavailable
from airflow_provider_grokvideo.ledger.backends import NoLedger
from airflow_provider_grokvideo.storage.directories import absolute_path
from airflow_provider_grokvideo.storage.places import open_storage

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from airflow_provider_grokvideo.client.account import Account
    from airflow_provider_grokvideo.core.billing.budgets import Budget
    from airflow_provider_grokvideo.core.billing.pricing import Prices
    from airflow_provider_grokvideo.journal.sql import SqlJournal
    from airflow_provider_grokvideo.ledger.backends import Ledger
    from airflow_provider_grokvideo.ledger.sql import SqlLedger

FILE = "grokvideo_ledger.db"
"""The embedded ledger's file in AIRFLOW_HOME."""

NONE = "none"

_PATIENCE = {
    "connect_timeout": 10,
    "tcp_user_timeout": 30_000,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
}
"""Timeouts of PostgreSQL's client for a silent server (libpq's names; s, ms, s, s), which has none by default."""

_BY_HOOK = {
    "postgres": frozenset({"cursor", "iam", "aws_conn_id", "azure_conn_id"}),
    "mysql": frozenset({"charset", "client"}),
}
"""Keys of a connection's `extra` that its hook uses itself. A cursor does not matter."""

_NOT_POSTGRES = ("redshift", "redshift-serverless", "cluster-identifier", "workgroup-name")
"""Keys that make a PostgreSQL connection lead to Redshift, which has no row locks."""

_OTHER_EXTRA = (
    "Nothing was sent. Change the extra of that connection, or set another one in [grokvideo] ledger_conn_id."
)


def prices() -> Prices:
    """Return the built-in price list with the overrides of ``[grokvideo] prices_path``.

    Raises:
        InvalidInput: The file cannot be read, or is not a price list.
    """
    path = _setting("prices_path")
    return read_prices(path) if path else pricing.DEFAULT_PRICES


def read_prices(path: str) -> Prices:
    """Return the prices of a file, given by a local path or an ObjectStorage URL.

    Raises:
        InvalidInput: The file cannot be read, or is not a price list.
    """
    where = "[grokvideo] prices_path"
    try:
        text = _read(path)
    except Exception as error:
        raise InvalidInput(where, path, f"a readable file ({type(error).__name__}: {error})") from error
    try:
        document = json.loads(text, parse_float=Decimal)
    except ValueError as error:
        raise InvalidInput(where, path, f"a JSON file ({error})") from None
    return pricing.price_list(document, where=path)


def timezone() -> str:
    """Return the time zone of budgets: ``[grokvideo] budget_timezone``, or else Airflow's.

    Raises:
        InvalidInput: The time zone does not exist.
    """
    name = _setting("budget_timezone") or (conf.get("core", "default_timezone", fallback="") or "UTC")
    if name == "system":
        import pendulum

        name = pendulum.now().timezone_name or "UTC"
    return budgets.checked_zone("UTC" if name == "utc" else name, "[grokvideo] budget_timezone")


def declared() -> list[Budget]:
    """Return the budgets of the settings.

    Raises:
        InvalidInput: One of them is not a valid budget.
    """
    text = _setting("budgets")
    return budgets.parse(text, where="[grokvideo] budgets", timezone=timezone()) if text else []


def declared_budgets(account: Account, conn_id: str, of_task: object = ()) -> list[Budget]:
    """Return the budgets of the settings, of a connection and of a task; all of them apply.

    Raises:
        InvalidInput: One of them is not a valid budget.
    """
    zone = timezone()
    of_connection = [{"usd": usd, "per": per} for per, usd in account.limits.items()]
    return [
        *declared(),
        *budgets.parse(of_connection, where=f"connection {conn_id}", timezone=zone, conn_id=conn_id),
        *budgets.parse(of_task, where="budgets", timezone=zone),
    ]


def open_ledger() -> Ledger:
    """Open the configured ledger.

    ``[grokvideo] ledger_conn_id`` names an Airflow connection to an SQL database, ``ledger_path`` an SQLite file or
    ``none``. Without both it is a file in AIRFLOW_HOME if all tasks run on one machine. Otherwise there is no ledger,
    because a file for each worker would only count a part: the result is a :class:`NoLedger` with the reason.

    Raises:
        LedgerUnavailable: The connection does not exist or is not an SQL database.
    """
    if conn_id := _setting("ledger_conn_id"):
        return open_connection(conn_id)
    path = embedded_path()
    if path is None:
        return NoLedger(_why_none())
    from airflow_provider_grokvideo.ledger.sql import open_sqlite

    return open_sqlite(path)


def embedded_path() -> str | None:
    """Return the file of the embedded ledger; None if the ledger is elsewhere, or there is none."""
    path = _setting("ledger_path")
    if _setting("ledger_conn_id") or path.lower() == NONE or (not path and not runs_on_one_machine()):
        return None
    return str(absolute_path(path, "[grokvideo] ledger_path")) if path else default_path()


def open_sql_journal() -> SqlJournal | None:
    """Open the journal in the database of the ledger; None without one.

    Raises:
        JournalUnavailable: The connection does not exist or is not an SQL database.
    """
    conn_id, path = _setting("ledger_conn_id"), embedded_path()
    if not conn_id and path is None:
        return None
    from airflow_provider_grokvideo.database import sqlite_engine
    from airflow_provider_grokvideo.journal.sql import SqlJournal

    if path is not None:
        return SqlJournal(sqlite_engine(path), path)
    try:
        return SqlJournal(connection_engine(conn_id), f"in connection {conn_id}")
    except LedgerUnavailable as error:
        raise JournalUnavailable(error.what) from error


def open_former_sql_journal() -> SqlJournal | None:
    """Open the journal in the embedded ledger's default file where the settings name another database now.

    Returns:
        None if they do not, or there is no such journal.

    Raises:
        JournalUnavailable: The file cannot be read.
    """
    path = _setting("ledger_path")
    if not _setting("ledger_conn_id") and path.lower() in ("", NONE):
        return None
    try:
        former = default_path()
    except InvalidInput:
        # No task can have written there.
        return None
    if former == embedded_path() or not Path(former).is_file():
        return None
    from airflow_provider_grokvideo.database import sqlite_engine
    from airflow_provider_grokvideo.journal.sql import SqlJournal

    journal = SqlJournal(sqlite_engine(former), former)
    return journal if journal.database.exists() else None


def open_connection(conn_id: str) -> SqlLedger:
    """Open a ledger in the SQL database of an Airflow connection.

    Raises:
        LedgerUnavailable: The connection does not exist or is not an SQL database.
    """
    from airflow_provider_grokvideo.ledger.sql import SqlLedger

    return SqlLedger(connection_engine(conn_id), f"in connection {conn_id}")


def connection_engine(conn_id: str) -> Engine:
    """Return the engine of an Airflow connection to an SQL database.

    Raises:
        LedgerUnavailable: The connection does not exist or is not an SQL database.
    """
    from airflow.sdk import BaseHook
    from sqlalchemy import NullPool

    told = f"[grokvideo] ledger_conn_id={conn_id}"
    try:
        connection = BaseHook.get_connection(conn_id)
    except AirflowNotFoundException as error:
        raise LedgerUnavailable(f"{told}: {error}") from error
    try:
        hook = connection.get_hook()  # type: ignore[no-untyped-call]
        arguments = _connect_arguments(connection.conn_type, connection.extra_dejson, told)
        engine: Engine = hook.get_sqlalchemy_engine({"poolclass": NullPool, "connect_args": arguments})
    except LedgerUnavailable:
        raise
    except Exception as error:
        what = (
            f"{told} cannot be opened as an SQL database ({type(error).__name__}: {error}); install Airflow's provider"
        )
        raise LedgerUnavailable(f"{what} for that database") from error
    return engine


def _connect_arguments(conn_type: str | None, extra: Mapping[str, Any], told: str) -> dict[str, Any]:
    """Return the connect arguments besides host, user and password.

    Airflow's hooks ignore most of `extra` when they make an engine. For PostgreSQL this function passes it on, as
    ``PostgresHook.get_conn`` does; for other databases ignored keys are refused, because they may enable
    encryption.

    Raises:
        LedgerUnavailable: A key in `extra` is not supported.
    """
    query = extra.get("sqlalchemy_query") or {}
    if not isinstance(query, Mapping):
        raise LedgerUnavailable(f"{told}: sqlalchemy_query in its extra is not an object", advice=_OTHER_EXTRA)
    is_postgres = conn_type == "postgres"
    by_hook = _BY_HOOK.get(conn_type or "", frozenset()) | {"sqlalchemy_scheme", "sqlalchemy_query"}
    own = {name: value for name, value in extra.items() if name not in by_hook and value is not None}
    if conn_type == "sqlite":
        # Its hook puts all of them into the file's URI.
        own = {}
    odd = [name for name, value in own.items() if not is_postgres or not _is_plain(value) or name in _NOT_POSTGRES]
    if odd:
        raise LedgerUnavailable(f"{told}: {', '.join(odd)} in its extra is not supported", advice=_OTHER_EXTRA)
    return {**(_PATIENCE if is_postgres else {}), **own, **query}


def _is_plain(value: object) -> bool:
    return isinstance(value, str | int | float)


def _why_none() -> str:
    if _setting("ledger_path").lower() == NONE:
        return "[grokvideo] ledger_path is none"
    return f"with {_executors()} each machine would have its own ledger; set [grokvideo] ledger_conn_id"


def runs_on_one_machine() -> bool:
    """Return whether all tasks run on this machine, by the configured executors."""
    return all("LocalExecutor" in name or "SequentialExecutor" in name for name in _executors().split(","))


def default_path() -> str:
    """Return the embedded ledger's file.

    Raises:
        InvalidInput: ``AIRFLOW_HOME`` is relative, or there is no home directory.
    """
    home = os.path.expandvars(os.environ.get("AIRFLOW_HOME") or "~/airflow")
    return str(absolute_path(home, "AIRFLOW_HOME") / FILE)


def _executors() -> str:
    return str(conf.get("core", "executor", fallback="LocalExecutor"))


def _read(path: str) -> str:
    if "://" not in path:
        return Path(path).expanduser().read_text(encoding="utf-8")
    # Not ObjectStoragePath, which would report the file as an input of the task to OpenLineage.
    fs, name = open_storage(path, field="[grokvideo] prices_path", shown=path)
    return str(fs.cat_file(name), "utf-8")


def _setting(name: str) -> str:
    return (conf.get("grokvideo", name, fallback="") or "").strip()
