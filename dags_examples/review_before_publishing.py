"""You review a clip before it is published, and can request another take with another prompt.

The clip is made and stored; then its review pauses, without a worker slot, and Browse > Required Actions shows its
poster, its prompt and its cost. "Approve" publishes it, "Reject" skips publishing, and "Another take" buys one more
with the prompt in the form and asks again. Without a response within two days the review fails, and nothing is
published.

Cost: 0.42 USD at xAI, and 0.42 USD for each other take; 1.26 USD at most. Change: the prompt, `max_takes`, who may
respond (`assigned_users`), and what `publish` does.
"""

import os
from datetime import timedelta

from airflow.sdk import DAG, task

from airflow_provider_grokvideo.operators.grokvideo import GrokVideoGenerateOperator, GrokVideoReviewOperator

OUTPUT = os.environ.get("GROKVIDEO_DEMO_OUTPUT", "~/grokvideo")

with DAG(
    "grokvideo_review_before_publishing",
    schedule=None,
    params={"output": OUTPUT, "prompt": "A lighthouse at dawn, waves, the camera rises slowly", "seconds": 6},
    tags=["grokvideo"],
    doc_md=__doc__,
):
    film = GrokVideoGenerateOperator(
        task_id="film",
        prompt="{{ params.prompt }}",
        duration="{{ params.seconds }}",
        resolution="720p",
        destination="{{ params.output }}/review/{{ run_id | replace(':', '-') }}/lighthouse.mp4",
        retries=2,
    )
    approved = GrokVideoReviewOperator(
        task_id="review",
        video=film.output,
        max_takes=3,
        response_timeout=timedelta(days=2),
        retries=2,
    )

    @task
    def publish(video: dict) -> str:
        """Publish the approved clip; here it only returns its URI."""
        return video["uri"]

    publish(approved.output)
