"""A process of its own that runs tries of tables in forks and kills them at random moments with SIGKILL.

Each leg of a try is a process, as in Airflow; the trigger is one that is never killed. It speaks JSON lines: what
became of each table on standard output, and where a try ends with unconfirmed rows, a question, whose answer it reads
from standard input: the request id of each of these rows as the service's console shows it, or null.
"""

from __future__ import annotations

import json
import os
import random
import select
import signal
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

from airflow_kit import TaskInstance, fire
from bulk_kit import context_of, lines_of, table_task

DEFERRED, UNFINISHED, FAILED, BROKEN = 3, 4, 5, 6
MOST_TRIES = 14
MOST_KILLS = 4
"""Of one table; more would mean that few tries get further than the beginning."""


def spent(work: Any, *given: Any, after: float | None = None) -> int:
    """Do something in a fork, kill it after some seconds, and return its exit code, negative for a signal."""
    child = os.fork()
    if child == 0:
        code = BROKEN
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            code = work(*given)
        except BaseException as problem:  # noqa: BLE001 - told by the exit code
            sys.stderr.write(f"{problem!r}\n")
        finally:
            sys.stderr.flush()
            os._exit(code)
    handle = os.pidfd_open(child)
    over, _, _ = select.select([handle], [], [], after)
    if not over:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    os.close(handle)
    return os.waitstatus_to_exitcode(status)


class Table:
    """One table and the processes that work on it.

    Args:
        spec: Of the whole run.
        number: Of the table.
        words: Arguments of the operator.
    """

    def __init__(self, spec: dict[str, Any], number: int, words: dict[str, Any]) -> None:
        self.run_id = f"run-{number}"
        self.place = Path(spec["folder"]) / str(number)
        self.place.mkdir(parents=True)
        # A kill may hit the middle of any step, waiting included.
        rows = [
            {"id": f"r{row}", "duration": 1, "prompt": f"Table {number} row {row} [[emulator: tempo=polls:{row % 2}]]"}
            for row in range(spec["rows"])
        ]
        self.make = table_task(self.place, rows, **words)

    def leg(self, attempt: int, deferral: dict[str, Any] | None) -> int:
        """Run one leg of a try; what a later leg needs goes into a file, as it goes into Airflow's database."""
        from airflow_provider_grokvideo.compat import TaskDeferred
        from airflow_provider_grokvideo.core.errors import GrokVideoError, RowsFailed

        ti = TaskInstance(run_id=self.run_id, try_number=attempt, max_tries=MOST_TRIES)
        context = context_of(ti)
        try:
            if deferral is None:
                self.make().execute(context)
            else:
                ti.xcoms.update(deferral["xcoms"])
                self.make().resume_execution(deferral["method"], {"event": deferral["event"]}, context)
        except TaskDeferred as paused:
            path, kwargs = paused.trigger.serialize()
            kept = {"method": paused.method_name, "trigger": [path, kwargs], "xcoms": ti.xcoms}
            self.write("deferral", kept)
            return DEFERRED
        except RowsFailed as error:
            sys.stderr.write(f"{self.run_id} try {attempt}: {error}\n")
            return UNFINISHED
        except GrokVideoError as error:
            sys.stderr.write(f"{self.run_id} try {attempt}: {error!r}\n")
            return FAILED
        return 0

    def trigger(self) -> int:
        """Run the trigger of a deferral."""
        found = self.read("deferral")
        (event,) = fire(*found["trigger"])
        self.write("deferral", {**found, "event": event})
        return 0

    def tried(self, attempt: int, after: float | None) -> tuple[int, float]:
        """Run one try, whose processes may live for so many seconds together; return its code and how long they did."""
        code, lived, deferral = DEFERRED, 0.0, None
        while code == DEFERRED:
            begun = time.monotonic()
            code = spent(self.leg, attempt, deferral, after=None if after is None else max(0.0, after - lived))
            lived += time.monotonic() - begun
            if code == DEFERRED:
                if spent(self.trigger):
                    raise RuntimeError(f"the trigger of {self.run_id} failed")
                deferral = self.read("deferral")
        return code, lived

    def unconfirmed(self) -> list[str]:
        """Return the rows that the result table says are unconfirmed."""
        return [line["id"] for line in lines_of(self.place / "make.jsonl") if line["status"] == "unconfirmed"]

    def settle(self, answers: dict[str, str | None]) -> int:
        """Do what the advice says: adopt what the console shows, forget what it does not."""
        from airflow_provider_grokvideo.__main__ import main as command

        for row, request_id in answers.items():
            owner = ["films", self.run_id, "make"]
            what = ["forget", *owner] if request_id is None else ["adopt", *owner, request_id]
            if command(["journal", *what, "--item", row]):
                return FAILED
        return 0

    def write(self, name: str, value: Any) -> None:
        """Keep something between two processes."""
        (self.place / f".{name}").write_text(json.dumps(value))

    def read(self, name: str) -> Any:
        """Return what was kept."""
        return json.loads((self.place / f".{name}").read_text())


def say(told: dict[str, Any]) -> None:
    """Write a line of JSON."""
    sys.stdout.write(f"{json.dumps(told)}\n")
    sys.stdout.flush()


def brought_to_its_end(table: Table, number: int, dice: random.Random, lasts: float) -> dict[str, Any]:
    """Kill some tries of a table, let the next ones run, and settle what is unconfirmed."""
    told: dict[str, Any] = {"number": number, "kills": 0, "questions": 0, "end": None}
    for attempt in range(1, MOST_TRIES):
        after = dice.uniform(0, lasts) if told["kills"] < MOST_KILLS and attempt <= MOST_KILLS else None
        code, _ = table.tried(attempt, after)
        if code == -signal.SIGKILL:
            told["kills"] += 1
        elif code == 0:
            told["end"] = "delivered"
            break
        elif code == UNFINISHED:
            rows = table.unconfirmed()
            told["questions"] += len(rows)
            say({"question": number, "rows": rows})
            if spent(table.settle, json.loads(sys.stdin.readline())):
                raise RuntimeError(f"the rows {rows} of table {number} could not be settled")
        elif code != FAILED:
            raise RuntimeError(f"a try of table {number} ended with {code}")
    return told


def main() -> None:
    """Kill tries until there were enough, and bring each table to its end."""
    spec = json.loads(sys.argv[1])
    for name in ("delivery.deliver", "operators.grokvideo", "execution.inputs", "execution.bulk.run", "triggers.bulk"):
        # A fork has it then.
        import_module(f"airflow_provider_grokvideo.{name}")

    dice = random.Random(spec["seed"])
    kills = number = 0
    lasts: dict[bool, float] = {}
    for deferrable in (True, False):
        code, lasts[deferrable] = Table(spec, number, {"deferrable": deferrable}).tried(1, None)
        number += 1
        if code:
            raise RuntimeError(f"a table that nobody killed ended with {code}")
    while kills < spec["kills"]:
        words = {"deferrable": dice.random() < 0.5, "max_in_flight": dice.choice([4, 20, 40])}
        told = brought_to_its_end(Table(spec, number, words), number, dice, lasts[words["deferrable"]])
        kills += told["kills"]
        number += 1
        say(told)


if __name__ == "__main__":
    main()
