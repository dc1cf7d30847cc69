"""What the end-to-end test runs: three videos from one mapped task, an edit of the first, and a sensor."""

import os

from airflow.sdk import DAG, task

from airflow_provider_grokvideo.operators.grokvideo import GrokVideoEditOperator, GrokVideoGenerateOperator
from airflow_provider_grokvideo.sensors.grokvideo import GrokVideoSensor

OUT = os.environ.get("GROKVIDEO_TEST_OUTPUT", "videos")


@task
def first(manifests):
    """Pick the first of the mapped results."""
    return next(iter(manifests))


with DAG("end_to_end", schedule=None):
    generate = GrokVideoGenerateOperator.partial(
        task_id="generate",
        duration=2,
        destination=OUT + "/{{ ti.task_id }}-{{ ti.map_index }}.mp4",
    ).expand(prompt=["A red ball", "A green ball", "A blue ball"])

    edit = GrokVideoEditOperator(
        task_id="edit",
        prompt="Make it snow",
        video=first(generate.output),
        destination=OUT + "/edit.mp4",
    )

    submit = GrokVideoGenerateOperator(task_id="submit", prompt="A yellow ball", duration=1, wait_for_completion=False)

    sense = GrokVideoSensor(task_id="sense", request_id=submit.output, destination=OUT + "/sensed.mp4")
