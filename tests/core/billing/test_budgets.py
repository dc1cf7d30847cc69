"""Budgets: how they are declared, which purchases count against them, and when their days and months begin and end."""

from __future__ import annotations

import json
import zoneinfo
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_grokvideo.core.billing.budgets import (
    WORDS,
    Budget,
    Overrun,
    Scope,
    checked_zone,
    overruns,
    parse,
    scopes,
    window,
)
from airflow_provider_grokvideo.core.errors import InvalidInput
from airflow_provider_grokvideo.core.purchases.records import Owner

OWNER = Owner("films", "manual__1", "make")
USD = 10**10

FIRST = datetime(2011, 12, 1, tzinfo=timezone.utc).timestamp()
LAST = datetime(2037, 12, 31, tzinfo=timezone.utc).timestamp()

STRANGE = [
    "Africa/Cairo",
    "Asia/Beirut",
    "America/Havana",
    "America/Santiago",
    "America/Nuuk",
    "Pacific/Apia",
    "Australia/Lord_Howe",
    "Antarctica/Casey",
    "Asia/Kathmandu",
    "Europe/Berlin",
    "UTC",
]
"""Zones that skip midnight, have it twice, skip a day, shift by half an hour or by three hours, or are plain."""

ZONES = st.one_of(st.sampled_from(STRANGE), st.sampled_from(sorted(zoneinfo.available_timezones())))
MOMENTS = st.floats(FIRST, LAST, allow_nan=False)


def per(*words, usd=20, **facts):
    """Return a budget as a user declares it."""
    return {"usd": usd, "per": list(words), **facts}


def one(*words, zone="UTC", **facts):
    """Return a budget."""
    return parse([per(*words, timezone=zone, **facts)], where="budgets")[0]


def at(text, zone):
    """Return the epoch seconds of a local time."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


def changes(zone, year):
    """Return the moments of a year at which a zone's clock was changed, to the second."""
    there = ZoneInfo(zone)
    first = int(datetime(year, 1, 1, tzinfo=timezone.utc).timestamp())

    def offset(moment):
        return datetime.fromtimestamp(moment, there).utcoffset()

    found = []
    for low in range(first, first + 366 * 86_400, 3600):
        high = low + 3600
        if offset(low) != offset(high):
            found.append(next(moment for moment in range(low + 1, high + 1) if offset(moment) == offset(high)))
    return found


@given(ZONES, MOMENTS, st.sampled_from(["day", "month"]))
def test_days_and_months_tile_the_time_line(zone, now, word):
    """Every moment belongs to exactly one day and month of a zone: the next begins where one ends."""
    budget = one(word, zone=zone)
    start, end = window(budget, now)

    assert start <= now < end
    assert (start, end) == window(budget, start)
    assert (start, end) == window(budget, end - 0.001)
    assert end == window(budget, end)[0]
    assert start == window(budget, start - 0.001)[1]


@pytest.mark.parametrize("zone", STRANGE)
def test_days_tile_the_time_line_where_clocks_are_changed(zone):
    """Around every change of the clock a moment lies within its own day, and its day is that of the local date."""
    budget, there = one("day", zone=zone), ZoneInfo(zone)
    around = [-5400, -3600, -1800, -1, 0, 1, 1799, 1800, 3599, 3600, 5400]
    moments = [change + more for year in (2011, 2020, 2026) for change in changes(zone, year) for more in around]
    for now in [moment for moment in moments if moment >= FIRST]:
        start, end = window(budget, now)
        dates = {datetime.fromtimestamp(moment, there).date() for moment in (start, now, end - 1)}

        assert start <= now < end
        assert 1 == len(dates)
        assert datetime.fromtimestamp(start - 1, there).date() < dates.pop()


