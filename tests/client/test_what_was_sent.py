"""The socket decides whether a submit is unconfirmed, and every answer has an end in bytes and in time."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import pytest

from airflow_provider_grokvideo.client import carriers, exchange, flow
from airflow_provider_grokvideo.client.account import Account
from airflow_provider_grokvideo.core.errors import AmbiguousSubmit, GrokVideoError, OutOfCredits, ServiceUnavailable
from airflow_provider_grokvideo.core.jobs import Done, Pending
from airflow_provider_grokvideo.core.redaction import MARK
from airflow_provider_grokvideo.core.requests import TextToVideo

KEY = "gw/4f9a+8b7c6d5e"


@dataclass
class Raw:
    """A server that answers each request with the bytes it is told to."""

    base_url: str
    heads: list[bytes] = field(default_factory=list)


@contextmanager
def raw(talk: Callable[[socket.socket], None]) -> Iterator[Raw]:
    """Run a server whose every connection is read to the end of a request's header and then handed to `talk`."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = Raw(f"http://127.0.0.1:{listener.getsockname()[1]}/v1")

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, suppress(OSError):
                connection.settimeout(10)
                head = b""
                while b"\r\n\r\n" not in head and (more := connection.recv(65536)):
                    head += more
                server.heads.append(head)
                talk(connection)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        # A close alone does not wake a thread that accepts.
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(15)


def answer(body: bytes, *, status: str = "200 OK", headers: bytes = b"") -> Callable[[socket.socket], None]:
    """Return what sends one whole answer."""
    head = f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n".encode()
    return lambda connection: connection.sendall(head + headers + b"\r\n" + body)


def account(base_url: str, **words: float) -> Account:
    return Account(base_url, KEY, **{"timeout": 5.0, "submit_timeout": 5.0, **words})


@pytest.mark.parametrize("prompt", ["A kite \ud83d", "\udc00"])
def test_half_an_emoji_is_not_in_doubt(drive, prompt):
    """A body that cannot be encoded never reaches a socket, so the error says that nothing was sent."""
    with raw(answer(b"{}")) as server, pytest.raises(GrokVideoError) as refused:
        drive(account(server.base_url), flow.submit(TextToVideo(prompt=prompt)))

    assert not isinstance(refused.value, AmbiguousSubmit)
    assert [] == server.heads


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HTTPS_PROXY", "socks7://proxy:1"),
        ("ALL_PROXY", "http://[::1"),
        ("HTTPS_PROXY", "http://proxy:port"),
        ("SSL_CERT_FILE", "/nowhere/ca.pem"),
    ],
)
def test_a_setting_that_cannot_be_used_is_not_in_doubt(drive, monkeypatch, name, value):
    """A broken proxy or certificate setting of the worker is named, and nothing is sent."""
    monkeypatch.setenv(name, value)
    with pytest.raises(ServiceUnavailable, match=name) as refused:
        drive(Account("https://api.example/v1", KEY), flow.submit(TextToVideo(prompt="A kite")))

    assert not isinstance(refused.value, AmbiguousSubmit)


def test_a_cut_after_the_first_bytes_is_in_doubt(drive):
    """Once the request began to leave, a connection that ends leaves a doubt, and the submit is sent once."""
    with raw(lambda connection: None) as server, pytest.raises(AmbiguousSubmit):
        drive(account(server.base_url), flow.submit(TextToVideo(prompt="A kite")))

    assert 1 == len(server.heads)


def test_one_client_id_for_all_attempts_and_the_error(drive):
    """Attempts of one purchase carry one x-client-request-id, and the error names it."""
    limited = answer(
        b'{"code": "resource-exhausted", "error": "slow"}', status="429 Too Many", headers=b"retry-after: 0\r\n"
    )
    with raw(limited) as server, pytest.raises(GrokVideoError) as refused:
        drive(account(server.base_url), flow.submit(TextToVideo(prompt="A kite"), client_id="token-1"))

    assert 3 == len(server.heads) == sum(b"x-client-request-id: token-1\r\n" in head for head in server.heads)
    assert "token-1" == refused.value.client_id
    assert all(b"accept-encoding: identity\r\n" in head.lower() for head in server.heads)


def test_missing_credits_are_not_asked_for_again(drive):
    """A 429 that speaks of credits is named as that."""
    with raw(answer(b'{"code": "resource-exhausted", "error": "no credits"}', status="429 Too Many")) as server:
        found = drive(account(server.base_url), flow.poll("r", retry=False))

    assert isinstance(found, OutOfCredits)


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        pytest.param(b" " * (exchange.LARGEST_ANSWER + 1), b"", id="bytes"),
        pytest.param(gzip.compress(b" " * (64 << 20)), b"content-encoding: gzip\r\n", id="unpacked bytes"),
        pytest.param(b"[" * 100_000, b"", id="nesting"),
    ],
)
def test_an_answer_beyond_all_measure_is_a_miss(drive, body, headers):
    """Neither bytes nor unpacked bytes nor nesting of an answer are without an end."""
    with raw(answer(body, headers=headers)) as server:
        found = drive(account(server.base_url), flow.poll("r", retry=False))

    assert isinstance(found, ServiceUnavailable)


