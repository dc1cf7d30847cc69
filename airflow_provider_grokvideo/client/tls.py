"""Whom this process trusts over TLS."""

from __future__ import annotations

import os
import ssl
from functools import lru_cache

import httpx


def trust() -> ssl.SSLContext:
    """Return the TLS context of this process, made once: reading the authorities takes 20 to 30 ms of CPU.

    Whom it trusts is httpx's own default: its bundle, or what ``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` of the environment
    name. It holds no session, cookie or key, so that connections to different hosts can share it.
    """
    return _made_for(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))


@lru_cache(maxsize=4)
def _made_for(file: str | None, folder: str | None) -> ssl.SSLContext:
    return httpx.create_ssl_context()
