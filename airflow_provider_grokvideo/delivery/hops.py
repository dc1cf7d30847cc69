"""One hop of a download: a GET to a checked address, through the proxy that its host needs, within the time limits.

The SSRF guard itself is in :mod:`airflow_provider_grokvideo.client.addresses`; what a response means, in
``responses.py``.
"""

from __future__ import annotations

import socket
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import httpx

from airflow_provider_grokvideo.client import addresses, tls
from airflow_provider_grokvideo.client.allowed import NOTHING_ALLOWED, Allowed
from airflow_provider_grokvideo.client.exchange import Sending, unusable, watchdog
from airflow_provider_grokvideo.core.errors import DeliveryFailed, ServiceUnavailable
from airflow_provider_grokvideo.delivery import responses

Resolve = Callable[[str, int], Sequence[str]]


class Faulty(Exception):
    """Carries a transient fault from where it happened to where the next try is decided."""

    def __init__(self, fault: responses.Transient) -> None:
        super().__init__(fault.what)
        self.fault = fault


@dataclass(frozen=True)
class Clock:
    """The time limits of a download.

    Attributes:
        end: When everything must be done, on the monotonic clock.
        total: Seconds for everything; for the message.
        connect: Limit for one connection, in seconds.
        silence: Limit between two chunks, in seconds.
    """

    end: float
    total: float
    connect: float
    silence: float

    def check(self, url: str, got: int) -> None:
        """Raise :class:`DeliveryFailed` if the time for everything is over."""
        if time.monotonic() > self.end:
            raise failed(url, f"took longer than {self.total:g} s; {got} bytes had arrived")

    def timeout(self) -> httpx.Timeout:
        """Return the limits of the next request, within the time that is left."""
        left = max(0.01, self.end - time.monotonic())
        return httpx.Timeout(min(self.silence, left), connect=min(self.connect, left))


@dataclass(frozen=True)
class Getter:
    """Sends the GETs of one download, one for each hop."""

    allow_loopback: bool
    user_agent: str
    clock: Clock
    resolve: Resolve
    allowed: Allowed = NOTHING_ALLOWED

    @contextmanager
    def ask(self, url: str, link: str, headers: dict[str, str]) -> Iterator[httpx.Response]:
        """Send one GET to a checked address, never to an unresolved name."""
        hop = addresses.parse(url, allow_loopback=self.allow_loopback, allowed=self.allowed)
        if isinstance(hop, addresses.AddressRefused):
            raise _not_followed(link, url, hop)
        proxy = proxy_for(hop)
        found = self._addresses(hop, link, proxied=proxy is not None)
        if (found and addresses.is_loopback(addresses.read(found[0]))) or hop.host == self.allowed.plain:
            proxy = None
        request_headers = {
            "User-Agent": self.user_agent,
            "Accept": "video/mp4, video/*;q=0.9, */*;q=0.1",
            # A compressed answer would have neither the announced length nor the bytes to be hashed.
            "Accept-Encoding": "identity",
            **headers,
        }
        # A client per hop: none of them can carry a cookie, and each has the proxy its host needs.
        with self._client(link, proxy) as client:
            sending = Sending()
            # Headers that drip are many reads, each in time; the watchdog counts from the first.
            with watchdog(sending, self.clock.end):
                response = self._send(client, hop, request_headers, [] if proxy else found, sending)
                try:
                    yield response
                finally:
                    response.close()

    def _client(self, link: str, proxy: str | None) -> httpx.Client:
        try:
            return client_of(proxy, self.clock.timeout())
        except ServiceUnavailable as error:
            raise DeliveryFailed(
                f"The download of {addresses.without_query(link)} was not begun: {error.what}",
                advice=f"{DeliveryFailed.advice} Correct the setting in the environment of workers and triggerer.",
            ) from error

    def _addresses(self, hop: addresses.Hop, link: str, *, proxied: bool) -> Sequence[str]:
        try:
            found = self.resolve(hop.host, hop.port)
        except (OSError, UnicodeError) as error:
            if proxied:
                return []
            raise Faulty(responses.Transient(f"{hop.host} cannot be resolved ({error})")) from error
        refused = addresses.judge(hop, found, allow_loopback=self.allow_loopback, allowed=self.allowed)
        if refused is not None:
            raise _not_followed(link, hop.url, refused)
        return found

    def _send(
        self, client: httpx.Client, hop: addresses.Hop, headers: dict[str, str], found: Sequence[str], sending: Sending
    ) -> httpx.Response:
        name = httpx.URL(hop.url)
        trace = {"trace": sending.trace}
        if not found:
            return client.send(client.build_request("GET", name, headers=headers, extensions=trace), stream=True)
        host = name.netloc.decode("ascii")
        for last, address in _with_last(found):
            # The certificate is checked against the name; only the connection goes by address.
            request = client.build_request(
                "GET",
                name.copy_with(host=address),
                headers={**headers, "Host": host},
                extensions={"sni_hostname": hop.host, **trace},
            )
            try:
                return client.send(request, stream=True)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                if last:
                    raise
        raise AssertionError("judge() refuses hosts without an address")


def system_addresses(host: str, port: int) -> Sequence[str]:
    """Return all addresses of a host by the system's resolver.

    Raises:
        OSError: There are none.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def client_of(proxy: str | None, timeout: httpx.Timeout) -> httpx.Client:
    """Make a client of httpx.

    Raises:
        ServiceUnavailable: A proxy setting or a file of certificates cannot be used; the message names it.
    """
    try:
        return httpx.Client(verify=tls.trust(), trust_env=False, proxy=proxy, follow_redirects=False, timeout=timeout)
    except Exception as problem:
        raise unusable(problem) from problem


def proxy_for(hop: addresses.Hop) -> str | None:
    """Return the proxy that the environment names for a hop, if it names one."""
    if urllib.request.proxy_bypass(hop.host):
        return None
    proxies = urllib.request.getproxies()
    proxy = proxies.get(hop.scheme) or proxies.get("all")
    return proxy if proxy is None or "://" in proxy else f"http://{proxy}"


def _with_last(items: Sequence[str]) -> Iterator[tuple[bool, str]]:
    return ((number == len(items), item) for number, item in enumerate(items, 1))


def _not_followed(link: str, url: str, refused: addresses.AddressRefused) -> DeliveryFailed:
    where = "" if url == link else f" to {addresses.without_query(url)}"
    return failed(link, f"was not followed{where}: {refused.why}")


def failed(link: str, what: str) -> DeliveryFailed:
    """Return the error of a download; `what` ends the sentence that begins with the link."""
    return DeliveryFailed(f"The download of {addresses.without_query(link)} {what}")
