"""Threads for storage reads that may hang: a few per storage, so that one storage cannot block the others.

A thread that waits for a storage cannot be stopped. After the limit the caller gets an error, and the thread counts as
busy until its read returns.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

THREADS = 8
"""Maximum number of simultaneous reads of one storage, for all users; further ones wait."""

LANES = 16
"""Maximum number of simultaneously read storages; with :data:`THREADS` the maximum number of threads."""

LIMIT = 10.0
"""Maximum seconds for one read, including the wait for a thread."""

T = TypeVar("T")


class Busy(Exception):
    """The storage does not respond within the limit, or too many storages are busy."""


class Lanes:
    """Threads by storage; thread-safe.

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
        """Run a function in one of the storage's threads and return its result.

        Args:
            name: The storage.
            work: The function.
            given: Its arguments.

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
        # A daemon thread, so that a hanging storage does not keep the API server from exiting.
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
                # The caller has given up.
                continue
            try:
                future.set_result(work())
            except BaseException as problem:  # noqa: BLE001 - it is raised where the result is waited for
                future.set_exception(problem)
            del future, work
