"""Values of a card as the page shows them: addresses, times, amounts, arguments."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import pendulum

from airflow_provider_grokvideo.core.cards import YEAR_10000, dollars
from airflow_provider_grokvideo.core.jobs import usd
from airflow_provider_grokvideo.core.media import source_of


def is_path(address: str | None) -> bool:
    """Return whether an address is a path that Airflow's ObjectStorage reads, including local paths."""
    return address is not None and source_of(address) == "path"


def file_name(address: str | None) -> str | None:
    """Return the file name of a path; a URL or an id unchanged."""
    if address is None or not is_path(address):
        return address
    return PurePosixPath(address).name or address


def web_link(address: object) -> str | None:
    """Return an address if it is a safe link: https, or http to this machine."""
    if not isinstance(address, str) or "…" in address:
        # The mark of a shortened address.
        return None
    try:
        parts = urlsplit(address)
    except ValueError:
        return None
    local = parts.scheme == "http" and parts.hostname in ("127.0.0.1", "localhost", "::1")
    return address if (parts.scheme == "https" or local) and parts.hostname else None


def iso(epoch: float | None) -> str | None:
    """Return epoch seconds as ISO 8601 in UTC."""
    return None if epoch is None else pendulum.from_timestamp(epoch).to_iso8601_string()


def words(value: Any) -> str:
    """Return an argument as text: the source of an image or clip, or else the value."""
    if isinstance(value, Mapping):
        named = [value.get(name) for name in ("known_as", "path", "url", "file_id", "voice_id") if value.get(name)]
        if named and set(value) <= {"path", "url", "file_id", "voice_id", "known_as", "sha256"}:
            return file_name(str(named[0])) or ""
        return ", ".join(f"{name}: {words(part)}" for name, part in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(words, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def of_type(value: object, kinds: tuple[type, ...]) -> object:
    """Return a value of a manifest if it has the expected type: users may edit cards."""
    fits = isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool))
    return value if fits and not (isinstance(value, float) and not isfinite(value)) else None


def usd_of(ticks: int | None) -> str | None:
    """Return ticks as dollars in plain digits."""
    return None if ticks is None else dollars(usd(ticks))


def epoch(text: object) -> float | None:
    """Return an ISO 8601 text as epoch seconds; None if it is none."""
    try:
        moment = pendulum.parse(text) if isinstance(text, str) else None
    except (ValueError, OverflowError):
        return None
    at = moment.timestamp() if isinstance(moment, pendulum.DateTime) else -1.0
    return at if 0 <= at < YEAR_10000 else None
