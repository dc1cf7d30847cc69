"""Where calls go and who pays, from whatever a connection holds."""

from __future__ import annotations

import pytest
from airflow.sdk import Connection
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_grokvideo.client.account import (
    DEFAULT_BASE_URL,
    ENV_KEY,
    Account,
    account_from,
    account_from_env,
    is_loopback,
    is_private,
)
from airflow_provider_grokvideo.core.errors import AuthenticationFailed, InvalidInput

KEY = "xai-0123456789SECRET"


def account(host=None, port=None, schema=None, password=KEY, **extra) -> Account:
    """Return the account of the parts of a connection."""
    return account_from(host=host, port=port, schema=schema, password=password, extra=extra)


@pytest.mark.parametrize(
    ("parts", "base_url"),
    [
        pytest.param({}, DEFAULT_BASE_URL, id="nothing"),
        pytest.param({"host": " "}, DEFAULT_BASE_URL, id="blank"),
        pytest.param({"host": "https://api.x.ai/v1"}, DEFAULT_BASE_URL, id="base URL"),
        pytest.param({"host": " https://api.x.ai/v1/ "}, DEFAULT_BASE_URL, id="base URL with slash and blanks"),
        pytest.param({"host": "https://api.x.ai"}, DEFAULT_BASE_URL, id="URL without version"),
        pytest.param({"host": "HTTPS://API.X.AI/v1"}, DEFAULT_BASE_URL, id="capitals"),
        pytest.param({"host": "api.x.ai"}, DEFAULT_BASE_URL, id="bare name"),
        pytest.param({"host": "api.x.ai/v1"}, DEFAULT_BASE_URL, id="bare name with path"),
        pytest.param({"host": "gw.example/xai/v2"}, "https://gw.example/xai/v2", id="gateway path"),
        pytest.param({"host": "gw.example", "port": 8443}, "https://gw.example:8443/v1", id="name and port"),
        pytest.param({"host": "gw.example:8443"}, "https://gw.example:8443/v1", id="name with port"),
        pytest.param(
            {"host": "127.0.0.1", "port": 8080, "schema": "v1"}, "http://127.0.0.1:8080/v1", id="parts of a URI"
        ),
        pytest.param({"host": "gw.example", "schema": "/v2/"}, "https://gw.example/v2", id="path as schema"),
        pytest.param({"host": "localhost:8080"}, "http://localhost:8080/v1", id="localhost"),
        pytest.param({"host": "LOCALHOST:8080"}, "http://localhost:8080/v1", id="localhost in capitals"),
        pytest.param({"host": "http://127.0.0.1:8080"}, "http://127.0.0.1:8080/v1", id="loopback over http"),
        pytest.param({"host": "[::1]:8080"}, "http://[::1]:8080/v1", id="loopback of IPv6"),
        pytest.param({"host": "[::1]"}, "http://[::1]/v1", id="loopback of IPv6 without port"),
        pytest.param({"host": "https://gw.example", "port": 8443}, "https://gw.example:8443/v1", id="URL and port"),
        pytest.param(
            {"host": "https://gw.example", "port": 8443, "schema": "v2"},
            "https://gw.example:8443/v2",
            id="URL in parts",
        ),
    ],
)
def test_an_address_may_be_written_in_many_ways(parts, base_url):
    """Whatever parts a connection has, calls go where they say."""
    assert base_url == account(**parts).base_url


