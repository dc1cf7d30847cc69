"""Airflow's side of a task, as much of it as a task touches."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass, field
from datetime import datetime, timezone
from importlib import import_module
from typing import Any


@dataclass
class TaskInstance:
    """As much of Airflow's task instance as a task touches."""

    dag_id: str = "films"
    run_id: str = "manual__1"
    task_id: str = "make"
    map_index: int = -1
    try_number: int = 1
    max_tries: int = 1
    clears: int = 0
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


def adopt(ti: TaskInstance, request_id: str, store: StateStore | None) -> None:
    """Name a request for a task instance, as ``grokvideo journal adopt`` does; `store` or the path is its journal."""
    from airflow_provider_grokvideo.core.purchases import repairs
    from airflow_provider_grokvideo.core.purchases.records import Owner
    from airflow_provider_grokvideo.execution.task import backend_of

    owner = Owner(ti.dag_id, ti.run_id, ti.task_id, ti.map_index)
    backend = backend_of(owner, store)
    assert backend is not None
    edit = repairs.adopt(backend.records(), owner, request_id, token="found", now=time.time())
    assert isinstance(edit, repairs.Change), edit
    (backend.create if edit.is_new else backend.update)(edit.record)


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
    ours = {"not_before": None} if path.endswith((".GrokVideoTrigger", ".GrokVideoBulkTrigger")) else {}

    async def collect() -> list[Any]:
        trigger = getattr(import_module(module), name)(**{**kwargs, **ours})
        return [event.payload async for event in trigger.run()]

    return asyncio.run(collect())
