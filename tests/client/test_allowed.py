"""Downloads from hosts that are not public: refused, before the purchase where that can be known, unless allowed."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from airflow_provider_grokvideo.client import addresses
from airflow_provider_grokvideo.client.account import DEFAULT_BASE_URL
from airflow_provider_grokvideo.client.allowed import FIELD, NOTHING_ALLOWED, parse
from airflow_provider_grokvideo.core.errors import DeliveryFailed, InvalidInput, ServiceUnavailable
from airflow_provider_grokvideo.delivery.download import KNOWN_HOST, check_reachable, fetch

OWN = "gateway.example"


@pytest.mark.parametrize(
    ("value", "host", "address", "expected"),
    [
        (None, OWN, "10.0.0.1", True),
        (None, "cdn.example", "10.0.0.1", False),
        ("cdn.example", "CDN.example.", "10.0.0.1", True),
        ("cdn.example", "a.cdn.example", "10.0.0.1", False),
        (".example", "a.cdn.example", "10.0.0.1", True),
        (["198.18.0.0/15", "fd00::/8"], "x.y", "198.19.255.1", True),
        (["198.18.0.0/15", "fd00::/8"], "x.y", "fd12::1", True),
        ("198.18.0.0/15", "x.y", "198.20.0.1", False),
        ("10.0.0.7", "x.y", "10.0.0.7", True),
        (None, OWN, "169.254.169.254", False),
        ("169.254.0.0/16", "x.y", "169.254.169.254", False),
        (None, OWN, "::ffff:169.254.169.254", False),
        (None, OWN, "64:ff9b::a9fe:a9fe", False),
        (None, OWN, "2002:a9fe:a9fe::", False),
        (None, OWN, "::ffff:10.0.0.1", True),
    ],
)
def test_what_a_connection_allows(value, host, address, expected):
    """Names are exact or all below a dot, networks hold for any name, and the own host is always allowed."""
    assert expected == parse(value, own_host=OWN).covers(host, ip_address(address))


@pytest.mark.parametrize("value", ["0.0.0.0/0", "::/0", "a b", "https://x.y", "*.x", 5, [5], {"a": 1}, "x,,y", "123"])
def test_what_is_no_host_is_refused(value):
    """Everything, an address with a scheme and wrong types are an input error that names the field."""
    with pytest.raises(InvalidInput) as caught:
        parse(value, own_host=OWN)

    assert f"connection extra {FIELD}" == caught.value.field


@pytest.mark.parametrize(
    ("found", "expected"), [("198.18.0.3", FIELD), ("10.0.0.3", FIELD), ("8.8.8.8", None), ("127.0.0.1", None)]
)
def test_a_refusal_names_the_setting(found, expected):
    """A download that is refused for its address says which field allows it; loopback is never allowed by it."""
    hop = addresses.Hop("https://x.y/v.mp4", "https", "x.y", 443)
    refused = addresses.judge(hop, [found], allow_loopback=False, allowed=parse("127.0.0.0/8", own_host=OWN))
    why = "" if refused is None else refused.why

    assert (expected is not None) == (FIELD in why)
    assert (found == "8.8.8.8") == (refused is None)


@pytest.mark.parametrize(
    ("base_url", "found", "value", "fine"),
    [
        (DEFAULT_BASE_URL, ["198.18.0.12"], None, False),
        (DEFAULT_BASE_URL, ["198.18.0.12"], "198.18.0.0/15", True),
        (DEFAULT_BASE_URL, ["198.18.0.12"], KNOWN_HOST, True),
        (DEFAULT_BASE_URL, ["8.8.8.8"], None, True),
        (DEFAULT_BASE_URL, OSError("no such host"), None, True),
        ("https://gateway.example/v1", ["10.0.0.1"], None, True),
    ],
)
def test_a_special_address_is_found_before_the_purchase(base_url, found, value, fine):
    """Where the service's own download host resolves to a special address, nothing is bought unless that is allowed."""

    def resolve(host, port):
        if isinstance(found, OSError):
            raise found
        return found

    allowed = parse(value, own_host=OWN)
    if fine:
        check_reachable(base_url, allowed, resolve)
        return
    with pytest.raises(InvalidInput) as caught:
        check_reachable(base_url, allowed, resolve)
    assert f"connection extra {FIELD}" == caught.value.field


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HTTPS_PROXY", "socks4://127.0.0.1:1"),
        ("HTTPS_PROXY", "ftp://127.0.0.1:1"),
        ("HTTPS_PROXY", "http://[::1"),
        ("SSL_CERT_FILE", "/no/such/file.pem"),
    ],
)
def test_a_setting_that_no_client_takes_is_named(monkeypatch, tmp_path, name, value):
    """An unusable proxy or certificate file is found before the purchase, and named after it, too."""
    for each in ("HTTPS_PROXY", "https_proxy", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(each, raising=False)
    monkeypatch.setenv(name, value)
    with pytest.raises(ServiceUnavailable, match=name):
        check_reachable(DEFAULT_BASE_URL, NOTHING_ALLOWED, lambda host, port: ["8.8.8.8"])
    with pytest.raises(DeliveryFailed, match=name):
        fetch(
            f"https://{KNOWN_HOST}/a.mp4",
            tmp_path / "file",
            allow_loopback=False,
            resolve=lambda host, port: ["8.8.8.8"],
        )
