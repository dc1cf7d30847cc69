"""Stored files as proof that an unconfirmed submission was accepted (contract §6.3).

A request that stores its output sets the file's name. If the name is unique, a file of that name proves that the
request was accepted, and it is the video, even without a request id. It is listed once the video is done. A missing
file proves nothing: the request may still be running, was blocked, or storing failed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_grokvideo.core.errors import ServiceUnavailable
from airflow_provider_grokvideo.core.jobs import StoredFile

PAGE = 100
"""Files on one page of the list, the most that xAI allows (contract §8)."""

MOST_PAGES = 50
"""Most pages of the list that are searched; a name with a random part has only a few hits."""

KEPT_SECONDS = 3 * 24 * 3600
"""Seconds that a file is kept that is stored only as a witness: enough for retries and a weekend."""

_LONGEST_STEM = 120
_LONGEST_SUFFIX = 16


def unique_name(filename: str | None, token: str) -> str:
    """Return the file name of a purchase's stored output: the user's name with the purchase's token.

    Args:
        filename: The user's ``storage_options.filename``; None where the file is stored only as a witness.
        token: The purchase's token; it is random, so that the name cannot be guessed.
    """
    stem, dot, suffix = (filename or "airflow.mp4").rpartition(".")
    if not stem or len(suffix) > _LONGEST_SUFFIX:
        stem, dot, suffix = filename or "", "", ""
    return f"{stem[:_LONGEST_STEM]}-{token}{dot}{suffix}"


def stored_as(options: Mapping[str, Any] | None, token: str, *, wanted: bool) -> dict[str, Any] | None:
    """Return the ``storage_options`` of a request; None if its output is not stored.

    Args:
        options: The user's options.
        token: The purchase's token.
        wanted: The connection has ``witness`` on, so that outputs are stored even without options.
    """
    if options is not None:
        return {**options, "filename": unique_name(str(options["filename"]), token)}
    return {"filename": unique_name(None, token), "expires_after": KEPT_SECONDS} if wanted else None


@dataclass(frozen=True)
class Page:
    """One page of the list of files.

    Attributes:
        found: The file of exactly that name, if the page has it.
        next: The token of the next page; None for the last page.
    """

    found: StoredFile | None
    next: str | None


def page(answer: Mapping[str, Any], filename: str) -> Page:
    """Read one page of the list of files, and find the file of exactly this name.

    A page without files is the last one, even if it has a token.

    Raises:
        ServiceUnavailable: It is not a list of files.
    """
    rows = answer.get("data", answer.get("files"))
    if not isinstance(rows, list):
        raise ServiceUnavailable("the service's response has no list of files")
    token = answer.get("pagination_token")
    further = token if rows and isinstance(token, str) and token else None
    for row in rows:
        if not isinstance(row, Mapping) or row.get("filename") != filename:
            continue
        file_id = row.get("id", row.get("file_id"))
        if isinstance(file_id, str) and file_id:
            public = row.get("public_url")
            return Page(StoredFile(file_id, public if isinstance(public, str) else None), further)
    return Page(None, further)
