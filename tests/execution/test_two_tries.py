"""Two tries of one task instance at once, a zombie and its successor: at most one of them submits."""

from __future__ import annotations

import functools
import json
import threading
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import pytest

from airflow_provider_grokvideo.compat import AirflowFailException, TaskDeferred
from airflow_provider_grokvideo.core.errors import AmbiguousSubmit, JournalUnavailable, RateLimited
from airflow_provider_grokvideo.core.purchases.records import Owner
from airflow_provider_grokvideo.execution import journal as task_journal
from airflow_provider_grokvideo.execution import prepare
from airflow_provider_grokvideo.execution.ledger import TaskLedger
from airflow_provider_grokvideo.execution.task import open_journal
from airflow_provider_grokvideo.hooks.grokvideo import GrokVideoHook
from airflow_provider_grokvideo.journal.backends import STATE_KEY, FileBackend
from airflow_provider_grokvideo.ledger.sql import open_sqlite
from airflow_provider_grokvideo.operators.grokvideo import GrokVideoGenerateOperator
from airflow_provider_grokvideo.storage.directories import open_tree

pytestmark = pytest.mark.usefixtures("grokvideo_connection")

ROUNDS = 20
HANGS = "hang:2"
"""Long enough for a successor to run in; the tests wait for the accepted start, not for the clock."""


def make(prompt: str = "A red ball rolls [[emulator: tempo=at-once]]", **words):
    """Return how to make the same generating task again and again, as Airflow does."""
    return functools.partial(
        GrokVideoGenerateOperator,
        **{"task_id": "make", "prompt": prompt, "duration": 1, "poll_interval": 0.05, **words},
    )


def successor_of(ti):
    """Return the same task instance at its next try."""
    return replace(ti, try_number=ti.try_number + 1, xcoms={})


def cleared(ti):
    """Return the same task instance after a clear."""
    return replace(ti, try_number=ti.try_number + 1, max_tries=ti.try_number + 1, xcoms={})


@pytest.fixture(params=["local", "s3"])
def journal(request, tmp_path, monkeypatch):
    """Give tasks a journal_path where creating is exclusive; return how to read a task instance's records there."""
    path = str(tmp_path / "journal") if request.param == "local" else f"{request.getfixturevalue('s3').url}/journal"
    monkeypatch.setenv("AIRFLOW__GROKVIDEO__JOURNAL_PATH", path)

    def records(ti):
        return FileBackend(open_tree(path), Owner(ti.dag_id, ti.run_id, ti.task_id, ti.map_index)).records()

    return records


class Running(threading.Thread):
    """A try that runs beside the test.

    Attributes:
        ending: What it ended with: a manifest, a deferral or an error.
    """

    def __init__(self, task, ti, store=None, ready=None) -> None:
        super().__init__(daemon=True)
        self.ending = None
        self._task, self._context, self._ready = task, {"ti": ti, "task_state_store": store}, ready
        self.start()

    def run(self) -> None:
        operator = self._task()
        if self._ready is not None:
            self._ready.wait(20)
        try:
            self.ending = operator.execute(self._context)
        except BaseException as ending:  # noqa: BLE001 - a deferral is no Exception, and the test looks at all of them
            self.ending = ending

    def end(self):
        """Wait until it ended and return what it ended with."""
        self.join(30)
        assert not self.is_alive()
        return self.ending


def once(happened) -> None:
    """Wait until something has happened."""
    deadline = time.monotonic() + 20
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize("tries", [2, 4])
def test_of_tries_at_the_same_moment_one_submits(journal, ti, grokvideo_emulator, tries):
    """In every round one start is accepted; who lost is told to try again, stopped unconfirmed, or goes on with it."""
    kinds = Counter()
    for number in range(ROUNDS):
        each = replace(ti, run_id=f"manual__{number}")
        ready = threading.Barrier(tries)
        task = make(f"Round {number} [[emulator: tempo=polls:1]]")
        running = [Running(task, replace(each, xcoms={}), ready=ready) for _ in range(tries)]
        endings = [one.end() for one in running]
        kinds.update(type(ending).__name__ for ending in endings)

        assert number + 1 == len(grokvideo_emulator.starts)
        assert any(isinstance(ending, TaskDeferred) for ending in endings)
        assert all(isinstance(ending, TaskDeferred | JournalUnavailable | AmbiguousSubmit) for ending in endings)
        assert [grokvideo_emulator.starts[-1].request_id] == [record.request_id for record in journal(each)]

    assert 0 < kinds["JournalUnavailable"] + kinds["AmbiguousSubmit"]


def test_in_a_database_a_slow_try_that_was_overtaken_sends_nothing(ti, grokvideo_emulator, tmp_path, monkeypatch):
    """Intent and reservation are refused together if another try bought since this one has read the journal."""
    database, ready = str(tmp_path / "ledger.db"), prepare.ready
    monkeypatch.setenv("AIRFLOW__GROKVIDEO__LEDGER_PATH", database)

    def overtaken(*arguments, **words):
        monkeypatch.setattr(prepare, "ready", ready)
        with pytest.raises(TaskDeferred):
            make()().execute({"ti": successor_of(ti)})
        return ready(*arguments, **words)

    monkeypatch.setattr(prepare, "ready", overtaken)
    with pytest.raises(JournalUnavailable):
        make(budgets=[{"usd": 5, "per": "dag_run"}])().execute({"ti": ti})

    assert 1 == len(grokvideo_emulator.starts) == len(open_sqlite(database).entries())


