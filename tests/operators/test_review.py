"""The review gate as Airflow drives it, against the emulator: what is asked, what answers buy, what is handed on."""

from __future__ import annotations

import base64
import contextlib
import functools
import json
import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow_kit import StateStore, TaskInstance, adopt
from review_kit import Desk, Review, said

from airflow_provider_grokvideo.compat import AirflowFailException, AirflowSkipException
from airflow_provider_grokvideo.core.errors import (
    AmbiguousSubmit,
    DeliveryFailed,
    EventRejected,
    GrokVideoError,
    InvalidInput,
)
from airflow_provider_grokvideo.core.redaction import MARK
from airflow_provider_grokvideo.execution import review_form
from airflow_provider_grokvideo.hooks.grokvideo import GrokVideoHook
from airflow_provider_grokvideo.ledger.sql import SqlLedger, open_sqlite
from airflow_provider_grokvideo.operators.grokvideo import (
    GrokVideoEditOperator,
    GrokVideoExtendOperator,
    GrokVideoGenerateOperator,
)
from airflow_provider_grokvideo.operators.review import GrokVideoReviewOperator
from airflow_provider_grokvideo.operators.review_leg import ReviewLeg

pytestmark = pytest.mark.usefixtures("grokvideo_connection")

TICKS = 500_000_000
"""One second at 480p on the default model."""


@pytest.fixture(autouse=True)
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SqlLedger:
    """Give each test a ledger of its own and return it."""
    path = str(tmp_path / "ledger.db")
    monkeypatch.setenv("AIRFLOW__GROKVIDEO__LEDGER_PATH", path)
    return open_sqlite(path)


@pytest.fixture(autouse=True)
def _at_once(grokvideo_emulator) -> None:
    """Let the service finish at once."""
    grokvideo_emulator.set_tempo("at-once")


def shoot(drive, kind: Any, folder: Path, name: str = "film", **words: Any) -> dict[str, Any]:
    """Return what a task returns that makes a clip."""
    given = {"task_id": name, "poll_interval": 0.05, "destination": str(folder / f"{name}.mp4"), **words}
    return drive(functools.partial(kind, **given), TaskInstance(task_id=name), store=StateStore()).result


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Desk:
    """Be the supervisor that a task sends its question to."""
    from airflow.sdk.execution_time import task_runner

    found = Desk()
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", found, raising=False)
    return found


@pytest.fixture
def film(drive, grokvideo_emulator, tmp_path: Path) -> dict[str, Any]:
    """A clip of one second that another task has made."""
    return shoot(drive, GrokVideoGenerateOperator, tmp_path, prompt="A red ball", duration=1)


def make(video: Any, **words: Any) -> GrokVideoReviewOperator:
    """Return a review task, as each process that runs a piece of it makes one anew."""
    return GrokVideoReviewOperator(task_id="review", video=video, poll_interval=0.05, **words)


@pytest.fixture
def review(desk, request):
    """Return how to begin a review of a clip, with the journal of the fixture ``backend`` if a test uses it."""
    backend = request.getfixturevalue("backend") if "backend" in request.fixturenames else StateStore()

    def begin(video: Any, **words: Any) -> Review:
        return Review(functools.partial(make, video=video, **words), backend).begin()

    return begin


def asked_about(task: Review) -> str:
    """Return the file that the Video tab of a review shows while it asks."""
    assert "asking" == task.card["outcome"]
    return Path(task.card["manifest"]["uri"]).name


def test_a_clip_is_approved_as_it_is(review, desk, film, grokvideo_emulator):
    """The result is the clip's own manifest, and nothing was bought."""
    task = review(film)
    shown = asked_about(task)
    task.answer("Approve")

    assert film == task.result
    assert "film.mp4" == shown
    assert 1 == len(grokvideo_emulator.starts)
    assert {"answer": "approve", "take": 1, "by": "Ada"} == task.ti.xcoms["reviewed"]


