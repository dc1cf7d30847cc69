"""Results of a poll: ``Job = Pending | Done | Moderated | Failed | Expired``."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

TICKS_PER_USD = 10**10
"""The unit of ``cost_in_usd_ticks`` (contract §4)."""


def usd(ticks: int | None) -> Decimal | None:
    """Return the dollars of a number of ticks, exactly."""
    return None if ticks is None else Decimal(ticks) / TICKS_PER_USD


@dataclass(frozen=True)
class Pending:
    """Accepted and not finished.

    Attributes:
        request_id: The request.
        progress: 0 to 100, or None; approximate, may stand still and jump (contract §5.5).
        word: A status word that is unknown to this package; the request is polled again until the deadline.
    """

    request_id: str = ""
    progress: int | None = None
    word: str | None = None


@dataclass(frozen=True)
class StoredFile:
    """The output as a file stored by xAI, beyond the temporary link (contract §5.3).

    Attributes:
        file_id: xAI's id.
        public_url: A URL that needs no key, if one was requested.
        filename: Its name, if it was found by its name.
    """

    file_id: str
    public_url: str | None = None
    filename: str | None = None


@dataclass(frozen=True)
class Done:
    """The video is finished.

    Attributes:
        request_id: The request.
        url: The temporary link, or None if the output went to an upload address or a stored file only.
        duration: Seconds as reported by xAI; the file may differ (contract §3.3).
        model: The billed model; retired names are redirected (contract §4).
        cost_ticks: The billed cost in 1/10^10 USD, or None if xAI did not report it.
        file: The stored output, if one was requested.
        storage_error: Why storing failed, if it did; the temporary link still works then.
    """

    request_id: str = ""
    url: str | None = None
    duration: float | None = None
    model: str | None = None
    cost_ticks: int | None = None
    file: StoredFile | None = None
    storage_error: str | None = None


@dataclass(frozen=True)
class Moderated:
    """Content moderation blocked the video; it is usually billed in full (contract §5.2)."""

    request_id: str = ""
    code: str = ""
    message: str = ""
    cost_ticks: int | None = None


@dataclass(frozen=True)
class Failed:
    """xAI could not make the video.

    Attributes:
        request_id: The request.
        code: An open string; xAI documents five (contract §5.1).
        message: xAI's message.
        cost_ticks: The billed cost, or None if xAI did not report it.
    """

    request_id: str = ""
    code: str = "unknown"
    message: str = ""
    cost_ticks: int | None = None


@dataclass(frozen=True)
class Expired:
    """xAI does not know the request, or no longer (contract §5.1)."""

    request_id: str = ""
    message: str = ""


Job = Pending | Done | Moderated | Failed | Expired
"""The result of a poll."""

FinalJob = Done | Moderated | Failed | Expired
"""The result of a poll of an ended request."""
