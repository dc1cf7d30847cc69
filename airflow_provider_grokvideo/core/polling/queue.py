"""Poll queue of one account: its waits, their rate limit, and their order if the limit is reached.

No clock and no I/O: the poller of the triggerer and the simulation of the tests drive the same code.
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from airflow_provider_grokvideo.core.polling.decisions import Watch
from airflow_provider_grokvideo.core.polling.latency import Latencies
from airflow_provider_grokvideo.core.polling.rate_limit import RateLimit

Key = TypeVar("Key", bound=Hashable)

PATIENCE = 60.0
"""Seconds after which an overdue poll goes first. No poll is overdue for longer than this plus the time that one poll
of every wait takes at the rate limit."""

TEACHERS = 24
"""Requests of a kind that the latency is learned from at a time, chosen when their waits begin: a choice when they
finish would prefer the fast ones."""

_RANKED_FOR = 1.0


@dataclass
class _Entry:
    watch: Watch
    at: float
    due: bool = False


class PollQueue(Generic[Key]):
    """The waits of one account.

    Requests are polled when their poll is due. If more polls are due than the rate limit allows, the most useful one
    goes first: the probability that the video is finished, times the expected seconds since then.

    Args:
        pace: The account's rate limit.
        latencies: Latencies of each kind.
    """

    def __init__(self, pace: RateLimit, latencies: Latencies) -> None:
        self.pace = pace
        self._latencies = latencies
        self._entries: dict[Key, _Entry] = {}
        self._later: list[tuple[float, int, Key]] = []
        self._due: dict[Key, None] = {}
        self._teachers: dict[str | None, dict[Key, None]] = {}
        self._ranking: list[Key] = []
        self._ranked_at = float("-inf")
        self._count = 0
        self._now = float("-inf")

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def overdue(self) -> int:
        """Number of due polls at the last call of :meth:`take`."""
        return len(self._due)

    def put(self, key: Key, watch: Watch, at: float) -> None:
        """Add a poll at epoch seconds `at`; there is one poll for each key."""
        if key not in self._entries:
            teachers = self._teachers.setdefault(watch.kind, {})
            if len(teachers) < TEACHERS:
                teachers[key] = None
        self._due.pop(key, None)
        self._entries[key] = _Entry(watch, at)
        self._count += 1
        heapq.heappush(self._later, (at, self._count, key))

    def drop(self, key: Key) -> None:
        """Remove a wait; unknown ones are ignored."""
        entry = self._entries.pop(key, None)
        self._due.pop(key, None)
        if entry is not None and (teachers := self._teachers.get(entry.watch.kind)) is not None:
            teachers.pop(key, None)
            if not teachers:
                del self._teachers[entry.watch.kind]
        if len(self._later) > 64 + 4 * len(self._entries):
            self._later = [item for item in self._later if self._is_current(item)]
            heapq.heapify(self._later)

    def take(self, now: float) -> Key | None:
        """Return the next wait to poll, and count the poll; None if none is due or the rate limit forbids it.

        :meth:`put` adds it again.
        """
        self._collect(now)
        if not self._due or self.pace.next_at(now) > now:
            return None
        key = self._best(now)
        del self._due[key]
        self.pace = self.pace.spent(now)
        return key

    def next_at(self, now: float) -> float | None:
        """Return when :meth:`take` will return a wait, in epoch seconds; None without waits."""
        self._collect(now)
        if self._due:
            return self.pace.next_at(now)
        if not self._later:
            return None
        at = max(now, self._later[0][0])
        return max(at, self.pace.next_at(at))

    def limited(self, now: float, asked_at: float, retry_after: float | None) -> None:
        """Lower the rate limit after an HTTP 429."""
        self.pace = self.pace.limited(now, asked_at, retry_after)

    def teaches(self, key: Key) -> bool:
        """Return whether the latency of a request is learned from."""
        entry = self._entries.get(key)
        return entry is not None and key in self._teachers.get(entry.watch.kind, {})

    def running(self, kind: str | None) -> list[float]:
        """Return the ages at which the requests of a kind that are learned from were last pending."""
        watches = (self._entries[key].watch for key in self._teachers.get(kind, {}))
        return [watch.seen_at - watch.since for watch in watches if watch.seen_at > watch.since]

    def _is_current(self, item: tuple[float, int, Key]) -> bool:
        entry = self._entries.get(item[2])
        return entry is not None and not entry.due and entry.at == item[0]

    def _collect(self, now: float) -> None:
        if now < self._now:
            self._set_back(self._now - now)
        self._now = now
        while self._later and (self._later[0][0] <= now or not self._is_current(self._later[0])):
            item = heapq.heappop(self._later)
            if self._is_current(item):
                self._entries[item[2]].due = True
                self._due[item[2]] = None

    def _set_back(self, seconds: float) -> None:
        """Adjust to a clock that was set back, so that no poll is late by that time."""
        self.pace = self.pace.set_back(seconds)
        for entry in self._entries.values():
            entry.at -= seconds
        self._later = [(at - seconds, count, key) for at, count, key in self._later]
        self._ranked_at = float("-inf")

    def _best(self, now: float) -> Key:
        if self.pace.tokens >= len(self._due):
            return next(iter(self._due))
        # Ranking thousands takes milliseconds, and in a second the order hardly changes.
        if now >= self._ranked_at + _RANKED_FOR:
            self._ranking = sorted(self._due, key=lambda key: self._gain(self._entries[key], now))
            self._ranked_at = now
        while self._ranking:
            key = self._ranking.pop()
            if key in self._due:
                return key
        self._ranked_at = float("-inf")
        return self._best(now)

    def _gain(self, entry: _Entry, now: float) -> tuple[float, float]:
        overdue = now - entry.at
        if overdue > PATIENCE:
            return overdue, 0.0
        watch = entry.watch
        age = now - watch.since
        seen = max(0.0, watch.seen_at - watch.since)
        return 0.0, self._latencies.of(watch.kind).curve.gain(seen, age)
