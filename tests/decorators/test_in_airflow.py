"""Decorated functions in DAGs that Airflow runs: mapping, partial and override, templates, skips, retries."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

LOCAL = "airflow.dag_processing.bundles.local.LocalDagBundle"
DAGS = Path(__file__).with_name("dags") / "decorated.py"

pytestmark = pytest.mark.usefixtures("airflow_db", "grokvideo_emulator", "grokvideo_connection")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], dict[Any, Any]]:
    """Return how to run a DAG in this process; it returns state and result of each task instance."""
    monkeypatch.setenv("AIRFLOW__GROKVIDEO__LEDGER_PATH", str(tmp_path / "ledger.db"))
    bundle = {"name": "dags-folder", "classpath": LOCAL, "kwargs": {"path": str(DAGS.parent)}}
    monkeypatch.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST", json.dumps([bundle]))

    def run_dag(dag_id: str) -> dict[Any, Any]:
        from airflow.dag_processing.dagbag import DagBag

        bag = DagBag(dag_folder=str(DAGS))
        assert {} == bag.import_errors
        tis = bag.dags[dag_id].test(run_conf={"out": str(tmp_path)}).get_task_instances()
        names = {ti: ti.task_id if ti.map_index < 0 else (ti.task_id, ti.map_index) for ti in tis}
        pulled = {ti: ti.xcom_pull(task_ids=ti.task_id, map_indexes=ti.map_index) for ti in tis}
        return {names[ti]: (str(ti.state), pulled[ti]) for ti in tis}

    return run_dag


def test_a_mapped_function_makes_a_video_per_item(run, tmp_path, grokvideo_emulator):
    """``expand`` and ``partial`` give the function its arguments, and each map index its own video."""
    found = run("decorated_mapped")

    assert {"success"} == {state for state, _ in found.values()}
    prompts = sorted(start.prompt.partition(" [[")[0] for start in grokvideo_emulator.starts)
    assert ["A ball in snow", "A kite in snow"] == prompts
    uris = [found["clip", index][1]["uri"] for index in (0, 1)]
    assert [f"file://{tmp_path}/{index}.mp4" for index in (0, 1)] == uris


def test_a_table_of_another_tasks_result(run, tmp_path, grokvideo_emulator):
    """A function takes another task's result and the context; the next task gets what its table came to."""
    found = run("decorated_table")

    assert ("success", 2) == found["count"]
    assert 2 * 500_000_000 == grokvideo_emulator.billed_ticks
    assert str(tmp_path / "short.jsonl") == found["short"][1]["table_uri"]


def test_a_skip_of_the_function_skips_the_task(run, grokvideo_emulator):
    """A function that raises AirflowSkipException skips its task, and nothing is bought."""
    assert {"skipped": ("skipped", None)} == run("decorated_skip")
    assert [] == grokvideo_emulator.starts


def test_a_function_that_fails_once_is_called_again(run, grokvideo_emulator):
    """A retry calls the function again, because nothing was kept of a call that raised."""
    assert "success" == run("decorated_retry")["second"][0]
    assert 1 == len(grokvideo_emulator.starts)
