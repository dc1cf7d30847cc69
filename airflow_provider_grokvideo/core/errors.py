"""Errors of this package, with what each one means and what to do about it.

::

    GrokVideoError
      RequestRejected         xAI refused the request           change the task's arguments
        InvalidInput          an argument is invalid            change the task's arguments; nothing was sent
      AuthenticationFailed    the API key was refused           change the connection
      OutOfCredits            the team cannot pay               add credits, or raise the spending limit
      RateLimited             HTTP 429                          retry later
      ServiceUnavailable      no usable response                retry
      AmbiguousSubmit         the submission is unconfirmed     check the xAI console, then adopt or resubmit
      VideoFailed             xAI could not make the video      a retry is a new purchase
        VideoModerated        content moderation blocked it     change the prompt or the input media
      VideoExpired            xAI does not know the request     a retry is a new purchase
      WaitTimeout             not finished by the deadline      resume the request later
      DeliveryFailed          bought, but not delivered         retry; there is no new charge
      SpendLimitExceeded      more expensive than the limit     raise the limit
      RowsFailed              too few rows have their video     see the result table
      JournalCorrupt          the journal cannot be read        check the log of the earlier try
      JournalUnavailable      the journal cannot be reached     retry
      LedgerUnavailable       the ledger cannot be reached      retry
      EventRejected           the trigger event is invalid      check the triggerer's provider version

``retry_helps`` says whether a retry can end differently *without a new purchase*. Operators turn all other errors into
Airflow's fail-without-retry exception.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from typing_extensions import Self


class GrokVideoError(Exception):
    """Base class of all errors of this package.

    The message has parts that different layers fill in: the core states the fact, the client adds xAI's
    ``x-request-id``, the hook the connection, and the operator the request.

    Args:
        what: The fact in one sentence, without a full stop.
        request_id: The video's request id, if there is one.
        conn_id: The Airflow connection that was used.
        service_id: xAI's ``x-request-id`` of the failed call; xAI support asks for it.
        client_id: The ``x-client-request-id`` of a submit, the same in all its attempts (contract §6.3). The journal
            stores it as the record's token.
        advice: What to do; defaults to the advice of the class.
    """

    retry_helps: bool = True
    resubmits: bool = False
    """Whether ``resubmit_on`` allows a retry of the task to submit again."""

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
        """Add ids that a lower layer did not have; ids that are set already stay."""
        self.request_id = self.request_id or request_id
        self.conn_id = self.conn_id or conn_id
        self.service_id = self.service_id or service_id
        self.client_id = self.client_id or client_id
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle by state, because the constructors of the subclasses differ."""
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
    """xAI refused the request. Nothing was accepted or billed; a retry would be refused again."""

    retry_helps = False
    advice = "Nothing was accepted or billed. Change the task's arguments; a retry would be refused again."


