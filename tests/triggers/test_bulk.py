"""The trigger of a bulk task: one event for many requests, and nothing left behind."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from airflow_provider_grokvideo.core.bulk import rounds
from airflow_provider_grokvideo.core.bulk.rounds import InFlight, RoundEvent
from airflow_provider_grokvideo.core.purchases.records import Owner
from airflow_provider_grokvideo.core.requests import TextToVideo
from airflow_provider_grokvideo.hooks.grokvideo import GrokVideoHook
from airflow_provider_grokvideo.triggers import poller
from airflow_provider_grokvideo.triggers.bulk import GrokVideoBulkTrigger

OWNER = Owner("films", "manual__1", "make", 3)


async def the_event(trigger: GrokVideoBulkTrigger) -> RoundEvent:
    """Run a trigger, made anew from its serialization, to its end; check that it yields one event of 16 kB at most."""
    (event,) = [event.payload async for event in GrokVideoBulkTrigger(**trigger.serialize()[1]).run()]
    assert len(json.dumps(event)) <= 16_000
    return rounds.parse(event)


async def first(trigger: GrokVideoBulkTrigger) -> Any:
    """Return the payload of a trigger's event."""
    return (await anext(trigger.run())).payload


def event_of(trigger: GrokVideoBulkTrigger) -> RoundEvent:
    """Run a trigger to its end in a loop of its own; check that it leaves no task and no poller."""

    async def alone() -> tuple[RoundEvent, int, int]:
        event = await the_event(trigger)
        return event, len(asyncio.all_tasks()), len(poller._here.pollers)

    event, tasks, pollers = asyncio.run(alone())
    assert (1, 0) == (tasks, pollers)
    return event


def until(condition: Callable[[], bool]) -> None:
    """Wait for something that happens in another thread."""
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)


def submitted(words: str = "tempo=polls:2", **facts: Any) -> InFlight:
    """Submit a clip; `words` orders the emulator about."""
    request_id = GrokVideoHook().submit(TextToVideo(prompt=f"A red ball [[emulator: {words}]]", duration=1))
    return InFlight(request_id, **{"submitted_at": time.time(), "deadline": time.time() + 30, **facts})


def trigger_for(flight: list[InFlight], **words: Any) -> GrokVideoBulkTrigger:
    """Return a trigger that looks often."""
    return GrokVideoBulkTrigger.of_flight(flight, **{"owner": OWNER, "patience": 900.0, "poll_interval": 0.05, **words})


def named(count: int) -> list[InFlight]:
    """Return requests that nobody has submitted."""
    now = time.time()
    return [
        InFlight(str(UUID(int=2**127 + index)), now + index / 3, now + 900 + index / 3, f"generate/m/{index % 50}")
        for index in range(count)
    ]


def test_serialize_makes_the_same_trigger_again():
    """A trigger made from its own serialization is the same, and its arguments are plain JSON."""
    path, kwargs = trigger_for(named(3), not_before=5.0, grokvideo_conn_id="c").serialize()

    assert "airflow_provider_grokvideo.triggers.bulk.GrokVideoBulkTrigger" == path
    assert kwargs == json.loads(json.dumps(kwargs))
    assert (path, kwargs) == GrokVideoBulkTrigger(**kwargs).serialize()


def test_200_requests_are_named():
    """The arguments name up to 200 requests in 16 kB, so that the journal need not be read."""
    _, kwargs = trigger_for(named(rounds.MOST_NAMED), grokvideo_conn_id="c" * 200).serialize()

    assert rounds.MOST_NAMED == len(kwargs["requests"]["requests"])
    assert len(json.dumps(kwargs)) <= 16_000


def test_a_larger_flight_is_read_from_the_journal():
    """The arguments of a trigger for 1,000 requests say where they are and how long they are waited for."""
    _, kwargs = trigger_for(named(1000), latest=9e9).serialize()

    assert (None, ["films", "manual__1", "make", 3], 1000, 900.0, 9e9) == (
        kwargs["requests"],
        kwargs["owner"],
        kwargs["most"],
        kwargs["patience"],
        kwargs["latest"],
    )


def test_without_a_readable_journal_the_first_requests_are_waited_for():
    """A flight that does not fit and cannot be read is cut, not an error after the money."""
    _, kwargs = trigger_for(named(1000), owner=None).serialize()

    assert 150 <= len(kwargs["requests"]["requests"]) < 1000
    assert len(json.dumps(kwargs)) <= 16_000


@pytest.mark.usefixtures("grokvideo_connection")
def test_the_key_is_not_in_the_arguments(grokvideo_emulator):
    """What Airflow stores of a trigger has no key, before and after it has waited."""
    trigger = trigger_for([submitted("tempo=at-once")])
    asyncio.run(first(trigger))

    assert grokvideo_emulator.api_key not in json.dumps(trigger.serialize())


@pytest.mark.usefixtures("grokvideo_connection")
@pytest.mark.parametrize(
    "words", ["tempo=at-once", "tempo=polls:2", "tempo=polls:1 fault=moderated:a", "tempo=polls:1 fault=expired"]
)
def test_a_request_that_ends_in_any_way_has_ended(words):
    """However a request ends, the event names it and the worker finds out how."""
    request = submitted(words)

    assert RoundEvent((request.request_id,)) == event_of(trigger_for([request]))


