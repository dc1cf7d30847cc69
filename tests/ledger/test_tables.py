"""The ledger of a table: all its rows are reserved, or none, and no budget is passed by a part of it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import sqlalchemy as sa
from ledger_kit import NOON, OWNER, USD, bought, limits, reserve, reserve_table, table, together

from airflow_provider_grokvideo.core.billing.entries import accepted, released, unconfirmed
from airflow_provider_grokvideo.core.errors import InvalidInput
from airflow_provider_grokvideo.ledger.backends import NoLedger
from airflow_provider_grokvideo.ledger.sql import SqlLedger

CENT = USD // 100


def test_a_table_is_reserved_whole_or_not_at_all(ledger: SqlLedger):
    """Where the sum of all rows exceeds a budget nothing of the table is written."""
    (over,) = ledger.reserve_all(table("big", 11), limits(10))

    assert (0, 11 * USD) == (over.used, over.wanted)
    assert [] == ledger.entries()
    assert [] == ledger.reserve_all(fitting := table("small", 10), limits(10))
    assert fitting == ledger.of_task(OWNER)


def test_an_approved_table_is_written_above_its_budget(ledger: SqlLedger):
    """What a user has approved is reserved, and the exceeded budget is still told."""
    assert 1 == len(ledger.reserve_all(table("t", 3), limits(1), anyway=True))
    assert 3 == len(ledger.entries())


def test_tables_of_many_processes_keep_a_budget(place):
    """Eight processes that reserve tables of 2.50 dollars at the same moment get four of them into ten dollars."""
    found = together(reserve_table, place, [(f"t{number}", 25, 10 * CENT) for number in range(8)])

    assert [0] * 4 + [1] * 4 == sorted(found)
    assert 10 * USD == place.open().used(limits(10)[0])
    assert 4 * 25 == len(place.open().entries())


def test_tables_of_many_threads_keep_a_budget(place):
    """Eight threads of one process, each with its table, keep the budget too."""
    ledger = place.open()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda number: reserve_table(ledger, print, f"t{number}", 30, 10 * CENT), range(8)))

    assert [0] * 3 + [1] * 5 == sorted(found)
    assert 9 * USD == ledger.used(limits(10)[0])


def test_a_table_and_single_purchases_share_a_budget(ledger: SqlLedger):
    """What a table has reserved is not free for others, nor the reverse."""
    assert [] == ledger.reserve_all(table("t", 9), limits(10))

    assert [0, 1] == [reserve(ledger, print, token, USD, [10]) for token in ("one", "two")]


def test_released_reservations_make_room_in_the_same_transaction(ledger: SqlLedger):
    """A new try replaces what the last one has reserved and not sent, also where both would not fit."""
    before = table("old", 10)
    ledger.reserve_all(before, limits(10))
    tokens = [entry.token for entry in before]

    assert [] == ledger.reserve_all(table("new", 10), limits(10), release=tokens)
    assert 10 * USD == ledger.used(limits(10)[0])
    assert {"old": 10, "new": 0} == {
        prefix: sum(e.state == "released" for e in ledger.entries() if e.token.startswith(prefix))
        for prefix in ("old", "new")
    }


def test_a_refused_table_releases_nothing(ledger: SqlLedger):
    """Where a table has no room, the reservations it would have replaced stay."""
    ledger.reserve_all(before := table("old", 5), limits(10))

    assert 1 == len(ledger.reserve_all(table("new", 11), limits(10), release=[each.token for each in before]))
    assert before == ledger.entries()


def test_a_repeated_table_counts_once(ledger: SqlLedger):
    """A table whose answer was lost is reserved again without taking room from itself."""
    first = table("t", 10)
    ledger.reserve_all(first, limits(10))
    changed = [replace(entry, estimated=USD // 2) for entry in first]

    assert [] == ledger.reserve_all(changed, limits(10))
    assert changed == ledger.entries()


def test_what_was_sent_is_not_released(ledger: SqlLedger):
    """Only reservations are released for which nothing was sent."""
    sent = [accepted(bought("sent"), "r-1"), unconfirmed(bought("lost"))]
    held = bought("held")
    for entry in (*sent, held):
        ledger.change(entry.token, lambda _, entry=entry: entry)
    ledger.release_all(["sent", "lost", "held", "unknown"])

    assert {released(held), *sent} == set(ledger.entries())


def test_a_table_of_10_000_rows_takes_few_statements(ledger: SqlLedger):
    """Reserving, reading and releasing a large table takes a statement for hundreds of rows, not one for each."""
    ledger.entries()
    told: list[str] = []

    @sa.event.listens_for(ledger._database.engine, "before_cursor_execute")
    def _told(connection, cursor, statement, parameters, context, many):
        told.append(statement)

    rows = table("t", 10_000, CENT)

    assert [] == ledger.reserve_all(rows, limits(200))
    assert 10_000 == len(ledger.of_task(OWNER))
    ledger.release_all([entry.token for entry in rows])
    assert 0 == ledger.used(limits(200)[0])
    assert len(told) < 100


def test_rows_are_found_with_their_task_or_alone(ledger: SqlLedger):
    """A task instance has the entries of all its rows and of none of its neighbours'."""
    alone, (row,) = bought("alone", reserved_at=NOON - 1), table("t", 1)
    neighbour = bought("n", owner=replace(OWNER, map_index=1, item="t-0"))
    for entry in (alone, row, neighbour):
        ledger.reserve(entry, [])

    assert [alone, row] == ledger.of_task(OWNER) == ledger.of_task(row.owner)
    assert ([alone], [row]) == (ledger.of_owner(OWNER), ledger.of_owner(row.owner))


def test_without_a_ledger_a_budget_is_refused_for_a_table_too():
    """Nothing could enforce it."""
    none = NoLedger("there is none")
    with pytest.raises(InvalidInput):
        none.reserve_all(table("t", 1), limits(1))

    assert ([], []) == (none.reserve_all(table("t", 1), []), none.of_task(OWNER))
