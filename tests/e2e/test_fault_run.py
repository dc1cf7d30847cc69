"""Real Airflow, killed in every way, buys each video once and delivers it; the sums of the run go into the docs."""

from __future__ import annotations

import json
import re
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from crash_points import POINTS, PROMPTS
from fault_run import Clock, Purchase, Tally, advised, clear, follow, logged_id, purchases
from stack import AirflowStack

from airflow_provider_grokvideo.emulator import Emulator
from airflow_provider_grokvideo.ledger.sql import open_sqlite

if TYPE_CHECKING:
    from conftest import StackFactory

DAGS = Path(__file__).parent / "dags"
BACKENDS = {"task_state_store": "crashing", "journal_path": "crashing_with_files", "sql": "crashing_with_sql"}
STATE_STORE = "task_state_store"
RUN = "run"

UNCONFIRMED = ("after-intent", "in-post", "after-post", "before-saving")
"""Points at which nobody can know whether the start was accepted."""

TAKEN = "JournalUnavailable: another try of"
REFUSED = {
    "before-intent only its worker": {
        STATE_STORE: "JournalUnavailable: the task state store",
        "journal_path": TAKEN,
        "sql": TAKEN,
    },
    "before-intent frozen with its worker": {
        STATE_STORE: "JournalUnavailable: the task state store .* 404",
        "journal_path": TAKEN,
        "sql": TAKEN,
    },
}
"""What a task meets that wants to buy after the next try has: nobody to ask, Airflow's refusal, or the other's file."""

PRICE_TICKS = 500_000_000
"""One second of text-to-video at 480p: 0.05 USD."""

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def emulator(clock: Clock) -> Iterator[Emulator]:
    with Emulator(clock=clock, link_ttl=10**6) as running:
        yield running


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("paid once")


@pytest.fixture(scope="module")
def stack(stack_factory: StackFactory, emulator: Emulator, out: Path) -> Iterator[AirflowStack]:
    """Airflow that notices within half a minute what died; by default it takes minutes.

    A component that is only slow on a busy machine must not count as dead.
    """
    connection = {"conn_type": "grokvideo", "host": emulator.base_url, "password": emulator.api_key}
    env = {
        "AIRFLOW_CONN_GROKVIDEO_DEFAULT": json.dumps(connection),
        "AIRFLOW_CONN_GROKVIDEO_HASTY": json.dumps({**connection, "extra": {"submit_timeout": 10}}),
        "GROKVIDEO_TEST_OUTPUT": str(out / "videos"),
        "GROKVIDEO_TEST_MARKERS": str(out / "markers"),
        "GROKVIDEO_TEST_JOURNAL": str(out / "journal"),
        "GROKVIDEO_TEST_LEDGER": f"{emulator.base_url.removesuffix('/v1')}/_emulator/ledger",
        # LocalExecutor of Airflow 3.3 sends its workers more tasks than `parallelism` (apache/airflow#71914). They wait
        # in a pipe of 64 kB, some 40 tasks. A scheduler that writes into a full one while all workers are dead stands
        # still forever (apache/airflow#70526): it would start new workers after the write.
        "AIRFLOW__CORE__DEFAULT_POOL_TASK_SLOT_COUNT": "16",
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "2",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "30",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
        "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
        "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "30",
        "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "3",
        "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "15",
        "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "1",
    }
    running = stack_factory(DAGS, env, parallelism=6)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def crashing(stack: AirflowStack, emulator: Emulator) -> None:
    """Have the workers of both backends killed side by side."""
    for dag_id in BACKENDS.values():
        place = f"{dag_id}/{RUN}/make/{PROMPTS.index('crash at in-post')} "
        emulator.script("hang:600", on="submit", prompt=place)
        stack.api.trigger(dag_id, run_id=RUN)


def until(seen: Callable[[], bool], what: str, timeout: float = 300.0) -> None:
    """Wait until something is the case; that it is not in time is an error."""
    deadline = time.monotonic() + timeout
    while not seen():
        assert time.monotonic() < deadline, f"not in {timeout:.0f} s: {what}"
        time.sleep(0.3)


def states(stack: AirflowStack, dag_id: str, run_id: str = RUN) -> Counter[tuple[str, str]]:
    """Return how many task instances are in which state, by task."""
    return Counter((ti["task_id"], ti["state"]) for ti in stack.api.task_instances(dag_id, run_id))


def bought(emulator: Emulator, dag_id: str, run_id: str = RUN) -> int:
    """Return how many starts of a run the service accepted."""
    return sum(start.prompt.startswith(f"{dag_id}/{run_id}/") for start in emulator.starts)