@pytest.mark.usefixtures("grokvideo_connection")
def test_a_quarter_of_the_flight_wakes_the_worker(logs):
    """Two of eight requests are enough, and the log has one line for the begin and one for the end."""
    flight = [
        *(submitted("tempo=polls:9999") for _ in range(6)),
        submitted("tempo=polls:2"),
        submitted("tempo=polls:3"),
    ]
    event = event_of(trigger_for(flight))
    lines = [line for line in logs().splitlines() if "requests" in line]

    assert {each.request_id for each in flight[6:]} == set(event.ended or ())
    assert event.as_error() is None
    assert 1 == sum("Waiting for 8 requests; first poll in 0 s" in line for line in lines)
    assert 1 == sum("2 of 8 requests have finished" in line for line in lines)
    assert not any(each.request_id in line for each in flight for line in lines)


@pytest.mark.usefixtures("grokvideo_connection")
def test_one_that_has_waited_long_enough_wakes_the_worker(monkeypatch):
    """A finished request does not wait for a quarter of the flight."""
    monkeypatch.setattr(rounds, "WAKE_AFTER", 0.2)
    flight = [*(submitted("tempo=polls:9999") for _ in range(7)), submitted("tempo=at-once")]

    assert (flight[-1].request_id,) == event_of(trigger_for(flight)).ended


@pytest.mark.usefixtures("grokvideo_connection")
def test_progress_is_logged(monkeypatch, logs):
    """While it waits, the log says how many requests have finished."""
    monkeypatch.setattr(rounds, "SAY_EVERY", 0.1)
    monkeypatch.setattr(rounds, "WAKE_AFTER", 1.0)
    event_of(trigger_for([*(submitted("tempo=polls:9999") for _ in range(7)), submitted("tempo=at-once")]))

    assert "7 of 8 requests are waiting, 1 finished" in logs()


@pytest.mark.usefixtures("grokvideo_connection")
def test_a_passed_deadline_has_ended(grokvideo_emulator):
    """A request whose deadline passed while nobody ran the trigger gets one poll, and the worker judges."""
    late = submitted("tempo=polls:99", deadline=time.time() - 1)
    event = event_of(trigger_for([late, submitted("tempo=polls:9999"), submitted("tempo=polls:9999")]))

    assert RoundEvent((late.request_id,)) == event
    assert 1 == grokvideo_emulator.polls[late.request_id]


@pytest.mark.usefixtures("grokvideo_connection")
def test_a_refused_key_ends_the_wait_of_all(grokvideo_emulator):
    """A key that stops working is one event at once, long before a quarter of the flight was refused."""
    flight = [submitted("tempo=polls:9999") for _ in range(40)]
    grokvideo_emulator.script("revoked", times=None)
    event = event_of(trigger_for(flight))

    assert "AuthenticationFailed" == event.problem
    assert 3 <= len(event.ended or ()) < 40


@pytest.mark.usefixtures("grokvideo_connection")
def test_a_failed_poll_is_a_miss(grokvideo_emulator, logs):
    """Polls that fail say nothing about the videos; the log says so once, whatever the number of requests."""
    flight = [submitted() for _ in range(3)]
    grokvideo_emulator.script("http:503", on="poll", times=6)
    event = event_of(trigger_for(flight))

    assert {*(event.ended or ())} <= {each.request_id for each in flight}
    assert event.as_error() is None
    assert 1 == logs().count("will poll again")


def test_a_missing_connection_is_an_event():
    """A connection that is still missing after the last deadline ends the wait of all with an error of its class."""
    now = time.time()
    event = event_of(
        trigger_for([InFlight("r", now, now - 1), InFlight("s", now, now - 1)], grokvideo_conn_id="nobody_home")
    )

    assert ("AuthenticationFailed", None) == (event.problem, event.ended)


def test_no_request_is_an_event():
    """A flight of nothing wakes the worker, which looks at all rows."""
    assert RoundEvent(None) == event_of(trigger_for([]))


def test_the_event_does_not_come_too_early():
    """Airflow 3.3 can fail a task that resumes before its deferral was processed, so even an early event waits."""
    not_before = time.time() + 0.3
    event_of(trigger_for([], not_before=not_before))

    assert not_before <= time.time()


@pytest.mark.usefixtures("grokvideo_connection")
def test_a_cancelled_trigger_leaves_nothing_behind(grokvideo_emulator):
    """A trigger that is moved away cancels all waits, closes its connections and leaves no task on the loop."""
    flight = [submitted("tempo=polls:9999") for _ in range(30)]

    async def cancelled() -> tuple[int, int]:
        running = asyncio.ensure_future(first(trigger_for(flight)))
        await asyncio.to_thread(until, lambda: sum(grokvideo_emulator.polls.values()) >= 30)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        return len(asyncio.all_tasks()), len(poller._here.pollers)

    assert (1, 0) == asyncio.run(cancelled())


@pytest.mark.parametrize(
    ("trigger", "count"),
    [
        pytest.param(lambda: trigger_for(named(20)), 20, id="named"),
        pytest.param(lambda: trigger_for(named(1000)), 1000, id="in the journal"),
    ],
)
def test_on_kill_says_how_many_go_on(trigger, count, logs):
    """A user who kills a waiting task is told how many requests keep running and will be billed."""
    asyncio.run(trigger().on_kill())

    assert f"{count} requests keep running at xAI and will be billed" in logs()
