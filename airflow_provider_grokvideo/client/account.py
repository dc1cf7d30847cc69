"""Account of an Airflow connection: base URL, API key, timeouts and limits."""

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
from airflow_provider_grokvideo.core.billing.money import amount
from airflow_provider_grokvideo.core.errors import AuthenticationFailed, InvalidInput
from airflow_provider_grokvideo.core.numbers import number_in
from airflow_provider_grokvideo.core.polling.rate_limit import DEFAULT_PACE, LOCAL_PACE

DEFAULT_BASE_URL = "https://api.x.ai/v1"
"""The global endpoint; regional endpoints do not offer the video API (contract §2.3)."""

SHORTEST_INTERVAL = 1.0

ENV_KEY = "XAI_API_KEY"


@dataclass(frozen=True)
class Account:
    """Base URL, API key and settings of a connection; ``repr`` leaves the key out.

    Attributes:
        base_url: URL including the version, without a slash at the end.
        api_key: The bearer key.
        timeout: Seconds that a call may take to connect, and between two reads of its response.
        submit_timeout: The same for a submit; longer, because a timeout leaves the submission unconfirmed.
        poll_interval: Seconds between polls for tasks that do not set it; None lets the schedule decide.
        requests_per_second: Maximum polls per second of each triggerer; None is the default, see :attr:`pace`.
        witness: xAI stores every output for some days, so that an unconfirmed submission can be found by its file
            (contract §6.3).
        download_hosts: Hosts and networks without a public address that the SSRF guard allows for downloads.
        limits: USD that this connection may spend per ``dag_run``, ``day``, ``month``.
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
        """Whether the key is sent over plain http; only to this machine, or to a private host with ``allow_http``."""
        return self.base_url.startswith("http://")

    @property
    def pace(self) -> float:
        """Maximum polls per second, for all waits of a triggerer together."""
        return self.requests_per_second or (LOCAL_PACE if self.is_local else DEFAULT_PACE)

    @property
    def is_local(self) -> bool:
        """Whether the service runs on this machine, as the emulator does."""
        return is_loopback(httpx.URL(self.base_url).host)

    def interval(self, wanted: float | None) -> float | None:
        """Return the seconds between polls: the task's, else the connection's, and at least one second.

        Polls may count against a rate limit of 60 a minute (contract §7.1); a service on this machine has none.
        """
        seconds = wanted or self.poll_interval
        return seconds if seconds is None or self.is_local else max(seconds, SHORTEST_INTERVAL)


def account_from(
    *, host: str | None, port: int | None, schema: str | None, password: str | None, extra: Mapping[str, Any]
) -> Account:
    """Return the account of a connection.

    Args:
        host: Base URL or bare host name; empty for the default.
        port: Port, if the host is a bare name.
        schema: Path of the base URL, if the connection was given as a URI.
        password: The API key.
        extra: ``timeout``, ``submit_timeout``, ``poll_interval`` in seconds, ``requests_per_second``, ``witness``,
            ``max_usd_per_dag_run``, ``max_usd_per_day``, ``max_usd_per_month``; numbers or numeric text;
            ``download_hosts``, see :mod:`airflow_provider_grokvideo.client.allowed`. ``allow_http``: true allows
            plain http to a private host.

    Raises:
        AuthenticationFailed: The key is missing or invalid.
        InvalidInput: The host or another field is invalid.
    """
    base_url = _base_url((host or "").strip(), port, schema, allow_http=_switch(extra, "allow_http"))
    return Account(
        base_url=base_url,
        api_key=_key(password),
        timeout=_seconds(extra, "timeout") or Account.timeout,
        submit_timeout=_seconds(extra, "submit_timeout") or Account.submit_timeout,
        poll_interval=_seconds(extra, "poll_interval"),
        requests_per_second=_number(
            extra, "requests_per_second", 1000, "more than 0 and at most 1000 polls per second"
        ),
        witness=_switch(extra, "witness"),
        limits=_limits(extra),
        download_hosts=allowed.parse(
            extra.get(allowed.FIELD), own_host=httpx.URL(base_url).host, plain=base_url.startswith("http://")
        ),
    )


def account_from_env() -> Account | None:
    """Return the account of the key in ``XAI_API_KEY`` with the default base URL, or None without a key."""
    key = os.environ.get(ENV_KEY, "").strip()
    return Account(DEFAULT_BASE_URL, _key(key)) if key else None


def is_loopback(host: str) -> bool:
    """Return whether a host name or address is this machine, without resolving it."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def is_private(address: str) -> bool:
    """Return whether an IP address belongs to this machine or to a private network; False for other texts.

    Only such a host may get a key over plain http; the connection is checked before the key is sent.
    """
    try:
        found = ip_address(address.strip("[]").partition("%")[0])
    except ValueError:
        return False
    found = getattr(found, "ipv4_mapped", None) or found
    return not found.is_global and not (found.is_multicast or found.is_reserved or found.is_unspecified)


def _is_private_name(host: str) -> bool:
    """Return whether a name can only be private: without a dot, or below a suffix that is not public."""
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
            hint = "; to allow it for this private host, set the connection field allow_http" if private else ""
            raise InvalidInput("host", host, f"an https URL, because plain http would expose the API key{hint}")
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
        raise AuthenticationFailed("the connection's API key contains invalid characters")
    return key


def _seconds(extra: Mapping[str, Any], name: str) -> float | None:
    return _number(extra, name, 3600, "more than 0 and at most 3600 seconds")


def _limits(extra: Mapping[str, Any]) -> dict[str, Decimal]:
    """Return the budgets of a connection; an empty field of its form is no limit, and 0 is one."""
    limits = {}
    for per in ("dag_run", "day", "month"):
        name = f"max_usd_per_{per}"
        value = extra.get(name)
        if value not in (None, ""):
            limits[per] = amount(value, f"connection extra {name}")
    return limits


def _switch(extra: Mapping[str, Any], name: str) -> bool:
    """Return a boolean; connections that are given as a URI have text."""
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


def check_conn_id(value: object) -> None:
    """Check a connection id.

    Raises:
        InvalidInput: It is not text, or it is empty.
    """
    if not isinstance(value, str) or value.strip() in ("", "None"):
        raise InvalidInput("grokvideo_conn_id", value, "the id of an Airflow connection")
