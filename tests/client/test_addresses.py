"""Where a download may go."""

from __future__ import annotations

import ipaddress

import pytest

from airflow_provider_grokvideo.client.addresses import (
    AddressRefused,
    Hop,
    is_local_name,
    is_public,
    judge,
    parse,
    without_query,
)
from airflow_provider_grokvideo.client.allowed import parse as parse_allowed

PUBLIC = ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
NOT_PUBLIC = [
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "192.0.2.1",
    "198.18.0.1",
    "127.0.0.1",
    "::",
    "::1",
    "fe80::1",
    "fc00::1",
    "fec0::1",
    "ff02::1",
    "2001:db8::1",
    "::ffff:10.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::a00:1",
    "2002:a00:1::",
    "2002:7f00:1::",
]


@pytest.mark.parametrize("text", PUBLIC)
def test_public_addresses_may_be_connected_to(text):
    """A public address is public, also inside of an IPv6 one."""

    assert is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize("text", NOT_PUBLIC)
def test_no_other_address_counts_as_public(text):
    """Private, local, shared, reserved and multicast addresses are not public, however they are wrapped."""

    assert not is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize("text", [address for address in NOT_PUBLIC if address not in ("127.0.0.1", "::1")])
def test_loopback_opens_no_other_door(text):
    """Allowing loopback allows no address that is neither loopback nor public."""
    hop = Hop("https://x.example/", "https", "x.example", 443)

    assert (text == "::ffff:127.0.0.1" or text == "2002:7f00:1::") == (judge(hop, [text], allow_loopback=True) is None)


@pytest.mark.parametrize(
    ("scheme", "addresses", "loopback", "fine"),
    [
        pytest.param("https", ["8.8.8.8"], False, True, id="https-public"),
        pytest.param("https", ["8.8.8.8", "10.0.0.1"], False, False, id="one-of-two-private"),
        pytest.param("https", ["127.0.0.1"], False, False, id="loopback-not-allowed"),
        pytest.param("http", ["127.0.0.1", "::1"], True, True, id="loopback-allowed"),
        pytest.param("http", ["8.8.8.8"], True, False, id="http-public"),
        pytest.param("http", ["127.0.0.1", "8.8.8.8"], True, False, id="http-mixed"),
        pytest.param("https", ["fe80::1%eth0"], False, False, id="zone"),
        pytest.param("https", [], False, False, id="no-address"),
    ],
)
def test_every_address_of_a_name_must_be_allowed(scheme, addresses, loopback, fine):
    """A name is followed only if each address it has may be connected to."""
    hop = Hop(f"{scheme}://x.example/", scheme, "x.example", 443)

    assert fine == (judge(hop, addresses, allow_loopback=loopback) is None)


@pytest.mark.parametrize(
    ("url", "loopback"),
    [
        ("http://vidgen.x.ai/a.mp4", False),
        ("ftp://vidgen.x.ai/a.mp4", True),
        ("file:///etc/passwd", True),
        ("//vidgen.x.ai/a.mp4", True),
        ("https://", False),
        ("https://user:pw@vidgen.x.ai/a.mp4", False),
        ("https://vidgen.x.ai/a b.mp4", False),
        ("https://vidgen.x.ai/a\r\nX: y", False),
        ("https://vidgen.x.ai:99999/a.mp4", False),
        ("https://[::1/a.mp4", False),
    ],
)
def test_odd_links_are_refused_before_any_name_is_resolved(url, loopback):
    """Other schemes, user names, blanks and broken URLs are refused."""

    assert isinstance(parse(url, allow_loopback=loopback), AddressRefused)


def test_a_link_is_read_with_its_default_port():
    """The hop names scheme, host and port."""

    assert Hop("https://Vidgen.x.ai/a?b", "https", "vidgen.x.ai", 443) == parse(
        "https://Vidgen.x.ai/a?b", allow_loopback=False
    )


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("localhost", True),
        ("a.localhost", True),
        ("nas.local", True),
        ("db.internal", True),
        ("10.1.2.3", True),
        ("::1", True),
        ("localhost.example.com", False),
        ("example.com", False),
        ("8.8.8.8", False),
    ],
)
def test_local_names_are_known_without_a_resolver(host, local):
    """A host the service cannot reach is recognised by its name or number."""

    assert local == is_local_name(host)


def test_messages_carry_no_signature():
    """The query, the fragment and the user name are left out of a URL for people."""

    assert "https://h/a.mp4" == without_query("https://u:p@h/a.mp4?X-Amz-Signature=abc#t")


def test_the_plain_host_of_a_connection_may_be_asked_over_http():
    """Plain http is followed to the connection's own private host, and to no other and no public address."""
    allowed = parse_allowed(None, own_host="emulator", plain=True)
    own = parse("http://emulator:8901/a.mp4", allow_loopback=False, allowed=allowed)
    other = parse("http://elsewhere:8901/a.mp4", allow_loopback=False, allowed=allowed)
    closed = parse("http://emulator:8901/a.mp4", allow_loopback=False, allowed=parse_allowed(None, own_host="emulator"))

    assert isinstance(own, Hop)
    assert [True, True] == [isinstance(each, AddressRefused) for each in (other, closed)]
    assert judge(own, ["10.0.0.5"], allow_loopback=False, allowed=allowed) is None
    assert judge(own, ["8.8.8.8"], allow_loopback=False, allowed=allowed) is not None
