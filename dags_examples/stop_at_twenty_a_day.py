"""A clip for each product, and never more than 20 USD on one day, however often the DAG runs.

Each task reserves its price in the budget before it sends anything, so two tasks cannot spend the same money. If
today's budget has no room for a clip, it is skipped: trigger the DAG again tomorrow. You can also set the budget in
the connection (`max_usd_per_day`) or in `[grokvideo] budgets`, where it applies to all DAGs.

Cost: 0.40 USD at xAI for each product, 20 USD a day at most. Change: the products and the budget.
"""

import os

from airflow.sdk import DAG

from airflow_provider_grokvideo.operators.grokvideo import GrokVideoGenerateOperator

OUTPUT = os.environ.get("GROKVIDEO_DEMO_OUTPUT", "~/grokvideo")

with DAG(
    "grokvideo_stop_at_twenty_a_day",
    schedule=None,
    params={"output": OUTPUT, "usd_per_day": 20, "seconds": 8},
    tags=["grokvideo"],
    doc_md=__doc__,
):
    GrokVideoGenerateOperator.partial(
        task_id="clip",
        duration="{{ params.seconds }}",
        destination="{{ params.output }}/products/{{ ti.map_index }}.mp4",
        budgets=[{"usd": "{{ params.usd_per_day }}", "per": ["dag", "day"]}],
        on_limit="skip",
        retries=2,
    ).expand(
        prompt=[
            "A kettle on a wooden table, steam rises, the camera circles it",
            "A bicycle leans against a brick wall, morning light",
            "A wristwatch on dark velvet, a slow push in",
        ]
    )
