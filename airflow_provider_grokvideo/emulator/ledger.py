"""Ledger entries of the emulator: submissions and requests, as frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

_SHOWN = 48


@dataclass(frozen=True)
class Start:
    """One accepted submission.

    Args:
        request_id: the id that the emulator returned, even if the response was lost.
        mode: text-to-video, image-to-video, reference-to-video, edit or extend.
        model: the canonical model name that is billed.
        prompt: as received, directives included.
        body: as received, data: URIs shortened.
        accepted_at: epoch seconds.
        billed_ticks: full price; 0 for a job that fails at the service.
        state: pending, done, moderated, failed, expired or gone.
        notes: what the emulator did instead of the real thing, such as using a stand-in for a public URL.
    """

    request_id: str
    mode: str
    model: str
    prompt: str
    body: Mapping[str, Any]
    accepted_at: float
    billed_ticks: int
    state: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Seen:
    """One request that reached either origin. ``headers`` holds only those of interest, never the key.

    ``status`` is None while no answer was begun, as for a connection that was cut; ``id`` numbers the requests of this
    process.
    """

    origin: str
    method: str
    path: str
    status: int | None
    headers: Mapping[str, str]
    id: int = field(default_factory=count().__next__)


HEADERS_OF_INTEREST = (
    "user-agent",
    "content-type",
    "accept",
    "range",
    "x-client-request-id",
    "x-idempotency-key",
)


def shorten(value: Any) -> Any:
    """Return a JSON value with its data: URIs cut to their beginning and their length."""
    if isinstance(value, str) and value.startswith("data:") and len(value) > _SHOWN:
        return f"{value[:_SHOWN]}… ({len(value)} characters)"
    if isinstance(value, Mapping):
        return {key: shorten(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shorten(item) for item in value]
    return value