def test_a_reservation_made_since_the_journal_was_read_is_kept(ti, grokvideo_emulator, tmp_path, monkeypatch):
    """A successor that read the journal just before the zombie bought does not release what the zombie reserved."""
    monkeypatch.setenv("AIRFLOW__GROKVIDEO__LEDGER_PATH", str(tmp_path / "ledger.db"))
    successor, submit = open_journal({"ti": successor_of(ti)}), GrokVideoHook.submit
    states = []

    def watched(hook, request, **words):
        TaskLedger().follow(successor)
        states.extend(entry.state for entry in open_sqlite(str(tmp_path / "ledger.db")).entries())
        return submit(hook, request, **words)

    monkeypatch.setattr(GrokVideoHook, "submit", watched)
    with pytest.raises(TaskDeferred):
        make()().execute({"ti": ti})

    assert (["reserved"], ["intent"]) == (states, [record.phase for record in successor.records])


def test_a_successor_does_not_submit_while_the_zombie_waits_for_its_answer(
    drive, journal, ti, grokvideo_emulator, tmp_path
):
    """The successor stops unconfirmed; once the zombie has its answer, a clear delivers the zombie's request."""
    grokvideo_emulator.script(HANGS, on="submit")
    task = make(destination=f"{tmp_path}/out/")
    zombie = Running(task, ti)
    once(lambda: grokvideo_emulator.starts)
    with pytest.raises(AmbiguousSubmit) as caught:
        drive(task, successor_of(ti))
    ending = zombie.end()
    course = drive(task, cleared(successor_of(ti)))

    assert isinstance(caught.value, AirflowFailException)
    assert isinstance(ending, TaskDeferred)
    (start,) = grokvideo_emulator.starts
    assert start.request_id == course.result["request_id"]
    assert (tmp_path / "out" / f"{start.request_id}.mp4").exists()
    assert ["delivered"] == [record.phase for record in journal(ti)]


def test_a_successor_that_may_buy_again_leaves_the_zombies_request_known(
    drive, journal, ti, grokvideo_emulator, tmp_path
):
    """Under resubmit the successor buys a second video; the zombie's is in the journal too, for whoever wants it."""
    grokvideo_emulator.script(HANGS, on="submit")
    task = make(destination=f"{tmp_path}/out/", resubmit_on=["unconfirmed"])
    zombie = Running(task, ti)
    once(lambda: grokvideo_emulator.starts)
    course = drive(task, successor_of(ti))
    zombie.end()

    first, second = (start.request_id for start in grokvideo_emulator.starts)
    assert second == course.result["request_id"]
    assert [(first, "submitted"), (second, "delivered")] == [(r.request_id, r.phase) for r in journal(ti)]


def test_a_start_that_was_refused_is_withdrawn_under_the_eyes_of_a_successor(
    drive, journal, ti, grokvideo_emulator, tmp_path
):
    """A successor that stopped unconfirmed lets the zombie take its refused submission back: a clear submits."""
    grokvideo_emulator.script("http:429", on="submit", times=None)
    task = make(destination=f"{tmp_path}/out/")
    zombie = Running(task, ti)
    once(lambda: any(seen.method == "POST" for seen in grokvideo_emulator.requests))
    with pytest.raises(AmbiguousSubmit):
        drive(task, successor_of(ti))
    ending = zombie.end()
    grokvideo_emulator.reset()
    drive(task, cleared(successor_of(ti)))

    assert isinstance(ending, RateLimited)
    assert 1 == len(grokvideo_emulator.starts)
    assert ["withdrawn", "delivered"] == [record.phase for record in journal(ti)]


class Seen:
    """The task state store as one try sees it through Airflow's API server.

    A try whose id was replaced is answered "not there" when it reads and refused when it writes.

    Attributes:
        known: Whether the API server still knows this try.
        hooks: What happens to calls, by name: ``set 1`` when the first write arrives, ``after set 1`` when it is done.
    """

    def __init__(self, values, **hooks) -> None:
        self.values = values
        self.known = True
        self.hooks = {name.replace("_", " "): hook for name, hook in hooks.items()}
        self._calls = Counter()

    def get(self, key, default=None):
        with self._call("get"):
            return json.loads(self.values[key]) if self.known and key in self.values else default

    def set(self, key, value, *, retention=None):
        with self._call("set"):
            self._refuse_strangers()
            self.values[key] = json.dumps(value)

    def delete(self, key):
        with self._call("delete"):
            self._refuse_strangers()
            self.values.pop(key, None)

    def replaced(self):
        """Let another try take over."""
        self.known = False

    @contextmanager
    def _call(self, verb):
        self._calls[verb] += 1
        name = f"{verb} {self._calls[verb]}"
        self.hooks.pop(name, lambda: None)()
        yield
        self.hooks.pop(f"after {name}", lambda: None)()

    def _refuse_strangers(self):
        if not self.known:
            raise RuntimeError("API_SERVER_ERROR: 404 task instance not found")


