"""The TLS context that all connections of a process share."""

from __future__ import annotations

from pathlib import Path

import certifi
import pytest

from airflow_provider_grokvideo.client import tls


@pytest.fixture(autouse=True)
def _usual_trust(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what the machine that runs the tests trusts."""
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)


def test_the_context_is_made_once():
    """A second connection costs no second context."""
    assert tls.trust() is tls.trust()


def test_the_environment_decides_whom_to_trust(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """A bundle named later is used from then on."""
    usual = tls.trust()
    bundle = tmp_path / "company.pem"
    text = Path(certifi.where()).read_text(encoding="utf-8")
    bundle.write_text(text[: text.index("-----END CERTIFICATE-----")] + "-----END CERTIFICATE-----\n", encoding="utf-8")
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))

    assert 1 == tls.trust().cert_store_stats()["x509"]
    assert 1 < usual.cert_store_stats()["x509"]
