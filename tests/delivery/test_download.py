"""From a link to a local file, over a real server."""

from __future__ import annotations

import gzip
import hashlib
import os
import socket
import ssl
import threading
import zlib
from datetime import datetime, timedelta, timezone

import pytest
from delivery_kit import body, ranged, redirect

from airflow_provider_grokvideo.core.errors import DeliveryFailed
from airflow_provider_grokvideo.delivery.download import LinkExpired, fetch
from airflow_provider_grokvideo.delivery.hops import system_addresses

DATA = os.urandom(700_000)


@pytest.fixture
def get(server, tmp_path, pauses):
    """Return a function that fetches a route of the server, recording pauses instead of sleeping."""

    def run(path="/clip.mp4", **words):
        words = {"allow_loopback": True, "pause": pauses.append, **words}
        url = path if "://" in path else server.url(path)
        return fetch(url, tmp_path / "file", **words)

    return run


def test_a_file_arrives_with_its_hash(server, get, tmp_path):
    """Bytes, length, hash and type are those of the server."""
    server.routes["/clip.mp4"] = body(DATA)
    fetched = get()

    assert (hashlib.sha256(DATA).hexdigest(), len(DATA), "video/mp4") == (
        fetched.sha256,
        fetched.bytes,
        fetched.content_type,
    )
    assert (tmp_path / "file").read_bytes() == DATA


def test_nothing_secret_is_sent(server, get, monkeypatch):
    """No key, no cookie, no user name goes to the download's origin, also after a redirect that sets a cookie."""
    monkeypatch.setenv("XAI_API_KEY", "xai-secret")
    server.routes["/clip.mp4"] = redirect("/there")
    server.routes["/there"] = body(DATA)
    get()
    sent = {name for _, headers in server.asked for name in headers}

    assert {"host", "user-agent", "accept", "accept-encoding", "connection"} == sent
    assert "secret" not in str(server.asked)
    assert server.asked[0][1]["user-agent"].startswith("airflow-provider-grokvideo/")


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_a_dead_link_is_said_to_be_dead(server, get, pauses, status):
    """An expired link is not tried again; its signature is not repeated."""
    server.routes["/clip.mp4"] = body(b"<Error>AccessDenied</Error>", "application/xml", status)
    with pytest.raises(LinkExpired) as error:
        get("/clip.mp4?sig=abc")

    assert [] == pauses
    assert f"HTTP {status}" in str(error.value)
    assert "abc" not in str(error.value)


@pytest.mark.parametrize("coding", ["gzip", "deflate", None], ids=["gzip", "deflate", "no label"])
def test_an_unasked_compression_is_undone(server, get, tmp_path, coding):
    """What was compressed in spite of identity is unpacked; gzip is known by its bytes, too."""
    packed = zlib.compress(DATA) if coding == "deflate" else gzip.compress(DATA)
    server.routes["/clip.mp4"] = body(packed, **({"content_encoding": coding} if coding else {}))
    fetched = get()

    assert DATA == (tmp_path / "file").read_bytes()
    assert (hashlib.sha256(DATA).hexdigest(), len(DATA)) == (fetched.sha256, fetched.bytes)
    assert 1 == len(fetched.odd)


def _small_window(data):
    packer = zlib.compressobj(wbits=9)
    return packer.compress(data) + packer.flush()


def _raw(data):
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


CLIP = b"\0\0\0\x18ftypmp42" + DATA


@pytest.mark.parametrize(
    ("packed", "coding"),
    [
        pytest.param(gzip.compress(CLIP[:99]) + gzip.compress(CLIP[99:]), "gzip", id="members"),
        pytest.param(gzip.compress(CLIP) + b"\0" * 512, "gzip", id="padded"),
        pytest.param(gzip.compress(gzip.compress(CLIP)), "gzip, gzip", id="twice"),
        pytest.param(gzip.compress(gzip.compress(CLIP)), "gzip", id="twice, labelled once"),
        pytest.param(gzip.compress(_raw(CLIP)), "deflate, gzip", id="two kinds"),
        pytest.param(_small_window(CLIP), "deflate", id="small window"),
        pytest.param(_small_window(CLIP), None, id="small window, no label"),
        pytest.param(zlib.compress(CLIP), None, id="zlib, no label"),
        pytest.param(_raw(CLIP), "deflate", id="raw"),
        pytest.param(zlib.compress(CLIP), "gzip", id="wrong label"),
    ],
)
def test_every_way_of_packing_is_undone(server, get, tmp_path, packed, coding):
    """Whatever a proxy packed the video into, the video is what arrives, with one warning."""
    server.routes["/clip.mp4"] = body(packed, **({"content_encoding": coding} if coding else {}))
    fetched = get()

    assert CLIP == (tmp_path / "file").read_bytes()
    assert (hashlib.sha256(CLIP).hexdigest(), len(CLIP), 1) == (fetched.sha256, fetched.bytes, len(fetched.odd))


