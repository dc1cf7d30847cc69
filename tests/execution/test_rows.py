"""One row of a table as a purchase of its own: its reservation, its journal, and what the ledger makes of all rows."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from airflow_kit import StateStore, TaskInstance
from items_kit import TABLE, row
from ledger_kit import USD, bought, table

from airflow_provider_grokvideo.core import requests
from airflow_provider_grokvideo.core.billing import budgets
from airflow_provider_grokvideo.core.billing.entries import Entry, released
from airflow_provider_grokvideo.core.billing.pricing import estimate
from airflow_provider_grokvideo.core.errors import InvalidInput, RequestRejected, SpendLimitExceeded
from airflow_provider_grokvideo.core.purchases.records import Owner, Record
from airflow_provider_grokvideo.execution.journal import TaskJournal
from airflow_provider_grokvideo.execution.ledger import Approval, TaskLedger, about_to_buy
from airflow_provider_grokvideo.execution.manifest import Source
from airflow_provider_grokvideo.execution.options import RunOptions
from airflow_provider_grokvideo.execution.ports import Finished, Services, WaitFor
from airflow_provider_grokvideo.execution.run import PaidRun
from airflow_provider_grokvideo.execution.task import items_of, open_items
from airflow_provider_grokvideo.hooks.grokvideo import GrokVideoHook
from airflow_provider_grokvideo.journal.items import FileItems, Items, SqlItems, StateItems
from airflow_provider_grokvideo.ledger.sql import SqlLedger, open_sqlite

CENT = USD // 100
DAY = budgets.parse([{"usd": 10, "per": "day"}], where="budgets")


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SqlLedger:
    """Give tasks a ledger and return it."""
    path = str(tmp_path / "ledger.db")
    monkeypatch.setenv("AIRFLOW__GROKVIDEO__LEDGER_PATH", path)
    return open_sqlite(path)


class Row:
    """The order and the host of one row."""

    interruptions: tuple[type[BaseException], ...] = (Exception,)

    def __init__(self, item: str, prompt: str) -> None:
        self.owner = replace(TABLE, item=item)
        self._prompt = prompt
        self.kept: dict[str, Any] = {}

    def build_request(self) -> requests.VideoRequest:
        """Return the request of the row."""
        return requests.generation(prompt=self._prompt, duration=1)

    def known_source(self) -> Source:
        """Return nothing."""
        return Source()

    def made_from(self) -> None:
        """Return nothing."""

    def keep(self, key: str, value: Any) -> None:
        """Keep a value."""
        self.kept[key] = value

    def recall(self, key: str) -> Any:
        """Return a value."""
        return self.kept.get(key)

    def show(self, outcome: str | None, **facts: Any) -> None:
        """Show nothing."""


def buy(items: Items, item: str = "a", directive: str = "tempo=at-once", **options: Any) -> tuple[Entry, Any]:
    """Reserve a row as a table does and run it; return the reservation, and the manifest or the error."""
    order = Row(item, f"A red ball [[emulator: {directive}]]")
    journal = TaskJournal(items.of(item), order.owner, try_number=2, records=items.records().get(item, []))
    entry = about_to_buy(order.build_request(), estimate(order.build_request()), journal, "grokvideo_default", None)
    given = RunOptions("grokvideo_default", deferrable=False, poll_interval=0.05, **options)
    TaskLedger().reserve_all([entry], limit=None, budgets=DAY)
    services = Services(order, GrokVideoHook(), lambda: journal, reserved=entry)
    run = PaidRun(order, given, services)
    try:
        found = run.run()
        while isinstance(found, WaitFor):
            found = run.wait(found)
    except Exception as error:  # noqa: BLE001 - the test looks at it
        return entry, error
    assert isinstance(found, Finished)
    return entry, found.manifest


@pytest.fixture(params=["sql", "files", "task_state_store"])
def items(request: pytest.FixtureRequest, ledger: SqlLedger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Items:
    """Return the journal of a table in each place."""
    store = None
    if request.param == "files":
        monkeypatch.setenv("AIRFLOW__GROKVIDEO__JOURNAL_PATH", str(tmp_path / "journal"))
    if request.param == "task_state_store":
        return StateItems(StateStore(), TABLE)
    found = items_of(TABLE, store)
    assert found is not None
    return found


@pytest.mark.usefixtures("grokvideo_connection")
def test_a_row_is_bought_with_the_reservation_of_its_table(
    items: Items, ledger: SqlLedger, grokvideo_emulator, caplog: pytest.LogCaptureFixture
):
    """The purchase has the token of its reservation, no limit is applied again, and the log names the row."""
    caplog.set_level(logging.INFO)
    entry, manifest = buy(items, max_cost_usd=0)
    (record,) = items.records()["a"]
    (booked,) = ledger.of_task(TABLE)

    assert manifest["request_id"] == record.request_id == booked.request_id
    assert entry.token == record.token == booked.token
    assert ("settled", "a") == (booked.state, booked.owner.item)
    assert 1 == len(grokvideo_emulator.starts)
    told = [each for each in caplog.messages if "Submitting" in each or "was accepted" in each]
    assert ["Row 'a': "] * 2 == [each[:9] for each in told]


@pytest.mark.usefixtures("grokvideo_connection")
def test_a_delivered_row_is_not_bought_again(items: Items, ledger: SqlLedger, grokvideo_emulator, tmp_path: Path):
    """A later try returns what the row has, whatever other rows do."""
    place = str(tmp_path / "a.mp4")
    _, first = buy(items, destination=place)
    buy(items, "b")
    held, again = buy(items, destination=place)

    assert first["request_id"] == again["request_id"]
    assert again["reused"]
    assert 2 == len(grokvideo_emulator.starts)
    assert {"a": held} == TaskLedger().follow_items(items.records(), TABLE, has_journal=True)


@pytest.mark.usefixtures("grokvideo_connection")
@pytest.mark.parametrize(
    ("directive", "options", "error"),
    [
        ("tempo=at-once", {"destination": "/proc/no/such.mp4"}, Exception),
        ("fault=http:400 on=submit", {}, RequestRejected),
    ],
    ids=["refused before the intent", "refused by the service"],
)
def test_a_row_that_was_not_accepted_gives_its_reservation_back(
    ledger: SqlLedger, directive: str, options: dict[str, Any], error: type[Exception]
):
    """What counted for it counts no more, like the reservation of a single video."""
    items = items_of(TABLE, None)
    entry, problem = buy(items, directive=directive, **options)

    assert isinstance(problem, error)
    assert [released(entry)] == ledger.entries()


def test_the_try_that_saw_the_end_is_noted():
    """A later try can tell a request that failed now from one that failed before."""
    items = StateItems(StateStore(), TABLE)
    journal = TaskJournal(items.of("a"), replace(TABLE, item="a"), try_number=3)
    journal.intend(row("a"))
    journal.note(phase="submitted", request_id="r-1", submitted_at=1_800_000_002.0)
    assert journal.current.closed_in is None
    journal.note(phase="submitted", outcome="expired")
    assert 3 == journal.current.closed_in
    journal.note(phase="delivered", outcome=None, manifest={})
    assert journal.current.closed_in is None
    journal.note(phase="ended", outcome="failed")

    assert 3 == items.records()["a"][0].closed_in


def intents(entries: list[Entry], **facts: Any) -> Mapping[str, list[Record]]:
    """Return what the journal holds of reserved rows."""
    return {
        str(each.owner.item): [row("", token=each.token, **{**facts, "owner": each.owner, "conn_id": each.conn_id})]
        for each in entries
    }


def test_the_ledger_follows_all_rows_with_one_read(ledger: SqlLedger, monkeypatch: pytest.MonkeyPatch):
    """1,000 rows that the ledger knows cost one statement; what differs is written; what has no record is told."""
    entries = table("r", 1_000, CENT)
    owner = entries[0].owner.whole
    ledger.reserve_all(entries, [])
    records = dict(intents(entries[:999], phase="submitted", request_id="x", submitted_at=1_800_000_002.0))
    records = {item: [replace(each, request_id=f"q-{item}")] for item, (each,) in records.items()}
    TaskLedger().follow_items(records, owner, has_journal=True)
    told: list[str] = []

    @sa.event.listens_for(sa.engine.Engine, "before_cursor_execute")
    def _told(connection, cursor, statement, parameters, context, many):
        if statement.startswith(("SELECT grokvideo_spend.", "UPDATE", "INSERT")):
            told.append(statement)

    try:
        held = TaskLedger().follow_items(records, owner, has_journal=True)
    finally:
        sa.event.remove(sa.engine.Engine, "before_cursor_execute", _told)

    assert 1 == len(told)
    assert {"r-999": entries[-1]} == held
    assert 999 == sum(entry.request_id is not None for entry in ledger.of_task(owner))
    assert "reserved" == ledger.of_owner(entries[-1].owner)[0].state


def test_a_row_that_may_have_been_sent_is_not_called_held(ledger: SqlLedger):
    """An accepted or unconfirmed row without a record keeps its reservation, and nobody may use it again."""
    accepted, lost, free = table("r", 3)
    accepted, lost = replace(accepted, request_id="r-1"), replace(lost, outcome="unconfirmed")
    ledger.reserve_all([accepted, lost, free, bought("alone")], [])
    owner = free.owner.whole

    assert {"r-2": free} == TaskLedger().follow_items({}, owner, has_journal=True)
    assert {} == TaskLedger().follow_items({}, owner, has_journal=False)
    assert 4 == len([each for each in ledger.entries() if each.state == "reserved"])


def test_a_ledger_that_fails_stops_no_table_that_is_paid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """It is reported, and nothing is known to be held."""
    monkeypatch.setenv("AIRFLOW__GROKVIDEO__LEDGER_PATH", str(tmp_path / "no" / "ledger.db"))

    assert {} == TaskLedger().follow_items({}, TABLE, has_journal=True)
    TaskLedger().release_rows(table("r", 2))
    TaskLedger().reserve_all(table("r", 2), limit=5, budgets=[])


@pytest.mark.parametrize(
    ("entries", "limit", "declared", "says"),
    [
        (table("r", 40, 30 * CENT), 5, [], "40 rows would cost 12 USD: max_cost_usd is 5"),
        (table("r", 40, 30 * CENT), None, DAY, "40 rows would cost 12 USD: the budget of 10 USD per day"),
        (table("r", 1, 11 * USD), 5, DAY, "1 row would cost 11 USD: max_cost_usd is 5; the budget of"),
        ([*table("r", 1), bought("x", None)], None, DAY, "2 rows would cost an unknown price: no price is known"),
        ([*table("r", 1), bought("x", None)], 5, [], "2 rows would cost an unknown price: no price is known"),
    ],
    ids=["the task's limit", "a budget", "both", "unknown, with a budget", "unknown, with a limit"],
)
def test_a_table_is_refused_with_its_sum(ledger: SqlLedger, entries, limit, declared, says):
    """One text says how many rows would cost what, and everything that does not allow it; nothing is written."""
    with pytest.raises(SpendLimitExceeded) as caught:
        TaskLedger().reserve_all(entries, limit=limit, budgets=declared)

    assert caught.value.what.startswith(says)
    assert [] == ledger.entries()


def test_an_approved_table_is_reserved(ledger: SqlLedger):
    """An approval of the sum, or of more, allows what limit and budget do not; of less it does not."""
    entries = table("r", 12)
    approval = Approval(Decimal(12), "alice")
    with pytest.raises(SpendLimitExceeded):
        TaskLedger().reserve_all(entries, limit=5, budgets=DAY, approval=replace(approval, usd=Decimal(11)))
    TaskLedger().reserve_all(entries, limit=5, budgets=DAY, approval=approval)

    assert 12 == len(ledger.entries())


def test_a_retry_of_a_table_replaces_what_it_had_reserved(ledger: SqlLedger):
    """What the last try has reserved and not sent does not stand in the way of the same table."""
    before, after = table("old", 10), table("new", 10)
    TaskLedger().reserve_all(before, limit=None, budgets=DAY)
    TaskLedger().check_all(after, limit=None, budgets=DAY, release=before)
    TaskLedger().reserve_all(after, limit=None, budgets=DAY, release=before)

    assert 10 * USD == sum(entry.counted for entry in ledger.entries())
    TaskLedger().release_rows(after)
    assert 0 == sum(entry.counted for entry in ledger.entries())


def test_a_limit_that_is_no_amount_is_refused(ledger: SqlLedger):
    """It names the argument."""
    with pytest.raises(InvalidInput, match="max_cost_usd"):
        TaskLedger().check_all(table("r", 1), limit="much", budgets=[])


def test_rows_are_where_a_single_purchase_would_be(ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Files come before the database, which comes before the task state store; what later ones hold is moved."""
    ti, store = TaskInstance(), StateStore()
    owner = Owner(ti.dag_id, ti.run_id, ti.task_id, ti.map_index)
    context = {"ti": ti, "task_state_store": store}
    mine = {item: [row(item, owner=replace(owner, item=item))] for item in "abc"}
    monkeypatch.setenv("AIRFLOW__GROKVIDEO__LEDGER_PATH", "none")
    in_state = open_items(context)
    in_state.of("a").create(*mine["a"])
    monkeypatch.setenv("AIRFLOW__GROKVIDEO__LEDGER_PATH", ledger.told)
    in_sql = open_items(context)
    in_sql.of("b").create(*mine["b"])
    monkeypatch.setenv("AIRFLOW__GROKVIDEO__JOURNAL_PATH", str(tmp_path / "journal"))
    in_files = open_items(context)
    in_files.of("c").create(*mine["c"])

    assert [StateItems, SqlItems, FileItems] == [type(each) for each in (in_state, in_sql, in_files)]
    assert mine == open_items(context).records()
    assert open_items({}) is None
