"""The ledger keeps its word: no budget is exceeded and no purchase forgotten, whatever its clients do."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest
import sqlalchemy as sa
from ledger_kit import (
    NOON,
    OWNER,
    USD,
    Place,
    add_ticks,
    bought,
    crowd,
    freeze,
    freeze_in_update,
    journal_of,
    journal_record,
    limits,
    reserve,
    stop_before_commit,
    stop_in_change,
    together,
)
from postgres import Postgres

from airflow_provider_grokvideo import database
from airflow_provider_grokvideo.core.billing.entries import released, settled
from airflow_provider_grokvideo.core.errors import LedgerUnavailable
from airflow_provider_grokvideo.core.jobs import Done
from airflow_provider_grokvideo.core.purchases.records import Owner
from airflow_provider_grokvideo.ledger import sql

CLIENTS = 64
CENT = USD // 100


def test_of_64_clients_as_many_buy_as_fit(place):
    """64 processes that meet an empty database at the same moment spend a budget to the last that fits."""
    found = together(reserve, place, [(f"t-{each}", 40 * CENT, [10]) for each in range(CLIENTS)])

    assert (25, CLIENTS - 25) == (found.count(0), found.count(1))
    assert 10 * USD == place.open().used(limits(10)[0])


def test_overlapping_budgets_in_any_order_are_all_kept(place):
    """Clients that declare the same budgets in different orders neither block each other nor exceed one of them."""
    month = {"usd": "7.25", "per": ["month", "dag"]}
    declared = [10, month, {"usd": 8, "per": "dag_run"}, {"usd": 9, "per": "connection"}]
    orders = [declared, declared[::-1], declared[2:] + declared[:2]]
    prices = [10 * CENT, 40 * CENT, 90 * CENT]
    asked = [(f"t-{each}", prices[each % 3], orders[each // 3 % 3]) for each in range(CLIENTS // 2)]

    found = together(reserve, place, asked)

    left = 725 * CENT - place.open().used(limits(month)[0])
    refused = [ticks for (_, ticks, _), over in zip(asked, found, strict=True) if over != 0]
    assert 0 <= left < min(refused)
    assert sum(ticks for (_, ticks, _), over in zip(asked, found, strict=True) if over == 0) == 725 * CENT - left


def test_a_stricter_default_of_the_database_changes_nothing(postgres_place, monkeypatch):
    """Where an administrator has set another isolation level nobody fails, and nobody works on an old sum."""
    monkeypatch.setenv("AIRFLOW_CONN_THE_LEDGER", "")
    database = postgres_place.where.rpartition("/")[2]
    with postgres_place.engine().begin() as connection:
        connection.exec_driver_sql(f"ALTER DATABASE {database} SET default_transaction_isolation = 'repeatable read'")

    found = together(reserve, postgres_place, [(f"t-{each}", USD, [10]) for each in range(16)])

    assert (10, 6) == (found.count(0), found.count(1))


def test_one_reservation_from_many_processes_counts_once(place):
    """A reservation that is repeated never takes room from itself."""
    found = together(reserve, place, [("t-1", USD, [1])] * 16)

    assert [0] * 16 == found
    assert [bought()] == place.open().entries()


def test_changes_of_one_purchase_follow_one_another(place):
    """No change is lost where many processes change one purchase."""
    found = together(add_ticks, place, [("t-1", 5)] * 16)

    assert [None] * 16 == found
    assert 16 * 5 == place.open().entries()[0].billed


@pytest.mark.parametrize("work", [stop_in_change, stop_before_commit], ids=["before it writes", "before it commits"])
def test_a_killed_client_leaves_nothing_behind(place, work):
    """A client that is killed while it holds the lock lets the others go on, and what it did not commit is gone."""
    with crowd(work, place, [("t-dead",)]) as clients:
        assert "holding" == clients.hear()
        clients.processes[0].kill()
        found = together(reserve, place, [(f"t-{each}", USD, [4]) for each in range(8)])

    assert [0] * 4 + [1] * 4 == sorted(found)
    assert "t-dead" not in [entry.token for entry in place.open().entries()]


def test_postgresql_ends_the_transaction_of_a_frozen_client(postgres_place, monkeypatch):
    """A suspended worker holds up the others no longer than FROZEN_AFTER; when it wakes up its write is refused."""
    monkeypatch.setenv("AIRFLOW_CONN_THE_LEDGER", "")
    ledger = postgres_place.open()
    with crowd(freeze, postgres_place, [("t-frozen", 1)]) as clients:
        assert "holding" == clients.hear()
        began = time.monotonic()
        assert [] == ledger.reserve(bought("t-other"), limits(1))
        waited = time.monotonic() - began
        os.kill(clients.processes[0].pid, signal.SIGCONT)
        told = clients.hear()

    assert 0.5 < waited < database.FROZEN_AFTER
    assert told.startswith("LedgerUnavailable: ledger in connection the_ledger ")
    assert ["t-other"] == [entry.token for entry in ledger.entries()]


def test_postgresql_ends_the_journals_write_of_a_frozen_client(postgres_place, monkeypatch):
    """A worker suspended in the middle of a write of the journal holds up the next try no longer than FROZEN_AFTER."""
    monkeypatch.setenv("AIRFLOW_CONN_THE_LEDGER", "")
    monkeypatch.setattr(database, "LOCK_WAIT", 5)
    postgres_place.open()
    backend, record = journal_of("the_ledger"), journal_record()
    backend.create(record)
    with crowd(freeze_in_update, postgres_place, [(1,)]) as clients:
        assert "holding" == clients.hear()
        assert backend.update(replace(record, note="other"))
        os.kill(clients.processes[0].pid, signal.SIGCONT)
        told = clients.hear()

    assert told.startswith("JournalUnavailable: journal in connection the_ledger ")
    assert ["other"] == [each.note for each in backend.records()]


def test_sqlite_waits_for_a_frozen_client_only_so_long(sqlite_place, monkeypatch):
    """A file stays locked as long as its holder lives: the others give up after LOCK_WAIT and buy nothing."""
    monkeypatch.setattr(database, "LOCK_WAIT", 0.5)
    ledger = sqlite_place.open()
    with crowd(freeze, sqlite_place, [("t-frozen", 1)]) as clients:
        assert "holding" == clients.hear()
        with pytest.raises(LedgerUnavailable, match="locked"):
            ledger.reserve(bought("t-other"), limits(1))
        os.kill(clients.processes[0].pid, signal.SIGCONT)
        assert clients.hear() is None

    assert ["t-frozen"] == [entry.token for entry in ledger.entries()]


def test_a_lock_that_is_not_given_back_is_reported(postgres_place, monkeypatch):
    """Where PostgreSQL does not give the lock within LOCK_WAIT the task hears of it and buys nothing."""
    monkeypatch.setenv("AIRFLOW_CONN_THE_LEDGER", "")
    monkeypatch.setattr(database, "LOCK_WAIT", 1)
    ledger = postgres_place.open()
    with crowd(stop_in_change, postgres_place, [("t-slow",)]) as clients:
        assert "holding" == clients.hear()
        with pytest.raises(LedgerUnavailable, match="lock timeout"):
            ledger.reserve(bought(), limits(1))

    assert [] == ledger.entries()


def serving(place: Place) -> list[int]:
    """Return the process ids of the server's other connections to this database."""
    question = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid != pg_backend_pid()"
    with place.engine().connect() as connection:
        return [row[0] for row in connection.exec_driver_sql(question)]