def journal_of(stack: AirflowStack, backend: str, out: Path, ti: dict[str, Any]) -> list[tuple[str, str | None]]:
    """Return phase and request id of each purchase in a task instance's journal."""
    if backend == STATE_STORE:
        path = f"/dags/{ti['dag_id']}/dagRuns/{ti['dag_run_id']}/taskInstances/{ti['task_id']}/state-store"
        found = stack.api.call("GET", f"{path}/grokvideo_journal", params={"map_index": ti["map_index"]})
        records = found["value"]["purchases"]
    elif backend == "sql":
        with closing(sqlite3.connect(stack.home / "grokvideo_ledger.db")) as connection:
            rows = connection.execute(
                "SELECT record FROM grokvideo_purchases"
                " WHERE dag_id = ? AND run_id = ? AND task_id = ? AND map_index = ? ORDER BY number",
                (ti["dag_id"], ti["dag_run_id"], ti["task_id"], ti["map_index"]),
            )
            records = [json.loads(record) for (record,) in rows]
    else:
        folder = out / "journal" / ti["dag_id"] / ti["dag_run_id"] / ti["task_id"] / str(ti["map_index"])
        records = [json.loads(file.read_text()) for file in sorted(folder.iterdir())]
    return [(record["phase"], record.get("request_id")) for record in records]


def settled(
    stack: AirflowStack, emulator: Emulator, out: Path, tasks: Sequence[dict[str, Any]], **settings: str
) -> str:
    """Do what the messages of tasks unconfirmed say, clear them, and return the state of their run.

    The request id comes from the log of the first try, else from the service's ledger as a person sees it in the
    console; without a start, the unconfirmed submission is forgotten.
    """

    def settle(ti: dict[str, Any], bought: Purchase) -> None:
        logs = [
            stack.api.log(ti["dag_id"], ti["dag_run_id"], ti["task_id"], ti["map_index"], number)
            for number in (1, ti["try_number"])
        ]
        offered = advised(logs[-1])
        assert ["Found", "Not found"] == sorted(offered), logs[-1]
        if bought.starts:
            follow(stack, offered["Found"], logged_id(logs[0]) or bought.starts[0].request_id, **settings)
        else:
            follow(stack, offered["Not found"], **settings)

    with ThreadPoolExecutor(3) as people:
        list(people.map(settle, tasks, purchases(emulator, out / "videos", tasks)))
    clear(stack, tasks)
    return stack.api.wait_run(tasks[0]["dag_id"], tasks[0]["dag_run_id"], timeout=400)


def told(text: str) -> str:
    """Return a crash in words."""
    name, _, worker = text.partition(" ")
    match worker:
        case "only its worker":
            return f"worker killed {POINTS[name]}; the task itself continues after the next try has submitted"
        case "frozen with its worker":
            return f"task and its worker frozen {POINTS[name]}; both continue after the next try has submitted"
        case "and its worker":
            return f"task and its worker killed {POINTS[name]}"
    return f"task killed {POINTS[name]}"


