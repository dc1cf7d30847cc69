"""Errors on purpose, and four ways to handle them in a DAG. docs/errors.md lists every error.

The prompts contain directives to the emulator that cause the errors, so this DAG skips itself unless the connection
points to the emulator. Copy the reactions without the directives in double brackets.

Cost: nothing at the emulator. Change: nothing; run it and look at the graph.
"""

import os
from datetime import timedelta

from airflow.sdk import DAG, task

from airflow_provider_grokvideo.hooks.grokvideo import GrokVideoHook
from airflow_provider_grokvideo.operators.grokvideo import GrokVideoEditOperator, GrokVideoGenerateOperator
from airflow_provider_grokvideo.sensors.grokvideo import GrokVideoSensor

OUTPUT = os.environ.get("GROKVIDEO_DEMO_OUTPUT", "~/grokvideo")
DESTINATION = "{{ params.output }}/errors/{{ task.task_id }}.mp4"


def clip(task_id: str, trouble: str = "", **arguments) -> GrokVideoGenerateOperator:
    prompt = f"A paper lantern rises into the night {trouble}"
    return GrokVideoGenerateOperator(
        task_id=task_id, prompt=prompt, destination=DESTINATION, **{"duration": 2, **arguments}
    )


def tell(context) -> None:
    """Report a failure: the error has a type, its request, and what to do about it."""
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

    # 1. Nothing was bought, and the cause is temporary (RateLimited, ServiceUnavailable): let Airflow retry.
    here >> clip("rate_limit", "[[emulator: fault=http:429 on=submit times=3]]", retries=3, retry_delay=timedelta(0, 2))

    # 2. Bought, but not delivered (WaitTimeout, DeliveryFailed): a retry fetches it at no new charge. If the task has
    #    no journal, or no retries left, a sensor does.
    here >> clip("delivery", "[[emulator: fault=wrong_bytes]]", retries=1, retry_delay=timedelta(0, 2))
    slow = clip("timeout", "[[emulator: tempo=seconds:14]]", timeout=6)
    here >> slow
    slow >> GrokVideoSensor(
        task_id="timeout_rescue",
        request_id="{{ ti.xcom_pull(task_ids='timeout', key='request_id') }}",
        trigger_rule="one_failed",
        destination=DESTINATION,
    )

    # 3. There will be no video (VideoFailed, VideoExpired, VideoModerated, SpendLimitExceeded): do something else. A
    #    task of its own makes the second purchase visible, and it happens only once.
    wishes = (
        clip("failed", "[[emulator: fault=failed:internal_error]]"),
        clip("expired", "[[emulator: fault=expired]]"),
        clip("moderated", "[[emulator: fault=moderated:b]]", on_moderated="skip"),
        clip("too_expensive", max_cost_usd=0.05),
    )
    for wish in wishes:
        rule = "all_skipped" if wish.on_moderated == "skip" else "all_failed"
        here >> wish >> clip(f"{wish.task_id}_instead", duration=1, trigger_rule=rule)

    # 4. You have to act (InvalidInput, RequestRejected, AuthenticationFailed, OutOfCredits, AmbiguousSubmit): send an
    #    alert. None of these is retried.
    long = clip("long", duration=10)
    troubled = (
        GrokVideoEditOperator(task_id="invalid_url", prompt="Make it blue", video="{{ params.output }}/not there.mp4"),
        GrokVideoEditOperator(task_id="video_too_long", prompt="Make it blue", video=long.output),
        clip("refused", "[[emulator: fault=http:422 on=submit]]"),
        clip("no_connection", grokvideo_conn_id="grokvideo_missing"),
        # A connection with the key xai-emulator-no-credit; if it does not exist, this is the same error as above.
        clip("out_of_credits", grokvideo_conn_id="grokvideo_out_of_credits"),
        clip("ambiguous", "[[emulator: fault=lost_answer]]"),
    )

    @task(trigger_rule="one_failed")
    def alert() -> str:
        return "See the logs of the failed tasks: the last line says what to do."

    here >> long
    here >> troubled >> alert()