@pytest.mark.parametrize(
    ("uri", "base_url"),
    [
        pytest.param("grokvideo://:k3y@/", DEFAULT_BASE_URL, id="key only"),
        pytest.param("grokvideo://:k3y@127.0.0.1:8080/v1", "http://127.0.0.1:8080/v1", id="bare"),
        pytest.param("grokvideo://https://:k3y@gw.example:8443/v2", "https://gw.example:8443/v2", id="with https"),
        pytest.param("grokvideo://http://:k3y@127.0.0.1:8080/v1", "http://127.0.0.1:8080/v1", id="with http"),
        pytest.param(
            "grokvideo://:k3y@https%3A%2F%2Fgw.example%3A8443%2Fv2", "https://gw.example:8443/v2", id="quoted"
        ),
    ],
)
def test_an_address_may_come_from_airflows_connection_uri(uri, base_url):
    """AIRFLOW_CONN_... as a URI means what Airflow's own documentation lets one write."""
    parts = Connection.from_uri(uri, conn_id="c")

    made = account_from(
        host=parts.host, port=parts.port, schema=parts.schema, password=parts.password, extra=parts.extra_dejson
    )
    assert (base_url, "k3y") == (made.base_url, made.api_key)


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        pytest.param({"host": "http://api.x.ai/v1"}, "https URL", id="http"),
        pytest.param({"host": "http://10.0.0.5:8080"}, "https URL", id="http in a private network"),
        pytest.param({"host": "http://127.0.0.1.evil.example"}, "https URL", id="name that begins like loopback"),
        pytest.param({"host": "ftp://api.x.ai"}, "base URL", id="ftp"),
        pytest.param({"host": "https://"}, "base URL", id="no host"),
        pytest.param({"host": "://"}, "base URL", id="nothing but a separator"),
        pytest.param({"host": "https://api.x.ai/v1?team=1"}, "base URL", id="query"),
        pytest.param({"host": "https://api.x.ai/v1#top"}, "base URL", id="fragment"),
        pytest.param({"host": "https://me:pw@api.x.ai"}, "base URL", id="user and password"),
        pytest.param({"host": "api.x.ai\nevil"}, "base URL", id="line break"),
        pytest.param({"host": "api.x .ai"}, "base URL", id="blank inside"),
        pytest.param({"host": "localhost:80", "port": 90}, "base URL", id="two ports"),
        pytest.param({"host": "api.x.ai", "port": 99_999}, "base URL", id="no such port"),
        pytest.param({"host": "[::1"}, "base URL", id="broken brackets"),
    ],
)
def test_an_address_that_is_none_is_refused(parts, said):
    """A wrong base URL is refused before a key is sent anywhere."""
    with pytest.raises(InvalidInput, match="host=") as refused:
        account(**parts)

    assert said in str(refused.value)


@pytest.mark.parametrize(
    "host", ["https://me:SECRET@h.example:99999", "https://me:SECRET@h.example", "https://h.example?token=SECRET"]
)
def test_a_refused_address_keeps_its_secrets(host):
    """Credentials inside an address do not reach the message."""
    with pytest.raises(InvalidInput) as refused:
        account(host=host)

    assert "SECRET" not in str(refused.value)


@pytest.mark.parametrize("password", [None, "", "  ", "xai-a b", "xai-\nb", "xai-ü", "Bearer xai-SECRET"], ids=repr)
def test_a_key_that_is_none_is_refused(password):
    """A missing or mangled key is an authentication problem, and is not quoted."""
    with pytest.raises(AuthenticationFailed) as refused:
        account(password=password)

    assert "SECRET" not in str(refused.value)
    assert "password" in str(refused.value)


def test_blanks_around_a_key_are_forgiven():
    """A key pasted with a line break works."""
    assert KEY == account(password=f" {KEY}\n").api_key


def test_a_key_is_not_shown():
    """Neither repr nor str of an account has the key."""
    made = account()

    assert "SECRET" not in f"{made!r} {made}"


@pytest.mark.parametrize(
    ("extra", "numbers"),
    [
        pytest.param({}, (30.0, 60.0, None), id="defaults"),
        pytest.param({"timeout": 5, "submit_timeout": 90.5, "poll_interval": 7}, (5.0, 90.5, 7.0), id="numbers"),
        pytest.param({"timeout": "5", "submit_timeout": " 90 ", "poll_interval": "7"}, (5.0, 90.0, 7.0), id="text"),
        pytest.param(
            {"timeout": None, "submit_timeout": "", "poll_interval": None}, (30.0, 60.0, None), id="empty fields"
        ),
        pytest.param({"region": "us", "timeout": 5}, (5.0, 60.0, None), id="unknown words"),
    ],
)
def test_numbers_come_from_the_extra_fields(extra, numbers):
    """Extra fields are seconds, as numbers or as text from a URI."""
    made = account(**extra)

    assert numbers == (made.timeout, made.submit_timeout, made.poll_interval)


@pytest.mark.parametrize("name", ["timeout", "submit_timeout", "poll_interval"])
@pytest.mark.parametrize("value", [0, -1, 3601, "soon", "nan", "inf", True, [], {}, "0"], ids=repr)
def test_a_number_that_is_none_is_refused(name, value):
    """A wrong number names its field."""
    with pytest.raises(InvalidInput, match=name):
        account(**{name: value})


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("[::1]", True),
        ("0.0.0.0", False),
        ("10.0.0.1", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("", False),
    ],
)
def test_this_machine_is_known_by_its_very_name(host, local):
    """Only loopback names and addresses may be reached without TLS."""
    assert local is is_loopback(host)


