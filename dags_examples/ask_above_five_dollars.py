"""Three takes of a scene; as soon as the run would spend more than 5 USD, you are asked to approve.

The first take is within the budget and is bought at once. Each further one would exceed it: its task pauses, without a
worker slot, and Browse > Required Actions shows its price, its prompt and what the run has spent. "Buy" submits
it, "Do not buy" skips the task. Without a response within a day the task fails, and nothing is bought.

Cost: 3.75 USD at xAI, and 3.75 USD for each take that you approve; 11.25 USD at most. Change: the prompts, the budget
and who may respond (`assigned_users`).
"""

import os
from datetime import timedelta

from airflow.sdk import DAG

from airflow_provider_grokvideo.operators.grokvideo import GrokVideoGenerateOperator

OUTPUT = os.environ.get("GROKVIDEO_DEMO_OUTPUT", "~/grokvideo")

with DAG(
    "grokvideo_ask_above_five_dollars",
    schedule=None,
    params={"output": OUTPUT, "ask_above": 5, "seconds": 15, "resolution": "1080p"},
    tags=["grokvideo"],
    doc_md=__doc__,
):
    GrokVideoGenerateOperator.partial(
        task_id="take",
        model="grok-imagine-video-1.5",
        duration="{{ params.seconds }}",
        resolution="{{ params.resolution }}",
        destination="{{ params.output }}/takes/{{ run_id | replace(':', '-') }}/{{ ti.map_index }}.mp4",
        budgets=[{"usd": "{{ params.ask_above }}", "per": "dag_run"}],
        on_limit="ask",
        response_timeout=timedelta(days=1),
        retries=2,
    ).expand(
        prompt=[
            "A ship leaves the harbour at dawn, long shot",
            "A ship leaves the harbour at dawn, from the mast",
            "A ship leaves the harbour at dawn, close to the water",
        ]
    )
