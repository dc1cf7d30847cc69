"""Decoding of HTTP responses: (status, headers, body) in; a job, an acceptance or an error out.

The API responds in many formats, some of them against its own specification. Each branch names the section of the
contract that it follows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_grokvideo.core.answers import (
    excerpt,
    first_number,
    first_text,
    json_object,
    number_of,
    object_in,
    readable,
    status_word,
    text_of,
    ticks_of,
)
from airflow_provider_grokvideo.core.error_answers import (
    OF_ANYBODY,
    ErrorAnswer,
    error_of_a_document,
    is_of_a_framework,
    read_error,
)
from airflow_provider_grokvideo.core.errors import (
    AmbiguousSubmit,
    AuthenticationFailed,
    GrokVideoError,
    OutOfCredits,
    RateLimited,
    RequestRejected,
    ServiceUnavailable,
    VideoModerated,
)
from airflow_provider_grokvideo.core.jobs import Done, Expired, Failed, Job, Moderated, Pending, StoredFile, usd
from airflow_provider_grokvideo.core.redaction import foreign
from airflow_provider_grokvideo.core.retrying import retry_after

_DONE = {"done", "completed", "complete", "succeeded", "success"}
_FAILED = {"failed", "error", "cancelled", "canceled"}
_EXPIRED = {"expired"}
_PENDING = {"pending", "queued", "processing", "in_progress", "running", "submitted"}

_PARTS_OF_A_VIDEO = frozenset({"url", "duration", "respect_moderation", "file_output", "storage_error"})

_QUERY_FAILED = {408, 409, 429}
"""On a poll these say that the question failed, not the video (§6.4)."""

_ABOUT_THE_CALL = {401, 403, 408, 409, 429}
"""These speak of the caller or the moment, unless the words are those of a content refusal (contract §7)."""

_NOT_PASSED_ON = frozenset({*range(400, 408), 410, 411, *range(413, 418), 421, 422, 426, 428, 429, 431, 451})
"""With these a gateway refuses to pass a submit on; with any other it may have done so before it answered."""

_OF_THE_WAY = frozenset({*range(300, 400), 405, 406, 407, 411, 417, 421, 426, 428, 431, 451, 499})
"""On a poll these come from what lies between: the API has no reason for them (contract §7)."""

_WORD_LENGTH = 60

_LONGEST_ID = 512

_WORDS_OF_A_JOB = frozenset(
    {"status", "video", "response", "data", "request_id", "id", "progress", "error", "code", "url"}
)
"""A poll's answer with none of these keys is not the API's (contract §5.1)."""

_AN_ID = re.compile(r'\\*"request_id\\*"\s*:\s*\\*"([^"\\]{1,600})\\*"')
"""A request id anywhere in a text, in JSON and in JSON that is a text in JSON."""

_AN_ERROR = re.compile(r'"errors?\\*"\s*:\s*(?!null|\[\]|\{\}|\s)')

_CAPABILITY = re.compile(r"permission|not (?:allowed|authorized|permitted|enabled)|access|\bacls?\b", re.I)
_BLOCKED = re.compile(r"\b(?:blocked|disabled|suspended|banned|deactivated)\b", re.I)


@dataclass(frozen=True)
class Accepted:
    """The service accepted a submit and will bill it."""

    request_id: str


def decode(
    status: int,
    headers: Mapping[str, str],
    body: bytes | str,
    *,
    request_id: str = "",
    uploads: bool = False,
    now: float | None = None,
) -> Job | GrokVideoError:
    """Decode the response to ``GET /videos/{request_id}`` (§6.4).

    Args:
        status: HTTP status.
        headers: Response headers; any case.
        body: The raw body, as bytes or as text.
        request_id: The polled request; taken from the body if not given.
        uploads: The request has ``output.upload_url``, so done without a link is a success (§3.5).
        now: Epoch seconds, to read a ``Retry-After`` date.

    Returns:
        The job, or an error of the poll, which says nothing about the video: `RateLimited` and `ServiceUnavailable` are
        temporary, `AuthenticationFailed` and `RequestRejected` (a redirect) are not.
    """
    answer = json_object(body)
    request_id = request_id or first_text(answer, "request_id", "id")
    if status == 202 or (status in (200, 204) and not body.strip()):
        return _pending(request_id, answer)
    if 200 <= status < 300:
        if answer is None or (answer and not _WORDS_OF_A_JOB & answer.keys()):
            return _not_the_apis(status, body, answer).about(request_id=request_id)
        return _from_document(request_id, answer, uploads=uploads)
    error = read_error(body, answer)
    if status in _OF_THE_WAY or (status != 429 and not error.is_the_apis):
        # A proxy, a challenge or a captive portal speaks: it knows neither the video nor the key.
        return _not_the_apis(status, body, answer).about(request_id=request_id)
    return _from_error(request_id, status, headers, error, now)


def _from_error(
    request_id: str, status: int, headers: Mapping[str, str], error: ErrorAnswer, now: float | None
) -> Job | GrokVideoError:
    """Decode an error of the API on a poll (§6.4, §7)."""
    if 400 <= status < 500 and status != 429 and error.refuses_content():
        return Moderated(request_id, error.code, error.text, error.cost_ticks)
    if status in (404, 410):
        return Expired(request_id, str(error))
    about_the_call = status in {401, 402, 403} | _QUERY_FAILED or not 400 <= status < 500
    if about_the_call or error.speaks_of_key():
        return _refusal(status, headers, error, now).about(request_id=request_id)
    if error.speaks_of_moderation():
        return Moderated(request_id, error.code, error.text, error.cost_ticks)
    return Failed(request_id, error.code or f"http_{status}", error.text, error.cost_ticks)


def decode_submit(
    status: int, headers: Mapping[str, str], body: bytes | str, *, now: float | None = None
) -> Accepted | GrokVideoError:
    """Decode the response to a submit (§3, §6.3, §7).

    A 4xx of the API proves that nothing was accepted, and so does the page of a gateway that refuses to pass a request
    on. A 5xx, a gateway's time-out, or a success without a usable request id proves nothing: the request may have been
    accepted and billed, so the submission is ambiguous.
    """
    answer = json_object(body)
    if 200 <= status < 300:
        request_id = first_text(answer, "request_id", "id")
        request_id = request_id if is_request_id(request_id) else _only_id(body)
        if request_id:
            return Accepted(request_id)
        return AmbiguousSubmit(f"the service answered HTTP {status} without a request id: {excerpt(body)!r}")
    error = read_error(body, answer)
    if status >= 500:
        return AmbiguousSubmit(f"the service answered the submit with HTTP {status} ({error})")
    if _is_foreign(status, body, error):
        if status not in _NOT_PASSED_ON:
            return AmbiguousSubmit(f"a gateway answered the submit with HTTP {status} ({error})")
        return _not_the_apis(status, body, answer)
    unfit = status != 429 and (
        error.refuses_content()
        or (status not in _ABOUT_THE_CALL and error.speaks_of_moderation() and not error.speaks_of_key())
    )
    if 400 <= status < 500 and unfit:
        return VideoModerated(
            f"content moderation refused the request with HTTP {status} ({error})",
            code=error.code or "moderated",
            cost_usd=None if (cost := usd(error.cost_ticks)) is None else f"{cost.normalize():f}",
            advice="Nothing was accepted. Change the prompt or the input media; the same input would be refused again.",
        )
    return _refusal(status, headers, error, now)


def _only_id(body: bytes | str) -> str:
    """Return the one request id in the body of an accepted submit that something wrapped, cut or doubled; else nothing.

    Polling an id that is none costs nothing; an id that is lost is a paid video that nobody can fetch. A page is not
    searched, and where an error is told, a ``request_id`` may be a gateway's own.
    """
    text = readable(body)
    if text.startswith("<") or _AN_ERROR.search(text):
        return ""
    found = {value.strip() for value in _AN_ID.findall(text)}
    only = found.pop() if len(found) == 1 else ""
    return only if is_request_id(only) else ""


def is_request_id(text: str) -> bool:
    """Return whether a text can be a request id: printable ASCII, not too long, and not only dots."""
    return bool(text.strip(".")) and text.isprintable() and text.isascii() and len(text) <= _LONGEST_ID


def decode_document(
    status: int, headers: Mapping[str, str], body: bytes | str, *, now: float | None = None
) -> dict[str, Any] | GrokVideoError:
    """Decode the response to any other call: its JSON object, or an error."""
    answer = json_object(body)
    if 200 <= status < 300:
        if answer is not None:
            return answer
        return ServiceUnavailable(f"the service answered HTTP {status} without a JSON object")
    error = read_error(body, answer)
    if _is_foreign(status, body, error):
        return _not_the_apis(status, body, answer)
    return _refusal(status, headers, error, now)


def _is_foreign(status: int, body: bytes | str, error: ErrorAnswer) -> bool:
    """Say whether an error that answers another call than a poll comes from something between us and the API.

    The JSON reader's text for 422 and an empty body are the API's own; 413 and 429 mean the same whoever says them.
    """
    if error.is_the_apis or status < 400 or status in (413, 429) or not body.strip():
        return False
    return status != 422 or body.lstrip()[:1] in (b"<", "<", b"{", "{")


def _not_the_apis(status: int, body: bytes | str, answer: Mapping[str, Any] | None) -> ServiceUnavailable:
    """Return the error of an answer that is not in the API's form and says nothing about videos or keys (§6.4)."""
    shown = excerpt(body) if answer is None else foreign(json.dumps(answer))
    what = f"HTTP {status}{_ODD.get(status, '')} with a response that is not the API's: {shown[:150]!r}"
    if 300 <= status < 400:
        what = f"HTTP {status}, a redirect; redirects are not followed because they lose the API key"
    return ServiceUnavailable(
        what,
        advice=(
            "A proxy, firewall or login page answered instead of the API. Check the network, the proxy settings and "
            "the connection's host. A retry helps if this is temporary."
        ),
    )


