"""A stored output is the second witness: a file of the purchase's own name settles a lost answer without a person."""

from __future__ import annotations

import functools
import json
import re
import time
from dataclasses import replace

import pytest
from airflow_kit import StateStore

from airflow_provider_grokvideo.compat import AirflowFailException, TaskDeferred
from airflow_provider_grokvideo.core.errors import AmbiguousSubmit, GrokVideoError, VideoExpired
from airflow_provider_grokvideo.hooks.grokvideo import GrokVideoHook
from airflow_provider_grokvideo.operators.grokvideo import GrokVideoGenerateOperator

pytestmark = pytest.mark.usefixtures("grokvideo_connection")

AT_ONCE = "A red ball rolls [[emulator: tempo=at-once]]"


@pytest.fixture
def make(tmp_path):
    """Return how to make a task that stores its output, again and again as Airflow does."""

    def making(prompt=AT_ONCE, **words):
        given = {
            "task_id": "make",
            "prompt": prompt,
            "duration": 1,
            "poll_interval": 0.05,
            "destination": str(tmp_path / "ball.mp4"),
            "storage_options": {"filename": "ball.mp4"},
            **words,
        }
        return functools.partial(GrokVideoGenerateOperator, **given)

    return making


@pytest.fixture
def witness(monkeypatch, grokvideo_emulator):
    """Have a connection that wants a witness."""
    connection = {
        "conn_type": "grokvideo",
        "host": grokvideo_emulator.base_url,
        "password": grokvideo_emulator.api_key,
        "extra": {"witness": True},
    }
    monkeypatch.setenv("AIRFLOW_CONN_GROKVIDEO_DEFAULT", json.dumps(connection))


def again(ti):
    """Return the same task instance at its next try."""
    return replace(ti, try_number=ti.try_number + 1, xcoms={})


def lost(task, ti, backend):
    """Run a try whose answer is lost, and which cannot find its video yet."""
    with pytest.raises(TaskDeferred):
        task().execute({"ti": ti, "task_state_store": backend})


def another(backend):
    """Return the journal of another task instance."""
    return None if backend is None else StateStore()


def sent_name(emulator):
    """Return the name under which the last submission asked to be stored."""
    return emulator.starts[-1].body["storage_options"]["filename"]


def stored(emulator):
    """Wait until the video of the last submission is in the list of files."""
    deadline = time.monotonic() + 30
    while GrokVideoHook().find_file(sent_name(emulator)) is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_each_purchase_has_a_name_of_its_own(drive, backend, ti, make, grokvideo_emulator):
    """The user's name with a random part; what the task returns is as ever."""
    course = drive(make(), ti, backend)
    drive(make(), replace(ti, run_id="another"), another(backend))
    names = [start.body["storage_options"]["filename"] for start in grokvideo_emulator.starts]

    assert course.result["request_id"] == grokvideo_emulator.starts[0].request_id
    assert 2 == len({name for name in names if re.fullmatch(r"ball-[0-9a-f]{16}\.mp4", name)})


def test_without_a_wish_nothing_is_stored(drive, backend, ti, make, grokvideo_emulator):
    """Storage at the service costs money."""
    drive(make(storage_options=None), ti, backend)

    assert "storage_options" not in grokvideo_emulator.starts[0].body


def test_a_connection_can_want_a_witness(drive, backend, ti, make, grokvideo_emulator, witness):
    """Then each video is stored for some days, under a name that nobody can guess."""
    drive(make(storage_options=None), ti, backend)

    assert re.fullmatch(r"airflow-[0-9a-f]{16}\.mp4", sent_name(grokvideo_emulator))
    assert 3 * 86_400 == grokvideo_emulator.starts[0].body["storage_options"]["expires_after"]


