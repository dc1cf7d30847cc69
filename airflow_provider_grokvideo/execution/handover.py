"""Delivery of a finished request: a stored video and its manifest, or the error of its end."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, cast

from typing_extensions import assert_never

from airflow_provider_grokvideo.core.billing.money import differ, dollars
from airflow_provider_grokvideo.core.errors import (
    DeliveryFailed,
    GrokVideoError,
    ServiceUnavailable,
    VideoExpired,
    VideoFailed,
    VideoModerated,
)
from airflow_provider_grokvideo.core.jobs import Done, Expired, Failed, Job, Moderated, Pending, usd
from airflow_provider_grokvideo.core.purchases.records import Owner, Record
from airflow_provider_grokvideo.execution.manifest import Manifest, manifest, with_delivery

if TYPE_CHECKING:
    from airflow_provider_grokvideo.core.requests import VideoRequest
    from airflow_provider_grokvideo.hooks.grokvideo import GrokVideoHook

log = logging.getLogger(__name__)


def finished(job: Job, conn_id: str) -> Done:
    """Return a job that is done, or raise what it is instead.

    Raises:
        VideoModerated: Blocked by the content rules.
        VideoFailed: Given up by the service.
        VideoExpired: No longer known to the service.
        ServiceUnavailable: The service said it ended and now says it did not.
    """
    match job:
        case Done():
            return job
        case Moderated():
            raise VideoModerated(
                f"content moderation blocked the video ({_words(job)}){_billed(job)}",
                code=job.code or "moderated",
                cost_usd=_cost(job),
                request_id=job.request_id,
                conn_id=conn_id,
            )
        case Failed():
            raise VideoFailed(
                f"xAI could not make the video ({_words(job)}){_billed(job)}",
                code=job.code,
                cost_usd=_cost(job),
                request_id=job.request_id,
                conn_id=conn_id,
            )
        case Expired():
            raise VideoExpired(
                f"xAI does not know the request ({job.message or 'expired'})",
                request_id=job.request_id,
                conn_id=conn_id,
            )
        case Pending():
            raise ServiceUnavailable(
                "xAI reported the request finished, then pending",
                request_id=job.request_id,
                conn_id=conn_id,
            )
        case _:
            assert_never(job)


def hand_over(
    job: Done,
    record: Record,
    request: VideoRequest | None = None,
    *,
    hook: GrokVideoHook,
    destination: str | None,
    owner: Owner,
    made_from: tuple[str, Any] | None = None,
    upload_uri: str | None = None,
) -> Manifest:
    """Store a finished video, if there is a destination, and return the manifest.

    Args:
        job: The finished request.
        record: The purchase.
        request: What was asked for, where that is known.
        hook: Of the task's connection.
        destination: Of the task.
        owner: The task instance.
        made_from: The argument that the video starts from, and its value.
        upload_uri: The object that xAI uploads to.

    Raises:
        DeliveryFailed: The video is paid but could not be fetched, checked or stored.
    """
    if upload_uri is not None:
        # The service may give back the address it uploaded to, whose signature is a secret.
        job = replace(job, url=None)
    made = manifest(record, request, status="done", job=job, now=time.time())
    _log_cost(made, record, request)
    if job.storage_error:
        log.warning("Request %s: xAI could not store its copy: %s", job.request_id, job.storage_error)
    if destination is None and job.url is None and job.file is not None:
        made["url"] = job.file.public_url
        log.warning("The video is file %s at xAI (%s)", job.file.file_id, job.file.filename or "stored output")
        return made
    if destination is None:
        log.warning(
            "Request %s is done, but the task has no destination: its temporary link dies within hours. "
            "Set destination= to keep the video.",
            job.request_id,
        )
        return made
    if upload_uri is not None:
        return take_over(
            upload_uri, made, described(request, made_from), job.duration, _asked_seconds(request),
            destination=destination, owner=owner,
        )  # fmt: skip
    from airflow_provider_grokvideo.delivery.deliver import Expectation, deliver
    from airflow_provider_grokvideo.delivery.download import Fetched

    def fresh_link() -> str | None:
        again = hook.get_job(job.request_id)
        return again.url if isinstance(again, Done) else None

    def stored_file(into: Path) -> Fetched:
        if job.file is None:
            raise DeliveryFailed("xAI returned neither a link nor a file", request_id=job.request_id)
        try:
            return Fetched(*hook.download(job.file.file_id, into), content_type=None)
        except GrokVideoError as error:
            what = f"the stored file {job.file.file_id} could not be fetched: {error.what}"
            raise DeliveryFailed(what, service_id=error.service_id) from error

    delivered = deliver(
        link=job.url or "",
        bring=stored_file if job.url is None else None,
        fresh_link=fresh_link,
        destination=destination,
        request_id=job.request_id or None,
        default_name=PurePosixPath(job.file.filename).stem if job.file and job.file.filename else "video",
        expected=Expectation(duration=job.duration, asked=_asked_seconds(request)),
        manifest=made,
        request=described(request, made_from),
        owner=owner.words(),
        allow_loopback=hook.account().is_local,
        allowed=hook.account().download_hosts,
    )
    return with_delivery(made, delivered)


def take_over(
    upload_uri: str,
    made: Mapping[str, Any],
    asked: Mapping[str, Any],
    seconds: float | None,
    asked_seconds: float | None,
    *,
    destination: str,
    owner: Owner,
) -> Manifest:
    """Put what the service uploaded to its destination and return the manifest.

    Raises:
        DeliveryFailed: It is not there, is not what was bought, or could not be copied.
    """
    from airflow_provider_grokvideo.delivery import uploads
    from airflow_provider_grokvideo.delivery.deliver import Expectation

    delivered = uploads.take_over(
        upload_uri,
        destination=destination,
        request_id=made["request_id"],
        expected=Expectation(duration=seconds, asked=asked_seconds),
        manifest=made,
        request=asked,
        owner=owner.words(),
    )
    return with_delivery(made, delivered)


def stored_before(
    record: Record, request: VideoRequest | None, destination: str, upload_uri: str | None
) -> Manifest | None:
    """Return the manifest of a video that is at its destination already, as its sidecar says; None if it is not.

    Its worker died between the storing and the journal, and since then its link or its upload may be gone.
    """
    from airflow_provider_grokvideo.delivery.store import found
    from airflow_provider_grokvideo.delivery.uploads import default_name
    from airflow_provider_grokvideo.storage.destination import target

    request_id = record.request_id or upload_uri
    if request_id is None:
        return None
    try:
        to = target(destination, default_name=record.request_id or default_name(str(upload_uri)))
        sidecar = found(to, request_id)
    except GrokVideoError as error:
        log.warning("Could not check whether %s was stored before: %s", destination, error.what)
        return None
    if sidecar is None:
        return None
    made = manifest(record, request, status="done")
    # The sidecar has the link without its query, which opens nothing.
    known = {**{name: sidecar.get(name, value) for name, value in made.items()}, "url": None}
    return cast("Manifest", known)


def discard_upload(upload_uri: str) -> None:
    """Remove what the service uploaded, once the journal says that it was delivered."""
    from airflow_provider_grokvideo.delivery import uploads

    uploads.discard(upload_uri)


def redeliver(made: Mapping[str, Any], asked: Mapping[str, Any], *, destination: str, owner: Owner) -> Manifest:
    """Store a video that was delivered elsewhere before, from there, and return its manifest.

    Raises:
        DeliveryFailed: It could not be copied.
    """
    from airflow_provider_grokvideo.delivery.deliver import Expectation, deliver
    from airflow_provider_grokvideo.delivery.download import Fetched
    from airflow_provider_grokvideo.delivery.store import copied

    delivered = deliver(
        link="",
        fresh_link=lambda: None,
        bring=lambda into: Fetched(*copied(made["uri"], into), content_type=None),
        poster_uri=made.get("poster_uri"),
        destination=destination,
        request_id=made["request_id"],
        expected=Expectation(duration=made.get("duration")),
        manifest=made,
        request=asked,
        owner=owner.words(),
        allow_loopback=False,
    )
    return with_delivery(made, delivered)


def reported(record: Record) -> GrokVideoError:
    """Return the error of a request whose bad end is in the journal."""
    what = f"{record.note or record.outcome} (it ended in an earlier try; no new charge)"
    kind = VideoModerated if record.outcome == "moderated" else VideoFailed
    return kind(
        what,
        code=record.code or "unknown",
        cost_usd=record.cost_usd,
        request_id=record.request_id,
        conn_id=record.conn_id,
        advice=f"{kind.advice} With resubmit_on={[record.outcome]} a retry or clear of the task submits again.",
    )


def _asked_seconds(request: VideoRequest | None) -> float | None:
    """Return the seconds that were asked for; an extension's are only a part of its result's."""
    from airflow_provider_grokvideo.core.requests import ExtendVideo

    asked = None if isinstance(request, ExtendVideo) else getattr(request, "duration", None)
    return None if asked is None else float(asked)


def described(request: VideoRequest | None, made_from: tuple[str, Any] | None = None) -> dict[str, Any]:
    """Return what was asked for, for the sidecar: as sent, with paths where there were paths.

    Args:
        request: What was asked for.
        made_from: The argument that holds the clip that it starts from, and its value; the file of another task's
            video is named beside its temporary link.
    """
    if request is None:
        return {}
    words = request.model_dump(mode="json", exclude_none=True, exclude_defaults=True, exclude={"output"})
    field, value = made_from or ("", None)
    if isinstance(value, Mapping) and value.get("uri") and isinstance(words.get(field), dict):
        words[field]["uri"] = value["uri"]
    return {"mode": request.mode, "model": request.model, **words}


def _log_cost(made: Mapping[str, Any], record: Record, request: VideoRequest | None) -> None:
    actual, estimated = _decimal(made["cost_usd"]), record.estimate
    cost = "cost an amount that xAI did not report" if actual is None else f"cost {dollars(actual)}"
    planned = "" if estimated is None else f" (estimate: {dollars(estimated)})"
    name = made["request_id"] or "(id unknown)"
    log.info("Request %s %s%s", name, cost, planned)
    if differ(estimated, actual) and not _bound_kept(request, estimated, actual):
        log.warning(
            "Request %s: the bill differs from the estimate by more than 10 %%. If this repeats, xAI has changed its "
            "prices: set the new ones in [grokvideo] prices_path.",
            name,
        )


def _bound_kept(request: VideoRequest | None, estimated: Decimal | None, actual: Decimal | None) -> bool:
    """Say whether the estimate may have been the bound for a source of unknown length or size, and was kept."""
    from airflow_provider_grokvideo.core.requests import EditVideo, ExtendVideo

    sure = request is not None and not isinstance(request, EditVideo | ExtendVideo)
    return not sure and actual is not None and estimated is not None and actual <= estimated


def _decimal(number: float | None) -> Decimal | None:
    return None if number is None else Decimal(str(number))


def _words(job: Moderated | Failed) -> str:
    return ": ".join(part for part in (job.code, job.message) if part) or "no explanation"


def _cost(job: Moderated | Failed) -> str | None:
    cost = usd(job.cost_ticks)
    return None if cost is None else f"{cost.normalize():f}"


def _billed(job: Moderated | Failed) -> str:
    cost = _cost(job)
    return "" if cost is None else f"; billed {cost} USD"
