"""Where calls go and who pays for them, from the plain parts of an Airflow connection."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import httpx

from airflow_provider_grokvideo.client import allowed
from airflow_provider_grokvideo.client.allowed import NOTHING_ALLOWED, Allowed
from airflow_provider_grokvideo.core.errors import AuthenticationFailed, InvalidInput
from airflow_provider_grokvideo.core.money import amount
from airflow_provider_grokvideo.core.numbers import number_in
from airflow_provider_grokvideo.core.pacing import DEFAULT_PACE, LOCAL_PACE

DEFAULT_BASE_URL = "https://api.x.ai/v1"
"""The global endpoint; regional ones served no video when last seen (contract §2.3)."""

SHORTEST_INTERVAL = 1.0

ENV_KEY = "XAI_API_KEY"


@dataclass(frozen=True)
class Account:
    """Where to send calls and who pays for them; the key stays out of every representation.

    Attributes:
        base_url: Address including the version, without a slash at the end.
        api_key: The bearer key.
        timeout: Seconds that a call may take to connect, and to answer between two reads.
        submit_timeout: The same for a paid start; longer, because giving up leaves it unconfirmed.
        poll_interval: Seconds between two polls for tasks that do not say; None lets the schedule decide.
        requests_per_second: The most polls a second that each triggerer sends; None is the default, see :attr:`pace`.
        witness: Requests whose user stores nothing are stored at the service for some days, too, so that one whose
            answer was lost can be found by its file (contract §6.3).
        download_hosts: Hosts and networks that videos may come from although they are not public.
        limits: Dollars that may be spent with this connection per ``dag_run``, ``day``, ``month``; waits do not care.
    """

    base_url: str
    api_key: str = field(repr=False)
    timeout: float = 30.0
    submit_timeout: float = 60.0
    poll_interval: float | None = None
    requests_per_second: float | None = None
    witness: bool = field(default=False, compare=False)
    limits: Mapping[str, Decimal] = field(default_factory=dict, compare=False)
    download_hosts: Allowed = field(default=NOTHING_ALLOWED, compare=False)

    @property
    def is_plain(self) -> bool:
        """Whether the key is sent over plain http; only to this machine, or to a private host that the user allowed."""
        return self.base_url.startswith("http://")

    @property
    def pace(self) -> float:
        """The most polls a second, for all waits of a triggerer together."""
        return self.requests_per_second or (LOCAL_PACE if self.is_local else DEFAULT_PACE)

    @property
    def is_local(self) -> bool:
        """Whether the service runs on this machine, as the emulator does."""
        return is_loopback(httpx.URL(self.base_url).host)

    def interval(self, wanted: float | None) -> float | None:
        """Return the seconds between two polls: the task's, else the connection's, and not below one second.

        Polls may count against a rate limit of 60 a minute (contract §7.1); a service on this machine has none.
        """
        seconds = wanted or self.poll_interval
        return seconds if seconds is None or self.is_local else max(seconds, SHORTEST_INTERVAL)


def account_from(
    *, host: str | None, port: int | None, schema: str | None, password: str | None, extra: Mapping[str, Any]
) -> Account:
    """Return the account that a connection describes.

    Args:
        host: Base URL or bare host name; empty for the default.
        port: Port, where the host is a bare name.
        schema: Path of the base URL, where the connection was written as a URI.
        password: The API key.
        extra: ``timeout``, ``submit_timeout``, ``poll_interval`` in seconds, ``requests_per_second``, ``witness``,
            ``max_usd_per_dag_run``, ``max_usd_per_day``, ``max_usd_per_month``; numbers or numeric text;
            ``download_hosts``, see :mod:`airflow_provider_grokvideo.client.allowed`. ``allow_http``: true lets the base
            URL be plain http to a private host.

    Raises:
        AuthenticationFailed: There is no usable key.
        InvalidInput: The address or a number is unusable.
    """
    base_url = _base_url((host or "").strip(), port, schema, allow_http=_switch(extra, "allow_http"))
    return Account(
        base_url=base_url,
        api_key=_key(password),
        timeout=_seconds(extra, "timeout") or Account.timeout,
        submit_timeout=_seconds(extra, "submit_timeout") or Account.submit_timeout,
        poll_interval=_seconds(extra, "poll_interval"),
        requests_per_second=_number(extra, "requests_per_second", 1000, "polls a second, more than 0 and at most 1000"),
        witness=_switch(extra, "witness"),
        limits=_limits(extra),
        download_hosts=allowed.parse(
            extra.get(allowed.FIELD), own_host=httpx.URL(base_url).host, plain=base_url.startswith("http://")
        ),
    )


def account_from_env() -> Account | None:
    """Return the account of the key in ``XAI_API_KEY`` at the default address, or None without one."""
    key = os.environ.get(ENV_KEY, "").strip()
    return Account(DEFAULT_BASE_URL, _key(key)) if key else None


def is_loopback(host: str) -> bool:
    """Say whether a host name or address is this machine by its very name."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def is_private(address: str) -> bool:
    """Say whether an IP address is of this machine or of a private network; a text that is no address is not.

    Only such a host may be sent a key over plain http, and the connection is held against this before the key is sent.
    """
    try:
        found = ip_address(address.strip("[]").partition("%")[0])
    except ValueError:
        return False
    found = getattr(found, "ipv4_mapped", None) or found
    return not found.is_global and not (found.is_multicast or found.is_reserved or found.is_unspecified)


