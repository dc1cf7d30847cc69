"""``make bench``: what waiting costs, on its own and in Airflow, and what the package costs elsewhere.

Five parts, one JSON file; parts of their full size also go into ``docs/performance.md``, between its markers:

waits
    How many videos one process can wait for: below.
schedule
    What looks cost and bring, on a virtual clock (``benchmarks/schedule.py``).
costs
    Imports, DAG parsing, the delivery of a large file (``benchmarks/costs.py``).
airflow
    Fifty videos end to end in real Airflow, by three ways to wait (``benchmarks/airflow_runs.py``).
bulk
    Tables of videos in one task, beside mapped tasks (``benchmarks/bulk.py``).

Every row of the first waits for the same videos: a mix of four kinds whose latencies are published (contract §5.5), all
submitted at once. Each row has a fresh process for the waits and a fresh one for the service, which finishes each video
at its time and counts polls and connections. The rows:

usual
    The usual trigger: a new httpx client for each poll, every five seconds.
ours
    ``GrokVideoTrigger``, twice: on its first day, and in a process that has seen some videos of each kind.
floor
    The leanest loop that looks every five seconds: aiohttp, no Airflow.

CPU and memory are those of the waiting process, without its imports. A stall is how late a timer on its event loop
would be. Lag is from the moment a video is finished to its event. A row ends when its last wait does, at the latest two
minutes after the last video; what has not ended with the right event by then is lost. Beside ours stands the best that
the pace of its connection allows: the lags of an oracle that spends one poll on each video.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from markers import replaced
from processes import ChildProcess, Family, ProcessFailed, clean_environment, tail

from benchmarks import airflow_runs, bulk, costs, machine, report, schedule, work
from benchmarks.waits import CONN_ID, INTERVAL, KEY, Result, Row, counts

REPOSITORY = Path(__file__).resolve().parent.parent

SIZES = (100, 1_000, 5_000, 10_000)
QUICK = (100, 1_000)
PAGE = REPOSITORY / "docs" / "performance.md"

PARTS = ("waits", "schedule", "costs", "airflow", "bulk")
TABLES: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "waits": report.table,
    "schedule": schedule.table,
    "costs": costs.table,
    "airflow": airflow_runs.table,
    "bulk": bulk.table,
}

WHO = {"usual": ("usual",), "ours": ("ours", "ours-learned"), "floor": ("floor",)}

SIDE_BY_SIDE = 100
"""Rows of so few waits leave the machine idle most of the time, so those of one size run at the same time. Of larger
ones the usual trigger runs alone, since it fills a core; the others do not."""

PATIENCE = 110.0
"""Seconds after the last video is finished until a wait is given up."""

GRACE = 60.0
"""Seconds that a process may take for its imports and its report before it is killed."""

USUAL_MB_PER_WAIT = 1.2
LEAST_FREE_MB = 4_000

_USUAL_POLL = 0.032  # CPU seconds; only for the expected end


@dataclass(frozen=True)
class Wishes:
    """What the command line asks for."""

    waits: tuple[int, ...]
    who: tuple[str, ...]
    pace: float
    scale: float
    patience: float
    out: Path
    parts: tuple[str, ...]
    quick: bool = False

    @classmethod
    def read(cls, arguments: Sequence[str]) -> Wishes:
        """Read the command line."""
        parser = argparse.ArgumentParser(
            description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, prog="benchmarks"
        )
        parser.add_argument("--waits", type=int, nargs="+", metavar="N", help=f"sizes; {_spelled(SIZES)} if unset")
        parser.add_argument(
            "--quick", action="store_true", help=f"only {_spelled(QUICK)} waits and {_spelled(bulk.QUICK)} rows"
        )
        parser.add_argument("--who", nargs="+", choices=list(WHO), default=list(WHO), help="rows; all if unset")
        parser.add_argument(
            "--pace", type=float, default=400.0, help="polls per second of our connection (%(default)s)"
        )
        parser.add_argument("--scale", type=float, default=1.0, help="factor on all latencies (%(default)s)")
        parser.add_argument(
            "--patience", type=float, default=PATIENCE, help="seconds from the last video to the deadline (%(default)s)"
        )
        parser.add_argument("--out", type=Path, default=REPOSITORY / "build" / "bench.json", help="the JSON file")
        parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="what to measure; all if unset")
        given = parser.parse_args(arguments)
        return cls(
            waits=tuple(sorted(set(given.waits or (QUICK if given.quick else SIZES)))),
            who=tuple(way for name in WHO if name in given.who for way in WHO[name]),
            pace=given.pace,
            scale=given.scale,
            patience=given.patience,
            out=given.out.resolve(),
            parts=tuple(part for part in PARTS if part in given.parts),
            quick=given.quick,
        )

    def whole_part(self, part: str) -> bool:
        """Whether a part has the size that the page shows."""
        return self.whole if part == "waits" else part != "bulk" or not self.quick

    @property
    def whole(self) -> bool:
        """Whether the waits are those that the page shows."""
        return (self.waits, self.scale, len(self.who)) == (SIZES, 1.0, sum(map(len, WHO.values())))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark and return the exit code: 0, or 1 if a row failed, or 130 after Ctrl-C."""
    for sig in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(sig, _leave)
    wishes = Wishes.read(sys.argv[1:] if arguments is None else arguments)
    home = Path(tempfile.mkdtemp(prefix="grokvideo-bench-"))
    try:
        bench = measured(wishes, home)
    except KeyboardInterrupt:
        print("\nStopped; nothing is left running.")
        return 130
    finally:
        shutil.rmtree(home, ignore_errors=True)
    print(f"\nAll numbers: {wishes.out}")
    return 1 if any(row.get("failed") for row in bench.get("waits", {}).get("rows", [])) else 0


