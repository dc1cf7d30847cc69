"""The journal of a table's rows in its three backends: each row is a purchase of its own, and all are read at once."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from airflow_kit import StateStore
from items_kit import TABLE, create_row, delivered, open_items, row
from ledger_kit import Place, together

from airflow_provider_grokvideo.core.errors import JournalCorrupt, JournalUnavailable
from airflow_provider_grokvideo.database import sqlite_engine
from airflow_provider_grokvideo.journal import sql
from airflow_provider_grokvideo.journal.backends import STATE_KEY, FileBackend, TaskStateBackend, row_folder
from airflow_provider_grokvideo.journal.items import ROWS_IN_STATE, FileItems, Items, SqlItems, StateItems
from airflow_provider_grokvideo.journal.sql import PURCHASES, SqlJournal
from airflow_provider_grokvideo.storage.directories import LocalTree, Storage, open_tree

MANY = 10_000

Opener = Callable[..., Items]


@pytest.fixture(params=["sql", "files", "s3", "task_state_store"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Opener:
    """Return how to open the journal of a table, as each of its tries does."""
    match request.param:
        case "sql":
            path = str(tmp_path / "ledger.db")
            return lambda owner=TABLE: SqlItems(SqlJournal(sqlite_engine(path), "here"), owner)
        case "files":
            return lambda owner=TABLE: FileItems(LocalTree(tmp_path / "journal"), owner)
        case "s3":
            request.getfixturevalue("s3")
            return lambda owner=TABLE: FileItems(open_tree("s3://bucket/journal"), owner)
    store = StateStore()
    return lambda owner=TABLE: StateItems(store, owner)


def test_an_empty_journal_has_no_rows(opened: Opener):
    """Before the first purchase there is none."""
    assert {} == opened().records()


def test_what_is_written_is_found_by_row_and_in_order(opened: Opener):
    """All rows are read at once, each with its own purchases, oldest first."""
    items = opened()
    odd = "../a b/ä*?%"
    items.of("a").create(row("a"))
    items.of(odd).create(row(odd))
    items.of("a").update(ended := row("a", phase="ended", outcome="failed", request_id="r-1", closed_in=1))
    items.of("a").create(row("a", 2))

    assert {"a": [ended, row("a", 2)], odd: [row(odd)]} == opened().records()
    assert [row(odd)] == opened().of(odd).records()
    assert [] == opened().of("b").records()


def test_other_task_instances_have_other_rows(opened: Opener):
    """A row's id belongs to its task instance: another run, task or map index has rows of its own."""
    opened().of("a").create(row("a"))
    others = [replace(TABLE, run_id="r2"), replace(TABLE, task_id="t2"), replace(TABLE, map_index=4)]
    if not isinstance(opened(), StateItems):
        assert [{}] * 3 == [opened(owner).records() for owner in others]

    assert {"a": [row("a")]} == opened().records()


def test_a_row_is_one_backend_that_knows_what_was_read(opened: Opener):
    """A later leg that has read all rows may withdraw a row's intent without reading the row again."""
    opened().of("a").create(row("a"))
    items = opened()
    items.records()
    withdrawn = row("a", phase="withdrawn", note="not sent")

    assert items.of("a") is items.of("a")
    assert items.of("a").update(withdrawn)
    assert {"a": [withdrawn]} == opened().records()


def test_an_old_try_does_not_hide_what_it_has_not_seen(opened: Opener):
    """A try that still runs does not cover the request id that a newer one has written."""
    opened().of("a").create(row("a"))
    old, new = opened(), opened()
    old.records(), new.records()
    accepted = row("a", phase="submitted", request_id="r-1", submitted_at=1_800_000_002.0)
    assert new.of("a").update(accepted)

    assert not old.of("a").update(row("a", phase="withdrawn"))
    assert {"a": [accepted]} == opened().records()


def test_a_number_is_given_once(opened: Opener):
    """Of two tries that begin the same row, one may send; the other row is free."""
    opened().of("a").create(row("a", token="first"))
    with pytest.raises(JournalUnavailable, match="row 'a'"):
        opened().of("a").create(row("a", token="second"))
    opened().of("b").create(row("b"))

    assert ["first"] == [record.token for record in opened().records()["a"]]


def test_threads_work_on_rows_of_their_own(opened: Opener, at_once):
    """Eight threads of one process lose none of what the others write."""
    items = opened()

    def work(number: int) -> None:
        for item in (f"{number}-a", f"{number}-b"):
            backend = items.of(item)
            backend.create(row(item))
            assert backend.update(row(item, phase="submitted", request_id=f"r-{item}"))

    assert [None] * 8 == at_once(8, work)
    found = opened().records()
    assert 16 == len(found)
    assert {f"r-{item}" for item in found} == {records[0].request_id for records in found.values()}


def test_rows_and_a_purchase_without_a_row_do_not_meet(opened: Opener, tmp_path: Path):
    """A task that bought one video before it bought a table keeps both."""
    items = opened()
    items.of("a").create(row("a"))
    alone = replace(row("a", token="alone"), owner=TABLE)
    match items:
        case SqlItems():
            plain = items._journal.of(TABLE)
        case FileItems():
            plain = FileBackend(items._tree, TABLE)
        case StateItems():
            plain = TaskStateBackend(items._store, TABLE)
    assert [] == plain.records()
    plain.create(alone)

    assert [alone] == plain.records()
    assert {"a": [row("a")]} == opened().records()


@pytest.mark.parametrize("kind", ["sql", "files"])
def test_one_of_many_processes_begins_a_row(kind: str, tmp_path: Path):
    """However many tries begin one row at the same moment, in processes of their own, one of them may send."""
    where = str(tmp_path / "journal")
    asked = [(kind, where, f"t-{number}") for number in range(6)]
    found = together(create_row, Place("sqlite", str(tmp_path / "ledger.db")), asked)

    assert 5 == found.count(None)
    assert [token for token in found if token] == [record.token for record in open_items(kind, where).records()["a"]]


