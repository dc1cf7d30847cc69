"""A process of its own that runs tries of tasks in forks and kills them at random moments with SIGKILL.

It speaks JSON lines: what became of each task on standard output, and where a try stops with an unconfirmed submission,
a question, whose answer it reads from standard input: the request id as the service's console shows it, or null.
"""

from __future__ import annotations

import json
import os
import random
import select
import signal
import sys
import time
from importlib import import_module
from types import SimpleNamespace
from typing import Any

UNCONFIRMED, FAILED = 3, 4
MOST_TRIES = 12


def attach(endpoint: str | None) -> None:
    """Attach S3 in this process: its threads do not survive a fork."""
    if endpoint is None:
        return
    import s3fs
    from airflow.sdk.io import attach as attach_storage

    options = {"key": "test", "secret": "test", "endpoint_url": endpoint, "skip_instance_cache": True}
    attach_storage("s3", fs=s3fs.S3FileSystem(client_kwargs={"region_name": "us-east-1"}, **options))


def run(spec: dict[str, Any], number: int, attempt: int, words: dict[str, Any]) -> int:
    """Run one try to its end, in a fork; return its exit code."""
    from airflow_provider_grokvideo.core.errors import AmbiguousSubmit
    from airflow_provider_grokvideo.operators.grokvideo import GrokVideoGenerateOperator

    ti = SimpleNamespace(
        dag_id="films", run_id=f"run-{number}", task_id="make", map_index=-1, try_number=attempt, max_tries=MOST_TRIES,
        xcom_push=lambda key, value: None, xcom_pull=lambda **_: None,
    )  # fmt: skip
    attach(spec["endpoint"])
    make = GrokVideoGenerateOperator(
        task_id="make", prompt=f"Ball {number} [[emulator: tempo=at-once]]", duration=1, poll_interval=0.05,
        deferrable=False, destination=f"{spec['folder']}/{number}.mp4", **words,
    )  # fmt: skip
    try:
        make.execute({"ti": ti})  # type: ignore[typeddict-item]
    except AmbiguousSubmit:
        return UNCONFIRMED
    except Exception as error:  # noqa: BLE001 - Airflow retries what is not final
        sys.stderr.write(f"{error!r}\n")
        return FAILED
    return 0


def adopt(spec: dict[str, Any], number: int, request_id: str) -> None:
    """Name the request of an unconfirmed submission by the command that the error prints, in a fork."""
    child = os.fork()
    if child == 0:
        code = FAILED
        try:
            from airflow_provider_grokvideo.__main__ import main as command

            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            attach(spec["endpoint"])
            code = command(["journal", "adopt", "films", f"run-{number}", "make", request_id])
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    if status:
        raise RuntimeError(f"journal adopt of {request_id} failed")


def tried(spec: dict[str, Any], number: int, attempt: int, words: dict[str, Any], after: float | None) -> int:
    """Fork a try, kill it after some seconds, and return its exit code, negative for a signal."""
    child = os.fork()
    if child == 0:
        code = FAILED
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            code = run(spec, number, attempt, words)
        finally:
            os._exit(code)
    handle = os.pidfd_open(child)
    over, _, _ = select.select([handle], [], [], after)
    if not over:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    os.close(handle)
    return os.waitstatus_to_exitcode(status)


def say(told: dict[str, Any]) -> None:
    """Write a line of JSON."""
    sys.stdout.write(f"{json.dumps(told)}\n")
    sys.stdout.flush()


def main() -> None:
    """Kill tries until there were enough, and bring each task to its end."""
    spec = json.loads(sys.argv[1])
    for name in ("delivery.deliver", "operators.grokvideo", "execution.inputs"):
        # A fork has it then.
        import_module(f"airflow_provider_grokvideo.{name}")

    dice = random.Random(spec["seed"])
    begun = time.monotonic()
    tried(spec, 0, 1, {}, None)
    lasts, kills, number = time.monotonic() - begun, 0, 0
    while kills < spec["kills"]:
        number += 1
        told: dict[str, Any] = {"number": number, "kills": 0, "questions": 0, "end": None}
        words: dict[str, Any] = {}
        for attempt in range(1, MOST_TRIES):
            # Of each task at most two tries die, or few would get further than the beginning.
            after = dice.uniform(0, lasts) if told["kills"] < 2 and attempt < 4 else None
            begun = time.monotonic()
            code = tried(spec, number, attempt, words, after)
            words = {}
            if code == -signal.SIGKILL:
                told["kills"] += 1
            elif code == UNCONFIRMED:
                told["questions"] += 1
                say({"question": number})
                found = json.loads(sys.stdin.readline())
                if found:
                    adopt(spec, number, found)
                else:
                    words = {"resubmit_on": ["unconfirmed"]}
            elif code == 0:
                lasts = 0.8 * lasts + 0.2 * (time.monotonic() - begun) if attempt == 1 else lasts
                told["end"] = "delivered"
                break
        kills += told["kills"]
        say(told)


if __name__ == "__main__":
    main()
