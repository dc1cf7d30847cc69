"""Retry policy of HTTP calls.

The policy is that of xAI's own TypeScript client (contract §6.2), with one difference: every call that was provably
never sent may be repeated. A submit is not repeated if xAI may have received it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timezone
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import Literal

from airflow_provider_grokvideo.core.errors import GrokVideoError, JournalUnavailable, LedgerUnavailable, RateLimited
from airflow_provider_grokvideo.core.numbers import number_in

MAX_RETRIES = 2
LONGEST_PAUSE = 60.0
"""Longest ``Retry-After`` that a call waits for, in seconds; longer waits are left to Airflow's retry_delay."""

LONGEST_ASKED = 86_400.0
"""Longest ``Retry-After`` that is accepted: a day, in seconds."""

_SAFE_TO_REPEAT = frozenset({408, 409, 429, 500, 502, 503, 504, 529})


@dataclass(frozen=True)
class Answer:
    """Status and headers of an HTTP response."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class TransportFault:
    """A call without a response.

    Attributes:
        kind: ``not_sent`` if the service provably did not receive it (name not found, connection refused, TLS refused);
            ``unknown`` if it may have.
        what: The reason, for the message.
        lasting: An immediate retry would fail the same way (unknown host, untrusted certificate).
    """

    kind: Literal["not_sent", "unknown"]
    what: str = ""
    lasting: bool = False


def delay(
    attempt: int, answer: Answer | TransportFault, *, paid: bool = False, now: float | None = None, jitter: float = 0.0
) -> float | None:
    """Return the seconds to wait before the call may be sent again, or None if it may not.

    Args:
        attempt: Number of the attempt, from 1.
        answer: Its response, or why there is none.
        paid: The call is a submit, which is billed.
        now: Epoch seconds, to read a ``Retry-After`` date.
        jitter: From 0 to 1; adds up to a quarter to the pause, to spread simultaneous callers.
    """
    if attempt > MAX_RETRIES:
        return None
    spread = 1 + jitter / 4
    if isinstance(answer, TransportFault):
        repeatable = answer.kind == "not_sent" or not paid
        return _backoff(attempt, 0.25, 8.0) * spread if repeatable and not answer.lasting else None
    if answer.status == 429:
        asked = retry_after(answer.headers, now)
        # An asked-for pause that is too long to sit out is left to Airflow's own retry.
        if asked is not None:
            # Many tasks get the same pause; none may come sooner, and not all at once.
            return asked * spread if asked <= LONGEST_PAUSE else None
        return _backoff(attempt, 1.0, 30.0) * spread
    if paid or answer.status not in _SAFE_TO_REPEAT:
        return None
    asked = retry_after(answer.headers, now)
    return min(asked, LONGEST_PAUSE) if asked is not None else _backoff(attempt, 0.25, 8.0) * spread


def after_failure(error: BaseException, *, shortest: float) -> float | Literal["fail", "default"]:
    """Return what a task's retry policy does after an error.

    Args:
        error: The error that the task raised.
        shortest: Shortest delay of the next attempt, in seconds.

    Returns:
        Seconds until the next attempt, which uses no retry: after a rate limit or an unreachable journal or ledger.
        ``fail`` for an error that no retry can fix. ``default`` for all other errors, and if ``resubmit_on`` allows a
        retry to submit again.
    """
    if not isinstance(error, GrokVideoError) or error.resubmits:
        return "default"
    match error:
        case RateLimited():
            return float(max(error.retry_after or 0.0, shortest))
        case JournalUnavailable() | LedgerUnavailable():
            return float(shortest)
    return "default" if error.retry_helps else "fail"


def retry_after(headers: Mapping[str, str], now: float | None = None) -> float | None:
    """Return the seconds of a ``Retry-After`` header, given as seconds or as a date; None without a valid one.

    Longer ones are cut to :data:`LONGEST_ASKED`.
    """
    text = next((value for name, value in headers.items() if name.lower() == "retry-after"), None)
    if text is None:
        return None
    seconds = number_in(text)
    if seconds is not None:
        return min(max(0.0, seconds), LONGEST_ASKED) if isfinite(seconds) else None
    try:
        moment = parsedate_to_datetime(text)
    except (TypeError, ValueError, OverflowError):
        return None
    # HTTP dates are in UTC, even without a time zone.
    moment = moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
    return None if now is None else min(max(0.0, moment.timestamp() - now), LONGEST_ASKED)


def _backoff(attempt: int, first: float, longest: float) -> float:
    return min(longest, first * 2.0 ** (attempt - 1))
