"""The answers on the wire: every shape of contract §5 and §7 as plain values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

HTML = "<!doctype html><html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>"
_REASONS = {
    400: "invalid-argument",
    401: "unauthenticated:no-credentials",
    403: "permission-denied",
    404: "not-found",
    429: "resource-exhausted",
    500: "internal",
    503: "unavailable",
}


@dataclass(frozen=True)
class Answered:
    """An HTTP answer: status, JSON body or ready text, headers. ``json`` wins; with neither the body is empty."""

    status: int
    json: Any = None
    text: str | None = None
    content_type: str | None = None
    headers: dict[str, str] = field(default_factory=dict)


def error(status: int, code: str, message: str) -> Answered:
    """The native error: flat ``code`` and ``error``."""
    return Answered(status, {"code": code, "error": message})


def plain(status: int, message: str) -> Answered:
    """An error as axum writes it: plain text."""
    return Answered(status, text=message, content_type="text/plain; charset=utf-8")


def page(status: int, title: str) -> Answered:
    """An HTML page, as a gateway in between writes it."""
    return Answered(status, text=HTML.format(title=title), content_type="text/html")


def trouble(status: int, body: str, retry_after: str | None) -> Answered:
    """A scripted error in one of the body kinds: json, html, text, empty, or gateway (JSON that is not the API's)."""
    message = f"emulated answer {status}"
    if body == "html":
        answer = page(status, message)
    elif body == "text":
        answer = plain(status, message)
    elif body == "empty":
        answer = Answered(status)
    elif body == "gateway":
        answer = Answered(status, {"message": message, "request": "gw-1"})
    else:
        answer = error(status, _REASONS.get(status, "internal" if status >= 500 else "invalid-argument"), message)
    if retry_after is not None:
        answer.headers["retry-after"] = retry_after
    return answer


FEE_TICKS = 500_000_000
"""What a refusal costs that names a bill, in 1/10^10 USD; whether video has such a fee is unknown (contract §5.2)."""


def refused(status: int, ticks: int | None = None) -> Answered:
    """A refusal by the content rules as it is seen for the whole API (contract §7); it names the key's id."""
    code = "permission-denied" if status == 403 else "Client specified an invalid argument"
    message = (
        "Content violates usage guidelines. Team: 1b6d2c1e, API key ID: 9f2d6c1a, Model: grok-imagine-video, "
        "Failed check: SAFETY_CHECK_TYPE_DATA_LEAKAGE"
    )
    answer = error(status, code, message)
    return answer if ticks is None else Answered(status, {**answer.json, "usage": usage(ticks)})


def no_credit(status: str) -> Answered:
    """A team that cannot pay, in one of the ways it is seen (A4)."""
    codes = {"402": "personal-team-blocked:spending-limit", "403": "permission-denied", "429": "resource-exhausted"}
    message = "Your team has used all available credits or reached its monthly spending limit."
    return error(int(status), codes[status], message)


def no_capability() -> Answered:
    """A key that works and may not do this (A11)."""
    return error(403, "permission-denied", "The caller does not have permission to execute the specified operation.")


def not_found(request_id: str) -> Answered:
    """A request id the service does not know (P15)."""
    return error(404, "not-found", f"No deferred video found for request_id {request_id}.")


def pending(poll: int, progress: int, model: str, body: str, shape: str, request_id: str) -> Answered:
    """A job that runs (P1 to P3). ``look`` counts from 1; with ``alternate`` the odd polls have an empty body."""
    if shape == "200":
        return Answered(200, {"status": "pending"})
    if shape == "no-status":
        return Answered(200, {"request_id": request_id})
    if body == "empty" or (body == "alternate" and poll % 2 == 1):
        return Answered(202)
    return Answered(202, {"status": "pending", "progress": progress, "model": model})


def usage(ticks: int) -> dict[str, int]:
    """The cost as it stands in terminal answers."""
    return {"cost_in_usd_ticks": ticks}


def done(shape: str, request_id: str, model: str, video: dict[str, Any], ticks: int) -> Answered:
    """A finished job in one of five shapes (P4 to P6 and the nested one of gRPC gateways)."""
    body = {"status": "done", "progress": 100, "model": model, "video": video, "usage": usage(ticks)}
    if shape == "old":
        body = {"video": video, "model": model}
    elif shape == "flat":
        body = {"url": video["url"], "duration": video["duration"]}
    elif shape == "openai":
        body = {"id": request_id, "status": "completed", "data": [{"url": video["url"]}]}
    elif shape == "nested":
        body = {"status": "done", "response": {"video": video, "model": model, "usage": usage(ticks)}}
    return Answered(200, body)


def moderated(variant: str, model: str, seconds: int | float, ticks: int) -> Answered:
    """A blocked job (P9 to P11, P23, P24), billed in full."""
    if variant in ("d", "e"):
        return refused(403 if variant == "d" else 400, ticks)
    message = "Generated video rejected by content moderation."
    if variant == "a":
        video = {"url": None, "duration": seconds, "respect_moderation": False}
        return Answered(200, {"status": "done", "progress": 100, "model": model, "video": video, "usage": usage(ticks)})
    if variant == "b":
        return Answered(400, {"code": "imagine:content-moderated", "error": message, "usage": usage(ticks)})
    failure = {"code": "invalid_argument", "message": message}
    return Answered(200, {"status": "failed", "error": failure, "usage": usage(ticks)})


def failed(code: str, message: str, as_string: bool = False) -> Answered:
    """A failed job (P12, P13)."""
    return Answered(200, {"status": "failed", "error": message if as_string else {"code": code, "message": message}})


def expired() -> Answered:
    """An expired job (P14)."""
    return Answered(200, {"status": "expired"})
