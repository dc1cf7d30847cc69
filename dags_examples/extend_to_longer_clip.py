"""Make a clip of 20 s: generate 6 s, then extend it by 6 s and by 8 s.

A clip that is extended lasts 2 to 15 s, and 2 to 10 s are added, so a chain ends at 25 s at most. Every step returns
the whole clip so far; only the added seconds are new.

Cost at 480p: 6 x 0.05 USD; then 6 x 0.05 + 6 x 0.01 USD; then 8 x 0.05 + 12 x 0.01 USD: 1.18 USD.
Change: the prompts and lengths.
"""

import os

from airflow.sdk import DAG

from airflow_provider_grokvideo.operators.grokvideo import GrokVideoExtendOperator, GrokVideoGenerateOperator

OUTPUT = os.environ.get("GROKVIDEO_DEMO_OUTPUT", "~/grokvideo")

with DAG(
    "grokvideo_extend_to_longer_clip",
    schedule=None,
    params={"output": OUTPUT},
    tags=["grokvideo"],
    doc_md=__doc__,
):
    opening = GrokVideoGenerateOperator(
        task_id="opening",
        prompt="A paper boat drifts down a rain-wet gutter, close to the water",
        duration=6,
        destination="{{ params.output }}/boat-06s.mp4",
    )
    middle = GrokVideoExtendOperator(
        task_id="middle",
        prompt="The boat passes under a bridge and comes out into sunlight",
        video=opening.output,
        duration=6,
        destination="{{ params.output }}/boat-12s.mp4",
    )
    end = GrokVideoExtendOperator(
        task_id="end",
        prompt="The boat reaches the open river, the camera rises until it is a white dot",
        video=middle.output,
        duration=8,
        destination="{{ params.output }}/boat-20s.mp4",
    )
