"""deliver_via="upload": the service uploads to S3, and an upload that is there settles a lost answer."""

from __future__ import annotations

import functools
import json
import logging
import time
from dataclasses import replace

import httpx
import pytest

from airflow_provider_grokvideo.compat import AirflowFailException, TaskDeferred
from airflow_provider_grokvideo.core.errors import (
    AmbiguousSubmit,
    DeliveryFailed,
    GrokVideoError,
    InvalidInput,
    VideoModerated,
)
from airflow_provider_grokvideo.execution.journal import TaskJournal
from airflow_provider_grokvideo.operators.grokvideo import GrokVideoGenerateOperator

pytestmark = pytest.mark.usefixtures("grokvideo_connection")


def make(prompt: str = "A red ball rolls [[emulator: tempo=at-once]]", **words):
    """Return how to make the same task again and again, as Airflow does."""
    return functools.partial(
        GrokVideoGenerateOperator,
        **{
            "task_id": "make",
            "prompt": prompt,
            "duration": 1,
            "poll_interval": 0.05,
            "destination": "s3://bucket/films/ball.mp4",
            "deliver_via": "upload",
            **words,
        },
    )


def again(ti):
    """Return the same task instance at its next try."""
    return replace(ti, try_number=ti.try_number + 1, xcoms={})


def behave(emulator, **quirks: str) -> None:
    """Choose between behaviours of the service that are known in more than one version."""
    address = f"{emulator.base_url.removesuffix('/v1')}/_emulator/script"
    httpx.post(address, json={"quirks": quirks}, trust_env=False).raise_for_status()


