"""Where a download may go.

A link comes from the service's answer, and a redirect from whoever answers the link. Neither may lead this worker to
its own network, so every hop is judged before anything is sent: https only, public addresses only. Data in, data out;
names are resolved by the caller and the connection goes to the address judged here, so a name that resolves
differently a moment later changes nothing.
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
"""Names that no public resolver answers (RFC 2606, 6761, 6762, 7686, 8375, and the reserved .internal)."""

_NUMERIC = re.compile(r"(^|\.)(\d+|0x[0-9a-f]*)\.?$", re.IGNORECASE)
"""A host that ends in a number is an IPv4 address in some spelling, such as 127.1, or nothing (WHATWG URL, 3.5)."""


ALLOW_IT = (
    f"if your network resolves names so, allow it in the connection's extra: {FIELD}, a list of hosts or networks"
)


@dataclass(frozen=True)
class Hop:
    """One URL of a download: where it leads, before its name is resolved."""

    url: str
    scheme: str
    host: str
    port: int


@dataclass(frozen=True)
class Refused:
    """A URL nobody should follow, and why, as the end of a sentence."""

    why: str


def parse(url: str, *, allow_loopback: bool, allowed: Allowed = NOTHING_ALLOWED) -> Hop | Refused:
    """Read a URL as a hop of a download; refuse other schemes, user names, blanks and missing hosts.

    Plain http is for loopback and for the private host of a connection that allows it. Whether a name leads there is
    known once it is resolved; see :func:`judge`.
    """
    if re.search(r"[\s\x00-\x1f\x7f]", url):
        return Refused("it contains blanks or control characters")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return Refused("it is not a URL")
    scheme = parts.scheme.lower()
    plain = allow_loopback or (parts.hostname or "").lower() == allowed.plain
    if scheme != "https" and not (plain and scheme == "http"):
        return Refused(f"it is not https but {scheme or 'without a scheme'}")
    if not parts.hostname:
        return Refused("it names no host")
    if parts.username is not None or parts.password is not None:
        return Refused("it carries a user name or password")
    return Hop(url, scheme, parts.hostname, port or (443 if scheme == "https" else 80))


def judge(
    hop: Hop, addresses: Sequence[str], *, allow_loopback: bool, allowed: Allowed = NOTHING_ALLOWED
) -> Refused | None:
    """Say whether a hop may be followed, given every address its name resolves to.

    `allowed` are hosts and networks that the connection allows on purpose; loopback is not among them.

    One bad address refuses the whole name: which of them a connection would use is not for the name's owner to play
    with.
    """
    if not addresses:
        return Refused(f"{hop.host} has no address")
    for text in addresses:
        address = read(text)
        if is_loopback(address):
            if not allow_loopback:
                return Refused(f"{hop.host} is this machine ({address}), not a public host")
        elif not is_public(address) and not allowed.covers(hop.host, address):
            return Refused(f"{hop.host} is not a public host ({address}); {ALLOW_IT}")
        elif hop.scheme != "https" and (is_public(address) or hop.host.lower() != allowed.plain):
            return Refused("it is not https but http")
    return None


def read(text: str) -> Address:
    """Read an address, with or without an IPv6 zone.

    Raises:
        ValueError: It is none.
    """
    return ipaddress.ip_address(text.partition("%")[0])


def is_loopback(address: Address) -> bool:
    """Say whether an address is this machine, also when IPv6 wraps it."""
    return any(each.is_loopback for each in meanings(address))


def is_public(address: Address) -> bool:
    """Say whether an address is on the public internet: no private, link-local, shared, reserved or multicast one.

    An IPv6 address that carries an IPv4 one (mapped, 6to4, Teredo, NAT64) is as public as what it carries.
    """
    return all(_is_public(each) for each in meanings(address))


def is_local_name(host: str) -> bool:
    """Say whether a host, unresolved, is plainly not on the public internet: ``minio``, ``*.local``, ``10.1.2.3``.

    For links the service is to fetch: what this worker's resolver says about a name is no news to the service.
    """
    try:
        return not is_public(read(host))
    except ValueError:
        one_label = "." not in host.rstrip(".")
        return one_label or bool(_LOCAL_NAMES.search(host) or _NUMERIC.search(host))


def without_query(url: str) -> str:
    """Return a URL fit for a message or a file: no query and no fragment, which may sign it, and no user name."""
    bare = re.split(r"[?#]", url, maxsplit=1)[0]
    return re.sub(r"^([A-Za-z][\w+.-]*://)[^/@]*@", r"\1", bare)


def _is_public(address: Address) -> bool:
    site_local = isinstance(address, ipaddress.IPv6Address) and address.is_site_local
    return address.is_global and not (address.is_multicast or address.is_reserved or site_local)