@pytest.mark.usefixtures("crashing")
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_worker_killed_at_any_point(stack: AirflowStack, emulator: Emulator, out: Path, tally: Tally, backend: str):
    """Wherever a worker dies the next try goes on with what was bought, or stops and says what a person can do."""
    dag_id = BACKENDS[backend]
    points = [text.removeprefix("crash at ") for text in PROMPTS]
    stopping = {index for index, text in enumerate(points) if text.split()[0] in UNCONFIRMED}
    settings = {
        "task_state_store": {"AIRFLOW__GROKVIDEO__LEDGER_PATH": "none"},
        "journal_path": {"AIRFLOW__GROKVIDEO__JOURNAL_PATH": str(out / "journal")},
        "sql": {},
    }[backend]

    stack.api.wait_run(dag_id, RUN, timeout=900)
    first = stack.api.task_instances(dag_id, RUN)
    unconfirmed = [ti for ti in first if ti["map_index"] in stopping]
    logged = {
        points[ti["map_index"]] for ti in unconfirmed if logged_id(stack.api.log(dag_id, RUN, "make", ti["map_index"]))
    }
    expected = {text: "failed" if index in stopping else "success" for index, text in enumerate(points)}
    assert expected == {points[ti["map_index"]]: ti["state"] for ti in first}
    assert all(ti["try_number"] > 1 for ti in first)
    assert {"before-saving"} == logged

    state = settled(stack, emulator, out, unconfirmed, **settings)
    last = stack.api.task_instances(dag_id, RUN)
    found = dict(zip((ti["map_index"] for ti in last), purchases(emulator, out / "videos", last), strict=True))
    struck = {int(marker.name): marker for marker in (out / "markers" / dag_id / RUN / "make").iterdir()}
    for index, text in enumerate(points):
        tally.add(told(text), backend, [found[index]], faults=int(index in struck), person=index in stopping)
    sleepers = {text: struck[index] for index, text in enumerate(points) if text in REFUSED}
    assert "success" == state
    assert set(range(len(points))) == set(struck)
    assert set(REFUSED) == set(sleepers)
    # A sleeper wakes beside the next try, and no state of Airflow says when it is done.
    until(lambda: all(marker.read_text() for marker in sleepers.values()), "each sleeper says what it met")
    woken = {text: marker.read_text() for text, marker in sleepers.items()}
    assert {} == {text: met for text, met in woken.items() if not re.match(REFUSED[text][backend], met)}
    assert [] == [points[index] for index, each in found.items() if not each.is_right]
    journals = {ti["map_index"]: journal_of(stack, backend, out, ti)[-1] for ti in last}
    assert {index: ("delivered", each.delivered) for index, each in found.items()} == journals
    assert {PRICE_TICKS} == {start.billed_ticks for each in found.values() for start in each.starts}


def test_the_triggerer_killed_while_fifty_wait(
    stack: AirflowStack, emulator: Emulator, clock: Clock, out: Path, tally: Tally
):
    """Fifty requests that wait in a triggerer which dies are waited for by the next one, and bought once."""
    stack.api.trigger("waiting", run_id=RUN)
    until(lambda: states(stack, "waiting") == {("wait", "deferred"): 50}, "50 requests wait")
    assert 50 == bought(emulator, "waiting")

    stack.kill("triggerer", signal.SIGKILL)
    stack.restart("triggerer")
    clock.skip(200_000)
    state = stack.api.wait_run("waiting", RUN, timeout=400)

    judge(stack, emulator, out, tally, "waiting", RUN, "triggerer killed while 50 requests wait")
    assert "success" == state


def test_the_scheduler_killed(stack: AirflowStack, emulator: Emulator, clock: Clock, out: Path, tally: Tally):
    """Tasks whose scheduler dies are taken up by the next one while their old processes still run, and buy once."""
    run_id = "scheduler"
    under_way(stack, emulator, run_id)
    stack.kill("scheduler", signal.SIGKILL)
    stack.restart("scheduler")
    until(lambda: 4 == tried_again(stack, run_id, "hold"), "the new scheduler starts the orphaned tasks again")
    clock.skip(200_000)
    state = stack.api.wait_run("mixed", run_id, timeout=400)

    judge(stack, emulator, out, tally, "mixed", run_id, "scheduler killed while 6 wait and 4 run")
    assert "success" == state


def test_everything_killed_at_once(stack: AirflowStack, emulator: Emulator, clock: Clock, out: Path, tally: Tally):
    """After a power cut Airflow goes on with every request that was bought before it."""
    run_id = "everything"
    under_way(stack, emulator, run_id)
    stack.kill_all()
    assert [] == stack.family.leftovers()
    clock.skip(200_000)
    stack.restart_all()
    state = stack.api.wait_run("mixed", run_id, timeout=400)

    judge(stack, emulator, out, tally, "mixed", run_id, "all of Airflow killed while 6 wait and 4 run")
    assert "success" == state


def under_way(stack: AirflowStack, emulator: Emulator, run_id: str) -> None:
    """Start a run and wait until all of its requests are bought, six of them deferred and four held by a worker."""
    stack.api.trigger("mixed", run_id=run_id)
    busy = {("wait", "deferred"): 6, ("hold", "running"): 4}
    until(
        lambda: bought(emulator, "mixed", run_id) == 10 and states(stack, "mixed", run_id) == busy, "10 are under way"
    )


def tried_again(stack: AirflowStack, run_id: str, task_id: str) -> int:
    """Return how many task instances are beyond their first try."""
    found = stack.api.task_instances("mixed", run_id)
    return sum(ti["task_id"] == task_id and ti["try_number"] > 1 for ti in found)


