"""Operators as Airflow drives them: execute, defer, trigger, resume, each with a fresh instance."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import TaskDeferred


@dataclass
class TaskInstance:
    """As much of Airflow's task instance as a task touches."""

    dag_id: str = "films"
    run_id: str = "manual__1"
    task_id: str = "make"
    map_index: int = -1
    try_number: int = 1
    max_tries: int = 1
    start_date: datetime = field(default_factory=lambda: datetime.now(timezone.utc))
    xcoms: dict[str, Any] = field(default_factory=dict)

    def xcom_push(self, key: str, value: Any) -> None:
        """Keep a value."""
        self.xcoms[key] = value

    def xcom_pull(self, task_ids: str, key: str, map_indexes: int) -> Any:
        """Return a kept value."""
        return self.xcoms.get(key)

    def get_first_reschedule_date(self, context: Any) -> None:
        """Say that this is the first poke."""


class StateStore:
    """As Airflow's task state store: JSON values that outlive tries; what goes in comes out as new objects."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}

    def get(self, key: str, default: Any = None) -> Any:
        """Return a value."""
        return json.loads(self.values[key]) if key in self.values else default

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
        """Keep a value."""
        self.values[key] = json.dumps(value)

    def delete(self, key: str) -> None:
        """Forget a value."""
        self.values.pop(key, None)


@dataclass
class Course:
    """What happened to one task: its task instance, the events that crossed, and the result."""

    ti: TaskInstance
    events: list[dict[str, Any]] = field(default_factory=list)
    triggers: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    result: Any = None


def fire(path: str, kwargs: dict[str, Any]) -> list[Any]:
    """Run a trigger made anew from what it serialized, without the wait for the scheduler, and return its events."""
    module, _, name = path.rpartition(".")
    ours = {"not_before": None} if path.endswith(".GrokVideoTrigger") else {}

    async def collect() -> list[Any]:
        trigger = getattr(import_module(module), name)(**{**kwargs, **ours})
        return [event.payload async for event in trigger.run()]

    return asyncio.run(collect())


@pytest.fixture
def drive() -> Callable[..., Course]:
    """Return how to take a task from execute to its end, through a deferral where it asks for one."""

    def run(make: Callable[[], Any], ti: TaskInstance | None = None, store: StateStore | None = None) -> Course:
        course = Course(ti or TaskInstance())
        context = {"ti": course.ti, "task_state_store": store}
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


@pytest.fixture(params=["task_state_store", "journal_path"])
def home(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StateStore | None:
    """Give tasks a journal, once in each home; return what goes into ``drive(store=)``."""
    if request.param == "task_state_store":
        return StateStore()
    monkeypatch.setenv("AIRFLOW__GROKVIDEO__JOURNAL_PATH", str(tmp_path / "journal"))
    return None


@pytest.fixture
def ti() -> TaskInstance:
    """Return a task instance."""
    return TaskInstance()
