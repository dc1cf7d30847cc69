"""One HTTP exchange: sent bytes, size and time limits of the response, errors.

Shared by the sync and the async client; it holds no connection.
"""

from __future__ import annotations

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
from airflow_provider_grokvideo.core.errors import GrokVideoError, ServiceUnavailable
from airflow_provider_grokvideo.core.redaction import foreign, forms_of, without_key
from airflow_provider_grokvideo.core.retrying import Fault

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
    """The body of a response while it is read: unpacked, with limits of size and time.

    Args:
        headers: Headers of the response.
        until: Monotonic seconds by which the body must be complete.
    """

    headers: Mapping[str, str]
    until: float

    def __post_init__(self) -> None:
        self._unpack: Any = None
        self._head: bytes | None = b""
        self._body = bytearray()

    def take(self, chunk: bytes) -> None:
        """Add a chunk.

        Raises:
            AnswerTooLarge: The body is too large.
            httpx.ReadTimeout: It takes too long.
        """
        if time.monotonic() > self.until:
            raise httpx.ReadTimeout("the response did not end in time")
        if self._head is not None:
            self._head += chunk
            if len(self._head) < _TELLING:
                return
            chunk = self._begin()
        self._add(chunk)

    def _begin(self) -> bytes:
        """Decide how the body is packed, and return what of it was held back for that."""
        head, self._head = self._head or b"", None
        window = _window(head, self.headers.get("content-encoding", ""))
        self._unpack = None if window is None else zlib.decompressobj(window)
        return head

    def _add(self, chunk: bytes) -> None:
        room = LARGEST_ANSWER - len(self._body) + 1
        self._body += chunk if self._unpack is None else self._unpack.decompress(chunk, room)
        if len(self._body) > LARGEST_ANSWER:
            raise AnswerTooLarge(f"the response is larger than {LARGEST_ANSWER} bytes")

    def body(self, key: str) -> bytes:
        """Return the body without the API key, which some errors quote."""
        if self._head:
            self._add(self._begin())
        body = bytes(self._body)
        if not any(form.encode() in body for form in forms_of(key)):
            return body
        return without_key(body.decode("utf-8", "replace"), key).encode()


_TELLING = 3
"""Bytes of a body that tell whether it is gzip."""


def _window(head: bytes, label: str) -> int | None:
    """Return zlib's window of a body that is packed although identity was asked for; its bytes tell, not its label.

    The answer to a submission holds the id of a paid video, and a wrong label must not lose it.
    """
    if head.startswith(b"\x1f\x8b\x08"):
        return 31
    if "deflate" not in label.lower() or head.lstrip()[:1] in (b"{", b"[", b"<", b""):
        return None
    is_zlib = len(head) > 1 and head[0] & 15 == 8 and int.from_bytes(head[:2], "big") % 31 == 0
    return 15 if is_zlib else -15


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


def fault(problem: Exception, sending: Sending, key: str) -> Fault:
    """Return the fault of a failed call; the service may have received it only if bytes were sent."""
    what = without_key(problem.what if isinstance(problem, GrokVideoError) else describe(problem), key)
    if sending.began:
        return Fault("unknown", what)
    lasting = what.startswith(_LASTING) or not isinstance(problem, httpx.TransportError)
    lasting = lasting or isinstance(problem, httpx.UnsupportedProtocol | httpx.LocalProtocolError)
    return Fault("not_sent", what, lasting=lasting)


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
