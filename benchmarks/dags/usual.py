"""The usual deferrable operator, mapped over all videos."""

from __future__ import annotations

from airflow.sdk import DAG

from benchmarks.by_hand import OUT, REQUEST, VIDEOS, UsualOperator

with DAG("usual", schedule=None, max_active_tasks=64):
    UsualOperator.partial(
        task_id="video", path=f"{OUT}/usual/{{{{ ti.map_index }}}}.mp4", duration=REQUEST["duration"]
    ).expand(prompt=[REQUEST["prompt"]] * VIDEOS)
