"""One mapped task that makes many short videos; ``scripts/scale_out.py`` runs it."""

import os
from datetime import timedelta

from airflow.sdk import DAG

from airflow_provider_grokvideo.operators.grokvideo import GrokVideoGenerateOperator

OUT = os.environ.get("SCALE_OUT_OUTPUT", "videos")
VIDEOS = int(os.environ.get("SCALE_OUT_VIDEOS", "1"))
SHORTEST, LONGEST = 45, 75


def prompt(number: int) -> str:
    """Return the prompt of a video, which is done after 45 to 75 s, evenly spread over the numbers."""
    seconds = SHORTEST + 7 * number % (LONGEST - SHORTEST + 1)
    return f"Video {number} of a paper boat [[emulator: tempo=seconds:{seconds}]]"


with DAG("scale_out", schedule=None):
    GrokVideoGenerateOperator.partial(
        task_id="generate",
        duration=1,
        destination=OUT + "/{{ ti.map_index }}.mp4",
        retries=2,
        retry_delay=timedelta(seconds=5),
    ).expand(prompt=[prompt(number) for number in range(VIDEOS)])
