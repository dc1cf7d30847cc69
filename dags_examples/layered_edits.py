"""Change one clip step by step: add, remove, swap, scene, restyle, colour, camera motion, each on top of the last.

Every step passes its manifest to the next. The next step sends xAI's own temporary link of the clip, so nothing is
uploaded again; if that link may be too old, it sends the delivered file. To compare variants instead of layering them,
give every edit ``video=original.output``.

Cost: 5 s of 480p at 0.05 USD, then seven edits of 5 s at 0.06 USD a second: 2.35 USD. ``max_cost_usd`` is per task.
Change: ``EDITS``. An edited clip may last 8.7 s at most, and every edit keeps its length.
"""

import os

from airflow.sdk import DAG

from airflow_provider_grokvideo.operators.grokvideo import GrokVideoEditOperator, GrokVideoGenerateOperator

OUTPUT = os.environ.get("GROKVIDEO_DEMO_OUTPUT", "~/grokvideo")

EDITS = {
    "add": "Add a red balloon floating in the background",
    "remove": "Remove the parked car from the street",
    "swap": "Replace the dog with a cat",
    "scene": "Transform the scene to a snowy night with street lights",
    "restyle": "Restyle as a watercolor painting animation",
    "colour": "Change the colour of the coat from black to rose gold",
    "motion": "Add a smooth dolly forward motion toward the woman",
}

with DAG(
    "grokvideo_layered_edits",
    schedule=None,
    default_args={"max_cost_usd": 0.4},
    params={"output": OUTPUT},
    tags=["grokvideo"],
    doc_md=__doc__,
):
    original = clip = GrokVideoGenerateOperator(
        task_id="original",
        prompt="A woman in a black coat walks her dog past a parked car, a quiet street in daylight",
        duration=5,
        destination="{{ params.output }}/layers/0-original.mp4",
    )
    for number, (name, prompt) in enumerate(EDITS.items(), start=1):
        clip = GrokVideoEditOperator(
            task_id=name,
            prompt=prompt,
            video=clip.output,
            destination="{{ params.output }}/layers/" + f"{number}-{name}.mp4",
        )
