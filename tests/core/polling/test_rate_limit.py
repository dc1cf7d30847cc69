"""The pace of an account: never faster than it may, slower after a rate limit, and soon as fast as usual again."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_grokvideo.core.polling.rate_limit import LONGEST_CLOSURE, RECOVERY, RateLimit

NOW = 1_800_000_000.0

rates = st.sampled_from([0.05, 1.0, 7.5, 1000.0])
pauses = st.floats(0, 20) | st.floats(0, 0.01)
limits = st.none() | st.floats(0, 30)


def burst(rate: float) -> float:
    """Return how many polls may come at once: a quarter of a second's, and one in any case."""
    return max(1.0, rate / 4)


def exhausted(pace: RateLimit, now: float) -> tuple[RateLimit, int]:
    """Take all polls that are allowed at a moment, and say how many."""
    taken = 0
    while pace.next_at(now) <= now:
        pace, taken = pace.spent(now), taken + 1
    return pace, taken


@given(rate=rates, steps=st.lists(st.tuples(pauses, st.booleans(), limits), max_size=40))
def test_looks_never_exceed_the_pace(rate, steps):
    """In any stretch of time there are at most its seconds times the pace, and one burst; with rate limits or not."""
    pace, now = RateLimit.of(rate, NOW), NOW
    taken: list[tuple[float, int]] = []
    for pause, is_limited, retry_after in steps:
        now += pause
        pace, count = exhausted(pace, now)
        taken.append((now, count))
        if is_limited:
            pace = pace.limited(now, now, retry_after)

    for first in range(len(taken)):
        polls = 0
        for at, count in taken[first:]:
            polls += count
            assert polls <= rate * (at - taken[first][0]) + burst(rate) + 0.001


@given(rate=rates, pauses=st.lists(pauses, max_size=20), limit=limits)
def test_the_next_look_is_allowed_when_it_was_said_to_be(rate, pauses, limit):
    """Who comes at the moment that was named may look; a timer is early by a hundredth of a poll's time at most."""
    pace, now = RateLimit.of(rate, NOW).limited(NOW, NOW, limit), NOW
    for pause in pauses:
        now = max(now + pause, pace.next_at(now + pause))

        assert pace.next_at(now) - now <= 0.01 / pace.now(now).rate
        pace, _ = exhausted(pace, now)


@given(rate=rates, limit=limits, later=st.floats(0, LONGEST_CLOSURE))
def test_nobody_looks_while_it_is_closed(rate, limit, later):
    """A rate limit keeps everybody away for as long as the service says, and what was held back is no burst."""
    pace = RateLimit.of(rate, NOW - 100).limited(NOW, NOW, limit)
    opens = NOW + max(limit or 0.0, 1 / (rate / 2))

    assert pace.next_at(min(NOW + later, opens - 0.001)) >= NOW + (limit or 0.0)
    _, at_once = exhausted(pace, opens + 0.001)
    assert at_once <= 1 + rate * 0.001


@given(rate=rates, in_flight=st.lists(st.floats(-30, 0), min_size=1, max_size=20))
def test_a_burst_of_rate_limits_halves_once(rate, in_flight):
    """Calls that were under way when the pace was halved say nothing new; one that was sent later does."""
    pace = RateLimit.of(rate, NOW).limited(NOW, NOW - 1, None)
    for asked in in_flight:
        pace = pace.limited(NOW, NOW + asked, None)

    assert rate / 2 == pytest.approx(pace.rate)
    assert rate / 4 == pytest.approx(pace.limited(NOW, NOW + 0.001, None).rate)


@given(rate=rates, limited=st.integers(1, 12), moments=st.lists(st.floats(0, RECOVERY), min_size=2, max_size=10))
def test_it_recovers_steadily_and_in_time(rate, limited, moments):
    """From however many rate limits: never slower again by itself, and as usual after the time of recovery."""
    pace = RateLimit.of(rate, NOW)
    for second in range(limited):
        pace = pace.limited(NOW + second, NOW + second, None)
    since = NOW + limited

    slowed = [pace.now(since + moment).rate for moment in sorted(moments)]
    assert all(before <= after <= rate for before, after in pairwise(slowed))
    assert rate == pytest.approx(pace.now(since + RECOVERY).rate)
    assert slowed[0] > 0


@pytest.mark.parametrize("asked", [86_400.0, float("inf")], ids=["a day", "for ever"])
def test_a_typing_error_does_not_silence_an_account(asked):
    """However long a pause the service asks for, somebody looks again after five minutes."""
    pace = RateLimit.of(1.0, NOW).limited(NOW, NOW, asked)

    assert pace.next_at(NOW) <= NOW + LONGEST_CLOSURE + 2


@given(
    rate=rates,
    steps=st.lists(st.tuples(pauses, st.booleans()), min_size=1, max_size=10),
    limit=limits,
    back=st.floats(0.001, 100_000),
)
def test_a_clock_that_is_set_back_delays_nobody(rate, steps, limit, back):
    """The next poll is as far away as it was before the clock was set, closed or not."""
    pace, now = RateLimit.of(rate, NOW), NOW
    for pause, is_limited in steps:
        now += pause
        pace, _ = exhausted(pace, now)
        pace = pace.limited(now, now, limit) if is_limited else pace
    then, after = now - back, pace.set_back(back)

    assert pace.next_at(now) - now == pytest.approx(after.next_at(then) - then, abs=1e-5)
    assert pace.now(now + 60).tokens == pytest.approx(after.now(then + 60).tokens, abs=0.001)


def test_a_clock_that_is_set_forward_fills_one_bucket():
    """A jump of a day allows one burst, not a day's worth of polls."""
    _, taken = exhausted(RateLimit.of(100.0, NOW).spent(NOW), NOW + 86_400)

    assert 25 == taken


@given(before=rates, after=rates, limited=st.booleans())
def test_an_edited_pace_counts_at_once(before, after, limited):
    """The new pace is the usual one; a rate limit goes on to slow it by the same part."""
    pace = RateLimit.of(before, NOW)
    pace = (pace.limited(NOW, NOW, None) if limited else pace).changed(after)

    assert (after, after / 2 if limited else after) == (pace.usual, pytest.approx(pace.rate))
