"""Polls at requests that people watch: few, shared, and never with a key for another host."""

from __future__ import annotations

import asyncio

import pytest

from airflow_provider_grokvideo.core.jobs import Pending
from airflow_provider_grokvideo.core.requests import TextToVideo
from airflow_provider_grokvideo.hooks.grokvideo import GrokVideoHook
from airflow_provider_grokvideo.plugins import live_status

pytestmark = pytest.mark.usefixtures("grokvideo_connection")


def submitted() -> str:
    """Start a video that takes its time."""
    return GrokVideoHook().submit(TextToVideo(prompt="A ball [[emulator: tempo=polls:99]]", duration=1))


async def test_all_who_watch_share_one_look(grokvideo_emulator):
    """However many pages are open."""
    request_id, polls = submitted(), live_status.Polls()
    first, at = await polls.at("grokvideo_default", request_id)
    others = await asyncio.gather(*(polls.at("grokvideo_default", request_id) for _ in range(20)))

    assert isinstance(first, Pending)
    assert {(first, at)} == set(others)
    assert 1 == grokvideo_emulator.polls[request_id]


async def test_many_requests_are_looked_at_one_after_the_other(grokvideo_emulator):
    """A gallery of a hundred takes no more from the pace of the triggerer than one."""
    requests, polls = [submitted() for _ in range(3)], live_status.Polls()
    for request_id in requests:
        await polls.at("grokvideo_default", request_id)

    assert 1 == sum(grokvideo_emulator.polls.get(request_id, 0) for request_id in requests)


async def test_a_request_is_looked_at_again_when_the_time_has_come(grokvideo_emulator, monkeypatch):
    """So that a page that stays open shows the progress."""
    request_id, polls = submitted(), live_status.Polls()
    await polls.at("grokvideo_default", request_id)
    now = live_status.time.time()
    monkeypatch.setattr(live_status.time, "time", lambda: now + live_status.BETWEEN_POLLS + 1)
    await polls.at("grokvideo_default", request_id)

    assert 2 == grokvideo_emulator.polls[request_id]


async def test_an_answer_without_a_number_takes_none_away(grokvideo_emulator, monkeypatch):
    """The service's first and third answer have no body; the progress told by the second stays on the page."""
    request_id, polls = submitted(), live_status.Polls()
    began, seen = live_status.time.time(), []
    for nth in range(3):
        monkeypatch.setattr(live_status.time, "time", lambda now=began + nth * (live_status.BETWEEN_POLLS + 1): now)
        seen.append(await polls.at("grokvideo_default", request_id))
    (first, _), (second, told_at), (third, at) = seen

    assert 3 == grokvideo_emulator.polls[request_id]
    assert first.progress is None
    assert second.progress is not None
    assert second == third
    assert told_at < at


@pytest.mark.parametrize(
    ("conn_id", "connection"),
    [
        ("http_default", '{"conn_type": "http", "host": "HOST", "password": "secret-of-another"}'),
        ("nowhere", None),
    ],
)
async def test_no_other_connection_is_used(grokvideo_emulator, monkeypatch, conn_id, connection):
    """A card names the connection, and people may edit cards: its key stays where it is."""
    request_id = submitted()
    if connection:
        host = grokvideo_emulator.base_url
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", connection.replace("HOST", host))
    before = len(grokvideo_emulator.requests)
    job, _ = await live_status.Polls().at(conn_id, request_id)

    assert job is None
    assert before == len(grokvideo_emulator.requests)
