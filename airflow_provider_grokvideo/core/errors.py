"""Every error this package raises, sorted by who can do something about it.

::

    GrokVideoError
      RequestRejected         the request is wrong            change the task
        InvalidInput          we saw it first               change the task; nothing was sent or billed
      AuthenticationFailed    the key or connection is wrong  change the connection
      OutOfCredits            the team cannot pay             top up, or raise the spending limit
      RateLimited             too fast                        a retry helps
      ServiceUnavailable      unreachable or broken           a retry helps
      AmbiguousSubmit         maybe bought, maybe not         a person decides
      VideoFailed             the service gave up             a retry is a new purchase
        VideoModerated        it was not to be shown        change the prompt or input
      VideoExpired            the service forgot it           a retry is a new purchase
      WaitTimeout             not finished by the deadline    the request goes on; pick it up later
      DeliveryFailed          bought but not stored           a retry fetches it again
      SpendLimitExceeded      more expensive than allowed             raise the limit
      JournalCorrupt          the memory is unreadable        a person decides
      JournalUnavailable      the memory cannot be reached    a retry helps
      LedgerUnavailable       the budgets cannot be reached   a retry helps
      EventRejected           a trigger event makes no sense  look at the triggerer

``retry_helps`` says whether doing the same thing again can end differently *without a new purchase*; operators turn
the others into Airflow's fail-without-retry exception.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from typing_extensions import Self


class GrokVideoError(Exception):
    """Base of the family.

    The message is assembled from parts, so that each layer adds what it knows: core the fact, the client the
    service's ``x-request-id``, the hook the connection, the operator the request.

    Args:
        what: The fact, one sentence, without a full stop.
        request_id: The video's request id, once there is one.
        conn_id: The Airflow connection that was used.
        service_id: The service's ``x-request-id`` of the failing call; xAI support asks for it.
        client_id: The ``x-client-request-id`` of a submit, the same in all its attempts (contract §6.3); in the journal
            it is the record's token.
        advice: What to do; defaults to the advice of the class.
    """

    retry_helps: bool = True
    resubmits: bool = False
    """Whether the user allowed a retry of the task to submit again."""

    advice: ClassVar[str] = ""

    def __init__(
        self,
        what: str,
        *,
        request_id: str | None = None,
        conn_id: str | None = None,
        service_id: str | None = None,
        client_id: str | None = None,
        advice: str | None = None,
    ) -> None:
        super().__init__(what)
        self.what = what
        self.request_id = request_id
        self.conn_id = conn_id
        self.service_id = service_id
        self.client_id = client_id
        self.what_to_do = self.advice if advice is None else advice

    def about(
        self,
        *,
        request_id: str | None = None,
        conn_id: str | None = None,
        service_id: str | None = None,
        client_id: str | None = None,
    ) -> Self:
        """Fill in what a lower layer could not know; what is known already stays."""
        self.request_id = self.request_id or request_id
        self.conn_id = self.conn_id or conn_id
        self.service_id = self.service_id or service_id
        self.client_id = self.client_id or client_id
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle by state, because constructors differ within the family."""
        return _rebuilt, (type(self), self.args, self.__dict__)

    def __str__(self) -> str:
        known = {
            "request": self.request_id,
            "connection": self.conn_id,
            "x-request-id": self.service_id,
            "x-client-request-id": self.client_id,
        }
        facts = ", ".join(f"{name} {value}" for name, value in known.items() if value)
        sentence = f"{self.what} [{facts}]." if facts else f"{self.what}."
        return f"{sentence} {self.what_to_do}".rstrip()


class RequestRejected(GrokVideoError):
    """The request is wrong, by the service's word. Nothing was accepted; a retry repeats the same answer."""

    retry_helps = False
    advice = "Nothing was accepted or billed. Change the task's arguments; a retry would be refused again."


class InvalidInput(RequestRejected):
    """The request is wrong, and we saw it before sending. Nothing was sent; a retry repeats the same check.

    Args:
        field: The operator argument at fault.
        value: What it was; shortened and without data.
        allowed: What it may be.
    """

    advice = "Nothing was sent or billed."

    def __init__(
        self,
        field: str,
        value: object,
        allowed: str,
        *,
        conn_id: str | None = None,
    ) -> None:
        self.field = field
        self.value = value
        self.allowed = allowed
        super().__init__(f"{field}={shorten(value)} is not allowed: {allowed}", conn_id=conn_id)


class AuthenticationFailed(GrokVideoError):
    """The key is missing, wrong, blocked or not permitted. A retry fails the same way until the key changes."""

    retry_helps = False
    advice = (
        "Put a valid xAI API key into the connection's password (Admin > Connections, type Grok video) "
        "and run 'airflow connections test' for it."
    )


class OutOfCredits(GrokVideoError):
    """The team has no credits left or hit its spending limit. A retry fails the same way until that changes."""

    retry_helps = False
    advice = "Add credits or raise the spending limit in the xAI console, then clear the task."


class RateLimited(GrokVideoError):
    """The service asks to slow down (HTTP 429). Nothing was accepted; a retry later helps.

    Args:
        retry_after: Seconds the service asked to wait, if it said so.
    """

    advice = "Nothing was accepted or billed; a retry later helps. Limit parallel submits with a pool."

    def __init__(
        self,
        what: str,
        *,
        retry_after: float | None = None,
        request_id: str | None = None,
        conn_id: str | None = None,
        service_id: str | None = None,
        advice: str | None = None,
    ) -> None:
        super().__init__(what, request_id=request_id, conn_id=conn_id, service_id=service_id, advice=advice)
        self.retry_after = retry_after


