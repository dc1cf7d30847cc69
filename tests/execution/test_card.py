"""What tasks leave for the page: a card at each step, whatever happens, and never a failure because of one."""

from __future__ import annotations

import contextlib
import functools
import json

import pytest
from airflow_kit import StateStore, TaskInstance

from airflow_provider_grokvideo.compat import AirflowSkipException
from airflow_provider_grokvideo.core import cards
from airflow_provider_grokvideo.core.errors import GrokVideoError
from airflow_provider_grokvideo.operators.grokvideo import GrokVideoEditOperator, GrokVideoGenerateOperator
from airflow_provider_grokvideo.sensors.grokvideo import GrokVideoSensor

pytestmark = pytest.mark.usefixtures("grokvideo_connection")


class Watched(TaskInstance):
    """A task instance that keeps every card."""

    def __init__(self, **words):
        super().__init__(**words)
        self.seen = []

    def xcom_push(self, key, value):
        """Keep a value, and each card."""
        super().xcom_push(key, json.loads(json.dumps(value)))
        if key == cards.KEY:
            self.seen.append(cards.parse(self.xcoms[key]))


def make(prompt="A red ball [[emulator: tempo=polls:2]]", **words):
    """Return how to make the same generating task again and again."""
    given = {"task_id": "make", "prompt": prompt, "duration": 1, "poll_interval": 0.05, **words}
    return functools.partial(GrokVideoGenerateOperator, **given)


def tried(drive, making, **words):
    """Return the cards of a task that may fail."""
    ti = Watched(**words)
    with contextlib.suppress(GrokVideoError, AirflowSkipException):
        drive(making, ti, StateStore())
    return ti.seen


def test_a_card_follows_a_video_from_the_submit_to_its_file(drive, tmp_path):
    """Being submitted, under way with its deadline, done at the service with its link, then delivered with its cost."""
    seen = tried(drive, make(destination=str(tmp_path / "ball.mp4"), aspect_ratio="1:1"))
    sent, first, stored, last = seen

    assert ["submitting", "waiting", "waiting", "delivered"] == [card.outcome for card in seen]
    assert (None, [("intent", None)]) == (sent.request_id, [(each.phase, each.request_id) for each in sent.purchases])
    assert ("A red ball [[emulator: tempo=polls:2]]", "text-to-video", "0.05") == (
        first.prompt,
        first.mode,
        first.estimated_usd,
    )
    assert {"duration": 1, "aspect_ratio": "1:1"} == first.parameters
    assert first.deadline == pytest.approx(first.submitted_at + 900)
    assert first.kind == "text-to-video/grok-imagine-video/1/480p"
    assert stored.manifest["url"].startswith("http://127.0.0.1")
    assert (tmp_path / "ball.mp4").as_uri() == last.manifest["uri"]
    assert ("0.05", first.prompt, first.request_id) == (last.cost_usd, last.prompt, last.request_id)
    assert [("delivered", last.request_id)] == [(each.phase, each.request_id) for each in last.purchases]


@pytest.mark.parametrize("deferrable", [True, False], ids=["deferrable", "blocking"])
def test_a_video_that_cannot_be_stored_keeps_its_link_on_the_card(drive, grokvideo_emulator, tmp_path, deferrable):
    """The video is paid: as long as its link works it can be played."""
    grokvideo_emulator.script("wrong_bytes", on="download", times=9)
    last = tried(drive, make(destination=str(tmp_path / "ball.mp4"), deferrable=deferrable))[-1]

    assert "DeliveryFailed" == last.problem.type
    assert last.manifest["url"].startswith("http://127.0.0.1")
    assert ("A red ball [[emulator: tempo=polls:2]]", grokvideo_emulator.starts[0].request_id) == (
        last.prompt,
        last.request_id,
    )


@pytest.mark.parametrize(
    ("words", "expected", "problem"),
    [
        ({"prompt": "x [[emulator: fault=moderated:b]]"}, "moderated", "VideoModerated"),
        ({"prompt": "x [[emulator: fault=moderated:b]]", "on_moderated": "skip"}, "moderated", "VideoModerated"),
        ({"prompt": "x [[emulator: fault=failed:internal_error]]"}, "failed", "VideoFailed"),
        ({"prompt": "x [[emulator: fault=expired]]"}, "expired", "VideoExpired"),
        ({"prompt": "x [[emulator: fault=lost_answer]]"}, "unconfirmed", "AmbiguousSubmit"),
        ({"prompt": "x [[emulator: tempo=polls:99]]", "timeout": 0.2}, "trouble", "WaitTimeout"),
        ({"max_cost_usd": 0.01}, "refused", "SpendLimitExceeded"),
        ({"max_cost_usd": 0.01, "on_limit": "skip"}, "refused", "SpendLimitExceeded"),
        ({"duration": 99}, "refused", "InvalidInput"),
    ],
    ids=["moderated", "skipped", "failed", "expired", "unconfirmed", "timeout", "limit", "limit skipped", "input"],
)
def test_a_card_says_why_there_is_no_video(drive, tmp_path, words, expected, problem):
    """With the advice that the log has, and with the prompt, also where no request could be made of it."""
    last = tried(drive, make(destination=str(tmp_path / "a.mp4"), **words))[-1]

    assert (expected, problem) == (last.outcome, last.problem.type)
    assert last.problem.message
    assert words.get("prompt", "A red ball [[emulator: tempo=polls:2]]") == last.prompt


