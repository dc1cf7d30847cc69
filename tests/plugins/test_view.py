"""What the page says of a video, by its card and by what Airflow says of the task."""

from __future__ import annotations

import json
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import pytest

from airflow_provider_grokvideo.core.billing.entries import Entry
from airflow_provider_grokvideo.core.cards import Card, CardProblem, MadeFrom, Purchase
from airflow_provider_grokvideo.core.jobs import Done, Expired, Failed, Moderated, Pending
from airflow_provider_grokvideo.core.polling.latency import Latencies
from airflow_provider_grokvideo.core.purchases.records import Owner
from airflow_provider_grokvideo.plugins import chains, values
from airflow_provider_grokvideo.plugins import view as views
from airflow_provider_grokvideo.plugins.view import Shown, Task

NOW = 1_800_000_100.0
SUBMITTED = 1_800_000_000.0
OWNER = Owner("films", "manual__2026-11-23T05:00:00+00:00", "make it", 2)
MADE = {
    "status": "done",
    "uri": "s3://conn@bucket/a.mp4",
    "sidecar_uri": "s3://conn@bucket/a.json",
    "poster_uri": "s3://conn@bucket/a.poster.jpg",
    "duration": 6.04,
    "width": 1280,
    "height": 720,
    "submitted_at": "2027-01-15T08:00:00Z",
    "finished_at": "2027-01-15T08:00:50.5Z",
}


def shown(task_id="make", request_id="r-1", *, made_from=None, state=None, **facts):
    """Return a card with its owner."""
    known = {"outcome": "delivered", "at": NOW, "request_id": request_id, "manifest": MADE, "made_from": made_from}
    return Shown(Owner("films", "run", task_id), Card(**{**known, **facts}), Task(state, 1, 1))


def of(request_id, **facts):
    """Return what a clip was made from."""
    return MadeFrom(field="video", request_id=request_id, **facts)


@pytest.mark.parametrize(
    ("outcome", "state", "expected"),
    [
        ("waiting", "deferred", "waiting"),
        ("waiting", "running", "waiting"),
        ("waiting", "up_for_retry", "waiting"),
        ("waiting", None, "waiting"),
        ("waiting", "failed", "trouble"),
        ("waiting", "success", "trouble"),
        ("waiting", "skipped", "trouble"),
        ("asking", "awaiting_input", "asking"),
        ("asking", "deferred", "asking"),
        ("asking", "failed", "refused"),
        ("delivered", "failed", "delivered"),
        ("moderated", "skipped", "moderated"),
    ],
)
def test_a_task_that_airflow_ended_is_not_shown_as_under_way(outcome, state, expected):
    """The card was written before somebody marked the task, or before its worker died."""
    view = views.view(shown(outcome=outcome, state=state, manifest=None), now=NOW)

    assert expected == view["outcome"]
    assert view["headline"]
    assert (expected == "waiting") == (view["waiting"] is not None)


INTENT = (Purchase(number=1, phase="intent", estimated_usd="0.15"),)


@pytest.mark.parametrize("outcome", ["submitting", "waiting"])
@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("running", "submitting"),
        (None, "submitting"),
        ("up_for_retry", "unconfirmed"),
        ("failed", "unconfirmed"),
        ("scheduled", "unconfirmed"),
        ("deferred", "waiting"),
    ],
)
def test_a_task_that_died_while_it_submitted_is_shown_as_unconfirmed(outcome, state, expected):
    """Nobody knows yet whether its request was accepted; no advice says that nothing was bought."""
    card = shown(outcome=outcome, state=state, request_id=None, manifest=None, purchases=INTENT, estimated_usd="0.15")
    view = views.view(card, now=NOW)

    assert expected == view["outcome"]
    assert (expected == "unconfirmed") == (view["problem"] is not None)
    assert {"usd": "0.15", "kind": "possible" if expected == "unconfirmed" else "estimated"} == view["cost"]


