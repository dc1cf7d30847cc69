"""How errors reach Airflow: retried where that helps, and never where it would buy again."""

from __future__ import annotations

import copy
import pickle

import pytest

from airflow_provider_grokvideo.compat import AirflowFailException
from airflow_provider_grokvideo.core import errors
from airflow_provider_grokvideo.core.errors import (
    DeliveryFailed,
    GrokVideoError,
    InvalidInput,
    RateLimited,
    VideoFailed,
    VideoModerated,
    WaitTimeout,
)
from airflow_provider_grokvideo.execution.advice import after_purchase
from airflow_provider_grokvideo.execution.airflow_errors import final, for_airflow

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, GrokVideoError)]
EACH = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)


def make(kind: type[GrokVideoError]) -> GrokVideoError:
    """Return an error of a kind."""
    if kind is InvalidInput:
        return InvalidInput("duration", 16, "1 to 15", conn_id="c")
    return kind("it broke", request_id="r", conn_id="c", service_id="s", advice="Look.")


@EACH
def test_a_retry_follows_the_class(kind):
    """What a retry can help is raised as it is, all else also as Airflow's fail-without-retry."""
    error = make(kind)
    raised = for_airflow(error)

    assert isinstance(raised, kind)
    assert kind.retry_helps is (raised is error)
    assert kind.retry_helps is not isinstance(raised, AirflowFailException)


@EACH
def test_a_final_error_is_both(kind):
    """A final error can be caught as ours and as Airflow's, under its own name, with the same words."""
    error = make(kind)
    twin = final(error)

    assert isinstance(twin, kind)
    assert isinstance(twin, AirflowFailException)
    assert (str(error), vars(error), error.args, kind.__name__) == (
        str(twin),
        vars(twin),
        twin.args,
        type(twin).__name__,
    )


def test_a_final_error_is_final_once():
    """Making it final again changes nothing, and one class has one twin."""
    twin = final(make(VideoFailed))

    assert twin is final(twin)
    assert type(twin) is type(final(make(VideoFailed)))


def test_a_final_error_can_be_caught_by_its_family():
    """Who catches failures catches the final moderated one."""
    assert isinstance(final(make(VideoModerated)), VideoFailed)


@EACH
@pytest.mark.parametrize(
    "again", [pytest.param(copy.copy, id="copy"), pytest.param(lambda e: pickle.loads(pickle.dumps(e)), id="pickle")]
)
def test_a_final_error_can_cross_a_process(kind, again):
    """A copied or pickled final error is still ours, still final, and says the same."""
    error = final(make(kind))
    twin = again(error)

    assert (type(error), str(error), vars(error)) == (type(twin), str(twin), vars(twin))


def test_a_final_error_keeps_its_cause():
    """The traceback in the task log still shows where the trouble began."""
    try:
        try:
            raise OSError("disk full")
        except OSError as cause:
            raise DeliveryFailed("not stored") from cause
    except DeliveryFailed as error:
        twin = final(error)

    assert isinstance(twin.__cause__, OSError)


@EACH
def test_nothing_is_retried_after_a_purchase(kind):
    """Once a video is bought Airflow's retry would buy a second one, so every error is final."""
    assert isinstance(for_airflow(after_purchase(make(kind), retry_resumes=False)), AirflowFailException)


@pytest.mark.parametrize("kind", [DeliveryFailed, WaitTimeout, RateLimited], ids=lambda kind: kind.__name__)
def test_a_bought_video_is_not_lost(kind):
    """The message keeps its advice and names the sensor that fetches the video for nothing."""
    said = str(after_purchase(make(kind), retry_resumes=False))

    assert "Look." in said
    assert "GrokVideoSensor(request_id='r')" in said


def test_the_way_to_a_bought_video_is_named_once():
    """An error that passes two layers does not repeat itself."""
    once = after_purchase(make(DeliveryFailed), retry_resumes=False)

    assert 1 == str(after_purchase(once, retry_resumes=False)).count("GrokVideoSensor")


def test_a_moderated_video_is_not_offered_again():
    """There is nothing to fetch, so the message does not send anybody."""
    assert "GrokVideoSensor" not in str(after_purchase(make(VideoModerated), retry_resumes=False))
