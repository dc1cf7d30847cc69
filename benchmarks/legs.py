"""Tasks driven as Airflow drives them, each leg in a process of its own, and what these processes use.

``python -m benchmarks.legs TASKS RESULT``: TASKS is a JSON file with a list of tasks (``operator``, ``map_index``,
``arguments``), RESULT gets what each came to. A leg is forked from a process that has imported Airflow, as those of
LocalExecutor and of Celery's workers are, and imports the operator itself. Triggers run in processes of their own, too,
without the wait for the scheduler; what they use is counted apart.
"""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from benchmarks import machine

_MOST_LEGS = 5_000


@dataclass
class TaskInstance:
    """As much of Airflow's task instance as a task touches."""

    task_id: str
    map_index: int = -1
    xcoms: dict[str, Any] = field(default_factory=dict)
    dag_id: str = "bench"
    run_id: str = "manual__1"
    try_number: int = 1
    max_tries: int = 1
    start_date: datetime = field(default_factory=lambda: datetime.now(timezone.utc))

    def xcom_push(self, key: str, value: Any) -> None:
        """Keep a value."""
        self.xcoms[key] = value

    def xcom_pull(self, task_ids: str, key: str, map_indexes: int) -> Any:
        """Return a kept value."""
        return self.xcoms.get(key)


@dataclass
class Course:
    """What a task came to.

    Attributes:
        legs: Processes of the worker.
        cpu_s: What they used, their start included.
        trigger_cpu_s: What the triggers used.
        peak_mb: The most memory that one of the legs had in RAM.
        xcom_bytes: The largest XCom as JSON, the result included.
        trigger_bytes: The largest arguments of a trigger as JSON.
        result: What the task returned.
    """

    legs: int = 0
    cpu_s: float = 0.0
    trigger_cpu_s: float = 0.0
    peak_mb: float = 0.0
    xcom_bytes: int = 0
    trigger_bytes: int = 0
    result: Any = None


def main(arguments: Sequence[str]) -> None:
    """Drive the tasks one after the other."""
    # The parent of all legs has what Airflow's own has.
    import airflow.sdk  # noqa: F401
    from airflow.sdk.execution_time import task_runner  # noqa: F401

    tasks, result = map(Path, arguments)
    courses = [asdict(drive(task)) for task in json.loads(tasks.read_text())]
    result.write_text(json.dumps(courses, default=str))


def drive(task: Mapping[str, Any]) -> Course:
    """Take a task from execute to its end."""
    course = Course()
    ti = TaskInstance(task["operator"], task.get("map_index", -1))
    method, event = "execute", None
    for _ in range(_MOST_LEGS):
        said, cpu = _in_child(lambda now=(method, event): _leg(task, ti, *now))  # type: ignore[misc]
        course.legs += 1
        course.cpu_s += cpu
        course.peak_mb = max(course.peak_mb, said["peak_mb"])
        ti.xcoms = said["xcoms"]
        course.xcom_bytes = max(course.xcom_bytes, *map(_size, [said["result"], *ti.xcoms.values()]))
        if said["trigger"] is None:
            course.result = said["result"]
            return course
        course.trigger_bytes = max(course.trigger_bytes, _size(said["trigger"][1]))
        event, cpu = _in_child(lambda trigger=said["trigger"]: _fire(*trigger))  # type: ignore[misc]
        course.trigger_cpu_s += cpu
        method = said["method"]
    raise RuntimeError(f"the task deferred {_MOST_LEGS} times")


def _leg(task: Mapping[str, Any], ti: TaskInstance, method: str, event: Any) -> dict[str, Any]:
    """Run one leg in this process; say what it returned or deferred to."""
    from airflow_provider_grokvideo.compat import TaskDeferred
    from airflow_provider_grokvideo.operators import grokvideo

    context: Any = {"ti": ti, "task_state_store": None, "dag_run": SimpleNamespace(clear_number=0)}
    operator = getattr(grokvideo, task["operator"])(task_id=ti.task_id, **task["arguments"])
    said: dict[str, Any] = {"result": None, "trigger": None, "method": None}
    try:
        if method == "execute":
            said["result"] = operator.execute(context)
        else:
            said["result"] = operator.resume_execution(method, {"event": event}, context)
    except TaskDeferred as deferral:
        said |= {"trigger": deferral.trigger.serialize(), "method": deferral.method_name}
    return {**said, "xcoms": ti.xcoms, "peak_mb": machine.peak_rss_mb()}


def _fire(path: str, kwargs: Mapping[str, Any]) -> Any:
    """Run a trigger made anew from what it serialized; return its event."""
    module, _, name = path.rpartition(".")

    async def first() -> Any:
        async for event in getattr(import_module(module), name)(**{**kwargs, "not_before": None}).run():
            return event.payload
        return None

    return asyncio.run(first())


def _in_child(do: Callable[[], Any]) -> tuple[Any, float]:
    """Do something in a process of its own; return what it returned, and the CPU seconds of the process.

    Raises:
        RuntimeError: It failed; the traceback is in the log.
    """
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder, "answer")
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                answer.write_bytes(pickle.dumps(do()))
                code = 0
            except BaseException:  # noqa: BLE001 - it must not run what its parent goes on with
                traceback.print_exc()
            os._exit(code)
        _, status, used = os.wait4(pid, 0)
        if status:
            raise RuntimeError(f"a process ended with status {status}")
        return pickle.loads(answer.read_bytes()), used.ru_utime + used.ru_stime  # noqa: S301 - our own child's


def _size(value: Any) -> int:
    return len(json.dumps(value, default=str))


if __name__ == "__main__":
    main(sys.argv[1:])
