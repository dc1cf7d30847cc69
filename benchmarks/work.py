"""The work that every row waits for: which videos, how long each takes, and the best that a pace allows.

Nothing here is drawn at random: the same number of waits is always the same work.
"""

from __future__ import annotations

import math
import random
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

LONGEST = 0.975
"""Quantile at which latencies are cut, so that no row takes much longer than two and a half minutes."""

_TICKS_PER_USD = 10**10


@dataclass(frozen=True)
class Kind:
    """Videos that take about equally long.

    Attributes:
        mode: How it is made.
        model: What makes it.
        seconds: Length of the video.
        resolution: Its resolution.
        usd_per_second: Its price (contract §4).
        median: Seconds until half of them are finished (contract §5.5).
        sigma: Standard deviation of the logarithm of that time.
        share: Share of this kind among all videos.
    """

    mode: str
    model: str
    seconds: int
    resolution: str
    usd_per_second: float
    median: float
    sigma: float
    share: float

    @property
    def name(self) -> str:
        """Mode, model, seconds and resolution in one string."""
        return f"{self.mode}/{self.model}/{self.seconds}/{self.resolution}"

    @property
    def ticks(self) -> int:
        """Price in the unit that the service bills in."""
        return round(self.seconds * self.usd_per_second * _TICKS_PER_USD)

    def latency(self, quantile: float) -> float:
        """Return the seconds by which this share of them is finished."""
        spread = NormalDist().inv_cdf(min(quantile, LONGEST))
        return self.median * math.exp(self.sigma * spread)


KINDS = (
    Kind("text-to-video", "grok-imagine-video", 5, "480p", 0.05, median=22, sigma=0.08, share=0.30),
    Kind("text-to-video", "grok-imagine-video", 8, "720p", 0.07, median=50, sigma=0.15, share=0.35),
    Kind("text-to-video", "grok-imagine-video", 15, "720p", 0.07, median=90, sigma=0.15, share=0.15),
    Kind("text-to-video", "grok-imagine-video-1.5", 8, "720p", 0.14, median=80, sigma=0.35, share=0.20),
)


@dataclass(frozen=True)
class Video:
    """One video to wait for.

    Attributes:
        request_id: Its name at the service.
        kind: What it is.
        latency: Seconds from its submit until it is finished.
    """

    request_id: str
    kind: Kind
    latency: float


def mixed(waits: int, scale: float = 1.0) -> list[Video]:
    """Return the work of a row: so many videos, each kind with its share.

    Args:
        waits: How many.
        scale: Factor on all latencies.
    """
    return _videos(_shared_out(waits), scale, seed=f"row of {waits}")


def equal(each: int, scale: float = 1.0) -> list[Video]:
    """Return so many videos of each kind."""
    return _videos([each] * len(KINDS), scale, seed=f"{each} of each")


def longest(videos: Iterable[Video]) -> float:
    """Return the seconds until the last of them is finished."""
    return max((video.latency for video in videos), default=0.0)


def bound(latencies: Iterable[float], pace: float) -> list[float]:
    """Return by how much each video is seen late if nothing but the pace holds anybody up.

    This is what an oracle reaches that knows when each video will be finished and spends one poll on each, at the
    first moment from then on that the pace leaves free.

    Args:
        latencies: When each video is finished.
        pace: Polls per second.
    """
    lags, free = [], -math.inf
    for finish in sorted(latencies):
        poll = max(finish, free)
        lags.append(poll - finish)
        free = poll + 1.0 / pace
    return lags


def _shared_out(waits: int) -> list[int]:
    """Divide the waits among the kinds; what rounding leaves goes to those that it cut most."""
    exact = [kind.share * waits for kind in KINDS]
    counts = [math.floor(share) for share in exact]
    by_cut = sorted(range(len(KINDS)), key=lambda index: counts[index] - exact[index])
    for index in by_cut[: waits - sum(counts)]:
        counts[index] += 1
    return counts


def _videos(counts: Sequence[int], scale: float, seed: str) -> list[Video]:
    """Return videos whose latencies are evenly spaced quantiles of their kinds, in an order that mixes the kinds."""
    chance = random.Random(seed)  # noqa: S311 - names and an order, no secrets
    videos = [
        Video(str(uuid.UUID(int=chance.getrandbits(128), version=4)), kind, scale * kind.latency((index + 0.5) / count))
        for kind, count in zip(KINDS, counts, strict=True)
        for index in range(count)
    ]
    chance.shuffle(videos)
    return videos
