"""What a poll of a request can find: ``Job = Pending | Done | Moderated | Failed | Expired``."""

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
        request_id: The request that was looked at.
        progress: 0 to 100, or None; approximate, may stand still and jump (contract §5.5).
        word: A status word this package does not know; the request is looked at again until the deadline.
    """

    request_id: str = ""
    progress: int | None = None
    word: str | None = None


@dataclass(frozen=True)
class StoredFile:
    """Where the service keeps the output beyond the temporary link (contract §5.3).

    Attributes:
        file_id: The service's id.
        public_url: An address that needs no key, if one was asked for.
        filename: Its name, where it was found by that.
    """

    file_id: str
    public_url: str | None = None
    filename: str | None = None


@dataclass(frozen=True)
class Done:
    """Finished.

    Attributes:
        request_id: The request that was looked at.
        url: The temporary link, or None if the output went to an upload address or a stored file only.
        duration: Seconds, as the service says; measure the file before believing it (contract §3.3).
        model: The model that was billed; retired names are redirected (contract §4).
        cost_ticks: What was billed, in 1/10^10 USD, or None if the service did not say.
        file: The stored output, if one was asked for.
        storage_error: Why storing failed, if it did; the temporary link is still good then.
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
    """Blocked by the service's content rules; usually billed in full (contract §5.2)."""

    request_id: str = ""
    code: str = ""
    message: str = ""
    cost_ticks: int | None = None


@dataclass(frozen=True)
class Failed:
    """Given up by the service.

    Attributes:
        request_id: The request that was looked at.
        code: An open string; the service documents five (contract §5.1).
        message: The service's words.
        cost_ticks: What was billed, or None if the service did not say.
    """

    request_id: str = ""
    code: str = "unknown"
    message: str = ""
    cost_ticks: int | None = None


@dataclass(frozen=True)
class Expired:
    """Not known to the service, or no longer (contract §5.1)."""

    request_id: str = ""
    message: str = ""


Job = Pending | Done | Moderated | Failed | Expired
"""What a poll found."""

FinalJob = Done | Moderated | Failed | Expired
"""What a poll found when nothing more will change."""
