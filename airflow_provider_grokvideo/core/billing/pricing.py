"""Price estimates of requests.

Source: contract §4, checked there against measured bills. The price list has a date; xAI reports the billed cost
afterwards.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from airflow_provider_grokvideo.core import models
from airflow_provider_grokvideo.core.billing.money import amount, dollars, plain, ticks_of
from airflow_provider_grokvideo.core.errors import InvalidInput
from airflow_provider_grokvideo.core.requests import EditVideo, ExtendVideo, VideoRequest

_PER_INPUT = ("input_image", "input_video_second")

_HIGHEST_RATE = Decimal(1000)
"""Higher prices per second or image, in USD, are refused as mistakes."""

ANY_MODEL = "*"
"""The name in a price file that prices all models without an entry."""


@dataclass(frozen=True)
class ModelPrice:
    """USD per second of output by resolution, per input image, and per second of input video."""

    output_second: Mapping[str, Decimal]
    input_image: Decimal
    input_video_second: Decimal = Decimal(0)


@dataclass(frozen=True)
class Prices:
    """A price list.

    Attributes:
        as_of: The day when the prices were read.
        models: Prices by model name.
        others: The price of all models that are not listed; None leaves them without a price.
        source: The origin of the prices, for messages.
    """

    as_of: str
    models: Mapping[str, ModelPrice]
    others: ModelPrice | None = None
    source: str = ""

    def of(self, model: str) -> ModelPrice | None:
        """Return the price of a model by its name or alias; None if it has no known price."""
        known = models.find_model(model)
        names = (model, known.name) if known else (model,)
        return next((self.models[name] for name in names if name in self.models), self.others)


DEFAULT_PRICES = Prices(
    as_of="2026-10-08",
    source="xAI's pricing and model pages",
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
    """The estimated price of a request.

    Attributes:
        usd: The exact sum; None if the model has no known price.
        parts: The parts of the sum in USD, by their label.
        at_most: The sum is an upper bound, because the length or resolution of the source is not known.
        as_of: The day of the price list.
    """

    usd: Decimal | None
    parts: Mapping[str, Decimal] = field(default_factory=dict)
    at_most: bool = False
    as_of: str = ""

    def __str__(self) -> str:
        if self.usd is None:
            return "unknown (the model has no known price)"
        return f"{'at most ' if self.at_most else ''}{dollars(self.usd)}"

    @property
    def ticks(self) -> int | None:
        """The sum in the unit of xAI's bills, never rounded down."""
        return None if self.usd is None else ticks_of(self.usd)

    def explained(self) -> str:
        """Return the sum with its parts and the date of the prices, for a log line or an approval."""
        parts = ", ".join(f"{what}: {plain(usd)}" for what, usd in self.parts.items())
        dated = f"prices of {self.as_of}" if self.as_of else ""
        more = "; ".join(part for part in (parts, dated) if part)
        return f"{self} ({more})" if more else str(self)


def estimate(
    request: VideoRequest,
    *,
    source_seconds: float | None = None,
    source_resolution: str | None = None,
    prices: Prices = DEFAULT_PRICES,
) -> Estimate:
    """Return the price of a request: output seconds, input images and input video seconds (contract §4).

    Args:
        request: The request.
        source_seconds: Length of the clip that is edited or extended; without it the longest allowed is assumed.
        source_resolution: Its resolution; without it the most expensive one is assumed, because the output has the
            same resolution.
        prices: The price list.
    """
    price = prices.of(request.model)
    if price is None:
        return Estimate(None, as_of=prices.as_of)
    if isinstance(request, EditVideo | ExtendVideo):
        return _of_changed(request, price, source_seconds, source_resolution, prices.as_of)
    resolution = request.resolution or models.DEFAULT_RESOLUTION
    if resolution not in price.output_second:
        return Estimate(None, as_of=prices.as_of)
    seconds = models.DEFAULT_SECONDS if request.duration is None else request.duration
    images = sum(1 for name, _ in request.media() if not name.startswith("reference_audios"))
    parts = {f"{seconds} s of {resolution}": seconds * price.output_second[resolution]}
    if images:
        parts[f"{images} input image{'s' if images > 1 else ''}"] = images * price.input_image
    return Estimate(sum(parts.values(), Decimal(0)), parts, as_of=prices.as_of)


