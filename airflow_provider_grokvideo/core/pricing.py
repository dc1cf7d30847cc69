"""What a request costs, before it is sent.

Source: contract §4, checked there against measured bills. The price list has a date; the bill is what the service
says afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation

from airflow_provider_grokvideo.core import models
from airflow_provider_grokvideo.core.errors import InvalidInput, SpendLimitExceeded
from airflow_provider_grokvideo.core.requests import EditVideo, ExtendVideo, VideoRequest


@dataclass(frozen=True)
class ModelPrice:
    """USD per second of output by resolution, per input image, and per second of input video."""

    output_second: Mapping[str, Decimal]
    input_image: Decimal
    input_video_second: Decimal = Decimal(0)


@dataclass(frozen=True)
class Prices:
    """A price list and the day it was read."""

    as_of: str
    models: Mapping[str, ModelPrice]


DEFAULT_PRICES = Prices(
    as_of="2026-10-06",
    models={
        "grok-imagine-video": ModelPrice(
            {"480p": Decimal("0.05"), "720p": Decimal("0.07")}, Decimal("0.002"), Decimal("0.01")
        ),
        "grok-imagine-video-1.5": ModelPrice(
            {"480p": Decimal("0.08"), "720p": Decimal("0.14"), "1080p": Decimal("0.25")}, Decimal("0.01")
        ),
        "grok-imagine-video-1.5-lite": ModelPrice(
            {"480p": Decimal("0.02"), "720p": Decimal("0.03"), "1080p": Decimal("0.14")}, Decimal("0.01")
        ),
    },
)


@dataclass(frozen=True)
class Estimate:
    """What a request should cost.

    Attributes:
        usd: The sum, exact; None if the model has no known price.
        parts: What it is made of, in words with their dollars.
        at_most: The sum is an upper bound, because the length or the size of the source is not known.
    """

    usd: Decimal | None
    parts: Mapping[str, Decimal] = field(default_factory=dict)
    at_most: bool = False

    def __str__(self) -> str:
        if self.usd is None:
            return "unknown (the model has no known price)"
        return f"{'at most ' if self.at_most else ''}{self.usd.normalize():f} USD"


def estimate(
    request: VideoRequest,
    *,
    source_seconds: float | None = None,
    source_resolution: str | None = None,
    prices: Prices = DEFAULT_PRICES,
) -> Estimate:
    """Return the price of a request: output seconds, input images and input video seconds (contract §4).

    Args:
        request: What will be sent.
        source_seconds: Length of the clip that is edited or extended; without it the longest allowed is assumed.
        source_resolution: Its resolution; without it the dearest is assumed, because the output follows the source.
        prices: The price list.
    """
    model = models.find_model(request.model)
    price = prices.models.get(model.name if model else request.model)
    if price is None:
        return Estimate(None)
    if isinstance(request, EditVideo | ExtendVideo):
        return _of_changed(request, price, source_seconds, source_resolution)
    resolution = request.resolution or models.DEFAULT_RESOLUTION
    if resolution not in price.output_second:
        return Estimate(None)
    seconds = models.DEFAULT_SECONDS if request.duration is None else request.duration
    images = sum(1 for name, _ in request.media() if not name.startswith("reference_audios"))
    parts = {f"{seconds} s of {resolution}": seconds * price.output_second[resolution]}
    if images:
        parts[f"{images} input image{'s' if images > 1 else ''}"] = images * price.input_image
    return Estimate(sum(parts.values(), Decimal(0)), parts)


def check_limit(estimate: Estimate, limit: object) -> None:
    """Compare an estimate with what a task allows.

    Args:
        estimate: What the request should cost.
        limit: Dollars as a number or as text; None allows anything.

    Raises:
        InvalidInput: `limit` is no amount.
        SpendLimitExceeded: The request costs more, or nobody knows what it costs.
    """
    allowed = _amount(limit)
    if allowed is None:
        return
    if estimate.usd is None:
        raise SpendLimitExceeded(f"the price is {estimate}, so max_cost_usd={allowed} cannot be kept")
    if estimate.usd > allowed:
        parts = ", ".join(f"{what}: {usd.normalize():f}" for what, usd in estimate.parts.items())
        raise SpendLimitExceeded(f"the request would cost {estimate} ({parts}), more than max_cost_usd={allowed}")


def _amount(limit: object) -> Decimal | None:
    if limit is None:
        return None
    try:
        amount = Decimal(str(limit).strip())
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or amount < 0:
        raise InvalidInput("max_cost_usd", limit, "dollars, 0 or more, or None for no limit")
    return amount


def _of_changed(
    request: EditVideo | ExtendVideo, price: ModelPrice, known_seconds: float | None, known_resolution: str | None
) -> Estimate:
    edits = isinstance(request, EditVideo)
    longest = (models.EDIT_SOURCE_SECONDS if edits else models.EXTENSION_SOURCE_SECONDS)[1]
    source = Decimal(str(longest if known_seconds is None else round(known_seconds, 3)))
    rate = price.output_second.get(known_resolution or "", max(price.output_second.values()))
    if isinstance(request, ExtendVideo):
        added = models.DEFAULT_EXTENSION_SECONDS if request.duration is None else request.duration
        output = Decimal(added)
    else:
        output = source
    parts = {
        f"{output.normalize():f} s of output": output * rate,
        f"{source.normalize():f} s of input video": source * price.input_video_second,
    }
    unsure = known_seconds is None or known_resolution not in price.output_second
    return Estimate(sum(parts.values(), Decimal(0)), parts, at_most=unsure)
