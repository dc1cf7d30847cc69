"""What a table of videos costs in one task, beside the same videos in mapped tasks.

``python -m benchmarks.bulk --out build/bench-bulk.json`` measures and prints the tables; about an hour, with
``--quick`` a few minutes.

The rows ask for the same clip of one second, which the emulator has rendered before and finishes at once; every file
is still downloaded, decoded, hashed and stored with its sidecar and poster. :mod:`benchmarks.legs` drives the task, so
that CPU and memory are those of the worker's processes alone, with their starts and imports. The fifty videos are those
of :mod:`benchmarks.airflow_runs`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from processes import clean_environment

from benchmarks import airflow_runs, costs
from benchmarks.emulator import Emulator

REPOSITORY = Path(__file__).resolve().parent.parent

SIZES = (1_000, 10_000)
QUICK = (200,)
MAPPED = 10
"""Mapped tasks that are measured beside the first table."""

IN_FLIGHT = 200
"""``max_in_flight`` of the tables."""

REQUEST = {"prompt": "a tram in the rain", "duration": 1}
CONN_ID = "grokvideo_default"

_POLL_INTERVAL = 0.2


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the tables, write the JSON file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=REPOSITORY / "build" / "bench-bulk.json", help="the JSON file")
    parser.add_argument("--rows", type=int, nargs="+", default=SIZES, help="sizes of the tables")
    parser.add_argument("--quick", action="store_true", help="a small table, and no real Airflow")
    wishes = parser.parse_args(arguments)
    sizes = QUICK if wishes.quick else tuple(wishes.rows)
    measured = measure(sizes, airflow=not wishes.quick, say=lambda line: print(line, file=sys.stderr, flush=True))
    wishes.out.parent.mkdir(parents=True, exist_ok=True)
    wishes.out.write_text(json.dumps(measured, indent=2) + "\n")
    print(table(measured))
    return 0


def measure(
    sizes: Sequence[int] = SIZES, *, airflow: bool = True, say: Callable[[str], None] = lambda line: None
) -> dict[str, Any]:
    """Measure tables of these sizes, the mapped tasks beside them, and fifty videos in real Airflow.

    Args:
        sizes: Numbers of rows.
        airflow: Whether to start real Airflow.
        say: Told what comes next.
    """
    rows = []
    with tempfile.TemporaryDirectory(prefix="grokvideo-bulk-") as folder:
        home = Path(folder)
        with Emulator(home, "at-once", REQUEST) as emulator:
            env = _environment(home, emulator.connection)
            say(f"{MAPPED} mapped tasks")
            rows.append(_measured("mapped", MAPPED, emulator, home / "mapped", env))
            for size in sizes:
                say(f"a table of {size:,} rows")
                rows.append(_measured("bulk", size, emulator, home / str(size), env))
    measured: dict[str, Any] = {"in_flight": IN_FLIGHT, "rows": rows}
    if airflow:
        measured["airflow"] = airflow_runs.measure(who=("ours", "bulk"), say=say)
    return measured


def table(measured: Mapping[str, Any]) -> str:
    """Return the tables in Markdown."""
    rows = [
        f"| {measured['in_flight']} in flight | CPU s / video, worker | of mapped | CPU s / video, triggerer | legs "
        "| peak RSS, MB | largest XCom, bytes | trigger arguments, bytes | wall s | lost | paid twice |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    mapped = next(row for row in measured["rows"] if row["who"] == "mapped")
    for row in measured["rows"]:
        share = row["cpu_s"] / row["videos"]
        name = f"{row['videos']:,} rows, one task" if row["who"] == "bulk" else f"{row['videos']} mapped tasks"
        cells = (
            f"{share:.3f}",
            f"{share / (mapped['cpu_s'] / mapped['videos']):.2f}",
            f"{row['trigger_cpu_s'] / row['videos']:.3f}",
            f"{row['legs']:,}",
            f"{row['peak_mb']:,.0f}",
            f"{row['xcom_bytes']:,}",
            f"{row['trigger_bytes']:,}",
            f"{row['wall_s']:,.0f}",
            f"{row['lost']:,}",
            f"{row['doubles']:,}",
        )
        rows.append(f"| {name} | {' | '.join(cells)} |")
    tables = ["\n".join(rows)]
    if "airflow" in measured:
        tables.append(airflow_runs.table(measured["airflow"]))
    return "\n\n".join(tables)


def tasks_of(who: str, videos: int, out: Path) -> list[dict[str, Any]]:
    """Return the tasks that make so many videos: one, or one for each."""
    shared = {"poll_interval": _POLL_INTERVAL, "max_cost_usd": None}
    if who == "mapped":
        return [
            {
                "operator": "GrokVideoGenerateOperator",
                "map_index": number,
                "arguments": {**REQUEST, **shared, "destination": f"{out}/{number}.mp4"},
            }
            for number in range(videos)
        ]
    rows = [{"id": f"row-{number}", **REQUEST} for number in range(videos)]
    words = {"rows": rows, "destination": f"{out}/{{id}}.mp4", "max_in_flight": IN_FLIGHT, **shared}
    return [{"operator": "GrokVideoBulkOperator", "arguments": words}]


def _measured(who: str, videos: int, emulator: Emulator, home: Path, env: Mapping[str, str]) -> dict[str, Any]:
    emulator.reset()
    out = home / "videos"
    out.mkdir(parents=True)
    tasks, result = home / "tasks.json", home / "result.json"
    tasks.write_text(json.dumps(tasks_of(who, videos, out)))
    command = [sys.executable, "-m", "benchmarks.legs", str(tasks), str(result)]
    began = time.monotonic()
    with (home / "log").open("wb") as log:
        here = {**env, "AIRFLOW_HOME": str(home)}
        done = subprocess.run(command, env=here, cwd=home, stdout=log, stderr=log, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{who} failed:\n{(home / 'log').read_text(errors='replace')[-3000:]}")
    courses = json.loads(result.read_text())
    stored = sum(1 for path in out.glob("*.mp4") if path.stat().st_size > 0)
    paid = len(emulator.ledger()["starts"])
    return {
        "who": who,
        "videos": videos,
        "wall_s": time.monotonic() - began,
        **{name: sum(course[name] for course in courses) for name in ("cpu_s", "trigger_cpu_s", "legs")},
        **{name: max(course[name] for course in courses) for name in ("peak_mb", "xcom_bytes", "trigger_bytes")},
        "lost": videos - stored,
        "doubles": max(0, paid - videos),
    }


def _environment(home: Path, connection: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of processes that use a copy of the package, as an installation has it."""
    return clean_environment(
        AIRFLOW__CORE__LOAD_EXAMPLES="False",
        AIRFLOW__LOGGING__LOGGING_LEVEL="INFO",
        PYTHONPATH=os.pathsep.join((str(costs.installed_copy(home)), str(REPOSITORY))),
        **{f"AIRFLOW_CONN_{CONN_ID.upper()}": json.dumps(connection)},
    )


if __name__ == "__main__":
    sys.exit(main())
