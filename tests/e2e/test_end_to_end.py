"""The whole way through the four real Airflow processes."""

from __future__ import annotations

import json
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import pytest
from stack import AirflowStack

from airflow_provider_grokvideo.emulator import Emulator

DAGS = Path(__file__).parent / "dags"

pytestmark = pytest.mark.e2e


def seconds_of(path: Path) -> float:
    """Decode a video to its last frame and return its length in seconds."""
    with av.open(str(path)) as video:
        frames = sum(1 for _ in video.decode(video=0))
        return frames / float(video.streams.video[0].average_rate)


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    """An emulator whose jobs take six seconds unless their prompt says otherwise."""
    with Emulator(tempo="seconds:6") as running:
        yield running


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the videos go: a folder with blanks in its name."""
    return tmp_path_factory.mktemp("videos of the test")


@pytest.fixture(scope="module")
def stack(stack_factory: Callable[..., AirflowStack], emulator: Emulator, out: Path) -> Iterator[AirflowStack]:
    """Four Airflow processes whose default connection is the emulator."""
    connection = {"conn_type": "grokvideo", "host": emulator.base_url, "password": emulator.api_key}
    env = {
        "AIRFLOW_CONN_GROKVIDEO_DEFAULT": json.dumps(connection),
        "GROKVIDEO_TEST_OUTPUT": str(out),
        # How long a dead triggerer's work stays with it; 30 s by default.
        "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "5",
        "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "1",
    }
    running = stack_factory(DAGS, env)
    yield running
    running.stop()


def logs_of(stack: AirflowStack) -> str:
    """Return everything that any component or task logged."""
    return "".join(path.read_text(errors="replace") for path in stack.home.rglob("*.log"))


def test_mapped_videos_an_edit_and_a_sensor(stack: AirflowStack, emulator: Emulator, out: Path):
    """Five videos are bought by five starts, delivered playable, described truly, and no log knows the key."""
    run_id = stack.api.trigger("end_to_end")
    state = stack.api.wait_run("end_to_end", run_id, timeout=240)
    tasks = {(ti["task_id"], ti["map_index"]): ti for ti in stack.api.task_instances("end_to_end", run_id)}
    logs = logs_of(stack)

    assert "success" == state, {key: ti["state"] for key, ti in tasks.items()}
    assert 7 == len(tasks)
    assert [1] * 7 == [ti["try_number"] for ti in tasks.values()]
    assert {"text-to-video": 4, "edit": 1} == Counter(start.mode for start in emulator.starts)
    expected = {"generate-0": 2, "generate-1": 2, "generate-2": 2, "edit": 2, "sensed": 1}
    assert expected == {path.stem: round(seconds_of(path)) for path in out.glob("*.mp4")}
    records = {path.stem: json.loads(path.read_text()) for path in out.glob("*.json")}
    assert {start.request_id for start in emulator.starts} == {record["request_id"] for record in records.values()}
    assert emulator.billed_ticks / 10**10 == pytest.approx(sum(record["cost_usd"] for record in records.values()))
    assert 0 == emulator.leaks
    assert "was accepted by xAI" in logs
    assert emulator.api_key not in logs


def test_a_triggerer_killed_while_it_waits_costs_nothing(stack: AirflowStack, emulator: Emulator, out: Path):
    """After kill -9 of the triggerer and its restart the same request is waited for, delivered, and bought once."""
    emulator.reset()
    run_id = stack.api.trigger("patient")

    def killed_once(tasks: list[dict[str, Any]]) -> None:
        if emulator.polls and any(emulator.polls.values()) and not killed:
            killed.append(stack.pid("triggerer"))
            stack.kill("triggerer", signal.SIGKILL)
            stack.restart("triggerer")

    killed: list[int] = []
    state = stack.api.wait_run("patient", run_id, timeout=180, on_tick=killed_once)

    (start,) = emulator.starts
    assert "success" == state
    assert [stack.pid("triggerer")] != killed != []
    assert 1 == round(seconds_of(out / "snail.mp4"))
    assert start.request_id == json.loads((out / "snail.json").read_text())["request_id"]
