"""Redaction of log lines of HTTP and storage libraries: signed URLs are secrets."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from airflow_provider_grokvideo.core.redaction import foreign

LIBRARIES = frozenset(
    {"httpx", "httpcore", "botocore", "aiobotocore", "boto3", "s3transfer", "s3fs", "urllib3", "fsspec", "aiohttp"}
)
"""Libraries whose log lines may contain a signed URL; other lines stay as they are."""

SIGNERS = ("botocore.auth", "aiobotocore.signers", "botocore.signers")
"""Loggers of signatures and signed strings, which together reveal the signed URL."""

LONGEST_LINE = 2000

_ours: ContextVar[bool] = ContextVar("grokvideo_calls", default=False)


@contextmanager
def cut_logs() -> Iterator[None]:
    """Remove queries, tokens and payloads from the libraries' log lines, in this task or thread only.

    A context variable decides, so log lines of other callers are not changed. fsspec's own thread inherits it.
    """
    _install()
    token = _ours.set(True)
    try:
        yield
    finally:
        _ours.reset(token)


def _install() -> None:
    """Wrap the factory of log records, once; loggers are too many and come later to be given a filter each."""
    made = logging.getLogRecordFactory()
    if getattr(made, "cuts_for_grokvideo", False):
        return

    def make(name: str, *args: Any, **kwargs: Any) -> logging.LogRecord:
        record = made(name, *args, **kwargs)
        if _ours.get() and name.partition(".")[0] in LIBRARIES:
            _cut(record)
        return record

    make.cuts_for_grokvideo = True  # type: ignore[attr-defined]
    logging.setLogRecordFactory(make)


def _cut(record: logging.LogRecord) -> None:
    if record.name in SIGNERS:
        record.msg, record.args = "(not shown, because it may contain a signature)", ()
        return
    try:
        said = record.getMessage()
    except Exception:  # noqa: BLE001 - a line that cannot be formatted is the library's own fault, and is left to logging
        return
    # Without arguments a message is not formatted again, so a percent sign in it does no harm.
    record.msg, record.args = foreign(said, LONGEST_LINE), ()
