"""A PostgreSQL for tests, where it is installed."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from postgres import NotInstalled, Postgres, find_programs


@pytest.fixture(scope="session")
def needs_postgres() -> None:
    """Skip where there is no PostgreSQL, with what to install; GROKVIDEO_NEED_POSTGRES=1 makes that a failure."""
    try:
        find_programs()
    except NotInstalled as reason:
        if os.environ.get("GROKVIDEO_NEED_POSTGRES") == "1":
            pytest.fail(str(reason))
        pytest.skip(str(reason))


@pytest.fixture(scope="session")
def postgres_server(needs_postgres: None) -> Iterator[Postgres]:
    """Start a server."""
    with Postgres(settings={"max_connections": "120"}) as server:
        yield server


def connection_uri(server: Postgres, database: str = "postgres") -> str:
    """Return the URI of an Airflow connection to a database of a server."""
    return f"{server.dsn.replace('postgresql:', 'postgres:').rpartition('/')[0]}/{database}"
