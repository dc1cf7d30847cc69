"""The process of one row: waits for all its videos at once, and measures itself.

Run as ``python -m benchmarks.waits ROW RESULT``: ROW is a file with a :class:`Row`, RESULT gets a :class:`Result`, both
as JSON. Triggers run as Airflow's triggerer runs them: one task each in one event loop, created one by one, each with
the greenback portal that lets its code call what blocks. Logging below warnings is off, so what log lines cost in a
triggerer is not in the numbers.
"""

from __future__ import annotations

import asyncio
import gc
import http.client
import json
import logging
import math
import os
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import machine, work
from benchmarks.stalls import Stalls, WatchedLoop
from benchmarks.work import Video

if TYPE_CHECKING:
    from airflow.triggers.base import BaseTrigger

log = logging.getLogger(__name__)

COUNTS = "/control/counts"
CONN_ID = "grokvideo_bench"
KEY = "xai-bench-key"
LAST_POLLS = 10.0
"""Seconds that the last looks may take after the deadline of the waits."""

INTERVAL = 5.0
"""Seconds between two polls that know nothing."""

WARM_UP = 60
"""Videos of each kind that a process finishes before it counts as having learned."""

_GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True)
class Row:
    """What to measure.

    Attributes:
        who: One of :data:`WAYS`.
        waits: How many videos.
        scale: Factor on all latencies.
        patience: Seconds from the end of the last video to the deadline of the waits.
        port: Where the service listens on 127.0.0.1.
    """

    who: str
    waits: int
    scale: float
    patience: float
    port: int

    def videos(self) -> list[Video]:
        """Return what to wait for."""
        return work.mixed(self.waits, self.scale)

    def limit(self) -> float:
        """Return the seconds from the submit after which what has not ended is lost."""
        return work.longest(self.videos()) + self.patience + LAST_POLLS

    def base_url(self) -> str:
        """Return the address of the service, as a connection has it."""
        return f"http://127.0.0.1:{self.port}/v1"


@dataclass(frozen=True)
class Result:
    """What was measured, from just before the waits start until the last one ends.

    Attributes:
        cpu: CPU seconds of this process.
        core_wait: Seconds that it was ready to run while others had the cores: how disturbed the measurement was.
        rss_before: MB in RAM before the waits.
        rss_peak: The most MB in RAM.
        stall_p99: Lateness in seconds of a timer on the event loop that 99 % do not exceed.
        stall_max: The longest.
        seconds: How long it took.
        lags: Seconds from the end of each video to its event, for those with the right event.
        faults: How often the other waits ended in which way; those not named here did not end at all.
    """

    cpu: float
    core_wait: float
    rss_before: float
    rss_peak: float
    stall_p99: float
    stall_max: float
    seconds: float
    lags: list[float]
    faults: dict[str, int]


class Events:
    """Which waits have ended, and how."""

    def __init__(self) -> None:
        self.seen: dict[str, float] = {}
        self.faults: dict[str, int] = {}

    def right(self, video: Video) -> None:
        """Take note of the event that was waited for, at this moment; a second one is a fault."""
        if video.request_id in self.seen:
            self.fault("a second event", example=video)
        else:
            self.seen[video.request_id] = time.time()

    def fault(self, what: str, *, example: object) -> None:
        """Take note of a wait that ended otherwise; the first of each sort goes to the log."""
        if what not in self.faults:
            log.warning("A wait ended with %s: %r", what, example)
        self.faults[what] = self.faults.get(what, 0) + 1


@dataclass(frozen=True)
class Task:
    """What a way to wait is given.

    Attributes:
        videos: What to wait for.
        base_url: Where to look.
        start: Epoch seconds of the submit.
        deadline: Epoch seconds after which a wait is given up.
        events: What ended.
    """

    videos: Sequence[Video]
    base_url: str
    start: float
    deadline: float
    events: Events

    @classmethod
    def submitted(cls, row: Row) -> Task:
        """Let the service start on the videos of a row."""
        videos = row.videos()
        work_of = [[one.request_id, one.latency, one.kind.model, one.kind.seconds, one.kind.ticks] for one in videos]
        start = float(_control(row.port, "POST", "/control/work", json.dumps(work_of))["start"])
        return cls(videos, row.base_url(), start, start + work.longest(videos) + row.patience, Events())

    def lags(self) -> list[float]:
        """Return the seconds from the end of each video to its event, for those with the right event."""
        seen = self.events.seen.copy()
        return [seen[one.request_id] - (self.start + one.latency) for one in self.videos if one.request_id in seen]


Way = Callable[[Task], Awaitable[None]]


async def usual(task: Task) -> None:
    """Wait with the usual trigger."""
    from benchmarks.usual import UsualTrigger

    def trigger(video: Video) -> BaseTrigger:
        return UsualTrigger(video.request_id, CONN_ID, task.deadline)

    def right(video: Video, payload: Mapping[str, Any]) -> bool:
        return (payload["status"], payload["request_id"]) == ("success", video.request_id)

    await _as_the_triggerer_does(task, trigger, right)


async def ours(task: Task) -> None:
    """Wait with the trigger of this package."""
    from airflow_provider_grokvideo.triggers.grokvideo import GrokVideoTrigger

    def trigger(video: Video) -> BaseTrigger:
        return GrokVideoTrigger(
            request_id=video.request_id,
            grokvideo_conn_id=CONN_ID,
            deadline=task.deadline,
            submitted_at=task.start,
            kind=video.kind.name,
        )

    def right(video: Video, payload: Mapping[str, Any]) -> bool:
        return (payload["outcome"], payload["request_id"]) == ("settled", video.request_id)

    await _as_the_triggerer_does(task, trigger, right)


