"""What is known of latencies: kinds, guesses, and the curve that polls are planned by."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_grokvideo.core.polling import latency
from airflow_provider_grokvideo.core.polling.latency import Component, Curve, History, Latencies, guess
from airflow_provider_grokvideo.core.requests import EditVideo, ExtendVideo, ImageToVideo, TextToVideo

CLIP = "https://example.com/clip.mp4"


@pytest.mark.parametrize(
    ("request_", "kind"),
    [
        pytest.param(TextToVideo(prompt="p"), "text-to-video/grok-imagine-video/8/480p", id="defaults"),
        pytest.param(
            ImageToVideo(prompt="p", image=CLIP, model="grok-imagine-video-1.5", duration=15, resolution="1080p"),
            "image-to-video/grok-imagine-video-1.5/15/1080p",
            id="everything",
        ),
        pytest.param(EditVideo(prompt="p", video=CLIP), "edit/grok-imagine-video/-/-", id="as long as its source"),
        pytest.param(ExtendVideo(prompt="p", video=CLIP), "extend/grok-imagine-video/6/-", id="what is added"),
    ],
)
def test_a_kind_is_what_decides_how_long_it_takes(request_, kind):
    """Mode, model, seconds and resolution as the service will take them, defaults filled in."""
    assert kind == request_.kind()


@pytest.mark.parametrize(
    ("kind", "seconds"),
    [
        pytest.param("text-to-video/grok-imagine-video/5/480p", (20, 24), id="5 s 480p"),
        pytest.param("text-to-video/grok-imagine-video/8/720p", (40, 60), id="8 s 720p"),
        pytest.param("text-to-video/grok-imagine-video/15/720p", (85, 95), id="15 s 720p"),
        pytest.param("text-to-video/grok-imagine-video-1.5/8/720p", (60, 120), id="the 1.5 model"),
    ],
)
def test_a_guess_agrees_with_published_timings(kind, seconds):
    """Before anything is learned, the middle of what is expected is what others have measured (§5.5)."""
    low, high = seconds

    assert low <= math.exp(guess(kind).mean) <= high


@pytest.mark.parametrize("kind", [None, "", "edit/grok-imagine-video/-/-", "a/b/c/d/e", "///", "x/y/99999/8k"])
def test_any_text_is_a_kind(kind):
    """A kind may come from another version of this package; it is guessed somehow and never an error."""
    assert 5 < Latencies().of(kind).curve.when(0.0) < 1e6


@pytest.fixture(scope="module")
def curve() -> Curve:
    return History.of(guess("text-to-video/grok-imagine-video/8/720p"), [math.log(40 + i) for i in range(20)]).curve


AGES = st.floats(0, 10_000)


@given(AGES, AGES, st.floats(0, 1), st.floats(0.01, 20))
def test_a_curve_is_a_distribution(curve, one, other, share, price):
    """Shares stay between 0 and 1 and grow with age, expectations are not negative, and the next poll lies ahead."""
    low, high = sorted((one, other))

    assert 0.0 <= curve.done(low) <= curve.done(high) <= 1.0 + 1e-9
    assert 0.0 <= curve.chance(low, high) <= 1.0 + 1e-9
    assert 0.0 <= curve.unseen(low, high) <= high - low + 1e-6
    assert low <= curve.value(low, high, share) <= high
    assert low <= curve.when(low, price)


@given(st.floats(0, 60), st.floats(0.05, 2))
def test_a_look_pays_when_the_price_is_reached(curve, seen, price):
    """At the age that `when` names, the expected seconds unseen are the price."""
    assert price == pytest.approx(curve.unseen(seen, curve.when(seen, price)), rel=0.05, abs=0.02)


@given(st.lists(st.floats(1, 900), min_size=1, max_size=150), st.floats(0, 1))
def test_learning_never_breaks(latencies, share):
    """Whatever finished requests tell, the schedule goes on to have a next poll."""
    history = History.of(guess(None))
    for seconds in latencies:
        history = history.learned(seconds * share, seconds, share, [seconds / 2])

    assert len(history.samples) <= latency.WINDOW
    assert math.isfinite(history.curve.when(0.0))
    assert history.curve.done(1e9) <= 1.0 + 1e-9


def test_those_that_go_on_count_as_slower():
    """One request that finished early among ten that did not does not make all of them early."""
    alone = History.of(Component(1.0, math.log(100), 0.5), [math.log(20)])
    among = History.of(Component(1.0, math.log(100), 0.5), [math.log(20)], running=[25.0] * 10)

    assert among.curve.done(30) < 0.2 < alone.curve.done(30)


def test_of_no_kind_nothing_is_learned():
    """A request whose age is not known says nothing about others."""
    latencies = Latencies()

    latencies.learn(None, 0.0, 500.0, 0.5, [])

    assert () == latencies.of(None).samples


def test_kinds_are_forgotten_when_there_are_too_many():
    """A process that sees thousands of kinds keeps the ones it used last."""
    latencies = Latencies(most=2)
    for kind in ("a", "b", "a", "c"):
        latencies.learn(kind, 0.0, 30.0, 0.5, [])

    assert (2, 1, 0) == tuple(len(latencies.of(kind).samples) for kind in ("a", "c", "b"))
