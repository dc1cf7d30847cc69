"""One HTTP exchange: sent bytes, size and time limits of the response, errors.

Shared by the sync and the async client; it holds no connection.
"""

from __future__ import annotations

import io
import json
import os
import socket
import threading
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx

from airflow_provider_grokvideo.client.account import is_private
from airflow_provider_grokvideo.core import packing
from airflow_provider_grokvideo.core.errors import GrokVideoError, ServiceUnavailable
from airflow_provider_grokvideo.core.redaction import foreign, without_key
from airflow_provider_grokvideo.core.retrying import TransportFault

LARGEST_ANSWER = 2 * 1024 * 1024
"""Largest response of the API in bytes, unpacked: a page of a hundred files has some 30 kB."""

PATIENCE = 2.0
"""Time limit of a whole exchange, as a multiple of that of a single read; it also ends slow bodies."""

PROXIES = ("ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "all_proxy", "https_proxy", "http_proxy")

_UNTRUSTED = "the server's TLS certificate is not trusted"
_UNKNOWN_HOST = "the host name cannot be resolved"
_LASTING = (_UNTRUSTED, _UNKNOWN_HOST)
"""An immediate retry would fail the same way."""


class PublicHost(Exception):
    """A host with a private name, to which plain http is allowed, has a public address."""


class AnswerTooLarge(Exception):
    """A response is larger than any of the API."""


@dataclass
class Sending:
    """Whether a call reached a socket, from httpcore's trace events.

    Args:
        plain: The call uses plain http, which is allowed to private hosts only.

    Attributes:
        began: The request's first bytes were handed to a connection to the service; a tunnel's CONNECT does not count.
        stream: The connection that was opened last, so that a watchdog can end it.
    """

    began: bool = False
    stream: Any = field(default=None, repr=False)
    plain: bool = False

    def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Record an event."""
        if event.endswith("send_request_headers.started"):
            self.began |= info["request"].method != b"CONNECT"
        elif event.endswith(("connect_tcp.complete", "start_tls.complete", "connect_unix_socket.complete")):
            self.stream = info["return_value"]
            if self.plain and event.endswith("connect_tcp.complete"):
                address = self.stream.get_extra_info("server_addr")
                if not is_private(str(address[0] if address else "")):
                    raise PublicHost("the host's address is public, and plain http would expose the API key")

    async def atrace(self, event: str, info: Mapping[str, Any]) -> None:
        """Record an event, for the async client."""
        self.trace(event, info)


@contextmanager
def watchdog(sending: Sending, until: float) -> Iterator[None]:
    """End an exchange that takes too long in total; httpx limits only each read.

    Args:
        sending: The call, with its connection.
        until: Monotonic seconds.
    """

    def end() -> None:
        connection = None if sending.stream is None else sending.stream.get_extra_info("socket")
        if connection is not None:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(max(0.0, until - time.monotonic()), end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@dataclass
class Reading:
    """The body of an answer while it arrives, with a largest size and an end in time.

    Args:
        headers: Headers of the response.
        until: Monotonic seconds by which the body must be complete.
    """

    headers: Mapping[str, str]
    until: float

    def __post_init__(self) -> None:
        self._body = bytearray()

    def take(self, chunk: bytes) -> None:
        """Add a chunk.

        Raises:
            AnswerTooLarge: The body is too large.
            httpx.ReadTimeout: It takes too long.
        """
        if time.monotonic() > self.until:
            raise httpx.ReadTimeout("the answer did not end in time")
        self._body += chunk
        _check_size(self._body)

    def body(self, key: str) -> bytes:
        """Return the unpacked body without the API key, which some errors quote.

        Raises:
            AnswerTooLarge: There is more than an answer has.
            zlib.error: It is packed and damaged.
        """
        body = unpacked(bytes(self._body), self.headers.get("content-encoding"))
        # JSON may be in UTF-16, in which the key's bytes do not stand side by side.
        text = body.decode(json.detect_encoding(body), "replace")
        cut = without_key(text, key)
        return body if cut == text else cut.encode()


def unpacked(body: bytes, label: str | None) -> bytes:
    """Return a body as it was before something packed it in spite of identity; its bytes tell, not its label.

    The answer to a submission holds the id of a paid video, and a wrong label must not lose it.
    """
    told = packing.labels(label)
    for _ in range(packing.MOST_LAYERS):
        named = told.pop() if told else None
        how = None if body.lstrip()[:1] in (b"{", b"[", b"<", b"") else packing.packed(body[: packing.HEAD], named)
        if how not in packing.WINDOW:
            break
        try:
            body = _one_layer(body, packing.WINDOW[how])
        except zlib.error:
            if named is None and how == "deflate":
                break
            raise
    return body


def _one_layer(body: bytes, window: int) -> bytes:
    plain = bytearray()
    # What is there of a body that was cut off may still hold an id.
    with suppress(EOFError, packing.TooManyParts):
        for piece in packing.pieces(io.BytesIO(body).read, window):
            plain += piece
            _check_size(plain)
    return bytes(plain)


def _check_size(body: bytearray) -> None:
    if len(body) > LARGEST_ANSWER:
        raise AnswerTooLarge(f"the answer has more than {LARGEST_ANSWER} bytes")


def encoded(document: Mapping[str, Any] | None) -> bytes | None:
    """Return a JSON body as bytes.

    Raises:
        ValueError: JSON or UTF-8 cannot encode it, such as a lone surrogate or NaN.
    """
    if document is None:
        return None
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def unusable(problem: BaseException) -> ServiceUnavailable:
    """Return the error of a client that cannot be created: invalid proxy setting or certificate file."""
    named = [f"{name}={without_user(os.environ[name])}" for name in PROXIES if os.environ.get(name)]
    files = [f"{name}={os.environ[name]}" for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if os.environ.get(name)]
    settings = ", ".join([*named, *files]) or "no proxy or certificate is set"
    return ServiceUnavailable(
        f"this worker's HTTP client cannot be created ({type(problem).__name__}: {foreign(str(problem))}; {settings})",
        advice="Nothing was sent or billed. Fix the setting in the environment of workers and triggerers.",
    )


def without_user(url: str) -> str:
    """Return a URL without user and password."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "an invalid URL"
    return foreign(parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl())


def fault(problem: Exception, sending: Sending, key: str) -> TransportFault:
    """Return the fault of a failed call; the service may have received it only if bytes were sent."""
    what = without_key(problem.what if isinstance(problem, GrokVideoError) else describe(problem), key)
    if sending.began:
        return TransportFault("unknown", what)
    lasting = what.startswith(_LASTING) or not isinstance(problem, httpx.TransportError)
    lasting = lasting or isinstance(problem, httpx.UnsupportedProtocol | httpx.LocalProtocolError)
    return TransportFault("not_sent", what, lasting=lasting)


def describe(problem: Exception) -> str:
    """Return the message of an error without secrets."""
    said = foreign(str(problem)) or type(problem).__name__
    if "CERTIFICATE_VERIFY_FAILED" in said:
        return f"{_UNTRUSTED}: {said}"
    if "SSL" in said or "TLS" in said:
        return f"TLS failed: {said}"
    if isinstance(problem, httpx.ConnectError) and any(
        part in said for part in ("Name or service", "getaddrinfo", "resolution", "nodename", "No address")
    ):
        return f"{_UNKNOWN_HOST}: {said}"
    if isinstance(problem, httpx.TimeoutException):
        return f"timed out ({type(problem).__name__})"
    return said if isinstance(problem, httpx.HTTPError) else f"{type(problem).__name__}: {said}"