def test_what_only_looks_packed_stays(server, get, tmp_path):
    """Bytes that begin like zlib and are none are kept as they came."""
    data = b"\x78\x9c" + DATA
    server.routes["/clip.mp4"] = body(data)

    assert (len(data), ()) == (get().bytes, get().odd)
    assert data == (tmp_path / "file").read_bytes()


@pytest.mark.parametrize("packed", [gzip.compress(b""), gzip.compress(b"x" * 9)], ids=["empty", "nine bytes"])
def test_members_are_limited(server, get, monkeypatch, packed):
    """A file of countless gzip members ends with an error."""
    monkeypatch.setattr("airflow_provider_grokvideo.core.packing.MOST_MEMBERS", 50)
    server.routes["/clip.mp4"] = body(packed * 51)
    with pytest.raises(DeliveryFailed):
        get()


def test_a_label_of_compression_is_not_believed(server, get, tmp_path):
    """A file that is labelled gzip and is none is stored as it is, with a warning."""
    server.routes["/clip.mp4"] = body(b"\0\0\0\x18ftypmp42" + DATA, content_encoding="gzip")
    fetched = get()

    assert (tmp_path / "file").read_bytes().endswith(DATA)
    assert 1 == len(fetched.odd)


def test_a_cut_compression_is_an_error(server, get):
    """A compressed file that ends early is not delivered."""
    server.routes["/clip.mp4"] = body(gzip.compress(DATA)[:-9], content_encoding="gzip")
    with pytest.raises(DeliveryFailed):
        get()


def test_faults_that_pass_are_outlived(server, get, pauses):
    """502, 429 with Retry-After and 503 are tried again with growing pauses."""
    server.routes["/clip.mp4"] = [
        body(b"", status=502),
        body(b"", status=429, retry_after="3"),
        body(b"", status=503),
        body(DATA),
    ]

    assert len(DATA) == get().bytes
    assert [0.5, 3.0, 2.0] == pauses


def test_tries_are_counted(server, get, pauses):
    """What does not pass ends with the reason and the number of tries."""
    server.routes["/clip.mp4"] = body(b"", status=502)
    with pytest.raises(DeliveryFailed, match="failed after 5 tries: HTTP 502"):
        get()

    assert [0.5, 1.0, 2.0, 4.0] == pauses


def test_a_broken_download_goes_on_where_it_broke(server, get, tmp_path):
    """With a strong ETag only the rest is asked for, and the hash is that of the whole."""
    server.routes["/clip.mp4"] = [ranged(DATA, first=300_000), ranged(DATA)]
    fetched = get()

    assert (hashlib.sha256(DATA).hexdigest(), len(DATA)) == (fetched.sha256, fetched.bytes)
    assert (tmp_path / "file").read_bytes() == DATA
    second = server.asked[1][1]
    assert ('"v1"', True) == (second["if-range"], 0 < int(second["range"][6:-1]) <= 300_000)


@pytest.mark.parametrize(
    "after",
    [
        pytest.param(body(DATA), id="no-range-support"),
        pytest.param(ranged(DATA, etag='"v2"'), id="changed-meanwhile"),
    ],
)
def test_a_broken_download_starts_over_if_it_must(server, get, tmp_path, after):
    """A server without ranges, or with another file by then, is read from the beginning."""
    server.routes["/clip.mp4"] = [ranged(os.urandom(len(DATA)), first=300_000), after]
    fetched = get()

    assert hashlib.sha256(DATA).hexdigest() == fetched.sha256
    assert (tmp_path / "file").read_bytes() == DATA


def test_a_rest_of_another_file_is_not_glued_on(server, get, tmp_path):
    """A 206 with another ETag starts the download over."""

    def lying(request):
        request.send_response(206)
        request.send_header("Content-Range", f"bytes {request.headers['Range'][6:-1]}-{len(DATA) - 1}/{len(DATA)}")
        request.send_header("ETag", '"v2"')
        request.send_header("Content-Length", "0")
        request.end_headers()

    server.routes["/clip.mp4"] = [ranged(os.urandom(len(DATA)), first=300_000), lying, ranged(DATA, etag='"v2"')]

    assert hashlib.sha256(DATA).hexdigest() == get().sha256
    assert (tmp_path / "file").read_bytes() == DATA


