"""TLS context of this process."""

from __future__ import annotations

import os
import ssl
from functools import lru_cache

import httpx


def trust() -> ssl.SSLContext:
    """Return the TLS context of this process, created once: loading the certificates takes 20 to 30 ms of CPU.

    It trusts the same certificates as httpx does by default: its bundle, or those in ``SSL_CERT_FILE`` and
    ``SSL_CERT_DIR``. It has no session, cookie or key, so that connections to different hosts can share it.
    """
    return _made_for(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))


@lru_cache(maxsize=4)
def _made_for(file: str | None, folder: str | None) -> ssl.SSLContext:
    return httpx.create_ssl_context()
