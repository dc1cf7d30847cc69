"""Guide a clip by images of its subjects and a voice, or pin it to frames; both need grok-imagine-video-1.5.

In a prompt ``<IMAGE_0>``, ``<IMAGE_1>`` ... name the images in the order image, reference_images, keyframes,
last_frame, and ``<AUDIO_0>`` the voices. grok-imagine-video takes reference images, too, up to 10 s, but no voices and
no pinned frames.

Cost at 480p: 6 s at 0.08 USD and two images at 0.01 USD: 0.50 USD; 6 s and three images: 0.51 USD.
Change: ``IMAGES`` and the prompts; up to 14 reference images (7 on the default model), 3 voices, 4 keyframes.
"""

import os
from pathlib import Path

from airflow.sdk import DAG

from airflow_provider_grokvideo.operators.grokvideo import GrokVideoGenerateOperator

OUTPUT = os.environ.get("GROKVIDEO_DEMO_OUTPUT", "~/grokvideo")
IMAGES = str(Path(__file__).with_name("images"))

with DAG(
    "grokvideo_references_and_frames",
    schedule=None,
    default_args={"model": "grok-imagine-video-1.5", "duration": 6},
    params={"output": OUTPUT},
    tags=["grokvideo"],
    doc_md=__doc__,
):
    GrokVideoGenerateOperator(
        task_id="references",
        prompt="The robot of <IMAGE_0> steps off the tram of <IMAGE_1>, waves and says hello with <AUDIO_0>",
        reference_images=[f"{IMAGES}/robot.png", f"{IMAGES}/tram.png"],
        reference_audios=[{"voice_id": "eve"}],
        destination="{{ params.output }}/robot.mp4",
    )
    GrokVideoGenerateOperator(
        task_id="frames",
        prompt="The flower opens in time lapse while night turns into day",
        image=f"{IMAGES}/bud.png",
        keyframes=[{"image": f"{IMAGES}/half_open.png", "timestamp_s": 3}],
        last_frame=f"{IMAGES}/bloom.png",
        destination="{{ params.output }}/flower.mp4",
    )