def test_a_download_that_always_breaks_is_given_up(server, get):
    """A body shorter than announced is never taken for the file."""
    server.routes["/clip.mp4"] = body(DATA[:1000], content_length="5000")
    with pytest.raises(DeliveryFailed, match=r"5 tries: .* after 1000 bytes"):
        get()


def test_an_empty_file_is_no_file(server, get):
    """Zero bytes with status 200 are a fault."""
    server.routes["/clip.mp4"] = body(b"")
    with pytest.raises(DeliveryFailed, match="an empty file"):
        get()


def test_large_files_are_refused_by_their_announcement(server, get):
    """A Content-Length beyond the limit is refused before anything is read."""
    server.routes["/clip.mp4"] = body(b"x", content_length="5000")
    with pytest.raises(DeliveryFailed, match="is too large: 5000 bytes; at most 1000 are allowed"):
        get(max_bytes=1000)


def test_large_files_are_refused_as_they_grow(server, get, tmp_path):
    """Without an announcement the limit holds all the same, on disk too."""

    def endless(request):
        request.send_response(200)
        request.end_headers()
        while not server.stop.is_set():
            request.wfile.write(b"x" * 65536)

    server.routes["/clip.mp4"] = endless
    with pytest.raises(DeliveryFailed, match="is too large"):
        get(max_bytes=200_000)

    assert (tmp_path / "file").stat().st_size <= 200_000


def test_a_drip_is_bounded_by_the_total_time(server, get):
    """A server that sends a little now and then cannot hold the worker."""

    def drip(request):
        request.send_response(200)
        request.send_header("Content-Length", "1000000")
        request.end_headers()
        while not server.stop.wait(0.02):
            request.wfile.write(b"x")

    server.routes["/clip.mp4"] = drip
    with pytest.raises(DeliveryFailed, match=r"took longer than 0\.3 s; \d+ bytes"):
        get(total_seconds=0.3)


def test_silence_is_bounded(server, get):
    """A server that accepts and says nothing is tried again and given up."""
    server.routes["/clip.mp4"] = lambda request: server.stop.wait(5)
    with pytest.raises(DeliveryFailed, match="no response in time"):
        get(silence_seconds=0.05)


def test_a_refused_connection_is_a_sentence(get, unused_port):
    """A host that is down ends with a readable reason."""
    with pytest.raises(DeliveryFailed, match="failed after 5 tries: ConnectError"):
        get(f"http://127.0.0.1:{unused_port}/clip.mp4")


