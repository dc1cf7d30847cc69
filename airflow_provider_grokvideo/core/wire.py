"""What an answer of the service means: (status, headers, body) in, a job, an acceptance or an error out.

The API answers in many shapes, some of them against its own specification. Each branch names the section of the
contract it believes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

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
from airflow_provider_grokvideo.core.retrying import retry_after

_DONE = {"done", "completed", "complete", "succeeded", "success"}
_FAILED = {"failed", "error", "cancelled", "canceled"}
_EXPIRED = {"expired"}
_PENDING = {"pending", "queued", "processing", "in_progress", "running", "submitted"}

_QUERY_FAILED = {408, 409, 429}
"""On a poll these say that the question failed, not the video (§6.4)."""

_ABOUT_THE_CALL = {401, 403, 408, 409, 429}
"""These speak of the caller or the moment, whatever words stand in their body (§7)."""

_MOST_TICKS = 10**18
"""A bill of a hundred million dollars is none."""

_WORD_LENGTH = 60

_KEY = re.compile(r"\bxai-[A-Za-z0-9_*.-]{4,}")
_TAG = re.compile(r"<(script|style)\b.*?</\1>|<[^>]*>", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True)
class Accepted:
    """The service took a start and will bill it."""

    request_id: str


@dataclass(frozen=True)
class _Complaint:
    """The words of an error answer, wherever they stood."""

    code: str
    text: str
    cost_ticks: int | None

    def speaks_of_key(self) -> bool:
        return self.code.startswith("unauthenticated") or bool(
            re.search(r"\bapi[ _-]?key\b|\bbearer token\b", self.text, re.IGNORECASE)
        )

    def speaks_of_money(self) -> bool:
        return bool(re.search(r"\bcredits?\b|spending[ _-]?limit|\bbilling\b", f"{self.code} {self.text}", re.I))

    def speaks_of_moderation(self) -> bool:
        return bool(re.search(r"moderat|content[ _-]polic|usage[ _-]guideline", f"{self.code} {self.text}", re.I))

    def speaks_of_retention(self) -> bool:
        return bool(re.search(r"\bzdr\b|zero[ _-]data[ _-]retention|\bupload_url\b", self.text, re.IGNORECASE))

    def __str__(self) -> str:
        return ": ".join(part for part in (self.code, self.text) if part) or "no explanation"


def decode(
    status: int,
    headers: Mapping[str, str],
    body: bytes | str,
    *,
    request_id: str = "",
    uploads: bool = False,
    now: float | None = None,
) -> Job | GrokVideoError:
    """Say what the answer to ``GET /videos/{request_id}`` means (§6.4).

    Args:
        status: HTTP status.
        headers: Answer headers; any case.
        body: The raw body, as bytes or as text.
        request_id: The request that was asked about; taken from the body if not given.
        uploads: The request carried ``output.upload_url``, so that done without a link is success (§3.5).
        now: Epoch seconds, to read a ``Retry-After`` date.

    Returns:
        The job, or an error that says something about the question and nothing about the video:
        `RateLimited` and `ServiceUnavailable` pass, `AuthenticationFailed` and `RequestRejected` (a redirect) do not.
    """
    answer = _json_object(body)
    request_id = request_id or _first_text(answer, "request_id", "id")
    if status == 202 or (status in (200, 204) and not body.strip()):
        return _pending(request_id, answer)
    if 200 <= status < 300:
        if answer is None:
            return ServiceUnavailable(
                f"the service answered HTTP {status} with something that is not JSON: {_clean(body)!r}",
                request_id=request_id,
            )
        return _from_document(request_id, answer, uploads=uploads)
    complaint = _complaint(body, answer)
    if status in (404, 410):
        return Expired(request_id, str(complaint))
    if status in (401, 403) or (400 <= status < 500 and complaint.speaks_of_key()):
        return _refusal(status, headers, complaint, now).about(request_id=request_id)
    if status in _QUERY_FAILED or not 400 <= status < 500:
        return _refusal(status, headers, complaint, now).about(request_id=request_id)
    if complaint.speaks_of_moderation():
        return Moderated(request_id, complaint.code, complaint.text, complaint.cost_ticks)
    return Failed(request_id, complaint.code or f"http_{status}", complaint.text, complaint.cost_ticks)


def decode_submit(
    status: int, headers: Mapping[str, str], body: bytes | str, *, now: float | None = None
) -> Accepted | GrokVideoError:
    """Say what the answer to a start means (§3, §6.3, §7).

    A 4xx proves that nothing was accepted. A 5xx, or a success without a request id, proves nothing: the start may
    have been accepted and billed, so it is ambiguous.
    """
    answer = _json_object(body)
    if 200 <= status < 300:
        request_id = _first_text(answer, "request_id", "id")
        if request_id:
            return Accepted(request_id)
        return AmbiguousSubmit(f"the service answered HTTP {status} without a request id: {_clean(body)!r}")
    complaint = _complaint(body, answer)
    if status >= 500:
        return AmbiguousSubmit(f"the service answered the start with HTTP {status} ({complaint})")
    unfit = status not in _ABOUT_THE_CALL and complaint.speaks_of_moderation() and not complaint.speaks_of_key()
    if 400 <= status < 500 and unfit:
        return VideoModerated(
            f"the content rules refused the request with HTTP {status} ({complaint})",
            code=complaint.code or "moderated",
            cost_usd=None if (cost := usd(complaint.cost_ticks)) is None else f"{cost.normalize():f}",
            advice="Nothing was accepted. Change the prompt or the input media; the same would be refused again.",
        )
    return _refusal(status, headers, complaint, now)


def decode_document(
    status: int, headers: Mapping[str, str], body: bytes | str, *, now: float | None = None
) -> dict[str, Any] | GrokVideoError:
    """Say what the answer to any other call means: its JSON object, or an error."""
    answer = _json_object(body)
    if 200 <= status < 300:
        if answer is not None:
            return answer
        return ServiceUnavailable(f"the service answered HTTP {status} with something that is not a JSON object")
    return _refusal(status, headers, _complaint(body, answer), now)


def _pending(request_id: str, answer: Mapping[str, Any] | None) -> Job:
    # A 202 may be empty, JSON or text; all mean pending (§5.1).
    return Pending(request_id, _progress(answer or {}))


def _from_document(request_id: str, answer: dict[str, Any], *, uploads: bool) -> Job:
    inner = answer.get("response")
    if isinstance(inner, dict) and ("video" in inner or "error" in inner):
        answer = {**answer, **inner}
    word = str(answer.get("status") or "").strip().lower()
    if word in _FAILED:
        return _failed(request_id, answer)
    if word in _EXPIRED:
        return Expired(request_id, "the service says it expired")
    if word in _DONE or (not word and _link(answer)):
        return _done(request_id, answer, uploads=uploads)
    if not word and answer.get("error"):
        return _failed(request_id, answer)
    unknown = _redact(word)[:_WORD_LENGTH] if word and word not in _PENDING else None
    return Pending(request_id, _progress(answer), unknown)


def _done(request_id: str, answer: dict[str, Any], *, uploads: bool) -> Job:
    video = _object(answer, "video")
    url = _link(answer)
    stored = _stored_file(video)
    if not url:
        if video.get("respect_moderation") is False:
            return Moderated(request_id, "respect_moderation", "the result was withheld", _ticks(answer))
        if not uploads and stored is None:
            return Failed(request_id, "missing_url", "the service says done but gives no link", _ticks(answer))
    return Done(
        request_id=request_id,
        url=url,
        duration=_first_number(video.get("duration"), answer.get("duration")),
        model=_text(answer.get("model")),
        cost_ticks=_ticks(answer),
        file=stored,
        storage_error=_redact(_text(video.get("storage_error")) or "")[:300] or None,
    )


def _failed(request_id: str, answer: dict[str, Any]) -> Job:
    complaint = _complaint(b"", answer)
    kind = Moderated if complaint.speaks_of_moderation() else Failed
    return kind(request_id, complaint.code or "unknown", complaint.text, complaint.cost_ticks)


def _refusal(status: int, headers: Mapping[str, str], complaint: _Complaint, now: float | None) -> GrokVideoError:
    """Return the error of an answer that is about the call and not about a video (§7)."""
    said = f"the service answered HTTP {status} ({complaint})"
    if status == 429:
        return RateLimited(said, retry_after=retry_after(headers, now))
    if 300 <= status < 400:
        return RequestRejected(
            f"the service redirects (HTTP {status}); redirects are not followed because they lose the API key",
            advice="Set the connection's host to the final address, https://api.x.ai/v1 by default.",
        )
    if status == 402 or (status == 403 and complaint.speaks_of_money()):
        return OutOfCredits(said)
    if status in (401, 403) or (400 <= status < 500 and status not in (408, 409) and complaint.speaks_of_key()):
        return AuthenticationFailed(said)
    if status in (408, 409) or status >= 500 or status < 200:
        return ServiceUnavailable(said)
    if complaint.speaks_of_retention():
        return RequestRejected(
            said,
            advice=(
                "Nothing was accepted or billed. The team has zero data retention, so the service stores no video: set "
                "deliver_via='upload' and a destination in S3."
            ),
        )
    return RequestRejected(said)


def _complaint(body: bytes | str, answer: dict[str, Any] | None) -> _Complaint:
    if answer is None:
        return _Complaint("", _clean(body), None)
    error = answer.get("error")
    nested = error if isinstance(error, dict) else {}
    code = _text(nested.get("code")) or _text(answer.get("code")) or _text(nested.get("type")) or ""
    text = _text(nested.get("message")) or _text(error) or _text(answer.get("message")) or _text(answer.get("detail"))
    return _Complaint(_redact(code)[:200], _redact(text or "")[:500], _ticks(answer))


def _link(answer: Mapping[str, Any]) -> str | None:
    """Return the video's address; the order is that of §6.4."""
    video = _object(answer, "video")
    data = answer.get("data")
    first = data[0] if isinstance(data, list) and data and isinstance(data[0], dict) else {}
    candidates = (
        video.get("url"),
        _object(video, "file_output").get("public_url"),
        answer.get("url"),
        first.get("url"),
    )
    return next((link for link in candidates if isinstance(link, str) and link.strip()), None)


