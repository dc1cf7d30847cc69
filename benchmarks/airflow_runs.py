"""Fifty videos in a real Airflow with four worker slots: waiting in the worker, the usual way to defer, and ours.

``python -m benchmarks.airflow_runs --out build/bench-airflow.json`` runs three DAGs one after the other, about
eleven minutes. Airflow's four components, SQLite and the emulator share this machine. Each DAG maps one task over all
videos, but ``bulk``, whose one task has them as its rows. Each video takes 30 s at the emulator; all are the same eight
seconds of 480p, so that they are rendered once, before the first run. The package is a copy with its bytecode, as an
installation has it. At the end each video is a file in a folder; ours is also decoded, hashed and has a sidecar.

Worker-slot seconds are the sum over time of the task instances in state ``running``, looked up five times a second.
CPU seconds are those of the executor's workers with their tasks, and of the triggerer with its children, as the system
counts them from the start of a run to its end.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped, unused-ignore]
from stack import AirflowStack

from benchmarks import costs
from benchmarks.emulator import Emulator

REPOSITORY = Path(__file__).resolve().parent.parent
DAGS = REPOSITORY / "benchmarks" / "dags"

VIDEOS = 50
SECONDS = 30.0
SLOTS = 4

NAMES = {
    "blocking": "blocking PythonOperator, 5 s",
    "usual": "usual deferrable operator, 5 s",
    "ours": "GrokVideoGenerateOperator",
    "bulk": "GrokVideoBulkOperator, one task",
}
"""What the table calls the DAGs, in the order of their runs."""

MAPPED = ("blocking", "usual", "ours")
"""DAGs with a task instance for each video."""

WARM_UP = "warm_up"
"""A DAG that is run first, so that the executor has all of its workers before anything is measured."""

_SAMPLING = 0.2


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table, write the JSON file; return 0, or 1 if a run did not make all videos."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=REPOSITORY / "build" / "bench-airflow.json", help="the JSON file")
    parser.add_argument("--videos", type=int, default=VIDEOS, help="videos of each run (%(default)s)")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="until a video is done (%(default)s)")
    parser.add_argument("--who", nargs="+", choices=list(NAMES), default=MAPPED, help="DAGs; the mapped ones if unset")
    wishes = parser.parse_args(arguments)
    measured = measure(
        wishes.videos, wishes.seconds, wishes.who, say=lambda line: print(line, file=sys.stderr, flush=True)
    )
    wishes.out.parent.mkdir(parents=True, exist_ok=True)
    wishes.out.write_text(json.dumps(measured, indent=2) + "\n")
    print(table(measured))
    return 0 if all(row["done"] == row["paid"] == wishes.videos for row in measured["rows"]) else 1


def measure(
    videos: int = VIDEOS,
    seconds: float = SECONDS,
    who: Iterable[str] = MAPPED,
    *,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Run the DAGs one after the other and return a row for each.

    Args:
        videos: Of each run; at most 64 mapped task instances run or wait at once.
        seconds: From the submit of a video until it is done.
        who: Names of DAGs.
        say: Told what comes next.

    Raises:
        ProcessFailed: Airflow or the emulator did not start.
        AirflowApiError: A run was not finished in time.
    """
    # It imports Airflow.
    from benchmarks.by_hand import REQUEST

    with ExitStack() as running:
        home = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="grokvideo-bench-airflow-")))
        say("starting the emulator and Airflow")
        emulator = running.enter_context(Emulator(home, f"seconds:{seconds:g}", REQUEST))
        env = {
            "AIRFLOW_CONN_GROKVIDEO_DEFAULT": json.dumps(emulator.connection),
            "GROKVIDEO_BENCH_OUT": str(home / "videos"),
            "GROKVIDEO_BENCH_VIDEOS": str(videos),
            "PYTHONPATH": os.pathsep.join((str(costs.installed_copy(home)), str(REPOSITORY))),
        }
        stack = running.enter_context(AirflowStack(home / "airflow", DAGS, env, parallelism=SLOTS))
        say("warming up")
        stack.api.wait_run(WARM_UP, stack.api.trigger(WARM_UP), timeout=300)
        rows = []
        for name in who:
            say(f"running the DAG {name}")
            rows.append(_run(name, stack, emulator, home / "videos" / name, videos, seconds))
    return {"videos": videos, "seconds": seconds, "slots": SLOTS, "rows": rows}


