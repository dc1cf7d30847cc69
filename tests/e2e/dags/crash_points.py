"""Kill the process of a task, once, when it reaches the point that its prompt names.

A prompt says ``crash at after-post``, or ``crash at after-post and its worker`` to kill the process that watches over
the task as well. With ``only its worker`` the task itself lives, sleeps until the next try has bought, and goes on;
with ``frozen with its worker`` the worker is stopped meanwhile and goes on, too. :func:`install` wraps the seams of the
real provider, which does all of the work.
"""

from __future__ import annotations

import functools
import json
import os
import re
import signal
import threading
import time
import urllib.request
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, get_current_context
from places import FILE, PLACE

from airflow_provider_grokvideo.core.polling import events
from airflow_provider_grokvideo.delivery import store
from airflow_provider_grokvideo.execution import handover
from airflow_provider_grokvideo.execution.journal import TaskJournal
from airflow_provider_grokvideo.execution.ledger import TaskLedger
from airflow_provider_grokvideo.hooks.grokvideo import GrokVideoHook
from airflow_provider_grokvideo.operators.grokvideo import GrokVideoBaseOperator, GrokVideoGenerateOperator

MARKERS = Path(os.environ.get("GROKVIDEO_TEST_MARKERS", "markers"))
"""One file for each task that was struck, ``<dag>/<run>/<task>/<map index>``; empty, or what a sleeper met."""

LEDGER = os.environ.get("GROKVIDEO_TEST_LEDGER", "")
"""Address of the emulator's ledger."""

SLEEP_SECONDS = 400.0
"""Covers Airflow's heartbeat timeout, and the next try's wait for a worker."""

_slept = threading.Event()
"""Set in the process of a task that has slept until the next try had bought."""

POINTS = {
    "before-intent": "before the intent is written",
    "after-intent": "after the intent, before the POST",
    "in-post": "in the POST: accepted, the answer never read",
    "after-post": "after the POST, before the id is logged",
    "before-saving": "after the POST, before the id is saved",
    "after-saving": "after the id is saved, before the deferral",
    "deferring": "in the deferral",
    "resumed": "while resumed",
    "downloaded": "in the delivery: downloaded, not stored",
    "stored": "after the delivery, before the journal says so",
    "noted": "after the journal says delivered",
}
AND_ITS_WORKER = ("after-post", "after-saving", "downloaded")
"""Points at which the worker dies too, so that nobody tells Airflow that the task is gone."""

ONLY_ITS_WORKER = ("before-intent",)
"""Points at which only the worker dies, and the task runs on when the next try has bought."""

FROZEN = ("before-intent",)
"""Points at which both stand still until Airflow has given them up and the next try has bought."""

PROMPTS = [
    *(f"crash at {point}" for point in POINTS),
    *(f"crash at {point} and its worker" for point in AND_ITS_WORKER),
    *(f"crash at {point} only its worker" for point in ONLY_ITS_WORKER),
    *(f"crash at {point} frozen with its worker" for point in FROZEN),
]

_ASKED = re.compile(r"crash at ([a-z-]+)( and its worker| only its worker| frozen with its worker)?")


def crashing(dag_id: str) -> None:
    """Make a DAG of one mapped task, with a video for each prompt of `PROMPTS`."""
    install()
    with DAG(dag_id, schedule=None):
        GrokVideoGenerateOperator.partial(
            task_id="make",
            duration=1,
            poll_interval=1,
            retries=3,
            retry_delay=timedelta(seconds=1),
            destination=FILE,
        ).expand(prompt=[f"{PLACE} {text} [[emulator: tempo=seconds:2]]" for text in PROMPTS])


def install() -> None:
    """Wrap the seams between the steps of a purchase; only in this process."""
    _wrap(TaskLedger, "reserve", before="before-intent")
    _wrap(TaskJournal, "intend", after="after-intent")
    _wrap(GrokVideoHook, "submit", meanwhile="in-post", after="after-post")
    _wrap(TaskJournal, "note", before="before-saving", after="after-saving", when={"phase": "submitted"})
    _wrap(TaskJournal, "note", after="noted", when={"phase": "delivered"})
    _wrap(GrokVideoBaseOperator, "defer", before="deferring")
    _wrap(events, "parse", before="resumed")
    _wrap(store, "store", before="downloaded")
    _wrap(handover, "hand_over", after="stored")


def _wrap(
    owner: Any,
    name: str,
    *,
    before: str | None = None,
    meanwhile: str | None = None,
    after: str | None = None,
    when: dict[str, str] | None = None,
) -> None:
    original: Callable[..., Any] = getattr(owner, name)

    @functools.wraps(original)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if when is not None and not when.items() <= kwargs.items():
            return original(*args, **kwargs)
        if before is not None:
            _reach(before)
        if meanwhile is not None:
            _once_accepted(meanwhile)
        try:
            result = original(*args, **kwargs)
        except BaseException as error:
            if _slept.is_set():
                _met(error)
            raise
        if after is not None:
            _reach(after)
        return result

    setattr(owner, name, wrapped)


def _reach(point: str) -> None:
    """Die here if the prompt asks for it, or sleep until the next try has bought."""
    asked = _asked(point)
    if asked is None or not _first_time():
        return
    worker = os.getppid()
    if asked == " frozen with its worker":
        os.kill(worker, signal.SIGSTOP)
        try:
            _sleep_until_accepted(_prompt())
        finally:
            os.kill(worker, signal.SIGCONT)
        _slept.set()
        return
    if asked:
        os.kill(worker, signal.SIGKILL)
    if asked == " only its worker":
        _sleep_until_accepted(_prompt())
        _slept.set()
        return
    os.kill(os.getpid(), signal.SIGKILL)


def _met(error: BaseException) -> None:
    """Write down what a sleeper met first.

    The reservation refuses it where the journal shares the ledger's database; elsewhere the intent does, which comes
    after the reservation.
    """
    if not _marker().read_text():
        _marker().write_text(f"{type(error).__name__}: {error}")


def _once_accepted(point: str) -> None:
    """Die as soon as the service has accepted the start; it is told to keep its answer back."""
    if _asked(point) is None or not _first_time():
        return
    prompt = _prompt()

    def watch() -> None:
        _sleep_until_accepted(prompt)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def _sleep_until_accepted(prompt: str) -> None:
    deadline = time.monotonic() + SLEEP_SECONDS
    while time.monotonic() < deadline:
        with urllib.request.urlopen(LEDGER, timeout=60) as answer:
            if any(start["prompt"] == prompt for start in json.load(answer)["starts"]):
                return
        time.sleep(0.05)
    raise TimeoutError("nobody bought")


def _asked(point: str) -> str | None:
    """Return what the prompt asks for at this point beyond the crash itself; None if nothing."""
    asked = _ASKED.search(_prompt())
    return (asked[2] or "") if asked is not None and asked[1] == point else None


def _prompt() -> str:
    return str(get_current_context()["task"].prompt)


def _first_time() -> bool:
    marker = _marker()
    marker.parent.mkdir(parents=True, exist_ok=True)
    try:
        marker.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def _marker() -> Path:
    ti = get_current_context()["ti"]
    return MARKERS / ti.dag_id / ti.run_id / ti.task_id / str(ti.map_index)
