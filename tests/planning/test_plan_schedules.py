"""How many runs a month has."""

from __future__ import annotations

from pathlib import Path

import pendulum
import pytest

from airflow_provider_grokvideo.planning.loading import load
from airflow_provider_grokvideo.planning.schedule import runs_in

NOW = pendulum.datetime(2026, 11, 23, 12, tz="UTC")


@pytest.fixture(scope="module")
def dags():
    return load(str(Path(__file__).with_name("dags") / "planned_schedules.py"))


@pytest.mark.parametrize(
    ("dag_id", "month", "count"),
    [
        pytest.param("hourly", "2027-02", 28 * 24, id="hourly"),
        pytest.param("hourly", "2027-03", 31 * 24 - 1, id="an hour is skipped in March"),
        pytest.param("hourly", "2026-10", 31 * 24 + 1, id="an hour comes twice in October"),
        pytest.param("hourly_trigger", "2027-03", 31 * 24 - 1, id="without a data interval"),
        pytest.param("hourly_interval", "2027-03", 31 * 24 - 1, id="with a data interval"),
        pytest.param("daily_interval", "2027-02", 28, id="the last day of the month before counts here"),
        pytest.param("monthly", "2027-02", 1, id="monthly"),
        pytest.param("monthly_interval", "2027-02", 1, id="monthly with a data interval"),
        pytest.param("yearly", "2027-01", 1, id="yearly"),
        pytest.param("yearly", "2027-02", 0, id="yearly, another month"),
        pytest.param("yearly_interval", "2028-01", 1, id="yearly with a data interval"),
        pytest.param("weekly_delta", "2027-02", 4, id="28 days hold 4 weeks"),
        pytest.param("weekly_delta", "2027-03", 5, id="31 days can begin 5"),
        pytest.param("events", "2027-02", 2, id="events"),
        pytest.param("no_start", "2027-02", 28, id="without a start date"),
        pytest.param("starts_late", "2027-03", 11, id="from the start date on"),
        pytest.param("starts_late", "2027-02", 0, id="before the start date"),
        pytest.param("ends_early", "2027-03", 9, id="until the end date"),
        pytest.param("ends_early", "2027-04", 0, id="after the end date"),
        pytest.param("by_asset_or_daily", "2027-02", 28, id="the clock's part"),
        pytest.param("once", "2027-02", 1, id="once"),
        pytest.param("by_asset", "2027-02", None, id="assets"),
        pytest.param("continuous", "2027-02", None, id="continuous"),
        pytest.param("by_hand", "2027-02", 0, id="by hand"),
    ],
)
def test_runs_of_a_month(dags, dag_id, month, count):
    """A run counts in the month in which it starts, by the clock of the DAG."""
    assert count == runs_in(dags[dag_id], month, NOW).count


@pytest.mark.parametrize(
    ("dag_id", "bound", "told"),
    [
        ("hourly", True, ""),
        ("once", True, "one run ever"),
        ("by_hand", True, "no schedule"),
        ("by_asset", False, "triggered by assets"),
        ("by_asset_or_daily", False, "assets trigger further runs"),
        ("continuous", False, "@continuous"),
        ("catches_up", True, "up to 23 past runs"),
    ],
)
def test_what_is_told(dags, dag_id, bound, told):
    """What is not in the number is said, and whether the number is a bound."""
    runs = runs_in(dags[dag_id], "2027-02", NOW)

    assert bound == runs.is_bound
    assert told in runs.told
    assert bool(told) == bool(runs.told)


@pytest.mark.parametrize(
    ("now", "month"),
    [
        pytest.param(NOW, "2026-12", id="the next"),
        pytest.param(pendulum.datetime(2026, 12, 31, 23, 30, tz="UTC"), "2027-02", id="it is January in Berlin"),
    ],
)
def test_default_month_is_the_next_whole_one_of_the_dag(dags, now, month):
    """The DAG's time zone decides which month it is."""
    assert month == runs_in(dags["hourly"], None, now).month


def test_a_run_a_minute_is_counted(dags):
    """The densest schedule that cron can write is counted to the run."""
    assert 28 * 24 * 60 == runs_in(dags["minutely"], "2027-02", NOW).count


def test_a_timetable_that_fails_leaves_the_count_unknown(dags):
    """A schedule that cannot be read is said, and no number is made up."""
    runs = runs_in(dags["strange"], "2027-02", NOW)

    assert (None, False) == (runs.count, runs.is_bound)
    assert "schedule cannot be read" in runs.told