@pytest.mark.parametrize(
    ("zone", "noon", "begins", "hours"),
    [
        pytest.param("UTC", "2026-03-29T12:00", "2026-03-29T00:00", 24, id="plain"),
        pytest.param("Europe/Berlin", "2026-03-29T12:00", "2026-03-29T00:00", 23, id="spring"),
        pytest.param("Europe/Berlin", "2026-10-25T12:00", "2026-10-25T00:00", 25, id="autumn"),
        pytest.param("Australia/Lord_Howe", "2026-10-04T12:00", "2026-10-04T00:00", 23.5, id="half an hour"),
        pytest.param("Africa/Cairo", "2026-04-24T12:00", "2026-04-24T01:00", 23, id="midnight is skipped"),
        pytest.param("Asia/Beirut", "2026-03-29T12:00", "2026-03-29T01:00", 23, id="midnight is skipped, too"),
        pytest.param("America/Havana", "2026-11-01T12:00", "2026-11-01T00:00", 25, id="midnight comes twice"),
        pytest.param("Pacific/Apia", "2011-12-29T12:00", "2011-12-29T00:00", 24, id="before a day that never was"),
        pytest.param("Pacific/Apia", "2011-12-31T12:00", "2011-12-31T00:00", 24, id="after a day that never was"),
    ],
)
def test_a_day_begins_at_its_first_moment(zone, noon, begins, hours):
    """A day begins when its date does, and is as long as the zone's clock makes it."""
    start, end = window(one("day", zone=zone), at(noon, zone))

    assert (at(begins, zone), hours) == (start, (end - start) / 3600)


@pytest.mark.parametrize(
    ("zone", "now", "begins", "days"),
    [
        pytest.param("UTC", "2028-02-29T23:59:59", "2028-02-01", 29, id="leap year"),
        pytest.param("UTC", "2026-12-31T23:59:59", "2026-12-01", 31, id="end of a year"),
        pytest.param("Europe/Berlin", "2026-03-01T00:00", "2026-03-01", 31 - 1 / 24, id="an hour short"),
        pytest.param("Pacific/Apia", "2011-12-15T00:00", "2011-12-01", 30, id="a day short"),
    ],
)
def test_a_month_begins_with_its_first_day(zone, now, begins, days):
    """A month is as long as its days together."""
    start, end = window(one("month", zone=zone), at(now, zone))

    assert at(begins, zone) == start
    assert timedelta(days=days) == timedelta(seconds=end - start)


def test_a_budget_without_day_or_month_never_ends():
    """What is budgeted for a DAG or a connection alone counts for ever."""
    assert (None, None) == window(one("dag", "connection"), FIRST)


def test_whose_midnight_counts():
    """The same moment is another day elsewhere."""
    now = at("2026-11-22T23:30", "UTC")

    assert at("2026-11-23T00:00", "Europe/Berlin") == window(one("day", zone="Europe/Berlin"), now)[0]
    assert at("2026-11-22T00:00", "America/New_York") == window(one("day", zone="America/New_York"), now)[0]


@pytest.mark.parametrize(
    ("declared", "limits"),
    [
        pytest.param(per("dag_run"), {"run": ("films", "manual__1")}, id="run"),
        pytest.param(per("dag"), {"dag_ids": ("films",)}, id="DAG"),
        pytest.param(per("connection"), {"conn_ids": ("team",)}, id="connection"),
        pytest.param(per("dag", "connection"), {"dag_ids": ("films",), "conn_ids": ("team",)}, id="DAG and connection"),
        pytest.param(
            per("dag_run", dag_id=["films", "other"]),
            {"dag_ids": ("films", "other"), "run": ("films", "manual__1")},
            id="run of some DAGs",
        ),
        pytest.param(per("dag", dag_id=["films", "other"]), {"dag_ids": ("films",)}, id="each of some DAGs"),
        pytest.param(
            per("day", dag_id=["films", "other"]),
            {"dag_ids": ("films", "other"), "start": 86_400.0, "end": 172_800.0},
            id="some DAGs together, by day",
        ),
        pytest.param(
            per("connection", "month", conn_id="team"),
            {"conn_ids": ("team",), "start": 0.0, "end": 31 * 86_400.0},
            id="one connection, by month",
        ),
    ],
)
def test_what_counts_against_a_budget(declared, limits):
    """Words split a budget, names narrow it, and a day or month ends it."""
    budgets = parse([declared], where="budgets")

    assert [Scope(budgets[0], **limits)] == scopes(budgets, OWNER, "team", 86_400.0)


@pytest.mark.parametrize("facts", [{"dag_id": "other"}, {"conn_id": ["other", "another"]}], ids=["DAG", "connection"])
def test_a_budget_for_others_does_not_apply(facts):
    """A budget that names others holds nobody else."""
    assert [] == scopes(parse([per("day", **facts)], where="budgets"), OWNER, "team", FIRST)