def await_server(place: Place) -> None:
    """Wait until a server takes connections again."""
    deadline = time.monotonic() + 30
    while True:
        try:
            place.engine().connect().close()
        except sa.exc.OperationalError:
            assert time.monotonic() < deadline
        else:
            return


def test_a_server_that_crashes_forgets_no_reservation(needs_postgres, monkeypatch):
    """What was reserved before a crash of the database is there after it; what was under way is reported and not."""
    monkeypatch.setenv("AIRFLOW_CONN_THE_LEDGER", "")
    with Postgres(fsync=True) as server:
        place = Place("postgresql", server.dsn.replace("postgresql:", "postgres:"))
        ledger = place.open()
        ledger.reserve(bought("t-before"), limits(3))

        def crash(entry):
            (backend,) = serving(place)
            os.kill(backend, signal.SIGKILL)
            return bought("t-under-way")

        with pytest.raises(LedgerUnavailable):
            ledger.change("t-under-way", crash)
        await_server(place)
        assert [] == ledger.reserve(bought("t-after"), limits(2))
        assert [f"t-{word}" for word in ("after", "before")] == [entry.token for entry in ledger.entries()]


@pytest.fixture
def closed_port() -> Iterator[int]:
    """Hold a port that nobody listens on."""
    with closing(socket.socket()) as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