def test_another_take_is_made_in_other_words_and_approved(
    review, desk, backend, film, grokvideo_emulator, ledger, tmp_path
):
    """Two starts; the second take lies beside the first, the Video tab shows it, and its manifest is the result."""
    task = review(film)
    task.answer("Another take", prompt="A green ball", take="latest")
    shown, card = asked_about(task), task.card
    task.answer("Approve", prompt="A green ball", take="latest")
    sidecar = json.loads((tmp_path / "film-take-2.json").read_text())

    assert ["A red ball", "A green ball"] == [start.prompt for start in grokvideo_emulator.starts]
    assert ("film-take-2.mp4", "A green ball") == (shown, card["prompt"])
    assert f"file://{tmp_path}/film-take-2.mp4" == task.result["uri"]
    assert grokvideo_emulator.starts[1].request_id == task.result["request_id"] == sidecar["request_id"]
    assert ("A green ball", 1) == (sidecar["request"]["prompt"], sidecar["request"]["duration"])
    assert 2 * TICKS == grokvideo_emulator.billed_ticks == sum(entry.billed for entry in ledger.entries())


def test_an_earlier_take_can_be_approved_after_all(review, film, grokvideo_emulator):
    """Whoever likes the second of three takes best gets that one."""
    task = review(film)
    task.answer("Another take").answer("Another take", prompt="A blue ball")
    task.answer("Approve", take="2")

    assert grokvideo_emulator.starts[1].request_id == task.result["request_id"]
    assert 3 == len(grokvideo_emulator.starts)


def test_two_takes_of_the_same_words_are_two_videos(review, backend, film, grokvideo_emulator, tmp_path):
    """Who does not change the words wants another one all the same; neither file replaces the other."""
    review(film).answer("Another take").answer("Another take")

    assert ["A red ball"] * 3 == [start.prompt for start in grokvideo_emulator.starts]
    assert {"film.mp4", "film-take-2.mp4", "film-take-3.mp4"} == {path.name for path in tmp_path.glob("*.mp4")}


@pytest.mark.parametrize(
    ("on_reject", "error"), [("skip", AirflowSkipException), ("fail", AirflowFailException)], ids=["skip", "fail"]
)
def test_a_no_hands_on_nothing(review, film, grokvideo_emulator, on_reject, error):
    """The task is skipped, or fails without a retry, and says who said no."""
    task = review(film, on_reject=on_reject)

    with pytest.raises(error, match="Ada rejected the video"):
        task.answer("Reject")
    assert 1 == len(grokvideo_emulator.starts)
    assert "Ada rejected the video" == task.card["problem"]["message"]


def test_an_answer_that_comes_twice_buys_once(review, film, grokvideo_emulator):
    """Airflow may hand on the same answer again; it was given to a question that is no longer open."""
    task, answer = review(film), said("Another take", prompt="A green ball")
    task.resume(answer)
    (kept,) = grokvideo_emulator.starts[1:]
    task.resume(answer)

    assert [kept] == grokvideo_emulator.starts[1:]
    assert "film-take-2.mp4" == asked_about(task)


def test_an_answer_to_an_earlier_question_buys_nothing(review, film, grokvideo_emulator):
    """An answer that says nothing of its moment is held against what was bought since the question."""
    task = review(film)
    asked = task.ti.xcoms["grokvideo_review"]
    task.answer("Another take", prompt="A green ball")
    task.ti.xcoms["grokvideo_review"] = asked
    task.answer("Another take", prompt="A blue ball")

    assert 2 == len(grokvideo_emulator.starts)
    assert "film-take-2.mp4" == asked_about(task)


