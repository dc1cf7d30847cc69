"""The small pieces of the benchmarks of cost; what they measure is for `make bench`."""

from __future__ import annotations

import io

import pytest

from airflow_provider_grokvideo.media import boxes
from benchmarks import airflow_runs, costs

FETCHED = {
    "large_mb": 200,
    "small_mb": 2,
    "rows": [
        {
            "way": "fetch",
            "large": {"bytes": 200_000_000, "wall_s": 0.5, "cpu_s": 0.25, "growth_mb": 3.2},
            "small": {"bytes": 2_000_000, "wall_s": 0.1, "cpu_s": 0.05, "growth_mb": 2.9},
        }
    ],
    "missing": {"curl": "there is no curl here"},
}

RUNS = {
    "videos": 50,
    "seconds": 30.0,
    "slots": 4,
    "rows": [
        {
            "who": "ours",
            "state": "success",
            "wall_s": 61.4,
            "slot_s": 40.6,
            "cpu_s": {"workers": 25.2, "triggerer": 1.23, "scheduler": 4.0, "api-server": 9.0},
            "polls": 125,
            "done": 50,
            "paid": 50,
        }
    ],
}


def test_a_stretched_clip_is_as_valid_as_before():
    """The large video has exactly the size asked for, and the structure of the clip."""
    clip = costs.a_clip()
    large = io.BytesIO()
    costs.stretch(clip, len(clip) + 3_000_001, large)

    assert len(clip) + 3_000_001 == len(large.getvalue())
    assert boxes.walk(io.BytesIO(clip)) == boxes.walk(large)


def test_a_clip_is_not_cut_to_a_size():
    """A size that the clip exceeds is an error instead of a damaged file."""
    with pytest.raises(ValueError, match="100 bytes already"):
        costs.stretch(bytes(100), 107, io.BytesIO())


def test_the_table_of_imports_has_airflow_for_scale():
    """Milliseconds on top of airflow.sdk, and its own beside them."""
    text = costs.imports_table({"ours.operators": {"cpu": 0.0184, "wall": 0.0196, "sdk": 1.0361}})

    assert ["| `ours.operators` | 18 | 20 |", "| for scale: `airflow.sdk` itself | 1,036 | |"] == text.splitlines()[2:]


def test_the_table_of_parsing_has_a_sum():
    """Each example, all together, and files without ours for scale."""
    text = costs.parsing_table(
        {
            "files": {"quickstart.py": 0.052, "paid_once.py": 0.058},
            "sum": 0.11,
            "without_ours": {"one @task": 0.031},
        }
    )

    assert "| all 2 | 110 |\n| for scale: one @task | 31 |" in text


def test_the_table_of_fetching_says_what_is_missing():
    """Throughput counts what has arrived; a way that could not be measured is not left out."""
    text = costs.fetching_table(FETCHED)

    assert "| our download with its SHA-256, into a file | 400 | 0.25 | 3 | 3 |" in text
    assert "| curl, into a file | not measured: there is no curl here | | | |" in text


def test_the_table_of_runs_compares_with_the_ideal():
    """A run is held against the time that one video takes."""
    text = airflow_runs.table(RUNS)

    assert "| GrokVideoGenerateOperator | 61 | 2.0 | 41 | 25 | 1.2 | 2.5 | 50 | 50 |" in text


def test_the_dags_of_the_runs_can_be_parsed():
    """There is a DAG for each row and one to warm up, each with one mapped task."""
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(dag_folder=airflow_runs.DAGS, load_op_links=False)

    assert {} == bag.import_errors
    assert {*airflow_runs.NAMES, airflow_runs.WARM_UP} == set(bag.dags)
    mapped = {name for name, dag in bag.dags.items() if all(task.is_mapped for task in dag.tasks)}
    assert {*airflow_runs.MAPPED, airflow_runs.WARM_UP} == mapped
