"""Number of scheduled DAG runs in a month."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pendulum
from pendulum import DateTime

_MOST_RUNS = 100_000
"""Limit of counted runs: more than one every half a minute of a month."""

_MOST_MISSED = 10_000

_LOOK_BACK = (timedelta(days=1), timedelta(days=32), timedelta(days=800))
"""How long before a month a run's data interval may begin: for a daily, a monthly and a yearly schedule."""


@dataclass(frozen=True)
class Runs:
    """The runs of a month.

    Attributes:
        month: Such as ``2027-02``.
        timezone: Time zone of the month: the DAG's.
        count: Number of runs by the timetable; None if unknown.
        told: Remark about the count.
        scheduled: Whether the DAG has a schedule, and not only manual runs.
        more: Whether an unknown number of further runs starts too.
    """

    month: str
    timezone: str
    count: int | None
    told: str = ""
    scheduled: bool = True
    more: bool = False

    @property
    def is_bound(self) -> bool:
        """Whether `count` is the maximum number of scheduled runs."""
        return self.count is not None and not self.more


def runs_in(dag: Any, month: str | None, now: DateTime) -> Runs:
    """Return the runs of a month.

    A run counts in the month in which it starts, at the end of its data interval if it has one. A timedelta schedule
    has no fixed times, so the maximum is counted.

    Args:
        dag: The DAG.
        month: Such as ``2027-02``; None for next month.
        now: Decides which month is next, and the number of missed runs of a catchup.
    """
    start = _beginning(month, dag.timezone, now)
    none = Runs(start.format("YYYY-MM"), str(start.timezone_name), None)
    try:
        readable = _serialized(dag)
        if known := _told_by_name(none, type(readable.timetable).__name__):
            return known
        return _by_the_clock(none, readable, start, now)
    except Exception as error:  # noqa: BLE001 - a timetable may be the user's
        return replace(none, told=f"the schedule cannot be read ({type(error).__name__}: {error})")


def _told_by_name(none: Runs, name: str) -> Runs | None:
    match name:
        case "NullTimetable" | "PartitionedAtRuntime":
            return replace(none, count=0, told="no schedule: manual runs only", scheduled=False)
        case "ContinuousTimetable":
            return replace(none, told="@continuous: each run starts when the previous one ends")
        case "OnceTimetable":
            return replace(none, count=1, told="@once: one run ever, as soon as the DAG is unpaused")
        case "AssetTriggeredTimetable" | "PartitionedAssetTimetable":
            return replace(none, told="triggered by assets: unknown number of runs")
    return None


def _by_the_clock(none: Runs, dag: Any, start: DateTime, now: DateTime) -> Runs:
    restriction = dag._time_restriction
    timetable = getattr(dag.timetable, "timetable", dag.timetable)
    by_assets = timetable is not dag.timetable
    count = _count(timetable, restriction, start, start.add(months=1))
    if count > _MOST_RUNS:
        return replace(none, told=f"more than {_MOST_RUNS} runs")
    remarks = ["assets trigger further runs"] if by_assets else []
    if restriction.catchup and (missed := _missed(timetable, restriction, now)):
        many = f"more than {_MOST_MISSED}" if missed > _MOST_MISSED else f"up to {missed}"
        remarks.append(f"catchup=True: plus {many} past runs, if they have not run yet")
    return replace(none, count=count, told="; ".join(remarks), more=by_assets)


def _beginning(month: str | None, timezone: Any, now: DateTime) -> DateTime:
    if month is None:
        return now.in_timezone(timezone).start_of("month").add(months=1)
    year, number = map(int, month.split("-"))
    return pendulum.datetime(year, number, 1, tz=timezone)


def _serialized(dag: Any) -> Any:
    """Return the serialized DAG, whose timetable can list its runs."""
    from airflow.serialization import serialized_objects

    # The class that does it has another name before 3.2.
    to_and_fro: Any = getattr(serialized_objects, "DagSerialization", None) or serialized_objects.SerializedDAG  # type: ignore[attr-defined,unused-ignore]
    return to_and_fro.deserialize_dag(to_and_fro.serialize_dag(dag))


def _count(timetable: Any, restriction: Any, start: DateTime, end: DateTime) -> int:
    count = 0
    for run_after in _run_times(timetable, _first(timetable, restriction, start), restriction.latest):
        if run_after >= end or count > _MOST_RUNS:
            break
        count += run_after >= start
    return count


def _first(timetable: Any, restriction: Any, start: DateTime) -> Any:
    """Return a start for the timetable that includes the first run of the month."""
    if type(timetable).__name__.startswith("Delta"):
        # The first run is at the given moment, or one interval later.
        first = start - (next(_run_times(timetable, start, None), start) - start)
        return first if restriction.earliest is None else max(first, restriction.earliest)
    first = start
    for back in _LOOK_BACK:
        first = start - back
        if restriction.earliest is not None and restriction.earliest >= first:
            return restriction.earliest
        at = next(_run_times(timetable, first, restriction.latest), None)
        if at is None or at <= start:
            break
    return first


def _missed(timetable: Any, restriction: Any, now: DateTime) -> int:
    """Return the number of past runs of a DAG that never ran, with catchup."""
    count = 0
    for run_after in _run_times(timetable, restriction.earliest, restriction.latest):
        if run_after > now or count > _MOST_MISSED:
            break
        count += 1
    return count


def _run_times(timetable: Any, earliest: Any, latest: Any) -> Iterator[DateTime]:
    """Yield the start times of runs whose data intervals begin between two moments."""
    from airflow.timetables.base import TimeRestriction

    # With catchup a timetable lists all runs; without, it skips those before today.
    within = TimeRestriction(earliest, latest, catchup=True)
    last: Any = None
    while True:
        if hasattr(timetable, "next_dagrun_info_v2"):
            info = timetable.next_dagrun_info_v2(last_dagrun_info=last, restriction=within)
        else:
            interval = None if last is None else last.data_interval
            info = timetable.next_dagrun_info(last_automated_data_interval=interval, restriction=within)
        if info is None or (last is not None and info.run_after <= last.run_after):
            return
        yield info.run_after
        last = info
