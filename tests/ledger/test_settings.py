"""Where the ledger is, what is budgeted and what things cost, as an administrator sets it."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable
from contextlib import closing, suppress
from decimal import Decimal
from pathlib import Path

import pytest
import sqlalchemy as sa
from airflow.sdk import Connection
from ledger_kit import bought

from airflow_provider_grokvideo.client.account import Account, account_from
from airflow_provider_grokvideo.core.billing.pricing import DEFAULT_PRICES
from airflow_provider_grokvideo.core.errors import InvalidInput, LedgerUnavailable
from airflow_provider_grokvideo.ledger import settings
from airflow_provider_grokvideo.ledger.backends import NoLedger

LOCAL = "LocalExecutor"
CELERY = "CeleryExecutor"
OWN_LOCAL = "films.executors.OurLocalExecutor"

ACCOUNT = Account("https://api.x.ai/v1", "key")


@pytest.fixture
def setting(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Set ``[grokvideo]`` settings as their environment variables, and ``executor`` that of Airflow."""

    def set_all(executor: str = LOCAL, **values: str) -> None:
        monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", executor)
        for name, value in values.items():
            monkeypatch.setenv(f"AIRFLOW__GROKVIDEO__{name.upper()}", value)

    return set_all


@pytest.fixture
def backend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an AIRFLOW_HOME of one's own."""
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    "executor",
    [LOCAL, "SequentialExecutor", "airflow.executors.local_executor.LocalExecutor", OWN_LOCAL, f"{LOCAL}:mine"],
)
def test_one_machine_has_its_ledger_in_a_file(executor, backend, setting):
    """Where all tasks run on one machine the books are kept without any setting, in AIRFLOW_HOME."""
    setting(executor)
    ledger = settings.open_ledger()
    ledger.reserve(bought(), [])

    assert str(backend / "grokvideo_ledger.db") == ledger.told
    assert (backend / "grokvideo_ledger.db").exists()


@pytest.mark.parametrize("executor", [CELERY, "KubernetesExecutor", f"{LOCAL},{CELERY}", "LocalKubernetesExecutor"])
def test_several_machines_have_no_ledger_unless_it_is_named(executor, backend, setting):
    """A file for each worker would count a part for the whole, so there is none, and the reason says what to set."""
    setting(executor)

    ledger = settings.open_ledger()
    assert isinstance(ledger, NoLedger)
    assert executor in ledger.told
    assert "[grokvideo] ledger_conn_id" in ledger.told


@pytest.mark.parametrize("executor", [LOCAL, CELERY])
def test_a_file_can_be_named(executor, tmp_path, setting):
    """A path that is set is used with every executor: it may be on a shared disk."""
    setting(executor, ledger_path=str(tmp_path / "books.db"))
    settings.open_ledger().reserve(bought(), [])

    assert (tmp_path / "books.db").exists()


def test_a_file_can_be_named_in_the_home_directory(tmp_path, monkeypatch, setting):
    """A tilde is the home directory, as elsewhere."""
    monkeypatch.setenv("HOME", str(tmp_path))
    setting(ledger_path="~/books.db")

    assert str(tmp_path / "books.db") == settings.open_ledger().told


@pytest.mark.parametrize("word", ["none", "None", " none "])
def test_there_can_be_no_ledger(word, backend, setting):
    """``none`` switches it off, and no file is made."""
    setting(ledger_path=word)

    assert isinstance(settings.open_ledger(), NoLedger)
    assert "[grokvideo] ledger_path is none" == settings.open_ledger().told
    assert [] == list(backend.iterdir())


def test_a_connection_comes_before_a_path(postgres_place, backend, monkeypatch, setting):
    """Where both are named the database is used, with every executor."""
    monkeypatch.setenv("AIRFLOW_CONN_BOOKS", postgres_place.where)
    setting(CELERY, ledger_conn_id="books", ledger_path=str(backend / "books.db"))
    ledger = settings.open_ledger()
    ledger.reserve(bought(), [])

    assert "in connection books" == ledger.told
    assert [] == list(backend.iterdir())
    assert [bought()] == settings.open_ledger().entries()


def test_a_connection_that_does_not_exist_is_named(setting):
    """The error names the setting and the connection."""
    setting(ledger_conn_id="nowhere")
    with pytest.raises(LedgerUnavailable, match=r"^\[grokvideo\] ledger_conn_id=nowhere: .*nowhere"):
        settings.open_ledger()


@pytest.mark.parametrize(
    "connection",
    [
        pytest.param("http://films:hunter2@127.0.0.1/books", id="http"),
        pytest.param("grokvideo://:hunter2@/", id="of the service itself"),
        pytest.param('{"host": "127.0.0.1", "password": "hunter2"}', id="of no type"),
        pytest.param('{"conn_type": "oracle9", "host": "127.0.0.1", "password": "hunter2"}', id="of an unknown type"),
    ],
)
def test_a_connection_to_something_else_is_refused(connection, monkeypatch, setting):
    """What is no SQL database, or lacks its provider, is said to be so, without its password."""
    monkeypatch.setenv("AIRFLOW_CONN_BOOKS", connection)
    setting(ledger_conn_id="books")
    with pytest.raises(LedgerUnavailable) as told:
        settings.open_ledger()

    assert "[grokvideo] ledger_conn_id=books " in str(told.value)
    assert "provider" in str(told.value)
    assert "hunter2" not in f"{told.value!r}{told.value}"