def measured(wishes: Wishes, home: Path) -> dict[str, Any]:
    """Measure the parts that were asked for and return the content of the JSON file; other parts keep what it had."""
    bench: dict[str, Any] = json.loads(wishes.out.read_text()) if wishes.out.exists() else {}
    for part in wishes.parts:
        _say(f"{part}:")
        found = _measure(part, wishes, home)
        text = TABLES[part](found)
        bench[part] = found
        wishes.out.parent.mkdir(parents=True, exist_ok=True)
        wishes.out.write_text(json.dumps(bench, indent=1) + "\n")
        print(f"\n{text}\n", flush=True)
        if wishes.whole_part(part):
            PAGE.write_text(replaced(PAGE.read_text(encoding="utf-8"), part, text, PAGE.name), encoding="utf-8")
    return bench


def _measure(part: str, wishes: Wishes, home: Path) -> dict[str, Any]:
    match part:
        case "waits":
            return run(wishes, home)
        case "schedule":
            return schedule.measure()
        case "costs":
            return costs.measure()
        case "bulk":
            sizes = bulk.QUICK if wishes.quick else bulk.SIZES
            return bulk.measure(sizes, airflow=not wishes.quick, say=lambda line: _say(f"  {line}"))
    return airflow_runs.measure()


def _leave(sig: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + sig)


def run(wishes: Wishes, home: Path) -> dict[str, Any]:
    """Run all rows of the waits and return what they measured."""
    bench: dict[str, Any] = {
        "machine": machine.facts(),
        "settings": {
            "waits": list(wishes.waits),
            "pace": wishes.pace,
            "scale": wishes.scale,
            "side_by_side": SIDE_BY_SIDE,
        },
        "rows": [],
        "bounds": [report.bound(waits, wishes.scale, wishes.pace) for waits in wishes.waits] if _ours(wishes) else [],
    }
    groups = list(planned(wishes))
    for index, group in enumerate(groups):
        left = sum(max(_expected(row) for row in each) for each in groups[index:])
        _say(f"{index + 1} of {len(groups)}: {_named(group)}; all done by about {_clock(left)}")
        for row in Group(group, wishes.pace, home / str(index)).run():
            bench["rows"].append(row)
            _say(f"  {report.TITLES[row['who']]}: {report.line(row)}")
    return bench


def planned(wishes: Wishes) -> Iterator[list[Row]]:
    """Yield the rows in groups: those of a group run at the same time."""
    for waits in wishes.waits:
        rows = [Row(who, waits, wishes.scale, wishes.patience, port=0) for who in wishes.who]
        alone = [] if waits <= SIDE_BY_SIDE else [row for row in rows if row.who == "usual"]
        yield from ([row] for row in alone)
        if together := [row for row in rows if row not in alone]:
            yield together


