"""The journal's command line against a real Airflow: the commands that it prints work."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.version import Version
from processes import clean_environment
from stack import AirflowStack

from airflow_provider_grokvideo.emulator import Emulator

DAG, TASK = "settled_by_hand", "films.make"

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    """An emulator whose jobs are done at once."""
    with Emulator(tempo="at-once") as running:
        yield running


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the videos go."""
    return tmp_path_factory.mktemp("videos")


@pytest.fixture(scope="module")
def stack(stack_factory: Callable[..., AirflowStack], emulator: Emulator, out: Path) -> Iterator[AirflowStack]:
    """Four Airflow processes whose default connection is the emulator."""
    connection = {"conn_type": "grokvideo", "host": emulator.base_url, "password": emulator.api_key}
    env = {
        "AIRFLOW_CONN_GROKVIDEO_DEFAULT": json.dumps(connection),
        "AIRFLOW__GROKVIDEO__LEDGER_PATH": "none",
        "GROKVIDEO_TEST_OUTPUT": str(out),
    }
    running = stack_factory(Path(__file__).parent / "dags", env)
    yield running
    running.stop()


def typed(line: str, backend: Path) -> subprocess.CompletedProcess[str]:
    """Run a line as you type it into a shell, with the commands of this environment."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    ended = subprocess.run(
        shlex.split(line),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=clean_environment(AIRFLOW_HOME=str(backend), PATH=path),
    )
    assert 0 == ended.returncode, ended.stderr
    return ended


def test_the_printed_commands_settle_unconfirmed_submissions(stack: AirflowStack, emulator: Emulator, out: Path):
    """Two unconfirmed submissions, listed with their commands, are adopted and forgotten; a clear delivers both."""
    emulator.script("lost_answer", on="submit", prompt="to find")
    emulator.script("cut_before", on="submit", prompt="that was lost")
    run_id = stack.api.trigger(DAG)
    assert "failed" == stack.api.wait_run(DAG, run_id, timeout=180)

    journal = "grokvideo journal"
    where = f"--api-url {stack.url}"
    orphans = typed(f"{journal} list --orphans {where}", stack.home)
    assert f"journal: task state store of Airflow {version('apache-airflow')} at {stack.url}\n" == orphans.stderr
    assert "2 purchases (2 intent)" in orphans.stdout

    (accepted,) = (start for start in emulator.starts if "to find" in start.prompt)
    commands = [line.partition(":")[2].strip() for line in orphans.stdout.splitlines() if line.startswith("  ")]
    (adopt,) = (line for line in commands if " adopt " in line and "--map-index 1" in line)
    (forget,) = (line for line in commands if " forget " in line and "--map-index 2" in line)
    assert "no new charge" in typed(adopt.replace("<request id>", accepted.request_id), stack.home).stdout
    assert "to submit again" in typed(forget, stack.home).stdout

    body = {"dag_run_id": run_id, "only_failed": True, "dry_run": False, "reset_dag_runs": True}
    if Version(version("apache-airflow")) >= Version("3.4.0b1"):
        # Else a clear discards the task state, and the adopted request with it.
        body["keep_task_state"] = True
    stack.api.call("POST", f"/dags/{DAG}/clearTaskInstances", json=body)
    assert "success" == stack.api.wait_run(DAG, run_id, timeout=180)
    assert {"0", "1", "2", "house"} == {path.stem for path in out.glob("*.mp4")}
    assert accepted.request_id == json.loads((out / "1.json").read_text())["request_id"]
    assert 4 == len(emulator.starts)

    listed = json.loads(typed(f"{journal} list --json {where}", stack.home).stdout)
    found = [(each["map_index"], each["phase"]) for each in listed["purchases"]]
    assert [(0, "delivered"), (1, "delivered"), (2, "delivered"), (2, "withdrawn")] == sorted(found)
    assert "0 orphans" in typed(f"{journal} list --orphans {where}", stack.home).stdout
    house = typed(f"{journal} list --operator HouseVideoOperator --run-id {run_id} --task-id house {where}", stack.home)
    assert "1 purchase (1 delivered)" in house.stdout
    shown = typed(f"{journal} show {DAG} {run_id} {TASK} --map-index 1 {where}", stack.home)
    assert "adopted by hand" in shown.stdout
