"""Prices equal what was measured (contract §4, §13.5)."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_grokvideo.core import models
from airflow_provider_grokvideo.core.billing.money import MOST, amount, differ, plain, ticks_of
from airflow_provider_grokvideo.core.billing.pricing import (
    DEFAULT_PRICES,
    Estimate,
    ModelPrice,
    Prices,
    estimate,
    over_limit,
    price_list,
)
from airflow_provider_grokvideo.core.errors import InvalidInput
from airflow_provider_grokvideo.core.jobs import TICKS_PER_USD, usd
from airflow_provider_grokvideo.core.requests import edit, extension, generation

NEW = "grok-imagine-video-1.5"
LITE = "grok-imagine-video-1.5-lite"
PNG = "https://a.example/b.png"
MP4 = "https://a.example/b.mp4"


def clip(**words):
    """Return a generation."""
    return generation(prompt="A ball", **words)


@pytest.mark.parametrize(
    ("request_", "ticks"),
    [
        pytest.param(clip(), 4_000_000_000, id="classic 480p 8 s"),
        pytest.param(clip(resolution="720p", image=PNG), 5_620_000_000, id="classic 720p 8 s image"),
        pytest.param(
            clip(model=NEW, resolution="720p", duration=6, reference_images=[PNG] * 2),
            8_600_000_000,
            id="1.5 720p 6 s 2 references",
        ),
        pytest.param(clip(model=NEW, resolution="1080p", duration=15), 37_500_000_000, id="1.5 1080p 15 s"),
        pytest.param(clip(model=LITE, duration=5, image=PNG), 1_100_000_000, id="lite 480p 5 s image"),
        pytest.param(clip(model=NEW, duration=1), 800_000_000, id="measured: 1.5 480p 1 s"),
        pytest.param(clip(model=NEW, duration=1, image=PNG), 900_000_000, id="measured: with image"),
        pytest.param(
            clip(model=NEW, duration=1, reference_images=[PNG] * 2), 1_000_000_000, id="measured: with 2 references"
        ),
        pytest.param(clip(model=f"{NEW}-preview", image=PNG), 6_500_000_000, id="measured: 8 s image on the preview"),
        pytest.param(clip(model=NEW, duration=15, image=PNG), 12_100_000_000, id="measured: 15 s image, moderated"),
        pytest.param(
            clip(
                model=NEW,
                duration=1,
                image=PNG,
                last_frame=PNG,
                reference_images=[PNG],
                reference_audios=["eve"],
                keyframes=[{"image": PNG, "timestamp_s": 0.4}],
            ),
            1_200_000_000,
            id="every image counts, a voice does not",
        ),
    ],
)
def test_a_generation_costs_what_was_measured(request_, ticks):
    """Seconds times rate plus images, to the tick."""
    price = estimate(request_)

    assert (ticks, False) == (price.usd * TICKS_PER_USD, price.at_most)
    assert price.usd == sum(price.parts.values())


@pytest.mark.parametrize(
    ("request_", "source", "ticks"),
    [
        pytest.param(edit(prompt="Snow", video=MP4), (6, "480p"), 3_600_000_000, id="edit 480p of 6 s"),
        pytest.param(
            extension(prompt="On", video=MP4), (8, "720p"), 5_000_000_000, id="extend 720p of 8 s by the default 6 s"
        ),
        pytest.param(
            extension(prompt="On", video=MP4, duration=2), (2.0, "480p"), 1_200_000_000, id="extend 480p by 2 s"
        ),
        pytest.param(edit(prompt="Snow", video=MP4), (5.04, "480p"), 3_024_000_000, id="edit of a fraction"),
    ],
)
def test_a_change_costs_by_its_source(request_, source, ticks):
    """Where the source is known the price of an edit or an extension is too."""
    seconds, resolution = source
    price = estimate(request_, source_seconds=seconds, source_resolution=resolution)

    assert (ticks, False) == (price.usd * TICKS_PER_USD, price.at_most)


@pytest.mark.parametrize(
    ("request_", "known", "dollars"),
    [
        pytest.param(edit(prompt="Snow", video=MP4), {}, "0.696", id="edit of anything"),
        pytest.param(edit(prompt="Snow", video=MP4), {"source_seconds": 6}, "0.48", id="edit of 6 s of any size"),
        pytest.param(edit(prompt="Snow", video=MP4), {"source_resolution": "480p"}, "0.522", id="edit of 480p"),
        pytest.param(extension(prompt="On", video=MP4), {}, "0.57", id="extension of anything"),
    ],
)
def test_a_change_of_an_unknown_clip_costs_at_most_so_much(request_, known, dollars):
    """Where the source is not known the price is the highest it can be, and says so."""
    price = estimate(request_, **known)

    assert (Decimal(dollars), True) == (price.usd, price.at_most)
    assert f"at most {dollars} USD" == str(price)


def test_an_unknown_model_has_no_price():
    """No price is invented."""
    price = estimate(clip(model="grok-imagine-video-9"))

    assert price.usd is None
    assert "unknown" in str(price)


def test_a_price_list_may_be_brought():
    """A newer price list prices models that this version does not know."""
    prices = Prices("2027-01-01", {"grok-imagine-video-9": ModelPrice({"480p": Decimal("0.5")}, Decimal("0.1"))})

    assert Decimal("1.1") == estimate(clip(model="grok-imagine-video-9", duration=2, image=PNG), prices=prices).usd


def test_a_resolution_without_a_price_is_unknown():
    """A price list with a gap gives no price instead of a crash."""
    assert estimate(clip(model="grok-imagine-video-9", resolution="1080p"), prices=DEFAULT_PRICES).usd is None


@pytest.mark.parametrize("model", models.MODELS, ids=lambda model: model.name)
def test_every_model_of_the_table_has_prices_for_what_it_offers(model):
    """The two tables agree: nothing on offer is without a price."""
    offered = {name for way in (model.text, model.image, model.reference) if way for name in way.resolutions}

    assert offered <= set(DEFAULT_PRICES.models[model.name].output_second)


@pytest.mark.parametrize(
    ("ticks", "dollars"),
    [(None, None), (0, Decimal(0)), (1, Decimal("1E-10")), (12_100_000_000, Decimal("1.21"))],
    ids=repr,
)
def test_ticks_are_dollars_exactly(ticks, dollars):
    """No cent is lost in conversion."""
    assert dollars == usd(ticks)


def test_a_price_reads_like_one():
    """The message has dollars without trailing zeros and without exponents."""
    assert ["0.4 USD", "10 USD"] == [
        str(estimate(clip())),
        str(
            estimate(
                clip(model="m", duration=10), prices=Prices("", {"m": ModelPrice({"480p": Decimal(1)}, Decimal(0))})
            )
        ),
    ]


def listed(**entries):
    """Return a price file."""
    return {"as_of": "2026-12-01", "models": entries}


def test_a_price_file_overrides_the_models_it_names():
    """Models that a file does not name keep their prices; a new one gets its own, and estimates name the file's day."""
    prices = price_list(
        {**listed(**{LITE: {"output_second": {"480p": "0.5"}, "input_image": 0.25}}), "source": "our contract"},
        where="prices.json",
    )
    overridden = estimate(clip(model=LITE, duration=2, image=PNG), prices=prices)

    assert (Decimal("1.25"), "2026-12-01", "our contract") == (overridden.usd, overridden.as_of, prices.source)
    assert Decimal("0.4") == estimate(clip(), prices=prices).usd


