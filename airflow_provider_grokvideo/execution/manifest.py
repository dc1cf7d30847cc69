"""The result of a task as it goes into XCom: plain JSON, called the manifest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, TypedDict, cast

import pendulum

from airflow_provider_grokvideo.core.jobs import Done, usd
from airflow_provider_grokvideo.core.numbers import checked_number
from airflow_provider_grokvideo.core.purchases.records import Owner, Record, unwritten

if TYPE_CHECKING:
    from airflow_provider_grokvideo.core.requests import VideoRequest
    from airflow_provider_grokvideo.delivery.deliver import Delivered

LINK_GOOD_FOR = 30 * 60
"""Seconds for which a temporary link is trusted as the input of another request; they live an hour at least
(contract §5.4)."""


class Manifest(TypedDict):
    """Result of a task, as plain JSON; docs/reference.md says what each field means."""

    request_id: str | None
    mode: str | None
    model: str | None
    status: str
    url: str | None
    uri: str | None
    sidecar_uri: str | None
    poster_uri: str | None
    sha256: str | None
    bytes: int | None
    duration: float | None
    width: int | None
    height: int | None
    has_audio: bool | None
    checked: str | None
    cost_usd: float | None
    estimated_cost_usd: float | None
    submitted_at: str | None
    finished_at: str | None
    reused: bool
    warnings: list[str]


def manifest(
    record: Record, request: VideoRequest | None = None, *, status: str, job: Done | None = None,
    now: float | None = None,
) -> Manifest:  # fmt: skip
    """Return the manifest of a request before anything was delivered.

    Args:
        record: What is known of the purchase.
        request: What was asked for, where that is known.
        status: ``submitted`` or ``done``.
        job: The finished job.
        now: Epoch seconds when it was seen to be finished.
    """
    return {
        "request_id": record.request_id,
        "mode": request.mode if request else record.mode,
        "model": (job.model if job else None) or (request.model if request else record.model),
        "status": status,
        "url": job.url if job else None,
        "uri": None,
        "sidecar_uri": None,
        "poster_uri": None,
        "sha256": None,
        "bytes": None,
        "duration": job.duration if job else None,
        "width": None,
        "height": None,
        "has_audio": None,
        "checked": None,
        "cost_usd": as_number(usd(job.cost_ticks)) if job else None,
        "estimated_cost_usd": as_number(record.estimate),
        "submitted_at": as_time(record.sent_at),
        "finished_at": as_time(now),
        "reused": False,
        "warnings": [],
    }


def record_in(value: Any, request_id: str) -> Record:
    """Return what another task's manifest says about its request; of a bare id only that."""
    given = value if isinstance(value, Mapping) else {}
    age = _age(given.get("submitted_at"), 0.0)
    usd = _dollars(given.get("estimated_cost_usd"))
    mode, model = (str(given[name]) if given.get(name) else None for name in ("mode", "model"))
    submitted_at = None if age == float("inf") else -age
    return unwritten(
        Owner("", "", ""), request_id, submitted_at, mode=mode, model=model,
        estimated_usd=None if usd is None else str(usd),
    )  # fmt: skip


def with_delivery(made: Mapping[str, Any], delivered: Delivered) -> Manifest:
    """Return the manifest with what was measured on the delivered file."""
    told = {
        **made,
        "uri": delivered.uri,
        "sidecar_uri": delivered.sidecar_uri,
        "poster_uri": delivered.poster_uri,
        "sha256": delivered.sha256,
        "bytes": delivered.bytes,
        "duration": delivered.duration,
        "width": delivered.width,
        "height": delivered.height,
        "has_audio": delivered.has_audio,
        "checked": delivered.checked,
        "warnings": [*delivered.warnings],
    }
    return cast("Manifest", told)


def source_in(value: Any, now: float) -> Any:
    """Return what a task was given as an input, or, where that is another task's manifest, its video.

    The temporary link is preferred while it is young, because the service reads its own link without an upload. Either
    way it is the same input, so that a later try, when the link is old, does not take it for another one.
    """
    from airflow_provider_grokvideo.core.media import parse_media

    if not isinstance(value, Mapping) or "request_id" not in value:
        return value
    url, uri = value.get("url"), value.get("uri")
    address = url if url and (_age(value.get("finished_at"), now) < LINK_GOOD_FOR or not uri) else uri
    if not address:
        return address
    media = parse_media(address, field="video")
    return media.model_copy(update={"known_as": f"request {value['request_id']}"}) if value["request_id"] else media


def _dollars(value: object) -> Decimal | None:
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    return number if number.is_finite() and number >= 0 else None


def _age(finished: object, now: float) -> float:
    try:
        moment = pendulum.parse(finished) if isinstance(finished, str) else None
    except ValueError:
        moment = None
    return now - moment.timestamp() if isinstance(moment, pendulum.DateTime) else float("inf")


@dataclass(frozen=True)
class Source:
    """What is known about the clip that is edited or extended.

    Attributes:
        seconds: Its length.
        resolution: The price class of its size.
    """

    seconds: float | None = None
    resolution: str | None = None


def source_facts(value: Any) -> Source:
    """Return what another task's manifest says about its video; nothing for any other input."""
    if not isinstance(value, Mapping) or "request_id" not in value:
        return Source()
    seconds = value.get("duration")
    if seconds is not None:
        checked_number(
            seconds, "video.duration", least=0, most=3600, expected="seconds of the clip, more than 0, or None"
        )
    for side in ("width", "height"):
        if value.get(side) is not None:
            checked_number(value[side], f"video.{side}", least=0, most=100_000, expected="pixels, more than 0, or None")
    return Source(seconds, resolution_of(value.get("width"), value.get("height")))


def resolution_of(width: int | None, height: int | None) -> str | None:
    """Return the price class of a picture size; output of edits and extensions is capped at 720p (contract §3.2)."""
    if not width or not height:
        return None
    return "480p" if min(width, height) <= 480 else "720p"


def as_number(amount: Decimal | None) -> float | None:
    """Return dollars as JSON can hold them; ten decimals survive."""
    return None if amount is None else float(amount)


def as_time(epoch: float | None) -> str | None:
    """Return epoch seconds as ISO 8601 in UTC."""
    return None if epoch is None else pendulum.from_timestamp(epoch).to_iso8601_string()
