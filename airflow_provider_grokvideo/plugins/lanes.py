"""Threads for reads that may hang: a few for each storage, so that one that does not answer stops no other.

A thread that waits for a storage cannot be ended. It can be left alone: whoever asked is answered when the limit has
passed, the thread counts as busy until the storage lets go of it, and further reads of that storage wait for another.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

THREADS = 8
"""Reads of one storage at the same time, for all users; further ones wait."""

LANES = 16
"""Storages that are read at the same time; with :data:`THREADS` the most threads that there can be."""

LIMIT = 10.0
"""Seconds that one read may take, the wait for a thread included."""

T = TypeVar("T")


class Busy(Exception):
    """The storage does not answer within the limit, or too many storages do not."""


class Lanes:
    """Threads by name of a storage; safe to use from any thread.

    Args:
        threads: As :data:`THREADS`.
        lanes: As :data:`LANES`.
        limit: As :data:`LIMIT`.
    """

    def __init__(self, *, threads: int = THREADS, lanes: int = LANES, limit: float = LIMIT) -> None:
        self._most_threads, self._most_lanes, self._limit = threads, lanes, limit
        self._lock = threading.Lock()
        self._busy: dict[str, int] = {}
        self._queues: dict[str, deque[tuple[Future[Any], Callable[[], Any]]]] = {}

    async def run(self, name: str, work: Callable[..., T], *given: Any) -> T:
        """Return what the work returns, done in one of the storage's threads.

        Args:
            name: The storage.
            work: What to do.
            given: With which arguments.

        Raises:
            Busy: It took longer than the limit, or no thread was free.
        """
        future: Future[T] = Future()
        self._submit(name, future, lambda: work(*given))
        try:
            return await asyncio.wait_for(asyncio.wrap_future(future), self._limit)
        except asyncio.TimeoutError:
            if future.done() and not future.cancelled():
                # The work's own timeout, not ours.
                raise
            raise Busy(name) from None

    def _submit(self, name: str, future: Future[Any], work: Callable[[], Any]) -> None:
        with self._lock:
            if name not in self._busy and len(self._busy) >= self._most_lanes:
                raise Busy(name)
            queue = self._queues.setdefault(name, deque())
            queue.append((future, work))
            if self._busy.get(name, 0) >= self._most_threads:
                return
            self._busy[name] = self._busy.get(name, 0) + 1
        # A daemon, so that a storage that never answers does not keep the API server from ending.
        threading.Thread(target=self._serve, args=(name, queue), name="grokvideo-read", daemon=True).start()

    def _serve(self, name: str, queue: deque[tuple[Future[Any], Callable[[], Any]]]) -> None:
        while True:
            with self._lock:
                if not queue:
                    self._busy[name] -= 1
                    if not self._busy[name]:
                        del self._busy[name], self._queues[name]
                    return
                future, work = queue.popleft()
            if not future.set_running_or_notify_cancel():
                # Nobody waits for it any more.
                continue
            try:
                future.set_result(work())
            except BaseException as problem:  # noqa: BLE001 - it is raised where the result is waited for
                future.set_exception(problem)
            del future, work
