"""Polling policy: when a request is polled, and what follows from a poll.

``poll(watch, seen, now, curve)`` is the whole policy; trigger, sensor and blocking operator only carry it out. The
order of many waits is decided in :mod:`airflow_provider_grokvideo.core.polling.queue`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Protocol
from zlib import crc32

from typing_extensions import assert_never

from airflow_provider_grokvideo.core.errors import (
    AuthenticationFailed,
    GrokVideoError,
    InvalidInput,
    OutOfCredits,
    RateLimited,
    RequestRejected,
    WaitTimeout,
)
from airflow_provider_grokvideo.core.jobs import Done, Expired, Failed, FinalJob, Job, Moderated, Pending
from airflow_provider_grokvideo.core.numbers import checked_number
from airflow_provider_grokvideo.core.polling.rate_limit import LONGEST_CLOSURE

DEFAULT_INTERVAL = 5.0
"""Seconds between polls without a schedule, and after a failed poll, doubled with each further one in a row, as in
xAI's client (contract §6.1)."""

SHORTEST_GAP = 1.0
"""Seconds that the schedule leaves between two polls, however likely the video is to finish."""

LONGEST_GAP = 15.0
"""Seconds between polls of a request that has taken longer than any known one, and after many misses."""

GRID = 0.25
"""Planned polls fall on multiples of this many seconds: one wake-up for ten polls costs half as much as ten."""

JITTER = 0.1
"""A pause becomes shorter or longer by up to this part of it, so that simultaneous submits are not polled together."""

FIRST_POLL = 10.0
"""Seconds from the beginning of a wait to the first poll. The fastest published request took 20 (contract §5.5), and
Airflow 3.3 fails a task that resumes before its scheduler has processed the deferral; a busy scheduler needed more than
5 s for that."""

PROPAGATION = 10.0
"""Seconds after a submit in which an unknown request id does not end the wait (contract §6.4)."""

DEFAULT_TIMEOUT = 900.0
"""Default timeout in seconds (contract §6.1); the slowest published request took 240."""


class Schedule(Protocol):
    """Latency of a kind of request; see :class:`airflow_provider_grokvideo.core.polling.latency.Curve`."""

    def done(self, age: float) -> float:
        """Return the share of requests that are finished at an age."""

    def when(self, seen: float) -> float:
        """Return the age at which to poll a request that was pending at age `seen`."""


_SAY_EVERY = 60.0


LONGEST_TIMEOUT = 30 * 86_400.0
"""The longest timeout in seconds: no request takes days, and Airflow's dates are limited."""


def checked_interval(value: object, field: str = "poll_interval") -> None:
    """Check a task's ``poll_interval``.

    Raises:
        InvalidInput: It is not a number of seconds from 0 to an hour.
    """
    if value is not None:
        checked_number(value, field, least=0, most=3600, expected="more than 0 and at most 3600 seconds, or None")


def checked_timeout(value: object, field: str = "timeout") -> float:
    """Return a timeout in seconds, given in seconds or as a timedelta.

    Raises:
        InvalidInput: It is neither, or not within 30 days.
    """
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    expected = "more than 0 seconds and at most 30 days, as a number of seconds or a timedelta"
    try:
        return checked_number(seconds, field, least=0, most=LONGEST_TIMEOUT, expected=expected)
    except InvalidInput:
        raise InvalidInput(field, value, expected) from None


@dataclass(frozen=True)
class Watch:
    """One wait for one request; plain data that survives a restart.

    Attributes:
        request_id: The request.
        since: Epoch seconds when it was submitted, or when the wait began if that is not known.
        deadline: Epoch seconds after which the wait ends.
        kind: The group of its latency (a request's ``kind()``).
        poll_interval: Seconds between polls; None lets the schedule decide.
        not_before: Epoch seconds of the earliest poll.
        polls: Number of polls so far.
        seen_at: Epoch seconds of the last poll that found it pending; 0 if there was none.
        progress: Its progress then.
        misses: Failed polls in a row.
        last_miss: Why the last of them failed.
        word: An unknown status word of the service, if there is one.
        uploads: The request has ``output.upload_url``, so done without a link is a success.
    """

    request_id: str
    since: float
    deadline: float
    kind: str | None = None
    poll_interval: float | None = None
    not_before: float = 0.0
    polls: int = 0
    seen_at: float = 0.0
    progress: int | None = None
    misses: int = 0
    last_miss: str | None = None
    word: str | None = None
    uploads: bool = False


@dataclass(frozen=True)
class PollAgain:
    """Poll again at epoch seconds `at`, with the updated `watch`."""

    at: float
    watch: Watch


@dataclass(frozen=True)
class Settled:
    """The request has ended."""

    job: FinalJob


@dataclass(frozen=True)
class Abandoned:
    """The wait has ended, but the request may still be running; `error` says why."""

    error: GrokVideoError


Verdict = PollAgain | Settled | Abandoned


def first_poll(watch: Watch, now: float, curve: Schedule | None = None) -> float:
    """Return the epoch seconds of the first poll: when the video could be ready, but not before it is allowed."""
    earliest = max(now, watch.not_before)
    if _interval(watch) or curve is None:
        return earliest
    planned = watch.since + curve.when(0.0) * (1 + JITTER * _spread(watch))
    # The first poll is never after the deadline.
    return max(earliest, min(_on_grid(planned), watch.deadline))


