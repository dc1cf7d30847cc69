"""One video that takes a while, for tests that make things go wrong meanwhile."""

import os

from airflow.sdk import DAG

from airflow_provider_grokvideo.operators.grokvideo import GrokVideoGenerateOperator

OUT = os.environ.get("GROKVIDEO_TEST_OUTPUT", "videos")

with DAG("patient", schedule=None):
    GrokVideoGenerateOperator(
        task_id="generate",
        prompt="A snail crosses a leaf [[emulator: tempo=seconds:25]]",
        duration=1,
        destination=OUT + "/snail.mp4",
    )