def price_list(document: object, *, where: str, base: Prices = DEFAULT_PRICES) -> Prices:
    """Return the prices of a price file, and those of `base` for the models without an entry.

    Args:
        document: Parsed JSON: ``{"as_of": "2026-12-01", "models": {NAME: {"output_second": {"480p": "0.05"},
            "input_image": "0.002", "input_video_second": "0.01"}}}`` with an optional ``source``. The name ``"*"``
            prices all models without an entry. Amounts are USD, as text or numbers. ``input_image`` and
            ``input_video_second`` may be left out; they are then taken from `base`.
        where: The file, for messages.
        base: The prices that the file overrides.

    Raises:
        InvalidInput: It is not a price list; the message names the entry.
    """
    if not isinstance(document, Mapping) or not isinstance(document.get("models"), Mapping):
        raise InvalidInput(where, document, 'an object with "as_of" and "models"')
    _only(document, ("as_of", "models", "source"), where)
    as_of = document.get("as_of")
    if not isinstance(as_of, str) or not re.fullmatch(r"\d{4}-\d{2}-\d{2}", as_of):
        raise InvalidInput(f"{where}: as_of", as_of, "a date such as 2026-12-01, the day the prices were read")
    listed = {
        str(name): _price_of(entry, f"{where}: {name}", base.of(str(name)))
        for name, entry in document["models"].items()
    }
    others = listed.pop(ANY_MODEL, base.others)
    return Prices(as_of, {**base.models, **listed}, others, str(document.get("source") or where))


def over_limit(estimate: Estimate, limit: Decimal | None, field: str = "max_cost_usd") -> str | None:
    """Return why a request is more expensive than allowed; None if it is not.

    A request without a known price exceeds every limit.
    """
    if limit is None:
        return None
    if estimate.usd is None:
        return (
            f"no price is known for this model, so {field}={plain(limit)} cannot be enforced; "
            "add one in [grokvideo] prices_path"
        )
    return f"{field} is {plain(limit)}" if estimate.usd > limit else None


def _price_of(entry: object, where: str, known: ModelPrice | None) -> ModelPrice:
    if not isinstance(entry, Mapping) or not isinstance(entry.get("output_second"), Mapping):
        raise InvalidInput(where, entry, 'an object with "output_second": {"480p": USD, ...}')
    _only(entry, ("output_second", *_PER_INPUT), where)
    for name in entry["output_second"]:
        if name not in models.RESOLUTIONS:
            raise InvalidInput(f"{where}: output_second", name, f"one of {', '.join(models.RESOLUTIONS)}")
    seconds = {name: _rate(usd, f"{where}: output_second {name}") for name, usd in entry["output_second"].items()}
    if not seconds:
        raise InvalidInput(f"{where}: output_second", {}, "at least one resolution")
    parts = {"input_image": known.input_image, "input_video_second": known.input_video_second} if known else {}
    named = {name: _rate(entry[name], f"{where}: {name}") for name in _PER_INPUT if name in entry}
    return ModelPrice(seconds, **{**dict.fromkeys(_PER_INPUT, Decimal(0)), **parts, **named})


def _rate(value: object, where: str) -> Decimal:
    return amount(value, where, most=_HIGHEST_RATE)


def _only(entry: Mapping[str, object], known: tuple[str, ...], where: str) -> None:
    if unknown := sorted(set(map(str, entry)) - set(known)):
        raise InvalidInput(f"{where}: {unknown[0]}", entry[unknown[0]], f"one of the keys {', '.join(known)}")


def _of_changed(
    request: EditVideo | ExtendVideo,
    price: ModelPrice,
    known_seconds: float | None,
    known_resolution: str | None,
    as_of: str,
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
    return Estimate(sum(parts.values(), Decimal(0)), parts, at_most=unsure, as_of=as_of)
