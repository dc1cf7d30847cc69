"""A clip that is paid once, and the three ways to say that it may be paid again.

`clip` has retries, because they are free: each goes on with the request that was bought. If its start is ever in doubt
the task stops: run the command in its error message and clear it, or trigger the DAG again with the request id from the
xAI console in `adopt`. `take` is another take whenever it is cleared. `cheap` is not worth anybody's time: it buys
again when its start is in doubt or the service gives up on it.

On Airflow 3.1 and 3.2 set `[grokvideo] journal_path` first; on 3.3 nothing is needed.

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
    params={"output": OUTPUT, "adopt": ""},
    default_args={"retries": 3, "retry_delay": timedelta(minutes=1)},
    tags=["grokvideo"],
    doc_md=__doc__,
):
    GrokVideoGenerateOperator(
        task_id="clip",
        prompt="A lighthouse keeper climbs the stairs with a lantern",
        duration=5,
        destination=FOLDER + "/clip.mp4",
        adopt_request_id="{{ params.adopt }}",
    )

    GrokVideoGenerateOperator(
        task_id="take",
        prompt="The lantern is lit, close-up",
        duration=2,
        destination=FOLDER + "/take.mp4",
        rerun="regenerate",
    )

    GrokVideoGenerateOperator(
        task_id="cheap",
        prompt="The light sweeps over the sea",
        duration=1,
        destination=FOLDER + "/cheap.mp4",
        on_ambiguous_submit="resubmit",
        buy_again_after=["failed"],
    )
