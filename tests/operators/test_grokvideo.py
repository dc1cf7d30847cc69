"""The operators from execute to manifest, against the emulator over a real socket."""

from __future__ import annotations

import functools
import hashlib
import io
import json
import time
from datetime import timedelta
from pathlib import Path

import av
import pytest
from airflow.sdk.execution_time.timeout import TimeoutPosix
from airflow.sdk.io import attach
from fsspec.implementations.memory import MemoryFileSystem
from PIL import Image

from airflow_provider_grokvideo.compat import AirflowFailException, AirflowSkipException, TaskDeferred
from airflow_provider_grokvideo.core.errors import (
    AmbiguousSubmit,
    AuthenticationFailed,
    DeliveryFailed,
    EventRejected,
    GrokVideoError,
    RateLimited,
    ServiceUnavailable,
    SpendLimitExceeded,
    VideoExpired,
    VideoFailed,
    VideoModerated,
    WaitTimeout,
)
from airflow_provider_grokvideo.operators.grokvideo import (
    GrokVideoEditOperator,
    GrokVideoExtendOperator,
    GrokVideoGenerateOperator,
)

pytestmark = pytest.mark.usefixtures("grokvideo_connection")


def make(prompt: str = "A red ball rolls [[emulator: tempo=polls:2]]", **words):
    """Return how to make the same generating task again and again, as Airflow does."""
    return functools.partial(
        GrokVideoGenerateOperator,
        **{"task_id": "make", "prompt": prompt, "duration": 1, "poll_interval": 0.05, **words},
    )


def picture() -> bytes:
    """Return a small PNG."""
    content = io.BytesIO()
    Image.new("RGB", (64, 48), "red").save(content, "PNG")
    return content.getvalue()


def seconds_of(path: Path) -> float:
    """Measure a video."""
    with av.open(str(path)) as video:
        return video.duration / av.time_base


@pytest.mark.parametrize("deferrable", [True, False], ids=["deferrable", "blocking"])
def test_a_video_is_bought_once_and_delivered(drive, grokvideo_emulator, tmp_path, deferrable):
    """A task buys one video, stores it with its record, and returns the complete manifest."""
    course = drive(make(destination=str(tmp_path / "ball.mp4"), deferrable=deferrable, resolution="480p"))

    (start,) = grokvideo_emulator.starts
    manifest = course.result
    known = {
        "request_id": start.request_id,
        "mode": "text-to-video",
        "model": "grok-imagine-video",
        "status": "done",
        "cost_usd": 0.05,
        "estimated_cost_usd": 0.05,
        "width": 848,
        "height": 480,
        "has_audio": True,
        "checked": "decoded",
        "reused": False,
        "bytes": (tmp_path / "ball.mp4").stat().st_size,
    }
    assert known == {name: manifest[name] for name in known}
    assert (tmp_path / "ball.mp4").as_uri() == manifest["uri"]
    assert 1.0 == pytest.approx(seconds_of(tmp_path / "ball.mp4"), abs=0.1)
    assert start.request_id == json.loads((tmp_path / "ball.json").read_text())["request_id"]
    assert manifest == json.loads(json.dumps(manifest))
    assert start.request_id == course.ti.xcoms["request_id"]
    assert 0 == grokvideo_emulator.leaks


def test_the_manifest_has_the_promised_keys(drive, tmp_path):
    """The manifest's keys are those that the documentation promises."""
    course = drive(make(destination=f"{tmp_path}/"))

    promised = (
        "request_id mode model status url uri sidecar_uri poster_uri sha256 bytes duration width height has_audio "
        "checked cost_usd estimated_cost_usd submitted_at finished_at reused warnings"
    )
    assert set(promised.split()) == set(course.result)


def test_the_request_id_is_kept_before_the_wait(grokvideo_emulator, ti, logs):
    """Before a task defers, its request id is in XCom and in the log."""
    with pytest.raises(TaskDeferred):
        make()().execute({"ti": ti})

    (start,) = grokvideo_emulator.starts
    assert start.request_id == ti.xcoms["request_id"]
    said = logs()
    assert f"Request {start.request_id} was accepted" in said
    assert "estimated cost 0.05 USD" in said


