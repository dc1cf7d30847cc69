"""Videos of every outcome, for the page that shows them."""

import os
from pathlib import Path

from airflow.sdk import DAG, task

from airflow_provider_grokvideo.operators.grokvideo import (
    GrokVideoBulkOperator,
    GrokVideoEditOperator,
    GrokVideoGenerateOperator,
    GrokVideoReviewOperator,
)
from airflow_provider_grokvideo.sensors.grokvideo import GrokVideoSensor

OUT = os.environ.get("GROKVIDEO_TEST_OUTPUT", "videos")
PICTURE = os.environ.get("GROKVIDEO_TEST_PICTURE", "picture.png")
WORDS = {"duration": 2, "destination": OUT + "/{{ ti.task_id }}.mp4"}


def clip(task_id: str, prompt: str, **words) -> GrokVideoGenerateOperator:
    return GrokVideoGenerateOperator(task_id=task_id, prompt=prompt, **{**WORDS, **words})


with DAG("films", schedule=None):
    lighthouse = clip("lighthouse", "A lighthouse on a cliff at dawn, waves below", duration=3)
    snow = GrokVideoEditOperator(
        task_id="snow", prompt="Make it snow", video=lighthouse.output, destination=OUT + "/snow.mp4"
    )
    GrokVideoEditOperator(
        task_id="night", prompt="Turn the day into night", video=snow.output, destination=OUT + "/night.mp4"
    )
    clip("animated", "The picture comes alive", image=PICTURE)
    clip("tall", "A waterfall in a narrow gorge", aspect_ratio="9:16", resolution="720p")
    GrokVideoGenerateOperator.partial(
        task_id="balls", duration=1, destination=OUT + "/ball-{{ ti.map_index }}.mp4"
    ).expand(prompt=["A red ball", "A green ball"])
    clip("link_only", "A kite over a field", destination=None)

    @task
    def without_video():
        """Do something else."""
        return Path(OUT).name

    without_video()

with DAG("troubles", schedule=None):
    clip("moderated", "Something that must not be shown")
    clip("failed", "A machine that breaks")
    clip("expired", "A dream that is forgotten")
    clip("doubtful", "An echo in a tunnel")
    clip("too_dear", "A golden palace", max_cost_usd=0.01)
    clip("asking", "A golden hut", max_cost_usd=0.01, on_limit="ask")
    clip("not_stored", "A letter in a bottle")

with DAG("patience", schedule=None):
    clip("waiting", "A flower opens in the morning sun")
    clip("late", "A snail crosses a road", timeout=6)
    submitted = clip("submitted", "A parcel on its way", wait_for_completion=False)
    GrokVideoSensor(task_id="sensed", request_id=submitted.output, destination=OUT + "/sensed.mp4")

with DAG("reviewed", schedule=None):
    film = clip("film", "A paper boat sails down a stream in the rain", duration=3)
    GrokVideoReviewOperator(task_id="review", video=film.output, max_takes=3)

ROWS = {
    "harbour": "A harbour at sunrise, gulls above the masts",
    "fight": "A fight that nobody should see",
    "market": "A flower market after the rain",
    "tram": "A yellow tram climbs a steep street",
    "bakery": "Steam rises from fresh bread in a bakery",
    "meadow": "Wind moves through a meadow of poppies",
    "harvest": "A tractor crosses a field of wheat at dusk",
    "clock": "A clock without hands",
    "long": "A river from its source to the sea",
    "bridge": "Fog drifts under a stone bridge",
}

with DAG("tables", schedule=None):
    GrokVideoBulkOperator(
        task_id="postcards",
        rows=[{"id": name, "prompt": prompt, "duration": 99 if name == "long" else 2} for name, prompt in ROWS.items()],
        destination=OUT + "/postcards/{id}.mp4",
        on_bad_rows="skip",
        min_success_ratio=0.5,
    )

with DAG("secret_films", schedule=None):
    clip("hidden", "A door that stays shut")
