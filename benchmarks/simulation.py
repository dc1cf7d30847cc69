"""Waits on a virtual clock: the decisions of the core, driven as the poller drives them, against known latencies."""

from __future__ import annotations

import math
import random
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise

from airflow_provider_grokvideo.core.jobs import Pending
from airflow_provider_grokvideo.core.polling import decisions
from airflow_provider_grokvideo.core.polling.decisions import FIRST_POLL, PollAgain, Watch
from airflow_provider_grokvideo.core.polling.latency import Latencies
from airflow_provider_grokvideo.core.polling.queue import PollQueue
from airflow_provider_grokvideo.core.polling.rate_limit import RateLimit
from benchmarks import work

UNLIMITED = 1e6


@dataclass(frozen=True)
class Kind:
    """Lognormal latencies: median in seconds, standard deviation of the logarithm, and the share of the mix."""

    name: str
    median: float
    sigma: float
    share: float

    def latency(self, chance: random.Random) -> float:
        """Return the seconds that one of them takes."""
        return self.median * math.exp(self.sigma * chance.gauss(0, 1))


MIX = tuple(Kind(kind.name, kind.median, kind.sigma, kind.share) for kind in work.KINDS)
"""The kinds of the benchmark, whole: here their tails are not cut."""


@dataclass(frozen=True)
class Job:
    """A request: what it is, when it is submitted, and how long it takes."""

    kind: str
    submitted: float
    latency: float


@dataclass
class Outcome:
    """What a simulation saw, in the order in which videos were found."""

    found: list[tuple[Job, int, float]] = field(default_factory=list)
    """Job, looks that it took, and seconds between its end and the poll that found it."""
    waited: float = 0.0
    """The longest that a poll was overdue."""
    fullest: int = 0
    """The most waits at once."""

    @property
    def polls(self) -> float:
        """Polls per video."""
        return sum(polls for _, polls, _ in self.found) / len(self.found)

    @property
    def lag(self) -> float:
        """Mean seconds between the end of a video and the poll that found it."""
        return sum(lag for *_, lag in self.found) / len(self.found)

    def of(self, part: slice) -> Outcome:
        """Return some of the videos, in the order in which they were found."""
        return Outcome(self.found[part])


def steadily(kinds: Sequence[Kind], rate: float, count: int, seed: int = 1, speed: float = 1.0) -> list[Job]:
    """Return requests that are submitted at an even rate, kinds by their shares."""
    chance = random.Random(seed)  # noqa: S311 - simulated luck
    drawn = chance.choices(kinds, [kind.share for kind in kinds], k=count)
    return [Job(kind.name, index / rate, kind.latency(chance) * speed) for index, kind in enumerate(drawn)]


def simulate(jobs: Sequence[Job], latencies: Latencies, pace: float = UNLIMITED, progress: bool = False) -> Outcome:
    """Wait for all jobs with the decisions of the core; a poll takes no time.

    Args:
        jobs: What is submitted.
        latencies: What is known, and learned from what is found.
        pace: Polls a second.
        progress: Whether the service tells the true progress.
    """
    run = _Simulation(latencies, pace, progress=progress)
    for key, job in enumerate(sorted(jobs, key=lambda job: job.submitted)):
        run.go_on(until=job.submitted)
        run.submit(key, job)
    run.go_on(until=math.inf)
    return run.outcome


