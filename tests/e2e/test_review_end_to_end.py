"""The review gate in the four real Airflow processes: another take in other words, then an approval; or a rejection."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pendulum
import pytest
from airflow_api import AirflowApiError
from packaging.version import Version
from stack import AirflowStack

from airflow_provider_grokvideo.emulator import Emulator
from airflow_provider_grokvideo.ledger.sql import open_sqlite

EXAMPLES = Path(__file__).parents[2] / "dags_examples"
REVIEW = "grokvideo_review_before_publishing"

pytestmark = pytest.mark.e2e

SAYS_WHICH = Version(version("apache-airflow")) >= Version("3.4.0b1")
"""From 3.4 on an answer can name the question it is for, as Airflow's own page does."""


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    """An emulator whose jobs take six seconds."""
    with Emulator(tempo="seconds:6") as running:
        yield running


@pytest.fixture(scope="module")
def stack(
    stack_factory: Callable[..., AirflowStack], emulator: Emulator, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AirflowStack]:
    """Four Airflow processes with the example DAGs, whose connection is the emulator."""
    connection = {"conn_type": "grokvideo", "host": emulator.base_url, "password": emulator.api_key}
    env = {
        "AIRFLOW_CONN_GROKVIDEO_DEFAULT": json.dumps(connection),
        "GROKVIDEO_DEMO_OUTPUT": str(tmp_path_factory.mktemp("clips")),
    }
    running = stack_factory(EXAMPLES, env)
    yield running
    running.stop()


class Reviewer:
    """A person who sees the questions of one run and gives the next answer to each.

    Attributes:
        seen: The questions as they were when they were answered.
    """

    def __init__(self, stack: AirflowStack, answers: list[tuple[str, dict[str, Any]]]) -> None:
        self._stack, self._answers = stack, answers
        self._asked_at: pendulum.DateTime | None = None
        self.run_id = ""
        self.seen: list[dict[str, Any]] = []

    def tick(self, tasks: list[dict[str, Any]]) -> None:
        """Look for a question; answer one that is some seconds old, as people do.

        Airflow takes a task for failed whose answer comes before its scheduler has seen the pause, and a worker that
        is slow to end can delay that by seconds.
        """
        path = f"/dags/{REVIEW}/dagRuns/{self.run_id}"
        found = self._stack.api.call("GET", f"{path}/hitlDetails", params={"response_received": False})
        waiting = [each for each in tasks if each["task_id"] == "review" and each["state"] != "running"]
        if not found["hitl_details"] or not waiting or not self._answers:
            self._asked_at = None
            return
        self._asked_at = self._asked_at or pendulum.now()
        if pendulum.now() < self._asked_at.add(seconds=12):
            return
        self._asked_at = None
        self.seen.append(found["hitl_details"][0])
        choice, filled_in = self._answers.pop(0)
        answer = {"chosen_options": [choice], "params_input": filled_in}
        if SAYS_WHICH and len(self.seen) > 1:
            # A tab that still shows the question about the take before cannot answer this one.
            stale = {**answer, "request_created_at": self.seen[-2]["created_at"]}
            with pytest.raises(AirflowApiError, match="409"):
                self._stack.api.call("PATCH", f"{path}/taskInstances/review/-1/hitlDetails", json=stale)
        self._stack.api.call("PATCH", f"{path}/taskInstances/review/-1/hitlDetails", json=answer)


def follow(stack: AirflowStack, *answers: tuple[str, dict[str, Any]]) -> tuple[dict[str, str], Reviewer]:
    """Run the example with a person who answers; return the state of each task, and the person."""
    reviewer = Reviewer(stack, list(answers))
    reviewer.run_id = stack.api.trigger(REVIEW, {"seconds": 1, "prompt": "A lighthouse at dawn"})
    stack.api.wait_run(REVIEW, reviewer.run_id, timeout=240, on_tick=reviewer.tick)
    return {ti["task_id"]: ti["state"] for ti in stack.api.task_instances(REVIEW, reviewer.run_id)}, reviewer


def test_another_take_in_other_words_is_approved_and_published(stack: AirflowStack, emulator: Emulator):
    """The person has one more take made, in other words, and approves it: two starts, and the second is published."""
    states, reviewer = follow(
        stack,
        ("Another take", {"prompt": "A lighthouse in a storm", "take": "latest"}),
        ("Approve", {"prompt": "A lighthouse in a storm", "take": "latest"}),
    )
    published = stack.api.xcom(REVIEW, reviewer.run_id, "publish")
    approved = stack.api.xcom(REVIEW, reviewer.run_id, "review")
    first, second = reviewer.seen

    assert {"film": "success", "review": "success", "publish": "success"} == states
    assert ["A lighthouse at dawn", "A lighthouse in a storm"] == [start.prompt for start in emulator.starts]
    assert published == approved["uri"]
    assert published.endswith("/lighthouse-take-2.mp4")
    assert emulator.starts[1].request_id == approved["request_id"]
    assert ["Approve", "Reject", "Another take"] == first["options"] == second["options"]
    assert "A lighthouse at dawn" == first["params"]["prompt"]["value"]
    assert "/grokvideo/media/poster?dag_id=" in first["body"]
    assert emulator.billed_ticks == sum(
        entry.billed or 0 for entry in open_sqlite(str(stack.home / "grokvideo_ledger.db")).entries()
    )


def test_a_rejected_video_is_not_published(stack: AirflowStack, emulator: Emulator):
    """A no skips the review and what depends on it, and buys nothing."""
    before = len(emulator.starts)
    states, _ = follow(stack, ("Reject", {}))

    assert {"film": "success", "review": "skipped", "publish": "skipped"} == states
    assert before + 1 == len(emulator.starts)
