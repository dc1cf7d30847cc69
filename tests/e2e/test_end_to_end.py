"""The whole way through the four real Airflow processes."""

from __future__ import annotations

import json
from pathlib import Path

import av
import pytest

DAGS = Path(__file__).parent / "dags"

pytestmark = pytest.mark.e2e


def seconds_of(path: Path) -> float:
    """Decode a video to its last frame and return its length in seconds."""
    with av.open(str(path)) as video:
        frames = sum(1 for _ in video.decode(video=0))
        return frames / float(video.streams.video[0].average_rate)


def test_mapped_videos_an_edit_and_a_sensor(stack_factory, tmp_path: Path):
    """Five videos are bought by five starts, delivered playable, described truly, and no log knows the key."""
    from airflow_provider_grokvideo.emulator import Emulator

    out = tmp_path / "videos of the test"
    with Emulator(tempo="seconds:6") as emulator:
        connection = {"conn_type": "grokvideo", "host": emulator.base_url, "password": emulator.api_key}
        env = {
            "AIRFLOW_CONN_GROKVIDEO_DEFAULT": json.dumps(connection),
            "GROKVIDEO_TEST_OUTPUT": str(out),
        }
        stack = stack_factory(DAGS, env)
        run_id = stack.api.trigger("end_to_end")
        state = stack.api.wait_run("end_to_end", run_id, timeout=240)
        tasks = {(ti["task_id"], ti["map_index"]): ti for ti in stack.api.task_instances("end_to_end", run_id)}
        logs = "".join(path.read_text(errors="replace") for path in stack.home.rglob("*.log"))
        stack.stop()

    assert "success" == state, {key: ti["state"] for key, ti in tasks.items()}
    assert 7 == len(tasks)
    assert [1] * 7 == [ti["try_number"] for ti in tasks.values()]
    assert {"text-to-video": 4, "edit": 1} == {
        mode: sum(1 for start in emulator.starts if start.mode == mode) for mode in ("text-to-video", "edit")
    }
    expected = {"generate-0": 2, "generate-1": 2, "generate-2": 2, "edit": 2, "sensed": 1}
    assert expected == {path.stem: round(seconds_of(path)) for path in out.glob("*.mp4")}
    records = {path.stem: json.loads(path.read_text()) for path in out.glob("*.json")}
    assert {start.request_id for start in emulator.starts} == {record["request_id"] for record in records.values()}
    assert emulator.billed_ticks / 10**10 == pytest.approx(sum(record["cost_usd"] for record in records.values()))
    assert 0 == emulator.leaks
    assert "was accepted and is billed" in logs
    assert emulator.api_key not in logs
