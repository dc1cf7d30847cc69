"""What an order can cost at most, from what is known of it."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from airflow_provider_grokvideo.core import models, requests
from airflow_provider_grokvideo.core.billing.pricing import DEFAULT_PRICES, ModelPrice, Prices, estimate
from airflow_provider_grokvideo.core.billing.upper_bound import (
    ARGUMENTS,
    UNKNOWN,
    BoundLine,
    ClipBound,
    PlannedRequest,
    Total,
    Worst,
    total,
    worst,
)
from airflow_provider_grokvideo.core.errors import InvalidInput

NEW = "grok-imagine-video-1.5"
LITE = "grok-imagine-video-1.5-lite"


NO_CLIP = ClipBound()


def order(kind="generate", *, source=NO_CLIP, limit=None, asks=False, **words):
    words = {"prompt": "A cat", "model": models.DEFAULT_MODEL, **words}
    return PlannedRequest(kind, words, source, None if limit is None else Decimal(limit), asks)


@pytest.mark.parametrize(
    ("words", "usd"),
    [
        pytest.param({}, "0.40", id="the service's 8 s of 480p"),
        pytest.param({"duration": UNKNOWN}, "0.75", id="15 s"),
        pytest.param({"duration": "{{ x }}"}, "0", id="no number: refused"),
        pytest.param({"resolution": UNKNOWN}, "0.56", id="720p"),
        pytest.param({"model": NEW, "resolution": UNKNOWN, "duration": UNKNOWN}, "3.75", id="15 s of 1080p"),
        pytest.param({"model": LITE, "resolution": UNKNOWN, "duration": 10}, "1.40", id="1080p of lite"),
        pytest.param({"model": UNKNOWN, "duration": 1}, "0.08", id="the worst case model"),
        pytest.param({"model": UNKNOWN, "duration": 1, "resolution": "1080p"}, "0.25", id="the worst case with 1080p"),
        pytest.param({"image": UNKNOWN, "duration": 1}, "0.052", id="an image"),
        pytest.param({"image": {"url": UNKNOWN}, "duration": 1}, "0.052", id="an image of unknown address"),
        pytest.param({"reference_images": UNKNOWN, "duration": 1}, "0.064", id="seven references"),
        pytest.param(
            {"model": "grok-imagine-video-1.5", "reference_images": UNKNOWN, "duration": 1}, "0.22", id="14 references"
        ),
        pytest.param({"reference_images": UNKNOWN, "duration": UNKNOWN}, "0.75", id="none: 15 s are more expensive"),
        pytest.param({"reference_images": ["a.png", UNKNOWN], "duration": 1}, "0.054", id="two references"),
        pytest.param({"keyframes": UNKNOWN, "duration": 1}, "0.05", id="no frames on this model"),
        pytest.param({"keyframes": UNKNOWN, "duration": 1, "model": NEW}, "0.12", id="four frames"),
        pytest.param(
            {"keyframes": [{"image": UNKNOWN, "timestamp_s": UNKNOWN}] * 3, "duration": 1, "model": NEW},
            "0.11",
            id="three frames",
        ),
        pytest.param({"last_frame": UNKNOWN, "image": "a.png", "duration": 1, "model": NEW}, "0.10", id="a last frame"),
        pytest.param({"reference_audios": UNKNOWN, "duration": 1, "model": NEW}, "0.08", id="voices are free"),
        pytest.param({"prompt": UNKNOWN, "storage_options": UNKNOWN}, "0.40", id="words are free"),
        pytest.param({"duration": 60}, "0", id="too long: refused"),
        pytest.param({"prompt": ""}, "0", id="no prompt: refused"),
    ],
)
def test_generation(words, usd):
    """What is unknown counts as the worst case that can be sent."""
    assert Decimal(usd) == worst(order(**words)).usd


@pytest.mark.parametrize(
    ("kind", "source", "words", "usd"),
    [
        pytest.param("edit", ClipBound(5, "480p"), {}, "0.30", id="edit"),
        pytest.param("edit", ClipBound(5, None), {}, "0.40", id="edit of unknown resolution"),
        pytest.param("edit", ClipBound(), {}, "0.696", id="edit of unknown source"),
        pytest.param("edit", ClipBound(12, "480p"), {}, "0.522", id="edit of a clip too long"),
        pytest.param("edit", ClipBound(5, "480p"), {"model": UNKNOWN}, "0.30", id="edit by the one that can"),
        pytest.param("extend", ClipBound(6, "480p"), {"duration": 8}, "0.46", id="extension"),
        pytest.param("extend", ClipBound(6, "480p"), {}, "0.36", id="extension by the service's 6 s"),
        pytest.param("extend", ClipBound(), {"duration": UNKNOWN}, "0.85", id="extension of unknown source"),
    ],
)
def test_change(kind, source, words, usd):
    """A clip is as known as what made it; the rest counts as the longest and worst case."""
    assert Decimal(usd) == worst(order(kind, source=source, **words)).usd


@pytest.mark.parametrize(
    ("made", "clip"),
    [
        pytest.param(order(duration=5), ClipBound(5, "480p"), id="generation"),
        pytest.param(order(duration=5, resolution="1080p", model=NEW), ClipBound(5, "720p"), id="priced as 720p"),
        pytest.param(order(duration=UNKNOWN, resolution=UNKNOWN), ClipBound(15, None), id="unknown"),
        pytest.param(order("edit", source=ClipBound(5, "720p")), ClipBound(5, "720p"), id="edit"),
        pytest.param(order("edit"), ClipBound(8.7, None), id="edit of unknown source"),
        pytest.param(order("extend", source=ClipBound(6, "480p"), duration=4), ClipBound(10, "480p"), id="extension"),
        pytest.param(order("extend", duration=UNKNOWN), ClipBound(25, None), id="extension of unknown source"),
    ],
)
def test_clip_that_is_made(made, clip):
    """The next task in a chain knows what it gets."""
    assert clip == worst(made).clip


@pytest.mark.parametrize(
    ("limited", "usd", "told"),
    [
        pytest.param(order(duration=5, limit="0.25"), "0.25", None, id="within"),
        pytest.param(order(duration=6, limit="0.25"), "0", "its price of 0.3 USD is refused", id="exact: refused"),
        pytest.param(order(duration=UNKNOWN, limit="0.25"), "0.25", "at most max_cost_usd=0.25", id="unknown: capped"),
        pytest.param(order("edit", source=ClipBound(8, "480p"), limit="0.1"), "0.1", "at most", id="a source: capped"),
        pytest.param(order(duration=6, limit="0.25", asks=True), "0.30", "asks for approval", id="asks: not capped"),
        pytest.param(order(model="new", limit="9"), "0", "an unknown price is refused", id="no price: refused"),
    ],
)
def test_limit(limited, usd, told):
    """max_cost_usd refuses what is known to be more expensive, and caps what may be."""
    found = worst(limited)

    assert Decimal(usd) == found.usd
    assert (told is None) == (not found.notes)
    assert told is None or told in " ".join(found.notes)


def test_limit_caps_a_model_of_unknown_price():
    """Where some of the possible requests have a price and others have none, the limit is what can be paid."""
    prices = Prices("2026-12-01", {NEW: ModelPrice({"480p": Decimal("0.08")}, Decimal(0))})
    found = worst(order(model=NEW, resolution=UNKNOWN, duration=5, limit="1"), prices)

    assert Decimal(1) == found.usd


def test_unknown_price_is_no_number():
    """A model that no list names makes the price unknown, not zero."""
    found = worst(order(model="grok-imagine-video-9"))

    assert None is found.usd
    assert ("no price is known for model grok-imagine-video-9; add one in [grokvideo] prices_path",) == found.notes


def test_assumptions_are_told():
    """One line names everything that stands for the unknown."""
    words = {"duration": UNKNOWN, "image": UNKNOWN, "prompt": UNKNOWN}

    assert ("unknown, so the worst case: duration 15 s, image 1",) == worst(order(**words)).notes


def test_total_counts_tries_and_keeps_unknown_counts_apart():
    """Numbers that nobody knows stay out of the sum, and so does what has no price."""
    clip = Worst(Decimal("0.20"))
    lines = [
        BoundLine("once", clip, count=3),
        BoundLine("again", replace(clip, tries=4)),
        BoundLine("short", clip, per_item="prompts"),
        BoundLine("long", Worst(Decimal("0.50")), 2, per_item="prompts"),
        BoundLine("new", Worst(None)),
    ]
    found = total(lines)

    assert Total(Decimal("1.40"), {"prompts": Decimal("1.20")}, ("new",)) == found
    assert not found.is_bound
    assert Total(Decimal("2.80"), {"prompts": Decimal("2.40")}, ("new",)) == found.times(2)
    assert found.times(0).is_bound


PLACES = {"image": "a.png", "last_frame": "b.png"}
SEVERAL = {"reference_images": 14, "reference_audios": 3}


@st.composite
def generations(draw):
    """Draw a generation that is allowed, and what is known of it."""
    words = {
        "prompt": "A cat",
        "model": draw(st.sampled_from([model.name for model in models.MODELS])),
        "duration": draw(st.none() | st.integers(1, 15)),
        "resolution": draw(st.none() | st.sampled_from(models.RESOLUTIONS)),
    }
    words |= {name: place for name, place in PLACES.items() if draw(st.booleans())}
    for name, most in SEVERAL.items():
        if draw(st.booleans()):
            words[name] = [draw(st.sampled_from(["x.png", "y.png"])) if "images" in name else "eve"] * draw(
                st.integers(0, most)
            )
    if draw(st.booleans()):
        words["keyframes"] = [{"image": "k.png", "timestamp_s": n / 3 + 0.1} for n in range(draw(st.integers(0, 4)))]
    return words, _masked(draw, words)


def _masked(draw, words):
    known = dict(words)
    for name in ARGUMENTS["generate"]:
        how = draw(st.sampled_from(["as it is", "unknown", "in parts"]))
        if how == "unknown":
            known[name] = UNKNOWN
        elif how == "in parts" and isinstance(known.get(name), list):
            known[name] = [draw(st.sampled_from([part, UNKNOWN])) for part in known[name]]
    return known


@settings(max_examples=150, deadline=None)
@given(generations())
def test_a_plan_is_never_below_a_request_that_fits_it(drawn):
    """Whatever the unknown arguments turn out to be, the estimate before the purchase is not above the plan."""
    words, known = drawn
    try:
        request = requests.generation(**words)
    except InvalidInput:
        assume(False)
    price = estimate(request)

    assert price.usd <= worst(PlannedRequest("generate", known)).usd


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(["edit", "extend"]),
    seconds=st.floats(2, 8.7),
    resolution=st.sampled_from(["480p", "720p"]),
    added=st.none() | st.integers(2, 10),
    known=st.tuples(st.booleans(), st.booleans(), st.booleans()),
)
def test_a_plan_is_never_below_a_change_that_fits_it(kind, seconds, resolution, added, known):
    """The same for edits and extensions, for sources that are known and for those that are not."""
    words = {"prompt": "In winter", "model": models.DEFAULT_MODEL}
    if kind == "extend":
        words["duration"] = added
    make = requests.edit if kind == "edit" else requests.extension
    price = estimate(make(video="a.mp4", **words), source_seconds=seconds, source_resolution=resolution)
    source = ClipBound(seconds if known[0] else None, resolution if known[1] else None)
    given_words = words if known[2] else {**words, "duration": UNKNOWN, "model": UNKNOWN}

    assert price.usd <= worst(PlannedRequest(kind, given_words, source)).usd


def test_prices_of_a_file_count():
    """The worst case of a is the worst case of the list that is in force."""
    cheap = ModelPrice({"480p": Decimal("0.09"), "720p": Decimal("0.01")}, Decimal(0))
    prices = Prices("2026-12-01", {**DEFAULT_PRICES.models, models.DEFAULT_MODEL: cheap})

    assert Decimal("0.45") == worst(order(duration=5, resolution=UNKNOWN), prices).usd
