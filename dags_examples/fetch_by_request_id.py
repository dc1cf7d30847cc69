"""Fetch a video by its request id, which is in the task log and in error messages.

Cost: nothing; the video is already paid.
Change: ``request_id`` when the run is triggered. The connection must belong to the account that submitted the request.
"""

import os

from airflow.sdk import DAG, Param

from airflow_provider_grokvideo.sensors.grokvideo import GrokVideoSensor

OUTPUT = os.environ.get("GROKVIDEO_DEMO_OUTPUT", "~/grokvideo")

with DAG(
    "grokvideo_fetch_by_request_id",
    schedule=None,
    params={
        "request_id": Param(type="string", minLength=1, description="From a task log or an error message"),
        "output": OUTPUT,
        "grokvideo_conn_id": "grokvideo_default",
    },
    tags=["grokvideo"],
    doc_md=__doc__,
):
    GrokVideoSensor(
        task_id="fetch",
        request_id="{{ params.request_id }}",
        destination="{{ params.output }}/",
        grokvideo_conn_id="{{ params.grokvideo_conn_id }}",
        retries=2,
    )
