"""Threads of a task: the runs of many rows side by side, in one worker process."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

T = TypeVar("T")

THREADS = 8
"""Rows that are submitted or delivered at once: enough to hide the latency of downloads, few enough that their checks
do not need more than a core."""

BETWEEN_LOOKS = 1.0
"""Seconds between two calls of `meanwhile`, and the longest that an interruption waits to be noticed."""


class Crew(Generic[T]):
    """Threads that do one kind of job for many rows.

    Args:
        do: Does the job; whatever goes wrong in it is its own matter, except for what it raises: that ends the work.
        goes_on: Asked before each job; False leaves the rest undone.
    """

    def __init__(self, do: Callable[[T], None], goes_on: Callable[[], bool] = lambda: True) -> None:
        self._do = do
        self._goes_on = goes_on
        self._jobs: deque[T] = deque()
        self._stopped = False
        self._problem: BaseException | None = None

    def run(self, jobs: Iterable[T], meanwhile: Callable[[], None] = lambda: None) -> None:
        """Do all jobs, and call `meanwhile` about every second in this thread.

        An interruption, such as ``execution_timeout``, starts no further job and waits for those that run: one of them
        may be writing down a request id.
        """
        self._jobs.extend(jobs)
        threads = [
            threading.Thread(target=self._work, name=f"grokvideo-row-{number}", daemon=True)
            for number in range(min(THREADS, len(self._jobs)))
        ]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                while thread.is_alive():
                    thread.join(BETWEEN_LOOKS)
                    meanwhile()
        except BaseException:
            self._stopped = True
            for thread in threads:
                if thread.ident is not None:
                    thread.join()
            raise
        if self._problem is not None:
            raise self._problem

    def _work(self) -> None:
        while not self._stopped and self._goes_on():
            try:
                job = self._jobs.popleft()
            except IndexError:
                return
            try:
                self._do(job)
            except BaseException as problem:  # noqa: BLE001 - it is raised in the thread that waits
                self._problem = self._problem or problem
                self._stopped = True