_ODD = {407: " (the proxy requires a login)"}


def _pending(request_id: str, answer: Mapping[str, Any] | None) -> Job:
    # A 202 may be empty, JSON or text; all mean pending (§5.1).
    return Pending(request_id, _progress(answer or {}))


def _from_document(request_id: str, answer: dict[str, Any], *, uploads: bool) -> Job | GrokVideoError:
    inner = answer.get("response")
    if isinstance(inner, dict) and ("video" in inner or "error" in inner):
        answer = {**answer, **inner}
    word = status_word(answer)
    if (word in OF_ANYBODY or is_of_a_framework(answer)) and not _has_a_part_of_an_end(answer):
        return _not_the_apis(200, b"", answer).about(request_id=request_id)
    if word in _FAILED:
        # An error that is only a text is believed here, whatever it says: the contract has it (§5.1, P13).
        return _failed(request_id, answer)
    if word in _EXPIRED:
        return Expired(request_id, "the service reported it expired")
    if word in _DONE or (not word and _link(answer)):
        return _done(request_id, answer, uploads=uploads)
    if not word and answer.get("error"):
        # Without a status word only a whole error is believed: gateways answer {"error": "..."} with 200, too.
        error = error_of_a_document(answer)
        if not error.is_the_apis or not error.code or error.speaks_of_the_call():
            return _not_the_apis(200, b"", answer).about(request_id=request_id)
        return _failed(request_id, answer)
    unknown = foreign(word, _WORD_LENGTH) if word and word not in _PENDING else None
    return Pending(request_id, _progress(answer), unknown)