def test_an_unreachable_server_is_reported_at_once(closed_port, monkeypatch):
    """The message names the connection and the reason, and not the password."""
    monkeypatch.setenv("AIRFLOW_CONN_THE_LEDGER", "")
    ledger = Place("postgresql", f"postgres://films:hunter2@127.0.0.1:{closed_port}/films").open()
    with pytest.raises(LedgerUnavailable) as told:
        ledger.reserve(bought(), limits(1))

    assert "in connection the_ledger " in str(told.value)
    assert "refused" in str(told.value)
    assert "hunter2" not in f"{told.value!r}{told.value}"


def test_a_wrong_password_is_not_repeated(postgres_place, monkeypatch):
    """A server that refuses the login is reported without the password."""
    monkeypatch.setenv("AIRFLOW_CONN_THE_LEDGER", "")
    head, _, tail = postgres_place.where.rpartition("@")
    place = replace(postgres_place, where=f"{head.rpartition(':')[0]}:hunter2@{tail}")
    with pytest.raises(LedgerUnavailable, match="password authentication failed") as told:
        place.open().entries()

    assert "hunter2" not in f"{told.value!r}{told.value}"


def test_a_directory_that_is_missing_is_reported(tmp_path):
    """A file that cannot be made is reported with its path."""
    path = str(tmp_path / "missing" / "ledger.db")
    with pytest.raises(LedgerUnavailable, match=r"missing/ledger\.db .*OperationalError: unable to open"):
        sql.open_sqlite(path).reserve(bought(), [])


def test_a_file_that_is_no_database_is_reported(tmp_path):
    """Somebody else's file is neither used nor changed."""
    path = tmp_path / "ledger.db"
    path.write_text("These are not the books. " * 100)
    with pytest.raises(LedgerUnavailable, match="not a database"):
        sql.open_sqlite(str(path)).reserve(bought(), [])

    assert path.read_text() == "These are not the books. " * 100


def test_a_reservation_that_is_repeated_counts_once(ledger):
    """The same token is one purchase, with what was said last."""
    ledger.reserve(bought(ticks=USD), limits(2))
    ledger.reserve(bought(ticks=2 * USD), limits(2))

    assert [bought(ticks=2 * USD)] == ledger.entries()


def test_a_budget_is_full_at_exactly_its_limit(ledger):
    """A purchase for all that is left fits, and a tick more does not."""
    assert [] == ledger.reserve(bought("t-1", USD - 1), limits(1))
    (over,) = ledger.reserve(bought("t-2", 2), limits(1))
    assert (USD - 1, 2) == (over.used, over.wanted)
    assert [] == ledger.reserve(bought("t-3", 1), limits(1))
    assert "t-2" not in [entry.token for entry in ledger.entries()]