def test_every_budget_that_applies_is_told_in_order():
    """Nothing that was declared is left out, and the order is the user's."""
    declared = parse([per("day"), per("dag"), per("day", usd=3)], where="budgets")

    assert declared == [scope.budget for scope in scopes(declared, OWNER, "team", FIRST)]


@pytest.mark.parametrize(
    ("used", "wanted", "fits"),
    [(0, 20, True), (19, 1, True), (20, 0, True), (20, 1, False), (0, 21, False), (25, 0, False)],
    ids=["all of it", "all that is left", "nothing of nothing", "a tick too much", "too dear", "exceeded already"],
)
def test_what_has_room_in_a_budget(used, wanted, fits):
    """The limit itself is allowed; beyond it nothing is."""
    scope = Scope(Budget(20, ("day",)))

    assert ([] if fits else [Overrun(scope, used, wanted)]) == overruns(wanted, [(scope, used)])


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        pytest.param([], [], id="no budget"),
        pytest.param("[]", [], id="no budget in JSON"),
        pytest.param(
            '[{"usd": 20, "per": "day"}]',
            [Budget(20 * USD, ("day",), timezone="Asia/Tokyo", where="here[0]")],
            id="JSON",
        ),
        pytest.param(
            [{"usd": "0.1", "per": ("month", "dag"), "timezone": "UTC"}],
            [Budget(USD // 10, ("dag", "month"), where="here[0]")],
            id="words in any order",
        ),
        pytest.param(
            '[{"usd": 0.1, "per": "dag"}, {"usd": 0, "per": ["dag_run"], "dag_id": "a", "conn_id": ["b", "c"]}]',
            [
                Budget(USD // 10, ("dag",), timezone="Asia/Tokyo", where="here[0]"),
                Budget(0, ("dag_run",), ("a",), ("b", "c"), timezone="Asia/Tokyo", where="here[1]"),
            ],
            id="two",
        ),
    ],
)
def test_how_budgets_are_declared(declared, expected):
    """Lists, their JSON text, and nothing at all are read; dollars are exact."""
    assert expected == parse(declared, where="here", timezone="Asia/Tokyo")


def test_budgets_of_a_connection_hold_that_connection_only():
    """What a connection says of money is about its own purchases."""
    (budget,) = parse([per("day")], where="connection team", conn_id="team")

    assert (("team",), 1, 0) == (
        budget.conn_ids,
        len(scopes([budget], OWNER, "team", FIRST)),
        len(scopes([budget], OWNER, "other", FIRST)),
    )


@pytest.mark.parametrize(
    ("declared", "field"),
    [
        pytest.param("[", "budgets", id="no JSON"),
        pytest.param("20", "budgets", id="a number"),
        pytest.param('"day"', "budgets", id="a word"),
        pytest.param(per("day"), "budgets", id="no list"),
        pytest.param([per("day"), 20], "budgets[1]", id="no object"),
        pytest.param(
            [per("day", dag="a")],
            "budgets[0]: dag",
            id="unknown key",
        ),
        pytest.param([{"per": "day"}], "budgets[0]: usd", id="no limit"),
        pytest.param([per("day", usd=-1)], "budgets[0]: usd", id="negative"),
        pytest.param("", "budgets", id="a text that rendered to nothing"),
        pytest.param(" None ", "budgets", id="None as text"),
        pytest.param("null", "budgets", id="null"),
        pytest.param(None, "budgets", id="None"),
        pytest.param([per("day", usd="much")], "budgets[0]: usd", id="no number"),
        pytest.param([per("day", usd=True)], "budgets[0]: usd", id="a truth"),
        pytest.param([per("day", usd="NaN")], "budgets[0]: usd", id="not a number"),
        pytest.param([per("day", usd="Infinity")], "budgets[0]: usd", id="endless"),
        pytest.param([per("day", usd=10**9)], "budgets[0]: usd", id="more than anybody has"),
        pytest.param([per("day", usd=[1])], "budgets[0]: usd", id="a list of limits"),
        pytest.param([{"usd": 1}], "budgets[0]: per", id="no word"),
        pytest.param([per()], "budgets[0]: per", id="no words"),
        pytest.param([per("week")], "budgets[0]: per", id="unknown word"),
        pytest.param([per("day", "day")], "budgets[0]: per", id="a word twice"),
        pytest.param([per("day", "month")], "budgets[0]: per", id="both"),
        pytest.param([{"usd": 1, "per": 5}], "budgets[0]: per", id="no text"),
        pytest.param([per("day", dag_id="")], "budgets[0]: dag_id", id="no name"),
        pytest.param([per("day", dag_id=[])], "budgets[0]: dag_id", id="no names"),
        pytest.param([per("day", conn_id=[1])], "budgets[0]: conn_id", id="numbers"),
        pytest.param([per("day", conn_id={"a": 1})], "budgets[0]: conn_id", id="an object"),
        pytest.param([per("day", timezone="Mars")], "budgets[0]: timezone", id="no zone"),
        pytest.param([per("day", timezone=3600)], "budgets[0]: timezone", id="an offset"),
        pytest.param([per("day", timezone="../UTC")], "budgets[0]: timezone", id="a path"),
        pytest.param([per("day", timezone=None)], "budgets[0]: timezone", id="null"),
    ],
)
def test_what_is_no_budget_is_refused(declared, field):
    """The error names the entry and the key of an invalid budget."""
    with pytest.raises(InvalidInput) as caught:
        parse(declared, where="budgets")

    assert field == caught.value.field


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["usd", "per", "dag_id", "conn_id", "timezone", "x"]), inner, max_size=5)
    ),
    max_leaves=12,
)


