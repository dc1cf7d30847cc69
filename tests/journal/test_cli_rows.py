"""The commands of the journal for tables of rows, in each backend."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from items_kit import TABLE, row
from pretended_airflow import pretended_airflow

from airflow_provider_grokvideo.__main__ import main
from airflow_provider_grokvideo.core.purchases.records import Record
from airflow_provider_grokvideo.database import sqlite_engine
from airflow_provider_grokvideo.journal.items import FileItems, Items, SqlItems, StateItems
from airflow_provider_grokvideo.journal.rest import OPERATORS, AirflowApi
from airflow_provider_grokvideo.journal.sql import SqlJournal
from airflow_provider_grokvideo.storage.directories import open_tree

NAMED = [TABLE.dag_id, TABLE.run_id, TABLE.task_id, "--map-index", str(TABLE.map_index)]
ODD = "-x 'y' $(z)"


@dataclass
class Journal:
    """The words that name a journal, and the rows in it."""

    words: list[str]
    items: Callable[[], Items]

    def hold(self, *records: Record) -> None:
        """Keep records of rows."""
        items = self.items()
        for record in records:
            items.of(str(record.owner.item)).create(record)

    def run(self, *words: str) -> int:
        """Run a command."""
        return main(["journal", *words, *self.words])


@pytest.fixture(params=["files", "sql", "task_state_store"])
def journal(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Journal]:
    """An empty journal in each backend."""
    if request.param == "files":
        (tmp_path / "journal").mkdir()
        path = str(tmp_path / "journal")
        yield Journal(["--journal-path", path], lambda: FileItems(open_tree(path), TABLE))
    elif request.param == "sql":
        path = str(tmp_path / "ledger.db")
        monkeypatch.setenv("AIRFLOW__GROKVIDEO__LEDGER_PATH", path)
        yield Journal([], lambda: SqlItems(SqlJournal(sqlite_engine(path), path), TABLE))
    else:
        with pretended_airflow() as airflow:
            airflow.tasks[TABLE] = OPERATORS[0]
            with AirflowApi(airflow.url, {}) as api:
                yield Journal(["--api-url", airflow.url], lambda: StateItems(api.store(TABLE), TABLE))


def test_list_shows_rows_under_their_task(journal: Journal, capsys: pytest.CaptureFixture[str]):
    """Each row is listed with its id, and its JSON names it."""
    journal.hold(row("a"), row("b", phase="submitted", request_id="r-b", intended_at=1_800_000_009.0))
    code = journal.run("list")
    shown = capsys.readouterr().out
    journal.run("list", "--json")
    listed = json.loads(capsys.readouterr().out)["purchases"]

    assert 0 == code
    assert ["make_all[3] row 'a'", "make_all[3] row 'b'"] == [
        line[18:37] for line in shown.splitlines() if "make_all" in line
    ]
    assert ["a", "b"] == [each["item"] for each in listed]


def test_show_prints_one_row_or_all(journal: Journal, capsys: pytest.CaptureFixture[str]):
    """Without --item all rows of the task are shown, with it the row alone; of none the exit code is 1."""
    journal.hold(row("a"), row("b"), row("b", 2))
    codes = [journal.run("show", "--json", *NAMED)]
    every = json.loads(capsys.readouterr().out)["purchases"]
    codes.append(journal.run("show", "--json", *NAMED, "--item", "b"))
    one = json.loads(capsys.readouterr().out)["purchases"]
    codes += [journal.run("show", *NAMED), journal.run("show", *NAMED, "--item", "c")]
    shown = capsys.readouterr()

    assert [0, 0, 0, 1] == codes
    assert ["a", "b", "b"] == [each["item"] for each in every]
    assert [1, 2] == [each["number"] for each in one]
    assert "purchase 2 of films.make_all[3] row 'b' of manual__1" in shown.out
    assert "row 'c'" in shown.err


def test_adopt_and_forget_settle_one_row(journal: Journal):
    """The row that --item names is settled, whatever its id, and the others stay as they are."""
    journal.hold(row("a"), row(ODD), row("c"))
    codes = [
        journal.run("adopt", *NAMED, "--item", "a", "found"),
        journal.run("forget", *NAMED, f"--item={ODD}"),
    ]
    found = journal.items().records()

    assert [0, 0] == codes
    assert ("submitted", "found") == (found["a"][0].phase, found["a"][0].request_id)
    assert "withdrawn" == found[ODD][0].phase
    assert [row("c")] == found["c"]


@pytest.mark.parametrize("words", [("adopt", "found"), ("forget",)], ids=["adopt", "forget"])
def test_a_row_has_to_be_named(journal: Journal, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]):
    """Where a task has rows, adopt and forget without --item change nothing and say what is missing."""
    journal.hold(row("a"), row("b"))
    verb, *more = words
    code = journal.run(verb, *NAMED, *more)

    assert 2 == code
    assert "--item" in capsys.readouterr().err
    assert {"a": [row("a")], "b": [row("b")]} == journal.items().records()


def test_adopt_refuses_a_row_that_the_journal_does_not_have(journal: Journal, capsys: pytest.CaptureFixture[str]):
    """A mistyped --item of a task with rows adds no purchase, names the item and rows; --force adds it."""
    held = [row(f"p{number}") for number in range(1, 6)]
    journal.hold(*held)
    code = journal.run("adopt", *NAMED, "--item", "p99", "found")
    shown = capsys.readouterr().err
    after = journal.items().records()
    forced = journal.run("adopt", *NAMED, "--item", "p99", "found", "--force")

    assert (2, 0) == (code, forced)
    assert {"p1", "p2", "p3", "p4", "p5"} == set(after)
    assert all(repr(item) in shown for item in ("p99", "p1", "p2", "p3"))
    assert "5 rows" in shown
    assert "found" == journal.items().records()["p99"][0].request_id


def test_adopt_in_a_journal_without_rows_needs_no_force(journal: Journal):
    """Where the task instance has no record at all, the first one may be of any row."""
    code = journal.run("adopt", *NAMED, "--item", "p99", "found")

    assert 0 == code
    assert ["p99"] == list(journal.items().records())


def test_orphans_are_counted_by_kind_and_unconfirmed_ones_come_first(
    journal: Journal, capsys: pytest.CaptureFixture[str]
):
    """Requests that are running are told apart from unconfirmed submissions, which are listed first."""
    held = [row(item, phase="submitted", request_id=f"r-{item}", intended_at=1_800_000_000.0) for item in "abc"]
    journal.hold(*held, row("z", intended_at=1_800_000_009.0))
    journal.run("list", "--orphans")
    shown = capsys.readouterr().out
    journal.run("list", "--orphans", "--json")
    listed = [each["item"] for each in json.loads(capsys.readouterr().out)["purchases"]]

    assert shown.endswith("4 orphans: 1 unconfirmed, 3 submitted and not stored\n")
    assert "--force" not in shown
    assert ["z", "a", "b", "c"] == [listed[0], *sorted(listed[1:])]


def test_list_can_be_of_one_row(journal: Journal, capsys: pytest.CaptureFixture[str]):
    """With --item only the purchases of this row are listed and counted."""
    journal.hold(row("a"), row("b"), row("b", 2))
    codes = [journal.run("list", "--json", "--item", "b")]
    listed = json.loads(capsys.readouterr().out)["purchases"]
    codes.append(journal.run("list", "--orphans", "--item", "a"))
    shown = capsys.readouterr().out

    assert [0, 0] == codes
    assert ["b", "b"] == [each["item"] for each in listed]
    assert shown.endswith("1 orphan: 1 unconfirmed\n")


def test_the_commands_of_an_orphan_name_its_row(journal: Journal, capsys: pytest.CaptureFixture[str]):
    """What --orphans prints can be pasted into a shell."""
    journal.hold(row("a"), row("b", phase="submitted", request_id="r-b"))
    journal.run("list", "--orphans")
    shown = capsys.readouterr().out
    commands = [line.partition("grokvideo ")[2] for line in shown.splitlines() if "grokvideo journal" in line]
    expected = [
        replace(TABLE, item=item).command(verb, *more, where=journal.words).removeprefix("grokvideo ")
        for item, verb, *more in [
            ("a", "adopt", "<request id>"),
            ("a", "forget"),
            ("b", "show"),
        ]
    ]

    assert sorted(expected) == sorted(commands)
    assert all(" --item " in command for command in commands)
    forget = next(command for command in commands if command.startswith("journal forget") and "--item a" in command)
    assert 0 == main(shlex.split(forget))
