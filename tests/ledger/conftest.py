"""A ledger on each database, empty, and one PostgreSQL for all tests of a run."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest
import sqlalchemy as sa
from ledger_kit import Place
from postgres import Postgres
from postgres_fixtures import connection_uri, needs_postgres, postgres_server

from airflow_provider_grokvideo.ledger.sql import SqlLedger

__all__ = ["needs_postgres", "postgres_server"]


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
