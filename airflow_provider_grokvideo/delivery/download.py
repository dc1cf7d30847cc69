"""Download of a video from a temporary link to a file on this worker.

The link gets no API key, no cookie and no user name: it is a public or signed URL on another origin (contract §5.4).
The SSRF guard (``addresses.py``) checks every hop (``hops.py``), the bytes go to disk and into the hash as they arrive,
and an interrupted download is resumed if the server can do that (``responses.py``).
"""

from __future__ import annotations

import hashlib
import logging
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

import httpx
from typing_extensions import assert_never

from airflow_provider_grokvideo.client import addresses
from airflow_provider_grokvideo.client.account import DEFAULT_BASE_URL
from airflow_provider_grokvideo.client.allowed import FIELD, NOTHING_ALLOWED, Allowed
from airflow_provider_grokvideo.client.logs import cut_logs
from airflow_provider_grokvideo.core.errors import DeliveryFailed, InvalidInput
from airflow_provider_grokvideo.delivery import packing, responses
from airflow_provider_grokvideo.delivery.hops import (
    Clock,
    Faulty,
    Getter,
    Resolve,
    client_of,
    failed,
    proxy_for,
    system_addresses,
)
from airflow_provider_grokvideo.provider_info import __version__

MAX_BYTES = 500 * 1024 * 1024
"""Largest video in bytes; the API publishes no limit, and its largest clips are far smaller (contract §5.4)."""

MAX_REDIRECTS = 5
CONNECT_SECONDS = 10.0
SILENCE_SECONDS = 30.0
"""Seconds that a server may send nothing."""

TOTAL_SECONDS = 900.0
"""Seconds for all tries together; a slow server would otherwise hold the worker slot."""

USER_AGENT = f"airflow-provider-grokvideo/{__version__}"

_LOG = logging.getLogger(__name__)


class LinkExpired(DeliveryFailed):
    """The link has expired (400, 401, 403, 404 or 410); the caller may get a new one from xAI."""


@dataclass(frozen=True)
class Fetched:
    """A completely downloaded file: hash, length, content type, warnings."""

    sha256: str
    bytes: int
    content_type: str | None
    odd: tuple[str, ...] = ()


@dataclass
class _Arrival:
    """The file as far as it is there: on disk, in the hash, and what the server said about it."""

    file: BinaryIO
    part: responses.Part = field(default_factory=responses.Part)
    digest: hashlib._Hash = field(default_factory=hashlib.sha256)
    content_type: str | None = None
    coding: str | None = None
    is_last: bool = False
    odd: list[str] = field(default_factory=list)

    def begin(self, body: responses.Body, *, weak: bool) -> None:
        if body.start == 0:
            self.restart()
        self.content_type = body.content_type or self.content_type
        self.part = responses.Part(body.start, body.total, body.etag, weak)

    def restart(self) -> None:
        self.file.seek(0)
        self.file.truncate()
        self.digest = hashlib.sha256()
        self.part = responses.Part()

    def add(self, chunk: bytes) -> None:
        self.file.write(chunk)
        self.digest.update(chunk)
        known = self.part
        self.part = responses.Part(known.bytes + len(chunk), known.total, known.etag, known.weak)