def _stored_file(video: Mapping[str, Any]) -> StoredFile | None:
    stored = _object(video, "file_output")
    file_id = _text(stored.get("file_id"))
    return StoredFile(file_id, _text(stored.get("public_url"))) if file_id else None


def _ticks(answer: Mapping[str, Any]) -> int | None:
    ticks = _object(answer, "usage").get("cost_in_usd_ticks")
    if isinstance(ticks, str) and ticks.isascii() and ticks.isdigit() and len(ticks) < 20:
        ticks = int(ticks)
    if isinstance(ticks, float) and 0 <= ticks < 2**53 and ticks.is_integer():
        ticks = int(ticks)
    return ticks if isinstance(ticks, int) and not isinstance(ticks, bool) and 0 <= ticks <= _MOST_TICKS else None


def _progress(answer: Mapping[str, Any]) -> int | None:
    number = _number(answer.get("progress"))
    return None if number is None else max(0, min(100, int(number)))


def _first_number(*values: object) -> float | None:
    return next((number for value in values if (number := _number(value)) is not None), None)


def _number(value: object) -> float | None:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e9:
        return float(value)
    return None


def _text(value: object) -> str | None:
    if isinstance(value, str) and value.strip():
        return value.strip()
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


def _object(value: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = value.get(name)
    return found if isinstance(found, dict) else {}


def _first_text(answer: Mapping[str, Any] | None, *names: str) -> str:
    return next((text for name in names if answer and (text := _text(answer.get(name)))), "")


def _json_object(body: bytes | str) -> dict[str, Any] | None:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return answer if isinstance(answer, dict) else None


def _clean(body: bytes | str) -> str:
    """Return the readable beginning of a body that is not JSON, such as a gateway's HTML page."""
    beginning = body[:4_000]
    text = _TAG.sub(" ", beginning if isinstance(beginning, str) else beginning.decode("utf-8", "replace"))
    return _redact(" ".join(text.split()))[:300]


def _redact(text: str) -> str:
    """Remove anything that looks like a key: the service quotes wrong ones in part."""
    return _KEY.sub("xai-***", text)
