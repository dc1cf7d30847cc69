"""The trigger's event, and its check by the worker.

It has no link and no price: the worker polls once more and gets both fresh, and Airflow writes events into the task
log.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from airflow_provider_grokvideo.core import errors
from airflow_provider_grokvideo.core.errors import EventRejected, GrokVideoError, shorten

VERSION = 1

Outcome = Literal["settled", "abandoned"]


@dataclass(frozen=True)
class Event:
    """The result of a trigger's wait.

    Attributes:
        request_id: The request.
        outcome: ``settled`` if the request ended in any way; ``abandoned`` if only the wait ended.
        error: Name of the error class that ended the wait.
        message: Its message.
        advice: Its advice.
        service_id: xAI's ``x-request-id`` of the failed call.
        submitted_at: Epoch seconds of the submit, for the manifest.
    """

    request_id: str
    outcome: Outcome
    submitted_at: float | None = None
    error: str | None = None
    message: str | None = None
    advice: str | None = None
    service_id: str | None = None

    def payload(self) -> dict[str, Any]:
        """Return the event as plain JSON with its version."""
        return {
            "version": VERSION,
            "request_id": self.request_id,
            "outcome": self.outcome,
            "submitted_at": self.submitted_at,
            "error": self.error,
            "message": self.message,
            "advice": self.advice,
            "service_id": self.service_id,
        }

    def as_error(self, conn_id: str | None = None) -> GrokVideoError | None:
        """Return the error that ended the wait, in its own class; None if the request settled."""
        if self.outcome == "settled":
            return None
        problem = error_of(self.error, self.message, self.advice, self.service_id)
        return problem.about(request_id=self.request_id, conn_id=conn_id)


def error_of(name: str | None, message: str | None, advice: str | None, service_id: str | None) -> GrokVideoError:
    """Return the error that an event tells of, in its own class; of the base class if the class is unknown."""
    kind = getattr(errors, name or "", GrokVideoError)
    if not (isinstance(kind, type) and issubclass(kind, GrokVideoError)):
        kind = GrokVideoError
    if issubclass(kind, errors.InvalidInput):
        # What was wrong with which argument is in the message already.
        kind = errors.RequestRejected
    problem: GrokVideoError = kind(
        message or "the trigger stopped waiting and gave no reason", service_id=service_id, advice=advice
    )
    return problem


def abandoned(request_id: str, error: GrokVideoError, submitted_at: float | None = None) -> Event:
    """Return the event of a wait that ended with `error`."""
    return Event(
        request_id,
        "abandoned",
        submitted_at,
        error=type(error).__name__,
        message=error.what,
        advice=error.what_to_do,
        service_id=error.service_id,
    )


def parse(payload: object) -> Event:
    """Check an event that came through Airflow and return it as an :class:`Event`.

    Raises:
        EventRejected: It is not an object, has another version, no request id, or an unknown outcome.
    """
    if not isinstance(payload, Mapping):
        raise EventRejected(f"the trigger's event is not an object: {shorten(payload)}")
    request_id = payload.get("request_id")
    if not isinstance(request_id, str) or not request_id:
        raise EventRejected(f"the trigger's event has no request id: {shorten(dict(payload))}")
    if payload.get("version") != VERSION:
        raise EventRejected(
            f"the trigger's event has version {payload.get('version')!r}, but this worker expects {VERSION}",
            request_id=request_id,
        )
    outcome: Any = payload.get("outcome")
    if outcome not in get_args(Outcome):
        raise EventRejected(f"the trigger's event has the unknown outcome {outcome!r}", request_id=request_id)
    return Event(
        request_id=request_id,
        outcome=outcome,
        submitted_at=_time(payload.get("submitted_at")),
        error=_text(payload.get("error")),
        message=_text(payload.get("message")),
        advice=_text(payload.get("advice")),
        service_id=_text(payload.get("service_id")),
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _time(value: object) -> float | None:
    """Return epoch seconds; None if the value is not a plausible time."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value < 4e9 else None