BOOKED = Entry("t", 1.0, "c", OWNER, estimated=1_500_000_000, request_id="r-1")


@pytest.mark.parametrize(
    ("outcome", "facts", "entry", "expected"),
    [
        ("delivered", {"cost_usd": "0.15"}, None, ("0.15", "billed")),
        ("failed", {"cost_usd": "0.05"}, None, ("0.05", "billed")),
        ("failed", {}, None, ("0", "unbilled")),
        ("failed", {}, replace(BOOKED, state="settled", outcome="failed"), ("0", "unbilled")),
        ("failed", {}, replace(BOOKED, state="settled", outcome="failed", billed=500_000_000), ("0.05", "billed")),
        ("moderated", {}, None, ("0.15", "possible")),
        ("moderated", {}, replace(BOOKED, state="settled", outcome="moderated", billed=0), ("0", "billed")),
        ("expired", {}, replace(BOOKED, state="settled", outcome="expired"), ("0.15", "possible")),
        ("waiting", {}, BOOKED, ("0.15", "estimated")),
        ("trouble", {}, None, ("0.15", "possible")),
        ("refused", {"request_id": None}, None, (None, "nothing")),
        ("asking", {"cost_usd": "0.15"}, None, ("0.15", "elsewhere")),
        ("asking", {"request_id": None}, None, (None, "nothing")),
        ("delivered", {"estimated_usd": None}, None, (None, "unknown")),
        ("moderated", {"purchases": (Purchase(number=1, phase="ended", request_id="r-1", cost_usd="0.05"),)}, None,
         ("0.05", "billed")),
    ],
)  # fmt: skip
def test_a_cost_is_what_was_billed_and_an_estimate_is_called_one(outcome, facts, entry, expected):
    """A request that the service gave up on without a bill cost nothing, as the ledger has it."""
    card = shown(**{"outcome": outcome, "estimated_usd": "0.15", **facts}).card

    assert dict(zip(("usd", "kind"), expected, strict=True)) == views.cost(card, outcome, entry)


def test_a_mapped_task_has_the_name_that_airflow_shows():
    """Its rendered map_index_template, by Airflow or else by its card."""
    card = shown(label="A3.mp4").card
    owner = Owner("films", "run", "clip", 2)

    assert "clip[A3.mp4]" == Shown(owner, card).label
    assert "clip[B.mp4]" == Shown(owner, card, Task(label="B.mp4")).label
    assert "clip[2]" == Shown(owner, shown().card).label
    assert "make" == shown(label="A3.mp4").label


def test_a_review_that_nobody_answered_still_has_its_video():
    """Nothing was stopped before money was spent."""
    view = views.view(shown(outcome="asking", state="failed"), now=NOW)

    assert ("delivered", "file") == (view["outcome"], view["video"]["kind"])
    assert "failed" in view["problem"]["message"]


def test_a_task_ended_from_outside_says_what_to_do():
    """Nothing was lost, and the way to the video is named."""
    view = views.view(shown(outcome="waiting", state="failed", manifest=None), now=NOW)

    assert "Clear the task" in view["problem"]["advice"]


def test_a_view_is_plain_json():
    """It is sent to a browser as it is."""
    view = views.view(
        shown(
            parameters={"image": {"path": "a.png", "sha256": "x"}, "generate_audio": False, "keyframes": [{"a": 1}]},
            problem=CardProblem(type="A", message="b"),
            purchases=(Purchase(number=1, phase="delivered", request_id="r-1", at=SUBMITTED),),
        ),
        now=NOW,
    )

    assert view == json.loads(json.dumps(view))
    assert {"image": "a.png", "generate_audio": "no", "keyframes": "a: 1"} == {
        each["name"]: each["value"] for each in view["parameters"]
    }
    assert view["purchases"][0]["this"]