@pytest.mark.parametrize("answer", ["Approve", "Another take"])
@pytest.mark.parametrize("changed", ["video", "connection", "price", "nothing"])
def test_a_yes_is_for_what_was_seen(review, drive, film, grokvideo_emulator, tmp_path, monkeypatch, answer, changed):
    """Another video, connection or a higher price since the question stops the try; the next one asks anew."""
    task = review(film)
    if changed == "video":
        task.words(video=shoot(drive, GrokVideoGenerateOperator, tmp_path, "other", prompt="A blue ball", duration=1))
    if changed == "connection":
        monkeypatch.setenv("AIRFLOW_CONN_OTHER", os.environ["AIRFLOW_CONN_GROKVIDEO_DEFAULT"])
        task.words(grokvideo_conn_id="other")
    if changed == "price":
        price = ReviewLeg._price

        def more_expensive(self, prompt):
            found = price(self, prompt)
            return replace(found, usd=found.usd * 2)

        monkeypatch.setattr(ReviewLeg, "_price", more_expensive)
    before = len(grokvideo_emulator.starts)
    matters = changed == "video" or (changed != "nothing" and answer == "Another take")
    with pytest.raises(GrokVideoError) if matters else contextlib.nullcontext() as stopped:
        task.answer(answer)

    assert len(grokvideo_emulator.starts) == before + (not matters and answer == "Another take")
    if matters:
        assert not isinstance(stopped.value, AirflowFailException)
        assert "execute_after_review" == task.begin().paused


def test_an_answer_nobody_knows_the_question_of_is_asked_for_again(review, film, grokvideo_emulator):
    """Without what XCom kept of the question an answer is not acted on."""
    task = review(film)
    del task.ti.xcoms["grokvideo_review"]
    task.answer("Another take", prompt="A green ball")

    assert 1 == len(grokvideo_emulator.starts)
    assert "film.mp4" == asked_about(task)


def test_a_retry_and_a_clear_ask_again_about_the_latest_take(review, desk, backend, film, grokvideo_emulator):
    """What was said is forgotten with the try, what was bought is not; also after an approval, nothing is bought."""
    task = review(film)
    task.answer("Another take", prompt="A green ball")
    shown = [asked_about(task.begin())]
    task.answer("Approve")
    shown.append(asked_about(task.begin(max_tries=5)))
    task.answer("Approve")

    assert ["film-take-2.mp4"] * 2 == shown
    assert 2 == len(grokvideo_emulator.starts)
    assert grokvideo_emulator.starts[1].request_id == task.result["request_id"]
    assert "A red ball" == desk.questions[-1]["params"]["prompt"]["value"]


@pytest.mark.parametrize("words", [None, "A green ball"], ids=["same words", "other words"])
def test_a_take_under_way_is_gone_on_with_after_a_crash(review, backend, film, grokvideo_emulator, tmp_path, words):
    """A worker that dies while a take is under way costs nothing: the next try stores it and asks about it."""
    task = review(film, deferrable=False, timeout=0.01)
    grokvideo_emulator.set_tempo("seconds:0.5")
    with pytest.raises(GrokVideoError, match="not finished"):
        task.answer("Another take", **({} if words is None else {"prompt": words}))
    task.words(timeout=900)
    shown = asked_about(task.begin())
    sidecar = json.loads((tmp_path / "film-take-2.json").read_text())

    assert "film-take-2.mp4" == shown
    assert 2 == len(grokvideo_emulator.starts)
    assert ({} if words else "A red ball") == (sidecar["request"] and sidecar["request"]["prompt"])


@pytest.mark.parametrize(
    "words",
    [
        {"max_cost_usd": 0.01},
        {"budgets": [{"usd": 0.05, "per": "dag_run"}]},
        {"budgets": [{"usd": 0.05, "per": "dag_run"}], "on_limit": "skip"},
        {"budgets": [{"usd": 0.05, "per": "dag_run"}], "on_limit": "ask"},
    ],
    ids=["max_cost_usd", "budget", "skip", "ask"],
)
def test_a_take_that_a_limit_refuses_leaves_the_one_before(review, desk, film, grokvideo_emulator, logs, words):
    """Nothing is sent; the log and the Video tab say why, and the clip is still there to be approved."""
    task = review(film, **words)
    task.answer("Another take")
    problem = task.card["problem"]
    task.answer("Approve")

    assert film == task.result
    assert 1 == len(grokvideo_emulator.starts)
    assert "SpendLimitExceeded" == problem["type"]
    assert "Could not create another take: the request would cost 0.05 USD" in logs()
    assert [desk.questions[0]["options"]] * 2 == [each["options"] for each in desk.questions]


