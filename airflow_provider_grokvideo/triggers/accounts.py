"""Airflow connections looked up once for all triggers that use them, not once for each."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import dataclass

from airflow_provider_grokvideo.client.account import Account
from airflow_provider_grokvideo.hooks.grokvideo import GrokVideoHook

KEPT = 60.0
"""Seconds for which a connection is believed: so long does an edit take to reach new waits."""


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
        newer_than: Epoch seconds; what was looked up before is not good enough.

    Raises:
        GrokVideoError: There is no such connection, or it is unusable.
        Exception: Airflow did not answer. Nothing is kept, so the next call asks again.
    """
    loop = asyncio.get_running_loop()
    now = time.time()
    known = _here.lookups.get((loop, conn_id))
    if known is None or known.failed() or known.began_at < max(now - KEPT, newer_than):
        _here.lookups = {key: lookup for key, lookup in _here.lookups.items() if not key[0].is_closed()}
        known = _Lookup(now, loop.create_task(GrokVideoHook(conn_id).aaccount()))
        # Also where everybody who waited for it is gone, the loop must not complain about its error.
        known.task.add_done_callback(lambda task: task.cancelled() or task.exception())
        _here.lookups[loop, conn_id] = known
    return await asyncio.shield(known.task)