class Group:
    """Rows that run at the same time, each with two processes of its own.

    Args:
        rows: What to measure; their ports are not known yet.
        pace: Polls per second of our connection.
        home: A directory that does not exist yet.
    """

    def __init__(self, rows: Sequence[Row], pace: float, home: Path) -> None:
        self._rows = rows
        self._pace = pace
        self._backend = home
        self._family = Family()

    def run(self) -> list[dict[str, Any]]:
        """Measure and return the rows of the JSON file; whatever happens, all processes are gone afterwards."""
        try:
            running = [(row, None if _too_big(row) else self._start(row)) for row in self._rows]
            until = time.monotonic() + GRACE + max(row.limit() for row in self._rows)
            return [self._result(row, waiting, until) for row, waiting in running]
        finally:
            self._family.stop()

    def _start(self, row: Row) -> tuple[ChildProcess, int]:
        place = self._place(row)
        (place / "airflow").mkdir(parents=True)
        port_file = place / "port"
        server = self._child(row, "service", ["benchmarks.server", "--port-file", str(port_file)], {})
        server.start()
        port = _port(server, port_file)
        (place / "row.json").write_text(json.dumps(asdict(row) | {"port": port}))
        files = [str(place / "row.json"), str(place / "result.json")]
        waiting = self._child(row, "waits", ["benchmarks.waits", *files], self._airflow(place, port))
        waiting.start()
        return waiting, port

    def _child(self, row: Row, name: str, module: Sequence[str], env: dict[str, str]) -> ChildProcess:
        return self._family.add(
            f"{name} of {row.who}",
            [sys.executable, "-m", *module],
            env=clean_environment(PYTHONPATH=str(REPOSITORY), **env),
            log=self._place(row) / f"{name}.log",
            cwd=self._place(row),
        )

    def _place(self, row: Row) -> Path:
        return self._backend / row.who

    def _airflow(self, place: Path, port: int) -> dict[str, str]:
        connection = {
            "conn_type": "grokvideo",
            "host": f"http://127.0.0.1:{port}/v1",
            "password": KEY,
            "extra": {"requests_per_second": self._pace},
        }
        return {
            "AIRFLOW_HOME": str(place / "airflow"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
            f"AIRFLOW_CONN_{CONN_ID.upper()}": json.dumps(connection),
        }

    def _result(self, row: Row, running: tuple[ChildProcess, int] | None, until: float) -> dict[str, Any]:
        if running is None:
            return report.unmeasured(row.who, row.waits, "not run: memory")
        waiting, port = running
        found = self._place(row) / "result.json"
        try:
            waiting.wait(max(0.0, until - time.monotonic()))
            result = Result(**json.loads(found.read_text()))
        except (ProcessFailed, OSError) as problem:
            print(f"{_named([row])} failed: {problem}\n{tail(self._place(row) / 'waits.log')}", file=sys.stderr)
            return report.unmeasured(row.who, row.waits, "failed") | {"failed": True}
        return report.measured(row.who, row.waits, result, counts(port))


def _port(server: ChildProcess, port_file: Path) -> int:
    until = time.monotonic() + 30
    while not port_file.exists():
        server.check()
        if time.monotonic() > until:
            raise ProcessFailed(f"{server.name} does not listen")
        time.sleep(0.05)
    return int(port_file.read_text())


def _too_big(row: Row) -> bool:
    """Say whether the usual trigger, which holds a client for each wait, would need more memory than there is."""
    if row.who != "usual" or row.waits <= 1_000:
        return False
    return machine.free_mb() < max(LEAST_FREE_MB, 1_000 + USUAL_MB_PER_WAIT * row.waits)


def _expected(row: Row) -> float:
    """Return about how many seconds a row takes."""
    videos = row.videos()
    polls = sum(video.latency for video in videos) / INTERVAL if row.who == "usual" else 0.0
    return 10 + min(max(work.longest(videos), polls * _USUAL_POLL), row.limit())


def _ours(wishes: Wishes) -> bool:
    return any(who in WHO["ours"] for who in wishes.who)


def _named(rows: Sequence[Row]) -> str:
    return f"{rows[0].waits:,} waits, {', '.join(report.TITLES[row.who] for row in rows)}"


def _clock(seconds: float) -> str:
    return time.strftime("%H:%M", time.localtime(time.time() + seconds))


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)


def _spelled(numbers: Sequence[int]) -> str:
    return ", ".join(f"{number:,}" for number in numbers)
