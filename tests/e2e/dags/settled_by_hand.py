"""Mapped videos, some of whose starts go wrong, in a task group and in an operator that a user derived."""

import os

from airflow.sdk import DAG, TaskGroup

from airflow_provider_grokvideo.operators.grokvideo import GrokVideoGenerateOperator

OUT = os.environ.get("GROKVIDEO_TEST_OUTPUT", "videos")


class HouseVideoOperator(GrokVideoGenerateOperator):
    """As users derive one."""


with DAG("settled_by_hand", schedule=None):
    with TaskGroup("films"):
        GrokVideoGenerateOperator.partial(
            task_id="make",
            duration=1,
            destination=OUT + "/{{ ti.map_index }}.mp4",
        ).expand(prompt=["A fine ball", "A ball to find", "A ball that was lost"])

    HouseVideoOperator(task_id="house", prompt="A house", duration=1, destination=OUT + "/house.mp4")