def test_addresses_survive_names_with_signs():
    """Run ids hold a plus and a colon, task ids may hold a space."""
    view = views.view(Shown(OWNER, Card(outcome="delivered", at=NOW, manifest=MADE)), now=NOW, root="/airflow")
    asked = parse_qs(urlsplit(view["video"]["href"]).query)

    assert {"dag_id": ["films"], "run_id": [OWNER.run_id], "task_id": ["make it"], "map_index": ["2"]} == asked
    assert (
        "/airflow/dags/films/runs/manual__2026-11-23T05%3A00%3A00%2B00%3A00/tasks/make%20it/mapped/2/plugin/grokvideo"
        == view["links"]["task"]
    )


def test_how_long_it_took_is_told():
    """From the submit to the moment it was seen to be finished."""

    assert views.view(shown(), now=NOW)["took_seconds"] == 50.5


@pytest.mark.parametrize(
    ("manifest", "expected"),
    [
        (MADE, "file"),
        ({"url": "https://vidgen.x.ai/a.mp4"}, "link"),
        ({"url": "http://127.0.0.1:8900/a.mp4"}, "link"),
        ({"url": "javascript:alert(1)"}, None),
        ({"url": "http://example.com/a.mp4"}, None),
        ({"url": "https:///a.mp4"}, None),
        ({"url": 7}, None),
        ({}, None),
        (None, None),
    ],
)
def test_only_files_of_ours_and_web_links_are_played(manifest, expected):
    """People may edit cards; what they write there is no script."""
    video = views.video(shown(manifest=manifest))

    assert expected == (video and video["kind"])


def test_no_address_of_the_storage_is_in_a_view():
    """Bucket, connection and key stay with the server."""

    assert "bucket" not in json.dumps(views.view(shown(), now=NOW))


def test_a_wait_says_when_half_and_nine_of_ten_are_done():
    """What is expected comes from requests of the same kind, and the first half is done before nine tenths."""
    latencies = Latencies()
    for _ in range(20):
        latencies.learn("k", 28.0, 30.0, 0.5, ())
    card = shown(
        outcome="waiting", state="deferred", manifest=None, submitted_at=SUBMITTED, deadline=NOW + 60, kind="k"
    )
    waiting = views.view(card, now=NOW, curve=latencies.of("k").curve)["waiting"]

    assert waiting["since"] < waiting["expected_at"] < waiting["late_at"] < waiting["deadline"]
    assert waiting["expected_at"].startswith(values.iso(SUBMITTED + 29)[:16])


@pytest.mark.parametrize(
    ("job", "progress"),
    [(Pending("r-1", 42), 42), (Pending("r-1"), None), (Done("r-1"), 100), (None, None), (Failed("r-1", "x"), None)],
)
def test_a_look_adds_what_the_service_says(job, progress):
    """The task fetches the video itself; the page only says that it is there."""
    view = views.view(shown(outcome="waiting", state="deferred", manifest=None), now=NOW)
    polled = views.polled_at(view, job, NOW)

    assert progress == polled["waiting"]["progress"]
    assert polled["outcome"] == "waiting"


@pytest.mark.parametrize(
    "job", [None, Pending("r"), Done("r"), Moderated("r"), Failed("r", "x"), Expired("r")], ids=str
)
def test_what_the_service_says_has_no_links(job):
    """A link opens the video to whoever has it."""
    told = views.service_says(shown().card, job, NOW)

    assert not [name for name in told if "url" in name or "link" in name]
    assert told == json.loads(json.dumps(told))


def test_before_is_the_video_of_the_task_that_made_it():
    """An edit is shown beside what it was made from."""
    first, edit = shown("first", "r-0", prompt="A lighthouse"), shown("edit", "r-1", made_from=of("r-0"))
    told = chains.before(edit, [first, edit])

    assert ("first", "A lighthouse", "file") == (told["label"], told["prompt"], told["video"]["kind"])


