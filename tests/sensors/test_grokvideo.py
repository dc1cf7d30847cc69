"""The sensor: waits for what another task submitted, in both modes, and never submits."""

from __future__ import annotations

import functools

import pytest

from airflow_provider_grokvideo.compat import (
    AirflowFailException,
    AirflowRescheduleException,
    AirflowSensorTimeout,
    AirflowSkipException,
)
from airflow_provider_grokvideo.core.errors import GrokVideoError, VideoExpired, VideoFailed, VideoModerated
from airflow_provider_grokvideo.core.requests import TextToVideo
from airflow_provider_grokvideo.hooks.grokvideo import GrokVideoHook
from airflow_provider_grokvideo.sensors.grokvideo import GrokVideoSensor

pytestmark = pytest.mark.usefixtures("grokvideo_connection")

BOTH = pytest.mark.parametrize("deferrable", [True, False], ids=["deferrable", "poking"])


def submitted(words: str) -> str:
    """Submit a clip elsewhere."""
    return GrokVideoHook().submit(TextToVideo(prompt=f"A red ball [[emulator: {words}]]", duration=1))


def make(request_id, **words):
    """Return how to make the sensor."""
    given = {"task_id": "sense", "poke_interval": 0.05, "poll_interval": 0.05, **words}
    return functools.partial(GrokVideoSensor, request_id=request_id, **given)


@BOTH
@pytest.mark.parametrize("tempo", ["tempo=at-once", "tempo=polls:3"], ids=["done already", "done later"])
def test_it_waits_and_delivers(drive, grokvideo_emulator, tmp_path, deferrable, tempo):
    """The sensor waits for the request, stores its video and returns the manifest; it buys nothing."""
    request_id = submitted(tempo)

    course = drive(make(request_id, destination=str(tmp_path / "ball.mp4"), deferrable=deferrable))

    assert (request_id, (tmp_path / "ball.mp4").as_uri(), 0.05) == tuple(
        course.result[name] for name in ("request_id", "uri", "cost_usd")
    )
    assert 1 == len(grokvideo_emulator.starts)


def test_what_is_done_already_needs_no_triggerer(drive):
    """A request that is done when the sensor starts is handed over without a deferral."""
    course = drive(make(submitted("tempo=at-once")))

    assert [] == course.triggers


def test_a_manifest_names_the_request_too(drive):
    """The sensor takes the manifest of the submitting task as well as a bare id."""
    request_id = submitted("tempo=at-once")

    course = drive(make({"request_id": request_id, "status": "submitted"}))

    assert request_id == course.result["request_id"]


@BOTH
@pytest.mark.parametrize(
    ("fault", "error"),
    [
        pytest.param("moderated:b", VideoModerated, id="moderated"),
        pytest.param("failed:internal_error", VideoFailed, id="failed"),
        pytest.param("expired", VideoExpired, id="expired"),
    ],
)
def test_a_bad_end_is_an_error(drive, deferrable, fault, error, monkeypatch):
    """A request that ended badly fails the sensor for good, in both modes."""
    monkeypatch.setattr("airflow_provider_grokvideo.core.polling.decisions.PROPAGATION", 0.0)
    request_id = submitted(f"tempo=at-once fault={fault}")

    with pytest.raises(error) as caught:
        drive(make(request_id, deferrable=deferrable))

    assert isinstance(caught.value, AirflowFailException)


@BOTH
def test_moderation_can_skip(drive, deferrable):
    """With on_moderated='skip' a blocked video skips the sensor."""
    with pytest.raises(AirflowSkipException):
        drive(make(submitted("tempo=at-once fault=moderated:b"), on_moderated="skip", deferrable=deferrable))


@BOTH
def test_patience_ends_as_a_sensors_timeout(drive, deferrable):
    """When patience ends the sensor times out the way sensors do."""
    with pytest.raises(AirflowSensorTimeout):
        drive(make(submitted("tempo=polls:999"), timeout=0.3, deferrable=deferrable))


def test_reschedule_mode_frees_the_slot(drive):
    """In reschedule mode a pending request gives the worker slot back."""
    sensor = make(submitted("tempo=polls:999"), deferrable=False, mode="reschedule", timeout=60)

    with pytest.raises(AirflowRescheduleException):
        drive(sensor)


@BOTH
@pytest.mark.parametrize("request_id", ["", "None", None, 7, {"status": "done"}], ids=repr)
def test_a_request_id_is_needed(drive, deferrable, request_id):
    """Without a request id the sensor fails at once and says what it wants."""
    with pytest.raises(GrokVideoError, match="request_id") as caught:
        drive(make(request_id, deferrable=deferrable))

    assert isinstance(caught.value, AirflowFailException)
