"""SSRF guard: checks the addresses of downloads.

A link comes from the service's response, and a redirect from the server of the link. Neither may lead this worker to
its own network, so every hop is checked before anything is sent: https only, public addresses only. The caller resolves
names and connects to the checked address, so a name that resolves differently a moment later changes nothing.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from airflow_provider_grokvideo.client.allowed import FIELD, NOTHING_ALLOWED, Allowed, meanings

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_LOCAL_NAMES = re.compile(
    r"(^|\.)(localhost|local|internal|localdomain|lan|home|corp|private|intranet|home\.arpa|test|invalid|onion)\.?$",
    re.IGNORECASE,
)
"""Names that no public resolver knows (RFC 2606, 6761, 6762, 7686, 8375, and the reserved .internal)."""

_NUMERIC = re.compile(r"(^|\.)(\d+|0x[0-9a-f]*)\.?$", re.IGNORECASE)
"""A host that ends in a number is an IPv4 address in some spelling, such as 127.1, or invalid (WHATWG URL, 3.5)."""


ALLOW_IT = (
    f"if your network resolves names to such addresses, allow them in the connection's extra field {FIELD}, a list of "
    "hosts or networks"
)


@dataclass(frozen=True)
class Hop:
    """One URL of a download, before its host is resolved."""

    url: str
    scheme: str
    host: str
    port: int


@dataclass(frozen=True)
class AddressRefused:
    """A refused URL, and why, as the end of a sentence."""

    why: str


def parse(url: str, *, allow_loopback: bool, allowed: Allowed = NOTHING_ALLOWED) -> Hop | AddressRefused:
    """Parse a URL of a download; refuse other schemes, user names, blanks and missing hosts.

    Plain http is allowed to loopback and to the private host of a connection that allows it. The address is checked
    once the name is resolved; see :func:`judge`.
    """
    if re.search(r"[\s\x00-\x1f\x7f]", url):
        return AddressRefused("it contains blanks or control characters")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return AddressRefused("it is not a URL")
    scheme = parts.scheme.lower()
    plain = allow_loopback or (parts.hostname or "").lower() == allowed.plain
    if scheme != "https" and not (plain and scheme == "http"):
        return AddressRefused(f"its scheme is not https but {scheme or 'missing'}")
    if not parts.hostname:
        return AddressRefused("it has no host")
    if parts.username is not None or parts.password is not None:
        return AddressRefused("it contains a user name or password")
    return Hop(url, scheme, parts.hostname, port or (443 if scheme == "https" else 80))


def judge(
    hop: Hop, addresses: Sequence[str], *, allow_loopback: bool, allowed: Allowed = NOTHING_ALLOWED
) -> AddressRefused | None:
    """Return why a hop is refused, given all addresses of its host; None if it is allowed.

    `allowed` are the hosts and networks that the connection allows; loopback is never among them.

    One forbidden address refuses the whole host, because the connection could use any of its addresses.
    """
    if not addresses:
        return AddressRefused(f"{hop.host} has no address")
    for text in addresses:
        address = read(text)
        if is_loopback(address):
            if not allow_loopback:
                return AddressRefused(f"{hop.host} is this machine ({address}), not a public host")
        elif not is_public(address) and not allowed.covers(hop.host, address):
            return AddressRefused(f"{hop.host} is not a public host ({address}); {ALLOW_IT}")
        elif hop.scheme != "https" and (is_public(address) or hop.host.lower() != allowed.plain):
            return AddressRefused("it is not https but http")
    return None


def read(text: str) -> Address:
    """Parse an address, with or without an IPv6 zone.

    Raises:
        ValueError: It is not an address.
    """
    return ipaddress.ip_address(text.partition("%")[0])


def is_loopback(address: Address) -> bool:
    """Return whether an address is this machine, even if wrapped in an IPv6 address."""
    return any(each.is_loopback for each in meanings(address))


def is_public(address: Address) -> bool:
    """Return whether an address is public: not private, link-local, shared, reserved or multicast.

    An IPv6 address with an IPv4 address inside (mapped, 6to4, Teredo, NAT64) is public if that one is.
    """
    return all(_is_public(each) for each in meanings(address))


def is_local_name(host: str) -> bool:
    """Return whether a host is obviously private without resolving it: ``minio``, ``*.local``, ``10.1.2.3``.

    It is used for links that xAI downloads: this worker's resolver says nothing about xAI's.
    """
    try:
        return not is_public(read(host))
    except ValueError:
        one_label = "." not in host.rstrip(".")
        return one_label or bool(_LOCAL_NAMES.search(host) or _NUMERIC.search(host))


def without_query(url: str) -> str:
    """Return a URL without its secrets: query, fragment and user name."""
    bare = re.split(r"[?#]", url, maxsplit=1)[0]
    return re.sub(r"^([A-Za-z][\w+.-]*://)[^/@]*@", r"\1", bare)


def _is_public(address: Address) -> bool:
    site_local = isinstance(address, ipaddress.IPv6Address) and address.is_site_local
    return address.is_global and not (address.is_multicast or address.is_reserved or site_local)
