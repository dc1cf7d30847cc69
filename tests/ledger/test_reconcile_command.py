"""The ledger is brought up to what the journals know: of dead tasks, of bills it missed, of purchases before it."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from airflow_provider_grokvideo.__main__ import main
from airflow_provider_grokvideo.core.billing.entries import Entry
from airflow_provider_grokvideo.core.purchases.records import Owner, Record
from airflow_provider_grokvideo.journal.backends import FileBackend
from airflow_provider_grokvideo.ledger.sql import SqlLedger, open_sqlite
from airflow_provider_grokvideo.storage.directories import open_tree

CENT = 10**8
LONG_AGO = time.time() - 3600


def owner(task_id: str) -> Owner:
    """Return a task instance of its own for each case."""
    return Owner("films", "manual__1", task_id)


def reserved(task_id: str, **facts) -> Entry:
    """Return a reservation of an hour ago."""
    return Entry(f"t-{task_id}", LONG_AGO, "grokvideo_default", owner(task_id), **{"estimated": 5 * CENT, **facts})


def known(task_id: str, phase: str, **facts) -> Record:
    """Return what the journal knows of the same purchase."""
    ids = (
        {"request_id": f"r-{task_id}", "submitted_at": LONG_AGO} if phase in ("submitted", "delivered", "ended") else {}
    )
    given = {"estimated_usd": "0.05", "conn_id": "grokvideo_default", **ids, **facts}
    return Record(owner(task_id), 1, f"t-{task_id}", phase, "red", "red", LONG_AGO, **given)


@pytest.fixture
def ledger(tmp_path: Path) -> SqlLedger:
    """Return an empty ledger."""
    return open_sqlite(str(tmp_path / "ledger.db"))


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """Return an empty journal."""
    (tmp_path / "journal").mkdir()
    return tmp_path / "journal"


def hold(journal: Path, *records: Record) -> None:
    """Keep records as tasks do."""
    for record in records:
        FileBackend(open_tree(str(journal)), record.owner).create(record)


def reconcile(ledger: SqlLedger, journal: Path, *words: str) -> int:
    """Run the command."""
    return main(["reconcile", "--ledger-path", ledger.told, "--journal-path", str(journal), *words])


CASES = {
    "died before the intent": (reserved("a"), None, ("released", None, 0)),
    "died after the intent": (reserved("a"), known("a", "intent"), ("reserved", "unconfirmed", 5 * CENT)),
    "died after the start": (reserved("a"), known("a", "submitted"), ("reserved", None, 5 * CENT)),
    "forgotten by a person": (reserved("a", outcome="unconfirmed"), known("a", "withdrawn"), ("released", None, 0)),
    "bill missed": (reserved("a"), known("a", "delivered", manifest={"cost_usd": 0.06}), ("settled", "done", 6 * CENT)),
    "bill of a blocked one missed": (
        reserved("a", request_id="r-a"),
        known("a", "ended", outcome="moderated", cost_usd="0.05"),
        ("settled", "moderated", 5 * CENT),
    ),
    "bought before there was a ledger": (
        None,
        known("a", "delivered", manifest={"cost_usd": 0.05}),
        ("settled", "done", 5 * CENT),
    ),
    "given up by a person": (
        reserved("a", request_id="r-a"),
        known("a", "withdrawn", request_id="r-a"),
        ("settled", "abandoned", 5 * CENT),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_ledger_learns_what_the_journal_knows(ledger, journal, capsys, case):
    """Each way a task can die or miss its ledger is repaired, once, and a dry run repairs nothing."""
    entry, record, expected = CASES[case]
    ledger.reserve(replace(reserved("other"), state="settled", billed=7 * CENT, outcome="done"), [])
    hold(journal, known("other", "delivered", manifest={"cost_usd": 0.07}))
    if entry is not None:
        ledger.reserve(entry, [])
    if record is not None:
        hold(journal, record)
    before = ledger.entries()
    tried = reconcile(ledger, journal, "--dry-run")
    after_trying = ledger.entries()
    codes = [reconcile(ledger, journal), reconcile(ledger, journal)]
    said = capsys.readouterr().out
    (found,) = [each for each in ledger.entries() if each.token == "t-a"]

    assert (0, before) == (tried, after_trying)
    assert [0, 1] == codes
    assert expected == (found.state, found.outcome, found.counted)
    assert "films.a of manual__1: " in said
    assert f"{0.07 + expected[2] / 10**10:.2f} USD after" in said


def test_what_a_task_is_about_to_send_is_left_alone(ledger, journal, capsys):
    """A reservation without a record may be that of a task that uploads its inputs; only an old one is dead."""
    ledger.reserve(replace(reserved("a"), reserved_at=time.time() - 60), [])

    assert 1 == reconcile(ledger, journal)
    assert 5 * CENT == sum(entry.counted for entry in ledger.entries())
    assert 0 == reconcile(ledger, journal, "--older-than", "0.5")
    assert 0 == sum(entry.counted for entry in ledger.entries())


@pytest.mark.parametrize("facts", [{"request_id": "r-a"}, {"outcome": "unconfirmed"}], ids=["accepted", "unconfirmed"])
def test_what_was_sent_is_never_released_for_want_of_a_record(ledger, journal, facts):
    """A journal that was cleaned gives no money back."""
    ledger.reserve(reserved("a", **facts), [])

    assert 1 == reconcile(ledger, journal)
    assert 5 * CENT == sum(entry.counted for entry in ledger.entries())


def test_an_unreadable_journal_releases_nothing(ledger, journal, capsys):
    """Where a task's record cannot be read its reservation stays, and the exit code says that it was left out."""
    ledger.reserve(reserved("a"), [])
    hold(journal, known("a", "intent"))
    (file,) = journal.rglob("0001.json")
    file.write_text("{")
    code = reconcile(ledger, journal)
    said = capsys.readouterr().out

    assert 3 == code
    assert "kept: films.a of manual__1: reserved, 0.05 USD: its journal cannot be read" in said
    assert "unreadable: " in said
    assert 5 * CENT == sum(entry.counted for entry in ledger.entries())


