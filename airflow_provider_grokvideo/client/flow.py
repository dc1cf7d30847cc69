"""Calls of the API with their retries, as generators that yield calls and pauses.

The sync and the async client run the same generators (see :mod:`airflow_provider_grokvideo.client.carriers`).
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import random
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, urlencode

from airflow_provider_grokvideo.core import files
from airflow_provider_grokvideo.core.errors import AmbiguousSubmit, GrokVideoError, InvalidInput, ServiceUnavailable
from airflow_provider_grokvideo.core.jobs import Job, StoredFile
from airflow_provider_grokvideo.core.redaction import foreign
from airflow_provider_grokvideo.core.retrying import Answer, TransportFault, delay
from airflow_provider_grokvideo.core.wire import Accepted, decode, decode_document, decode_submit, is_request_id

if TYPE_CHECKING:
    from airflow_provider_grokvideo.core.requests import VideoRequest

T = TypeVar("T")


@dataclass(frozen=True)
class Upload:
    """A file in the multipart body of a call."""

    path: Path
    filename: str
    mime: str


@dataclass(frozen=True)
class Call:
    """An HTTP call as a value.

    Attributes:
        method: HTTP method.
        path: Path below the base URL.
        json: Body.
        upload: A file to send instead of a JSON body.
        form: Form fields before the file.
        paid: The call is a submit, which is billed.
        client_id: The ``x-client-request-id``, the same in all attempts of the call; xAI support can search for it
            (contract §6.3).
    """

    method: str
    path: str
    json: Mapping[str, Any] | None = None
    upload: Upload | None = None
    form: Mapping[str, str] = field(default_factory=dict)
    paid: bool = False
    client_id: str = field(default_factory=lambda: str(uuid.uuid4()))

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


@dataclass(frozen=True)
class Reply:
    """A raw HTTP response."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Pause:
    """Wait this many seconds."""

    seconds: float


Flow = Generator[Call | Pause, "Reply | TransportFault | None", T]
"""Yields calls and pauses, receives their outcome, returns the decoded result."""


def submit(request: VideoRequest, *, client_id: str | None = None) -> Flow[str]:
    """Submit a request. It is sent again only if xAI provably did not accept it.

    Args:
        request: The request.
        client_id: The ``x-client-request-id`` of all attempts; a random one if not given.

    Returns:
        The request id.

    Raises:
        AmbiguousSubmit: The response was lost or unreadable; the request may be accepted and billed.
        GrokVideoError: It was refused; nothing was accepted.
    """
    call = Call("POST", request.endpoint, json=request.body(), paid=True)
    if client_id is not None:
        call = replace(call, client_id=client_id)
    try:
        reply = yield from _exchange(call)
    except GrokVideoError as error:
        raise error.about(client_id=call.client_id) from error.__cause__
    decoded = decode_submit(reply.status, reply.headers, reply.body, now=time.time())
    if isinstance(decoded, Accepted):
        return decoded.request_id
    raise _named(decoded, reply).about(client_id=call.client_id)


def poll(request_id: str, *, uploads: bool = False, retry: bool = True) -> Flow[Job | GrokVideoError]:
    """Poll a request once.

    Args:
        request_id: The request; any text, it is quoted.
        uploads: The request has ``output.upload_url``.
        retry: Repeat a failed poll at once. Waits poll again anyway and turn this off.

    Returns:
        The job, or the error of the poll.
    """
    if not is_request_id(request_id):
        return InvalidInput("request_id", request_id, "a request id, such as a UUID")
    call = Call("GET", f"/videos/{quote(request_id, safe='')}")
    try:
        reply = yield from _exchange(call, retry=retry)
    except GrokVideoError as error:
        return error.about(request_id=request_id)
    found = decode(reply.status, reply.headers, reply.body, request_id=request_id, uploads=uploads, now=time.time())
    return _named(found, reply) if isinstance(found, GrokVideoError) else found


def document(path: str) -> Flow[dict[str, Any]]:
    """Read one of the free JSON documents (models, key facts)."""
    return (yield from _document(Call("GET", path)))


def upload(file: Upload, *, expires_after: int) -> Flow[str]:
    """Upload an input through ``/v1/files`` and return its file id; xAI deletes it after `expires_after` seconds.

    Raises:
        GrokVideoError: The upload was refused, or its response has no file id.
    """
    # The service reads the fields in order: expires_after has to stand before the file (contract §8).
    call = Call("POST", "/files", upload=file, form={"expires_after": str(expires_after)})
    answer = yield from _document(call)
    file_id = answer.get("id")
    if not isinstance(file_id, str) or not file_id:
        raise ServiceUnavailable(f"the response to the upload of {file.filename} has no file id")
    return file_id


def find_file(filename: str) -> Flow[StoredFile | None]:
    """Find the stored file with exactly this name, on all pages of xAI's list.

    Returns:
        The file; None if there is none, which proves nothing (contract §6.3).

    Raises:
        GrokVideoError: The list could not be read, or it has too many pages.
    """
    words, seen = {"filter": filename, "limit": str(files.PAGE)}, set[str]()
    for _ in range(files.MOST_PAGES):
        answer = yield from _document(Call("GET", f"/files?{urlencode(words, quote_via=quote)}"))
        page = files.page(answer, filename)
        if page.found is not None or page.next is None:
            return page.found
        if page.next in seen:
            break
        seen.add(page.next)
        words["pagination_token"] = page.next
    raise ServiceUnavailable("the service's list of files has too many pages")


def refusal(reply: Reply) -> GrokVideoError:
    """Return the error of a response without the expected file."""
    answer = decode_document(reply.status, reply.headers, reply.body, now=time.time())
    if isinstance(answer, GrokVideoError):
        return _named(answer, reply)
    return _named(ServiceUnavailable(f"the service answered HTTP {reply.status} with an unexpected response"), reply)


def _document(call: Call) -> Flow[dict[str, Any]]:
    reply = yield from _exchange(call)
    answer = decode_document(reply.status, reply.headers, reply.body, now=time.time())
    if isinstance(answer, GrokVideoError):
        raise _named(answer, reply)
    return answer


def _exchange(call: Call, *, retry: bool = True) -> Flow[Reply]:
    attempt = 1
    while True:
        outcome = yield call
        if outcome is None:
            raise TypeError("the client sent no outcome of a call")
        seen = outcome if isinstance(outcome, TransportFault) else Answer(outcome.status, outcome.headers)
        jitter = random()  # noqa: S311 - spreads callers, protects nothing
        pause = delay(attempt, seen, paid=call.paid, now=time.time(), jitter=jitter) if retry else None
        if pause is None:
            if isinstance(outcome, TransportFault):
                raise _lost(call, outcome)
            return outcome
        yield Pause(pause)
        attempt += 1


def _lost(call: Call, fault: TransportFault) -> GrokVideoError:
    if call.paid and fault.kind == "unknown":
        return AmbiguousSubmit(f"the response to {call} was lost: {fault.what}")
    nothing = " Nothing was accepted or billed." if call.paid else ""
    return ServiceUnavailable(
        f"{call} got no response: {fault.what}",
        advice=f"{ServiceUnavailable.advice}{nothing} Check the connection's host (Base URL) and the worker's network.",
    )


def _named(error: GrokVideoError, reply: Reply) -> GrokVideoError:
    return error.about(service_id=foreign(reply.headers.get("x-request-id", ""), 100) or None)