class ServiceUnavailable(GrokVideoError):
    """The service cannot be reached or answers nonsense. No start was accepted by this call; a retry helps."""

    advice = "A retry helps if this passes."


class AmbiguousSubmit(GrokVideoError):
    """The start was sent but its answer was lost. It may have been accepted and billed.

    The API has no list and no idempotency key (contract §6.3), so nobody can tell from here. A retry would buy
    again if it was accepted.
    """

    retry_helps = False
    advice = (
        "The video may have been accepted and billed. Look into the xAI console; buy again only on purpose, with "
        "resubmit_on=['unconfirmed']."
    )


class VideoFailed(GrokVideoError):
    """The service accepted the request and gave up on it. A retry is a new purchase.

    Args:
        code: The service's code, an open string such as ``internal_error`` (contract §5.1).
        cost_usd: What the service billed for it, if it said so.
    """

    retry_helps = False
    advice = "Trying again is a new purchase."

    def __init__(
        self,
        what: str,
        *,
        code: str = "unknown",
        cost_usd: str | None = None,
        request_id: str | None = None,
        conn_id: str | None = None,
        service_id: str | None = None,
        advice: str | None = None,
    ) -> None:
        super().__init__(what, request_id=request_id, conn_id=conn_id, service_id=service_id, advice=advice)
        self.code = code
        self.cost_usd = cost_usd


class VideoModerated(VideoFailed):
    """The service's content rules blocked the request or its result; it is usually billed (contract §5.2).

    A retry with the same input is blocked and billed again.
    """

    advice = "Change the prompt or the input media; the same input would be blocked and billed again."


class VideoExpired(GrokVideoError):
    """The service no longer knows the request (404, 410 or ``expired``). A retry is a new purchase."""

    retry_helps = False
    advice = (
        "Check that the connection belongs to the account that submitted it. Otherwise the video is gone, and another "
        "one is a new purchase."
    )


class WaitTimeout(GrokVideoError):
    """The deadline passed while the service was still working. The request goes on and is billed."""

    advice = "It goes on at the service and is billed; nothing can cancel it."


class DeliveryFailed(GrokVideoError):
    """The video is finished and paid, but could not be fetched, checked or stored. Fetching again is free."""

    advice = "The video is paid; fetching it again is free while the service keeps it."


class SpendLimitExceeded(GrokVideoError):
    """The request costs more than the task or a budget allows. Nothing was sent; a retry repeats the same check.

    Args:
        why: The limits it exceeds, without the price.
    """

    retry_helps = False
    advice = (
        "Nothing was sent or billed. Raise the limit, ask for a shorter or smaller video, or let a person decide with "
        "on_limit='ask'."
    )

    def __init__(
        self,
        what: str,
        *,
        why: str = "",
        request_id: str | None = None,
        conn_id: str | None = None,
        service_id: str | None = None,
        advice: str | None = None,
    ) -> None:
        super().__init__(what, request_id=request_id, conn_id=conn_id, service_id=service_id, advice=advice)
        self.why = why


class JournalCorrupt(GrokVideoError):
    """What an earlier try remembered cannot be read. Nobody may buy on such ground; a person decides."""

    retry_helps = False
    advice = (
        "Nothing was sent. Run this task with the newest version of the provider that ran it before. Look at the "
        "log of the earlier try; remove the record only if nothing was bought."
    )


class JournalUnavailable(GrokVideoError):
    """What an earlier try remembered cannot be read or written now. Nothing was sent by this try; a retry helps."""

    advice = "Nothing was sent. A retry helps if this passes."


class LedgerUnavailable(GrokVideoError):
    """A budget applies and what was spent cannot be looked up. Nothing was sent by this try; a retry helps."""

    advice = "Nothing was sent. A retry helps if this passes."


class EventRejected(GrokVideoError):
    """A trigger event has the wrong shape, version or request id and is not believed."""

    retry_helps = False
    advice = "Check that worker and triggerer run the same version of this provider."


def _rebuilt(kind: type[GrokVideoError], args: tuple[Any, ...], state: Mapping[str, Any]) -> GrokVideoError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error


def shorten(value: object, limit: int = 120) -> str:
    """Return a repr fit for a message: no payload of a ``data:`` URI, no query of a URL, never longer than `limit`."""
    try:
        text = repr(_harmless(value))
    except Exception:  # noqa: BLE001 - an integer of 5000 digits, or an object of the user's, has no repr
        text = f"<{type(value).__name__}>"
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def _harmless(value: object) -> object:
    match value:
        case str():
            return _harmless_text(value)
        case Mapping():
            return {name: _harmless(part) for name, part in value.items()}
        case list() | tuple():
            return [_harmless(part) for part in value]
    return value


def _harmless_text(text: str) -> str:
    stripped = text.strip()
    if stripped[:5].lower() == "data:":
        head, comma, payload = stripped.partition(",")
        return _Data(
            f"'{head[:60]},…' ({len(payload)} characters)" if comma else f"'data:…' ({len(stripped)} characters)"
        )
    # A query may sign a private address, and user information may be a password.
    scheme, separator, rest = text.partition("://")
    if not separator:
        return text
    place, slash, path = rest.partition("?")[0].partition("/")
    return f"{scheme}://{place.rpartition('@')[2]}{slash}{path}"


class _Data(str):
    """A text that is shown as it is, because it is a description already."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)