class _Simulation:
    def __init__(self, latencies: Latencies, pace: float, *, progress: bool) -> None:
        self.outcome = Outcome()
        self._latencies, self._progress = latencies, progress
        self._agenda: PollQueue[int] = PollQueue(RateLimit.of(pace, 0.0), latencies)
        self._waits: dict[int, tuple[Job, Watch, float]] = {}
        self._now = 0.0

    def submit(self, key: int, job: Job) -> None:
        self._now = now = job.submitted
        watch = Watch(str(key), since=now, deadline=now + 36_000, kind=job.kind, not_before=now + FIRST_POLL)
        self._put(key, job, watch, decisions.first_poll(watch, now, self._latencies.of(job.kind).curve))
        self.outcome.fullest = max(self.outcome.fullest, len(self._waits))

    def go_on(self, until: float) -> None:
        """Look at whoever is due before a moment."""
        while (at := self._agenda.next_at(self._now)) is not None and at < until:
            self._now = max(self._now, at)
            key = self._agenda.take(self._now)
            if key is not None:
                self._poll(key)

    def _poll(self, key: int) -> None:
        job, watch, due = self._waits[key]
        self.outcome.waited = max(self.outcome.waited, self._now - due)
        age = self._now - job.submitted
        if age >= job.latency:
            self._found(key, job, watch, age)
            return
        seen = Pending(progress=min(99, int(100 * age / job.latency))) if self._progress else Pending()
        verdict = decisions.poll(watch, seen, self._now, self._latencies.of(job.kind).curve)
        if not isinstance(verdict, PollAgain):
            raise TypeError(f"a pending request ended as {verdict}")
        self._put(key, job, verdict.watch, verdict.at)

    def _found(self, key: int, job: Job, watch: Watch, age: float) -> None:
        teaches = self._agenda.teaches(key)
        self._agenda.drop(key)
        del self._waits[key]
        self.outcome.found.append((job, watch.polls + 1, age - job.latency))
        if teaches:
            pending = max(0.0, watch.seen_at - watch.since)
            running = self._agenda.running(job.kind)
            self._latencies.learn(job.kind, pending, age, decisions.share(watch), running)

    def _put(self, key: int, job: Job, watch: Watch, at: float) -> None:
        self._waits[key] = (job, watch, at)
        self._agenda.put(key, watch, at)


def fixed(jobs: Sequence[Job], interval: float = 5.0) -> tuple[float, float]:
    """Return polls and mean lag of a fixed interval on the same jobs."""
    polls = [math.ceil(job.latency / interval) for job in jobs]
    lags = [count * interval - job.latency for count, job in zip(polls, jobs, strict=True)]
    return sum(polls) / len(polls), sum(lags) / len(lags)


@lru_cache
def best(kind: Kind, price: float, step: float = 0.25) -> tuple[float, float]:
    """Return polls and lag of the schedule that costs least if a poll costs `price` seconds of lag.

    Dynamic programming over look times, by somebody who knows the distribution.
    """
    ages = [step * index for index in range(math.ceil(kind.median * math.exp(4.5 * kind.sigma) / step) + 1)]
    done = [0.0, *(_normal(math.log(age / kind.median) / kind.sigma) for age in ages[1:])]
    area = [0.0]
    for (left, right), width in zip(pairwise(done), [step] * len(done), strict=False):
        area.append(area[-1] + (left + right) / 2 * width)
    last = len(ages) - 1
    cost, polls, lag = [0.0] * (last + 1), [0.0] * (last + 1), [0.0] * (last + 1)
    earliest = bisect_left(ages, 5.0)
    for here in range(last - 1, -1, -1):
        left = 1.0 - done[here]
        there = min(
            range(max(here + 1, earliest if here == 0 else 0), last + 1),
            key=lambda there: area[there] - area[here] - done[here] * (ages[there] - ages[here]) + cost[there],
        )
        unseen = area[there] - area[here] - done[here] * (ages[there] - ages[here])
        cost[here] = price * left + unseen + cost[there]
        polls[here], lag[here] = left + polls[there], unseen + lag[there]
    return polls[0], lag[0]


def frontier(prices: Sequence[float] = (0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.7)) -> Iterator[tuple[float, float]]:
    """Yield polls and mean lag of the best schedules for the mix."""
    for price in prices:
        points = [(kind.share, best(kind, price)) for kind in MIX]
        yield sum(share * polls for share, (polls, _) in points), sum(share * lag for share, (_, lag) in points)


def fewest_polls(lag: float) -> float:
    """Return the polls that the best schedule of the mix needs for a mean lag."""
    points = sorted((lag, polls) for polls, lag in frontier())
    for (low, many), (high, few) in pairwise(points):
        if low <= lag <= high:
            return many + (few - many) * (lag - low) / (high - low)
    raise ValueError(f"{lag} s is not on the frontier")


def _normal(deviations: float) -> float:
    return 0.5 * (1.0 + math.erf(deviations / math.sqrt(2)))
