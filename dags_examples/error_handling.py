"""What can go wrong, and the four things a DAG author does about it. README.md lists every error.

This DAG makes trouble on purpose, by orders to the emulator in its prompts, so it skips itself unless the connection
points to the emulator. Copy the reactions; leave the orders in double brackets away.

Cost: nothing at the emulator. Change: nothing; look at it in the graph.
"""

import os
from datetime import timedelta

from airflow.sdk import DAG, task

from airflow_provider_grokvideo.hooks.grokvideo import GrokVideoHook
from airflow_provider_grokvideo.operators.grokvideo import GrokVideoEditOperator, GrokVideoGenerateOperator
from airflow_provider_grokvideo.sensors.grokvideo import GrokVideoSensor

OUTPUT = os.environ.get("GROKVIDEO_DEMO_OUTPUT", "~/grokvideo")
DESTINATION = "{{ params.output }}/errors/{{ task.task_id }}.mp4"


def clip(task_id: str, trouble: str = "", **words) -> GrokVideoGenerateOperator:
    prompt = f"A paper lantern rises into the night {trouble}"
    return GrokVideoGenerateOperator(
        task_id=task_id, prompt=prompt, destination=DESTINATION, **{"duration": 2, **words}
    )


def tell(context) -> None:
    """Tell somebody: the error has a type, its request, and what to do about it."""
    error = context["exception"]
    print(type(error).__name__, getattr(error, "request_id", None), getattr(error, "what_to_do", ""))  # noqa: T201


with DAG(
    "grokvideo_error_handling",
    schedule=None,
    params={"output": OUTPUT},
    default_args={"on_failure_callback": tell},
    tags=["grokvideo"],
    doc_md=__doc__,
):

    @task.short_circuit
    def only_at_the_emulator() -> bool:
        return GrokVideoHook().account().is_local

    here = only_at_the_emulator()

    # 1. Nothing was bought, and it passes (RateLimited, ServiceUnavailable): let Airflow retry.
    here >> clip("rate_limit", "[[emulator: fault=http:429 on=submit times=3]]", retries=3, retry_delay=timedelta(0, 2))

    # 2. Bought, but not in hand (WaitTimeout, DeliveryFailed): a retry fetches it for free. Where the task has no
    #    journal, or no retries left, a sensor does.
    here >> clip("delivery", "[[emulator: fault=wrong_bytes]]", retries=1, retry_delay=timedelta(0, 2))
    slow = clip("timeout", "[[emulator: tempo=seconds:14]]", timeout=6)
    here >> slow
    slow >> GrokVideoSensor(
        task_id="timeout_rescue",
        request_id="{{ ti.xcom_pull(task_ids='timeout', key='request_id') }}",
        trigger_rule="one_failed",
        destination=DESTINATION,
    )

    # 3. It will not come (VideoFailed, VideoExpired, VideoModerated, SpendLimitExceeded): do something else. A task
    #    of its own makes the second purchase visible, and sure to happen once.
    wishes = (
        clip("failed", "[[emulator: fault=failed:internal_error]]"),
        clip("expired", "[[emulator: fault=expired]]"),
        clip("moderated", "[[emulator: fault=moderated:b]]", on_moderated="skip"),
        clip("too_dear", max_cost_usd=0.05),
    )
    for wish in wishes:
        rule = "all_skipped" if wish.on_moderated == "skip" else "all_failed"
        here >> wish >> clip(f"{wish.task_id}_instead", duration=1, trigger_rule=rule)

    # 4. A person decides (InvalidInput, RequestRejected, AuthenticationFailed, OutOfCredits, AmbiguousSubmit): tell
    #    somebody. None of these is retried.
    long = clip("long", duration=10)
    troubled = (
        GrokVideoEditOperator(task_id="invalid_url", prompt="Make it blue", video="{{ params.output }}/not there.mp4"),
        GrokVideoEditOperator(task_id="video_too_long", prompt="Make it blue", video=long.output),
        clip("refused", "[[emulator: fault=http:422 on=submit]]"),
        clip("no_connection", grokvideo_conn_id="grokvideo_of_nobody"),
        # A connection with the key xai-emulator-no-credit; where it does not exist this is as the one above.
        clip("out_of_credits", grokvideo_conn_id="grokvideo_out_of_credits"),
        clip("ambiguous", "[[emulator: fault=lost_answer]]"),
    )

    @task(trigger_rule="one_failed")
    def tell_somebody() -> str:
        return "Look at the failed tasks: their last log line says what to do."

    here >> long
    here >> troubled >> tell_somebody()
