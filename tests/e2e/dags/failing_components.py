"""What runs while components of Airflow are killed, and while the service loses its answers.

The videos of the first two DAGs are not done until the test moves the emulator's clock.
"""

from datetime import timedelta

from airflow.sdk import DAG
from places import FILE, PLACE

from airflow_provider_grokvideo.operators.grokvideo import GrokVideoGenerateOperator

VIDEO = {
    "duration": 1,
    "poll_interval": 1,
    "retries": 3,
    "retry_delay": timedelta(seconds=1),
    "destination": FILE,
}
SLOW = f"{PLACE} a snail [[emulator: tempo=seconds:100000]]"

with DAG("waiting", schedule=None):
    GrokVideoGenerateOperator.partial(task_id="wait", **VIDEO).expand(prompt=[SLOW] * 50)

with DAG("mixed", schedule=None):
    GrokVideoGenerateOperator.partial(task_id="wait", **VIDEO).expand(prompt=[SLOW] * 6)
    GrokVideoGenerateOperator.partial(task_id="hold", deferrable=False, **VIDEO).expand(prompt=[SLOW] * 4)

with DAG("lost_answers", schedule=None):
    for task_id, resubmit_on in (("stop", []), ("resubmit", ["unconfirmed"])):
        GrokVideoGenerateOperator.partial(
            task_id=task_id, resubmit_on=resubmit_on, grokvideo_conn_id="grokvideo_hasty", **VIDEO
        ).expand(prompt=[f"{PLACE} a ball [[emulator: tempo=seconds:2]]"] * 5)