def test_gzip_in_spite_of_identity_is_read(drive):
    """Some proxies compress whatever was asked for."""
    body = gzip.compress(json.dumps({"status": "pending", "progress": 7}).encode())
    with raw(answer(body, headers=b"content-encoding: gzip\r\n")) as server:
        found = drive(account(server.base_url), flow.poll("r", retry=False))

    assert Pending("r", 7) == found


def _small_window(body: bytes) -> bytes:
    packer = zlib.compressobj(wbits=9)
    return packer.compress(body) + packer.flush()


def _raw_deflate(body: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(body) + packer.flush()


@pytest.mark.parametrize(
    ("pack", "label"),
    [
        (bytes, b"gzip"),
        (bytes, b"deflate"),
        (bytes, b"br"),
        (gzip.compress, b"gzip, identity"),
        (gzip.compress, b"identity"),
        (zlib.compress, b"deflate"),
        (_raw_deflate, b"deflate"),
        (zlib.compress, b"identity"),
        (lambda body: gzip.compress(body[:5]) + gzip.compress(body[5:]), b"gzip"),
        (lambda body: gzip.compress(gzip.compress(body)), b"gzip, gzip"),
        (lambda body: gzip.compress(_raw_deflate(body)), b"deflate, gzip"),
        (lambda body: gzip.compress(body)[:-8], b"gzip"),
        (_small_window, b"deflate"),
    ],
)
def test_a_wrong_label_does_not_lose_the_id(drive, pack, label):
    """Bytes tell how the answer to a submission is packed: whatever its label, the id of a paid video is read."""
    body = pack(json.dumps({"request_id": "r"}).encode())
    with raw(answer(body, headers=b"content-encoding: " + label + b"\r\n")) as server:
        found = drive(account(server.base_url), flow.submit(TextToVideo(prompt="A kite")))

    assert "r" == found


def test_a_large_answer_is_read_all_the_same(drive):
    """An answer above 64 kB is parsed in a thread by the triggerer, and means the same."""
    body = json.dumps({"status": "done", "video": {"url": "https://v.example/a.mp4"}, "x": "y" * 200_000}).encode()
    with raw(answer(body)) as server:
        found = drive(account(server.base_url), flow.poll("r", retry=False))

    assert Done("r", "https://v.example/a.mp4") == found
    assert len(body) > carriers.PARSED_HERE


@pytest.mark.parametrize("drips", ["header", "body"])
def test_a_drip_ends(drive, drips):
    """An answer that comes byte by byte, each in time, ends all the same; a submit is unconfirmed then."""
    stop = threading.Event()

    def talk(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n" + (b"content-length: 99999\r\n\r\n" if drips == "body" else b""))
        while not stop.wait(0.05):
            connection.sendall(b"x")

    with raw(talk) as server:
        words = account(server.base_url, timeout=0.3, submit_timeout=0.3)
        found = drive(words, flow.poll("r", retry=False))
        with pytest.raises(AmbiguousSubmit):
            drive(words, flow.submit(TextToVideo(prompt="A kite")))
        stop.set()

    assert isinstance(found, ServiceUnavailable)


@pytest.mark.parametrize("place", ["body", "header", "broken answer"])
def test_a_key_of_any_form_is_cut_out_of_what_comes_back(drive, place):
    """A gateway that quotes the key finds it in no error, wherever it writes it."""
    quoted = KEY.encode()
    talks = {
        "body": answer(b'{"code": "x", "error": "bad ' + quoted + b'"}', status="400 Bad Request"),
        "header": answer(
            b'{"code": "x", "error": "y"}', status="400 Bad", headers=b"x-request-id: " + quoted + b"\r\n"
        ),
        "broken answer": lambda connection: connection.sendall(b"HTTP/1.1 " + quoted + b"\r\n\r\n"),
    }
    with raw(talks[place]) as server, pytest.raises(GrokVideoError) as refused:
        drive(account(server.base_url), flow.submit(TextToVideo(prompt="A kite")))

    told = f"{refused.value} {refused.value.__dict__}"
    assert KEY not in told
    assert MARK in told or place == "broken answer"


def test_plain_http_ends_before_the_key_where_the_address_is_public(drive, monkeypatch):
    """A private name that leads to a public address gets no key: it is looked at when the connection stands."""
    with raw(answer(b'{"request_id": "r"}')) as server:
        monkeypatch.setattr(exchange, "is_private", lambda address: False)
        with pytest.raises(ServiceUnavailable, match="public") as refused:
            drive(account(server.base_url), flow.submit(TextToVideo(prompt="A kite")))

    assert not isinstance(refused.value, AmbiguousSubmit)
    assert KEY.encode() not in b"".join(server.heads)


def test_an_interrupted_submit_knows_whether_anything_left():
    """What interrupts a submit before its first byte leaves no doubt; later it does."""

    class Interrupted(BaseException):
        pass

    with carriers.Client(account("http://127.0.0.1:9/v1"), sleep=_raise(Interrupted)) as client:
        with pytest.raises(Interrupted):
            client.run(flow.submit(TextToVideo(prompt="A kite")))
        assert not client.may_have_bought
    with raw(lambda connection: None) as server, carriers.Client(account(server.base_url)) as client:
        with pytest.raises(AmbiguousSubmit):
            client.run(flow.submit(TextToVideo(prompt="A kite")))
        assert client.may_have_bought


def _raise(kind: type[BaseException]) -> Callable[[float], None]:
    def sleep(seconds: float) -> None:
        raise kind

    return sleep
