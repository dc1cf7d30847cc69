"""Submit a video, do something else, and fetch it when it is needed.

The first task returns as soon as xAI has accepted the request. The sensor waits for it and stores the clip; it never
buys anything, so it can be retried and cleared for free, and it may be in another DAG.

Cost: 5 s of 480p at 0.05 USD: 0.25 USD.
Change: what happens in between. xAI keeps a finished clip for hours, not for days: do not run the sensor too late.
"""

import os

from airflow.sdk import DAG, task

from airflow_provider_grokvideo.operators.grokvideo import GrokVideoGenerateOperator
from airflow_provider_grokvideo.sensors.grokvideo import GrokVideoSensor

OUTPUT = os.environ.get("GROKVIDEO_DEMO_OUTPUT", "~/grokvideo")

with DAG(
    "grokvideo_submit_now_sense_later",
    schedule=None,
    params={"output": OUTPUT},
    tags=["grokvideo"],
    doc_md=__doc__,
):
    submit = GrokVideoGenerateOperator(
        task_id="submit",
        prompt="A potter's hands shape a bowl on the wheel, warm workshop light",
        duration=5,
        wait_for_completion=False,
    )

    @task
    def write_caption() -> str:
        return "Made by hand."

    fetch = GrokVideoSensor(
        task_id="fetch",
        request_id=submit.output,
        destination="{{ params.output }}/potter.mp4",
        retries=2,
    )

    @task
    def publish(caption: str, clip: dict) -> str:
        return f"{caption} {clip['uri']} ({clip['duration']} s)"

    publish(write_caption(), fetch.output)
