"""Tempo of a job: done at once, after a number of polls, after some seconds, or as the real service does."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

_MEDIANS = (("480p", 2.75), ("720p", 5.5), ("1080p", 9.0))
"""Median seconds of waiting per second of clip on top of 8 s, fitted to contract §5.5: 5 s of 480p take 22 s, 8 s of
720p take 50 s, 15 s of 720p take 90 s."""


@dataclass(frozen=True)
class Tempo:
    """One of four kinds; ``amount`` is a number of polls for ``polls`` and of seconds for ``seconds``."""

    kind: str
    amount: float = 0.0

    @classmethod
    def parse(cls, text: str) -> Tempo:
        """Read ``at-once``, ``polls:N``, ``seconds:T`` or ``realistic``; anything else is a ValueError."""
        word, _, rest = text.partition(":")
        if word in ("at-once", "realistic") and not rest:
            return cls(word)
        if word in ("polls", "seconds"):
            try:
                amount = float(int(rest)) if word == "polls" else float(rest)
            except ValueError:
                amount = -1.0
            if 0 <= amount < math.inf:
                return cls(word, amount)
        raise ValueError(f"invalid tempo={text!r}: expected at-once, polls:N, seconds:T or realistic")

    def span(self, dice: random.Random, resolution: str, seconds: float, model: str, speed: float) -> float:
        """Draw how many seconds one job takes; only ``seconds`` and ``realistic`` wait for the clock."""
        if self.kind == "seconds":
            return self.amount / speed
        if self.kind == "realistic":
            return realistic_span(dice, resolution, seconds, model) / speed
        return 0.0

    def is_ready(self, earlier_polls: int, elapsed: float, span: float) -> bool:
        """Return whether a job is done after this many polls and seconds."""
        if self.kind == "polls":
            return earlier_polls >= self.amount
        return elapsed >= span

    def progress(self, earlier_polls: int, elapsed: float, span: float) -> int:
        """Return 0 to 99: an approximation that may stand still, as the service's does (contract §5.5)."""
        by_clock = elapsed / span if span else 0.0
        share = earlier_polls / (self.amount + 1) if self.kind == "polls" else by_clock
        return max(0, min(99, int(share * 100)))


def realistic_span(dice: random.Random, resolution: str, seconds: float, model: str) -> float:
    """Draw seconds from a lognormal around the published timings (contract §5.5), never above 240."""
    per_second = dict(_MEDIANS).get(resolution, 5.5)
    median = 8.0 + per_second * seconds
    if model.endswith("-1.5"):
        median *= 1.5
    return min(240.0, median * math.exp(dice.gauss(0.0, 0.25)))
