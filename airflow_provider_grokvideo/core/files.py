"""Stored outputs as the second witness of a submission whose answer was lost (contract §6.3).

A request that stores its output names the file. A name that no other purchase has shows up in the list of files once
the video is done, so a file of that name proves that the request was accepted, and has the video without a request id.
That there is none proves nothing: the request may still be under way, or was blocked, or storing failed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_grokvideo.core.errors import ServiceUnavailable
from airflow_provider_grokvideo.core.jobs import StoredFile

PAGE = 100
"""Files on one page of the list, the most that the service gives (contract §8)."""

MOST_PAGES = 50
"""Pages of hits that are looked through; a name with a random part has a handful of hits."""

KEPT_SECONDS = 3 * 24 * 3600
"""How long a file is kept that is stored for the sake of its name: long enough for retries and a weekend."""

_LONGEST_STEM = 120
_LONGEST_SUFFIX = 16


def unique_name(filename: str | None, token: str) -> str:
    """Return the name under which a purchase's output is stored: the user's, with the purchase's token in it.

    Args:
        filename: The user's ``storage_options.filename``; None where the file is stored for the sake of its name.
        token: Of the purchase; random, so that nobody can guess the name.
    """
    stem, dot, suffix = (filename or "airflow.mp4").rpartition(".")
    if not stem or len(suffix) > _LONGEST_SUFFIX:
        stem, dot, suffix = filename or "", "", ""
    return f"{stem[:_LONGEST_STEM]}-{token}{dot}{suffix}"


def stored_as(options: Mapping[str, Any] | None, token: str, *, wanted: bool) -> dict[str, Any] | None:
    """Return the ``storage_options`` that a request is sent with; None where nothing is to be stored.

    Args:
        options: The user's.
        token: Of the purchase.
        wanted: Whether the connection wants a witness for requests whose user stores nothing.
    """
    if options is not None:
        return {**options, "filename": unique_name(str(options["filename"]), token)}
    return {"filename": unique_name(None, token), "expires_after": KEPT_SECONDS} if wanted else None


@dataclass(frozen=True)
class Page:
    """One page of the list of files.

    Attributes:
        found: The file of exactly that name, if it is on it.
        next: The token of the page after it; None where this one is the last.
    """

    found: StoredFile | None
    next: str | None


def page(answer: Mapping[str, Any], filename: str) -> Page:
    """Read one page of files whose names are like one, and look for exactly that one.

    A page without files is the last one: the service may give a token with every page.

    Raises:
        ServiceUnavailable: It is no list of files.
    """
    rows = answer.get("data", answer.get("files"))
    if not isinstance(rows, list):
        raise ServiceUnavailable("the service answered the question for files with no list")
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