@pytest.mark.parametrize(
    ("fault", "billed"),
    [("moderated:a", 2), ("moderated:b", 2), ("failed:internal_error", 1), ("expired", 2), ("http:400 on=submit", 1)],
)
@pytest.mark.parametrize("on_moderated", ["fail", "skip"])
def test_a_take_that_ends_badly_leaves_the_one_before(
    review, film, grokvideo_emulator, ledger, fault, billed, on_moderated
):
    """It is booked, counts as a take where it was accepted, and the person is asked again about the earlier one."""
    task = review(film, on_moderated=on_moderated)
    task.answer("Another take", prompt=f"A green ball [[emulator: fault={fault}]]")
    shown, card = asked_about(task), task.card
    task.answer("Approve", take="latest")

    assert ("film.mp4", film) == (shown, task.result)
    # What the page checks before it shows the file, and says beside it.
    assert (film["request_id"], "0.05", "A red ball") == (card["request_id"], card["cost_usd"], card["prompt"])
    assert card["problem"]["message"]
    assert billed * TICKS >= grokvideo_emulator.billed_ticks
    assert grokvideo_emulator.billed_ticks == sum(entry.counted for entry in ledger.entries())


def test_a_blocked_take_counts(review, film, grokvideo_emulator, logs):
    """max_takes bounds what can be bought, whatever becomes of it; then the answer is refused kindly."""
    task = review(film, max_takes=2)
    task.answer("Another take", prompt="A green ball [[emulator: fault=moderated:a]]")
    task.answer("Another take", prompt="A blue ball")
    shown = asked_about(task)
    task.answer("Approve")

    assert ("film.mp4", film) == (shown, task.result)
    assert 2 == len(grokvideo_emulator.starts)
    assert "max_takes=2 is reached" in logs()


def test_a_take_that_cannot_be_stored_is_stored_by_a_retry(review, film, grokvideo_emulator):
    """It is paid, so the task fails for a retry, which fetches it and buys nothing."""
    task = review(film)
    grokvideo_emulator.script("wrong_bytes", on="download", times=9)
    with pytest.raises(DeliveryFailed) as caught:
        task.answer("Another take")
    while task.paused is None:
        try:
            task.begin()
        except DeliveryFailed:
            assert len(grokvideo_emulator.requests) < 200

    assert not isinstance(caught.value, AirflowFailException)
    assert "film-take-2.mp4" == asked_about(task)
    assert 2 == len(grokvideo_emulator.starts)


def test_a_start_in_doubt_stops_the_review_until_it_is_settled(review, backend, film, grokvideo_emulator):
    """As everywhere: nothing is bought meanwhile; who finds the request in the console names it and it is the take."""
    task = review(film)
    grokvideo_emulator.script("lost_answer", on="submit")
    with pytest.raises(AmbiguousSubmit, match="journal adopt films manual__1 review") as caught:
        task.answer("Another take")
    with pytest.raises(AmbiguousSubmit):
        task.begin()
    adopt(task.ti, grokvideo_emulator.starts[1].request_id, task.store)
    shown = asked_about(task.begin())
    task.answer("Another take")

    assert isinstance(caught.value, AirflowFailException)
    assert "film-take-2.mp4" == shown
    assert ("film-take-3.mp4", 3) == (asked_about(task), len(grokvideo_emulator.starts))


def test_a_start_in_doubt_can_be_let_go(review, film, grokvideo_emulator):
    """resubmit_on=['unconfirmed']: it counts as a take, and the next answer buys another one."""
    task = review(film, resubmit_on=["unconfirmed"])
    grokvideo_emulator.script("lost_answer", on="submit")
    task.answer("Another take")
    shown = asked_about(task)
    task.answer("Another take")

    assert ("film.mp4", "film-take-3.mp4") == (shown, asked_about(task))
    assert 3 == len(grokvideo_emulator.starts)


