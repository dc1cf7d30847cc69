"""Decorated functions in DAGs that Airflow runs: mapping, partial and override, templates, skips, retries."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG, task

FAST = " [[emulator: tempo=polls:1]]"

pytestmark = pytest.mark.usefixtures("airflow_db", "grokvideo_emulator", "grokvideo_connection")


def run(dag: Any) -> dict[Any, Any]:
    """Run a DAG in this process; return state and result of each task instance."""
    dag_run = dag.test()
    return {
        ti.task_id if ti.map_index < 0 else (ti.task_id, ti.map_index): (
            str(ti.state), ti.xcom_pull(task_ids=ti.task_id, map_indexes=ti.map_index)
        )
        for ti in dag_run.get_task_instances()
    }  # fmt: skip


@pytest.fixture(autouse=True)
def _sql(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__GROKVIDEO__LEDGER_PATH", str(tmp_path / "ledger.db"))


def test_a_mapped_function_makes_a_video_per_item(tmp_path, grokvideo_emulator):
    """``expand`` and ``partial`` give the function its arguments, and each map index its own video."""
    with DAG("decorated_mapped", schedule=None, params={"out": str(tmp_path)}) as dag:

        @task.grokvideo(duration=1, destination="{{ params.out }}/{{ ti.map_index }}.mp4")
        def clip(thing: str, place: str) -> dict[str, Any]:
            return {"prompt": f"A {thing} in {place}{FAST}"}

        @task
        def things() -> list[str]:
            return ["ball", "kite"]

        clip.partial(place="snow").expand(thing=things())

    found = run(dag)

    assert {"success"} == {state for state, _ in found.values()}
    prompts = sorted(start.prompt.removesuffix(FAST) for start in grokvideo_emulator.starts)
    assert ["A ball in snow", "A kite in snow"] == prompts
    assert [f"file://{tmp_path}/{index}.mp4" for index in (0, 1)] == [
        found["clip", index][1]["uri"] for index in (0, 1)
    ]


def test_a_table_of_another_tasks_result(tmp_path, grokvideo_emulator):
    """A function takes another task's result, and what its table came to is an XCom of plain JSON for the next task."""
    with DAG("decorated_table", schedule=None) as dag:

        @task
        def products() -> list[str]:
            return ["cup", "pan"]

        @task.grokvideo(duration=5, destination=f"{tmp_path}/{{id}}.mp4")
        def clips(names: list[str], params=None):
            for name in names:
                yield {"id": name, "prompt": f"A {name}{FAST}"}

        @task
        def count(summary: dict[str, Any]) -> int:
            return summary["counts"]["delivered"]

        count(clips.override(duration=1, task_id="short")(products()))

    found = run(dag)

    assert ("success", 2) == found["count"]
    assert [1, 1] == [start.duration for start in grokvideo_emulator.starts]
    assert str(tmp_path / "short.jsonl") == found["short"][1]["table_uri"]


def test_a_skip_of_the_function_skips_the_task(grokvideo_emulator):
    """A function that raises AirflowSkipException skips its task, and nothing is bought."""
    from airflow.sdk.exceptions import AirflowSkipException

    with DAG("decorated_skip", schedule=None) as dag:

        @task.grokvideo
        def clip() -> str:
            raise AirflowSkipException("no film today")

        clip()

    assert {"clip": "skipped"} == {name: state for name, (state, _) in run(dag).items()}
    assert [] == grokvideo_emulator.starts


def test_a_function_that_fails_once_is_called_again(tmp_path, grokvideo_emulator):
    """A retry calls the function again, because nothing was kept of a call that raised."""
    file = tmp_path / "called"

    with DAG("decorated_retry", schedule=None) as dag:

        @task.grokvideo(duration=1, destination=f"{tmp_path}/a.mp4", retries=1, retry_delay=timedelta(0))
        def clip() -> str:
            if not file.exists():
                file.touch()
                raise ConnectionError("the database is away")
            return f"A ball{FAST}"

        clip()

    assert "success" == run(dag)["clip"][0]
    assert 1 == len(grokvideo_emulator.starts)