async def floor(task: Task) -> None:
    """Wait with the leanest loop."""
    from benchmarks.floor import session, wait

    async def one(video: Video, first: float) -> None:
        if await wait(shared, f"{task.base_url}/videos/{video.request_id}", first, INTERVAL):
            task.events.right(video)

    async with session(KEY) as shared:
        step = INTERVAL / len(task.videos)
        await asyncio.gather(*(one(video, index * step) for index, video in enumerate(task.videos)))


WAYS: Mapping[str, Way] = {"usual": usual, "ours": ours, "ours-learned": ours, "floor": floor}


def warm_up(row: Row) -> None:
    """Let this process learn from :data:`WARM_UP` videos of each kind, as if it had looked every five seconds."""
    from airflow_provider_grokvideo.core.polling.latency import Latencies
    from airflow_provider_grokvideo.triggers.poller import LATENCIES

    known = LATENCIES.setdefault(row.base_url(), Latencies())
    for index, video in enumerate(work.equal(WARM_UP, row.scale)):
        phase, share = math.modf(index * _GOLDEN)[0], math.modf(index * _GOLDEN**2)[0]
        pending = max(0.0, INTERVAL * (math.floor(video.latency / INTERVAL - phase) + phase))
        known.learn(video.kind.name, pending, pending + INTERVAL, share, ())


async def _as_the_triggerer_does(
    task: Task, trigger: Callable[[Video], BaseTrigger], right: Callable[[Video, Mapping[str, Any]], bool]
) -> None:
    import greenback

    events = task.events

    async def run(video: Video, made: BaseTrigger) -> None:
        await greenback.ensure_portal()
        stream = made.run()
        try:
            async for event in stream:
                if right(video, event.payload):
                    events.right(video)
                else:
                    events.fault("a wrong event", example=event.payload)
        except Exception as problem:  # noqa: BLE001 - the triggerer fails the task, whatever it was
            events.fault(type(problem).__name__, example=problem)
        finally:
            await made.cleanup()

    running = []
    for video in task.videos:
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        running.append(asyncio.create_task(run(video, trigger(video))))
    await asyncio.gather(*running)


class Measurement:
    """One row from just before its waits start until it is reported, which happens once: at the end or at the limit."""

    def __init__(self, loop: WatchedLoop, task: Task, into: Path) -> None:
        self._task, self._into = task, into
        self._lock, self._reported = threading.Lock(), False
        gc.collect()
        machine.forget_peak()
        self._rss = machine.rss_mb()
        self._stalls: Stalls = loop.watch()
        self._began = time.monotonic()
        self._core_wait = machine.core_wait_seconds()
        self._cpu = machine.cpu_seconds()

    def report(self) -> None:
        """Write the result, unless that was done before."""
        with self._lock:
            if not self._reported:
                self._reported = True
                self._write()

    def _write(self) -> None:
        cpu = machine.cpu_seconds() - self._cpu
        now = time.monotonic()
        self._stalls.end(now)
        result = Result(
            cpu=cpu,
            core_wait=machine.core_wait_seconds() - self._core_wait,
            rss_before=self._rss,
            rss_peak=machine.peak_rss_mb(),
            stall_p99=self._stalls.quantile(0.99),
            stall_max=self._stalls.worst(),
            seconds=now - self._began,
            lags=self._task.lags(),
            faults=dict(self._task.events.faults),
        )
        aside = self._into.with_suffix(".new")
        aside.write_text(json.dumps(asdict(result)))
        aside.rename(self._into)

    def end_at(self, limit: float) -> None:
        """Report in so many seconds and end the process, however busy its event loop is."""
        timer = threading.Timer(limit, self._give_up)
        timer.daemon = True
        timer.start()

    def _give_up(self) -> None:
        self.report()
        os._exit(0)


async def measure(row: Row, into: Path) -> None:
    """Wait for the videos of a row and write the result."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, WatchedLoop)  # noqa: S101 - main() made it
    await _rehearse(row)
    if row.who == "ours-learned":
        warm_up(row)
    task = Task.submitted(row)
    measurement = Measurement(loop, task, into)
    measurement.end_at(row.limit())
    await WAYS[row.who](task)
    measurement.report()


def counts(port: int) -> dict[str, Any]:
    """Return what the service counted."""
    return _control(port, "GET", COUNTS)


def _control(port: int, method: str, path: str, body: str | None = None) -> dict[str, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, body)
        answer: dict[str, Any] = json.loads(connection.getresponse().read())
        return answer
    finally:
        connection.close()


async def _rehearse(row: Row) -> None:
    """Import what the row needs, also what libraries import at their first call, so that it does not count."""
    address = f"http://127.0.0.1:{row.port}{COUNTS}"
    if row.who == "floor":
        from benchmarks.floor import session

        async with session(KEY) as shared, shared.get(address) as answer:
            await answer.read()
        return
    import greenback  # noqa: F401
    import httpx
    from airflow.sdk import BaseHook

    if row.who == "usual":
        import benchmarks.usual  # noqa: F401
    else:
        import airflow_provider_grokvideo.triggers.grokvideo  # noqa: F401
    await BaseHook.aget_connection(CONN_ID)
    async with httpx.AsyncClient() as client:
        await client.get(address)


def main(arguments: Sequence[str] = sys.argv[1:]) -> None:
    """Run the row that a file describes."""
    row = Row(**json.loads(Path(arguments[0]).read_text()))
    machine.open_files()
    loop = WatchedLoop()
    asyncio.set_event_loop(loop)
    try:
        loop.run_until_complete(measure(row, Path(arguments[1])))
    finally:
        loop.close()


if __name__ == "__main__":
    main()