def test_a_budget_of_nothing_refuses_what_costs_something(ledger):
    """0 USD lets nothing through but what is free."""
    assert 1 == len(ledger.reserve(bought("t-1", 1), limits(0)))
    assert [] == ledger.reserve(bought("t-2", 0), limits(0))


def test_only_the_budgets_without_room_are_named(ledger):
    """What is told is each budget that is in the way, in the order of declaration, and nothing is written."""
    told = ledger.reserve(bought(ticks=3 * USD), limits(2, {"usd": 5, "per": "month"}, {"usd": 1, "per": "dag"}))

    assert [("day",), ("dag",)] == [over.scope.budget.per for over in told]
    assert [] == ledger.entries()


def test_a_person_may_exceed_a_budget(ledger):
    """A purchase that a person allowed is written and counts, and what it exceeds is told."""
    told = ledger.reserve(bought("t-1", 2 * USD, approved_by="Ada"), limits(1), anyway=True)

    assert (1, "Ada") == (len(told), ledger.entries()[0].approved_by)
    assert 1 == len(ledger.reserve(bought("t-2", 1), limits(1)))


def test_a_bill_above_the_estimate_uses_up_the_budget(ledger):
    """What was billed counts, also beyond the limit: nothing more fits then."""
    ledger.reserve(bought("t-1", USD), limits(2))
    ledger.change("t-1", lambda entry: settled(entry, Done("r-1", cost_ticks=3 * USD)))

    (over,) = ledger.reserve(bought("t-2", 1), limits(2))
    assert 3 * USD == over.used
    assert "has 3 USD spent or reserved and 0 USD left" in str(over)


def test_a_released_reservation_gives_its_room_back(ledger):
    """What was provably not bought takes no room."""
    ledger.reserve(bought("t-1", USD), limits(1))
    ledger.change("t-1", released)

    assert [] == ledger.reserve(bought("t-2", USD), limits(1))


def test_a_budget_that_is_declared_later_counts_what_was_bought_before(ledger):
    """A purchase without any budget is booked all the same."""
    ledger.reserve(bought("t-1", USD), [])

    assert 1 == len(ledger.reserve(bought("t-2", USD), limits({"usd": "1.5", "per": ["connection", "month"]})))


def test_each_gets_a_budget_of_its_own(ledger):
    """What one DAG, run or connection spends takes no room from another, and a shared day takes it from all."""
    for owner in (OWNER, replace(OWNER, run_id="manual__2"), replace(OWNER, dag_id="other")):
        declared = [{"usd": 1, "per": "dag_run"}, {"usd": 2, "per": "dag"}, {"usd": 3, "per": "day"}]
        token = f"{owner.dag_id} {owner.run_id}"
        assert [] == ledger.reserve(bought(token, owner=owner), limits(*declared, owner=owner))

    other = Owner("third", "manual__1", "make")
    told = ledger.reserve(bought("t-4", owner=other), limits(*declared, owner=other))
    assert [("day",)] == [over.scope.budget.per for over in told]


def test_a_run_of_another_dag_with_the_same_id_is_another_run(ledger):
    """A run is known by its DAG and its run id together."""
    other = replace(OWNER, dag_id="other")
    ledger.reserve(bought("t-1"), [])

    assert [] == ledger.reserve(bought("t-2", owner=other), limits({"usd": 1, "per": "dag_run"}, owner=other))


def test_the_last_second_of_a_day_counts_there(ledger):
    """A purchase belongs to the day in which it was reserved, to the last moment."""
    midnight = NOON + 43_200
    ledger.reserve(bought("t-1", reserved_at=midnight - 1), [])
    ledger.reserve(bought("t-2", reserved_at=midnight - 0.001), [])
    ledger.reserve(bought("t-3", reserved_at=midnight), [])

    assert (2 * USD, USD) == (ledger.used(limits(9)[0]), ledger.used(limits(9, now=midnight)[0]))
    assert ["t-1", "t-2"] == [entry.token for entry in ledger.entries(NOON, midnight)]