@pytest.mark.parametrize(
    ("words", "name", "expected"),
    [
        ({"duration": 99}, "duration", 99),
        ({"resolution": "9000p"}, "resolution", "9000p"),
        ({"image": object}, "image", "<class 'object'>"),
        ({"image": "https://example.com/a.png?token=secret", "duration": 99}, "image", "https://example.com/a.png?…"),
        ({"storage_options": {"filename": float("nan")}}, "storage_options", "{'filename': nan}"),
        ({"aspect_ratio": "x" * 9_000}, "aspect_ratio", "x" * 5_000),
    ],
    ids=["number", "text", "no JSON", "address", "nan", "long"],
)
def test_a_refused_card_says_which_request_it_was(drive, words, name, expected):
    """By the arguments as they were given, without a secret, whatever they are."""
    last = tried(drive, make(**words))[-1]

    assert ("refused", "grok-imagine-video") == (last.outcome, last.model)
    assert expected == last.parameters[name]


def test_a_card_of_a_mapped_task_has_its_label(drive, ti):
    """Where Airflow has rendered the map_index_template already, and where it has not."""

    class Known(Watched):
        rendered_map_index = "A3.mp4"

    last = tried(drive, make(duration=99))[-1]
    ti = Known(map_index=3)
    with contextlib.suppress(GrokVideoError):
        drive(make(duration=99), ti, StateStore())

    assert (None, "A3.mp4") == (last.label, ti.seen[-1].label)


def test_a_moderated_video_says_what_was_billed(drive):
    """Content rules do not make it free."""
    last = tried(drive, make("x [[emulator: fault=moderated:b]]"))[-1]

    assert ("0.05", "0.05") == (last.estimated_usd, last.cost_usd)


def test_without_a_destination_there_is_the_link(drive):
    """The page plays it as long as it lives, and says that it dies."""
    last = tried(drive, make())[-1]

    assert "done" == last.outcome
    assert last.manifest["url"]
    assert last.manifest["uri"] is None


def test_a_card_of_an_edit_names_what_it_was_made_from(drive, tmp_path):
    """By the request that made it and by the file, which lives longer than the link."""
    film = drive(make(destination=str(tmp_path / "a.mp4"))).result
    edit = functools.partial(
        GrokVideoEditOperator, task_id="edit", prompt="Snow [[emulator: tempo=at-once]]", video=film, poll_interval=0.05
    )
    last = tried(drive, edit)[-1]

    assert cards.MadeFrom(field="video", request_id=film["request_id"], address=film["uri"]) == last.made_from
    assert "video" not in last.parameters


def test_a_task_that_hands_on_its_request_says_so(drive):
    """A sensor's card then has the video."""
    ti = Watched()
    submitted = drive(make(wait_for_completion=False), ti, StateStore()).result
    sensor = functools.partial(GrokVideoSensor, task_id="sense", request_id=submitted, poll_interval=0.05)
    sensed = tried(drive, sensor, task_id="sense")

    assert ["submitting", "submitted"] == [card.outcome for card in ti.seen]
    assert ["waiting", "done"] == [card.outcome for card in sensed]
    assert {submitted["request_id"]} == {card.request_id for card in (ti.seen[-1], *sensed)}


def test_a_sensor_says_what_became_of_a_request(drive):
    """Also where there is no video."""
    submitted = drive(make("x [[emulator: fault=failed:internal_error]]", wait_for_completion=False)).result
    sensor = functools.partial(GrokVideoSensor, task_id="sense", request_id=submitted, poll_interval=0.05)

    assert "failed" == tried(drive, sensor)[-1].outcome


def test_a_reused_video_is_shown_as_paid_before(drive, tmp_path):
    """A cleared task shows its video, and that it cost nothing again."""
    store, making = StateStore(), make(destination=str(tmp_path / "a.mp4"))
    drive(making, TaskInstance(), store)
    again = Watched(max_tries=2)
    drive(making, again, store)
    (card,) = again.seen

    assert "delivered" == card.outcome
    assert card.manifest["reused"]


def test_a_person_who_is_asked_finds_the_price_on_the_card(ti):
    """Before anything is bought."""
    ti = Watched()
    ti.id = "00000000-0000-0000-0000-000000000000"
    task = make(max_cost_usd=0.01, on_limit="ask")()
    with pytest.raises(Exception):  # noqa: B017 - without an api-server the question itself cannot be put
        task.execute({"ti": ti})

    assert [("asking", "0.05")] == [(card.outcome, card.estimated_usd) for card in ti.seen]


def test_a_card_that_cannot_be_written_stops_nothing(drive, tmp_path, logs):
    """It is for people to look at; the video is what was paid for."""

    class Broken(TaskInstance):
        def xcom_push(self, key, value):
            if key == cards.KEY:
                raise OSError("the database is away")
            super().xcom_push(key, value)

    course = drive(make(destination=str(tmp_path / "a.mp4")), Broken(), StateStore())

    assert (tmp_path / "a.mp4").is_file()
    assert course.result["status"] == "done"
    assert "The Video tab is not up to date: OSError" in logs()


def test_no_key_and_no_payload_is_on_a_card(drive, grokvideo_emulator):
    """A data: URI is named, not kept; the key is nowhere."""
    picture = (
        "data:image/png;base64," + "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAA"
    )
    seen = tried(drive, make(image=f"{picture}AABJRU5ErkJggg=="))
    told = json.dumps([card.to_json() for card in seen])

    assert seen
    assert "iVBORw0KGgo" not in told
    assert grokvideo_emulator.api_key not in told