EXTRAS = [
    pytest.param({"sslmode": "verify-full", "sslrootcert": "/etc/ca.pem"}, id="TLS"),
    pytest.param({"sslmode": "require", "sslcert": "/etc/c.pem", "sslkey": "/etc/k.pem"}, id="client certificate"),
    pytest.param({"options": "-c search_path=films", "application_name": "films"}, id="session"),
    pytest.param({"connect_timeout": 3, "keepalives_idle": 7, "target_session_attrs": "read-write"}, id="network"),
]


@pytest.mark.parametrize("extra", EXTRAS)
def test_the_database_is_reached_as_its_connection_says(extra, monkeypatch, setting):
    """What the connection's extra tells PostgreSQL's client reaches it, and ours fills only what it leaves open."""
    connection = {"conn_type": "postgres", "host": "127.0.0.1", "login": "films", "schema": "films"}
    given = json.dumps({**connection, "extra": {**extra, "cursor": "dictcursor", "gssencmode": None}})
    monkeypatch.setenv("AIRFLOW_CONN_BOOKS", given)
    setting(ledger_conn_id="books")
    ledger = settings.open_ledger()
    told = {}

    @sa.event.listens_for(ledger._database.engine, "do_connect")
    def connecting(dialect, record, arguments, words):
        told.update(words)
        raise OSError

    with suppress(Exception):
        ledger.entries()

    assert {**settings._PATIENCE, **extra} == {name: told[name] for name in {**settings._PATIENCE, **extra}}
    assert {"cursor", "gssencmode"}.isdisjoint(told)