def test_submitting_only_returns_at_once(drive, grokvideo_emulator, tmp_path):
    """With wait_for_completion=False the task ends with the request id and without a poll."""
    course = drive(make(wait_for_completion=False))

    (start,) = grokvideo_emulator.starts
    assert (start.request_id, "submitted", None) == tuple(
        course.result[name] for name in ("request_id", "status", "uri")
    )
    assert {} == {key: polls for key, polls in grokvideo_emulator.polls.items() if polls}


def test_an_edit_takes_another_tasks_manifest(drive, grokvideo_emulator, tmp_path):
    """An edit fed with a manifest edits that video by its link, keeps its length, and knows its price."""
    first = drive(make(duration=2))
    course = drive(
        functools.partial(
            GrokVideoEditOperator,
            task_id="edit",
            prompt="Make it snow [[emulator: tempo=at-once]]",
            video=first.result,
            destination=str(tmp_path / "snow.mp4"),
            poll_interval=0.05,
        )
    )

    assert first.result["url"] == grokvideo_emulator.starts[1].body["video"]["url"]
    assert 2.0 == pytest.approx(seconds_of(tmp_path / "snow.mp4"), abs=0.1)
    assert "edit" == course.result["mode"]
    assert course.result["cost_usd"] == grokvideo_emulator.starts[1].billed_ticks / 10**10


def test_a_local_clip_is_sent_along_and_extended(drive, grokvideo_emulator, tmp_path):
    """A local file is checked, sent inside the request, and extended to source plus tail."""
    drive(make(duration=2, destination=str(tmp_path / "two.mp4")))
    course = drive(
        functools.partial(
            GrokVideoExtendOperator,
            task_id="extend",
            prompt="It rolls on [[emulator: tempo=at-once]]",
            video=str(tmp_path / "two.mp4"),
            duration=2,
            destination=str(tmp_path / "four.mp4"),
            poll_interval=0.05,
        )
    )

    assert grokvideo_emulator.starts[1].body["video"]["url"].startswith("data:video/mp4;base64,")
    assert 4.0 == pytest.approx(seconds_of(tmp_path / "four.mp4"), abs=0.2)
    assert 4.0 == pytest.approx(course.result["duration"], abs=0.2)
    assert course.result["estimated_cost_usd"] == pytest.approx(2 * 0.05 + 2 * 0.01, abs=0.005)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        pytest.param("moderated:a", VideoModerated, id="moderated as done"),
        pytest.param("moderated:b", VideoModerated, id="moderated as 400"),
        pytest.param("moderated:c", VideoModerated, id="moderated as failed"),
        pytest.param("failed:internal_error", VideoFailed, id="failed"),
        pytest.param("done_without_url", VideoFailed, id="no link"),
        pytest.param("expired", VideoExpired, id="expired"),
    ],
)
def test_a_video_that_ends_badly_is_not_bought_again(drive, grokvideo_emulator, fault, error):
    """A bought video that ends badly fails the task for good, names the request and is not submitted again."""
    with pytest.raises(error) as caught:
        drive(make(f"A ball [[emulator: tempo=polls:1 fault={fault}]]"))

    assert isinstance(caught.value, AirflowFailException)
    assert grokvideo_emulator.starts[0].request_id in str(caught.value)
    assert "grokvideo_default" in str(caught.value)
    assert 1 == len(grokvideo_emulator.starts)


def test_a_moderated_video_says_what_it_cost(drive):
    """The error of a moderated video names the bill."""
    with pytest.raises(VideoModerated, match=r"billed 0\.05 USD"):
        drive(make("A ball [[emulator: tempo=polls:1 fault=moderated:b]]"))


@pytest.mark.parametrize("deferrable", [True, False], ids=["deferrable", "blocking"])
def test_moderation_can_skip(drive, deferrable):
    """With on_moderated='skip' a blocked video skips the task instead of failing it."""
    with pytest.raises(AirflowSkipException, match="content moderation"):
        drive(make("A ball [[emulator: tempo=polls:1 fault=moderated:b]]", on_moderated="skip", deferrable=deferrable))


