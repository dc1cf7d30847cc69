"""Make a clip, change it by a prompt, and keep both as files.

Cost: 5 s of 480p at 0.05 USD, then an edit of 5 s at 0.06 USD: 0.55 USD.
Change: the prompts, and ``output``: any folder or ObjectStorage URL (``s3://my_conn@bucket/videos``), here or when the
run is triggered. A second run replaces the two files; put ``{{ run_id }}`` into ``destination`` to keep all of them.
"""

# [START quickstart]
import os

from airflow.sdk import DAG

from airflow_provider_grokvideo.operators.grokvideo import GrokVideoEditOperator, GrokVideoGenerateOperator

OUTPUT = os.environ.get("GROKVIDEO_DEMO_OUTPUT", "~/grokvideo")

with DAG("grokvideo_quickstart", schedule=None, params={"output": OUTPUT}, tags=["grokvideo"]):
    generate = GrokVideoGenerateOperator(
        task_id="generate",
        prompt="A red ball rolls along a sunny beach, the camera follows at its side",
        duration=5,
        destination="{{ params.output }}/ball.mp4",
    )
    edit = GrokVideoEditOperator(
        task_id="edit",
        prompt="Turn the summer into winter: snow falls and covers the sand",
        video=generate.output,
        destination="{{ params.output }}/ball-in-winter.mp4",
    )
# [END quickstart]