def upload_in(s3) -> str:
    """Wait until the service has uploaded, and return the object's name."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if found := [name for name in s3.names() if name.endswith(".upload.mp4")]:
            return found[0]
        time.sleep(0.02)
    raise AssertionError("nothing was uploaded")


@pytest.mark.parametrize("deferrable", [True, False], ids=["deferrable", "blocking"])
@pytest.mark.parametrize("answer", ["url", "null"])
def test_the_service_uploads_and_the_worker_only_checks(drive, backend, s3, ti, grokvideo_emulator, deferrable, answer):
    """The video is uploaded by the service, checked by its structure, and stored with its record under its name."""
    behave(grokvideo_emulator, upload_result=answer)
    course = drive(make(deferrable=deferrable), ti, backend)

    (start,) = grokvideo_emulator.starts
    record = json.loads(s3.read("films/ball.json"))
    assert ["films/ball.json", "films/ball.mp4", "films/ball.poster.jpg"] == s3.names()
    assert start.request_id == course.result["request_id"] == record["request_id"]
    assert ("structure", None, None) == tuple(course.result[name] for name in ("checked", "sha256", "url"))
    assert len(s3.read("films/ball.mp4")) == course.result["bytes"]
    assert (848, 480, True) == tuple(course.result[name] for name in ("width", "height", "has_audio"))
    assert [] == [seen for seen in grokvideo_emulator.requests if seen.origin == "download"]


def test_the_signature_is_nowhere(drive, backend, s3, ti, grokvideo_emulator, caplog, capsys):
    """The signed address reaches the service and neither log, XCom, trigger, journal nor record."""
    caplog.set_level(logging.INFO)
    behave(grokvideo_emulator, upload_result="url")
    course = drive(make(), ti, backend)

    (start,) = grokvideo_emulator.starts
    signature = start.body["output"]["upload_url"].partition("X-Amz-Signature=")[2]
    said = [record.getMessage() for record in caplog.records if record.name != "werkzeug"]
    kept = [said, capsys.readouterr(), course.ti.xcoms, course.triggers, course.events, course.result]
    assert 64 == len(signature)
    assert signature not in repr(kept)
    assert signature not in repr(backend.values if backend else "")
    assert signature.encode() not in s3.read("films/ball.json")


def test_a_team_with_zero_data_retention_gets_its_video(drive, backend, s3, ti, grokvideo_emulator, monkeypatch):
    """Where every start needs an upload address, the task has one."""
    connection = {"conn_type": "grokvideo", "host": grokvideo_emulator.base_url, "password": "xai-emulator-zdr"}
    monkeypatch.setenv("AIRFLOW_CONN_GROKVIDEO_DEFAULT", json.dumps(connection))

    assert "s3://bucket/films/ball.mp4" == drive(make(), ti, backend).result["uri"]


def test_a_lost_answer_is_settled_by_the_upload(drive, backend, s3, ti, grokvideo_emulator):
    """A start whose answer was lost is found by its upload: delivered, not bought again, without a person."""
    grokvideo_emulator.script("lost_answer", on="submit")
    task = make("A red ball [[emulator: tempo=seconds:2]]", timeout=60)
    with pytest.raises(TaskDeferred) as pause:
        task().execute({"ti": ti, "task_state_store": backend})
    upload_in(s3)

    manifest = getattr(task(), pause.value.method_name)({"ti": ti, "task_state_store": backend}, None)
    cleared = drive(task, again(ti), backend)

    assert "s3://bucket/films/ball.mp4" == manifest["uri"]
    assert manifest["request_id"] is None
    assert {**manifest, "reused": True} == cleared.result
    assert 1 == len(grokvideo_emulator.starts)


def test_a_lost_wait_for_an_upload_is_taken_up_again(drive, backend, s3, ti, grokvideo_emulator):
    """Where the triggerer never reports, the retry looks for the upload again and buys nothing."""
    grokvideo_emulator.script("lost_answer", on="submit")
    task = make("A red ball [[emulator: tempo=seconds:2]]", timeout=60)
    with pytest.raises(TaskDeferred):
        task().execute({"ti": ti, "task_state_store": backend})
    with pytest.raises(GrokVideoError, match="video of an unconfirmed submission") as lost:
        task().resume_execution("__fail__", {"error": "Trigger timeout"}, {"ti": ti, "task_state_store": backend})
    upload_in(s3)

    assert "s3://bucket/films/ball.mp4" == drive(task, again(ti), backend).result["uri"]
    assert not isinstance(lost.value, AirflowFailException)
    assert "None" not in str(lost.value)
    assert 1 == len(grokvideo_emulator.starts)


def test_without_a_journal_a_lost_answer_is_not_waited_out(s3, ti, grokvideo_emulator):
    """A task that resumed without knowing of the start would send another: it stops instead."""
    grokvideo_emulator.script("lost_answer", on="submit")
    task = make("A red ball [[emulator: tempo=seconds:2]]", timeout=60)
    with pytest.raises(AmbiguousSubmit) as doubt:
        task().execute({"ti": ti})

    assert isinstance(doubt.value, AirflowFailException)
    assert 1 == len(grokvideo_emulator.starts)


def test_a_dead_worker_is_settled_by_the_upload(drive, backend, s3, ti, grokvideo_emulator, monkeypatch):
    """Where the worker died before the id was saved, the next try finds the upload."""

    class Killed(BaseException):
        pass

    def die(*args: object, **words: object) -> None:
        raise Killed

    task = make(timeout=60)
    with monkeypatch.context() as patch:
        patch.setattr("airflow_provider_grokvideo.execution.journal.TaskJournal.note", die)
        with pytest.raises(Killed):
            task().execute({"ti": ti, "task_state_store": backend})
    upload_in(s3)

    assert "s3://bucket/films/ball.mp4" == drive(task, again(ti), backend).result["uri"]
    assert 1 == len(grokvideo_emulator.starts)


class Killed(BaseException):
    """The worker is gone; no ``except Exception`` notices."""


def dies_noting(phase: str, patch, *, before: bool) -> None:
    """Let the worker die when it writes a phase down, before or after the journal has it."""
    note = TaskJournal.note

    def dying(memory, **changes):
        dies = changes.get("phase") == phase
        if not dies or not before:
            note(memory, **changes)
        if dies:
            raise Killed
        return True

    patch.setattr(TaskJournal, "note", dying)


@pytest.mark.parametrize("before", [True, False], ids=["before the journal", "after the journal"])
def test_an_upload_proves_the_delivery_until_the_journal_does(
    drive, backend, s3, ti, grokvideo_emulator, monkeypatch, before
):
    """A worker that dies between storing and noting leaves a task that succeeds at its next try."""
    with monkeypatch.context() as patch:
        dies_noting("delivered", patch, before=before)
        with pytest.raises(Killed):
            make(deferrable=False)().execute({"ti": ti, "task_state_store": backend})
    assert 1 == len([name for name in s3.names() if name.endswith(".upload.mp4")])

    assert "s3://bucket/films/ball.mp4" == drive(make(), again(ti), backend).result["uri"]
    assert 1 == len(grokvideo_emulator.starts)


def test_a_sidecar_that_names_the_request_is_the_delivery(drive, backend, s3, ti, grokvideo_emulator, monkeypatch):
    """Where the upload is gone and the video is stored with its record, the next try returns that."""
    with monkeypatch.context() as patch:
        dies_noting("delivered", patch, before=True)
        with pytest.raises(Killed):
            make(deferrable=False)().execute({"ti": ti, "task_state_store": backend})
    (upload,) = [name for name in s3.names() if name.endswith(".upload.mp4")]
    s3.fs.rm_file(f"bucket/{upload}")
    record = json.loads(s3.read("films/ball.json"))
    result = drive(make(), again(ti), backend).result

    assert ("s3://bucket/films/ball.mp4", record["bytes"]) == (result["uri"], result["bytes"])
    assert [result["request_id"]] == [start.request_id for start in grokvideo_emulator.starts]


def test_without_an_upload_the_doubt_stays(drive, backend, s3, ti, grokvideo_emulator):
    """Where nothing was uploaded within the timeout, a person decides as ever."""
    grokvideo_emulator.script("cut_before", on="submit")

    with pytest.raises(AmbiguousSubmit, match="journal forget") as caught:
        drive(make(timeout=0.2), ti, backend)

    assert isinstance(caught.value, AirflowFailException)
    assert [] == grokvideo_emulator.starts


def test_a_blocked_video_is_told_as_such(drive, backend, s3, ti, grokvideo_emulator):
    """A moderated request uploads nothing and fails as moderated."""
    with pytest.raises(VideoModerated):
        drive(make("A ball [[emulator: tempo=at-once fault=moderated:b]]"), ti, backend)

    assert [] == [name for name in s3.names() if name.endswith(".mp4")]


def test_an_upload_that_is_missing_can_be_retried(drive, backend, s3, ti, grokvideo_emulator):
    """Where the service says done and nothing is there, Airflow retries, and nothing is bought again."""
    with pytest.raises(TaskDeferred) as deferral:
        make()().execute({"ti": ti, "task_state_store": backend})
    name = upload_in(s3)
    content = s3.read(name)
    s3.fs.rm_file(f"bucket/{name}")
    event = {"version": 1, "request_id": deferral.value.trigger.serialize()[1]["request_id"], "outcome": "settled"}

    with pytest.raises(DeliveryFailed, match="did not upload") as caught:
        make()().execute_complete({"ti": ti, "task_state_store": backend}, event)
    s3.fs.pipe_file(f"bucket/{name}", content)

    assert not isinstance(caught.value, AirflowFailException)
    assert "s3://bucket/films/ball.mp4" == drive(make(), again(ti), backend).result["uri"]
    assert 1 == len(grokvideo_emulator.starts)


@pytest.mark.parametrize(
    "words",
    [
        pytest.param({"destination": "/tmp/ball.mp4"}, id="local"),
        pytest.param({"destination": None}, id="none"),
        pytest.param({"wait_for_completion": False}, id="not waiting"),
        pytest.param({"deliver_via": "pigeon"}, id="unknown"),
    ],
)
def test_where_it_cannot_work_nothing_is_bought(drive, backend, s3, ti, grokvideo_emulator, words):
    """A destination that cannot sign uploads is refused before money is spent."""
    with pytest.raises(InvalidInput, match="deliver_via"):
        drive(make(**words), ti, backend)

    assert [] == grokvideo_emulator.starts