def test_a_replaced_try_writes_no_row():
    """Airflow refuses the writes of a try that was replaced; the rows of the new one stay."""

    class Refusing(StateStore):
        def set(self, key, value, *, retention=None):
            raise RuntimeError("API_SERVER_ERROR: 404 task instance not found")

    store = StateStore()
    StateItems(store, TABLE).of("a").create(row("a"))
    old = Refusing()
    old.values = store.values
    with pytest.raises(JournalUnavailable):
        StateItems(old, TABLE).of("b").create(row("b"))

    assert {"a": [row("a")]} == StateItems(store, TABLE).records()


def test_the_rows_of_a_table_fit_into_the_task_state_store():
    """As many rows as it may hold take less than three quarters of Airflow's 64 kB."""
    store = StateStore()
    items = StateItems(store, TABLE)
    for number in range(ROWS_IN_STATE):
        items.of(f"product-{number}").create(delivered(f"product-{number}"))

    assert ROWS_IN_STATE == items.most == len(items.records())
    assert len(json.dumps(store.values[STATE_KEY]).encode()) < 0.75 * 64_000


def test_files_and_databases_take_any_number(tmp_path: Path):
    """A large table needs files or a database."""
    assert (None, None) == (open_items("sql", str(tmp_path / "l.db")).most, open_items("files", str(tmp_path)).most)


@pytest.mark.parametrize("content", ["{", '{"schema": 1}', json.dumps(row("b").to_json())])
def test_an_unreadable_row_is_an_error(tmp_path: Path, content: str):
    """What cannot be read, or is another row's, is never taken for nothing."""
    FileItems(LocalTree(tmp_path), TABLE).of("a").create(row("a"))
    (tmp_path / row_folder(replace(TABLE, item="a")) / "0001.json").write_text(content)
    with pytest.raises(JournalCorrupt):
        FileItems(LocalTree(tmp_path), TABLE).records()


class Counted(LocalTree):
    """Counts its calls."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.counts: dict[str, int] = {}
        self._lock = threading.Lock()

    def _count(self, name: str) -> None:
        with self._lock:
            self.counts[name] = self.counts.get(name, 0) + 1

    def create(self, name: str, data: bytes) -> bool:
        self._count("create")
        return super().create(name, data)

    def replace(self, name: str, data: bytes) -> None:
        self._count("replace")
        super().replace(name, data)

    def read(self, name: str) -> bytes | None:
        self._count("read")
        return super().read(name)

    def folder(self, name: str, suffix: str = ".json") -> list[str]:
        self._count("folder")
        return super().folder(name, suffix)

    def below(self, name: str) -> list[str]:
        self._count("below")
        return super().below(name)


def work_on(items: Items, item: str) -> None:
    """Begin a row and note its request id."""
    items.of(item).create(row(item))
    assert items.of(item).update(row(item, phase="submitted", request_id=f"r-{item}"))


def test_each_file_is_read_once_and_a_write_costs_the_same_for_every_row(tmp_path: Path):
    """10,000 rows take one listing and one read each; after that a row costs what it costs in an empty table."""
    tree = Counted(tmp_path)
    work_on(FileItems(tree, TABLE), "first")
    costs_of_first = dict(tree.counts)
    for number in range(MANY - 1):
        folder = tmp_path / row_folder(replace(TABLE, item=str(number)))
        folder.mkdir(parents=True)
        (folder / "0001.json").write_text(json.dumps(row(str(number)).to_json()))
    tree.counts.clear()
    items = FileItems(tree, TABLE)

    assert MANY == len(items.records())
    assert {"below": 1, "read": MANY} == tree.counts
    tree.counts.clear()
    work_on(items, "last")
    assert costs_of_first == tree.counts


def test_one_statement_reads_all_rows_and_a_write_costs_the_same_for_every_row(tmp_path: Path):
    """10,000 rows take as many statements as one, found by an index that leads past all other tasks."""
    engine = sqlite_engine(str(tmp_path / "ledger.db"))
    journal = SqlJournal(engine, "here")
    journal.database.prepare()
    told: list[str] = []

    @sa.event.listens_for(engine, "before_cursor_execute")
    def _told(connection, cursor, statement, parameters, context, many):
        told.append(statement)

    work_on(SqlItems(journal, TABLE), "first")
    costs_of_first = len(told)
    rows = [replace(row(str(number))) for number in range(MANY - 1)]
    with engine.begin() as connection:
        connection.execute(PURCHASES.insert(), [sql._row(sql.owner_key(each.owner), each) for each in rows])
    told.clear()
    items = SqlItems(journal, TABLE)

    assert MANY == len(items.records())
    (read,) = [statement for statement in told if statement.startswith("SELECT")]
    told.clear()
    work_on(items, "last")
    assert costs_of_first == len(told)
    with engine.connect() as connection:
        named = (TABLE.dag_id, TABLE.run_id, TABLE.task_id, TABLE.map_index)
        plan = str(connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {read}", named).all())
    assert "grokvideo_purchases_run (dag_id=? AND run_id=? AND task_id=? AND map_index=?)" in plan


def test_files_below_a_directory_are_listed(tree: Storage):
    """Every file below a directory is found, in every kind of place; a directory that is not there has none."""
    tree.create("a/b/1.json", b"1")
    tree.create("a/2.json", b"2")
    tree.create("ab/3.json", b"3")

    assert ["a/2.json", "a/b/1.json"] == tree.below("a")
    assert [] == tree.below("c")
