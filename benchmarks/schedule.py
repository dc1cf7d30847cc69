"""What looks cost and what they bring, on a virtual clock: the table of the schedule and the one of the pace.

Run as ``python -m benchmarks.schedule``; it takes half a minute and always prints the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_grokvideo.core.polling.latency import Latencies
from airflow_provider_grokvideo.core.polling.queue import PATIENCE
from benchmarks.simulation import MIX, Outcome, fixed, frontier, simulate, steadily

VIDEOS = 3000
RATES = (0.3, 0.6, 0.8)
CROWD = 1000


def measure() -> dict[str, Any]:
    """Return what the simulations say, as plain JSON."""
    jobs = steadily(MIX, 0.3, VIDEOS)
    polls, lag = fixed(jobs)
    rows = [{"who": "fixed 5 s", "polls": polls, "lag": lag}]
    rows += [
        {"who": "best possible, distributions known", "polls": few, "lag": soon}
        for few, soon in frontier((0.2, 0.25, 0.3, 0.4))
    ]
    first = simulate(jobs[:100], Latencies())
    rows.append(_row("ours, first 100 videos of a process", first))
    rows.append(_row("ours, learned", simulate(steadily(MIX, 0.3, VIDEOS, seed=2), _learned())))
    crowd = simulate(steadily(MIX, 1e9, CROWD, seed=6), _learned())
    rows.append(_row(f"ours, learned, {CROWD:,} submitted at once", crowd))
    return {"schedule": rows, "pace": [_paced(rate) for rate in RATES]}


def table(found: Mapping[str, Any]) -> str:
    """Return the two tables as Markdown."""
    lines = ["| schedule | polls / video | mean lag, s |", "|---|---:|---:|"]
    lines += [f"| {row['who']} | {row['looks']:.1f} | {row['lag']:.2f} |" for row in found["schedule"]]
    lines += [
        "",
        "| videos / s at 1 poll / s | polls / video | mean lag, s | lag p90, s | longest overdue poll, s | bound, s |",
        "|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {row['rate']} | {row['looks']:.2f} | {row['lag']:.1f} | {row['p90']:.0f} | {row['overdue']:.0f} "
        f"| {row['bound']:.0f} |"
        for row in found["pace"]
    ]
    return "\n".join(lines) + "\n"


def _row(who: str, outcome: Outcome) -> dict[str, Any]:
    return {"who": who, "polls": outcome.polls, "lag": outcome.lag}


def _learned() -> Latencies:
    latencies = Latencies()
    simulate(steadily(MIX, 0.3, 1000, seed=3), latencies)
    return latencies


def _paced(rate: float) -> dict[str, float]:
    outcome = simulate(steadily(MIX, rate, 1500), _learned(), pace=1.0)
    lags = sorted(lag for *_, lag in outcome.found)
    return {
        "rate": rate,
        "polls": outcome.polls,
        "lag": outcome.lag,
        "p90": lags[int(0.9 * len(lags))],
        "overdue": outcome.waited,
        "bound": PATIENCE + outcome.fullest,
    }


if __name__ == "__main__":
    print(table(measure()))
