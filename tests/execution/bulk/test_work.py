"""Threads that do one kind of job for many rows."""

from __future__ import annotations

import threading

import pytest

from airflow_provider_grokvideo.compat import AirflowTaskTimeout
from airflow_provider_grokvideo.execution.bulk import work
from airflow_provider_grokvideo.execution.bulk.work import THREADS, Crew

LONG = 60.0
"""Seconds that a test waits for an event at most."""


def test_every_job_is_done_once():
    """All jobs are done, each by one thread."""
    done: list[int] = []

    Crew(done.append).run(range(100))

    assert [*range(100)] == sorted(done)


def test_jobs_are_done_side_by_side():
    """As many jobs as there are threads run at the same moment, and no more."""
    together = threading.Barrier(THREADS)
    running, most = [], []

    def job(number: int) -> None:
        running.append(number)
        most.append(len(running))
        together.wait(LONG)
        running.remove(number)

    Crew(job).run(range(THREADS))

    assert THREADS == max(most)


def test_no_jobs_need_no_thread():
    """Nothing to do is done at once."""
    Crew(pytest.fail).run([])


def test_what_a_job_raises_ends_the_work():
    """The error of a job is raised in the thread that waits, and no further job begins."""
    done: list[int] = []

    def job(number: int) -> None:
        done.append(number)
        raise ValueError(number)

    with pytest.raises(ValueError, match=r"\d"):
        Crew(job).run(range(100))

    assert len(done) <= THREADS


def test_the_rest_is_left_undone_where_it_does_not_go_on():
    """Before each job it is asked whether to go on; those that have begun end."""
    done: list[int] = []

    Crew(done.append, lambda: len(done) < 3).run(range(100))

    assert 3 <= len(done) <= 3 + THREADS


def test_meanwhile_is_called_in_the_thread_that_waits(monkeypatch):
    """While jobs run the caller's own work is done in its own thread."""
    monkeypatch.setattr(work, "BETWEEN_LOOKS", 0.01)
    go, threads = threading.Event(), []

    def meanwhile() -> None:
        threads.append(threading.current_thread())
        go.set()

    Crew(lambda _: go.wait(LONG)).run([1], meanwhile)

    assert {threading.current_thread()} == {*threads}


def test_an_interruption_waits_for_the_jobs_that_run(monkeypatch):
    """execution_timeout begins no further job and is raised when those that run have ended."""
    monkeypatch.setattr(work, "BETWEEN_LOOKS", 0.01)
    begun, go, ended = threading.Event(), threading.Event(), []

    def job(number: int) -> None:
        begun.set()
        assert go.wait(LONG)
        ended.append(number)

    def timeout() -> None:
        assert begun.wait(LONG)
        # The jobs end only after the interruption has been raised.
        threading.Timer(0.05, go.set).start()
        raise AirflowTaskTimeout("execution_timeout")

    with pytest.raises(AirflowTaskTimeout):
        Crew(job).run(range(100), timeout)

    assert 1 <= len(ended) <= THREADS


def test_an_interruption_while_threads_begin_waits_too(monkeypatch):
    """execution_timeout that strikes before all threads have begun leaves none of them at work."""
    done, original = [], threading.Thread.start

    def start(thread: threading.Thread) -> None:
        original(thread)
        if thread.name == "grokvideo-row-1":
            raise AirflowTaskTimeout("execution_timeout")

    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(AirflowTaskTimeout):
        Crew(done.append).run(range(100_000))
    count = len(done)

    assert [] == [each for each in threading.enumerate() if each.name.startswith("grokvideo-row")]
    assert count == len(done)
