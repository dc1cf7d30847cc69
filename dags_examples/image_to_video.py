"""Animate an image: it becomes the first frame, and the clip has its aspect ratio.

Cost: 5 s of 480p at 0.05 USD and one input image at 0.002 USD: 0.252 USD.
Change: ``image`` when the run is triggered: a path on the worker, an ObjectStorage URL (``s3://my_conn@bucket/a.png``),
a public https URL, a ``data:`` URI or a ``file_...`` id. JPEG, PNG or WebP, at most 10 MiB.
"""

import os
from pathlib import Path

from airflow.sdk import DAG

from airflow_provider_grokvideo.operators.grokvideo import GrokVideoGenerateOperator

OUTPUT = os.environ.get("GROKVIDEO_DEMO_OUTPUT", "~/grokvideo")
LIGHTHOUSE = str(Path(__file__).with_name("images") / "lighthouse.png")

with DAG(
    "grokvideo_image_to_video",
    schedule=None,
    params={"output": OUTPUT, "image": LIGHTHOUSE},
    tags=["grokvideo"],
    doc_md=__doc__,
):
    GrokVideoGenerateOperator(
        task_id="animate",
        image="{{ params.image }}",
        prompt="Waves roll in, the beam of the lighthouse turns slowly, gulls cross the sky",
        duration=5,
        destination="{{ params.output }}/lighthouse.mp4",
    )
