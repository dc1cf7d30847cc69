"""One clip from a prompt into a bucket: the DAG of the README.

Cost: 0.25 USD, 5 s of 480p.

Change: `prompt`, and `destination` to any ObjectStorage URL or local path.
"""

# [START readme]
from airflow.sdk import DAG

from airflow_provider_grokvideo.operators.grokvideo import GrokVideoGenerateOperator

with DAG("grokvideo_first_video", schedule=None, tags=["grokvideo"]):
    GrokVideoGenerateOperator(
        task_id="generate",
        prompt="A red ball rolls along a sunny beach, the camera follows at its side",
        duration=5,
        destination="s3://bucket/videos/ball.mp4",
    )
# [END readme]