def test_a_price_file_speaks_of_a_model_by_name_or_alias():
    """A price under a model's name holds for its alias as well, and one under the alias for that alone."""
    by_name = price_list(listed(**{NEW: {"output_second": {"480p": 1}}}), where="prices.json")
    by_alias = price_list(listed(**{f"{NEW}-preview": {"output_second": {"480p": 1}}}), where="prices.json")

    assert Decimal(1) == estimate(clip(model=f"{NEW}-preview", duration=1), prices=by_name).usd
    assert Decimal(1) == estimate(clip(model=f"{NEW}-preview", duration=1), prices=by_alias).usd
    assert Decimal("0.08") == estimate(clip(model=NEW, duration=1), prices=by_alias).usd


def test_what_a_price_file_leaves_out_of_a_model_stays():
    """An input that a file does not price costs what it did; a resolution that it does not price has no price."""
    prices = price_list(listed(**{NEW: {"output_second": {"480p": 1}}}), where="prices.json")

    assert Decimal("1.01") == estimate(clip(model=NEW, duration=1, image=PNG), prices=prices).usd
    assert estimate(clip(model=NEW, resolution="720p"), prices=prices).usd is None


def test_a_star_prices_every_model_that_no_list_names():
    """Unknown models have a price where a file gives them one; listed ones keep theirs."""
    prices = price_list(listed(**{"*": {"output_second": {"480p": "2"}, "input_image": "0.5"}}), where="prices.json")

    assert Decimal("4.5") == estimate(clip(model="grok-imagine-video-9", duration=2, image=PNG), prices=prices).usd
    assert Decimal("0.4") == estimate(clip(), prices=prices).usd
    assert "*" not in prices.models


