"""``make demo``: Airflow runs ``dags_examples/quickstart.py`` and leaves two playable clips in a folder.

Environment variables, all optional:

``OUT``
    Folder for the clips; ``demo_output`` in the repository if unset.
``KEEP=1``
    Leave Airflow's UI (and the emulator) up until Ctrl-C, open on the page of the videos, and the temporary
    AIRFLOW_HOME where it is.
``REAL=1``
    Use xAI's own service and the key in ``XAI_API_KEY``, after showing the price. ``YES=1`` answers the question.

Without ``REAL=1`` no key is read or passed on: the emulator of this package plays the service.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import webbrowser
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from airflow_api import AirflowApi, AirflowApiError, label
from demo_report import NotPlayable, Row, rows, table
from processes import Family, ProcessFailed, clean_environment, tail
from progress import Progress
from stack import AirflowStack

REPOSITORY = Path(__file__).resolve().parent.parent
QUICKSTART = REPOSITORY / "dags_examples" / "quickstart.py"
DAG_ID = "grokvideo_quickstart"
REAL_URL = "https://api.x.ai/v1"
RUN_TIMEOUT = 300.0  # the emulator needs seconds
REAL_RUN_TIMEOUT = 1800.0  # two jobs, each of which may wait in the service's queue
TEMPO = "seconds:8"  # of the emulator: long enough to watch a task wait, short enough to stay awake


class DemoFailed(RuntimeError):
    """The demo could not show what it promises; the message says why."""


@dataclass(frozen=True)
class Wishes:
    """What the environment variables ask for."""

    out: Path
    keep: bool
    real_key: str | None

    @classmethod
    def read(cls, env: Mapping[str, str]) -> Wishes:
        """Read them; a key counts only together with ``REAL=1``."""
        out = Path(env.get("OUT") or REPOSITORY / "demo_output").expanduser().resolve()
        if not _on(env, "REAL"):
            return cls(out, _on(env, "KEEP"), None)
        key = env.get("XAI_API_KEY", "").strip()
        if not key:
            raise DemoFailed("REAL=1 needs a key of the service in XAI_API_KEY.")
        return cls(out, _on(env, "KEEP"), key)


def _on(env: Mapping[str, str], name: str) -> bool:
    return env.get(name, "").lower() not in {"", "0", "no", "false"}


def main() -> int:
    """Run the demo and return the exit code: 0, or 1 with the reason printed, or 130 after Ctrl-C."""
    for sig in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(sig, _leave)
    home = Path(tempfile.mkdtemp(prefix="grokvideo-demo-"))
    keep_backend = False
    try:
        wishes = Wishes.read(os.environ)
        if wishes.real_key:
            confirm_price(os.environ, home)
        keep_backend = wishes.keep
        run(wishes, home)
    except (DemoFailed, ProcessFailed, AirflowApiError, NotPlayable) as reason:
        keep_backend = (home / "logs-stack").exists()
        print(f"\nThe demo failed: {reason}", file=sys.stderr)
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


def run(wishes: Wishes, home: Path) -> None:
    """Start everything, run the DAG, report, and end everything."""
    _make_writable(wishes.out)
    with ExitStack() as running, Progress() as progress:
        if wishes.real_key:
            connection = {"conn_type": "grokvideo", "host": REAL_URL, "password": wishes.real_key}
        else:
            progress.step("starting the emulator of the service")
            connection = start_emulator(home, running)
        env = {
            "AIRFLOW_CONN_GROKVIDEO_DEFAULT": json.dumps(connection),
            "GROKVIDEO_DEMO_OUTPUT": str(wishes.out),
        }
        stack = AirflowStack(
            home, REPOSITORY / "dags_examples", env, on_progress=lambda line: progress.step(f"Airflow: {line}")
        )
        running.enter_context(stack)
        made = run_dag(stack.api, progress, REAL_RUN_TIMEOUT if wishes.real_key else RUN_TIMEOUT)
        progress.done()
        report(made, wishes)
        if wishes.keep:
            keep_up(stack.url)


def _make_writable(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as fault:
        raise DemoFailed(f"cannot write to {out}: {fault.strerror}. Choose another folder with OUT=dir.") from fault


def start_emulator(home: Path, running: ExitStack) -> dict[str, Any]:
    """Start the emulator as a process of its own and return the connection to it."""
    family = Family()
    running.callback(family.stop)
    ready = home / "emulator.json"
    command = [sys.executable, "-m", "airflow_provider_grokvideo.emulator", "--port", "0", "--tempo", TEMPO]
    emulator = family.add(
        "emulator",
        [*command, "--ready-file", str(ready)],
        env=clean_environment(),
        log=home / "logs-stack" / "emulator.log",
        cwd=home,
    )
    emulator.start()
    deadline = time.monotonic() + 30
    while not ready.exists():
        emulator.check()
        if time.monotonic() > deadline:
            raise ProcessFailed(f"The emulator was not ready after 30 s. Its last lines:\n{tail(emulator.log)}")
        time.sleep(0.1)
    known = json.loads(ready.read_text())
    return {
        "conn_type": "grokvideo",
        "host": known["base_url"],
        "password": known["api_key"],
        # Its videos are done sooner than those of the real service, after whose habits the schedule would look.
        "extra": {"poll_interval": 1},
    }


def run_dag(api: AirflowApi, progress: Progress, timeout: float) -> list[Row]:
    """Run the quickstart DAG and return what it made; a failed run is an error with the failed tasks' logs."""
    progress.step(f"Airflow: running the DAG {DAG_ID}")
    run_id = api.trigger(DAG_ID)
    state = api.wait_run(DAG_ID, run_id, timeout, on_tick=progress.tasks)
    tasks = api.task_instances(DAG_ID, run_id)
    if state != "success":
        raise DemoFailed(f"the run ended as {state}.\n{failed_logs(api, run_id, tasks)}")
    return rows(tasks, lambda ti: api.xcom(DAG_ID, run_id, ti["task_id"], ti["map_index"]))


