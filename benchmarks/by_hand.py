"""What people write themselves to make a video in Airflow: a function that waits, and an operator that defers.

Both start a video, look every five seconds and store it in a folder. The operator waits with
:class:`benchmarks.usual.UsualTrigger`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
from airflow.sdk import BaseHook, BaseOperator

from benchmarks.usual import UsualTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context

CONN_ID = "grokvideo_default"
INTERVAL = 5.0
PATIENCE = 900.0

VIDEOS = int(os.environ.get("GROKVIDEO_BENCH_VIDEOS", "50"))
"""How many videos each DAG makes."""

OUT = Path(os.environ.get("GROKVIDEO_BENCH_OUT", "videos"))
"""Each DAG stores its videos in a folder of its name below this one."""

REQUEST = {"prompt": "a tram in the rain", "duration": 8}
"""All videos are the same, so that the emulator renders one only. Length and size (480p) are the service's defaults,
for which half a minute is a usual time."""


def make_video(folder: str, number: int) -> str:
    """Start a video, wait for it in the worker, store it; return its path."""
    with _client() as client:
        request_id = _submit(client)
        deadline = time.time() + PATIENCE
        while time.time() < deadline:
            job = client.get(f"/videos/{request_id}").raise_for_status().json()
            if job["status"] == "done":
                return _store(job["video"]["url"], OUT / folder / f"{number}.mp4")
            if job["status"] != "pending":
                raise RuntimeError(f"video {request_id} ended: {job}")
            time.sleep(INTERVAL)
    raise TimeoutError(f"video {request_id} was not done in time")


class UsualOperator(BaseOperator):
    """Start a video, wait for it in the triggerer, store it; return its path."""

    template_fields: Sequence[str] = ("path",)

    def __init__(self, *, prompt: str, duration: int, path: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.prompt = prompt
        self.duration = duration
        self.path = path

    def execute(self, context: Context) -> None:
        """Start the video and defer."""
        with _client() as client:
            request_id = _submit(client, prompt=self.prompt, duration=self.duration)
        self.defer(
            trigger=UsualTrigger(request_id, CONN_ID, end_time=time.time() + PATIENCE, poll_interval=INTERVAL),
            method_name="execute_complete",
            timeout=timedelta(seconds=PATIENCE),
        )

    def execute_complete(self, context: Context, event: dict[str, str]) -> str:
        """Store the video that the trigger has seen."""
        if event["status"] != "success":
            raise RuntimeError(event["message"])
        return _store(event["url"], Path(self.path))


def _client() -> httpx.Client:
    connection = BaseHook.get_connection(CONN_ID)
    return httpx.Client(
        base_url=connection.host or "", headers={"Authorization": f"Bearer {connection.password}"}, timeout=30.0
    )


def _submit(client: httpx.Client, **words: Any) -> str:
    answer = client.post("/videos/generations", json={"model": "grok-imagine-video", **REQUEST, **words})
    return str(answer.raise_for_status().json()["request_id"])


def _store(url: str, path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    with httpx.stream("GET", url, timeout=30.0) as answer, path.open("wb") as file:
        answer.raise_for_status()
        for chunk in answer.iter_bytes():
            file.write(chunk)
    return str(path)
