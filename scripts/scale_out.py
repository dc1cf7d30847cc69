"""``make scale-out``: 200 mapped videos on Airflow with PostgreSQL, Celery, Redis, two workers and two triggerers.

One triggerer is killed half way. The emulator's ledger and the files then have to agree: as many starts as videos, and
each video in its place, once. Everything runs on 127.0.0.1 and ends with the script. The facts go to
``build/scale-out.json``; a run of the full size also goes into ``docs/performance.md``, between its markers.

PostgreSQL and Redis must be installed; the Python packages of the extra ``scale-out`` are installed if need be.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import httpx
import tomllib  # type: ignore[import-not-found, unused-ignore]
from airflow_api import AirflowApiError
from demo import start_emulator
from markers import NoMarkers, replaced
from packaging.requirements import Requirement
from postgres import NotInstalled, Postgres, find_programs
from processes import ProcessFailed
from progress import Progress
from redis_server import RedisServer, find_program
from scale_out_cluster import WORKERS, Cluster
from scale_out_course import DAG_ID, Course, Sample, follow
from scale_out_evidence import Evidence, executions, files_in, in_logs, starts_in
from scale_out_report import facts, markdown, shortcomings

REPOSITORY = Path(__file__).resolve().parent.parent
DAGS = REPOSITORY / "scripts" / "scale_out_dags"
FACTS = REPOSITORY / "build" / "scale-out.json"
PAGE = REPOSITORY / "docs" / "performance.md"
EXTRA = "scale-out"
VIDEOS = 200
SLOTS = 4  # of each worker
DEAD_AFTER = 10  # seconds; five heartbeats of the demonstration, which need not wait for Airflow's 30
RUN_TIMEOUT = 900.0  # seconds


class ScaleOutFailed(RuntimeError):
    """The run did not show what it should; the message says why."""


def main(arguments: Sequence[str]) -> int:
    """Run it and return the exit code: 0, or 1 with the reason printed, or 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(prog="scale_out.py", description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument(
        "--videos", type=int, default=VIDEOS, help=f"how many; another number than {VIDEOS} leaves the page alone"
    )
    videos = parser.parse_args(arguments).videos
    for sig in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(sig, _leave)
    home = Path(tempfile.mkdtemp(prefix="grokvideo-scale-out-"))
    keep_backend = False
    try:
        check_servers()
        install_missing()
        show(videos, home)
    except (ScaleOutFailed, ProcessFailed, AirflowApiError, NoMarkers) as reason:
        keep_backend = (home / "logs-stack").exists()
        print(f"\nThe scale-out run failed: {reason}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped; nothing is left running.")
        return 130
    finally:
        if keep_backend:
            print(f"All logs: {home}")
        else:
            shutil.rmtree(home, ignore_errors=True)
    return 0


def _leave(sig: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + sig)


def check_servers() -> None:
    """Raise with what to install if PostgreSQL or Redis is not on this machine."""
    lacking = []
    for find in (find_programs, find_program):
        try:
            find()
        except NotInstalled as problem:
            lacking.append(str(problem))
    if lacking:
        raise ScaleOutFailed("\n".join(lacking))


def install_missing() -> None:
    """Install the packages of the extra into this environment, unless they are here."""
    if not missing():
        return
    print(f"Installing the extra {EXTRA} ({', '.join(requirements())}) ...", flush=True)
    pip = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--quiet"]
    done = subprocess.run(
        [*pip, "-c", "constraints.txt", *requirements()], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    importlib.invalidate_caches()
    if done.returncode != 0 or missing():
        raise ScaleOutFailed(f"{', '.join(missing())} could not be installed:\n{done.stderr[-3000:]}")


def missing() -> list[str]:
    """Return the packages of the extra that are not here, or not in a version it allows."""
    return [each for each in requirements() if not _is_here(Requirement(each))]


def _is_here(wanted: Requirement) -> bool:
    try:
        return wanted.specifier.contains(version(wanted.name), prereleases=True)
    except PackageNotFoundError:
        return False


def requirements() -> list[str]:
    """Return the packages of the extra, as pyproject.toml has them."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return list(project["optional-dependencies"][EXTRA])


def show(videos: int, home: Path) -> None:
    """Run it all, write the facts, print the report, and say what was not kept as an error."""
    course, evidence = run(videos, home)
    found = facts(course, evidence, videos)
    setting = {
        "airflow": version("apache-airflow"),
        "celery": version("celery"),
        "slots": SLOTS,
        "dead_after": DEAD_AFTER,
        "cores": os.cpu_count(),
    }
    FACTS.parent.mkdir(parents=True, exist_ok=True)
    FACTS.write_text(json.dumps({**setting, **found}, indent=2) + "\n")
    report = markdown(found, setting)
    print(f"\n{report}\n")
    if short := shortcomings(found):
        raise ScaleOutFailed("; ".join(short))
    print(f"{found['starts']} starts, {found['delivered']} videos delivered, 0 twice. Facts: {FACTS}")
    if videos == VIDEOS and PAGE.exists():
        PAGE.write_text(replaced(PAGE.read_text(encoding="utf-8"), EXTRA, report, PAGE.name), encoding="utf-8")
        print(f"{PAGE}: the report is in its place")


def run(videos: int, home: Path) -> tuple[Course, Evidence]:
    """Start everything, run the DAG, kill a triggerer, and end everything."""
    out = home / "videos"
    out.mkdir()
    with ExitStack() as running, Progress() as progress:
        progress.step("starting the emulator of the service, PostgreSQL and Redis")
        emulator = start_emulator(home, running)
        # Without the demo's interval: the schedule decides when to look, as it does with the service.
        connection = {name: emulator[name] for name in ("conn_type", "host", "password")}
        database = running.enter_context(Postgres())
        broker = running.enter_context(RedisServer())
        env = {
            "AIRFLOW_CONN_GROKVIDEO_DEFAULT": json.dumps(connection),
            "SCALE_OUT_OUTPUT": str(out),
            "SCALE_OUT_VIDEOS": str(videos),
        }
        cluster = Cluster(
            home,
            DAGS,
            database,
            broker,
            env,
            slots=SLOTS,
            dead_after=DEAD_AFTER,
            on_progress=lambda line: progress.step(f"Airflow: {line}"),
        )
        running.enter_context(cluster)
        if found := cluster.listening_elsewhere():
            raise ScaleOutFailed(f"not only on the loopback interface: {', '.join(found)}")
        progress.step(f"Airflow: running {videos} videos")
        run_id = cluster.api.trigger(DAG_ID)
        course = follow(cluster, run_id, videos, RUN_TIMEOUT, said(progress.step))
        progress.step("decoding the videos")
        return course, gathered(cluster, out, connection["host"])


def said(step: Callable[[str], None], every: float = 15.0) -> Callable[[Sample], None]:
    """Return a function that says how far a run is, about each `every` seconds."""
    last = 0.0

    def say(sample: Sample) -> None:
        nonlocal last
        if sample.at - last >= every:
            last = sample.at
            held = [count for triggerer, count in sorted(sample.triggers.items(), key=str) if triggerer is not None]
            step(f"{sample.states.get('success', 0)} delivered, waits per triggerer: {' + '.join(map(str, held)) or 0}")

    return say


def gathered(cluster: Cluster, out: Path, base_url: str) -> Evidence:
    """Collect what the run left behind."""
    ledger: dict[str, Any] = httpx.get(f"{base_url.removesuffix('/v1')}/_emulator/ledger", trust_env=False).json()
    fired, waits = in_logs(cluster.home / "logs")
    return Evidence(
        starts=starts_in(ledger),
        fired=fired,
        waits=waits,
        files=files_in(out),
        workers={name: executions(cluster.log_file(name)) for name in WORKERS},
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
