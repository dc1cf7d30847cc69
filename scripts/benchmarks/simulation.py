"""Waits on a virtual clock: the decisions of the core, driven as the poller drives them, against known latencies."""

from __future__ import annotations

import math
import random
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise

from airflow_provider_grokvideo.core import watching
from airflow_provider_grokvideo.core.agenda import Agenda
from airflow_provider_grokvideo.core.jobs import Done, Pending
from airflow_provider_grokvideo.core.latency import Latencies
from airflow_provider_grokvideo.core.pacing import Pace
from airflow_provider_grokvideo.core.watching import FIRST_LOOK, LookAgain, Watch

UNLIMITED = 1e6


@dataclass(frozen=True)
class Kind:
    """Lognormal latencies: published timings of one kind of request, and its share of the mix."""

    name: str
    median: float
    sigma: float
    share: float

    def latency(self, chance: random.Random) -> float:
        return self.median * math.exp(self.sigma * chance.gauss(0, 1))


MIX = (
    Kind("text-to-video/grok-imagine-video/5/480p", 22, 0.08, 0.30),
    Kind("text-to-video/grok-imagine-video/8/720p", 50, 0.15, 0.35),
    Kind("text-to-video/grok-imagine-video/15/720p", 90, 0.15, 0.15),
    Kind("text-to-video/grok-imagine-video-1.5/8/720p", 80, 0.35, 0.20),
)


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
    """Job, looks that it took, and seconds between its end and the look that found it."""
    waited: float = 0.0
    """The longest that a look was overdue."""
    fullest: int = 0
    """The most waits at once."""

    @property
    def looks(self) -> float:
        return sum(looks for _, looks, _ in self.found) / len(self.found)

    @property
    def lag(self) -> float:
        return sum(lag for *_, lag in self.found) / len(self.found)

    def of(self, part: slice) -> Outcome:
        return Outcome(self.found[part])


def steadily(kinds: Sequence[Kind], rate: float, count: int, seed: int = 1, speed: float = 1.0) -> list[Job]:
    """Return requests that are submitted at an even rate, kinds by their shares."""
    chance = random.Random(seed)
    drawn = chance.choices(kinds, [kind.share for kind in kinds], k=count)
    return [Job(kind.name, index / rate, kind.latency(chance) * speed) for index, kind in enumerate(drawn)]


def simulate(jobs: Sequence[Job], latencies: Latencies, pace: float = UNLIMITED, progress: bool = False) -> Outcome:
    """Wait for all jobs with the decisions of the core; a look takes no time."""
    agenda: Agenda[int] = Agenda(Pace.of(pace, 0.0), latencies)
    watches: dict[int, Watch] = {}
    outcome = Outcome()
    arriving = iter(enumerate(sorted(jobs, key=lambda job: job.submitted)))
    ordered = sorted(jobs, key=lambda job: job.submitted)
    coming = next(arriving, None)
    due: dict[int, float] = {}
    now = 0.0
    while coming is not None or watches:
        at = agenda.next_at(now)
        if coming is not None and (at is None or coming[1].submitted <= at):
            key, job = coming
            now = max(now, job.submitted)
            watch = Watch(str(key), since=now, deadline=now + 36_000, kind=job.kind, not_before=now + FIRST_LOOK)
            watches[key] = watch
            due[key] = watching.first_look(watch, now, latencies.of(job.kind).curve)
            agenda.put(key, watch, due[key])
            coming = next(arriving, None)
            outcome.fullest = max(outcome.fullest, len(watches))
            continue
        assert at is not None
        now = max(now, at)
        key = agenda.take(now)
        if key is None:
            continue
        job, watch = ordered[key], watches[key]
        outcome.waited = max(outcome.waited, now - due[key])
        curve = latencies.of(job.kind).curve
        age = now - job.submitted
        if age >= job.latency:
            teaches = agenda.teaches(key)
            agenda.drop(key)
            del watches[key]
            outcome.found.append((job, watch.looks + 1, age - job.latency))
            if teaches:
                pending = max(0.0, watch.seen_at - watch.since)
                latencies.learn(job.kind, pending, age, watching.share(watch), agenda.running(job.kind))
            assert not isinstance(watching.look(watch, Done(), now, curve), LookAgain)
            continue
        seen = Pending(progress=min(99, int(100 * age / job.latency))) if progress else Pending()
        verdict = watching.look(watch, seen, now, curve)
        assert isinstance(verdict, LookAgain)
        watches[key] = verdict.watch
        due[key] = verdict.at
        agenda.put(key, verdict.watch, verdict.at)
    return outcome


def fixed(jobs: Sequence[Job], interval: float = 5.0) -> tuple[float, float]:
    """Return looks and mean lag of a fixed interval on the same jobs."""
    looks = [math.ceil(job.latency / interval) for job in jobs]
    lags = [count * interval - job.latency for count, job in zip(looks, jobs, strict=True)]
    return sum(looks) / len(looks), sum(lags) / len(lags)


@lru_cache
def best(kind: Kind, price: float, step: float = 0.25) -> tuple[float, float]:
    """Return looks and lag of the schedule that costs least if a look costs `price` seconds of lag.

    Dynamic programming over look times, by somebody who knows the distribution.
    """
    ages = [step * index for index in range(math.ceil(kind.median * math.exp(4.5 * kind.sigma) / step) + 1)]
    done = [0.0, *(_normal(math.log(age / kind.median) / kind.sigma) for age in ages[1:])]
    area = [0.0]
    for (left, right), width in zip(pairwise(done), [step] * len(done), strict=False):
        area.append(area[-1] + (left + right) / 2 * width)
    last = len(ages) - 1
    cost, looks, lag = [0.0] * (last + 1), [0.0] * (last + 1), [0.0] * (last + 1)
    earliest = bisect_left(ages, 5.0)
    for here in range(last - 1, -1, -1):
        left = 1.0 - done[here]
        there = min(
            range(max(here + 1, earliest if here == 0 else 0), last + 1),
            key=lambda there: area[there] - area[here] - done[here] * (ages[there] - ages[here]) + cost[there],
        )
        unseen = area[there] - area[here] - done[here] * (ages[there] - ages[here])
        cost[here] = price * left + unseen + cost[there]
        looks[here], lag[here] = left + looks[there], unseen + lag[there]
    return looks[0], lag[0]


def frontier(prices: Sequence[float] = (0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.7)) -> Iterator[tuple[float, float]]:
    """Yield looks and mean lag of the best schedules for the mix."""
    for price in prices:
        points = [(kind.share, best(kind, price)) for kind in MIX]
        yield sum(share * looks for share, (looks, _) in points), sum(share * lag for share, (_, lag) in points)


def fewest_looks(lag: float) -> float:
    """Return the looks that the best schedule of the mix needs for a mean lag."""
    points = sorted((lag, looks) for looks, lag in frontier())
    for (low, many), (high, few) in pairwise(points):
        if low <= lag <= high:
            return many + (few - many) * (lag - low) / (high - low)
    raise ValueError(f"{lag} s is not on the frontier")


def _normal(deviations: float) -> float:
    return 0.5 * (1.0 + math.erf(deviations / math.sqrt(2)))