PRICED = {"output_second": {"480p": "0.05"}}


@pytest.mark.parametrize(
    ("document", "message"),
    [
        pytest.param([], 'prices.json=[]: expected an object with "as_of" and "models"', id="a list"),
        pytest.param({"as_of": "2026-12-01"}, 'an object with "as_of" and "models"', id="no models"),
        pytest.param(
            {"as_of": "2026-12-01", "models": []}, 'an object with "as_of" and "models"', id="a list of models"
        ),
        pytest.param({"models": {}}, "missing prices.json: as_of: expected a date", id="no day"),
        pytest.param({"as_of": "May", "models": {}}, "prices.json: as_of='May': expected a date", id="a month"),
        pytest.param({"as_of": 20261201, "models": {}}, "prices.json: as_of=20261201: expected", id="a number"),
        pytest.param({**listed(), "prices": 1}, "as_of, models, source", id="unknown key"),
        pytest.param(listed(m="0.05"), "prices.json: m='0.05': expected an object with", id="a price for all"),
        pytest.param(listed(m={}), "prices.json: m={}: expected an object with", id="no resolutions"),
        pytest.param(listed(m={"output_second": {}}), "prices.json: m: output_second={}: expected at least", id="none"),
        pytest.param(
            listed(m={"output_second": {"4k": 1}}),
            "output_second='4k': expected one of 480p, ",
            id="no resolution",
        ),
        pytest.param(
            listed(m={"output_second": {"480p": -1}}), "m: output_second 480p=-1: expected 0 to 1000 USD", id="negative"
        ),
        pytest.param(
            listed(m={"output_second": {"480p": None}}),
            "missing prices.json: m: output_second 480p: expected 0 to 1000 USD",
            id="null",
        ),
        pytest.param(
            listed(m={"output_second": {"480p": "5 ct"}}), "480p='5 ct': expected 0 to 1000 USD", id="no number"
        ),
        pytest.param(
            listed(m={"output_second": {"480p": 10**8}}), "480p=100000000: expected 0 to 1000 USD", id="absurd"
        ),
        pytest.param(listed(m={**PRICED, "input_image": True}), "m: input_image=True: expected", id="a truth"),
        pytest.param(listed(m={**PRICED, "input_video_second": ""}), "m: input_video_second='': expected", id="empty"),
        pytest.param(
            listed(m={**PRICED, "input_images": 1}), "output_second, input_image, input_video_second", id="a typo"
        ),
    ],
)
def test_what_is_no_price_list_is_refused(document, message):
    """The error names the file, the entry, the value and what is allowed; no price is guessed."""
    with pytest.raises(InvalidInput) as told:
        price_list(document, where="prices.json")

    assert told.value.field.startswith("prices.json")
    assert message in str(told.value)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["480p", "models", "x"]), inner),
    max_leaves=8,
)
MODEL = st.fixed_dictionaries(
    {"output_second": st.dictionaries(st.sampled_from(["480p", "720p", "4k"]), VALUES) | VALUES},
    optional={"input_image": VALUES, "input_video_second": VALUES},
)