def poll(watch: Watch, seen: Job | GrokVideoError, now: float, curve: Schedule | None = None) -> Verdict:
    """Return what follows from one poll.

    Args:
        watch: The wait.
        seen: The result of the poll, or its error.
        now: Epoch seconds.
        curve: The latency of the kind; without it, polls are one interval apart.

    A failed poll does not end the wait, because the request keeps running: such polls are repeated until the deadline.
    An invalid key or base URL ends it at once, because every further poll would fail.
    """
    polled = replace(watch, polls=watch.polls + 1)
    match seen:
        case Done() | Moderated() | Failed():
            return Settled(seen)
        case Expired():
            if now < watch.since + PROPAGATION:
                return _after_miss(polled, seen.message, now)
            return Settled(seen)
        case Pending():
            return _after_pending(polled, seen, now, curve)
        case AuthenticationFailed() | OutOfCredits() | RequestRejected():
            return Abandoned(seen.about(request_id=watch.request_id))
        case RateLimited():
            pause = min(seen.retry_after or 0.0, LONGEST_CLOSURE)
            return _after_miss(polled, seen.what, now, at_least=pause)
        case GrokVideoError():
            return _after_miss(polled, seen.what, now)
        case _:
            assert_never(seen)


def _after_pending(watch: Watch, seen: Pending, now: float, curve: Schedule | None) -> PollAgain | Abandoned:
    interval = _interval(watch)
    if interval or curve is None:
        at = now + (interval or DEFAULT_INTERVAL)
    else:
        pause = _planned(watch, seen, now, curve) * (1 + JITTER * _spread(watch))
        at = _on_grid(now + max(SHORTEST_GAP, pause))
    seen_now = replace(watch, seen_at=now, progress=seen.progress, misses=0, last_miss=None, word=seen.word)
    return _again(seen_now, now, at)


def _planned(watch: Watch, seen: Pending, now: float, curve: Schedule) -> float:
    """Return the seconds to the next poll by what is known of the kind, and by the reported progress."""
    age = max(0.0, now - watch.since)
    pause = LONGEST_GAP if curve.done(age) > _BEYOND else curve.when(age) - age
    before, progress = watch.progress, seen.progress
    if before is not None and progress is not None and before < progress < 100:
        # It may stand still and jump (contract §5.5), so it can only halve the pause.
        left = (now - watch.seen_at) * (100 - progress) / (progress - before)
        pause = max(min(pause, left), pause / 2)
    return pause


def _after_miss(watch: Watch, why: str, now: float, at_least: float = 0.0) -> PollAgain | Abandoned:
    missed = replace(watch, misses=watch.misses + 1, last_miss=why)
    pause = _interval(watch) or min(DEFAULT_INTERVAL * 2.0 ** min(watch.misses, 8), LONGEST_GAP)
    return _again(missed, now, now + max(pause, at_least))


def _again(watch: Watch, now: float, at: float) -> PollAgain | Abandoned:
    if now >= watch.deadline:
        return Abandoned(_timeout(watch, now))
    # The last poll falls on the deadline itself, so that no finished video is reported as unfinished.
    return PollAgain(min(at, watch.deadline), watch)


def _interval(watch: Watch) -> float | None:
    """Return the user's interval; 0 counts as unset."""
    return watch.poll_interval if watch.poll_interval and watch.poll_interval > 0 else None


def share(watch: Watch) -> float:
    """Return a number from 0 to 1: the same for the same poll of the same request, evenly spread over many."""
    return crc32(f"{watch.request_id}/{watch.polls}".encode()) / 0xFFFFFFFF


def _on_grid(at: float) -> float:
    return round(at / GRID) * GRID


def _spread(watch: Watch) -> float:
    return 2 * share(watch) - 1


_BEYOND = 0.999


def _timeout(watch: Watch, now: float) -> WaitTimeout:
    what = f"the request was not finished {_spell(now - watch.since)} after its submission"
    if watch.misses:
        polls = "poll" if watch.misses == 1 else f"{watch.misses} polls"
        what += f"; the last {polls} failed ({watch.last_miss})"
    elif watch.word:
        what += f"; its status is {watch.word!r}, which is unknown to this version"
    return WaitTimeout(what, request_id=watch.request_id)


@dataclass(frozen=True)
class LogThrottle:
    """When each kind of message about a wait was last logged, in epoch seconds."""

    at: Mapping[str, float] = field(default_factory=dict)


def progress_line(watch: Watch, seen: Job | GrokVideoError, now: float) -> str:
    """Return one line for the task log: status, progress, elapsed time."""
    elapsed = _spell(now - watch.since)
    match seen:
        case Pending(progress=None, word=None):
            return f"Request {watch.request_id} is pending after {elapsed}"
        case Pending(progress=progress, word=None):
            return f"Request {watch.request_id} is pending, {progress} %, after {elapsed}"
        case Pending(word=word):
            return f"Request {watch.request_id} has the status {word!r}, unknown to this version, after {elapsed}"
        case AuthenticationFailed() | OutOfCredits() | RequestRejected():
            return f"Cannot poll request {watch.request_id} after {elapsed}: {seen.what}"
        case GrokVideoError():
            return f"Poll of request {watch.request_id} failed after {elapsed}; will poll again: {seen.what}"
        case _:
            return f"Request {watch.request_id} is {type(seen).__name__.lower()} after {elapsed}"


def worth_saying(said: LogThrottle, seen: Job | GrokVideoError, now: float) -> bool:
    """Return whether to log this poll: each kind of result at once, then once a minute."""
    return now >= said.at.get(_kind(seen), float("-inf")) + _SAY_EVERY


def now_said(said: LogThrottle, seen: Job | GrokVideoError, now: float) -> LogThrottle:
    """Return the state after a poll was logged."""
    return LogThrottle({**said.at, _kind(seen): now})


def _kind(seen: Job | GrokVideoError) -> str:
    word = seen.word if isinstance(seen, Pending) else None
    return f"{type(seen).__name__} {word or ''}"


def _spell(seconds: float) -> str:
    whole = max(0, round(seconds))
    return f"{whole} s" if whole < 120 else f"{whole // 60} min {whole % 60:02d} s"
