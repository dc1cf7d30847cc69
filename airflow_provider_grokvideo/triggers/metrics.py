"""Airflow metrics of the poller, sent once a second from a thread.

Airflow's own client may resolve a host name or read a file when it is first used, and the event loop must not wait.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from dataclasses import dataclass, field

from airflow_provider_grokvideo.compat import metrics

EVERY = 1.0
"""Seconds between two reports."""

log = logging.getLogger(__name__)


@dataclass
class _Report:
    gauges: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    lags: list[float] = field(default_factory=list)


class Meter:
    """Metrics of one poller.

    Args:
        conn_id: Airflow connection, a tag of all metrics.
    """

    def __init__(self, conn_id: str) -> None:
        self._tags = {"conn_id": conn_id}
        self._report = _Report()
        self._timer: asyncio.TimerHandle | None = None

    def note(self, **gauges: float) -> None:
        """Set gauges."""
        self._report.gauges.update(gauges)
        self._later()

    def polled(self, *, missed: bool, limited: bool) -> None:
        """Count a poll."""
        for name, happened in (("polls", True), ("misses", missed), ("rate_limited", limited)):
            if happened:
                self._report.counts[name] = self._report.counts.get(name, 0) + 1
        self._later()

    def found(self, lag: float) -> None:
        """Record the estimated seconds between the end of a video and the poll that found it."""
        self._report.lags.append(lag)
        self._later()

    async def close(self) -> None:
        """Send the last report."""
        if self._timer is not None:
            self._timer.cancel()
        self.note(waits=0, overdue=0)
        if self._timer is not None:
            self._timer.cancel()
        await asyncio.get_running_loop().run_in_executor(None, _send, self._taken(), self._tags)

    def _later(self) -> None:
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(EVERY, self._send_apart, loop, context=contextvars.Context())

    def _send_apart(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        loop.run_in_executor(None, _send, self._taken(), self._tags)

    def _taken(self) -> _Report:
        report, self._report = self._report, _Report()
        return report


def _send(report: _Report, tags: dict[str, str]) -> None:
    try:
        stats = metrics()
        for name, value in report.gauges.items():
            stats.gauge(f"grokvideo.{name}", value, tags=tags)
        for name, count in report.counts.items():
            stats.incr(f"grokvideo.{name}", count, tags=tags)
        for lag in report.lags:
            stats.timing("grokvideo.lag", lag * 1000.0, tags=tags)
    except Exception:
        log.exception("Could not send metrics")