@given(st.dictionaries(st.sampled_from([LITE, "*", "m"]), MODEL | VALUES) | VALUES, st.just("2026-12-01") | VALUES)
def test_whatever_a_price_file_holds_is_read_or_refused(entries, as_of):
    """There is no third way: what was read prices a request, and every mistake is an InvalidInput."""
    try:
        prices = price_list(json.loads(json.dumps({"as_of": as_of, "models": entries})), where="prices.json")
    except InvalidInput:
        return
    priced = estimate(clip(model="m", duration=15, image=PNG), prices=prices)

    assert priced.usd is None or 0 <= priced.usd <= MOST


@pytest.mark.parametrize(
    ("usd", "limit", "reason"),
    [
        pytest.param("0.4", None, None, id="no limit"),
        pytest.param("0.4", "0.4", None, id="exactly the limit"),
        pytest.param("0.4", "5", None, id="below"),
        pytest.param("0.4", "0.3999999999", "max_cost_usd is 0.3999999999", id="a tick above"),
        pytest.param("0", "0", None, id="nothing for nothing"),
        pytest.param("0.4", "0", "max_cost_usd is 0", id="no money at all"),
        pytest.param(None, None, None, id="unknown, no limit"),
        pytest.param(
            None,
            "5",
            "no price is known for this model, so max_cost_usd=5 cannot be enforced; "
            "add one in [grokvideo] prices_path",
            id="unknown, limited",
        ),
    ],
)
def test_what_is_more_expensive_than_allowed(usd, limit, reason):
    """The limit itself is allowed; a request without a known price exceeds every limit."""
    price = Estimate(None if usd is None else Decimal(usd))

    assert reason == over_limit(price, None if limit is None else Decimal(limit))


@pytest.mark.parametrize(
    ("estimated", "actual", "expected"),
    [
        pytest.param("1", "1.1", False, id="10 % more"),
        pytest.param("1", "1.1000000001", True, id="a tick more than that"),
        pytest.param("1", "0.9", False, id="10 % less"),
        pytest.param("1", "0.8999999999", True, id="a tick less than that"),
        pytest.param("0", "0", False, id="free as expected"),
        pytest.param("0", "0.0000000001", True, id="not free"),
        pytest.param(None, "1", False, id="no estimate"),
        pytest.param("1", None, False, id="no bill"),
    ],
)
def test_when_a_bill_differs_from_its_estimate(estimated, actual, expected):
    """More than a tenth of the estimate is worth a warning, in both directions."""
    known = (None if each is None else Decimal(each) for each in (estimated, actual))

    assert expected == differ(*known)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, "0"),
        (5, "5"),
        (0.1, "0.1"),
        ("0.50", "0.5"),
        (" 20 ", "20"),
        ("1e1", "10"),
        (Decimal("1E-10"), "0.0000000001"),
    ],
    ids=repr,
)
def test_an_amount_is_read_exactly(value, expected):
    """Numbers and text are the amount that a person sees."""
    assert expected == plain(amount(value, "max_cost_usd"))


@pytest.mark.parametrize(
    "value",
    [None, "", " ", "None", "much", -1, "-0.01", True, float("nan"), float("inf"), 10**9, [], {}, "5 USD"],
    ids=repr,
)
def test_what_is_no_amount_is_refused(value):
    """A template that rendered to nothing is a mistake, and not the absence of a limit."""
    with pytest.raises(InvalidInput, match=r" max_cost_usd.*: expected 0 to 100000000 USD, or a word\."):
        amount(value, "max_cost_usd", also=", or a word")


@given(st.decimals(0, MOST, places=12))
def test_ticks_are_never_rounded_down(dollars):
    """What is less than a tick counts as one, so that no sum of reservations is below its price."""
    assert 0 <= ticks_of(dollars) - dollars * TICKS_PER_USD < 1
