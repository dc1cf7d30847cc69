"""Functions decorated with @task.grokvideo: mapped, with another task's result, skipped, failing at first."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, task
from airflow.sdk.exceptions import AirflowSkipException

FAST = " [[emulator: tempo=polls:1]]"

with DAG("decorated_mapped", schedule=None, params={"out": ""}):

    @task.grokvideo(duration=1, destination="{{ params.out }}/{{ ti.map_index }}.mp4")
    def clip(thing: str, place: str) -> dict[str, Any]:
        return {"prompt": f"A {thing} in {place}{FAST}"}

    @task
    def things() -> list[str]:
        return ["ball", "kite"]

    clip.partial(place="snow").expand(thing=things())

with DAG("decorated_table", schedule=None, params={"out": ""}):

    @task
    def products() -> list[str]:
        return ["cup", "pan"]

    @task.grokvideo(duration=5, destination="{{ params.out }}/{id}.mp4")
    def clips(names: list[str], params=None):
        for name in names:
            yield {"id": name, "prompt": f"A {name}{FAST}", "out": params["out"]}

    @task
    def count(summary: dict[str, Any]) -> int:
        return summary["counts"]["delivered"]

    count(clips.override(duration=1, task_id="short")(products()))

with DAG("decorated_skip", schedule=None, params={"out": ""}):

    @task.grokvideo
    def skipped() -> str:
        raise AirflowSkipException("no film today")

    skipped()

with DAG("decorated_retry", schedule=None, params={"out": ""}):

    @task.grokvideo(duration=1, destination="{{ params.out }}/a.mp4", retries=1, retry_delay=timedelta(0))
    def second(params=None) -> str:
        file = Path(params["out"], "called")
        if not file.exists():
            file.touch()
            raise ConnectionError("the database is away")
        return f"A ball{FAST}"

    second()