@pytest.mark.parametrize("deferrable", [True, False], ids=["deferrable", "blocking"])
def test_a_timeout_says_what_goes_on_and_how_to_get_it(drive, grokvideo_emulator, deferrable):
    """When patience ends the error says that the request goes on, is billed, and how to fetch it for free."""
    with pytest.raises(WaitTimeout, match="GrokVideoSensor") as caught:
        drive(make("A ball [[emulator: tempo=polls:999]]", timeout=0.3, deferrable=deferrable))

    assert isinstance(caught.value, AirflowFailException)
    assert "billed" in str(caught.value)
    assert 1 == len(grokvideo_emulator.starts)


def test_an_ambiguous_submit_stops_without_retry(drive, grokvideo_emulator):
    """A lost answer to a start stops the task for good: a retry might pay twice."""
    grokvideo_emulator.script("lost_answer", on="submit")

    with pytest.raises(AmbiguousSubmit) as caught:
        drive(make())

    assert isinstance(caught.value, AirflowFailException)
    assert 1 == len(grokvideo_emulator.starts)


def test_an_ambiguous_submit_is_repeated_by_airflow_where_the_user_said_so(drive, grokvideo_emulator):
    """With resubmit_on=['unconfirmed'] the error is one that Airflow retries."""
    grokvideo_emulator.script("lost_answer", on="submit")

    with pytest.raises(AmbiguousSubmit, match="submits again") as caught:
        drive(make(resubmit_on=["unconfirmed"]))

    assert not isinstance(caught.value, AirflowFailException)


def test_a_rate_limit_before_acceptance_is_retried_by_airflow(drive, grokvideo_emulator):
    """A rate limit that stays is an error that Airflow retries, because nothing was bought."""
    grokvideo_emulator.script("http:429", on="submit", times=None, retry_after="3600")

    with pytest.raises(RateLimited) as caught:
        drive(make())

    assert not isinstance(caught.value, AirflowFailException)
    assert [] == grokvideo_emulator.starts


def test_an_outage_after_the_wait_does_not_lose_the_video(grokvideo_emulator, ti, tmp_path):
    """A resumed task sits out a short outage of the service instead of giving a paid video up."""
    task = make("A red ball [[emulator: tempo=at-once]]", destination=str(tmp_path / "ball.mp4"))
    with pytest.raises(TaskDeferred) as deferral:
        task().execute({"ti": ti})
    request_id = deferral.value.trigger.serialize()[1]["request_id"]
    event = {"version": 1, "request_id": request_id, "outcome": "settled"}
    grokvideo_emulator.script("http:503", on="poll", times=1)

    manifest = task().execute_complete({"ti": ti}, event)

    assert (tmp_path / "ball.mp4").as_uri() == manifest["uri"]


@pytest.mark.parametrize(
    "fault", ["truncated", "truncated:short", "wrong_bytes:html", "wrong_bytes:png"], ids=lambda word: word
)
def test_what_is_not_the_video_never_reaches_the_destination(drive, grokvideo_emulator, tmp_path, fault):
    """A broken or false download fails the task, leaves the destination empty and tells how to fetch for free."""
    grokvideo_emulator.script(fault, on="download", times=None)

    with pytest.raises(DeliveryFailed, match="GrokVideoSensor"):
        drive(make(destination=str(tmp_path / "ball.mp4")))

    assert [] == list(tmp_path.iterdir())
    assert 1 == len(grokvideo_emulator.starts)


def test_a_dead_link_is_asked_for_once_more(drive, grokvideo_emulator, tmp_path):
    """A link that died on the way is replaced by a fresh one."""
    grokvideo_emulator.script("expired_link", on="download")

    course = drive(make(destination=str(tmp_path / "ball.mp4")))

    assert (tmp_path / "ball.mp4").as_uri() == course.result["uri"]


def test_a_video_without_a_link_is_fetched_from_the_service_files(drive, grokvideo_emulator, tmp_path):
    """Where the service keeps the video as a file and gives no link, the file is delivered."""
    trouble = "A ball [[emulator: tempo=at-once fault=done_without_url]]"
    course = drive(make(trouble, storage_options={"filename": "ball.mp4"}, destination=str(tmp_path / "ball.mp4")))

    assert (tmp_path / "ball.mp4").as_uri() == course.result["uri"]
    assert 1.0 == pytest.approx(seconds_of(tmp_path / "ball.mp4"), abs=0.1)
    assert hashlib.sha256((tmp_path / "ball.mp4").read_bytes()).hexdigest() == course.result["sha256"]


