"""Worst-case price of tasks, from the arguments that are known before they run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum
from itertools import product
from typing import Any, Literal, get_args

from airflow_provider_grokvideo.core import models, requests
from airflow_provider_grokvideo.core.billing.money import plain
from airflow_provider_grokvideo.core.billing.pricing import DEFAULT_PRICES, Estimate, Prices, estimate
from airflow_provider_grokvideo.core.bulk import columns
from airflow_provider_grokvideo.core.errors import InvalidInput
from airflow_provider_grokvideo.core.requests import EditVideo, ExtendVideo, VideoRequest

Kind = Literal["generate", "edit", "extend"]


class Unknown(Enum):
    """A value that is known only when the task runs."""

    UNKNOWN = "unknown"


UNKNOWN = Unknown.UNKNOWN

ARGUMENTS: Mapping[Kind, tuple[str, ...]] = {
    kind: tuple(name for name in columns.ARGUMENTS[kind] if name != "video") for kind in get_args(Kind)
}
"""Arguments of a request, besides the clip to edit or extend."""

NOTHING = Decimal(0)

_MEDIA = "https://example.com/input"
_PRICED_BY = (
    "model",
    "duration",
    "resolution",
    "image",
    "reference_images",
    "reference_audios",
    "last_frame",
    "keyframes",
)


@dataclass(frozen=True)
class ClipBound:
    """Known facts of a clip.

    Attributes:
        seconds: Maximum length; None if unknown.
        resolution: ``480p`` or ``720p``, which decides the price of an edit or extension; None if unknown.
    """

    seconds: float | None = None
    resolution: str | None = None


@dataclass(frozen=True)
class PlannedRequest:
    """Known facts of one task instance's purchase.

    Attributes:
        kind: Kind of request.
        arguments: Arguments of the request; :data:`UNKNOWN` stands for a value, also inside lists and objects.
        source: Clip to edit or extend.
        limit: ``max_cost_usd`` in dollars; None if there is none, or it is unknown.
        asks: Whether the task asks for approval above the limit.
        tries: Maximum number of purchases.
    """

    kind: Kind
    arguments: Mapping[str, Any]
    source: ClipBound = ClipBound()
    limit: Decimal | None = None
    asks: bool = False
    tries: int = 1


@dataclass(frozen=True)
class Worst:
    """The worst case of a purchase that an order can become.

    Attributes:
        usd: Price in dollars; 0 if nothing can be bought; None if unknown.
        mode: Mode of the request; empty if unknown.
        model: Model of the request.
        priced_for: Priced items, such as ``5 s of 480p``.
        clip: The resulting clip.
        notes: Assumptions and limits.
        tries: Maximum number of purchases.
    """

    usd: Decimal | None
    mode: str = ""
    model: str = ""
    priced_for: tuple[str, ...] = ()
    clip: ClipBound = ClipBound()
    notes: tuple[str, ...] = ()
    tries: int = 1


@dataclass(frozen=True)
class BoundLine:
    """Equal purchases of one task in one run.

    Attributes:
        task_id: As in Airflow.
        worst: Price of one task instance.
        count: Number of task instances; the number per item if `per_item` is set.
        per_item: Name of the list with an unknown number of items; empty if `count` is the total.
    """

    task_id: str
    worst: Worst
    count: int = 1
    per_item: str = ""

    @property
    def usd(self) -> Decimal | None:
        """Dollars of all task instances, or per item; None if unknown."""
        return None if self.worst.usd is None else self.worst.usd * self.worst.tries * self.count


@dataclass(frozen=True)
class Total:
    """The price of one or more runs of a DAG.

    Attributes:
        usd: Dollars of all tasks with a known count and price.
        per_item: Dollars per item of each list with an unknown number of items.
        unpriced: Tasks without a known price.
    """

    usd: Decimal = Decimal(0)
    per_item: Mapping[str, Decimal] = field(default_factory=dict)
    unpriced: tuple[str, ...] = ()

    @property
    def is_bound(self) -> bool:
        """Whether the sum is an upper bound: everything has a count and a price."""
        return not self.per_item and not self.unpriced

    def times(self, runs: int) -> Total:
        """Return the price of that many runs."""
        per_item = {what: usd * runs for what, usd in self.per_item.items()} if runs else {}
        return Total(self.usd * runs, per_item, self.unpriced if runs else ())


def total(lines: Iterable[BoundLine]) -> Total:
    """Return the price of one run."""
    usd, per_item = Decimal(0), dict[str, Decimal]()
    unpriced = dict[str, None]()
    for line in lines:
        if line.usd is None:
            unpriced[line.task_id] = None
        elif line.per_item:
            # An item that makes several purchases, such as one for each of a list of lengths, costs their sum.
            per_item[line.per_item] = per_item.get(line.per_item, Decimal(0)) + line.usd
        else:
            usd += line.usd
    return Total(usd, {what: each for what, each in per_item.items() if each}, tuple(unpriced))


def worst(order: PlannedRequest, prices: Prices = DEFAULT_PRICES) -> Worst:
    """Return the worst case of all requests that an order can become.

    An unknown length is the longest that model and mode allow, an unknown resolution the worst case, an unknown model
    the worst case that can do it, an unknown image one image, an unknown list as many as allowed.
    """
    source, notes = _source(order)
    found, refused = _priced(order, source, prices)
    if not found:
        why = refused.what if refused else "no model supports it"
        return Worst(NOTHING, notes=(f"refused before the submit: {why}",))
    unpriced = [(request, price) for request, price in found if price.usd is None]
    request, price = unpriced[0] if unpriced else max(found, key=lambda each: each[1].usd or Decimal(0))
    notes += _assumed(order, source, request)
    usd, limiting = limited(price.usd, order, exact=is_exact(order) or all(each.usd is None for _, each in found))
    if usd is None:
        notes += (f"no price is known for model {request.model}; add one in [grokvideo] prices_path",)
    return Worst(
        usd,
        mode=request.mode,
        model=request.model,
        priced_for=tuple(price.parts),
        clip=_made([each for each, _ in found], source),
        notes=(*notes, *limiting),
        tries=order.tries,
    )


def possible(order: PlannedRequest, prices: Prices = DEFAULT_PRICES) -> Iterator[VideoRequest | InvalidInput]:
    """Yield the requests that an order can become, the worst case of each kind of unknown, or why one is refused."""
    arguments = {name: order.arguments.get(name) for name in ARGUMENTS[order.kind]}
    choices = {name: _choices(name, value, order.kind, prices) for name, value in arguments.items()}
    for values in product(*choices.values()):
        chosen = dict(zip(choices, values, strict=True))
        if chosen.get("resolution") is UNKNOWN:
            for resolution in _resolutions(chosen["model"], prices):
                yield _request(order.kind, {**chosen, "resolution": resolution})
        else:
            yield _request(order.kind, chosen)


def _priced(
    order: PlannedRequest, source: ClipBound, prices: Prices
) -> tuple[list[tuple[VideoRequest, Estimate]], InvalidInput | None]:
    found: list[tuple[VideoRequest, Estimate]] = []
    refused = None
    for each in possible(order, prices):
        if isinstance(each, InvalidInput):
            refused = refused or each
            continue
        price = estimate(each, source_seconds=source.seconds, source_resolution=source.resolution, prices=prices)
        found.append((each, price))
    return found, refused


def _choices(name: str, value: Any, kind: Kind, prices: Prices) -> Sequence[Any]:
    """Return the values that stand for an argument: itself if it is known."""
    if not _has_unknown(value):
        return (value,)
    match name:
        case "prompt":
            return ("unknown",)
        case "model":
            return tuple(dict.fromkeys([*(model.name for model in models.MODELS), *prices.models]))
        case "resolution":
            return (UNKNOWN,)
        case "duration":
            return _longest(kind)
        case _:
            return _media_choices(name, value)


def _longest(kind: Kind) -> Sequence[int]:
    """Return the longest duration of each way to do it."""
    if kind == "extend":
        return models.EXTENSION_SECONDS[1:]
    offers = (offer for model in models.MODELS for offer in (model.text, model.image, model.reference))
    return tuple({offer.seconds[1] for offer in offers if offer is not None})


def _media_choices(name: str, value: Any) -> Sequence[Any]:
    match name:
        case "image" | "last_frame":
            return (None, _MEDIA) if value is UNKNOWN else (_MEDIA,)
        case "reference_images":
            if value is not UNKNOWN:
                return (_filled(value, _MEDIA),)
            # The most that each model takes: what is too many for one must not hide what it can cost.
            most = sorted({model.references.images for model in models.MODELS if model.reference})
            return (None, *([_MEDIA] * count for count in most))
        case "reference_audios":
            return (None, ["voice"]) if value is UNKNOWN else (_filled(value, "voice"),)
        case "keyframes":
            counts = range(models.MAX_KEYFRAMES + 1) if value is UNKNOWN else [len(value)]
            return tuple(_frames(count) for count in counts)
        case _:
            return (None,)


def _resolutions(model: str, prices: Prices) -> Sequence[str]:
    price = prices.of(model)
    listed = () if price is None else tuple(price.output_second)
    return models.RESOLUTIONS if models.find_model(model) or not listed else listed


def _frames(count: int) -> list[dict[str, Any]]:
    # As close together as is allowed, so that they fit into the shortest clip that can hold them.
    moments = (1e-6 + number * (1 / models.KEYFRAME_GRID - 5e-7) for number in range(count))
    return [{"image": _MEDIA, "timestamp_s": moment} for moment in moments]


def _filled(value: Any, with_what: str) -> Any:
    if not isinstance(value, list | tuple):
        return value
    return [with_what if _has_unknown(each) else each for each in value]


def _has_unknown(value: Any) -> bool:
    match value:
        case Unknown():
            return True
        case Mapping():
            return any(map(_has_unknown, value.values()))
        case list() | tuple():
            return any(map(_has_unknown, value))
    return False


def _request(kind: Kind, chosen: Mapping[str, Any]) -> VideoRequest | InvalidInput:
    try:
        match kind:
            case "generate":
                return requests.generation(**chosen)
            case "edit":
                return requests.edit(video=_MEDIA, **chosen)
            case "extend":
                return requests.extension(video=_MEDIA, **chosen)
    except InvalidInput as error:
        return error


def _source(order: PlannedRequest) -> tuple[ClipBound, tuple[str, ...]]:
    """Return the source as it is priced, and what that assumes."""
    if order.kind == "generate":
        return ClipBound(), ()
    longest = (models.EDIT_SOURCE_SECONDS if order.kind == "edit" else models.EXTENSION_SOURCE_SECONDS)[1]
    source = order.source
    if source.seconds is not None and source.seconds > longest:
        notes = (f"its source may be {source.seconds:g} s long; the maximum is {longest:g} s",)
        return ClipBound(longest, source.resolution), notes
    return source, ()


def _assumed(order: PlannedRequest, source: ClipBound, request: VideoRequest) -> tuple[str, ...]:
    """Return the assumptions for unknown values that decide the price, in one line."""
    found = []
    for name in _PRICED_BY:
        if order.arguments.get(name) is not UNKNOWN:
            continue
        value = getattr(request, name, None)
        if name in ("model", "duration", "resolution"):
            found.append(f"{name} {value} s" if name == "duration" else f"{name} {value}")
        else:
            count = len(value) if isinstance(value, tuple) else int(value is not None)
            found += [f"{name} {count}"] if count else []
    if order.kind != "generate" and source.seconds is None:
        longest = models.EDIT_SOURCE_SECONDS if order.kind == "edit" else models.EXTENSION_SOURCE_SECONDS
        found.append(f"a source of {longest[1]:g} s")
    if order.kind != "generate" and source.resolution is None:
        found.append("the source's resolution")
    return (f"unknown, so the worst case: {', '.join(found)}",) if found else ()


def is_exact(order: PlannedRequest) -> bool:
    """Return whether everything that decides the price of an order is known."""
    return order.kind == "generate" and not any(_has_unknown(order.arguments.get(name)) for name in _PRICED_BY)


def limited(usd: Decimal | None, order: PlannedRequest, *, exact: bool) -> tuple[Decimal | None, tuple[str, ...]]:
    """Return a price under the limit, with a note; an exact price above the limit is refused."""
    limit = order.limit
    if limit is None or (usd is not None and usd <= limit):
        return usd, ()
    told = f"max_cost_usd={plain(limit)}"
    if order.asks:
        return usd, (f"above {told} the task asks for approval",)
    if not exact:
        return limit, (f"at most {told}; more expensive ones are refused",)
    price = "an unknown price" if usd is None else f"its price of {plain(usd)} USD"
    return NOTHING, (f"{price} is refused: {told}",)


def _made(found: Sequence[VideoRequest], source: ClipBound) -> ClipBound:
    """Return the known facts of the clip of one of these requests; edits and extensions end at 720p (§3.2)."""
    seconds, resolutions = 0.0, set[str | None]()
    for request in found:
        if isinstance(request, EditVideo):
            length = source.seconds or models.EDIT_SOURCE_SECONDS[1]
            resolutions.add(source.resolution)
        elif isinstance(request, ExtendVideo):
            added = models.DEFAULT_EXTENSION_SECONDS if request.duration is None else request.duration
            length = (source.seconds or models.EXTENSION_SOURCE_SECONDS[1]) + added
            resolutions.add(source.resolution)
        else:
            length = models.DEFAULT_SECONDS if request.duration is None else request.duration
            resolution = request.resolution or models.DEFAULT_RESOLUTION
            resolutions.add("480p" if resolution == "480p" else "720p")
        seconds = max(seconds, length)
    return ClipBound(seconds, resolutions.pop() if len(resolutions) == 1 else None)
