"""A clip each night, in a time zone with summer time, made longer."""

import pendulum
from airflow.sdk import DAG

from airflow_provider_grokvideo.operators.grokvideo import (
    GrokVideoEditOperator,
    GrokVideoExtendOperator,
    GrokVideoGenerateOperator,
)

with DAG(
    "nightly",
    schedule="0 2 * * *",
    start_date=pendulum.datetime(2026, 1, 1, tz="Europe/Berlin"),
    params={"seconds": 6, "resolution": "720p"},
):
    made = GrokVideoGenerateOperator(
        task_id="make",
        prompt="A street on {{ ds }}",
        duration="{{ params.seconds }}",
        resolution="{{ params.resolution }}",
    )
    longer = GrokVideoExtendOperator(task_id="go_on", prompt="Night falls", video=made.output, duration=4)
    GrokVideoEditOperator(task_id="in_winter", prompt="Snow falls", video=longer.output)
