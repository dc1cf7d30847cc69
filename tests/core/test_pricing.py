"""Prices equal what was measured (contract §4, §13.5)."""

from __future__ import annotations

from decimal import Decimal

import pytest

from airflow_provider_grokvideo.core import models
from airflow_provider_grokvideo.core.jobs import TICKS_PER_USD, usd
from airflow_provider_grokvideo.core.pricing import DEFAULT_PRICES, ModelPrice, Prices, estimate
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