@pytest.mark.parametrize("fault", ["http:404", "http:503", "cut_before"])
def test_a_stored_file_that_cannot_be_fetched_is_a_failed_delivery(drive, grokvideo_emulator, tmp_path, fault):
    """When the service's file cannot be fetched, the task fails for good and names the way out."""
    grokvideo_emulator.script(fault, on="files", times=None)
    trouble = "A ball [[emulator: tempo=at-once fault=done_without_url]]"

    with pytest.raises(DeliveryFailed, match=r"could not be fetched.*GrokVideoSensor"):
        drive(make(trouble, storage_options={"filename": "ball.mp4"}, destination=str(tmp_path / "ball.mp4")))

    assert [] == list(tmp_path.iterdir())


def test_a_key_that_dies_while_waiting_names_the_way_to_the_video(drive, grokvideo_emulator):
    """Without a journal, the error of a key that is refused after the purchase says what fetches the video for free."""
    grokvideo_emulator.script("revoked", on="poll", times=None)

    with pytest.raises(AuthenticationFailed, match="GrokVideoSensor") as caught:
        drive(make())

    assert grokvideo_emulator.starts[0].request_id in str(caught.value)


@pytest.mark.parametrize(
    ("event", "said"),
    [
        pytest.param(None, "not an object", id="none"),
        pytest.param({"status": "success"}, "has no request id", id="foreign"),
        pytest.param({"version": 99, "request_id": "r", "outcome": "settled"}, "version 99", id="newer"),
        pytest.param({"version": 1, "request_id": "r", "outcome": "great"}, "unknown outcome", id="odd"),
    ],
)
def test_an_event_is_checked_before_it_is_believed(ti, event, said):
    """An event of the wrong shape is refused with what is wrong about it."""
    with pytest.raises(EventRejected, match=said):
        make()().execute_complete({"ti": ti}, event)


def test_trouble_between_submit_and_wait_buys_nothing_more(grokvideo_emulator, ti, monkeypatch):
    """When a temporary input cannot be cleaned up after the submit, the task fails for good and names the request."""
    storage = MemoryFileSystem()
    storage.pipe_file("/in/frame.png", picture())
    attach("memory", fs=storage)

    def vanish(*args: object, **words: object) -> None:
        raise OSError("the disk is gone")

    monkeypatch.setattr("tempfile.TemporaryDirectory.__exit__", vanish)

    with pytest.raises(GrokVideoError, match="the disk is gone") as caught:
        make(image="memory://in/frame.png")().execute({"ti": ti})

    assert isinstance(caught.value, AirflowFailException)
    assert grokvideo_emulator.starts[0].request_id in str(caught.value)


def test_a_lost_trigger_buys_nothing_more_while_airflow_is_away(ti):
    """When the triggerer never reported and XCom cannot be read either, the task still fails for good."""

    class Unreachable(type(ti)):
        def xcom_pull(self, **words: object) -> None:
            raise ConnectionError("the API server is away")

    with pytest.raises(GrokVideoError, match="API server is away") as caught:
        make()().resume_execution("__fail__", {"error": "Trigger timeout"}, {"ti": Unreachable()})

    assert isinstance(caught.value, AirflowFailException)


@pytest.mark.parametrize("signal", ["Trigger timeout", "Trigger failure"])
def test_a_lost_trigger_names_the_request(ti, signal):
    """When the triggerer never reports, the error names the request that goes on and how to fetch it."""
    ti.xcom_push("request_id", "r-123")

    with pytest.raises(WaitTimeout, match=r"r-123.*GrokVideoSensor"):
        make()().resume_execution("__fail__", {"error": signal}, {"ti": ti})


