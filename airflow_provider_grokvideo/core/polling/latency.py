"""Latency of requests by kind, learned from finished ones, and the polling schedule that follows from it.

:meth:`Curve.unseen` is the expected time since a video finished that was not polled yet. The next poll is due when it
reaches :data:`PRICE`. So polls are frequent where videos are likely to finish, and rare before and long after. On
lognormal latencies the rule is within two percent of the best schedule, found by dynamic programming over all poll
times.

No clock here: ages are seconds since the submit.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from airflow_provider_grokvideo.core import models

PRICE = 0.25
"""Expected seconds since the video finished at which a poll is due: this needs about half the polls of a fixed interval
of 5 s, and causes less than two thirds of its delay."""

WINDOW = 96
"""Finished requests of a kind that are remembered: enough for its shape, few enough to follow changes."""

SURPRISES = 4
"""After this many outliers in a row on the same side, the service has changed its speed: older requests are forgotten.
By chance this happens less than once in a hundred thousand requests."""

_STEP = 0.02
_FIRST, _LAST = 0.5, 4000.0
_CELLS = round(math.log(_LAST / _FIRST) / _STEP)
_AGES = array("d", (_FIRST * math.exp(index * _STEP) for index in range(_CELLS + 1)))
_ROOT_2 = math.sqrt(2.0)


class Component(NamedTuple):
    """A part of a distribution: a lognormal with its share."""

    share: float
    mean: float
    """Mean of the logarithm of the seconds."""
    spread: float
    """Standard deviation of the logarithm."""


class Curve:
    """The distribution of a latency, as a table over ages from half a second to an hour; nothing finishes outside."""

    def __init__(self, components: Iterable[Component]) -> None:
        self._done = _cumulated(components)
        self._area = _integrated(self._done)

    def done(self, age: float) -> float:
        """Return the share of requests that are finished at an age."""
        return self._at(self._done, age)

    def chance(self, seen: float, age: float) -> float:
        """Return the probability that a request that was pending at age `seen` is finished at `age`."""
        before = self.done(seen)
        return max(0.0, self.done(age) - before) / max(1.0 - before, 1e-9)

    def unseen(self, seen: float, age: float) -> float:
        """Return the expected seconds that a request has been finished at `age`, if it was pending at age `seen`."""
        before = self.done(seen)
        area = self._at(self._area, age) - self._at(self._area, seen)
        return max(0.0, area - before * (age - seen)) / max(1.0 - before, 1e-9)

    def gain(self, seen: float, age: float) -> float:
        """Return the use of a poll at `age`: :meth:`chance` times :meth:`unseen`."""
        before = self.done(seen)
        left = max(1.0 - before, 1e-9)
        area = self._at(self._area, age) - self._at(self._area, seen)
        return (self.done(age) - before) / left * ((area - before * (age - seen)) / left + 0.1)

    def when(self, seen: float, price: float = PRICE) -> float:
        """Return the age at which to poll a request that was pending at age `seen`."""
        if seen >= _LAST:
            return seen * (1.0 + _STEP)
        before, start = self.done(seen), self._at(self._area, seen)
        wanted = price * max(1.0 - before, 1e-9)
        low, high = bisect_right(_AGES, seen), _CELLS
        while low < high:
            middle = (low + high) // 2
            if self._area[middle] - start - before * (_AGES[middle] - seen) < wanted:
                low = middle + 1
            else:
                high = middle
        return self._between(low, seen, price)

    def value(self, low: float, high: float, share: float) -> float:
        """Return the age by which `share` of the requests that finish between ages `low` and `high` is finished."""
        first, last = self.done(low), self.done(high)
        if last - first < 1e-12:
            return low + share * (high - low)
        wanted = first + share * (last - first)
        index = max(1, min(bisect_right(self._done, wanted), _CELLS))
        left, right = self._done[index - 1], self._done[index]
        part = (wanted - left) / (right - left) if right > left else 0.0
        age = _AGES[index - 1] + part * (_AGES[index] - _AGES[index - 1])
        return min(max(age, low), high)

    def _between(self, cell: int, seen: float, price: float) -> float:
        """Return the age within a cell of the table at which the price is reached."""
        right = _AGES[cell]
        left = max(seen, _AGES[cell - 1]) if cell else seen
        at_left, at_right = self.unseen(seen, left), self.unseen(seen, right)
        if at_right <= at_left:
            return right
        return left + (right - left) * min(max((price - at_left) / (at_right - at_left), 0.0), 1.0)

    def _at(self, table: Sequence[float], age: float) -> float:
        if age <= _FIRST:
            return 0.0
        if age >= _LAST:
            return table[-1] + (self._done[-1] * (age - _LAST) if table is self._area else 0.0)
        index = min(int(math.log(age / _FIRST) / _STEP), _CELLS - 1)
        left, right = _AGES[index], _AGES[index + 1]
        return table[index] + (table[index + 1] - table[index]) * (age - left) / (right - left)


@dataclass(frozen=True)
class History:
    """Latency of one kind.

    Attributes:
        guess: The expected latency until enough requests have finished.
        samples: Logarithms of the seconds of the last :data:`WINDOW` finished requests, oldest first.
        surprises: Outliers in a row: counted up if slower, down if faster.
        fresh: Samples that are not in the curve yet.
        curve: The distribution.
    """

    guess: Component
    samples: tuple[float, ...]
    surprises: int
    fresh: int
    curve: Curve

    @classmethod
    def of(
        cls, guess: Component, samples: Sequence[float] = (), *, surprises: int = 0, running: Sequence[float] = ()
    ) -> History:
        """Return the history of these samples; `running` are ages at which other requests were still pending."""
        return cls(guess, tuple(samples), surprises, 0, Curve(_components(guess, samples, running)))

    def learned(self, low: float, high: float, share: float, running: Sequence[float]) -> History:
        """Return the history after a request was found finished.

        Args:
            low: Age of the last poll that found it pending; 0 if there was none.
            high: Age of the poll that found it finished.
            share: From 0 to 1, the assumed moment between the two; spread evenly over requests.
            running: Ages at which the other requests that are learned from were last pending.
        """
        high = max(high, _FIRST)
        age = max(self.curve.value(min(low, high), high, share), _FIRST)
        rank = self.curve.done(age)
        side = 1 if rank > 1 - _FAR_OFF else -1 if rank < _FAR_OFF else 0
        surprises = self.surprises + side if side * self.surprises > 0 else side
        samples = (*self.samples, math.log(age))[-WINDOW:]
        if abs(surprises) >= SURPRISES:
            return _anew(sorted(samples[-SURPRISES:]), faster=surprises < 0)
        fresh = self.fresh + 1
        if fresh * 8 < len(samples):
            return replace(self, samples=samples, surprises=surprises, fresh=fresh)
        return History.of(self.guess, samples, surprises=surprises, running=running)


class Latencies:
    """Latencies of all kinds in this process.

    Args:
        most: Kinds to remember; the least recently used ones are forgotten first.
    """

    def __init__(self, most: int = 256) -> None:
        self._most = most
        self._known: dict[str | None, History] = {}

    def of(self, kind: str | None) -> History:
        """Return the history of a kind."""
        found = self._known.pop(kind, None) or History.of(guess(kind))
        self._known[kind] = found
        while len(self._known) > self._most:
            del self._known[next(iter(self._known))]
        return found

    def learn(self, kind: str | None, low: float, high: float, share: float, running: Sequence[float]) -> None:
        """Add a finished request; see :meth:`History.learned`. Without a kind, nothing is learned."""
        if kind is not None:
            self._known[kind] = self.of(kind).learned(low, high, share, running)


def guess(kind: str | None) -> Component:
    """Return the expected latency of a kind (a request's ``kind()``) before any request has finished.

    Published timings are about proportional to the length of the video: 22 s for 5 s of 480p, 50 s for 8 s and 90 s
    for 15 s of 720p, one to two minutes for the 1.5 models (contract §5.5).
    """
    if kind is None:
        return Component(1.0, math.log(40.0), 1.0)
    parts = [*kind.split("/"), "", "", ""]
    model, seconds, resolution = parts[1], parts[2], parts[3]
    length = int(seconds) if seconds.isdecimal() and len(seconds) < 4 else models.DEFAULT_SECONDS
    per_second = {"480p": 4.5, "1080p": 10.0}.get(resolution, 6.0)
    if "1.5" in model:
        per_second *= 1.6
    return Component(1.0, math.log(max(15.0, length * per_second)), _GUESS_SPREAD)


_FAR_OFF = 0.03
_GUESS_SPREAD = 0.5
_GUESS_WORTH = 1.5
"""How many finished requests a guess is worth."""
_FLOOR = Component(0.02, 0.3, 0.7)
"""A wide component around the middle, so that no learned distribution is too narrow."""
_NARROWEST = 0.02
_CROWD = 1.4
_ENOUGH = 16


def _anew(recent: Sequence[float], *, faster: bool) -> History:
    """Return the history of a service whose speed has changed."""
    middle = recent[len(recent) // 2]
    if faster:
        # They were polled too late, so it is unknown how much faster.
        return History.of(Component(1.0, middle - 0.4, _GUESS_SPREAD))
    return History.of(Component(1.0, middle, _GUESS_SPREAD), recent)


def _components(guessed: Component, samples: Sequence[float], running: Sequence[float]) -> list[Component]:
    """Return the distribution: the guess, which fades, the samples, each widened a bit, and the floor."""
    ordered = sorted(samples)
    guessed_parts = _slices(guessed)
    weights = _weights(
        [*((x, 1.0) for x in ordered), *((part.mean, part.share * _GUESS_WORTH) for part in guessed_parts)],
        sorted(math.log(age) for age in running if age > 0),
    )
    rest = 1.0 - _FLOOR.share
    centre = ordered[len(ordered) // 2] if ordered else guessed.mean
    parts = [Component(_FLOOR.share, centre + _FLOOR.mean, _FLOOR.spread)]
    parts += [
        Component(rest * weight, part.mean, part.spread)
        for part, weight in zip(guessed_parts, weights[len(ordered) :], strict=True)
    ]
    if ordered:
        parts += [
            Component(rest * weight, middle, width)
            for (middle, width), weight in zip(_smoothed(ordered), weights, strict=False)
        ]
    return parts


def _slices(whole: Component) -> list[Component]:
    """Return a lognormal as some narrower ones, so that what is running can take away its early part."""
    steps = (-1.6, -0.8, 0.0, 0.8, 1.6)
    shares = [math.exp(-step * step / 2) for step in steps]
    # Together they spread as the whole does: the part that is not between them is within each.
    between = math.sqrt(sum(x * step * step for x, step in zip(shares, steps, strict=True)) / sum(shares))
    within = math.sqrt(max(0.0, 1 - (0.9 * between) ** 2))
    return [
        Component(share / sum(shares), whole.mean + 0.9 * step * whole.spread, within * whole.spread)
        for share, step in zip(shares, steps, strict=True)
    ]


def _weights(points: Sequence[tuple[float, float]], running: Sequence[float]) -> list[float]:
    """Return the share of each point, if requests of the ages `running` are still under way (Kaplan and Meier).

    Args:
        points: Where requests finished, as logarithms, each with its own weight.
        running: Logarithms of ages at which others had not, in order.
    """
    left, at_risk, passed = 1.0, sum(weight for _, weight in points) + len(running), 0
    shares = [0.0] * len(points)
    for index in sorted(range(len(points)), key=lambda index: points[index][0]):
        where, weight = points[index]
        while passed < len(running) and running[passed] < where:
            passed += 1
            at_risk -= 1
        shares[index] = left * min(1.0, weight / max(at_risk, weight))
        left -= shares[index]
        at_risk -= weight
    total = sum(shares)
    return [share / total for share in shares]


def _smoothed(ordered: Sequence[float]) -> list[tuple[float, float]]:
    """Return where each sample counts and how wide: by Silverman's rule, but narrower where samples are crowded.

    All are moved together as much as the widths spread them.
    """
    count = len(ordered)
    mean = math.fsum(ordered) / count
    variance = math.fsum((x - mean) ** 2 for x in ordered) / max(1, count - 1)
    usual = max(0.9 * math.sqrt(variance) * count**-0.2, 0.2 / count)
    near = math.ceil(math.sqrt(count)) // 2
    widths = []
    for index in range(count):
        low, high = max(0, index - near), min(count - 1, index + near)
        # Of a normal distribution, so many neighbours are about this far apart where the usual width fits.
        local = _CROWD * (ordered[high] - ordered[low]) * 2 * near / max(1, high - low)
        widths.append(max(_NARROWEST, min(usual, local) if count >= _ENOUGH else usual))
    widened = math.fsum(width * width for width in widths) / count
    shrink = math.sqrt(variance / (variance + widened)) if variance > 0 else 1.0
    return [(mean + (x - mean) * shrink, width) for x, width in zip(ordered, widths, strict=True)]


def _cumulated(components: Iterable[Component]) -> array[float]:
    done = array("d", bytes(8 * (_CELLS + 1)))
    steps = array("d", bytes(8 * (_CELLS + 2)))
    log_first = math.log(_FIRST)
    for share, mean, spread in components:
        # A normal distribution is flat four deviations from its middle.
        first = min(max(0, math.ceil((mean - 4 * spread - log_first) / _STEP)), _CELLS + 1)
        last = min(max(first, math.ceil((mean + 4 * spread - log_first) / _STEP)), _CELLS + 1)
        scale = 1.0 / (spread * _ROOT_2)
        offset = (log_first - mean) * scale
        step = _STEP * scale
        half = share / 2
        for index in range(first, last):
            done[index] += half * (1.0 + math.erf(offset + index * step))
        steps[last] += share
    total = 0.0
    for index in range(_CELLS + 1):
        total += steps[index]
        done[index] += total
    return done


def _integrated(done: Sequence[float]) -> array[float]:
    area = array("d", bytes(8 * (_CELLS + 1)))
    for index in range(1, _CELLS + 1):
        area[index] = area[index - 1] + (done[index] + done[index - 1]) / 2 * (_AGES[index] - _AGES[index - 1])
    return area
