"""Shared look-ups of Airflow connections in the triggerer."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import dataclass

from airflow_provider_grokvideo.client.account import Account
from airflow_provider_grokvideo.hooks.grokvideo import GrokVideoHook

KEPT = 60.0
"""Seconds that a looked-up connection is reused; an edit takes as long to reach new waits."""


@dataclass(frozen=True)
class _Lookup:
    began_at: float
    task: asyncio.Task[Account]

    def failed(self) -> bool:
        return self.task.done() and (self.task.cancelled() or self.task.exception() is not None)


class _Here(threading.local):
    def __init__(self) -> None:
        self.lookups: dict[tuple[asyncio.AbstractEventLoop, str], _Lookup] = {}


_here = _Here()


async def account_of(conn_id: str, *, newer_than: float = 0.0) -> Account:
    """Return the account of a connection; simultaneous callers share one lookup.

    Args:
        conn_id: Airflow connection of type ``grokvideo``.
        newer_than: Epoch seconds; older look-ups are not reused.

    Raises:
        GrokVideoError: The connection does not exist or is invalid.
        Exception: Airflow did not respond. The next call looks the connection up again.
    """
    loop = asyncio.get_running_loop()
    now = time.time()
    known = _here.lookups.get((loop, conn_id))
    if known is None or known.failed() or known.began_at < max(now - KEPT, newer_than):
        _here.lookups = {key: lookup for key, lookup in _here.lookups.items() if not key[0].is_closed()}
        known = _Lookup(now, loop.create_task(GrokVideoHook(conn_id).aaccount()))
        # If all waiting callers are gone, the loop must not warn about its error.
        known.task.add_done_callback(lambda task: task.cancelled() or task.exception())
        _here.lookups[loop, conn_id] = known
    return await asyncio.shield(known.task)