@pytest.mark.parametrize(
    ("made_from", "expected"),
    [
        (MadeFrom(field="image", address="/data/a.png"), "image media/source"),
        (MadeFrom(field="image", address="s3://bucket/a.png"), "image media/source"),
        (MadeFrom(field="image", address="https://example.com/a.png"), "image https://"),
        (MadeFrom(field="video", address="s3://bucket/a.mp4"), "video media/source"),
        (MadeFrom(field="video", address="https://example.com/a.mp4"), "video https://"),
        (MadeFrom(field="image", address="data:image/png;base64,… (9 characters)"), "nothing"),
        (MadeFrom(field="image", address="file_abc"), "nothing"),
        (MadeFrom(field="image", address="javascript:alert(1)"), "image media/source"),
        (MadeFrom(field="video", address="http://example.com/a.mp4"), "nothing"),
        (MadeFrom(field="video"), "nothing"),
    ],
    ids=str,
)
def test_before_is_the_file_or_link_that_was_given(made_from, expected):
    """Paths go through the server, links to where they lead, and what is neither is named only."""
    told = chains.before(shown(made_from=made_from), [])
    found = {"image": told["image"], "video": told["video"] and told["video"]["href"]}
    said = [f"{kind} {href}" for kind, href in found.items() if href] or ["nothing"]

    assert said[0].startswith(expected)


def test_before_of_words_is_nothing():
    """A video from text starts from nothing."""

    assert chains.before(shown(), [shown()]) is None


def test_a_chain_goes_from_the_first_clip_to_the_last_edit():
    """Wherever one stands in it."""
    first, snow, night = (
        shown("first", "r-0"),
        shown("snow", "r-1", made_from=of("r-0")),
        shown("night", "r-2", made_from=of("r-1")),
    )
    other = shown("other", "r-9")
    everything = [night, other, first, snow]

    for each in (first, snow, night):
        chain = chains.chain(each, everything)

        assert ["first", "snow", "night"] == [link["label"] for link in chain]
        assert [each.owner.task_id] == [link["label"] for link in chain if link["this"]]


def test_a_chain_that_bites_its_tail_ends():
    """Cards may be edited into a circle."""
    one, two = shown("one", "r-1", made_from=of("r-2")), shown("two", "r-2", made_from=of("r-1"))

    assert {"one", "two"} == {link["label"] for link in chains.chain(one, [one, two])}


def test_a_request_that_is_handed_on_is_shown_once_with_all_that_is_known():
    """The task that submitted knows the prompt, the one that waited has the video."""
    submitted = shown("submit", "r-1", outcome="submitted", manifest=None, prompt="A parcel", mode="text-to-video")
    sensed = shown("sense", "r-1")
    alone = shown("alone", "r-5", outcome="submitted", manifest=None)
    found = views.joined([sensed, submitted, alone])

    assert [("sense", "A parcel"), ("alone", None)] == [(each.owner.task_id, each.card.prompt) for each in found]


def test_a_video_that_was_reviewed_is_shown_once():
    """By the task that bought it; another take that the review bought is its own, and so is a rescued one."""
    bought = (Purchase(number=1, phase="delivered", request_id="r-1"),)
    another = (Purchase(number=1, phase="delivered", request_id="r-2"),)
    film = shown("film", "r-1", purchases=bought)
    given_up = shown(
        "late", "r-3", outcome="trouble", purchases=(Purchase(number=1, phase="submitted", request_id="r-3"),)
    )
    cards = [
        shown("review", "r-1"),
        film,
        shown("other review", "r-2", purchases=another),
        shown("asks", "r-1", outcome="asking"),
        given_up,
        shown("rescue", "r-3"),
    ]

    assert ["film", "other review", "asks", "late", "rescue"] == [each.owner.task_id for each in views.joined(cards)]


def test_a_finished_request_teaches_how_long_its_kind_takes():
    """One that was reused took no time of the service."""
    card = shown(kind="k").card

    assert ("k", 50.5) == views.taught_by(card)
    assert views.taught_by(card.model_copy(update={"manifest": {**MADE, "reused": True}})) is None
    assert views.taught_by(card.model_copy(update={"kind": None})) is None