class InvalidInput(RequestRejected):
    """An argument is missing or invalid. Nothing was sent or billed; a retry would fail the same way.

    Args:
        field: The invalid argument.
        value: Its value; None where it is missing. The message shows it shortened and without data.
        allowed: The allowed values; the message puts it after "expected".
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
        problem = f"missing {field}" if value is None else f"invalid {field}={shorten(value)}"
        super().__init__(f"{problem}: expected {allowed}", conn_id=conn_id)


class AuthenticationFailed(GrokVideoError):
    """The API key is missing, wrong, blocked or lacks a permission. A retry fails until the key changes."""

    retry_helps = False
    advice = (
        "Set the connection's password to a valid xAI API key (Admin > Connections, type Grok video), "
        "then run 'airflow connections test'."
    )


class OutOfCredits(GrokVideoError):
    """The xAI team has no credits left or reached its spending limit. A retry fails until that changes."""

    retry_helps = False
    advice = "Add credits or raise the spending limit in the xAI console, then clear the task."


class RateLimited(GrokVideoError):
    """xAI's rate limit was exceeded (HTTP 429). Nothing was accepted or billed; a later retry can succeed.

    Args:
        retry_after: The seconds of the response's ``Retry-After`` header, if there is one.
    """

    advice = "Nothing was accepted or billed. Retry later, and limit parallel submits with an Airflow pool."

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
    """The service cannot be reached or sent no usable response. This call submitted nothing; a retry can succeed."""

    advice = "A retry helps if this is temporary."


class AmbiguousSubmit(GrokVideoError):
    """The submit was sent but its response was lost, so the submission is unconfirmed: it may be billed.

    The API has no list of requests and no idempotency key (contract §6.3), so the provider cannot find out. A retry
    stops with the same error unless ``resubmit_on`` has ``unconfirmed``, because it could be a second purchase.
    """

    retry_helps = False
    advice = (
        "xAI may have accepted and billed the video. Check the xAI console. To submit again anyway, set "
        "resubmit_on=['unconfirmed']."
    )


class VideoFailed(GrokVideoError):
    """xAI accepted the request and could not make the video. A retry is a new purchase.

    Args:
        code: xAI's error code, an open string such as ``internal_error`` (contract §5.1).
        cost_usd: The billed cost, if xAI reported it.
    """

    retry_helps = False
    advice = "Submitting it again is a new purchase."

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
    """Content moderation blocked the request or its result; it is usually billed (contract §5.2).

    A retry with the same input would be blocked and billed again.
    """

    advice = "Change the prompt or the input media; the same input would be blocked and billed again."


class VideoExpired(GrokVideoError):
    """xAI does not know the request, or no longer (404, 410 or ``expired``). A retry is a new purchase."""

    retry_helps = False
    advice = (
        "Check that the connection uses the account that submitted the request. If it does, the video is gone; "
        "submitting it again is a new purchase."
    )


class WaitTimeout(GrokVideoError):
    """The request was not finished by the deadline. It keeps running and will be billed.

    A retry resumes it at no new charge if the task has a journal.
    """

    advice = "The request keeps running at xAI and will be billed; the API has no cancel."


class DeliveryFailed(GrokVideoError):
    """The video is paid, but the download, check or storage failed. A retry delivers it at no new charge."""

    advice = "The video is paid. Retry to download it again at no new charge, while xAI still has it."


class SpendLimitExceeded(GrokVideoError):
    """The request costs more than the task or a budget allows. Nothing was sent; a retry checks the limits again.

    Args:
        why: The exceeded limits, without the price.
    """

    retry_helps = False
    advice = (
        "Nothing was sent or billed. Raise the limit, request a shorter or smaller video, or set on_limit='ask' to "
        "approve the price in Required Actions."
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
    """The journal record of an earlier try cannot be read. Nothing was sent; a retry would fail the same way."""

    retry_helps = False
    advice = (
        "Nothing was sent. Run this task with the newest provider version that it ran with before. Check the log of "
        "the earlier try, and remove the record only if nothing was bought."
    )


class JournalUnavailable(GrokVideoError):
    """The journal cannot be read or written now. This try sent nothing; a retry can succeed."""

    advice = "Nothing was sent. A retry helps if this is temporary."


class RowsFailed(GrokVideoError):
    """Too few rows of a table have their video. Whether a retry helps depends on what became of the others."""

    retry_helps = False
    advice = "See the result table for what became of each row."


class LedgerUnavailable(GrokVideoError):
    """A budget applies and the ledger cannot be read or written. This try sent nothing; a retry can succeed."""

    advice = "Nothing was sent. A retry helps if this is temporary."


class EventRejected(GrokVideoError):
    """The trigger event has an invalid format, version or request id. The task fails; a retry does not help."""

    retry_helps = False
    advice = "Check that workers and triggerers run the same version of this provider."


def _rebuilt(kind: type[GrokVideoError], args: tuple[Any, ...], state: Mapping[str, Any]) -> GrokVideoError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error


def shorten(value: object, limit: int = 120) -> str:
    """Return a repr for a message: without ``data:`` payload or URL query, at most `limit` characters."""
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
    """A text that is shown without quotes, because it is a description already."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)
