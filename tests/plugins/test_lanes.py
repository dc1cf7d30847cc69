"""One storage that hangs stops no other, and whoever waits for it is answered."""

from __future__ import annotations

import asyncio
import threading

import pytest

from airflow_provider_grokvideo.plugins.lanes import Busy, Lanes


@pytest.fixture
def hole():
    """Return what a read of a storage that does not answer waits for."""
    closed = threading.Event()
    yield closed
    closed.set()


async def test_a_storage_that_hangs_stops_no_other(hole):
    """Its threads are its own."""
    lanes = Lanes(threads=2, limit=0.2)
    hung = [asyncio.ensure_future(lanes.run("s3://a", hole.wait)) for _ in range(5)]
    await asyncio.sleep(0)

    assert 7 == await lanes.run("file", lambda: 7)
    assert all(isinstance(each, Busy) for each in await asyncio.gather(*hung, return_exceptions=True))


async def test_a_storage_that_answers_again_is_read_again(hole):
    """What nobody waits for any more is not done."""
    lanes, done = Lanes(threads=1, limit=0.2), []
    for work in (hole.wait, lambda: done.append("late")):
        with pytest.raises(Busy):
            await lanes.run("s3://a", work)
    hole.set()
    patient = Lanes(threads=1)
    patient._busy, patient._queues, patient._lock = lanes._busy, lanes._queues, lanes._lock

    assert 7 == await patient.run("s3://a", lambda: 7)
    assert [] == done


async def test_there_are_no_more_threads_than_said(hole):
    """However many storages hang."""
    before = threading.active_count()
    lanes = Lanes(threads=2, lanes=3, limit=0.1)
    asked = [lanes.run(f"s3://{number % 9}", hole.wait) for number in range(90)]
    told = await asyncio.gather(*asked, return_exceptions=True)

    assert all(isinstance(each, Busy) for each in told)
    assert threading.active_count() - before <= 6


async def test_what_goes_wrong_in_a_thread_is_raised(hole):
    """Also where it is a timeout of its own."""
    for problem in (ValueError, TimeoutError, asyncio.TimeoutError):

        def fails(problem=problem):
            raise problem

        with pytest.raises(problem):
            await Lanes().run("file", fails)