def failed_logs(api: AirflowApi, run_id: str, tasks: list[dict[str, Any]], lines: int = 30) -> str:
    """Return the last lines of the log of each failed task."""
    parts = []
    for ti in tasks:
        if ti["state"] == "failed":
            text = api.log(DAG_ID, run_id, ti["task_id"], ti["map_index"], ti["try_number"])
            parts.append("\n".join([f"--- {label(ti)}", *text.splitlines()[-lines:]]))
    return "\n".join(parts)


def report(made: list[Row], wishes: Wishes) -> None:
    """Print the table and what it means."""
    service = "xAI's service" if wishes.real_key else "the emulator (the money is not real)"
    print()
    print(table(made))
    print()
    print(f"Four real Airflow processes ran {DAG_ID} against {service}.")
    print("While a clip was made its task waited in the triggerer and held no worker slot;")
    print("then the file was downloaded, checked and put where you see it.")
    print("The DAG: dags_examples/quickstart.py. What to read next: README.md.")


def keep_up(url: str) -> None:
    """Leave everything up until Ctrl-C, with the page of the videos in a browser where there is one."""
    videos = f"{url}/plugin/grokvideos"
    print(f"\nYour videos in Airflow's UI: {videos} (no login). Ctrl-C stops it.", flush=True)
    if sys.stdout.isatty() and (sys.platform == "darwin" or {"DISPLAY", "WAYLAND_DISPLAY"} & set(os.environ)):
        webbrowser.open(videos)
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        print("\nStopping ...")


def confirm_price(env: Mapping[str, str], home: Path) -> None:
    """Show what the real service will charge and ask; a refusal is an error."""
    print(f"The DAG {DAG_ID} will run against {REAL_URL}, with your key and your money:")
    print(price(home), flush=True)
    if _on(env, "YES"):
        return
    if not sys.stdin.isatty():
        raise DemoFailed("nobody is there to confirm the price; YES=1 confirms it. Nothing was sent.")
    if input("Go on? Type yes: ").strip().lower() != "yes":
        raise DemoFailed("not confirmed. Nothing was sent.")


def price(home: Path) -> str:
    """Return the quickstart's price in words, task by task."""
    answer = subprocess.run(
        [sys.executable, REPOSITORY / "scripts" / "quote.py", QUICKSTART],
        env=clean_environment(AIRFLOW_HOME=str(home), AIRFLOW__CORE__LOAD_EXAMPLES="False"),
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    if answer.returncode != 0:
        raise DemoFailed(f"the price is unknown: {answer.stderr[-2000:]}")
    quoted = json.loads(answer.stdout)
    total = "unknown" if quoted["usd"] is None else f"at most {quoted['usd']} USD"
    return "\n".join([*(f"  {line}" for line in quoted["lines"]), f"  together: {total}"])


if __name__ == "__main__":
    sys.exit(main())