def table(measured: Mapping[str, Any]) -> str:
    """Return the table in Markdown."""
    rows = [
        f"| {measured['videos']} videos of {measured['seconds']:g} s, {measured['slots']} slots | wall s | × ideal "
        "| worker-slot s | CPU s of workers | CPU s of triggerer | polls / video | done | paid |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in measured["rows"]:
        numbers = (
            f"{row['wall_s']:.0f}",
            f"{row['wall_s'] / measured['seconds']:.1f}",
            f"{row['slot_s']:.0f}",
            f"{row['cpu_s']['workers']:.0f}",
            f"{row['cpu_s']['triggerer']:.1f}",
            f"{row['polls'] / measured['videos']:.1f}",
            str(row["done"]),
            str(row["paid"]),
        )
        rows.append(f"| {NAMES[row['who']]} | {' | '.join(numbers)} |")
    return "\n".join(rows)


def _run(
    name: str, stack: AirflowStack, emulator: Emulator, folder: Path, videos: int, seconds: float
) -> dict[str, Any]:
    emulator.reset()
    stack.api.wait_dag(name)
    before = _cpu(stack)
    with Slots(stack.home / "airflow.db", name) as slots:
        run_id = stack.api.trigger(name)
        state = slots.wait_run(stack, run_id, timeout=300 + videos / SLOTS * (seconds + 20))
    after = _cpu(stack)
    run = stack.api.call("GET", f"/dags/{name}/dagRuns/{run_id}")
    ledger = emulator.ledger()
    return {
        "who": name,
        "state": state,
        "wall_s": _seconds_between(run["start_date"], run["end_date"]),
        "slot_s": slots.seconds,
        "cpu_s": {part: after[part] - before[part] for part in after},
        "polls": sum(ledger["polls"].values()),
        "done": sum(1 for path in folder.glob("*.mp4") if path.stat().st_size > 0),
        "paid": len(ledger["starts"]),
    }


class Slots:
    """Counts, from a thread, how long how many task instances of a DAG are running.

    Args:
        database: Airflow's SQLite file; it is only read.
        dag_id: The DAG.
    """

    def __init__(self, database: Path, dag_id: str) -> None:
        self.seconds = 0.0
        self._database = database
        self._dag_id = dag_id
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Slots:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self._thread.join()

    def wait_run(self, stack: AirflowStack, run_id: str, timeout: float) -> str:
        """Wait for a run, asking Airflow only now and then, and return its state."""
        deadline = time.monotonic() + timeout
        while (state := stack.api.run_state(self._dag_id, run_id)) not in ("success", "failed"):
            if time.monotonic() > deadline:
                return stack.api.wait_run(self._dag_id, run_id, timeout=0)
            time.sleep(2)
        return state

    def _watch(self) -> None:
        with closing(sqlite3.connect(f"file:{self._database}?mode=ro", uri=True, timeout=5)) as database:
            last = time.monotonic()
            while not self._over.wait(_SAMPLING):
                with suppress(sqlite3.OperationalError):  # locked: the next poll counts for both
                    (count,) = database.execute(
                        "select count(*) from task_instance where dag_id = ? and state = 'running'", (self._dag_id,)
                    ).fetchone()
                    now = time.monotonic()
                    self.seconds += count * (now - last)
                    last = now


def _cpu(stack: AirflowStack) -> dict[str, float]:
    """Return the CPU seconds so far of Airflow's parts; the workers are the scheduler's children."""
    scheduler = psutil.Process(stack.pid("scheduler"))
    return {
        "workers": scheduler.cpu_times().children_user
        + scheduler.cpu_times().children_system
        + sum(map(_used, scheduler.children(recursive=True))),
        "triggerer": _with_children(stack, "triggerer"),
        "scheduler": sum(scheduler.cpu_times()[:2]),
        "api-server": _with_children(stack, "api-server"),
    }


def _with_children(stack: AirflowStack, name: str) -> float:
    process = psutil.Process(stack.pid(name))
    return _used(process) + sum(map(_used, process.children(recursive=True)))


def _used(process: psutil.Process) -> float:
    """Return the CPU seconds of a process and of those of its children that have ended; 0 if it is gone."""
    with suppress(psutil.Error):
        return float(sum(process.cpu_times()[:4]))
    return 0.0


def _seconds_between(start: str, end: str) -> float:
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()


if __name__ == "__main__":
    sys.exit(main())
