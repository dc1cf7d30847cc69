"""How a run went, as the metadata database shows it: states and triggers over time, and a triggerer that is killed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_api import FINISHED_RUN, AirflowApiError
from scale_out_cluster import TRIGGERERS, Cluster

DAG_ID = "scale_out"
VICTIM = TRIGGERERS[1]
EVERY = 0.5  # seconds between two samples


@dataclass(frozen=True)
class Sample:
    """What the database showed at a moment.

    Attributes:
        at: Epoch seconds.
        run: The state of the run.
        states: How many task instances are in each state.
        triggers: How many triggers each triggerer holds, by the id of its job; those that nobody holds are under None.
        bought: Task instances that wait, have waited and are to go on, or are done.
    """

    at: float
    run: str
    states: Mapping[str | None, int]
    triggers: Mapping[int | None, int]
    bought: int


@dataclass(frozen=True)
class Course:
    """A run from its trigger to its end.

    Attributes:
        samples: About two a second, in order.
        killed_at: Epoch seconds at which the triggerer got SIGKILL.
        holders: Right before that: the job id of the triggerer that held the wait of each map index.
        dead: Job id of the killed triggerer.
        retried: Task instances that needed more than one try.
    """

    samples: tuple[Sample, ...]
    killed_at: float
    holders: Mapping[int, int]
    dead: int
    retried: int

    @property
    def survivor(self) -> int:
        """Job id of the other triggerer."""
        return next(job for job in self.holders.values() if job != self.dead)

    @property
    def seconds(self) -> float:
        """From the trigger of the run to its end."""
        return self.samples[-1].at - self.samples[0].at

    @property
    def taken_over(self) -> Sample:
        """The first sample in which the killed triggerer holds nothing any more."""
        after = (sample for sample in self.samples if sample.at > self.killed_at)
        return next(sample for sample in after if not sample.triggers.get(self.dead))

    @property
    def most_waiting(self) -> int:
        """The largest number of task instances that waited at once."""
        return max(sample.states.get("deferred", 0) for sample in self.samples)


def follow(cluster: Cluster, run_id: str, videos: int, timeout: float, on_sample: Callable[[Sample], None]) -> Course:
    """Watch a run to its end; kill a triggerer as soon as half of the videos are bought and both triggerers wait.

    Raises:
        AirflowApiError: The run has not ended after ``timeout`` seconds, or did not get to the point of the kill.
    """
    samples: list[Sample] = []
    killed_at, holders = 0.0, dict[int, int]()
    deadline = time.monotonic() + timeout
    with cluster.cursor() as cursor:
        while not samples or samples[-1].run not in FINISHED_RUN:
            if time.monotonic() > deadline:
                raise AirflowApiError(f"the run has not ended after {timeout:.0f} s: {samples[-1]}")
            samples.append(_sample(cursor, run_id))
            on_sample(samples[-1])
            if not killed_at and 2 * samples[-1].bought >= videos:
                holders = _holders(cursor, run_id)
                if len(set(holders.values())) == len(TRIGGERERS):
                    killed_at = time.time()
                    cluster.kill_with_children(VICTIM)
            time.sleep(EVERY)
        if not killed_at:
            raise AirflowApiError(f"the run ended as {samples[-1].run} before both triggerers had something to do")
        return Course(tuple(samples), killed_at, holders, _longest_silent(cursor), _retried(cursor, run_id))


def _sample(cursor: Any, run_id: str) -> Sample:
    cursor.execute("SELECT state FROM dag_run WHERE dag_id = %s AND run_id = %s", (DAG_ID, run_id))
    (state,) = cursor.fetchone()
    cursor.execute(
        "SELECT state, count(*) FROM task_instance WHERE dag_id = %s AND run_id = %s GROUP BY state", (DAG_ID, run_id)
    )
    states = dict(cursor.fetchall())
    cursor.execute("SELECT triggerer_id, count(*) FROM trigger GROUP BY triggerer_id")
    triggers = dict(cursor.fetchall())
    cursor.execute(
        "SELECT count(*) FROM task_instance "
        "WHERE dag_id = %s AND run_id = %s AND (next_method IS NOT NULL OR state = 'success')",
        (DAG_ID, run_id),
    )
    (bought,) = cursor.fetchone()
    return Sample(time.time(), str(state), states, triggers, bought)


def _holders(cursor: Any, run_id: str) -> dict[int, int]:
    cursor.execute(
        "SELECT task_instance.map_index, trigger.triggerer_id FROM trigger "
        "JOIN task_instance ON task_instance.trigger_id = trigger.id "
        "WHERE dag_id = %s AND run_id = %s AND state = 'deferred' AND triggerer_id IS NOT NULL",
        (DAG_ID, run_id),
    )
    return dict(cursor.fetchall())


def _longest_silent(cursor: Any) -> int:
    cursor.execute("SELECT id FROM job WHERE job_type = 'TriggererJob' ORDER BY latest_heartbeat LIMIT 1")
    return int(cursor.fetchone()[0])


def _retried(cursor: Any, run_id: str) -> int:
    cursor.execute(
        "SELECT count(*) FROM task_instance WHERE dag_id = %s AND run_id = %s AND try_number > 1", (DAG_ID, run_id)
    )
    return int(cursor.fetchone()[0])
