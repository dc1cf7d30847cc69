"""Rows of a table from a database, by Airflow's own hook of the connection."""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseHook

from airflow_provider_grokvideo.core.bulk.rows import MOST_ROWS
from airflow_provider_grokvideo.core.errors import InvalidInput


def query(sql: str, conn_id: str | None) -> list[dict[str, Any]]:
    """Return the rows of a query as mappings; one more than a table may have where there are more.

    Args:
        sql: One statement that returns rows.
        conn_id: Airflow connection of the database.

    Raises:
        InvalidInput: There is no such connection, it is no SQL database, or the statement returns no rows.
    """
    if not conn_id:
        raise InvalidInput("sql_conn_id", conn_id, "the Airflow connection of the database for rows_sql")
    try:
        hook = BaseHook.get_hook(conn_id)
    except Exception as error:
        # A connection that is not there, or whose type has no hook because its provider is not installed.
        why = f"{type(error).__name__}: {error}"
        expected = f"an existing connection to an SQL database whose Airflow provider is installed ({why})"
        raise InvalidInput("sql_conn_id", conn_id, expected) from error
    if not hasattr(hook, "run") or not hasattr(hook, "get_conn"):
        raise InvalidInput("sql_conn_id", conn_id, "a connection to an SQL database")
    found = hook.run(sql, handler=_mappings)
    if found is None:
        raise InvalidInput("rows_sql", sql, "a statement that returns rows")
    return list(found)


def _mappings(cursor: Any) -> list[dict[str, Any]] | None:
    if cursor.description is None:
        return None
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchmany(MOST_ROWS + 1)]