def _has_a_part_of_an_end(answer: dict[str, Any]) -> bool:
    """Say whether more than a status word speaks for an end: gateways add ``data``, ``model`` and an ``error``, too."""
    if _link(answer) or ticks_of(answer) is not None or _PARTS_OF_A_VIDEO & object_in(answer, "video").keys():
        return True
    error = error_of_a_document(answer)
    return error.is_the_apis and bool(error.code) and not error.speaks_of_the_call()


def _done(request_id: str, answer: dict[str, Any], *, uploads: bool) -> Job:
    video = object_in(answer, "video")
    url = _link(answer)
    stored = _stored_file(video)
    if not url:
        if video.get("respect_moderation") is False:
            return Moderated(request_id, "respect_moderation", "the result was withheld", ticks_of(answer))
        if not uploads and stored is None:
            return Failed(request_id, "missing_url", "the service reported done but sent no link", ticks_of(answer))
    return Done(
        request_id=request_id,
        url=url,
        duration=first_number(video.get("duration"), answer.get("duration")),
        model=foreign(text_of(answer.get("model")) or "", 100) or None,
        cost_ticks=ticks_of(answer),
        file=stored,
        storage_error=foreign(text_of(video.get("storage_error")) or "", 300) or None,
    )


def _failed(request_id: str, answer: dict[str, Any]) -> Job:
    error = error_of_a_document(answer)
    kind = Moderated if error.speaks_of_moderation() else Failed
    return kind(request_id, error.code or "unknown", error.text, error.cost_ticks)