@cut_logs()
def fetch(
    url: str,
    into: Path,
    *,
    allow_loopback: bool,
    max_bytes: int = MAX_BYTES,
    connect_seconds: float = CONNECT_SECONDS,
    silence_seconds: float = SILENCE_SECONDS,
    total_seconds: float = TOTAL_SECONDS,
    user_agent: str = USER_AGENT,
    pause: Callable[[float], None] = time.sleep,
    resolve: Resolve | None = None,
    allowed: Allowed = NOTHING_ALLOWED,
    log: logging.Logger = _LOG,
) -> Fetched:
    """Download a link into a local file, in constant memory.

    Proxies of the environment are used, except for loopback. A proxy resolves names itself; names that this worker can
    resolve are checked anyway.

    Args:
        url: An https URL of a public host.
        into: The file to write; it is overwritten.
        allow_loopback: Also allow http and https to loopback addresses; for an API whose base URL is loopback.
        max_bytes: Larger files are refused, by their announced length or as soon as they grow beyond it.
        connect_seconds: Limit for one connection.
        silence_seconds: Limit between two chunks of a response.
        total_seconds: Limit for everything, with redirects and retries; checked whenever a chunk arrives.
        user_agent: The User-Agent header.
        pause: Waits between tries; takes seconds.
        allowed: Hosts and networks without a public address that are allowed.
        resolve: Turns host and port into addresses; the system's resolver by default.
        log: Gets a line for each retry.

    Raises:
        LinkExpired: The link has expired.
        DeliveryFailed: Anything else: refused address, wrong type, too large, too slow, or too many failed tries.
    """
    clock = Clock(time.monotonic() + total_seconds, total_seconds, connect_seconds, silence_seconds)
    getter = Getter(allow_loopback, user_agent, clock, resolve or system_addresses, allowed)
    with into.open("wb") as file:
        arrival = _Arrival(file)
        attempt = 1
        while True:
            arrival.is_last = attempt == responses.TRIES
            try:
                _try(url, arrival, getter, max_bytes)
                break
            except Faulty as faulty:
                fault = faulty.fault
            if fault.restart:
                arrival.restart()
            seconds = responses.pause_before(attempt, fault)
            if seconds is None or time.monotonic() + seconds >= clock.end:
                raise failed(url, f"failed after {_times(attempt)}: {fault.what}")
            log.info("Download of %s: %s; trying again in %.1f s", addresses.without_query(url), fault.what, seconds)
            pause(seconds)
            attempt += 1
    fetched = Fetched(arrival.digest.hexdigest(), arrival.part.bytes, arrival.content_type, tuple(arrival.odd))
    return _unpacked(url, into, fetched, arrival.coding, max_bytes)


def _unpacked(url: str, file: Path, fetched: Fetched, label: str | None, max_bytes: int) -> Fetched:
    try:
        plain = packing.unpack(file, label, max_bytes)
    except packing.Unusable as error:
        raise failed(url, str(error)) from error
    if plain is not None:
        return replace(fetched, sha256=plain.sha256, bytes=plain.bytes, odd=(*fetched.odd, plain.odd))
    odd = (f"it is labelled {label} and is not",) if label else ()
    return replace(fetched, odd=(*fetched.odd, *odd))


KNOWN_HOST = "vidgen.x.ai"
"""Host of xAI's own links (contract §5.4)."""

LOOKUP_SECONDS = 3.0
"""Seconds that the check before a purchase waits for the resolver; after that the purchase continues."""


def check_reachable(base_url: str, allowed: Allowed, resolve: Resolve | None = None) -> None:
    """Check before the purchase that this network does not resolve the download host to a private address.

    Only the host of xAI's own links is known; with another base URL nothing is checked.

    Raises:
        InvalidInput: Each download would be refused; the message names the setting that allows it.
        ServiceUnavailable: A proxy setting or a file of certificates cannot be used for downloads.
    """
    if httpx.URL(base_url).host != httpx.URL(DEFAULT_BASE_URL).host:
        return
    hop = addresses.Hop(f"https://{KNOWN_HOST}/", "https", KNOWN_HOST, 443)
    client_of(proxy_for(hop), httpx.Timeout(CONNECT_SECONDS)).close()
    found: list[str] = []

    def look_up() -> None:
        with suppress(OSError, UnicodeError):
            found.extend((resolve or system_addresses)(hop.host, hop.port))

    # A resolver that hangs must not hold the task: the thread is left to its own end.
    thread = threading.Thread(target=look_up, daemon=True)
    thread.start()
    thread.join(LOOKUP_SECONDS)
    refused = addresses.judge(hop, list(found), allow_loopback=False, allowed=allowed) if found else None
    if refused is not None:
        raise InvalidInput(f"connection extra {FIELD}", None, f"an entry for this network: {refused.why}")