def test_nothing_of_a_purchase_is_lost(ledger):
    """What is read back is what was written, in every field, with amounts to the tick."""
    entry = bought(
        "t-1",
        12_345_678_901_234_567,
        reserved_at=NOON + 0.123456,
        owner=replace(OWNER, map_index=3, run_id="scheduled__2027-01-15T00:00:00+00:00", task_id="gruppe.prüfen"),
        try_number=2,
        mode="generation",
        model="grok-imagine-video-1.5",
        billed=4_800_000_001,
        state="settled",
        outcome="done",
        request_id="r-1",
        approved_by="Ada 🎬",
    )
    ledger.reserve(entry, [])

    assert [entry] == ledger.entries() == ledger.of_owner(entry.owner)
    assert entry == ledger.find("r-1")


def test_purchases_are_found_by_who_made_them(ledger):
    """A task instance has its own purchases, oldest first; an unknown request has none."""
    ledger.reserve(bought("t-2", reserved_at=NOON + 1), [])
    ledger.reserve(bought("t-1"), [])
    ledger.reserve(bought("t-3", owner=replace(OWNER, map_index=0)), [])

    assert ["t-1", "t-2"] == [entry.token for entry in ledger.of_owner(OWNER)]
    assert ledger.find("r-1") is None


def test_a_change_of_nothing_writes_nothing(ledger):
    """A change may leave a purchase unknown."""
    assert ledger.change("t-1", lambda entry: None) is None
    assert [] == ledger.entries()


def test_a_change_that_fails_writes_nothing(ledger):
    """An error on the way undoes the step, and the next one finds the ledger free."""

    def fail(entry):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ledger.change("t-1", fail)
    assert [] == ledger.reserve(bought(), limits(1))


STEPS = {
    "reserve": lambda ledger: ledger.reserve(bought("t-2"), []),
    "change": lambda ledger: ledger.change("t-1", released),
    "entries": lambda ledger: ledger.entries(),
    "used": lambda ledger: ledger.used(limits(1)[0]),
    "find": lambda ledger: ledger.find("r-1"),
}


def make_newer(place):
    """Let a newer version of the provider take over the ledger."""
    with place.engine().begin() as connection:
        connection.exec_driver_sql("UPDATE grokvideo_spend_lock SET schema_version = 2")


def count(place):
    """Return how many purchases there are, whatever the version."""
    with place.engine().connect() as connection:
        return connection.exec_driver_sql("SELECT count(*) FROM grokvideo_spend").scalar_one()


@pytest.mark.parametrize("step", STEPS)
def test_a_newer_ledger_is_refused(place, step):
    """Tables of a newer version are neither written nor misread; the message has both versions and what to do."""
    place.open().reserve(bought(), [])
    make_newer(place)
    with pytest.raises(LedgerUnavailable, match=r"schema 2; .* schema 1\. .* newer one"):
        STEPS[step](place.open())

    assert 1 == count(place)


@pytest.mark.parametrize("step", ["reserve", "change"])
def test_a_ledger_that_becomes_newer_is_not_written(place, step):
    """A worker that runs while the ledger is brought up to date writes nothing more."""
    ledger = place.open()
    ledger.reserve(bought(), [])
    make_newer(place)
    with pytest.raises(LedgerUnavailable, match="schema 2"):
        STEPS[step](ledger)

    assert 1 == count(place)


@pytest.mark.parametrize(
    "facts", [{"estimated": 2**63}, {"request_id": "\ud800"}], ids=["more than an integer holds", "no text"]
)
def test_what_a_database_cannot_hold_is_reported(ledger, facts):
    """Whatever a driver makes of it, the caller sees one kind of error, and the ledger goes on."""
    with pytest.raises(LedgerUnavailable):
        ledger.reserve(replace(bought(), **facts), [])

    assert [] == ledger.reserve(bought(), limits(1))
