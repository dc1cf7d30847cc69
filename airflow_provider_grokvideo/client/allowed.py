"""Hosts and networks without a public address that a connection allows for downloads."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass

from airflow_provider_grokvideo.core.errors import InvalidInput

FIELD = "download_hosts"

_EXPECTED = (
    "a list, or text with commas, of host names (cdn.example), domains with a leading dot (.example) and networks "
    "(198.18.0.0/15)"
)
_NAME = re.compile(r"\.?[a-z0-9_]([a-z0-9_-]*[a-z0-9])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9])?)*", re.IGNORECASE)

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True)
class Allowed:
    """Hosts and networks without a public address that the SSRF guard allows.

    Attributes:
        names: Host names in lower case; a leading dot means all names below.
        networks: Networks that any host may be in.
        plain: The host that may also be reached over plain http, as the connection itself is (``allow_http``).
    """

    names: tuple[str, ...] = ()
    networks: tuple[Network, ...] = ()
    plain: str | None = None

    def covers(self, host: str, address: Address) -> bool:
        """Return whether a host with this address is allowed.

        Link-local addresses, where clouds keep their credentials, and multicast ones are never allowed.
        """
        if any(each.is_link_local or each.is_multicast or each.is_unspecified for each in meanings(address)):
            return False
        name = host.lower().rstrip(".")
        named = any(name == each or (each.startswith(".") and name.endswith(each)) for each in self.names)
        return named or any(address in network for network in self.networks)


NOTHING_ALLOWED = Allowed()

_NAT64 = ipaddress.ip_network("64:ff9b::/96")


def meanings(address: Address) -> tuple[Address, ...]:
    """Return the IPv4 addresses that an IPv6 address carries (mapped, 6to4, Teredo, NAT64), else the address itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return (address,)
    if address in _NAT64:
        return (ipaddress.IPv4Address(int(address) & 0xFFFFFFFF),)
    carried = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    found = tuple(each for each in carried if each is not None)
    return found or (address,)


def parse(value: object, *, own_host: str, plain: bool = False) -> Allowed:
    """Parse the connection's field; the connection's own host is always allowed, over http if the connection uses it.

    Raises:
        InvalidInput: An entry is neither a host name nor a network, or it is a network of all addresses.
    """
    names, networks = [own_host.lower()], []
    for entry in _entries(value):
        network = _network(entry)
        if network is not None:
            if network.prefixlen == 0:
                raise InvalidInput(f"connection extra {FIELD}", entry, f"{_EXPECTED}, but not all addresses")
            networks.append(network)
        elif _NAME.fullmatch(entry) and not entry.isdigit():
            names.append(entry.lower())
        else:
            raise InvalidInput(f"connection extra {FIELD}", entry, _EXPECTED)
    return Allowed(tuple(names), tuple(networks), own_host.lower() if plain else None)


def _entries(value: object) -> list[str]:
    if value in (None, ""):
        return []
    parts: Sequence[object] = (
        value.split(",") if isinstance(value, str) else value if isinstance(value, list) else [None]
    )
    entries = [part.strip() if isinstance(part, str) else None for part in parts]
    if not all(entries):
        raise InvalidInput(f"connection extra {FIELD}", value, _EXPECTED)
    return [entry for entry in entries if entry]


def _network(entry: str) -> Network | None:
    try:
        return ipaddress.ip_network(entry)
    except ValueError:
        return None
