"""Tables of 40 rows; the worker of one of them dies, once, in the middle of its deliveries."""

from __future__ import annotations

import functools
import os
import signal
from datetime import timedelta
from pathlib import Path
from threading import Lock
from typing import Any

from airflow.sdk import DAG, get_current_context

from airflow_provider_grokvideo.execution import handover
from airflow_provider_grokvideo.operators.grokvideo import GrokVideoBulkOperator

OUT = os.environ.get("GROKVIDEO_TEST_OUTPUT", "videos")
MARKER = Path(os.environ.get("GROKVIDEO_TEST_MARKERS", "markers"), "delivering")

ROWS = 40
DIES_AFTER = 5
"""Deliveries before the worker dies."""


def rows_of(name: str, tempo: str) -> list[dict[str, Any]]:
    """Return rows whose prompts nobody else has."""
    return [
        {"id": f"r{row}", "duration": 1, "prompt": f"{name}/{row} [[emulator: tempo={tempo}]]"} for row in range(ROWS)
    ]


def table(name: str, tempo: str) -> None:
    """Make a DAG of one table."""
    with DAG(f"bulk_{name}", schedule=None):
        GrokVideoBulkOperator(
            task_id="make",
            rows=rows_of(name, tempo),
            destination=f"{OUT}/{name}/{{id}}.mp4",
            max_in_flight=ROWS,
            poll_interval=1,
            retries=3,
            retry_delay=timedelta(seconds=1),
        )


def _install() -> None:
    """Wrap the delivery; only in this process."""
    original = handover.hand_over
    count, counting = 0, Lock()

    @functools.wraps(original)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        nonlocal count
        found = original(*args, **kwargs)
        if get_current_context()["ti"].dag_id == "bulk_delivering":
            with counting:
                count += 1
                if count == DIES_AFTER and _first_time():
                    os.kill(os.getpid(), signal.SIGKILL)
        return found

    handover.hand_over = wrapped


def _first_time() -> bool:
    MARKER.parent.mkdir(parents=True, exist_ok=True)
    try:
        MARKER.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


_install()
# They are done when the test lets the emulator's clock skip, one after the other.
table("triggerer", "seconds:100000")
table("scheduler", "seconds:1000000")
table("delivering", "seconds:1")
