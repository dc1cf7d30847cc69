"""Before the submit: free checks, the price, and the request as it is sent."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from airflow_provider_grokvideo.core import files, requests
from airflow_provider_grokvideo.core.billing import pricing
from airflow_provider_grokvideo.core.errors import GrokVideoError, InvalidInput
from airflow_provider_grokvideo.core.purchases.records import ANY_INPUTS, upload_token

if TYPE_CHECKING:
    from airflow_provider_grokvideo.core.billing.pricing import Estimate, Prices
    from airflow_provider_grokvideo.core.purchases.records import Record
    from airflow_provider_grokvideo.core.requests import VideoRequest
    from airflow_provider_grokvideo.execution.inputs import Inputs, Opened
    from airflow_provider_grokvideo.execution.journal import TaskJournal
    from airflow_provider_grokvideo.execution.manifest import Source
    from airflow_provider_grokvideo.execution.options import RunOptions
    from airflow_provider_grokvideo.execution.ports import Order
    from airflow_provider_grokvideo.hooks.grokvideo import GrokVideoHook

SHORTEST_SIGNATURE = 3600.0
"""Seconds that an upload address lasts at least: a request may run long after the task stopped waiting."""

log = logging.getLogger(__name__)


def checked(
    found: Inputs, order: Order, options: RunOptions, hook: GrokVideoHook, *, is_known_place: bool = False
) -> Opened:
    """Refuse what can be seen to fail after it is paid; everything here is free.

    Args:
        found: The request and its inputs.
        order: What is asked for.
        options: Of the run.
        hook: The API.
        is_known_place: As in :class:`~airflow_provider_grokvideo.execution.ports.Services`.

    Raises:
        GrokVideoError: An input cannot be read, the connection cannot be used, or the video could not be stored.
    """
    if found.opened is None:
        raise cast("GrokVideoError", found.problem)
    for warning in found.request.warnings():
        log.warning("%s", warning)
    requests.check_source(found.request, order.known_source().seconds)
    account, place = hook.account(), options.place
    if place is not None and options.wait_for_completion:
        from airflow_provider_grokvideo.storage.destination import check_writable

        inputs = _files_read(found.request, order.made_from())
        check_writable(place, inputs=inputs, only_names=is_known_place)
        if options.deliver_via == "download" and not is_known_place:
            from airflow_provider_grokvideo.delivery.download import check_reachable

            check_reachable(account.base_url, account.download_hosts)
    return found.opened


def estimate(request: VideoRequest, opened: Source, known: Source, prices: Prices) -> Estimate:
    """Return what a request will cost.

    Args:
        request: The request.
        opened: What was read of the clip that is edited or extended.
        known: What the arguments tell about it.
        prices: Of the models.
    """
    return pricing.estimate(
        request,
        source_seconds=opened.seconds or known.seconds,
        source_resolution=opened.resolution or known.resolution,
        prices=prices,
    )


def ready(
    opened: Opened, fingerprint: str, token: str, *, options: RunOptions, hook: GrokVideoHook, journal: TaskJournal
) -> tuple[VideoRequest, dict[str, str]]:
    """Return the request as it can be sent, and what the journal notes of where its video can be found.

    Raises:
        GrokVideoError: An input could not be uploaded; nothing was bought.
    """
    request = opened.request()
    if options.deliver_via == "upload":
        from airflow_provider_grokvideo.delivery import uploads

        of_purchase = upload_token(journal.owner, fingerprint, len(journal.records) + 1)
        upload_uri = uploads.upload_uri(str(options.place), of_purchase)
        address = uploads.signed(upload_uri, max(2 * options.patience, SHORTEST_SIGNATURE))
        return request.model_copy(update={"output": {"upload_url": address}}), {"upload_uri": upload_uri}
    stored = files.stored_as(request.storage_options, token, wanted=hook.account().witness)
    if stored is None:
        return request, {}
    return request.model_copy(update={"storage_options": stored}), {"stored_as": stored["filename"]}


def rebuilt(order: Order, record: Record) -> VideoRequest | None:
    """Return the request of a resumed leg, whose arguments were rendered again; None where it is another one."""
    try:
        request = order.build_request()
    except InvalidInput as error:
        # A template that renders differently now must not keep a paid video from its destination.
        log.warning("Cannot rebuild the request for the sidecar: %s", error.what)
        return None
    if record.asked not in (request.fingerprint(), ANY_INPUTS):
        log.warning("The arguments have changed since the submit; the sidecar leaves them out")
        return None
    return request


def _files_read(request: VideoRequest, given: tuple[str, Any] | None) -> list[str]:
    """Return the paths and URIs of what the video is made from; a manifest names its file beside its link."""
    source = given[1] if given else None
    stored = [str(source["uri"])] if isinstance(source, Mapping) and source.get("uri") else []
    return [*stored, *(media.path for _, media in request.media() if media.path is not None)]
