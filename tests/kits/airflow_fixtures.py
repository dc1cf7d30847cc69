"""Operators as Airflow drives them: execute, defer, trigger, resume, each with a fresh instance."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow_kit import Course, StateStore, TaskInstance, fire

from airflow_provider_grokvideo.compat import TaskDeferred


@pytest.fixture
def drive() -> Callable[..., Course]:
    """Return how to take a task from execute to its end, through a deferral where it asks for one."""

    def run(make: Callable[[], Any], ti: TaskInstance | None = None, store: StateStore | None = None) -> Course:
        course = Course(ti or TaskInstance())
        context = {
            "ti": course.ti,
            "task_state_store": store,
            "dag_run": SimpleNamespace(clear_number=course.ti.clears),
        }
        try:
            course.result = make().execute(context)
        except TaskDeferred as deferral:
            course.triggers.append(deferral.trigger.serialize())
            course.events = fire(*deferral.trigger.serialize())
            resumed = make()
            course.result = resumed.resume_execution(deferral.method_name, {"event": course.events[0]}, context)
        return course

    return run


@pytest.fixture
def logs(capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    """Return how to read all that was logged: Airflow's own loggers write to standard output."""
    caplog.set_level(logging.DEBUG)
    return lambda: caplog.text + "".join(capsys.readouterr())


@pytest.fixture(autouse=True)
def _no_ledger(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep no ledger, and with it no SQL journal, unless a test names one."""
    monkeypatch.setenv("AIRFLOW__GROKVIDEO__LEDGER_PATH", "none")


@pytest.fixture(params=["task_state_store", "journal_path", "sql"])
def backend(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StateStore | None:
    """Give tasks a journal, once in each home; return what goes into ``drive(store=)``."""
    if request.param == "task_state_store":
        return StateStore()
    if request.param == "sql":
        monkeypatch.setenv("AIRFLOW__GROKVIDEO__LEDGER_PATH", str(tmp_path / "ledger.db"))
        return None
    monkeypatch.setenv("AIRFLOW__GROKVIDEO__JOURNAL_PATH", str(tmp_path / "journal"))
    return None


@pytest.fixture
def ti() -> TaskInstance:
    """Return a task instance."""
    return TaskInstance()
