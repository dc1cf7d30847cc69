"""Real Airflow with tables of 40 rows, and its processes killed meanwhile: each row is bought once and stored."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from bulk_kit import lines_of
from fault_run import Clock, delivered
from stack import AirflowStack
from test_fault_run import until

from airflow_provider_grokvideo.emulator import Emulator
from airflow_provider_grokvideo.ledger.sql import open_sqlite

if TYPE_CHECKING:
    from conftest import StackFactory

DAGS = Path(__file__).parent / "dags"
RUN = "run"
ROWS = 40

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def emulator(clock: Clock) -> Iterator[Emulator]:
    with Emulator(clock=clock, link_ttl=10**8) as running:
        yield running


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tables")


@pytest.fixture(scope="module")
def stack(stack_factory: StackFactory, emulator: Emulator, out: Path) -> Iterator[AirflowStack]:
    """Airflow that notices within seconds what died; by default it takes minutes."""
    connection = {"conn_type": "grokvideo", "host": emulator.base_url, "password": emulator.api_key}
    env = {
        "AIRFLOW_CONN_GROKVIDEO_DEFAULT": json.dumps(connection),
        "GROKVIDEO_TEST_OUTPUT": str(out / "videos"),
        "GROKVIDEO_TEST_MARKERS": str(out / "markers"),
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "2",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "10",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
        "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
        "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "10",
        "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "3",
        "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "5",
        "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "1",
    }
    running = stack_factory(DAGS, env, parallelism=4)
    # All three begin at once, so that each waits while another is killed.
    for name in ("triggerer", "scheduler", "delivering"):
        running.api.trigger(f"bulk_{name}", run_id=RUN)
    yield running
    running.stop()


def state_of(stack: AirflowStack, name: str) -> str | None:
    """Return the state of the task that makes a table."""
    return str(stack.api.task_instances(f"bulk_{name}", RUN)[0]["state"])


def in_flight(stack: AirflowStack, emulator: Emulator, name: str) -> None:
    """Wait until all rows of a table are bought, and one trigger waits for them."""
    until(
        lambda: bought(emulator, name) == ROWS and state_of(stack, name) == "deferred",
        f"{ROWS} rows of {name} wait",
        timeout=180,
    )


def bought(emulator: Emulator, name: str) -> int:
    """Return how many starts of a table the service accepted."""
    return sum(start.prompt.startswith(f"{name}/") for start in emulator.starts)


def judge(stack: AirflowStack, emulator: Emulator, out: Path, name: str) -> None:
    """See that a run succeeded, and that each row was bought once, is stored, and is told in the table."""
    assert "success" == stack.api.wait_run(f"bulk_{name}", RUN, timeout=240)
    lines = lines_of(out / "videos" / name / "make.jsonl")
    assert {f"r{row}": "delivered" for row in range(ROWS)} == {line["id"]: line["status"] for line in lines}
    for row, line in enumerate(lines):
        starts = [start for start in emulator.starts if start.prompt.startswith(f"{name}/{row} ")]
        assert [line["request_id"]] == [start.request_id for start in starts]
        assert line["request_id"] == delivered(out / "videos" / name / f"r{row}.mp4", starts)


@pytest.mark.parametrize(("component", "seconds"), [("triggerer", 200_000), ("scheduler", 2_000_000)])
def test_forty_rows_in_flight_and_a_component_killed(
    stack: AirflowStack, emulator: Emulator, clock: Clock, out: Path, component: str, seconds: int
):
    """Rows that wait while the triggerer or the scheduler dies are waited for by the next one, and bought once."""
    in_flight(stack, emulator, component)

    stack.kill(component, signal.SIGKILL)
    stack.restart(component)
    clock.skip(seconds)

    judge(stack, emulator, out, component)


def test_a_worker_killed_in_the_middle_of_delivering(stack: AirflowStack, emulator: Emulator, out: Path):
    """The try after a worker that died between two deliveries stores the other rows and buys none."""
    judge(stack, emulator, out, "delivering")

    (task,) = stack.api.task_instances("bulk_delivering", RUN)
    assert (out / "markers" / "delivering").exists()
    assert task["try_number"] > 1


def test_the_tables_are_in_the_ledger(stack: AirflowStack, emulator: Emulator):
    """Whatever was killed, each row is booked to the tick, and nothing is left reserved."""
    entries = open_sqlite(str(stack.home / "grokvideo_ledger.db")).entries()

    assert {start.request_id: start.billed_ticks for start in emulator.starts} == {
        entry.request_id: entry.billed for entry in entries if entry.counted
    }
    assert {"settled"} == {entry.state for entry in entries}
    assert 3 * ROWS == len(emulator.starts)
