"""The provider's operator, mapped over all videos."""

from __future__ import annotations

from airflow.sdk import DAG

from airflow_provider_grokvideo.operators.grokvideo import GrokVideoGenerateOperator
from benchmarks.by_hand import OUT, REQUEST, VIDEOS

with DAG("ours", schedule=None, max_active_tasks=64):
    GrokVideoGenerateOperator.partial(
        task_id="video", destination=f"{OUT}/ours/{{{{ ti.map_index }}}}.mp4", duration=REQUEST["duration"]
    ).expand(prompt=[REQUEST["prompt"]] * VIDEOS)
