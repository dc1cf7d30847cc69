"""What a run with faults is judged by: the emulator's ledger and the files, per task instance, and their sums."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import av
from stack import AirflowStack

from airflow_provider_grokvideo.emulator import Emulator
from airflow_provider_grokvideo.emulator.ledger import Start

SETTLE_SECONDS = 180.0


class Clock:
    """The emulator's clock, which a test can move ahead: what takes long is done when the test says so."""

    def __init__(self) -> None:
        self._ahead = 0.0

    def __call__(self) -> float:
        """Return epoch seconds."""
        return time.time() + self._ahead

    def skip(self, seconds: float) -> None:
        """Move ahead."""
        self._ahead += seconds


@dataclass(frozen=True)
class Purchase:
    """What one task instance bought and what it has got.

    Attributes:
        place: ``<dag>/<run>/<task>/<map index>``.
        starts: The starts that the service accepted from it.
        delivered: The request id that the sidecar of its video names; None without a video that plays.
    """

    place: str
    starts: tuple[Start, ...]
    delivered: str | None

    @property
    def is_right(self) -> bool:
        """Whether it bought once and has just that video."""
        return [self.delivered] == [start.request_id for start in self.starts]


@dataclass(frozen=True)
class Row:
    """One line of the table: what was done to some task instances, and what came of it.

    Attributes:
        scenario: What was done, in words.
        backend: Backend of the journal.
        tasks: Task instances.
        faults: Faults that struck.
        starts: Starts that the service accepted.
        delivered: Task instances with a video that plays and is the one they bought.
        lost: Task instances that bought and have no video.
        told: Starts beyond the first of a task instance that the user had allowed.
        doubles: All other starts beyond the first.
        person: Whether somebody had to say how to go on.
    """

    scenario: str
    backend: str
    tasks: int
    faults: int
    starts: int
    delivered: int
    lost: int
    told: int
    doubles: int
    person: bool


@dataclass
class Tally:
    """The rows of a session."""

    rows: list[Row] = field(default_factory=list)

    def add(
        self,
        scenario: str,
        backend: str,
        purchases: Sequence[Purchase],
        *,
        faults: int,
        allowed: int = 0,
        person: bool = False,
    ) -> Row:
        """Add a row; `allowed` is how many further starts the user had allowed."""
        further = sum(max(0, len(each.starts) - 1) for each in purchases)
        row = Row(
            scenario,
            backend,
            tasks=len(purchases),
            faults=faults,
            starts=sum(len(each.starts) for each in purchases),
            delivered=sum(each.delivered is not None for each in purchases),
            lost=sum(bool(each.starts) and each.delivered is None for each in purchases),
            told=min(further, allowed),
            doubles=max(0, further - allowed),
            person=person,
        )
        self.rows.append(row)
        return row

    def write(self, path: Path, **facts: Any) -> None:
        """Write the rows, with further facts about the run, as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({**facts, "rows": [asdict(row) for row in self.rows]}, indent=2) + "\n")


def purchases(emulator: Emulator, out: Path, tasks: Iterable[dict[str, Any]]) -> list[Purchase]:
    """Return what each task instance of the REST API bought, and what of that is under its destination."""
    starts = emulator.starts
    found = []
    for ti in tasks:
        place = f"{ti['dag_id']}/{ti['dag_run_id']}/{ti['task_id']}/{ti['map_index']}"
        own = tuple(start for start in starts if start.prompt.split()[0] == place)
        found.append(Purchase(place, own, delivered(out / f"{place}.mp4", own)))
    return found


def delivered(video: Path, starts: Iterable[Start]) -> str | None:
    """Return which of the starts a file is the video of: it plays for a second, and its sidecar names the request."""
    sidecar = video.with_suffix(".json")
    if not video.exists() or not sidecar.exists() or round(seconds_of(video)) != 1:
        return None
    request_id = json.loads(sidecar.read_text())["request_id"]
    return request_id if request_id in [start.request_id for start in starts] else None


def seconds_of(path: Path) -> float:
    """Decode a video to its last frame and return its length in seconds."""
    with av.open(str(path)) as video:
        frames = sum(1 for _ in video.decode(video=0))
        return frames / float(video.streams.video[0].average_rate)


def advised(log: str) -> dict[str, str]:
    """Return the commands that the message of an ambiguous submit offers: ``Found`` and ``Not found``."""
    return dict(re.findall(r"^ *(Found|Not found): +(grokvideo .+)$", log, re.MULTILINE))


def logged_id(log: str) -> str | None:
    """Return the request id that a try logged right after its start was accepted."""
    found = re.search(r"Request (\S+) was accepted", log)
    return found[1] if found else None


def follow(stack: AirflowStack, command: str, request_id: str | None = None, **settings: str) -> str:
    """Run a command of the message word for word, on a machine of this Airflow, and return what it printed.

    Args:
        stack: The Airflow.
        command: As the message has it.
        request_id: Put in the place of ``<request id>``.
        settings: Further environment, such as the journal's path.
    """
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        shlex.split(command.replace("<request id>", request_id or "")),
        env={**stack.env, "PATH": path, **settings},
        capture_output=True,
        text=True,
        timeout=SETTLE_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{command} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def clear(stack: AirflowStack, tasks: Sequence[dict[str, Any]]) -> None:
    """Clear task instances of one run as the UI does."""
    (dag_id, run_id), *others = {(ti["dag_id"], ti["dag_run_id"]) for ti in tasks}
    assert not others
    body = {
        "dry_run": False,
        "only_failed": False,
        "dag_run_id": run_id,
        "task_ids": [[ti["task_id"], ti["map_index"]] for ti in tasks],
    }
    stack.api.call("POST", f"/dags/{dag_id}/clearTaskInstances", json=body)