def _is_private_name(host: str) -> bool:
    """Say whether a name can only be one of a private network: without a dot, or below a suffix that is not public."""
    name = host.rstrip(".").lower()
    labels = name.split(".")
    # 127.1, 2130706433 and 0x7f.1 are addresses in disguise.
    if re.fullmatch(r"\d+|0x[0-9a-f]*", labels[-1]) or not re.fullmatch(r"[a-z0-9_.-]+", name):
        return False
    return len(labels) == 1 or labels[-1] in _PRIVATE_SUFFIXES or name.endswith(".home.arpa")


_PRIVATE_SUFFIXES = frozenset(
    {"local", "internal", "localdomain", "localhost", "lan", "home", "corp", "private", "intranet", "test"}
)


def _base_url(host: str, port: int | None, schema: str | None, *, allow_http: bool = False) -> str:
    if not host:
        return DEFAULT_BASE_URL
    # Airflow's connection URIs put the scheme into the host field when it is written out (grokvideo://https://...).
    address = host if "://" in host else _with_scheme(host)
    try:
        url = httpx.URL(address.rstrip("/"))
        twice = False
        if port is not None:
            # httpx drops a scheme's default port, so it is looked for in the text.
            twice = urlsplit(address).port is not None
            url = url.copy_with(port=port)
        usable = (
            not twice and url.scheme in ("http", "https") and url.host and " " not in host and (url.port or 1) < 65536
        )
    except (httpx.InvalidURL, ValueError) as problem:
        raise InvalidInput("host", host, f"a base URL such as {DEFAULT_BASE_URL} ({problem})") from None
    if not usable or url.userinfo or url.query or url.fragment:
        raise InvalidInput("host", host, f"a base URL such as {DEFAULT_BASE_URL}")
    if url.scheme == "http" and not is_loopback(url.host):
        private = is_private(url.host) or _is_private_name(url.host)
        if not allow_http or not private:
            hint = "; the connection field allow_http lets a private host have it" if private else ""
            raise InvalidInput(
                "host", host, f"an https address: plain http would send the API key readable by anyone{hint}"
            )
    path = url.path.rstrip("/") or f"/{(schema or 'v1').strip('/')}"
    return f"{url.scheme}://{url.netloc.decode()}{path}"


def _with_scheme(host: str) -> str:
    place = host.partition("/")[0]
    name = place if place.endswith("]") else place.rpartition(":")[0] or place
    return f"{'http' if is_loopback(name) else 'https'}://{host}"


def _key(password: str | None) -> str:
    key = (password or "").strip()
    if not key:
        raise AuthenticationFailed("the connection has no API key")
    if not key.isascii() or not key.isprintable() or " " in key:
        raise AuthenticationFailed("the connection's API key has characters that no key has")
    return key


def _seconds(extra: Mapping[str, Any], name: str) -> float | None:
    return _number(extra, name, 3600, "seconds, more than 0 and at most 3600")


def _limits(extra: Mapping[str, Any]) -> dict[str, Decimal]:
    """Return what a connection may spend; an empty field of its form is no limit, and 0 is one."""
    limits = {}
    for per in ("dag_run", "day", "month"):
        name = f"max_usd_per_{per}"
        value = extra.get(name)
        if value not in (None, ""):
            limits[per] = amount(value, f"connection extra {name}")
    return limits


def _switch(extra: Mapping[str, Any], name: str) -> bool:
    """Return a yes or no; connections that are written as a URI hold text."""
    value = extra.get(name)
    known = {"true": True, "1": True, "false": False, "0": False, "": False, "none": False}
    said = known.get(str(value).strip().lower()) if isinstance(value, bool | int | str | None) else None
    if said is None:
        raise InvalidInput(f"connection extra {name}", value, "true or false")
    return said


def _number(extra: Mapping[str, Any], name: str, most: float, allowed: str) -> float | None:
    value = extra.get(name)
    if value in (None, ""):
        return None
    number = number_in(str(value)) or 0.0
    if not 0 < number <= most:
        raise InvalidInput(f"connection extra {name}", value, allowed)
    return number