@pytest.mark.parametrize(
    ("conn_type", "extra", "named"),
    [
        pytest.param("postgres", {"redshift": True}, "redshift", id="another database"),
        pytest.param("postgres", {"sslmode": {"value": "require"}}, "sslmode", id="an object"),
        pytest.param("postgres", {"sqlalchemy_query": "sslmode=require"}, "sqlalchemy_query", id="a query as text"),
        pytest.param("mysql", {"ssl": {"ca": "/etc/ca.pem"}}, "ssl", id="TLS of MySQL"),
    ],
)
def test_a_database_that_cannot_be_reached_as_its_connection_says_is_refused(
    conn_type, extra, named, monkeypatch, setting
):
    """What cannot be honoured is not left out: the ledger is refused, and the error names what it is."""
    connection = {"conn_type": conn_type, "host": "127.0.0.1", "password": "hunter2", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_BOOKS", json.dumps(connection))
    setting(ledger_conn_id="books")
    monkeypatch.setattr(Connection, "get_hook", lambda self: None)
    with pytest.raises(LedgerUnavailable, match=f"{named} ") as told:
        settings.open_ledger()

    assert "hunter2" not in f"{told.value!r}{told.value}"


def test_a_server_that_says_nothing_is_given_up(monkeypatch, setting):
    """A database that takes the connection and falls silent holds no task up for ever."""
    monkeypatch.setitem(settings._PATIENCE, "connect_timeout", 2)
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        monkeypatch.setenv("AIRFLOW_CONN_BOOKS", f"postgres://films:hunter2@127.0.0.1:{silent.getsockname()[1]}/books")
        setting(ledger_conn_id="books")
        began = time.monotonic()
        with pytest.raises(LedgerUnavailable, match="timeout expired"):
            settings.open_ledger().entries()

    assert time.monotonic() - began < 60


@pytest.mark.parametrize("declared", ["", "[]"])
def test_without_budgets_nothing_is_limited(declared, setting):
    """An empty setting is no budget."""
    setting(budgets=declared)

    assert [] == settings.declared_budgets(ACCOUNT, "team")


def test_all_budgets_hold(setting):
    """Those of the settings, of the connection and of the task are kept together, each with where it is from."""
    setting(budgets='[{"usd": 20, "per": "day"}, {"usd": 0.1, "per": ["dag", "month"]}]', budget_timezone="Asia/Tokyo")
    account = account_from(
        host=None, port=None, schema=None, password="key", extra={"max_usd_per_day": "5", "max_usd_per_dag_run": 0}
    )
    found = settings.declared_budgets(account, "team", [{"usd": 1, "per": "dag_run", "timezone": "UTC"}])

    assert [
        ("20 USD per day", "[grokvideo] budgets[0]", "Asia/Tokyo"),
        ("0.1 USD per dag and month", "[grokvideo] budgets[1]", "Asia/Tokyo"),
        ("0 USD per dag run of team", "connection team[0]", "Asia/Tokyo"),
        ("5 USD per day of team", "connection team[1]", "Asia/Tokyo"),
        ("1 USD per dag run", "budgets[0]", "UTC"),
    ] == [(str(budget), budget.where, budget.timezone) for budget in found]


def test_a_mistake_in_the_budgets_is_named(setting):
    """A setting that is no list of budgets stops what it should limit, and says where it is."""
    setting(budgets='[{"usd": 20, "per": "weekly"}]')
    with pytest.raises(InvalidInput) as caught:
        settings.declared_budgets(ACCOUNT, "team")

    assert ("[grokvideo] budgets[0]: per", "weekly") == (caught.value.field, caught.value.value)


@pytest.mark.parametrize(
    ("airflow", "ours", "zone"),
    [
        ("utc", "", "UTC"),
        ("Europe/Berlin", "", "Europe/Berlin"),
        ("Europe/Berlin", "America/Havana", "America/Havana"),
    ],
    ids=["nothing", "Airflow's", "ours"],
)
def test_whose_midnight_counts(airflow, ours, zone, monkeypatch, setting):
    """The zone of the budgets comes before Airflow's."""
    monkeypatch.setenv("AIRFLOW__CORE__DEFAULT_TIMEZONE", airflow)
    setting(budget_timezone=ours)

    assert zone == settings.timezone()


def test_the_zone_of_the_machine_has_a_name(monkeypatch):
    """Airflow's ``system`` is the zone that the machine has, by a name that means the same elsewhere."""
    monkeypatch.setenv("AIRFLOW__CORE__DEFAULT_TIMEZONE", "system")

    assert settings.timezone() not in ("", "system", "local")


def test_a_zone_that_does_not_exist_is_refused(setting):
    """A mistake in the zone is said at once."""
    setting(budget_timezone="Berlin")
    with pytest.raises(InvalidInput, match="Europe/Berlin") as caught:
        settings.timezone()

    assert ("[grokvideo] budget_timezone", "Berlin") == (caught.value.field, caught.value.value)


PRICES = {"as_of": "2026-12-01", "models": {"*": {"output_second": {"480p": 0.1}}}}


def test_without_a_file_the_built_in_prices_hold():
    """Nothing is read where nothing is set."""
    assert DEFAULT_PRICES is settings.prices()


def test_prices_come_from_a_local_file(tmp_path, setting):
    """Numbers of the file are the decimals that are written there."""
    path = tmp_path / "prices.json"
    path.write_text(json.dumps(PRICES))
    setting(prices_path=str(path))
    found = settings.prices()

    assert (Decimal("0.1"), str(path)) == (found.of("grok-imagine-video-9").output_second["480p"], found.source)


def test_prices_come_from_object_storage(memory, setting):
    """A file that all workers can read may be at an ObjectStorage URL."""
    memory.fs.pipe_file("/files/prices.json", json.dumps(PRICES).encode())
    setting(prices_path=f"{memory.url}/prices.json")

    assert "2026-12-01" == settings.prices().as_of


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(None, "FileNotFoundError", id="missing"),
        pytest.param(b"\xff\xfe", "UnicodeDecodeError", id="no text"),
        pytest.param(b"{", "a JSON file", id="no JSON"),
        pytest.param(b"", "a JSON file", id="empty"),
    ],
)
def test_a_price_file_that_cannot_be_read_is_named(content, message, tmp_path, setting):
    """Nothing is bought at prices that the administrator has replaced."""
    path = tmp_path / "prices.json"
    if content is not None:
        path.write_bytes(content)
    setting(prices_path=str(path))
    with pytest.raises(InvalidInput) as told:
        settings.prices()

    assert "[grokvideo] prices_path" == told.value.field
    assert message in str(told.value)


def test_a_price_file_of_the_wrong_shape_names_itself(tmp_path, setting):
    """A mistake in the file is told with the file and the entry."""
    path = tmp_path / "prices.json"
    path.write_text(json.dumps({"as_of": "2026-12-01", "models": {"m": {}}}))
    setting(prices_path=str(path))
    with pytest.raises(InvalidInput) as caught:
        settings.prices()

    assert f"{path}: m" == caught.value.field


def test_a_price_file_in_missing_storage_is_named(memory, setting):
    """A URL without a file is told like a path without one."""
    setting(prices_path=f"{memory.url}/nothing.json")
    with pytest.raises(InvalidInput) as caught:
        settings.prices()

    assert ("[grokvideo] prices_path", f"{memory.url}/nothing.json") == (caught.value.field, caught.value.value)


def test_the_embedded_ledger_is_where_airflow_is(monkeypatch):
    """AIRFLOW_HOME may hold a variable or a tilde, as for Airflow itself."""
    monkeypatch.setenv("FILMS", "/srv/films")
    monkeypatch.setenv("AIRFLOW_HOME", "$FILMS/airflow")
    assert "/srv/films/airflow/grokvideo_ledger.db" == settings.default_path()

    monkeypatch.delenv("AIRFLOW_HOME")
    assert f"{os.path.expanduser('~')}/airflow/grokvideo_ledger.db" == settings.default_path()  # noqa: PTH111