@pytest.mark.parametrize(("host", "local"), [("http://127.0.0.1:8080", True), ("https://api.x.ai", False)])
def test_an_account_knows_whether_the_service_is_local(host, local):
    """The emulator is recognised by its address."""
    assert local is account(host=host).is_local


def test_the_environment_may_hold_the_key(monkeypatch):
    """The key of the environment goes to the default address."""
    monkeypatch.setenv(ENV_KEY, f" {KEY} ")

    assert Account(DEFAULT_BASE_URL, KEY) == account_from_env()


@pytest.mark.parametrize("value", [None, "", " "], ids=repr)
def test_an_empty_environment_is_no_account(monkeypatch, value):
    """Without a key there is no account, not one that fails later."""
    monkeypatch.delenv(ENV_KEY, raising=False)
    if value is not None:
        monkeypatch.setenv(ENV_KEY, value)

    assert account_from_env() is None


@given(
    host=st.text(alphabet="ahtps:/.[]@?#% -1\\\u00e4", max_size=20), port=st.one_of(st.none(), st.integers(0, 70_000))
)
def test_any_address_is_https_loopback_or_refused(host, port):
    """However an address is written, the key is never sent in the clear to another machine."""
    try:
        made = account(host=host, port=port)
    except InvalidInput:
        return

    assert made.base_url.startswith("https://") or made.is_local
    assert not made.base_url.endswith("/")


@pytest.mark.parametrize(
    ("value", "expected"),
    [(True, True), (False, False), (None, False), ("true", True), ("False", False), ("1", True), ("", False)],
)
def test_a_witness_is_a_yes_or_no(value, expected):
    """A connection that is written as a URI holds text."""
    account = account_from(host=None, port=None, schema=None, password="k", extra={"witness": value})

    assert expected is account.witness


@pytest.mark.parametrize("value", ["maybe", 2, [], {}, "2"])
def test_a_witness_that_is_neither_is_refused(value):
    """A misspelt yes is no silent no."""
    with pytest.raises(InvalidInput, match="witness"):
        account_from(host=None, port=None, schema=None, password="k", extra={"witness": value})


@pytest.mark.parametrize("value", [True, "true", "True", "1"])
@pytest.mark.parametrize(
    ("host", "base_url"),
    [
        ("http://emulator:8900/v1", "http://emulator:8900/v1"),
        ("http://10.0.0.5:8080", "http://10.0.0.5:8080/v1"),
        ("http://[fd00::1]:8080", "http://[fd00::1]:8080/v1"),
        ("http://grok.media.svc.cluster.local", "http://grok.media.svc.cluster.local/v1"),
        ("http://host.docker.internal:8900", "http://host.docker.internal:8900/v1"),
    ],
)
def test_plain_http_to_a_private_host_is_allowed_on_demand(value, host, base_url):
    """A field of the connection lets the emulator in a container be used."""
    assert base_url == account(host=host, allow_http=value).base_url
    with pytest.raises(InvalidInput):
        account(host=host)


@pytest.mark.parametrize(
    "host",
    [
        "http://api.x.ai/v1",
        "http://8.8.8.8",
        "http://134744072",
        "http://0x8.8.8.8",
        "http://8.2056",
        "http://[2001:4860:4860::8888]",
        "http://[::ffff:8.8.8.8]",
        "http://224.0.0.1",
        "http://local.example.com",
        "http://emulator.example",
    ],
)
def test_plain_http_to_a_public_host_is_never_allowed(host):
    """No field lets a key travel readably to a public host, whatever the host is called."""
    with pytest.raises(InvalidInput):
        account(host=host, allow_http=True)


@pytest.mark.parametrize("value", ["maybe", 2, [], {}])
def test_allow_http_is_yes_or_no(value):
    """Another word is refused and not taken for a yes."""
    with pytest.raises(InvalidInput, match="allow_http"):
        account(host="http://emulator", allow_http=value)


@pytest.mark.parametrize(
    ("address", "private"),
    [
        ("127.0.0.1", True),
        ("10.1.2.3", True),
        ("fe80::1%eth0", True),
        ("::ffff:10.0.0.1", True),
        ("::ffff:8.8.8.8", False),
        ("8.8.8.8", False),
        ("0.0.0.0", False),
        ("emulator", False),
        ("", False),
    ],
)
def test_a_private_address_is_told_from_a_public_one(address, private):
    """The address that was connected to is held against this before the key is sent."""
    assert private is is_private(address)