@pytest.fixture
def values():
    """Return what the API server keeps for the task instance."""
    return {}


@pytest.fixture
def impatient(monkeypatch):
    """Do not wait between tries to save."""
    monkeypatch.setattr(task_journal, "time", SimpleNamespace(time=time.time, sleep=lambda _: None))


def phases(values):
    """Return the phases of the purchases in a store."""
    return [each["phase"] for each in json.loads(values[STATE_KEY])["purchases"]]


@pytest.mark.parametrize("moment", ["get_1", "delete_1", "get_2", "delete_2", "set_1", "after_set_1", "get_3"])
def test_in_the_state_store_a_try_that_was_replaced_sends_nothing(ti, values, grokvideo_emulator, moment):
    """At whatever call before its submit a zombie is replaced, it is refused and submits nothing."""
    zombie = Seen(values)
    zombie.hooks = {moment.replace("_", " "): zombie.replaced}
    with pytest.raises(JournalUnavailable, match=r"Nothing was sent|sent nothing"):
        make()().execute({"ti": ti, "task_state_store": zombie})

    assert [] == list(grokvideo_emulator.starts)


def test_in_the_state_store_a_late_write_of_a_zombie_loses_no_request(drive, ti, values, grokvideo_emulator, tmp_path):
    """A write that the API server was still working on may cover the intent of the successor, which has submitted.

    The zombie sends nothing. The successor adds its purchase to what it finds, and its video is delivered.
    """
    submitted, covered = threading.Event(), threading.Event()
    task = make(destination=f"{tmp_path}/")
    # The successor's fourth read is the first after its submit.
    successor = Seen(values, get_4=lambda: (submitted.set(), covered.wait(20)))
    running = []

    def late() -> None:
        running.append(Running(task, successor_of(ti), successor))
        submitted.wait(20)

    zombie = Seen(values, set_1=late, after_set_1=lambda: (zombie.replaced(), covered.set()))
    with pytest.raises(JournalUnavailable):
        task().execute({"ti": ti, "task_state_store": zombie})
    ending = running[0].end()
    course = drive(task, successor_of(successor_of(ti)), Seen(values))

    assert isinstance(ending, TaskDeferred)
    (start,) = grokvideo_emulator.starts
    assert start.request_id == course.result["request_id"]
    assert ["intent", "delivered"] == phases(values)


def test_in_the_state_store_a_very_late_write_of_a_zombie_leaves_a_doubt(drive, ti, values, grokvideo_emulator, logs):
    """Where such a write covers a request that the successor has written down, the next try stops; it buys nothing."""
    successor = Seen(values)
    zombie = Seen(values, set_1=lambda: Running(make(), successor_of(ti), successor).end())
    zombie.hooks["after set 1"] = zombie.replaced
    with pytest.raises(JournalUnavailable):
        make()().execute({"ti": ti, "task_state_store": zombie})
    with pytest.raises(AmbiguousSubmit):
        drive(make(), cleared(successor_of(ti)), Seen(values))

    (start,) = grokvideo_emulator.starts
    assert f"Request {start.request_id} was accepted" in logs()
    assert ["intent"] == phases(values)


def test_in_the_state_store_a_successor_sees_what_its_zombie_sent(
    drive, ti, values, grokvideo_emulator, impatient, logs
):
    """The successor stops unconfirmed and not at a request: Airflow refuses the late zombie, whose log names the id."""
    grokvideo_emulator.script(HANGS, on="submit")
    zombie = Seen(values)
    running = Running(make(), ti, zombie)
    once(lambda: grokvideo_emulator.starts)
    zombie.known = False
    with pytest.raises(AmbiguousSubmit):
        drive(make(), successor_of(ti), Seen(values))
    running.end()
    (start,) = grokvideo_emulator.starts
    told = logs()
    with pytest.raises(AmbiguousSubmit):
        drive(make(), cleared(successor_of(ti)), Seen(values))

    assert f"Request {start.request_id} was accepted" in told
    assert f"Could not note submitted for request {start.request_id}" in told
    assert ["intent"] == phases(values)
    assert 1 == len(grokvideo_emulator.starts)


def test_in_a_state_store_that_lets_both_write_both_submit(ti, values, grokvideo_emulator):
    """The one interleaving that the state store itself does not close, because it has no conditional write.

    Both tries read, then the one writes and reads back, then the other. It takes two tries that the API server knows
    at the same time, and Airflow never lets there be two: each try has an id of its own, and only the last is known.
    """
    late = Seen(values, set_1=lambda: Running(make(), ti, Seen(values)).end())
    with pytest.raises(TaskDeferred):
        make()().execute({"ti": successor_of(ti), "task_state_store": late})

    assert 2 == len(grokvideo_emulator.starts)