def test_an_execution_timeout_during_the_submit_leaves_it_in_doubt(grokvideo_emulator, ti):
    """When execution_timeout strikes while a start is under way, the task stops without a retry."""
    grokvideo_emulator.script("timeout", on="submit")

    with pytest.raises(AmbiguousSubmit, match="interrupted") as caught, TimeoutPosix(0.5):
        make()().execute({"ti": ti})

    assert isinstance(caught.value, AirflowFailException)
    assert 1 == len(grokvideo_emulator.starts)


def test_an_execution_timeout_during_the_wait_buys_nothing_more(grokvideo_emulator, ti):
    """When execution_timeout strikes while a task waits in the worker, it fails for good and names the way out."""
    task = make("A ball [[emulator: tempo=polls:999]]", deferrable=False)()

    with pytest.raises(WaitTimeout, match="GrokVideoSensor") as caught, TimeoutPosix(0.5):
        task.execute({"ti": ti})

    assert isinstance(caught.value, AirflowFailException)
    assert grokvideo_emulator.starts[0].request_id in str(caught.value)


def test_execution_timeout_ends_a_wait_in_the_triggerer_too(ti):
    """Airflow does not enforce execution_timeout while a task is deferred, so the deadline does."""
    before = time.time()
    with pytest.raises(TaskDeferred) as deferral:
        make(execution_timeout=timedelta(seconds=30))().execute({"ti": ti})

    deadline = deferral.value.trigger.serialize()[1]["deadline"]
    assert before + 30 <= deadline <= time.time() + 30


def test_trouble_with_airflow_after_the_purchase_buys_nothing_more(grokvideo_emulator, ti):
    """When Airflow cannot keep the request id, the task fails for good and its error has the id."""

    class Unreachable(type(ti)):
        def xcom_push(self, key: str, value: object) -> None:
            raise ConnectionError("the API server is away")

    with pytest.raises(GrokVideoError, match="API server is away") as caught:
        make()().execute({"ti": Unreachable()})

    assert isinstance(caught.value, AirflowFailException)
    assert grokvideo_emulator.starts[0].request_id in str(caught.value)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param({"max_cost_usd": 0.01}, "0.05 USD", id="too dear"),
        pytest.param({"max_cost_usd": "0.01"}, "0.05 USD", id="limit from a template"),
        pytest.param({"max_cost_usd": 1, "model": "grok-next"}, "no known price", id="price unknown"),
    ],
)
def test_a_limit_is_kept_before_the_submit(drive, grokvideo_emulator, words, said):
    """A request more expensive than the limit, or of unknown price, is not sent."""
    with pytest.raises(SpendLimitExceeded, match=said) as caught:
        drive(make(**words))

    assert isinstance(caught.value, AirflowFailException)
    assert [] == grokvideo_emulator.starts


def test_killing_a_blocking_task_says_what_goes_on(grokvideo_emulator, ti, logs):
    """A killed task says which request goes on and is billed."""
    task = make(deferrable=False, timeout=0.2, prompt="A ball [[emulator: tempo=polls:999]]")()
    with pytest.raises(WaitTimeout):
        task.execute({"ti": ti})

    task.on_kill()

    assert f"Request {grokvideo_emulator.starts[0].request_id} keeps running" in logs()


def test_an_unreachable_service_is_retried_by_airflow(drive, monkeypatch):
    """Where nobody listens nothing was bought, so Airflow may retry."""
    connection = {
        "conn_type": "grokvideo",
        "host": "http://127.0.0.1:9",
        "password": "xai-key",
        "extra": {"timeout": 1},
    }
    monkeypatch.setenv("AIRFLOW_CONN_GROKVIDEO_DEFAULT", json.dumps(connection))

    with pytest.raises(ServiceUnavailable, match="Nothing was accepted") as caught:
        drive(make())

    assert not isinstance(caught.value, AirflowFailException)


def test_a_wrong_key_is_not_retried(drive, grokvideo_emulator, monkeypatch):
    """A key the service refuses fails the task at once."""
    connection = {"conn_type": "grokvideo", "host": grokvideo_emulator.base_url, "password": "xai-wrong-key"}
    monkeypatch.setenv("AIRFLOW_CONN_GROKVIDEO_DEFAULT", json.dumps(connection))

    with pytest.raises(AuthenticationFailed, match="airflow connections test") as caught:
        drive(make())

    assert isinstance(caught.value, AirflowFailException)
