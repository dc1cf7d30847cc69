"""The numbers of a row, and the table of all of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks import work
from benchmarks.waits import INTERVAL, Result

TITLES = {
    "usual": "usual trigger",
    "ours": "ours, first day",
    "ours-learned": "ours, learned",
    "floor": "floor (aiohttp)",
}
"""What the table calls the ways to wait, in its order."""

DISTURBED = 0.02
"""Share of its time that a row may wait for a core before the table says so."""

_HEAD = (
    ("waits", "right"),
    ("who", "left"),
    ("CPU s", "right"),
    ("CPU ms / video", "right"),
    ("CPU ms / poll", "right"),
    ("RSS before → peak, MB", "right"),
    ("stall p99 / max, s", "right"),
    ("sockets", "right"),
    ("polls / video", "right"),
    ("lag p50 / p90 / max, s", "right"),
    ("mean lag, s", "right"),
    ("lost", "right"),
)


def measured(who: str, waits: int, result: Result, counts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row of the JSON file for what a process measured and its service counted.

    A wait without the right event within the limit is lost; lags are those of the others.
    """
    polls = int(counts["polls"])
    return {
        "who": who,
        "waits": waits,
        "cpu_s": result.cpu,
        "core_wait_s": result.core_wait,
        "cpu_ms_per_video": 1000 * result.cpu / waits,
        "cpu_ms_per_poll": 1000 * result.cpu / polls if polls else None,
        "rss_before_mb": result.rss_before,
        "rss_peak_mb": result.rss_peak,
        "stall_p99_s": result.stall_p99,
        "stall_max_s": result.stall_max,
        "sockets": counts["connections"],
        "polls": polls,
        "polls_after_done": counts["polls_after_done"],
        "polls_refused": counts["refused"],
        "polls_per_video": polls / waits,
        "polls_per_video_max": max(counts["polls_per_video"], default=0),
        "service_cpu_s": counts["cpu"],
        "lag": lag(result.lags),
        "lost": waits - len(result.lags),
        "faults": result.faults,
        "seconds": result.seconds,
    }


def unmeasured(who: str, waits: int, note: str) -> dict[str, Any]:
    """Return the row of the JSON file for what could not be measured, with the reason."""
    return {"who": who, "waits": waits, "note": note}


def bound(waits: int, scale: float, pace: float) -> dict[str, Any]:
    """Return the row of the JSON file for the best that a pace allows."""
    latencies = [video.latency for video in work.mixed(waits, scale)]
    return {"waits": waits, "lag": lag(work.bound(latencies, pace))}


def lag(lags: Sequence[float]) -> dict[str, float] | None:
    """Return median, 90 % quantile, maximum and mean in seconds; None if there is nothing to take them of."""
    if not lags:
        return None
    ordered = sorted(lags)
    return {
        "p50": _quantile(ordered, 0.5),
        "p90": _quantile(ordered, 0.9),
        "max": ordered[-1],
        "mean": math.fsum(ordered) / len(ordered),
    }


def table(bench: Mapping[str, Any]) -> str:
    """Return the content of the JSON file as Markdown."""
    settings = bench["settings"]
    lines = [
        "| " + " | ".join(title for title, _ in _HEAD) + " |",
        "|" + "|".join("---:" if side == "right" else "---" for _, side in _HEAD) + "|",
    ]
    for waits in settings["waits"]:
        lines += [_line(row) for row in _in_order(bench["rows"], waits)]
        lines += [_bound_line(each, settings["pace"]) for each in bench["bounds"] if each["waits"] == waits]
    parts = ["\n".join(lines)]
    if compared := [said for waits in settings["waits"] if (said := _compared(bench["rows"], waits))]:
        parts.append("\n".join(compared))
    measured_rows = [row for row in bench["rows"] if "note" not in row]
    if disturbed := [row for row in measured_rows if row["core_wait_s"] > DISTURBED * row["seconds"]]:
        parts.append(_disturbance(disturbed))
    parts.append(_conditions(bench))
    return "\n\n".join(parts) + "\n"


def _in_order(rows: Sequence[Mapping[str, Any]], waits: int) -> list[Mapping[str, Any]]:
    order = list(TITLES)
    return sorted((row for row in rows if row["waits"] == waits), key=lambda row: order.index(row["who"]))


