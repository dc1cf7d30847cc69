"""Two tries of one table at once, a zombie and its successor: each row is bought once, and no id is lost."""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
from airflow_kit import TaskInstance
from bulk_kit import again, context_of, drive_table, rows_of, table_task

from airflow_provider_grokvideo.core.errors import GrokVideoError
from airflow_provider_grokvideo.core.purchases.records import Owner
from airflow_provider_grokvideo.execution.bulk.money import Money
from airflow_provider_grokvideo.execution.task import items_of
from airflow_provider_grokvideo.ledger.sql import open_sqlite

pytestmark = pytest.mark.usefixtures("grokvideo_connection")

ROWS = 5


class Zombie(threading.Thread):
    """A try whose worker stands still at a point of its first leg until it is let go.

    Attributes:
        ending: What it ended with.
    """

    def __init__(self, make, ti) -> None:
        super().__init__(daemon=True)
        self.ending: object = None
        self.there, self.go = threading.Event(), threading.Event()
        self._make, self._ti = make, ti

    def run(self) -> None:
        try:
            self.ending = self._make().execute(context_of(self._ti))
        except BaseException as ending:  # noqa: BLE001 - a deferral is no Exception, and the test looks at all of them
            self.ending = ending

    def stand_still(self) -> None:
        """Wait, in its own thread, until the other try has ended; others pass."""
        if threading.current_thread() is self:
            self.there.set()
            assert self.go.wait(120)

    def let_go(self) -> object:
        """Let it run to its end, and return that."""
        self.go.set()
        self.join(120)
        assert not self.is_alive()
        return self.ending


@pytest.fixture(params=["sql", "journal_path"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Give tasks a ledger, and each kind of journal; return its file."""
    monkeypatch.setenv("AIRFLOW__GROKVIDEO__LEDGER_PATH", str(tmp_path / "ledger.db"))
    if request.param == "journal_path":
        monkeypatch.setenv("AIRFLOW__GROKVIDEO__JOURNAL_PATH", str(tmp_path / "journal"))
    return str(tmp_path / "ledger.db")


def pausing(monkeypatch: pytest.MonkeyPatch, owner, verb: str, zombie: Zombie) -> None:
    """Let the zombie stand still after a step."""
    original = getattr(owner, verb)

    def wrapped(*args, **kwargs):
        found = original(*args, **kwargs)
        zombie.stand_still()
        return found

    monkeypatch.setattr(owner, verb, wrapped)


@pytest.mark.parametrize("deferrable", [True, False], ids=["deferrable", "blocking"])
def test_a_zombie_that_had_reserved_buys_nothing_and_hides_nothing(
    ledger, grokvideo_emulator, tmp_path, monkeypatch, deferrable
):
    """A try that wakes up before its first submit, after the next one has bought all, leaves its records and bills."""
    make = table_task(tmp_path / "clips", rows_of(ROWS), deferrable=deferrable)
    zombie = Zombie(make, TaskInstance(max_tries=3))
    pausing(monkeypatch, Money, "reserve", zombie)
    zombie.start()
    assert zombie.there.wait(60)

    second = drive_table(make, again(TaskInstance(max_tries=3)))
    ending = zombie.let_go()
    third = drive_table(make, again(second.ti))

    assert {"delivered": ROWS} == second.result["counts"] == third.result["counts"]
    assert isinstance(ending, GrokVideoError)
    assert ROWS == len(grokvideo_emulator.starts)
    _check_books(ledger, grokvideo_emulator)


def test_a_zombie_beside_a_successor_that_waits(ledger, grokvideo_emulator, tmp_path, monkeypatch):
    """A try that wakes up while the requests of the next one are in flight takes nothing from it."""
    make = table_task(tmp_path / "clips", rows_of(ROWS), max_in_flight=2)
    zombie = Zombie(make, TaskInstance(max_tries=3))
    pausing(monkeypatch, Money, "reserve", zombie)
    zombie.start()
    assert zombie.there.wait(60)
    endings: list[object] = []

    def wake(leg: int) -> None:
        if not endings:
            endings.append(zombie.let_go())

    course = None
    for number in range(2, 6):
        # A row that the zombie buys first ends a try of its successor, and the next one finds it.
        try:
            course = drive_table(make, TaskInstance(try_number=number, max_tries=6), between=wake)
        except GrokVideoError:
            continue
        break

    assert course is not None
    assert {"delivered": ROWS} == course.result["counts"]
    bought = Counter(start.prompt for start in grokvideo_emulator.starts)
    assert {1} == {*bought.values()}
    _check_books(ledger, grokvideo_emulator)


def test_a_zombie_that_ends_leaves_the_money_of_its_successor(ledger, grokvideo_emulator, tmp_path, monkeypatch):
    """What a try releases at its end is its own, so a budget stays taken by what the next try is about to buy."""
    make = table_task(tmp_path / "clips", rows_of(ROWS), max_in_flight=1, budgets=[{"usd": 0.25, "per": "dag"}])
    zombie = Zombie(make, TaskInstance(max_tries=3))
    pausing(monkeypatch, Money, "reserve", zombie)
    zombie.start()
    assert zombie.there.wait(60)
    counted: list[int] = []

    def wake(leg: int) -> None:
        if leg == 1:
            zombie.let_go()
            counted.append(sum(entry.counted for entry in open_sqlite(ledger).entries()))

    with suppress(GrokVideoError):
        drive_table(make, again(TaskInstance(max_tries=3)), between=wake)

    assert [ROWS * 500_000_000] == counted


def _check_books(ledger: str, emulator) -> None:
    """See that the journal has each request, and that the ledger is the bill."""
    starts = {start.request_id: start.billed_ticks for start in emulator.starts}
    records = items_of(Owner("films", "manual__1", "make"), None).records()
    held = [record for of_row in records.values() for record in of_row if record.phase != "withdrawn"]
    entries = open_sqlite(ledger).entries()
    assert {*starts} == {record.request_id for record in held}
    assert {"delivered"} == {record.phase for record in held}
    assert starts == {entry.request_id: entry.billed for entry in entries if entry.counted}