@given(
    st.lists(
        st.fixed_dictionaries(
            {"usd": JSON | st.just(1), "per": JSON | st.sampled_from(WORDS)},
            optional={"dag_id": JSON, "conn_id": JSON, "timezone": JSON | st.just("UTC")},
        )
        | JSON,
        max_size=3,
    )
    | JSON
)
def test_whatever_is_declared_is_read_or_refused(declared):
    """There is no third way: what was read can be used, and every mistake is an InvalidInput."""
    try:
        read = parse(json.dumps(declared), where="budgets")
    except InvalidInput:
        return

    assert all(budget.ticks >= 0 and str(budget) for budget in read)
    for scope in scopes(read, OWNER, "team", FIRST):
        assert str(Overrun(scope, 1, 1))


@pytest.mark.parametrize(
    ("budget", "text"),
    [
        (one("day"), "20 USD per day"),
        (one("month", "dag_run", usd="0.50"), "0.5 USD per dag run and month"),
        (one("day", dag_id=["a", "b"], conn_id="c"), "20 USD per day of a, b, c"),
    ],
    ids=["day", "two words", "names"],
)
def test_a_budget_reads_like_one(budget, text):
    """People see dollars and words."""
    assert text == str(budget)


@pytest.mark.parametrize(
    ("budget", "text"),
    [
        (
            one("day", zone="Europe/Berlin"),
            "the budget of 20 USD per day (budgets[0]) has 19.5 USD spent or reserved and 0.5 USD left; the next day "
            "begins at 2026-10-26T00:00:00+01:00",
        ),
        (
            one("dag", "month", usd=3),
            "the budget of 3 USD per dag and month (budgets[0]) has 19.5 USD spent or reserved and 0 USD left; the "
            "next month begins at 2026-11-01T00:00:00Z",
        ),
        (
            one("dag_run"),
            "the budget of 20 USD per dag run (budgets[0]) has 19.5 USD spent or reserved and 0.5 USD left",
        ),
    ],
    ids=["day", "month", "run"],
)
def test_an_overrun_says_what_is_left_and_when_there_is_more(budget, text):
    """The message has the budget, where it is declared, what is used, what is left, and the next beginning."""
    (scope,) = scopes([budget], OWNER, "team", at("2026-10-25T12:00", "Europe/Berlin"))

    assert text == str(Overrun(scope, 195 * USD // 10, USD))


def test_a_zone_is_known_by_its_name():
    """A zone is returned as it was written; what is none is refused with an example."""
    assert "Europe/Berlin" == checked_zone("Europe/Berlin", "zone")
    with pytest.raises(InvalidInput, match="such as Europe/Berlin"):
        checked_zone("Berlin", "zone")


def test_bytes_are_no_period():
    """A period in bytes is an input error that names the field."""
    with pytest.raises(InvalidInput) as caught:
        parse([{"usd": 1, "per": b"day"}], where="budgets")

    assert "budgets[0]: per" == caught.value.field