@pytest.fixture
def unused_port():
    """Return a port nobody listens on, held so that nobody starts to."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


def test_redirects_are_followed(server, get):
    """Relative and absolute redirects lead to the file."""
    server.routes |= {"/clip.mp4": redirect("/b"), "/b": redirect(server.url("/c"), 307), "/c": body(DATA)}

    assert len(DATA) == get().bytes
    assert ["/clip.mp4", "/b", "/c"] == server.paths()


def test_redirect_loops_end(server, get):
    """After five redirects the link is given up."""
    server.routes["/clip.mp4"] = redirect("/clip.mp4")
    with pytest.raises(DeliveryFailed, match="was redirected more than 5 times"):
        get()

    assert 6 == len(server.asked)


@pytest.mark.parametrize(
    "where",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://10.0.0.1/x",
        "https://192.168.0.1/x",
        "https://[::ffff:10.0.0.1]/x",
        "https://[fe80::1]/x",
        "http://0.0.0.0/x",
        "https://0xa9fea9fe/x",
        "file:///etc/passwd",
        "ftp://127.0.0.1/x",
        "http://8.8.8.8/x",
    ],
)
def test_a_redirect_does_not_open_other_networks(server, get, where):
    """No hop leads to private addresses, other schemes or public hosts without TLS, loopback allowed or not."""
    server.routes["/clip.mp4"] = redirect(where)
    with pytest.raises(DeliveryFailed, match="was not followed to "):
        get()

    assert 1 == len(server.asked)


@pytest.mark.parametrize(
    "link", ["http://127.0.0.1:{port}/x", "https://127.0.0.1:{port}/x", "https://localhost:{port}/x"]
)
def test_loopback_needs_to_be_allowed(server, get, link):
    """With a public API no link leads to this machine, by http or https."""
    with pytest.raises(DeliveryFailed, match="was not followed"):
        get(link.format(port=server.port), allow_loopback=False)

    assert [] == server.asked


def test_the_connection_goes_to_the_address_that_was_judged(server, get):
    """A name is resolved once; what it resolves to later does not matter."""
    server.routes["/clip.mp4"] = body(DATA)
    answers = [["127.0.0.1"], ["10.0.0.1"]]
    get(f"http://rebinding.example:{server.port}/clip.mp4", resolve=lambda host, port: answers.pop(0))

    assert f"rebinding.example:{server.port}" == server.asked[0][1]["host"]
    assert [["10.0.0.1"]] == answers


def test_the_next_address_is_tried_if_one_is_dead(server, get):
    """A name with a dead address is reached by its other one."""
    server.routes["/clip.mp4"] = body(DATA)

    assert (
        len(DATA)
        == get(
            f"http://two.example:{server.port}/clip.mp4", resolve=lambda host, port: ["127.0.0.2", "127.0.0.1"]
        ).bytes
    )


def test_an_unknown_name_is_a_sentence(get):
    """A name that does not resolve is tried again, then named."""

    def unknown(host, port):
        raise socket.gaierror(-2, "Name or service not known")

    with pytest.raises(DeliveryFailed, match=r"gone\.example cannot be resolved"):
        get("https://gone.example/clip.mp4", resolve=unknown)


def test_proxies_of_the_environment_are_not_used_for_loopback(server, get, monkeypatch, unused_port):
    """Loopback is this machine, whatever the proxy settings."""
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{unused_port}")
    monkeypatch.delenv("no_proxy", raising=False)
    server.routes["/clip.mp4"] = body(DATA)

    assert len(DATA) == get().bytes


def test_a_proxy_gets_the_name(server, get, monkeypatch):
    """Through a proxy the tunnel is asked for by name, which only the proxy may be able to resolve."""
    connects = []

    def unknown(host, port):
        raise socket.gaierror(-2, "Name or service not known")

    with socket.create_server(("127.0.0.1", 0)) as listener:

        def refuse():
            connection, _ = listener.accept()
            with connection:
                connects.append(connection.recv(4096).split(b"\r\n")[0])
                connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=lambda: [refuse() for _ in range(5)], daemon=True)
        thread.start()
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{listener.getsockname()[1]}")
        monkeypatch.delenv("no_proxy", raising=False)
        with pytest.raises(DeliveryFailed, match="5 tries: ProxyError"):
            get("https://vidgen.example/clip.mp4", resolve=unknown)
        thread.join(5)

    assert [b"CONNECT vidgen.example:443 HTTP/1.1"] * 5 == connects


@pytest.fixture
def tls(tmp_path, server):
    """Return a TLS port before the server whose certificate names video.example, and the certificate's file."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "video.example")])
    begin = datetime.now(timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(begin - timedelta(days=1))
        .not_valid_after(begin + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("video.example")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    chain, secret = tmp_path / "chain.pem", tmp_path / "key.pem"
    chain.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, secret)
    names = []
    context.sni_callback = lambda sock, name, ctx: names.append(name)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                try:
                    with context.wrap_socket(connection, server_side=True) as secure:
                        secure.recv(65536)
                        secure.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nclip")
                except OSError:
                    pass

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1], chain, names
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(5)


def test_tls_is_checked_against_the_name(tls, get, monkeypatch):
    """The connection goes by address, the certificate and the server's choice by name."""
    port, chain, names = tls
    monkeypatch.setenv("SSL_CERT_FILE", str(chain))

    assert 4 == get(f"https://video.example:{port}/x", resolve=lambda host, p: ["127.0.0.1"]).bytes
    assert ["video.example"] == names


@pytest.mark.parametrize(("host", "trusted"), [("video.example", False), ("other.example", True)])
def test_wrong_certificates_are_refused(tls, get, monkeypatch, host, trusted):
    """An untrusted certificate, or one of another name, ends the download."""
    port, chain, _ = tls
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(chain))
    with pytest.raises(DeliveryFailed, match="CERTIFICATE_VERIFY_FAILED"):
        get(f"https://{host}:{port}/x", resolve=lambda h, p: ["127.0.0.1"])


def test_the_system_resolves_loopback():
    """The default resolver returns plain addresses."""

    assert ["127.0.0.1"] == system_addresses("127.0.0.1", 80)