def test_a_request_that_was_adopted_elsewhere_stays_one_entry(ledger, journal):
    """Two records of one request, one of them in another run, are one purchase."""
    ledger.reserve(reserved("a", request_id="r-a"), [])
    adopted = replace(known("b", "delivered", manifest={"cost_usd": 0.05}), request_id="r-a")
    hold(journal, known("a", "submitted"), adopted)
    reconcile(ledger, journal)

    assert [("t-a", 5 * CENT, "done")] == [(each.token, each.billed, each.outcome) for each in ledger.entries()]


def test_it_says_where_it_looked_and_what_is_missing(tmp_path, ledger, journal, capsys):
    """A ledger or journal that is not there is an error with its name."""
    codes = [
        main(["reconcile", "--ledger-path", str(tmp_path / "no.db"), "--journal-path", str(journal)]),
        main(["reconcile", "--ledger-path", ledger.told, "--journal-path", str(tmp_path / "no journal")]),
    ]
    ledger.entries()
    codes.append(main(["reconcile", "--ledger-path", ledger.told, "--journal-path", str(tmp_path / "no journal")]))
    said = capsys.readouterr().err

    assert [2, 2, 2] == codes
    assert "no.db" in said
    assert "there is no directory" in said


def test_rows_are_booked_like_single_purchases(ledger, journal, capsys):
    """Each row's record is followed, and the lines name the row."""
    rows = [replace(known("a", "delivered", manifest={"cost_usd": 0.07}), owner=row_of(item)) for item in ("x", "y")]
    hold(journal, *(replace(each, token=f"t-{each.owner.item}", request_id=each.owner.item) for each in rows))
    ledger.reserve(replace(reserved("a"), token="t-x", owner=row_of("x")), [])

    assert 0 == reconcile(ledger, journal)
    assert {("x", 7 * CENT), ("y", 7 * CENT)} == {(each.owner.item, each.billed) for each in ledger.entries()}
    assert "films.a row 'x' of manual__1: reserved, 0.05 USD -> settled, done, 0.07 USD" in capsys.readouterr().out


def test_a_row_waits_for_its_turn_for_a_day(ledger, journal):
    """A table reserves all rows at once: one without a record is dead after a day, or as --older-than says."""
    entry = replace(reserved("a"), owner=row_of("x"))
    ledger.reserve(entry, [])

    assert 1 == reconcile(ledger, journal)
    assert 0 == reconcile(ledger, journal, "--older-than", "10")
    ledger.reserve(replace(entry, token="t-old", reserved_at=time.time() - 25 * 3600), [])
    assert 0 == reconcile(ledger, journal)
    assert 0 == sum(each.counted for each in ledger.entries())


def row_of(item: str) -> Owner:
    """Return a row of a task."""
    return replace(owner("a"), item=item)
