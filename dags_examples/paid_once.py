"""A clip that is paid once, and how to allow that it is paid again.

`clip` has retries, because they are free: each resumes the request that was submitted. If it is not known whether its
submission was accepted, the task stops: run the command in its error message and clear the task. `take` submits
again whenever it is cleared. `cheap` costs less than your attention: it submits again when its submission is
unconfirmed or its request fails.

On Airflow 3.1 and 3.2 with another executor than the LocalExecutor, set `[grokvideo] ledger_conn_id` or `journal_path`
first.

Cost: 0.25 USD, 0.10 USD and 0.05 USD at xAI, once. Change: the prompts.
"""

import os
from datetime import timedelta

from airflow.sdk import DAG

from airflow_provider_grokvideo.operators.grokvideo import GrokVideoGenerateOperator

OUTPUT = os.environ.get("GROKVIDEO_DEMO_OUTPUT", "~/grokvideo")
FOLDER = "{{ params.output }}/paid_once/{{ run_id | replace(':', '-') }}"

with DAG(
    "grokvideo_paid_once",
    schedule=None,
    params={"output": OUTPUT},
    default_args={"retries": 3, "retry_delay": timedelta(minutes=1)},
    tags=["grokvideo"],
    doc_md=__doc__,
):
    GrokVideoGenerateOperator(
        task_id="clip",
        prompt="A lighthouse keeper climbs the stairs with a lantern",
        duration=5,
        destination=FOLDER + "/clip.mp4",
    )

    GrokVideoGenerateOperator(
        task_id="take",
        prompt="The lantern is lit, close-up",
        duration=2,
        destination=FOLDER + "/take.mp4",
        resubmit_on=["cleared"],
    )

    GrokVideoGenerateOperator(
        task_id="cheap",
        prompt="The light sweeps over the sea",
        duration=1,
        destination=FOLDER + "/cheap.mp4",
        resubmit_on=["unconfirmed", "failed"],
    )
