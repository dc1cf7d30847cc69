"""The provider's operator for tables, with all videos as its rows."""

from __future__ import annotations

from airflow.sdk import DAG

from airflow_provider_grokvideo.operators.grokvideo import GrokVideoBulkOperator
from benchmarks.by_hand import OUT, REQUEST, VIDEOS

with DAG("bulk", schedule=None):
    GrokVideoBulkOperator(
        task_id="videos",
        rows=[{"id": str(number), **REQUEST} for number in range(VIDEOS)],
        destination=f"{OUT}/bulk/{{id}}.mp4",
        max_in_flight=VIDEOS,
    )