def test_without_a_journal_a_try_remembers_its_takes(desk, film, grokvideo_emulator, monkeypatch, logs):
    """XCom keeps them from leg to leg; a new try knows the first clip only, and the log warned of that."""
    monkeypatch.setenv("AIRFLOW__GROKVIDEO__LEDGER_PATH", "none")
    task = Review(functools.partial(make, film), None).begin()
    task.answer("Another take", prompt="A green ball").answer("Another take", prompt="A blue ball")
    shown = asked_about(task)
    task.answer("Approve", take="2")

    assert "film-take-3.mp4" == shown
    assert grokvideo_emulator.starts[1].request_id == task.result["request_id"]
    assert 3 == len(grokvideo_emulator.starts)
    assert "This task has no journal" in logs()


@pytest.mark.parametrize(
    ("destination", "stored"),
    [
        ("{folder}/takes/best.mp4", ["takes/best-take-2.mp4", "takes/best-take-3.mp4"]),
        ("{folder}/takes/", ["takes/{1}.mp4", "takes/{2}.mp4"]),
        ("{folder}/takes", ["takes/{1}.mp4", "takes/{2}.mp4"]),
    ],
    ids=["name", "directory", "directory without a slash"],
)
def test_takes_go_where_the_task_says(review, film, grokvideo_emulator, tmp_path, destination, stored):
    """Under a name with their numbers, in a directory with their requests'; never one over another."""
    review(film, destination=destination.format(folder=tmp_path)).answer("Another take").answer("Another take")
    names = [start.request_id for start in grokvideo_emulator.starts]

    assert sorted(name.format(*names) for name in stored) == sorted(
        path.relative_to(tmp_path).as_posix() for path in tmp_path.glob("takes/*.mp4")
    )


@pytest.mark.parametrize("lost", [False, True], ids=["answered", "answer lost"])
def test_the_service_can_upload_a_take(review, drive, s3, grokvideo_emulator, lost, monkeypatch):
    """deliver_via='upload': it arrives beside the first take; an upload settles a lost answer without a person."""
    monkeypatch.setattr("airflow_provider_grokvideo.execution.witness.BETWEEN_CHECKS", 0.05)
    words = {"task_id": "film", "prompt": "A red ball", "duration": 1, "poll_interval": 0.05}
    film = functools.partial(GrokVideoGenerateOperator, **words, destination="s3://bucket/film.mp4")
    task = review(drive(film, TaskInstance(task_id="film"), store=StateStore()).result, deliver_via="upload")
    if lost:
        grokvideo_emulator.script("lost_answer", on="submit")
    task.answer("Another take", prompt="A green ball").answer("Approve")

    assert "s3://bucket/film-take-2.mp4" == task.result["uri"]
    assert "structure" == task.result["checked"]
    assert 2 == len(grokvideo_emulator.starts)


def test_each_clip_of_a_mapped_task_is_reviewed(desk, film):
    """A mapped review is made for each clip."""
    mapped = GrokVideoReviewOperator.partial(task_id="review", max_takes=2).expand(video=[film, film])

    assert {"video": [film, film]} == mapped.expand_input.value


def test_an_asset_event_is_of_the_approved_take(review, film, grokvideo_emulator):
    """Who waits for the asset learns of no take that nobody has approved."""
    from airflow.sdk import Asset

    asset = Asset(name="ball", uri="file:///ball")
    task = review(film, outlets=[asset])
    task.answer("Another take")
    before = dict(task.outlet_events)
    task.answer("Approve")

    assert {} == before
    assert task.result["uri"] == task.outlet_events[asset].extra["uri"]


