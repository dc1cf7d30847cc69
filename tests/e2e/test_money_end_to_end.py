"""Money in the four real Airflow processes: a person is asked, a budget stops, the ledger is the bill."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pendulum
import pytest
from stack import AirflowStack

from airflow_provider_grokvideo.emulator import Emulator
from airflow_provider_grokvideo.ledger.sql import SqlLedger, open_sqlite

EXAMPLES = Path(__file__).parents[2] / "dags_examples"
ASK = "grokvideo_ask_above_five_dollars"
STOP = "grokvideo_stop_at_twenty_a_day"

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    """An emulator whose jobs take six seconds."""
    with Emulator(tempo="seconds:6") as running:
        yield running


@pytest.fixture(scope="module")
def stack(
    stack_factory: Callable[..., AirflowStack], emulator: Emulator, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AirflowStack]:
    """Four Airflow processes with the example DAGs, whose connection is the emulator."""
    connection = {"conn_type": "grokvideo", "host": emulator.base_url, "password": emulator.api_key}
    env = {
        "AIRFLOW_CONN_GROKVIDEO_DEFAULT": json.dumps(connection),
        "GROKVIDEO_DEMO_OUTPUT": str(tmp_path_factory.mktemp("clips")),
    }
    running = stack_factory(EXAMPLES, env)
    yield running
    running.stop()


@pytest.fixture
def ledger(stack: AirflowStack) -> SqlLedger:
    """The embedded ledger of that Airflow."""
    return open_sqlite(str(stack.home / "grokvideo_ledger.db"))


def questions(stack: AirflowStack, run_id: str) -> dict[int, dict[str, Any]]:
    """Return what people are asked in a run and have not answered, by map index."""
    path = f"/dags/{ASK}/dagRuns/{run_id}/hitlDetails"
    found = stack.api.call("GET", path, params={"response_received": False})["hitl_details"]
    return {each["task_instance"]["map_index"]: each for each in found}


def answer(stack: AirflowStack, run_id: str, map_index: int, choice: str) -> None:
    """Answer as a person under Required Actions does."""
    path = f"/dags/{ASK}/dagRuns/{run_id}/taskInstances/take/{map_index}/hitlDetails"
    stack.api.call("PATCH", path, json={"chosen_options": [choice], "params_input": {}})


def test_a_person_is_asked_above_the_budget_and_decides(stack: AirflowStack, emulator: Emulator, ledger: SqlLedger):
    """The first take is bought at once; of the two others a person allows one; the ledger says who, and is the bill."""
    asked: dict[int, dict[str, Any]] = {}
    starts_when_asked: list[int] = []

    def tick(tasks: list[dict[str, Any]]) -> None:
        open_questions = questions(stack, run_id)
        others = [ti for ti in tasks if ti["map_index"] not in open_questions]
        if len(open_questions) != 2 or asked or any(ti["state"] not in ("deferred", "success") for ti in others):
            return
        # As people do: Airflow takes a task for failed whose answer comes before its scheduler has seen the pause, and
        # a worker that is slow to end can delay that by seconds.
        if any(pendulum.now() < pendulum.parse(each["created_at"]).add(seconds=12) for each in open_questions.values()):
            return
        asked.update(open_questions)
        starts_when_asked.append(len(emulator.starts))
        allowed, refused = sorted(open_questions)
        answer(stack, run_id, allowed, "Buy")
        answer(stack, run_id, refused, "Do not buy")

    run_id = stack.api.trigger(ASK, {"ask_above": "0.15", "seconds": 1, "resolution": "480p"})
    state = stack.api.wait_run(ASK, run_id, timeout=180, on_tick=tick)
    states = {ti["map_index"]: ti["state"] for ti in stack.api.task_instances(ASK, run_id)}

    assert "success" == state, states
    assert [1] == starts_when_asked
    assert ["skipped", "success", "success"] == sorted(states.values())
    assert "skipped" == states[max(asked)]
    body = asked[min(asked)]["body"]
    assert "Buy a video for 0.08 USD?" == asked[min(asked)]["subject"]
    assert "0.08 USD spent or reserved and 0.07 USD left" in body
    assert "A ship leaves the harbour" in body
    assert ["Buy", "Do not buy"] == asked[min(asked)]["options"]
    entries = ledger.entries()
    assert {None, "Anonymous"} == {entry.approved_by for entry in entries}
    assert (
        emulator.billed_ticks == sum(entry.counted for entry in entries) == sum(entry.billed or 0 for entry in entries)
    )


def test_a_budget_stops_tasks_that_run_side_by_side(stack: AirflowStack, emulator: Emulator, ledger: SqlLedger):
    """Three clips want the last dollars of the day at the same moment: as many are bought as fit, the others skip."""
    before = emulator.billed_ticks
    run_id = stack.api.trigger(STOP, {"usd_per_day": "0.12", "seconds": 1})
    state = stack.api.wait_run(STOP, run_id, timeout=180)
    states = sorted(ti["state"] for ti in stack.api.task_instances(STOP, run_id))
    again = stack.api.trigger(STOP, {"usd_per_day": "0.12", "seconds": 1})
    stack.api.wait_run(STOP, again, timeout=180)

    assert ("success", ["skipped", "success", "success"]) == (state, states)
    assert 2 * 500_000_000 == emulator.billed_ticks - before
    assert ["skipped"] * 3 == [ti["state"] for ti in stack.api.task_instances(STOP, again)]


def test_the_report_of_the_shell_is_the_bill(stack: AirflowStack, emulator: Emulator):
    """Somebody at a shell of the machine sees what was spent, to the tick, without saying where the ledger is."""
    command = [sys.executable, "-m", "airflow_provider_grokvideo", "spend", "--format", "json"]
    found = subprocess.run(command, env=stack.env, capture_output=True, text=True, timeout=60, check=True)

    assert emulator.billed_ticks == int(float(json.loads(found.stdout)["total"]["billed_usd"]) * 10**10)
