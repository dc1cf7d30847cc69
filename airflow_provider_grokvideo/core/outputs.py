"""Options of a request about its output: where xAI stores the video, and where xAI uploads it to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from airflow_provider_grokvideo.core.errors import InvalidInput

STORED_FILE_SECONDS = (3600, 2_592_000)
"""The shortest and the longest time that xAI keeps a stored output, in seconds (contract §3.1)."""


def check_upload(output: Mapping[str, Any]) -> None:
    """Check the `output` of a request.

    Raises:
        InvalidInput: It is not one https URL to upload to.
    """
    if set(output) != {"upload_url"} or not _is_https(output.get("upload_url")):
        raise InvalidInput("output", sorted(map(str, output)), "an object with one key, upload_url, and an https URL")


def check_storage(options: Mapping[str, Any]) -> None:
    """Check the `storage_options` of a request.

    Raises:
        InvalidInput: The file name is missing, or another option is unknown or out of its limits.
    """
    if not isinstance(options.get("filename"), str) or not options["filename"]:
        raise InvalidInput("storage_options", sorted(map(str, options)), "an object with a filename")
    if unknown := set(map(str, options)) - {"filename", "expires_after", "public_url"}:
        raise InvalidInput("storage_options", sorted(unknown), "only filename, expires_after and public_url")
    _check_public_url(options.get("public_url"))
    _check_stored_seconds("storage_options.expires_after", options.get("expires_after"))


def _check_public_url(wish: object) -> None:
    field = "storage_options.public_url"
    if isinstance(wish, Mapping) and set(wish) <= {"expires_after"}:
        _check_stored_seconds(f"{field}.expires_after", wish.get("expires_after"))
    elif wish is not None and not isinstance(wish, bool):
        raise InvalidInput(field, wish, 'True, False or {"expires_after": seconds}')


def _check_stored_seconds(field: str, seconds: object) -> None:
    low, high = STORED_FILE_SECONDS
    if seconds is not None and (
        isinstance(seconds, bool) or not isinstance(seconds, int) or not low <= seconds <= high
    ):
        raise InvalidInput(field, seconds, f"{low} to {high} seconds")


def _is_https(address: object) -> bool:
    """Return whether an address is https; http is allowed on this machine, for the emulator and tests."""
    try:
        parts = urlsplit(address) if isinstance(address, str) else None
    except ValueError:
        return False
    if parts is None or not parts.hostname:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in ("127.0.0.1", "::1", "localhost"))
