"""A server whose certificate nobody vouches for."""

from __future__ import annotations

import datetime
import http.server
import ipaddress
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from airflow_provider_grokvideo.client import flow
from airflow_provider_grokvideo.client.account import Account
from airflow_provider_grokvideo.core.errors import ServiceUnavailable
from airflow_provider_grokvideo.core.requests import TextToVideo


class QuietServer(http.server.ThreadingHTTPServer):
    """A server that does not print the handshakes that fail, as they all do here."""

    def handle_error(self, request: object, client_address: object) -> None:
        """Stay silent."""


@pytest.fixture(scope="module")
def untrusted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve https with a certificate of our own making and return the base URL."""
    pem = _certificate(tmp_path_factory.mktemp("tls") / "server.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    server = QuietServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield f"https://127.0.0.1:{server.server_address[1]}/v1"
    server.shutdown()
    server.server_close()
    thread.join(5)


def _certificate(path: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "nobody")])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    return path


def test_an_untrusted_certificate_is_told_and_nothing_is_sent(drive, untrusted):
    """A certificate that is not trusted stops the start before anything is sent, and is not tried again."""
    with pytest.raises(ServiceUnavailable, match=r"certificate is not trusted.*Nothing was accepted"):
        drive(Account(untrusted, "xai-key", timeout=5.0), flow.submit(TextToVideo(prompt="x")))

    assert [] == drive.pauses
