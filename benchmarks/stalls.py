"""How long an event loop keeps its callbacks waiting, measured without waking it.

A coroutine that sleeps for 20 ms again and again shows how late it wakes. On an idle loop its own waking would be most
of what the loop does, and would count as CPU time of whatever is measured. So the beats of that coroutine are imagined:
the loop's selector knows when each pass through the callbacks begins and ends, and asyncio runs a timer that becomes
due during a pass at the end of the next one, or at once if the loop was about to sleep.
"""

from __future__ import annotations

import asyncio
import math
import selectors
import time
from collections.abc import Callable

BEAT = 0.02
"""Seconds between two imagined timers."""


class Stalls:
    """Lateness of timers that become due every :data:`BEAT` seconds.

    All beats during a long pass count, each with its own lateness, so that one long stall weighs as long as it lasts.

    Args:
        now: When the loop begins its first pass, by the clock that :meth:`sleeps` and :meth:`wakes` are given.
    """

    def __init__(self, now: float) -> None:
        self._since = self._awake = self._until = now
        self._due = now + BEAT
        self._waiting: list[float] = []
        self._late: list[float] = []

    def sleeps(self, now: float, *, more: bool) -> None:
        """Take note that a pass ends; `more` says that the loop has callbacks to run without sleeping."""
        self._run(now)
        if self._due < self._awake:  # the loop slept then, and would have woken
            self._due += math.ceil((self._awake - self._due) / BEAT) * BEAT
        while self._due <= now:
            self._waiting.append(self._due)
            self._due += BEAT
        if not more:
            self._run(now)
        self._until = now

    def wakes(self, now: float) -> None:
        """Take note that a pass begins."""
        self._awake = now

    def end(self, now: float) -> None:
        """Take note that the measurement ends, be it in the middle of a pass."""
        self.sleeps(now, more=False)

    def worst(self) -> float:
        """Return the longest lateness in seconds."""
        return max(self._late, default=0.0)

    def quantile(self, share: float) -> float:
        """Return the lateness in seconds that this share of all beats does not exceed."""
        beats = max(len(self._late), int((self._until - self._since) / BEAT))
        worse = math.floor((1.0 - share) * beats)
        late = sorted(self._late, reverse=True)
        return late[worse] if worse < len(late) else 0.0

    def _run(self, now: float) -> None:
        self._late.extend(now - due for due in self._waiting)
        self._waiting.clear()


class _Selector(selectors.DefaultSelector):
    """The selector that asyncio has anyway, telling when the loop sleeps and wakes."""

    stalls: Stalls | None = None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if self.stalls is None:
            return super().select(timeout)
        self.stalls.sleeps(time.monotonic(), more=timeout is not None and timeout <= 0)
        ready = super().select(timeout)
        self.stalls.wakes(time.monotonic())
        return ready


class WatchedLoop(asyncio.SelectorEventLoop):
    """The event loop that :func:`asyncio.run` uses on Linux, with a look at its stalls."""

    def __init__(self) -> None:
        self._watched = _Selector()
        super().__init__(self._watched)

    def watch(self, clock: Callable[[], float] = time.monotonic) -> Stalls:
        """Begin to measure, in the middle of a pass, and return the measurement."""
        self._watched.stalls = Stalls(clock())
        return self._watched.stalls

    def unwatch(self) -> None:
        """End the measurement."""
        self._watched.stalls = None