@pytest.mark.parametrize("options", [{"filename": "ball.mp4"}, None], ids=["the user's", "the connection's"])
def test_a_lost_answer_is_settled_by_the_stored_file(
    drive, backend, ti, make, grokvideo_emulator, witness, tmp_path, options
):
    """Accepted and its answer lost: delivered without a question, bought once, and reused by a clear."""
    grokvideo_emulator.script("lost_answer", on="submit")
    task = make(storage_options=options, timeout=60)
    try:
        manifest = task().execute({"ti": ti, "task_state_store": backend})
    except TaskDeferred as pause:
        stored(grokvideo_emulator)
        manifest = getattr(task(), pause.method_name)({"ti": ti, "task_state_store": backend}, None)
    cleared = drive(task, again(ti), backend).result

    assert (tmp_path / "ball.mp4").as_uri() == manifest["uri"]
    assert (manifest["request_id"], "done") == (None, manifest["status"])
    assert {**manifest, "url": None, "reused": True} == cleared
    assert 1 == len(grokvideo_emulator.starts)


def test_a_slow_video_is_looked_for_again(backend, ti, make, grokvideo_emulator):
    """Not there yet: the task waits without a slot, and a later look finds it."""
    grokvideo_emulator.script("lost_answer", on="submit")
    task = make("A ball [[emulator: tempo=seconds:2]]", timeout=60)
    with pytest.raises(TaskDeferred):
        task().execute({"ti": ti, "task_state_store": backend})
    with pytest.raises(TaskDeferred) as pause:
        task().execute_again({"ti": ti, "task_state_store": backend})
    stored(grokvideo_emulator)
    manifest = getattr(task(), pause.value.method_name)({"ti": ti, "task_state_store": backend}, None)

    assert manifest["uri"].endswith("ball.mp4")
    assert 1 == len(grokvideo_emulator.starts)


def test_a_dead_worker_is_settled_by_the_stored_file(drive, backend, ti, make, grokvideo_emulator, monkeypatch):
    """Where the worker died before the id was saved, the next try finds the file."""

    class Killed(BaseException):
        pass

    def die(*args, **words):
        raise Killed

    task = make(timeout=60)
    with monkeypatch.context() as patch:
        patch.setattr("airflow_provider_grokvideo.execution.journal.TaskJournal.note", die)
        with pytest.raises(Killed):
            task().execute({"ti": ti, "task_state_store": backend})
    stored(grokvideo_emulator)

    assert drive(task, again(ti), backend).result["uri"].endswith("ball.mp4")
    assert 1 == len(grokvideo_emulator.starts)


def test_a_lost_trigger_of_the_wait_is_taken_up_again(drive, backend, ti, make, grokvideo_emulator):
    """Where the triggerer never reports, the retry looks for the file again and buys nothing."""
    grokvideo_emulator.script("lost_answer", on="submit")
    task = make("A ball [[emulator: tempo=seconds:2]]", timeout=60)
    with pytest.raises(TaskDeferred):
        task().execute({"ti": ti, "task_state_store": backend})
    with pytest.raises(GrokVideoError) as lost:
        task().resume_execution("__fail__", {"error": "Trigger timeout"}, {"ti": ti, "task_state_store": backend})
    stored(grokvideo_emulator)

    assert not isinstance(lost.value, AirflowFailException)
    assert drive(task, again(ti), backend).result["uri"].endswith("ball.mp4")
    assert 1 == len(grokvideo_emulator.starts)


@pytest.mark.parametrize(
    ("fault", "prompt"),
    [
        ("cut_before", AT_ONCE),
        ("lost_answer", "A ball [[emulator: tempo=at-once fault=moderated:b]]"),
        ("lost_answer", "A ball [[emulator: tempo=at-once fault=storage_error]]"),
    ],
    ids=["not accepted", "moderated", "not stored"],
)
def test_without_a_file_a_person_is_asked_as_ever(drive, backend, ti, make, grokvideo_emulator, fault, prompt):
    """That there is no file proves nothing; nothing is bought again, and a file that comes late is found by a clear."""
    grokvideo_emulator.script(fault, on="submit")
    task = make(prompt, timeout=0.2)
    with pytest.raises(AmbiguousSubmit, match="journal forget") as caught:
        drive(task, ti, backend)
    with pytest.raises(AmbiguousSubmit):
        drive(task, again(ti), backend)

    assert isinstance(caught.value, AirflowFailException)
    assert len(grokvideo_emulator.starts) == (fault == "lost_answer")


