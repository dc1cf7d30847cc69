"""When a wait looks, when it ends, and what the log hears of it."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_grokvideo.core.errors import (
    AuthenticationFailed,
    GrokVideoError,
    OutOfCredits,
    RateLimited,
    RequestRejected,
    ServiceUnavailable,
    WaitTimeout,
)
from airflow_provider_grokvideo.core.jobs import Done, Expired, Failed, Moderated, Pending
from airflow_provider_grokvideo.core.polling import decisions
from airflow_provider_grokvideo.core.polling.decisions import (
    Abandoned,
    LogThrottle,
    PollAgain,
    Settled,
    Watch,
    first_poll,
    poll,
)

T0 = 1_700_000_000.0
WATCH = Watch("r", since=T0, deadline=T0 + 900, not_before=T0 + 5)
MISS = ServiceUnavailable("HTTP 503")


@pytest.mark.parametrize(
    ("now", "at"),
    [
        pytest.param(T0, T0 + 5, id="not before it is time"),
        pytest.param(T0 + 60, T0 + 60, id="at once after a restart"),
        pytest.param(T0 + 9999, T0 + 9999, id="once also after the deadline"),
    ],
)
def test_the_first_look_comes_as_early_as_allowed(now, at):
    """A wait looks first when the video could be ready, and at once where that time has passed."""
    assert at == first_poll(WATCH, now)


@pytest.mark.parametrize(
    "job",
    [Done("r", "https://a/b"), Moderated("r"), Failed("r"), Expired("r")],
    ids=lambda job: type(job).__name__,
)
@pytest.mark.parametrize("after", [60, 5000], ids=["in time", "after the deadline"])
def test_what_is_final_settles(job, after):
    """A final job ends the wait with itself, also on a poll that came too late."""
    assert Settled(job) == poll(WATCH, job, T0 + after)


@pytest.mark.parametrize(
    ("seconds", "verdict"),
    [
        pytest.param(9, PollAgain, id="within 10 s of the submit"),
        pytest.param(10, Settled, id="afterwards"),
    ],
)
def test_an_unknown_id_is_not_believed_at_first(seconds, verdict):
    """The service may not know a new request yet (§6.4)."""
    assert verdict is type(poll(WATCH, Expired("r", "not-found"), T0 + seconds))


@pytest.mark.parametrize(
    ("interval", "pause"), [pytest.param(None, 5, id="default"), pytest.param(30.0, 30, id="as the task says")]
)
def test_a_pending_request_is_looked_at_again(interval, pause):
    """Polls are one interval apart."""
    watch = replace(WATCH, poll_interval=interval)

    verdict = poll(watch, Pending("r", 10), T0 + 100)

    assert PollAgain(T0 + 100 + pause, replace(watch, polls=1, seen_at=T0 + 100, progress=10)) == verdict


@pytest.mark.parametrize(
    ("asked", "pause"),
    [
        pytest.param(None, 5, id="not said"),
        pytest.param(2.0, 5, id="shorter than the interval"),
        pytest.param(42.0, 42, id="longer"),
        pytest.param(86_400.0, 300, id="a typing error"),
    ],
)
def test_a_rate_limit_is_respected(asked, pause):
    """The pause the service asks for is kept, up to five minutes."""
    verdict = poll(WATCH, RateLimited("HTTP 429", retry_after=asked), T0 + 100)

    assert T0 + 100 + pause == verdict.at


@pytest.mark.parametrize("miss", [MISS, RateLimited("HTTP 429"), GrokVideoError("odd")], ids=lambda e: type(e).__name__)
def test_a_look_that_failed_is_a_miss(miss):
    """A miss changes nothing but the count, and a poll that succeeds clears it."""
    first = poll(WATCH, miss, T0 + 100)
    second = poll(first.watch, miss, T0 + 105)

    assert (1, 2, miss.what) == (first.watch.misses, second.watch.misses, second.watch.last_miss)
    assert replace(WATCH, polls=3, seen_at=T0 + 110) == poll(second.watch, Pending("r"), T0 + 110).watch


@pytest.mark.parametrize(
    "error",
    [AuthenticationFailed("HTTP 401"), OutOfCredits("HTTP 403"), RequestRejected("HTTP 301")],
    ids=lambda error: type(error).__name__,
)
def test_a_key_or_address_that_does_not_work_ends_the_wait(error):
    """An error that would last until the deadline ends the wait at once, with the request id."""
    verdict = poll(WATCH, error, T0 + 100)

    assert Abandoned(error) == verdict
    assert "r" == verdict.error.request_id


def test_the_last_look_falls_on_the_deadline():
    """A video that is ready at the deadline is found."""
    assert WATCH.deadline == poll(WATCH, Pending("r"), WATCH.deadline - 1).at


@pytest.mark.parametrize(
    ("watch", "seen", "said"),
    [
        pytest.param(WATCH, Pending("r"), ("r", "15 min 00 s"), id="still pending"),
        pytest.param(WATCH, Pending("r", word="throttled"), ("r", "'throttled'"), id="unknown word"),
        pytest.param(replace(WATCH, misses=2), MISS, ("r", "last 3 polls", "HTTP 503"), id="misses"),
        pytest.param(WATCH, MISS, ("r", "last poll failed", "HTTP 503"), id="one miss"),
    ],
)
def test_the_deadline_ends_the_wait_and_says_why(watch, seen, said):
    """The timeout names the request, the time and the last problem; the request keeps running."""
    verdict = poll(watch, seen, WATCH.deadline)

    assert isinstance(verdict.error, WaitTimeout)
    text = str(verdict.error)
    assert [] == [part for part in (*said, "keeps running") if part not in text]


def test_a_wait_survives_a_restart():
    """The watch is plain data: resumed elsewhere it keeps its deadline and its count."""
    resumed = Watch(**vars(poll(WATCH, MISS, T0 + 100).watch))

    assert (WATCH.deadline, 1) == (resumed.deadline, resumed.misses)


PROBLEMS = [AuthenticationFailed("HTTP 401"), OutOfCredits("HTTP 403"), RequestRejected("HTTP 301")]
TOLERATED = st.one_of(
    st.builds(Pending, st.just("r"), st.one_of(st.none(), st.integers(0, 100)), st.sampled_from([None, "throttled"])),
    st.just(MISS),
    st.builds(
        lambda pause: RateLimited("HTTP 429", retry_after=pause),
        st.one_of(st.none(), st.floats(0, 1e6, allow_nan=False)),
    ),
)
FINAL = st.sampled_from([Done("r"), Moderated("r"), Failed("r"), Expired("r"), *PROBLEMS])


@given(
    seen=st.lists(TOLERATED, max_size=40),
    last=st.one_of(st.none(), FINAL),
    timeout=st.floats(1, 600, allow_nan=False),
    interval=st.one_of(st.none(), st.floats(1, 120, allow_nan=False)),
    lag=st.floats(0, 2, allow_nan=False),
)
def test_every_wait_ends_in_time(seen, last, timeout, interval, lag):
    """A wait ends by the poll on its deadline, never looks early, and never more often than it may."""
    watch = Watch("r", since=T0, deadline=T0 + timeout, poll_interval=interval, not_before=T0 + min(5.0, timeout))
    answers = iter([*seen, *([last] if last else [])])
    now, polls, verdict = first_poll(watch, T0), [], None
    while not isinstance(verdict, Settled | Abandoned):
        polls.append(now)
        found = next(answers, Pending("r"))
        verdict = poll(watch, found, now)
        if isinstance(verdict, PollAgain):
            watch, now = verdict.watch, verdict.at + lag

    assert polls[0] >= T0 + min(5.0, timeout)
    assert polls[-1] <= T0 + timeout + lag
    gaps = [later - earlier for earlier, later in pairwise(polls)]
    assert [] == [gap for gap in gaps[:-1] if gap < (interval or 5.0) - 1e-3]
    if isinstance(verdict, Abandoned) and isinstance(verdict.error, WaitTimeout):
        assert polls[-1] >= T0 + timeout


@pytest.mark.parametrize("interval", [-5.0, 0.0], ids=repr)
def test_a_wait_never_spins(interval):
    """An interval that is no interval does not turn a wait into a busy loop."""
    verdict = poll(replace(WATCH, poll_interval=interval), Pending("r"), T0 + 100)

    assert verdict.at > T0 + 100


@pytest.mark.parametrize(
    ("seen", "line"),
    [
        pytest.param(Pending("r"), "Request r is pending after 65 s", id="pending"),
        pytest.param(Pending("r", 0), "Request r is pending, 0 %, after 65 s", id="percent"),
        pytest.param(
            Pending("r", None, "throttled"),
            "Request r has the status 'throttled', unknown to this version, after 65 s",
            id="unknown word",
        ),
        pytest.param(MISS, "Poll of request r failed after 65 s; will poll again: HTTP 503", id="miss"),
        pytest.param(Done("r"), "Request r is done after 65 s", id="done"),
    ],
)
def test_a_line_tells_state_percent_and_time(seen, line):
    """The task log reads as sentences."""
    assert line == decisions.progress_line(WATCH, seen, T0 + 65)


@pytest.mark.parametrize("error", PROBLEMS, ids=lambda error: type(error).__name__)
def test_a_line_promises_no_look_that_will_not_come(error):
    """A problem that ends the wait is not announced as one that passes."""
    assert "poll again" not in decisions.progress_line(WATCH, error, T0 + 65)


def lines(seen: list[object], every: float = 5.0) -> int:
    """Return how many lines the log gets of polls `every` seconds apart."""
    told, count = LogThrottle(), 0
    for index, found in enumerate(seen):
        if decisions.worth_saying(told, found, T0 + index * every):
            told, count = decisions.now_said(told, found, T0 + index * every), count + 1
    return count


def test_a_steady_state_is_said_once_a_minute():
    """Fifteen quiet minutes are sixteen lines at most, however the percentage moves."""
    assert 15 == lines([Pending("r", index % 100) for index in range(180)])


def test_news_is_said_at_once():
    """A change of state does not wait for the minute."""
    assert 4 == lines([Pending("r"), Pending("r", 5), MISS, MISS, Pending("r", word="throttled"), Done("r")])


def test_a_flapping_service_does_not_flood_the_log():
    """A service that fails every other look is said once a minute in each of its two states."""
    assert 30 == lines([Pending("r") if index % 2 else MISS for index in range(180)])