_NO_CAPABILITY = (
    "The API key works but lacks a permission. Allow the video endpoints and this model in the xAI console "
    "(API keys > access list), or use another model."
)


def _refusal(status: int, headers: Mapping[str, str], error: ErrorAnswer, now: float | None) -> GrokVideoError:
    """Return the error of an answer that is about the call and not about a video (§7)."""
    said = f"the service answered HTTP {status} ({error})"
    if status == 402 or (status in (403, 429) and error.speaks_of_money(status)):
        return OutOfCredits(said)
    if status == 429:
        return RateLimited(said, retry_after=retry_after(headers, now))
    if 300 <= status < 400:
        return RequestRejected(
            f"the service redirected (HTTP {status}); redirects are not followed because they lose the API key",
            advice="Set the connection's host to the final URL, https://api.x.ai/v1 by default.",
        )
    if status in (401, 403) or (400 <= status < 500 and status not in (408, 409) and error.speaks_of_key()):
        words = str(error)
        lacks = status == 403 and not error.speaks_of_key() and _CAPABILITY.search(words)
        return AuthenticationFailed(said, advice=_NO_CAPABILITY if lacks and not _BLOCKED.search(words) else None)
    if status in (408, 409) or status >= 500 or status < 200:
        return ServiceUnavailable(said)
    if error.speaks_of_retention():
        return RequestRejected(
            said,
            advice=(
                "Nothing was accepted or billed. The team has zero data retention, so the service stores no video: set "
                "deliver_via='upload' and a destination in S3."
            ),
        )
    return RequestRejected(said)


def _link(answer: Mapping[str, Any]) -> str | None:
    """Return the video's address; the order is that of §6.4."""
    video = object_in(answer, "video")
    data = answer.get("data")
    first = data[0] if isinstance(data, list) and data and isinstance(data[0], dict) else {}
    # A login page's {"url": ..., "status": "success"} is no video: a flat link comes with its length, a listed one with
    # the id, or with a status word that is not anybody's (contract §5.1).
    word = status_word(answer)
    own_word = bool(word) and word not in OF_ANYBODY
    flat = answer.get("url") if own_word or "duration" in answer else None
    listed = first.get("url") if own_word or "id" in answer else None
    candidates = (
        video.get("url"),
        object_in(video, "file_output").get("public_url"),
        flat,
        listed,
    )
    return next((link for link in candidates if isinstance(link, str) and link.strip()), None)


def _stored_file(video: Mapping[str, Any]) -> StoredFile | None:
    stored = object_in(video, "file_output")
    file_id = text_of(stored.get("file_id"))
    # It becomes a part of a path.
    return StoredFile(file_id, text_of(stored.get("public_url"))) if file_id and is_request_id(file_id) else None


def _progress(answer: Mapping[str, Any]) -> int | None:
    number = number_of(answer.get("progress"))
    return None if number is None else max(0, min(100, int(number)))
