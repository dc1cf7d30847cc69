"""Rounds of a bulk task: the requests in flight, when their trigger wakes the worker, and its event."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_provider_grokvideo.core.errors import EventRejected, GrokVideoError, shorten
from airflow_provider_grokvideo.core.polling.events import error_of
from airflow_provider_grokvideo.core.purchases.records import Record

WAKE_SHARE = 4
"""The worker is woken when one in this many requests of the flight has finished: each round costs the start of a
process, and a finished video should not wait long."""

WAKE_AFTER = 30.0
"""Seconds that a finished request waits for others at most."""

LULL = 0.5
"""Seconds without a further finished request after which a worker is started: of requests that finish together the
first ones alone are not worth the start of a process, and the polls of the others are under way."""

LONGEST_LULL = 3.0
"""Seconds that the start of a worker waits for further requests at most."""

MOST_NAMED = 200
"""Requests that fit into the arguments or the event of a trigger, which Airflow keeps in one cell of a table."""

LARGEST = 16_000
"""Bytes of an event as JSON, and of the arguments of a trigger."""

REFUSALS = 3
"""Polls in a row whose refusal ends the wait of the whole flight: not the requests are at fault but the connection."""

SAY_EVERY = 15.0
"""Seconds between two lines of progress, if there was any."""

SAY_AT_LEAST_EVERY = 60.0
"""Seconds between two lines of progress if there was none."""

VERSION = 1

_ROOM_FOR_THE_REST = 1_000
_LONGEST_TEXT = 400


@dataclass(frozen=True)
class InFlight:
    """A request that was submitted and whose end is not known.

    Attributes:
        request_id: The request.
        submitted_at: Epoch seconds of the submit, if known.
        deadline: Epoch seconds after which the wait ends; the request itself keeps running.
        kind: The group of its latency, the request's ``kind()``; None if unknown.
        uploads: xAI uploads the video itself, so done without a link is a success.
    """

    request_id: str
    submitted_at: float | None
    deadline: float
    kind: str | None = None
    uploads: bool = False


def flight_of(
    records: Mapping[str, Sequence[Record]], *, patience: float, latest: float | None, most: int | None = None
) -> list[InFlight]:
    """Return the requests in flight by the journal of the rows, those submitted first at the beginning.

    Args:
        records: The records of each row.
        patience: Seconds from a submit to the deadline of its request.
        latest: Epoch seconds of the last deadline; None if there is none.
        most: Return at most so many; None returns all.
    """
    found = [
        _in_flight(record, patience, latest)
        for of_row in records.values()
        for record in of_row
        if record.phase == "submitted" and record.outcome is None and record.request_id
    ]
    return sorted(found, key=lambda each: each.submitted_at or 0.0)[:most]


def _in_flight(record: Record, patience: float, latest: float | None) -> InFlight:
    deadline = (record.sent_at or 0.0) + patience
    return InFlight(
        record.request_id or "",
        record.submitted_at,
        deadline if latest is None else min(deadline, latest),
        uploads=record.upload_uri is not None,
    )


def pack(flight: Sequence[InFlight]) -> dict[str, Any] | None:
    """Return a flight as compact plain JSON; None if it does not fit into the arguments of a trigger.

    Times are kept to a hundredth of a second.
    """
    since = math.floor(min((each.submitted_at or each.deadline for each in flight), default=0.0))
    kinds: dict[tuple[str | None, bool], int] = {}
    requests = [
        [
            each.request_id,
            None if each.submitted_at is None else round(each.submitted_at - since, 2),
            round(each.deadline - since, 2),
            kinds.setdefault((each.kind, each.uploads), len(kinds)),
        ]
        for each in flight
    ]
    packed = {"since": since, "kinds": [list(each) for each in kinds], "requests": requests}
    return packed if _size(packed) <= LARGEST - _ROOM_FOR_THE_REST else None


def pack_some(flight: Sequence[InFlight]) -> dict[str, Any]:
    """Return as much of a flight as fits, from its beginning."""
    count = len(flight)
    while (packed := pack(flight[:count])) is None:
        count = count * 7 // 8
    return packed


def unpack(packed: Mapping[str, Any]) -> list[InFlight]:
    """Return the flight that :func:`pack` has packed."""
    since, kinds = packed["since"], packed["kinds"]
    return [
        InFlight(
            request_id,
            None if submitted is None else since + submitted,
            since + deadline,
            kinds[number][0],
            kinds[number][1],
        )
        for request_id, submitted, deadline, number in packed["requests"]
    ]


def wake_at(flight: int, finished: Sequence[float], now: float) -> float | None:
    """Return the epoch seconds at which the worker is worth waking; None while nothing has finished.

    That is now if a quarter of the flight has finished, or as many as an event can name, or all; else the moment when
    the first one is 30 s old.

    Args:
        flight: Number of requests in flight at the beginning of the wait.
        finished: Epoch seconds when each of the finished ones was found, in this order.
        now: Epoch seconds.
    """
    if len(finished) >= _enough(flight):
        return now
    return max(now, finished[0] + WAKE_AFTER) if finished else None


def start_at(flight: int, finished: Sequence[float], now: float) -> float | None:
    """Return the epoch seconds at which a worker is worth starting for what has finished; None while nothing has.

    As :func:`wake_at`, and a moment later as long as more requests finish.
    """
    wake = wake_at(flight, finished, now)
    if wake is None or wake > now or len(finished) >= min(flight, MOST_NAMED):
        return wake
    enough = _enough(flight)
    since = finished[enough - 1] if len(finished) >= enough else finished[0] + WAKE_AFTER
    return max(now, min(finished[-1] + LULL, since + LONGEST_LULL))


def refuses_all(flight: int, refused: int) -> bool:
    """Return whether so many refused polls in a row end the wait of the whole flight."""
    return refused > 0 and refused >= min(REFUSALS, _enough(flight))


def worth_saying(said_at: float, said: int, finished: int, now: float) -> bool:
    """Return whether to log progress.

    Args:
        said_at: Epoch seconds of the last line.
        said: Number of finished requests in it.
        finished: Their number now.
        now: Epoch seconds.
    """
    return now >= said_at + (SAY_EVERY if finished != said else SAY_AT_LEAST_EVERY)


def _enough(flight: int) -> int:
    return min(math.ceil(flight / WAKE_SHARE), MOST_NAMED)


@dataclass(frozen=True)
class RoundEvent:
    """The result of a trigger's wait for a flight.

    Attributes:
        ended: Requests whose wait has ended; the worker polls them again and judges. None: look at all.
        problem: Name of the class of the error that ended the wait of all; None if there was none.
        message: Its message.
        advice: Its advice.
        service_id: xAI's ``x-request-id`` of the failed call.
    """

    ended: tuple[str, ...] | None
    problem: str | None = None
    message: str | None = None
    advice: str | None = None
    service_id: str | None = None

    def payload(self) -> dict[str, Any]:
        """Return the event as plain JSON with its version; ids that do not fit into 16 kB are left out."""
        payload: dict[str, Any] = {
            "version": VERSION,
            "ended": None if self.ended is None else [*self.ended],
            "problem": self.problem,
            "message": self.message,
            "advice": self.advice,
            "service_id": self.service_id,
        }
        return payload if _size(payload) <= LARGEST else {**payload, "ended": None}

    def as_error(self, conn_id: str | None = None) -> GrokVideoError | None:
        """Return the error that ended the wait of all, in its own class; None if there was none."""
        if self.problem is None:
            return None
        return error_of(self.problem, self.message, self.advice, self.service_id).about(conn_id=conn_id)


def round_event(ended: Collection[str] | None, problem: GrokVideoError | None = None) -> RoundEvent:
    """Return the event of a wait.

    Args:
        ended: Requests whose wait has ended; None: the worker looks at all.
        problem: What ended the wait of all.
    """
    named = None if ended is None else tuple(ended)
    if problem is None:
        return RoundEvent(named)
    return RoundEvent(
        named,
        type(problem).__name__,
        problem.what[:_LONGEST_TEXT],
        problem.what_to_do[:_LONGEST_TEXT],
        problem.service_id and problem.service_id[:_LONGEST_TEXT],
    )


def parse(payload: object) -> RoundEvent:
    """Check an event that came through Airflow and return it as a :class:`RoundEvent`.

    Raises:
        EventRejected: It is not an object, has another version, or names something else than requests.
    """
    if not isinstance(payload, Mapping):
        raise EventRejected(f"the trigger's event is not an object: {shorten(payload)}")
    if payload.get("version") != VERSION:
        raise EventRejected(
            f"the trigger's event has version {payload.get('version')!r}, but this worker expects {VERSION}"
        )
    # Without the key it is not known which ones, so it is no list of none.
    ended = payload.get("ended", "")
    if ended is not None and not (isinstance(ended, list | tuple) and all(isinstance(each, str) for each in ended)):
        raise EventRejected(f"the trigger's event has no list of requests: {shorten(dict(payload))}")
    words = {name: payload.get(name) for name in ("problem", "message", "advice", "service_id")}
    return RoundEvent(
        None if ended is None else tuple(ended),
        **{name: word if isinstance(word, str) else None for name, word in words.items()},
    )


def _size(value: object) -> int:
    return len(json.dumps(value))