def judge(
    stack: AirflowStack,
    emulator: Emulator,
    out: Path,
    tally: Tally,
    dag_id: str,
    run_id: str,
    scenario: str,
) -> None:
    """Book a run, and see that each of its task instances bought once and has that video."""
    tasks = stack.api.task_instances(dag_id, run_id)
    found = purchases(emulator, out / "videos", tasks)
    tally.add(scenario, "sql", found, faults=1)
    assert [] == [each for each in found if not each.is_right]
    journals = [journal_of(stack, "sql", out, ti)[-1] for ti in tasks]
    assert [("delivered", each.delivered) for each in found] == journals


LOST = ("lost_answer", "accept_then_502", "timeout", "http:503", "http:429")
"""Faults of the submit; the first three accept it."""
WORDS = {
    "lost_answer": "submission accepted, connection cut",
    "accept_then_502": "submission accepted, answered 502",
    "timeout": "submission accepted, no answer in time",
    "http:503": "submission not accepted, answered 503",
    "http:429": "submission not accepted, answered 429 three times",
}
TIMES = {"http:429": 3}


def test_lost_answers(stack: AirflowStack, emulator: Emulator, out: Path, tally: Tally):
    """A lost answer stops the task, or buys again where the user said so; a refusal that is certain is tried again."""
    before = len(emulator.requests)
    for policy in ("stop", "resubmit"):
        for index, fault in enumerate(LOST):
            place = f"lost_answers/{RUN}/{policy}/{index} "
            emulator.script(fault, on="submit", prompt=place, times=TIMES.get(fault, 1))
    stack.api.trigger("lost_answers", run_id=RUN)
    stack.api.wait_run("lost_answers", RUN, timeout=400)
    first = stack.api.task_instances("lost_answers", RUN)
    unconfirmed = [ti for ti in first if ti["state"] == "failed"]
    stopped = {(ti["task_id"], ti["map_index"]) for ti in unconfirmed}
    assert {("stop", index) for index in range(4)} == stopped
    assert {1} == {ti["try_number"] for ti in unconfirmed}
    state = settled(stack, emulator, out, unconfirmed)

    last = stack.api.task_instances("lost_answers", RUN)
    found: dict[tuple[str, int], Purchase] = {
        (ti["task_id"], ti["map_index"]): each
        for ti, each in zip(last, purchases(emulator, out / "videos", last), strict=True)
    }
    for (policy, index), each in sorted(found.items()):
        allowed = int(policy == "resubmit" and index < 3)
        tally.add(
            f"{WORDS[LOST[index]]}; resubmit_on={['unconfirmed'] if policy == 'resubmit' else []}",
            "sql",
            [each],
            faults=TIMES.get(LOST[index], 1),
            allowed=allowed,
            person=(policy, index) in stopped,
        )
        assert 1 + allowed == len(each.starts)
        assert each.delivered == each.starts[-1].request_id
    struck = Counter(seen.status for seen in emulator.requests[before:] if seen.method == "POST")
    # Two tasks unconfirmed and five others get an answer to a start; six starts of theirs were accepted without one.
    assert {None: 4, 502: 2, 503: 2, 429: 6, 200: 7} == struck
    assert "success" == state


def test_nothing_else_was_bought(emulator: Emulator, tally: Tally):
    """The service billed the starts that the table counts and no other, and its key went nowhere else."""
    assert len(emulator.starts) == sum(row.starts for row in tally.rows)
    assert 0 == sum(row.doubles for row in tally.rows)
    assert 0 == sum(row.lost for row in tally.rows)
    assert len(emulator.starts) * PRICE_TICKS == emulator.billed_ticks
    assert 0 == emulator.leaks


def test_every_bill_of_the_run_is_in_the_ledger(stack: AirflowStack, emulator: Emulator):
    """Whatever was killed: each known request is booked to the tick; unconfirmed entries cover the others.

    The DAG with the journal in the task state store has no ledger.
    """
    starts = [start for start in emulator.starts if not start.prompt.startswith("crashing/")]
    billed = sum(start.billed_ticks for start in starts)
    entries = open_sqlite(str(stack.home / "grokvideo_ledger.db")).entries()
    booked = {entry.request_id: entry for entry in entries if entry.request_id}
    known = {start.request_id: start.billed_ticks for start in starts if start.request_id in booked}
    unknown = billed - sum(known.values())
    unconfirmed = sum(entry.counted for entry in entries if entry.outcome == "unconfirmed")

    assert known == {request_id: booked[request_id].billed for request_id in known}
    assert len(booked) == len(known)
    assert len(known) >= 0.9 * len(starts)
    assert unknown <= unconfirmed
    assert billed <= sum(entry.counted for entry in entries)
