"""The flight of a large table is read once from the journal of its rows; the triggerer does not write there."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from crowd_kit import crowd_service

from airflow_provider_grokvideo.core.bulk import rounds
from airflow_provider_grokvideo.core.bulk.rounds import InFlight, RoundEvent
from airflow_provider_grokvideo.core.errors import GrokVideoError, JournalUnavailable
from airflow_provider_grokvideo.core.polling import decisions
from airflow_provider_grokvideo.core.purchases.records import Owner, Record
from airflow_provider_grokvideo.journal.items import FileItems, Items, SqlItems
from airflow_provider_grokvideo.ledger.settings import open_sql_journal
from airflow_provider_grokvideo.storage.directories import open_tree
from airflow_provider_grokvideo.triggers.bulk import GrokVideoBulkTrigger
from airflow_provider_grokvideo.triggers.flight import read_flight

OWNER = Owner("films", "manual__1", "make")


@pytest.fixture(params=["files", "sql"])
def items(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Items:
    """Return the rows' journal of the task instance, as the settings say."""
    if request.param == "files":
        monkeypatch.setenv("AIRFLOW__GROKVIDEO__JOURNAL_PATH", str(tmp_path / "journal"))
        return FileItems(open_tree(str(tmp_path / "journal")), OWNER)
    return sql_items(tmp_path, monkeypatch)


def sql_items(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Items:
    """Return the rows' journal in a database."""
    monkeypatch.setenv("AIRFLOW__GROKVIDEO__LEDGER_PATH", str(tmp_path / "ledger.db"))
    journal = open_sql_journal()
    assert journal is not None
    return SqlItems(journal, OWNER)


def write(items: Items, name: str, submitted_at: float, **facts: object) -> None:
    """Write the record of a row."""
    items.of(name).create(record_of(name, submitted_at, **facts))


def record_of(name: str, submitted_at: float, **facts: object) -> Record:
    """Return the record of a row that was submitted."""
    given = {"request_id": name, "submitted_at": submitted_at, "phase": "submitted", **facts}
    return Record(replace(OWNER, item=name), 1, name, fingerprint="f", asked="a", intended_at=submitted_at, **given)


def test_the_flight_is_read_from_the_journal(items):
    """Requests without an end are read with their deadlines, those submitted first at the beginning."""
    write(items, "b", 200.0)
    write(items, "a", 100.0)
    write(items, "gone", 50.0, phase="ended", outcome="failed")
    write(items, "stored", 50.0, phase="delivered")

    assert [InFlight("a", 100.0, 130.0), InFlight("b", 200.0, 220.0)] == read_flight(OWNER, patience=30, latest=220.0)


def test_another_task_instance_has_its_own_flight(items):
    """Only the rows of the task instance itself are read."""
    write(items, "a", 100.0)

    assert [] == read_flight(replace(OWNER, map_index=0), patience=30, latest=None)


def test_no_journal_in_the_settings_is_told():
    """A triggerer without the workers' settings says so, and does not look again."""
    with pytest.raises(GrokVideoError) as problem:
        read_flight(OWNER, patience=30, latest=None)

    assert not isinstance(problem.value, JournalUnavailable)
    assert "ledger_conn_id" in str(problem.value)


def trigger_for(count: int = 1000, **words: object) -> GrokVideoBulkTrigger:
    """Return a trigger that reads the journal."""
    now = time.time()
    flight = [InFlight("x" * 36, now, now + 60) for _ in range(count)]
    made = GrokVideoBulkTrigger.of_flight(flight, owner=OWNER, patience=60, latest=now + 60, poll_interval=0.5)
    return GrokVideoBulkTrigger(**{**made.serialize()[1], **words})


async def event_of(trigger: GrokVideoBulkTrigger) -> RoundEvent:
    """Run a trigger to its end."""
    (event,) = [event.payload async for event in trigger.run()]
    return rounds.parse(event)


def test_a_journal_that_cannot_be_read_for_a_while_ends_no_wait(tmp_path, monkeypatch, logs):
    """A short failure of the journal's database is repeated, and the wait goes on."""
    (tmp_path / "ledger.db").mkdir()
    sql_items(tmp_path, monkeypatch)
    monkeypatch.setattr(decisions, "DEFAULT_INTERVAL", 0.05)

    def repair() -> None:
        deadline = time.monotonic() + 20
        while "cannot be read" not in logs() and time.monotonic() < deadline:
            time.sleep(0.02)
        (tmp_path / "ledger.db").rmdir()

    async def broken_then_repaired() -> RoundEvent:
        repairing = asyncio.ensure_future(asyncio.to_thread(repair))
        event = await event_of(trigger_for())
        await repairing
        return event

    assert RoundEvent(None) == asyncio.run(broken_then_repaired())


def test_a_journal_that_stays_unreadable_is_an_event(tmp_path, monkeypatch):
    """After the last deadline the worker is told that the journal cannot be read."""
    (tmp_path / "ledger.db").mkdir()
    sql_items(tmp_path, monkeypatch)

    event = asyncio.run(event_of(trigger_for(latest=time.time() - 1)))

    assert (None, "JournalUnavailable") == (event.ended, event.problem)


def test_a_thousand_requests_in_one_trigger_never_stop_the_loop(tmp_path, monkeypatch):
    """A thousand requests are read and waited for: 200 wake the worker, over few sockets, with short steps only."""
    sql_items(tmp_path, monkeypatch)
    names = [f"video-{index}" for index in range(1000)]
    now = time.time()
    journal = open_sql_journal()
    assert journal is not None
    records = [record_of(name, now) for name in names]
    journal.database.transact(lambda open_: [journal.of(each.owner).insert(open_, each) for each in records])
    with crowd_service(tmp_path) as address:
        connection = {"conn_type": "grokvideo", "host": f"{address}/v1", "password": "xai-some-key"}
        monkeypatch.setenv("AIRFLOW_CONN_GROKVIDEO_DEFAULT", json.dumps(connection))
        work = [(name, 1.0, "grok-imagine-video", 5, 1) for name in names]
        httpx.post(f"{address}/control/work", json=work, trust_env=False).raise_for_status()
        event, longest, tasks = asyncio.run(measured())
        counts = httpx.get(f"{address}/control/counts", trust_env=False).json()

    assert event.ended is not None
    assert 200 <= len(event.ended) <= 210
    assert [1] == [*{*Counter(event.ended).values()}]
    assert counts["connections"] <= 8
    assert 1 == tasks
    # The first step makes the HTTP client, 0.1 s. Work on all requests for each finished one would take seconds.
    assert longest < 0.6


async def measured() -> tuple[RoundEvent, float, int]:
    """Run a trigger; return its event, the CPU seconds of its longest step, and the tasks that are left."""
    longest = 0.0

    async def tick() -> None:
        nonlocal longest
        while True:
            before = time.thread_time()
            await asyncio.sleep(0.01)
            longest = max(longest, time.thread_time() - before)

    ticking = asyncio.ensure_future(tick())
    event = await event_of(trigger_for())
    ticking.cancel()
    await asyncio.wait([ticking])
    return event, longest, len(asyncio.all_tasks())
