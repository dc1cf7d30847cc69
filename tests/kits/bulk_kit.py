"""Drive a bulk task as Airflow does: execute, defer, trigger, resume, as often as it asks for."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from airflow_kit import Course, StateStore, TaskInstance, fire

from airflow_provider_grokvideo.compat import TaskDeferred
from airflow_provider_grokvideo.operators.bulk import GrokVideoBulkOperator

FAST = " [[emulator: tempo=polls:1]]"
"""Ends a prompt whose video is finished at the second poll."""


def rows_of(count: int, **words: Any) -> list[dict[str, Any]]:
    """Return rows of short clips, with ids a0, a1, ..."""
    return [{"id": f"a{number}", "prompt": f"Clip {number}{FAST}", "duration": 1, **words} for number in range(count)]


def table_task(out: Path, rows: Any = None, **words: Any) -> Callable[[], GrokVideoBulkOperator]:
    """Return how to make the same task again and again, as Airflow does for every leg."""
    given = {
        "task_id": "make",
        "rows": rows,
        "destination": f"{out}/{{id}}.mp4",
        "poll_interval": 0.05,
        **words,
    }
    return lambda: GrokVideoBulkOperator(**given)


def context_of(ti: TaskInstance, store: StateStore | None = None) -> dict[str, Any]:
    """Return the context of a leg."""
    return {"ti": ti, "task_state_store": store, "dag_run": SimpleNamespace(clear_number=ti.clears)}


def drive_table(
    make: Callable[[], GrokVideoBulkOperator],
    ti: TaskInstance | None = None,
    store: StateStore | None = None,
    *,
    first: Callable[[GrokVideoBulkOperator, dict[str, Any]], Any] = lambda task, context: task.execute(context),
    between: Callable[[int], object] = lambda leg: None,
    most: int = 200,
) -> Course:
    """Take a task from execute to its end; `first` runs the first leg, `between` is called before each other one."""
    course = Course(ti or TaskInstance())
    context = context_of(course.ti, store)

    def begin() -> Any:
        return first(make(), context)

    leg = begin
    for number in range(1, most):
        try:
            course.result = leg()
        except TaskDeferred as deferral:
            path, kwargs = deferral.trigger.serialize()
            course.triggers.append((path, kwargs))
            event = fire(path, kwargs)[0]
            course.events.append(event)
            between(number)

            def resumed(method: str = deferral.method_name, event: Any = event) -> Any:
                return make().resume_execution(method, {"event": event}, context)

            leg = resumed
        else:
            return course
    raise AssertionError(f"the task deferred {most} times")


def again(ti: TaskInstance, *, cleared: bool = False) -> TaskInstance:
    """Return the task instance of the next try: a retry, or after a clear."""
    tries = ti.max_tries + 1 if cleared else ti.max_tries
    return TaskInstance(
        ti.dag_id, ti.run_id, ti.task_id, ti.map_index, ti.try_number + 1, tries, ti.clears + int(cleared)
    )


def lines_of(place: str | Path) -> list[dict[str, Any]]:
    """Read a JSONL table, around our code."""
    path = Path(str(place).removeprefix("file://"))
    return [json.loads(line) for line in path.read_text().splitlines()]


def by_id(lines: Sequence[Mapping[str, Any]], column: str) -> dict[str, Any]:
    """Return a column of a table by the ids."""
    return {line["id"]: line[column] for line in lines}