# What another take is made from


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A picture on disk."""
    from PIL import Image

    path = tmp_path / "ball.png"
    Image.new("RGB", (320, 320), "red").save(path)
    return path


def without_links(body: Any) -> dict[str, Any]:
    """Return a body as sent, without its words, the address of its clip and the name of its stored file: they vary."""
    words = {name: value for name, value in body.items() if name not in ("prompt", "video")}
    stored = words.get("storage_options")
    return words if stored is None else {**words, "storage_options": {**stored, "filename": None}}


@pytest.mark.parametrize(
    "words",
    [
        {"duration": 2, "resolution": "720p", "aspect_ratio": "9:16", "generate_audio": False},
        {"image": "{picture}", "duration": 1},
        {"image": "https://example.com/ball.png", "duration": 1},
        {"image": {"file_id": "{file_id}"}, "duration": 1},
        {
            "model": "grok-imagine-video-1.5",
            "reference_images": ["{picture}"],
            "reference_audios": [{"voice_id": "eve"}],
            "keyframes": [{"image": "{picture}", "timestamp_s": 1}],
            "last_frame": "{picture}",
            "duration": 3,
        },
        {"storage_options": {"filename": "ball.mp4", "expires_after": 3600}, "duration": 1},
    ],
    ids=["words", "picture", "url", "file id", "references", "stored"],
)
def test_another_take_is_the_same_request_in_other_words(review, drive, grokvideo_emulator, picture, tmp_path, words):
    """Whatever the first take was made from goes into the other one, to the letter."""
    file_id = GrokVideoHook().upload(picture, "ball.png", "image/png")
    given = json.loads(json.dumps(words).replace("{picture}", str(picture)).replace("{file_id}", file_id))
    first = shoot(drive, GrokVideoGenerateOperator, tmp_path, prompt="A red ball", **given)
    task = review(first)
    task.answer("Another take", prompt="A green ball")
    one, two = grokvideo_emulator.starts

    assert ("A red ball", "A green ball") == (one.prompt, two.prompt)
    assert (one.mode, one.model) == (two.mode, two.model)
    assert without_links(one.body) == without_links(two.body)


@pytest.mark.parametrize("kind", [GrokVideoEditOperator, GrokVideoExtendOperator], ids=["edit", "extension"])
@pytest.mark.parametrize("of", ["manifest", "path"])
def test_another_take_of_an_edit_starts_from_the_stored_clip(review, drive, grokvideo_emulator, tmp_path, kind, of):
    """Its temporary link dies, so the file of the task that made it is taken; the edit itself is not edited."""
    source = shoot(drive, GrokVideoGenerateOperator, tmp_path, "source", prompt="A red ball", duration=2)
    video = source if of == "manifest" else source["uri"]
    edited = shoot(drive, kind, tmp_path, prompt="Snow falls", video=video)
    task = review(edited)
    card = task.card
    task.answer("Another take", prompt="Rain falls")
    shown = asked_about(task)
    _, one, two = grokvideo_emulator.starts

    assert ("Snow falls", "Rain falls") == (one.prompt, two.prompt)
    assert (one.mode, without_links(one.body)) == (two.mode, without_links(two.body))
    assert source["uri"] == card["made_from"]["address"].replace("?…", "")
    assert "film-take-2.mp4" == shown
    assert edited["duration"] == pytest.approx(task.card["manifest"]["duration"], abs=0.1)


def test_a_take_of_a_take_can_be_reviewed(review, drive, film, grokvideo_emulator, tmp_path):
    """An approved take is a clip like any other: a second review makes it anew from what it was made from."""
    first = review(film).answer("Another take", prompt="A green ball").answer("Approve")
    second = Review(functools.partial(make, first.result), StateStore(), task_id="again").begin()
    second.answer("Another take")

    assert "film-take-2-take-2.mp4" == asked_about(second)
    assert ["A red ball", "A green ball", "A green ball"] == [start.prompt for start in grokvideo_emulator.starts]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"image": {"url": "data:image/png;base64,… (96 characters)"}}, "its image was given as data"),
        ({"image": {"url": "https://example.com/ball.png?…"}}, "its image was an address with a query"),
        (
            {"reference_images": [{"url": "https://e.com/1.png"}, {"url": "https://e.com/2.png?…"}]},
            "reference_images[1]",
        ),
        ({"keyframes": [{"image": {"url": "data:x,… (4 characters)"}, "timestamp_s": 1}]}, "keyframes[0].image was"),
        ({"video": {"url": "https://vidgen.x.ai/1.mp4", "known_as": "request 1"}}, "its video was a temporary link"),
        ({"prompt": f"Draw {MARK}"}, "its prompt had a secret in it"),
        ({"mode": "text-to-song"}, "does not know its mode 'text-to-song'"),
        ({"mode": None}, "does not say what it was made from"),
        ({"prompt": None}, "prompt"),
    ],
    ids=["data", "signed", "a list", "a frame", "temporary link", "secret", "newer mode", "sensor", "no words"],
)
def test_what_cannot_be_made_again_as_it_was_is_not_offered(review, desk, film, grokvideo_emulator, change, why):
    """A sidecar that has lost a part of the request: the person can approve or reject, and is told why no more."""
    path = Path(film["sidecar_uri"].removeprefix("file://"))
    sidecar = json.loads(path.read_text())
    path.write_text(json.dumps({**sidecar, "request": {**sidecar["request"], **change}}))
    task = review(film)
    (question,) = desk.questions
    task.answer("Another take", prompt="A green ball")
    task.answer("Approve")

    assert (["Approve", "Reject"], {}) == (question["options"], question["params"])
    assert why in question["body"]
    assert film == task.result
    assert 1 == len(grokvideo_emulator.starts)


@pytest.mark.parametrize("what", ["missing", "broken", "of another video", "not stored"])
def test_without_its_sidecar_a_clip_can_be_approved(review, desk, film, grokvideo_emulator, what):
    """Nobody knows what it was made from, so there is no other take; that keeps nobody from approving it."""
    path = Path(film["sidecar_uri"].removeprefix("file://"))
    if what == "missing":
        path.unlink()
    elif what == "broken":
        path.write_text("{")
    elif what == "of another video":
        path.write_text(json.dumps({**json.loads(path.read_text()), "request_id": "other"}))
    else:
        film = {**film, "uri": None, "sidecar_uri": None, "poster_uri": None}
    task = review(film)
    (question,) = desk.questions
    task.answer("Approve")

    assert ["Approve", "Reject"] == question["options"]
    assert "is not offered" in question["body"]
    assert film == task.result


def test_what_a_real_sidecar_keeps_of_a_picture_given_as_data(review, desk, drive, picture, tmp_path):
    """What is left of a data: URI is taken for no picture."""
    image = f"data:image/png;base64,{base64.b64encode(picture.read_bytes()).decode()}"
    review(shoot(drive, GrokVideoGenerateOperator, tmp_path, prompt="A ball", duration=1, image=image))

    assert "its image was given as data, which is not kept" in desk.questions[0]["body"]


# The question and its answers


def test_the_question_shows_what_is_to_be_decided(review, desk, film, monkeypatch):
    """Poster, page, prompt, cost, what each answer does; the addresses are those of the review itself."""
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example/deep")
    review(film, assigned_users=[{"id": "7", "name": "Ada"}])
    (question,) = desk.questions
    body, form = question["body"], question["params"]

    assert "Approve the video? A red ball" == question["subject"]
    assert "(/deep/grokvideo/media/poster?dag_id=films&run_id=manual__1&task_id=review&map_index=-1)" in body
    assert "(https://airflow.example/deep/dags/films/runs/manual__1/tasks/review/plugin/grokvideo)" in body
    assert "> A red ball" in body
    assert "cost 0.05 USD" in body
    assert "submits one more video, for 0.05 USD" in body
    assert "At most 3 takes" in body
    assert ["Approve", "Reject", "Another take"] == question["options"]
    assert ("A red ball", "multiline") == (form["prompt"]["value"], form["prompt"]["schema"]["format"])
    assert ["latest", "1", "2", "3"] == form["take"]["schema"]["enum"]
    assert [{"id": "7", "name": "Ada"}] == question["assigned_users"]


def test_a_single_take_is_approved_or_not(review, desk, film):
    """max_takes=1 is a gate without a purchase."""
    review(film, max_takes=1)

    assert ["Approve", "Reject"] == desk.questions[0]["options"]
    assert "is not offered: max_takes is 1" in desk.questions[0]["body"]


@pytest.mark.parametrize(
    ("choice", "filled_in", "why"),
    [
        ("Another take", {"prompt": "  ", "take": "latest"}, "the prompt of another take is empty"),
        ("Another take", {"prompt": None}, "the prompt of another take is empty"),
        ("Approve", {"take": "the best"}, "expected a number"),
        ("Approve", {"take": "3"}, "take 3 cannot be approved"),
    ],
    ids=["blank", "nothing", "no number", "no such take"],
)
def test_a_form_that_makes_no_sense_is_asked_for_again(review, film, grokvideo_emulator, choice, filled_in, why):
    """Nothing is bought or handed on, and the Video tab says why the question is back."""
    task = review(film)
    task.answer(choice, **filled_in)

    assert "film.mp4" == asked_about(task)
    assert why in task.card["problem"]["message"]
    assert 1 == len(grokvideo_emulator.starts)


def test_a_form_that_airflow_refuses_is_asked_for_again(review, film, grokvideo_emulator):
    """Before 3.3 the trigger checks the form, and says so."""
    task = review(film).resume({"error": "'x' is not one of", "error_type": "validation"})

    assert "film.mp4" == asked_about(task)
    assert 1 == len(grokvideo_emulator.starts)


def test_nobody_answers_in_time(review, film, grokvideo_emulator):
    """The task fails without a retry; a clear asks again."""
    task = review(film, response_timeout=timedelta(hours=1))
    with pytest.raises(AirflowFailException, match="no response to the review"):
        task.resume({"error": "too late", "error_type": "timeout"})
    task.begin()

    assert "film.mp4" == asked_about(task)


@pytest.mark.parametrize(
    "event", [None, "Approve", {"chosen_options": ["Approve", "Reject"]}, {"chosen_options": ["Maybe"]}], ids=repr
)
def test_what_is_no_answer_is_refused(review, film, grokvideo_emulator, event):
    """It neither approves nor buys."""
    with pytest.raises(EventRejected):
        review(film).resume(event)
    assert 1 == len(grokvideo_emulator.starts)


def test_a_lost_wait_for_an_answer_is_no_lost_video(review, film):
    """Before 3.3 a trigger waits for the answer; where it dies a retry asks again."""
    task = review(film)
    with pytest.raises(GrokVideoError, match="asks again at no charge") as caught:
        task.fail("Trigger failure")

    assert not isinstance(caught.value, AirflowFailException)


@pytest.mark.parametrize("remembers", [True, False], ids=["journal", "no journal"])
def test_a_lost_wait_for_a_take_is_told_as_elsewhere(desk, film, grokvideo_emulator, monkeypatch, remembers):
    """A retry resumes the take if there is a journal; without one there is no retry, because it would submit again."""
    monkeypatch.setenv("AIRFLOW__GROKVIDEO__LEDGER_PATH", "none")
    task = Review(functools.partial(make, film), StateStore() if remembers else None).begin()
    with pytest.raises(GrokVideoError) as caught:
        task.answer("Another take", lose_trigger=True)

    assert grokvideo_emulator.starts[1].request_id in str(caught.value)
    assert remembers != isinstance(caught.value, AirflowFailException)


@pytest.mark.parametrize(
    ("video", "words", "said_so"),
    [
        ("s3://bucket/film.mp4", {}, "video=film.output"),
        ([{"request_id": "1"}], {}, "expand(video=film.output)"),
        ({"request_id": "1", "status": "submitted"}, {}, "a video that is done"),
        (None, {"max_takes": 0}, "a whole number from 1"),
        (None, {"max_takes": "many"}, "a whole number from 1"),
        (None, {"on_reject": "retry"}, "one of skip, fail"),
        (None, {"wait_for_completion": False}, "wait_for_completion=False"),
        (None, {"response_timeout": 0}, "more than 0"),
    ],
    ids=["path", "list", "submitted", "no takes", "many takes", "on_reject", "no wait", "response_timeout"],
)
def test_words_that_make_no_sense_are_refused(review, film, video, words, said_so):
    """Before anybody is asked."""
    with pytest.raises(InvalidInput) as caught:
        review(film if video is None else video, **words)

    assert said_so in str(caught.value)
    assert isinstance(caught.value, AirflowFailException)


def test_who_answers_by_program_need_not_fill_in_the_form():
    """An answer without a form takes the words that the form starts with, and the latest take."""
    found = review_form.said(said("Another take"))

    assert ("another", None, None, "Ada") == (found.choice, found.words, found.take, found.by)
