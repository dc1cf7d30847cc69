"""A ledger on each database, empty, and one PostgreSQL for all tests of a run."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from ledger_kit import Place
from postgres import NotInstalled, Postgres, find_programs

from airflow_provider_grokvideo.ledger.sql import SqlLedger


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


@pytest.fixture
def postgres_place(postgres_server: Postgres) -> Place:
    """Make an empty database."""
    name = f"ledger_{secrets.token_hex(6)}"
    engine = sa.create_engine(postgres_server.url("psycopg2"), isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    return Place("postgresql", connection_uri(postgres_server, name))


@pytest.fixture
def sqlite_place(tmp_path: Path) -> Place:
    """Return a file that is not there yet."""
    return Place("sqlite", str(tmp_path / "ledger.db"))


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Return where an empty ledger is, on each database in turn."""
    # Put back what opening it by its connection sets.
    monkeypatch.setenv("AIRFLOW_CONN_THE_LEDGER", "")
    return request.getfixturevalue("sqlite_place" if request.param == "sqlite" else "postgres_place")


@pytest.fixture
def ledger(place: Place) -> SqlLedger:
    """Open an empty ledger."""
    return place.open()