def line(row: Mapping[str, Any]) -> str:
    """Return one row as text for the terminal."""
    if "note" in row:
        return str(row["note"])
    cells = _cells(row)
    named = zip((title for title, _ in _HEAD[2:]), cells, strict=True)
    faults = [f"{count:,} ended with {what}" for what, count in row["faults"].items()]
    return "; ".join([*(f"{title} {cell}" for title, cell in named), *faults])


def _line(row: Mapping[str, Any]) -> str:
    cells = [row["note"], *[""] * (len(_HEAD) - 3)] if "note" in row else _cells(row)
    return f"| {row['waits']:,} | {TITLES[row['who']]} | " + " | ".join(cells) + " |"


def _cells(row: Mapping[str, Any]) -> list[str]:
    return [
        _number(row["cpu_s"]),
        _number(row["cpu_ms_per_video"]),
        _number(row["cpu_ms_per_poll"]),
        f"{row['rss_before_mb']:,.0f} → {row['rss_peak_mb']:,.0f}",
        f"{row['stall_p99_s']:.3f} / {row['stall_max_s']:.3f}",
        f"{row['sockets']:,}",
        f"{row['polls_per_video']:.1f}",
        *_lag_cells(row["lag"]),
        f"{row['lost']:,}",
    ]


def _bound_line(row: Mapping[str, Any], pace: float) -> str:
    lag_cells = " | ".join(_lag_cells(row["lag"]))
    return f"| {row['waits']:,} | *best at {pace:g} polls/s* | " + " | ".join([""] * 6) + f" | 1.0 | {lag_cells} | 0 |"


def _lag_cells(seconds: Mapping[str, float] | None) -> list[str]:
    if seconds is None:
        return ["–", "–"]
    return [f"{seconds['p50']:.2f} / {seconds['p90']:.2f} / {seconds['max']:.2f}", f"{seconds['mean']:.2f}"]


def _compared(rows: Sequence[Mapping[str, Any]], waits: int) -> str:
    """Say in a sentence what a learned trigger saves at a size, or nothing where one of the two is missing."""
    found = {row["who"]: row for row in _in_order(rows, waits) if "note" not in row}
    mine, theirs = found.get("ours-learned") or found.get("ours"), found.get("usual")
    if mine is None or theirs is None or mine["lost"]:
        return ""
    return (
        f"* {waits:,} waits, {TITLES[mine['who']]}, against the usual trigger: CPU {_part(mine, theirs, 'cpu_s')}, "
        f"peak RSS {_part(mine, theirs, 'rss_peak_mb')} (what waiting adds to it: {_growth(mine, theirs)}), "
        f"{mine['polls_per_video']:.1f} polls per video instead of {theirs['polls_per_video']:.1f}{_starved(theirs)}."
    )


def _starved(theirs: Mapping[str, Any]) -> str:
    """Say that a row got fewer polls than it asked for, whose cost is then no measure of the work."""
    late = theirs["lag"] is None or theirs["lag"]["p50"] > INTERVAL
    return ", which is as many as its core allows: it starves, so it uses less than its work would need" if late else ""


def _part(mine: Mapping[str, Any], theirs: Mapping[str, Any], name: str) -> str:
    return f"1/{theirs[name] / mine[name]:.1f}"


def _growth(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
    added = [max(row["rss_peak_mb"] - row["rss_before_mb"], 0.1) for row in (mine, theirs)]
    return f"1/{added[1] / added[0]:.0f}"


def _disturbance(rows: Sequence[Mapping[str, Any]]) -> str:
    named = [f"{row['waits']:,} waits, {TITLES[row['who']]}: {row['core_wait_s']:.0f} s" for row in rows]
    return (
        f"Other processes kept these rows from running, so measure them again on a quiet machine: {'; '.join(named)}."
    )


def _conditions(bench: Mapping[str, Any]) -> str:
    settings, machine = bench["settings"], dict(bench["machine"])
    scale = "" if settings["scale"] == 1 else f" All latencies are multiplied by {settings['scale']:g}."
    date, where, system = machine.pop("date"), machine.pop("machine"), machine.pop("system")
    versions = ", ".join(f"{name} {number}" for name, number in machine.items())
    return (
        f"{date}; {where}; {system}; {versions}. Pace of the connection: {settings['pace']:g} polls/s.{scale} "
        f"Rows of one size ran side by side, but the usual trigger alone above {settings['side_by_side']} waits."
    )


def _quantile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)]


def _number(value: float | None) -> str:
    """Write a number with about three digits."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