def test_a_file_that_comes_after_the_question_is_found_by_a_clear(drive, backend, ti, make, grokvideo_emulator):
    """Each later try looks once more before it asks."""
    grokvideo_emulator.script("lost_answer", on="submit")
    task = make("A ball [[emulator: tempo=seconds:2]]", timeout=0.2)
    with pytest.raises(AmbiguousSubmit):
        drive(task, ti, backend)
    stored(grokvideo_emulator)

    assert drive(task, again(ti), backend).result["uri"].endswith("ball.mp4")
    assert 1 == len(grokvideo_emulator.starts)


def test_files_of_others_are_never_adopted(drive, backend, ti, make, grokvideo_emulator):
    """The service's filter hits names that are like ours; only our own counts."""
    for run in ("one", "two", "three"):
        drive(make(), replace(ti, run_id=run), another(backend))
    grokvideo_emulator.script("cut_before", on="submit")
    with pytest.raises(AmbiguousSubmit):
        drive(make(timeout=0.2), ti, backend)

    assert 3 == len(grokvideo_emulator.starts)


@pytest.mark.parametrize("fault", ["http:500", "http:401", "cut_before"])
def test_a_list_that_cannot_be_read_leaves_the_submission_unconfirmed(
    drive, backend, ti, make, grokvideo_emulator, monkeypatch, fault
):
    """It is no answer; nothing is bought again."""
    monkeypatch.setattr("airflow_provider_grokvideo.client.flow.delay", lambda *given, **words: None)
    grokvideo_emulator.script("lost_answer", on="submit")
    grokvideo_emulator.script(fault, on="files", times=9)
    with pytest.raises(AmbiguousSubmit):
        drive(make(timeout=0.2), ti, backend)

    assert 1 == len(grokvideo_emulator.starts)


def test_without_a_journal_a_task_does_not_wait_for_the_file(ti, make, grokvideo_emulator):
    """A task that resumed without knowing of the submission would send another: it stops instead."""
    grokvideo_emulator.script("lost_answer", on="submit")
    with pytest.raises(AmbiguousSubmit) as caught:
        make("A ball [[emulator: tempo=seconds:9]]", timeout=60)().execute({"ti": ti})

    assert isinstance(caught.value, AirflowFailException)
    assert 1 == len(grokvideo_emulator.starts)


def test_a_blocking_task_waits_for_the_file(backend, ti, make, grokvideo_emulator, monkeypatch):
    """In its slot, as it waits for everything."""
    monkeypatch.setattr("airflow_provider_grokvideo.execution.witness.BETWEEN_CHECKS", 0.1)
    grokvideo_emulator.script("lost_answer", on="submit")
    task = make("A ball [[emulator: tempo=seconds:1]]", timeout=60, deferrable=False)

    assert task().execute({"ti": ti, "task_state_store": backend})["uri"].endswith("ball.mp4")
    assert 1 == len(grokvideo_emulator.starts)


def test_a_directory_gets_a_name_of_the_purchase(drive, backend, ti, make, grokvideo_emulator, tmp_path):
    """Where no request id is known, so that two of them do not share a name."""
    grokvideo_emulator.script("lost_answer", on="submit")
    task = make("A ball [[emulator: tempo=seconds:2]]", destination=f"{tmp_path}/", timeout=60)
    lost(task, ti, backend)
    stored(grokvideo_emulator)
    drive(task, again(ti), backend)

    assert (tmp_path / sent_name(grokvideo_emulator)).is_file()


def test_a_delivered_file_that_is_gone_is_fetched_from_the_service_again(
    drive, backend, ti, make, grokvideo_emulator, tmp_path
):
    """As long as the service keeps it; then there is no way to it."""
    grokvideo_emulator.script("lost_answer", on="submit")
    task = make("A ball [[emulator: tempo=seconds:2]]", timeout=60)
    lost(task, ti, backend)
    stored(grokvideo_emulator)
    drive(task, again(ti), backend)
    (tmp_path / "ball.mp4").unlink()
    fetched = drive(task, again(again(ti)), backend).result

    assert (True, True) == (fetched["reused"], (tmp_path / "ball.mp4").is_file())
    (tmp_path / "ball.mp4").unlink()
    grokvideo_emulator.script("http:500", on="files", times=9)
    with pytest.raises(VideoExpired):
        drive(task, again(again(ti)), backend)
    assert 1 == len(grokvideo_emulator.starts)
