"""The manifest is plain JSON, and another task finds the video in it."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from airflow_provider_grokvideo.core.jobs import Done
from airflow_provider_grokvideo.core.purchases.records import Owner, unwritten
from airflow_provider_grokvideo.core.requests import TextToVideo
from airflow_provider_grokvideo.delivery.deliver import Delivered
from airflow_provider_grokvideo.execution.manifest import (
    LINK_GOOD_FOR,
    Source,
    as_number,
    as_time,
    manifest,
    resolution_of,
    source_facts,
    source_in,
    with_delivery,
)

T0 = 1_700_000_000.0
URL = "https://vidgen.x.ai/a.mp4"
REQUEST = TextToVideo(prompt="A ball")
PURCHASE = unwritten(Owner("d", "r", "t"), "r", T0, estimated_usd="0.4")
JOB = Done("r", URL, 8.0, "grok-imagine-video-1.5", 6_400_000_000)
DELIVERED = Delivered(
    uri="file:///out/r.mp4",
    sidecar_uri="file:///out/r.json",
    poster_uri="file:///out/r.poster.jpg",
    sha256="ab",
    bytes=1000,
    duration=8.04,
    width=848,
    height=480,
    has_audio=True,
    checked="decoded",
)
WORDS = {
    "request_id",
    "mode",
    "model",
    "status",
    "url",
    "uri",
    "sidecar_uri",
    "poster_uri",
    "sha256",
    "bytes",
    "duration",
    "width",
    "height",
    "has_audio",
    "cost_usd",
    "estimated_cost_usd",
    "submitted_at",
    "finished_at",
    "reused",
}


def test_a_manifest_has_every_word_of_the_design():
    """A DAG author can rely on each key being there, at every stage."""
    made = manifest(PURCHASE, REQUEST, status="submitted")

    assert set() == WORDS - set(made)
    assert (
        list(made)
        == list(manifest(PURCHASE, REQUEST, status="done", job=JOB, now=T0))
        == list(with_delivery(made, DELIVERED))
    )


def test_a_submitted_request_knows_what_it_should_cost():
    """Before the end there is an estimate and no bill."""
    made = manifest(PURCHASE, REQUEST, status="submitted")

    assert ("r", "text-to-video", "grok-imagine-video", "submitted", None, 0.4) == tuple(
        made[word] for word in ("request_id", "mode", "model", "status", "cost_usd", "estimated_cost_usd")
    )
    assert ("2023-11-14T22:13:20Z", None, None) == (made["submitted_at"], made["finished_at"], made["url"])


def test_a_finished_request_knows_what_it_cost():
    """The bill, the billed model and the link are the service's."""
    made = manifest(PURCHASE, REQUEST, status="done", job=JOB, now=T0 + 60)

    assert ("grok-imagine-video-1.5", URL, 8.0, 0.64, "2023-11-14T22:14:20Z") == tuple(
        made[word] for word in ("model", "url", "duration", "cost_usd", "finished_at")
    )


def test_a_request_of_somebody_else_is_reported_without_guesses():
    """A sensor does not know what was asked for, and says so with None."""
    made = manifest(unwritten(Owner("d", "r", "t"), "r", None), status="done", job=Done("r", URL), now=T0)

    assert [None] * 5 == [made[word] for word in ("mode", "model", "cost_usd", "estimated_cost_usd", "submitted_at")]


def test_a_delivered_file_is_described_as_measured():
    """What was measured on the file replaces what the service said."""
    made = with_delivery(manifest(PURCHASE, REQUEST, status="done", job=JOB, now=T0), DELIVERED)

    assert ("file:///out/r.mp4", 8.04, 848, 480, True, "decoded") == tuple(
        made[word] for word in ("uri", "duration", "width", "height", "has_audio", "checked")
    )


def test_a_manifest_is_plain_json():
    """Every manifest survives XCom unchanged."""
    made = with_delivery(manifest(PURCHASE, REQUEST, status="done", job=JOB, now=T0), DELIVERED)

    assert made == json.loads(json.dumps(made, allow_nan=False))


@pytest.mark.parametrize(
    ("changes", "after", "found"),
    [
        pytest.param({}, 60, URL, id="young link"),
        pytest.param({}, LINK_GOOD_FOR + 1, "file:///out/r.mp4", id="old link, delivered"),
        pytest.param({"uri": None}, LINK_GOOD_FOR + 1, URL, id="old link, not delivered"),
        pytest.param({"url": None}, 60, "file:///out/r.mp4", id="delivered, no link"),
        pytest.param({"finished_at": None}, 60, "file:///out/r.mp4", id="age unknown"),
        pytest.param({"finished_at": "yesterday"}, 60, "file:///out/r.mp4", id="age unreadable"),
        pytest.param({"finished_at": "P1D"}, 60, "file:///out/r.mp4", id="age that is no time"),
        pytest.param({"url": None, "uri": None}, 60, None, id="nothing"),
    ],
)
def test_another_tasks_manifest_is_an_input(changes, after, found):
    """A task that is given a manifest takes its video: by the link while it is young, else by the file."""
    made = with_delivery(manifest(PURCHASE, REQUEST, status="done", job=JOB, now=T0), DELIVERED)

    source = source_in({**made, **changes}, T0 + after)

    assert found == (source and (source.url or source.path))
    assert source is None or f"request {made['request_id']}" == source.identity()


@pytest.mark.parametrize("value", ["clip.mp4", None, {"url": URL}, {"file_id": "file_1"}, 5, [URL]], ids=repr)
def test_any_other_input_stays_as_it_is(value):
    """Only manifests are looked into."""
    assert value is source_in(value, T0)


@pytest.mark.parametrize(
    ("value", "source"),
    [
        pytest.param(
            {"request_id": "r", "duration": 8.04, "width": 848, "height": 480}, Source(8.04, "480p"), id="all"
        ),
        pytest.param({"request_id": "r", "duration": None, "width": None}, Source(), id="not delivered"),
        pytest.param({"duration": 8.0}, Source(), id="no manifest"),
        pytest.param("clip.mp4", Source(), id="path"),
    ],
)
def test_a_manifest_tells_the_price_of_its_change(value, source):
    """Length and size of a delivered clip make the price of its edit exact."""
    assert source == source_facts(value)


@pytest.mark.parametrize(
    ("size", "price_class"),
    [
        ((848, 480), "480p"),
        ((480, 848), "480p"),
        ((480, 480), "480p"),
        ((1280, 720), "720p"),
        ((720, 1280), "720p"),
        ((1920, 1080), "720p"),
        ((None, 480), None),
        ((0, 0), None),
    ],
    ids=repr,
)
def test_a_size_has_a_price_class(size, price_class):
    """The shorter side decides, and changes are capped at 720p (§3.2)."""
    assert price_class == resolution_of(*size)


@pytest.mark.parametrize(
    ("amount", "number"), [(None, None), (Decimal("0.4"), 0.4), (Decimal("1.2345678901"), 1.2345678901)]
)
def test_dollars_survive_json(amount, number):
    """Ten decimals come through."""
    assert number == json.loads(json.dumps(as_number(amount)))


@pytest.mark.parametrize(("epoch", "text"), [(None, None), (0, "1970-01-01T00:00:00Z"), (T0, "2023-11-14T22:13:20Z")])
def test_times_are_in_utc(epoch, text):
    """ISO 8601 with its zone."""
    assert text == as_time(epoch)
