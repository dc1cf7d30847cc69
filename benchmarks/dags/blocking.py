"""A function that submits and waits in the worker, mapped over all videos."""

from __future__ import annotations

from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG

from benchmarks.by_hand import VIDEOS, make_video

with DAG("blocking", schedule=None, max_active_tasks=64):
    PythonOperator.partial(task_id="video", python_callable=make_video).expand(
        op_args=[["blocking", number] for number in range(VIDEOS)]
    )
