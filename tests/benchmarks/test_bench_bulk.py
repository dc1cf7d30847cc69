"""The small pieces of the benchmark of tables; what it measures is for `make bench`."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import bulk, legs

MEASURED = {
    "in_flight": 200,
    "rows": [
        {
            "who": "mapped", "videos": 10, "wall_s": 28.0, "cpu_s": 6.0, "trigger_cpu_s": 1.8, "legs": 20,
            "peak_mb": 152.1, "xcom_bytes": 1436, "trigger_bytes": 289, "lost": 0, "doubles": 0,
        },
        {
            "who": "bulk", "videos": 1000, "wall_s": 100.0, "cpu_s": 60.0, "trigger_cpu_s": 14.0, "legs": 31,
            "peak_mb": 246.0, "xcom_bytes": 343, "trigger_bytes": 12071, "lost": 1, "doubles": 2,
        },
    ],
}  # fmt: skip


def test_the_table_shows_the_share_of_mapped_tasks():
    """CPU stands per video, and as a share of what a mapped task needs."""
    mapped, one = bulk.table(MEASURED).splitlines()[2:]

    assert "| 10 mapped tasks | 0.600 | 1.00 | 0.180 | 20 | 152 | 1,436 | 289 | 28 | 0 | 0 |" == mapped
    assert "| 1,000 rows, one task | 0.060 | 0.10 | 0.014 | 31 | 246 | 343 | 12,071 | 100 | 1 | 2 |" == one


@pytest.mark.parametrize(("who", "tasks", "rows"), [("bulk", 1, 3), ("mapped", 3, 0)])
def test_a_table_is_one_task(who, tasks, rows):
    """The same videos are one task with a row for each, or a mapped task for each."""
    found = bulk.tasks_of(who, 3, Path("/out"))

    assert tasks == len(found)
    assert rows == len(found[0]["arguments"].get("rows", ()))


def test_a_leg_is_a_process_of_its_own():
    """What a leg uses is counted by its process, and its error ends the measurement."""
    said, cpu = legs._in_child(lambda: sum(range(100_000)))

    assert 4_999_950_000 == said
    assert cpu > 0
    with pytest.raises(RuntimeError, match="ended with status"):
        legs._in_child(lambda: 1 / 0)
