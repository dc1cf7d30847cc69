"""Second witness of an unconfirmed submission: what xAI uploaded or stored for it."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from airflow_provider_grokvideo.core.errors import GrokVideoError
from airflow_provider_grokvideo.core.jobs import Done, Expired, FinalJob

if TYPE_CHECKING:
    from airflow_provider_grokvideo.core.purchases.records import Record
    from airflow_provider_grokvideo.hooks.grokvideo import GrokVideoHook

BETWEEN_CHECKS = 60.0
"""Seconds between two checks; each costs a short worker run."""

log = logging.getLogger(__name__)


def witnessed(record: Record, hook: GrokVideoHook) -> Done | None:
    """Return a purchase without an id as done, if its upload or stored file is there; else nothing is proved."""
    if record.upload_uri is not None:
        return Done(request_id="") if _arrived(record.upload_uri) else None
    if record.stored_as is None:
        return None
    try:
        found = hook.find_file(record.stored_as)
    except GrokVideoError as error:
        log.warning("Could not look for the stored file %s: %s", record.stored_as, error.what)
        return None
    return None if found is None else Done(request_id="", file=replace(found, filename=record.stored_as))


def unless_uploaded(job: FinalJob, request_id: str | None, upload_uri: str | None) -> FinalJob:
    """Return a request that xAI does not know any more as done where its video was uploaded all the same."""
    if not isinstance(job, Expired) or upload_uri is None or not _arrived(upload_uri):
        return job
    return Done(request_id=request_id or "")


def _arrived(upload_uri: str) -> bool:
    from airflow_provider_grokvideo.delivery.uploads import arrived

    return arrived(upload_uri)
