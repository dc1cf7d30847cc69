"""What a scaled-out run left behind: the service's ledger, the files, and the logs of triggerers and workers."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import av

_FIRED = "Trigger fired event"  # how Airflow's triggerer logs an event


@dataclass(frozen=True)
class Start:
    """An accepted start in the ledger.

    Attributes:
        number: The number of the video, which its prompt names; also the map index of its task instance.
        request_id: The service's id.
        accepted_at: Epoch seconds.
        done_at: Epoch seconds at which the service has the video.
        looks: How often it was polled.
    """

    number: int
    request_id: str
    accepted_at: float
    done_at: float
    polls: int


@dataclass(frozen=True)
class Fired:
    """An event of a trigger.

    Attributes:
        number: The map index of the task instance.
        triggerer: Job id of the triggerer.
        at: Epoch seconds.
    """

    number: int
    triggerer: int
    at: float


@dataclass(frozen=True)
class Evidence:
    """All of it.

    Attributes:
        starts: Accepted starts, in the order of the ledger.
        fired: Events of triggers.
        waits: For each triggerer, by its job id, the numbers of the videos that it waited for at some time.
        files: For each number that has a video which plays to its end: the request id in its JSON file, and the epoch
            seconds at which that was written.
        workers: How many executions each worker has finished; a video takes two.
    """

    starts: tuple[Start, ...]
    fired: tuple[Fired, ...]
    waits: Mapping[int, frozenset[int]]
    files: Mapping[int, tuple[str, float]]
    workers: Mapping[str, int]

    @property
    def bought_twice(self) -> int:
        """Starts beyond the first for a number."""
        return len(self.starts) - len({start.number for start in self.starts})

    @property
    def delivered(self) -> int:
        """Different requests whose video is in the file of their own number."""
        own = {(start.number, start.request_id) for start in self.starts}
        return len({name for number, (name, _) in self.files.items() if (number, name) in own})


def starts_in(ledger: Mapping[str, Any]) -> tuple[Start, ...]:
    """Return the accepted starts of the emulator's ledger; each prompt says its number and its seconds."""
    return tuple(_start(each, ledger["polls"].get(each["request_id"], 0)) for each in ledger["starts"])


def _start(entry: Mapping[str, Any], polls: int) -> Start:
    found = re.match(r"Video (\d+) .*tempo=seconds:(\d+)", entry["prompt"])
    if found is None:
        raise ValueError(f"a start that is not of this run: {entry['prompt']!r}")
    accepted = float(entry["accepted_at"])
    return Start(int(found[1]), entry["request_id"], accepted, accepted + float(found[2]), polls)


def in_logs(logs: Path) -> tuple[tuple[Fired, ...], dict[int, frozenset[int]]]:
    """Return the events in the triggerers' logs of a run's task instances, and who waited for what."""
    fired, waits = [], dict[int, set[int]]()
    for path in logs.glob("dag_id=*/run_id=*/task_id=*/map_index=*/*.log.trigger.*.log"):
        number, triggerer = int(path.parent.name.removeprefix("map_index=")), int(path.name.split(".")[-2])
        waits.setdefault(triggerer, set()).add(number)
        fired += [Fired(number, triggerer, at) for at in _events(path)]
    return tuple(fired), {triggerer: frozenset(numbers) for triggerer, numbers in waits.items()}


def _events(path: Path) -> list[float]:
    lines = [line for line in path.read_text(errors="replace").splitlines() if _FIRED in line]
    return [datetime.fromisoformat(json.loads(line)["timestamp"]).timestamp() for line in lines]


def files_in(folder: Path) -> dict[int, tuple[str, float]]:
    """Return the videos of a destination that play to their end and have a JSON file beside them."""
    found = {}
    for video in folder.glob("*.mp4"):
        sidecar = video.with_suffix(".json")
        if sidecar.exists() and frames_of(video):
            found[int(video.stem)] = (json.loads(sidecar.read_text())["request_id"], sidecar.stat().st_mtime)
    return found


def frames_of(video: Path) -> int:
    """Decode a video and return its number of frames; 0 if it cannot be decoded."""
    try:
        with av.open(str(video)) as container:
            return sum(1 for _ in container.decode(video=0))
    except (av.FFmpegError, IndexError):
        return 0


def executions(log: Path) -> int:
    """Return how many of Airflow's workloads a Celery worker has finished."""
    return len(re.findall(r"Task execute_workload\[[^]]+\] succeeded", log.read_text(errors="replace")))


def spread(values: Sequence[float]) -> dict[str, float] | None:
    """Return median, 90 % quantile and maximum; None of nothing."""
    if not values:
        return None
    ordered = sorted(values)
    pick = [ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))] for share in (0.5, 0.9, 1.0)]
    return dict(zip(("p50", "p90", "max"), pick, strict=True))


def repeated(numbers: Sequence[int]) -> list[int]:
    """Return the numbers that come more than once."""
    return [number for number, count in Counter(numbers).items() if count > 1]
