"""The trigger: one event, whatever the service does, and nothing secret in what Airflow stores of it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable

import pytest

from airflow_provider_grokvideo.core.requests import TextToVideo
from airflow_provider_grokvideo.hooks.grokvideo import GrokVideoHook
from airflow_provider_grokvideo.triggers import grokvideo
from airflow_provider_grokvideo.triggers.grokvideo import GrokVideoTrigger


def events(trigger: GrokVideoTrigger) -> list[dict]:
    """Run a trigger to its end."""

    async def collect() -> list[dict]:
        return [event.payload async for event in trigger.run()]

    return asyncio.run(collect())


def until(condition: Callable[[], bool]) -> None:
    """Wait for something that happens in another thread."""
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)


def submitted(words: str = "") -> str:
    """Submit a clip; `words` orders the emulator about."""
    return GrokVideoHook().submit(
        TextToVideo(prompt=f"A red ball [[emulator: {words or 'tempo=polls:2'}]]", duration=1)
    )


def trigger_for(request_id: str, **words) -> GrokVideoTrigger:
    """Return a trigger that looks often."""
    return GrokVideoTrigger(
        request_id=request_id, **{"deadline": time.time() + 30, "poll_interval": 0.05, "submitted_at": 1.0, **words}
    )


def test_serialize_makes_the_same_trigger_again():
    """A trigger made from its own serialization is the same, so a restarted triggerer goes on as before."""
    trigger = GrokVideoTrigger(
        request_id="r", grokvideo_conn_id="c", deadline=9.0, submitted_at=1.0, not_before=2.0, poll_interval=3.0
    )

    path, kwargs = trigger.serialize()

    assert "airflow_provider_grokvideo.triggers.grokvideo.GrokVideoTrigger" == path
    assert (path, kwargs) == GrokVideoTrigger(**kwargs).serialize()
    assert kwargs == json.loads(json.dumps(kwargs))


@pytest.mark.usefixtures("grokvideo_connection")
@pytest.mark.parametrize(
    "words",
    [
        pytest.param("tempo=at-once", id="done at once"),
        pytest.param("tempo=polls:3", id="done later"),
        pytest.param("tempo=polls:1 fault=moderated:a", id="moderated as done"),
        pytest.param("tempo=polls:1 fault=moderated:b", id="moderated as 400"),
        pytest.param("tempo=polls:1 fault=moderated:c", id="moderated as failed"),
        pytest.param("tempo=polls:1 fault=failed:internal_error", id="failed"),
        pytest.param("tempo=polls:1 fault=failed_string", id="failed as text"),
        pytest.param("tempo=polls:1 fault=expired", id="expired"),
        pytest.param("tempo=polls:1 fault=done_without_url", id="done without link"),
        pytest.param("tempo=polls:1 fault=openai_done", id="done in another dialect"),
    ],
)
def test_every_end_is_one_settled_event(words):
    """However a request ends, exactly one event says that it did, without link or price."""
    request_id = submitted(words)

    assert [
        {
            "version": 1,
            "request_id": request_id,
            "outcome": "settled",
            "submitted_at": 1.0,
            "error": None,
            "message": None,
            "advice": None,
            "service_id": None,
        }
    ] == events(trigger_for(request_id))


@pytest.mark.usefixtures("grokvideo_connection")
@pytest.mark.parametrize(
    "fault", ["http:503", "http:429", "http:500", "cut_before", "html_202", "html_200", "text_200"]
)
def test_a_failed_look_is_a_miss(grokvideo_emulator, fault):
    """A look that found nothing out says nothing about the video; the wait goes on and succeeds."""
    request_id = submitted()
    grokvideo_emulator.script(fault, on="poll", times=2)

    (event,) = events(trigger_for(request_id))

    assert "settled" == event["outcome"]
    assert grokvideo_emulator.polls[request_id] >= 2


@pytest.mark.usefixtures("grokvideo_connection")
def test_a_revoked_key_ends_the_wait(grokvideo_emulator):
    """A key that stops working is reported at once instead of being tried until the deadline."""
    request_id = submitted()
    grokvideo_emulator.script("revoked", times=None)

    (event,) = events(trigger_for(request_id))

    assert ("abandoned", "AuthenticationFailed") == (event["outcome"], event["error"])


@pytest.mark.usefixtures("grokvideo_connection")
def test_the_deadline_is_wall_clock(grokvideo_emulator):
    """A deadline that passed while nobody ran the trigger has passed: one last poll, then the timeout."""
    request_id = submitted("tempo=polls:99")

    (event,) = events(trigger_for(request_id, deadline=time.time() - 1))

    assert ("abandoned", "WaitTimeout") == (event["outcome"], event["error"])
    assert 1 == grokvideo_emulator.polls[request_id]


@pytest.mark.usefixtures("grokvideo_connection")
def test_a_video_that_finished_before_a_late_restart_is_not_lost():
    """A request found done at the last poll is settled although the deadline has passed."""
    request_id = submitted("tempo=at-once")

    (event,) = events(trigger_for(request_id, deadline=time.time() - 1))

    assert "settled" == event["outcome"]


def test_a_missing_connection_is_an_event(monkeypatch):
    """A connection that stays missing in the triggerer ends the wait with an error that can be raised as what it is."""
    monkeypatch.setattr(grokvideo, "MISSING_FOR", 0.0)

    (event,) = events(trigger_for("r", grokvideo_conn_id="nobody_home"))

    assert ("abandoned", "AuthenticationFailed") == (event["outcome"], event["error"])
    assert "does not exist" in event["message"]


@pytest.mark.usefixtures("grokvideo_connection")
def test_the_log_hears_news_and_not_every_look(logs):
    """Ten looks at a pending request are not ten lines."""
    request_id = submitted("tempo=polls:10")

    events(trigger_for(request_id))

    lines = [line for line in logs().splitlines() if f"Request {request_id} is" in line]
    assert len(lines) == 2
    assert any("pending" in line for line in lines)
    assert any("done" in line for line in lines)


def test_on_kill_says_what_goes_on(logs):
    """A user who kills a waiting task is told that the request keeps running and will be billed."""
    asyncio.run(trigger_for("r-123").on_kill())

    assert "Request r-123 keeps running at xAI and will be billed" in logs()


@pytest.mark.usefixtures("grokvideo_connection")
def test_a_cancelled_trigger_leaves_nothing_behind(grokvideo_emulator):
    """A trigger that is moved away closes its connections and leaves no task on the loop."""
    request_id = submitted("tempo=polls:99")

    async def cancelled() -> int:
        running = asyncio.ensure_future(anext(trigger_for(request_id).run()))
        await asyncio.to_thread(until, lambda: grokvideo_emulator.polls.get(request_id, 0) > 0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        return len(asyncio.all_tasks())

    assert 1 == asyncio.run(cancelled())