def _try(link: str, arrival: _Arrival, getter: Getter, max_bytes: int) -> None:
    """Download the link once; return when the file is complete."""
    try:
        _follow(link, arrival, getter, max_bytes)
    except httpx.TimeoutException as error:
        getter.clock.check(link, arrival.part.bytes)
        raise Faulty(responses.Transient(f"no response in time ({type(error).__name__})")) from error
    except httpx.RemoteProtocolError as error:
        getter.clock.check(link, arrival.part.bytes)
        raise Faulty(responses.Transient(f"the connection was interrupted after {arrival.part.bytes} bytes")) from error
    except UnicodeError as error:
        raise failed(link, "was not followed: it is not a valid URL") from error
    except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError, OSError) as error:
        getter.clock.check(link, arrival.part.bytes)
        if isinstance(error, OSError) and not isinstance(error, ConnectionError | ssl.SSLError):
            raise failed(link, f"could not be written to this worker's disk: {error}") from error
        raise Faulty(responses.Transient(f"{type(error).__name__}: {error}")) from error


def _follow(link: str, arrival: _Arrival, getter: Getter, max_bytes: int) -> None:
    # As in a Location: a blank has no place in an address, and some servers leave those of a file name.
    url = link.strip().replace(" ", "%20")
    for _ in range(MAX_REDIRECTS + 1):
        getter.clock.check(link, arrival.part.bytes)
        with getter.ask(url, link, arrival.part.headers()) as response:
            headers = {name.lower(): value for name, value in response.headers.items()}
            meaning = responses.meaning(
                response.status_code,
                headers,
                url=url,
                part=arrival.part,
                now=time.time(),
                is_last=arrival.is_last,
            )
            if isinstance(meaning, responses.Redirect):
                url = meaning.url
                continue
            if isinstance(meaning, responses.Body):
                arrival.begin(meaning, weak=headers.get("etag", "").startswith("W/"))
                arrival.coding = headers.get("content-encoding", "").strip().lower().replace("identity", "") or None
                arrival.odd = [] if meaning.odd is None else [meaning.odd]
                _receive(link, response, arrival, getter, max_bytes)
                return
            if isinstance(meaning, responses.DeadLink):
                raise LinkExpired(f"The link {addresses.without_query(link)} has expired (HTTP {meaning.status})")
            if isinstance(meaning, responses.Transient):
                raise Faulty(meaning)
            if isinstance(meaning, responses.Hopeless):
                said = f": {responses.excerpt(_beginning(response))!r}" if meaning.show_body else ""
                raise failed(link, f"returned {meaning.what}{said}")
            assert_never(meaning)
    raise failed(link, f"was redirected more than {MAX_REDIRECTS} times")


def _receive(link: str, response: httpx.Response, arrival: _Arrival, getter: Getter, max_bytes: int) -> None:
    total = arrival.part.total
    if total is not None and total > max_bytes:
        raise failed(link, f"is too large: {total} bytes; at most {max_bytes} are allowed")
    # As they come: asked for in chunks, httpx would hold back what is there until a chunk is full.
    for chunk in response.iter_raw():
        if arrival.part.bytes + len(chunk) > max_bytes:
            raise failed(link, f"is too large: more than {max_bytes} bytes")
        arrival.add(chunk)
        getter.clock.check(link, arrival.part.bytes)
    got = arrival.part.bytes
    if total is not None and got != total:
        raise Faulty(responses.Transient(f"{got} of {total} bytes arrived", restart=got > total))
    if not got:
        raise Faulty(responses.Transient("an empty file", restart=True))


def _beginning(response: httpx.Response) -> bytes:
    read = b""
    try:
        for chunk in response.iter_raw():
            read += chunk
            if len(read) >= 2048:
                break
    except httpx.HTTPError:
        pass
    return read[:2048]


def _times(number: int) -> str:
    return "1 try" if number == 1 else f"{number} tries"
