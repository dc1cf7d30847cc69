"""Whether and when a call may be sent again (contract §6.2)."""

from __future__ import annotations

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_grokvideo.core.retrying import (
    LONGEST_PAUSE,
    MAX_RETRIES,
    Answer,
    TransportFault,
    delay,
    retry_after,
)

NOW = 1_700_000_000.0
NOT_SENT = TransportFault("not_sent", "connection refused")
UNKNOWN = TransportFault("unknown", "read timeout")


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504, 529])
def test_a_free_call_is_repeated_where_that_helps(status):
    """A look survives what passes."""
    assert delay(1, Answer(status)) is not None


@pytest.mark.parametrize("status", [200, 202, 301, 400, 401, 403, 404, 410, 413, 415, 422, 501])
def test_an_answer_that_stays_is_not_asked_for_again(status):
    """A repetition would be answered the same way."""
    assert delay(1, Answer(status)) is None


@pytest.mark.parametrize("status", [408, 409, 500, 502, 503, 504, 529])
def test_a_paid_start_is_not_repeated_on_doubt(status):
    """The start may have been accepted, so nobody sends it again, whatever Retry-After says."""
    assert delay(1, Answer(status, {"retry-after": "1"}), paid=True) is None


def test_a_paid_start_is_repeated_after_a_rate_limit():
    """A 429 proves that nothing was accepted."""
    assert 1.0 == delay(1, Answer(429), paid=True)


@pytest.mark.parametrize(
    ("fault", "paid", "repeated"),
    [
        pytest.param(NOT_SENT, True, True, id="paid, never sent"),
        pytest.param(UNKNOWN, True, False, id="paid, unconfirmed"),
        pytest.param(NOT_SENT, False, True, id="free, never sent"),
        pytest.param(UNKNOWN, False, True, id="free, unconfirmed"),
        pytest.param(TransportFault("not_sent", "no such host", lasting=True), False, False, id="lasting"),
        pytest.param(TransportFault("not_sent", "no such host", lasting=True), True, False, id="paid, lasting"),
    ],
)
def test_a_call_without_an_answer(fault, paid, repeated):
    """A paid start is repeated only if it was provably never sent."""
    assert repeated is (delay(1, fault, paid=paid) is not None)


@pytest.mark.parametrize(
    ("outcome", "pauses"),
    [
        pytest.param(Answer(503), [0.25, 0.5, None], id="server trouble"),
        pytest.param(Answer(429), [1.0, 2.0, None], id="rate limit"),
        pytest.param(UNKNOWN, [0.25, 0.5, None], id="fault"),
    ],
)
def test_pauses_double_and_end(outcome, pauses):
    """Two repetitions at most, each after a longer pause."""
    assert pauses == [delay(attempt, outcome) for attempt in (1, 2, 3)]


@pytest.mark.parametrize(
    ("status", "asked", "pause"),
    [
        pytest.param(429, "7", 7.0, id="seconds"),
        pytest.param(429, "60", 60.0, id="the longest"),
        pytest.param(429, "61", None, id="too long to sit out"),
        pytest.param(429, "soon", 1.0, id="nonsense"),
        pytest.param(503, "7", 7.0, id="server trouble"),
        pytest.param(503, "3600", 60.0, id="server trouble, capped"),
        pytest.param(429, formatdate(NOW + 30, usegmt=True), 30.0, id="date"),
        pytest.param(429, formatdate(NOW - 30, usegmt=True), 0.0, id="date gone by"),
    ],
)
def test_the_service_may_ask_for_a_pause(status, asked, pause):
    """Retry-After is kept in seconds and as a date."""
    assert pause == delay(1, Answer(status, {"Retry-After": asked}), now=NOW)


def test_callers_spread():
    """Jitter adds up to a quarter."""
    assert 1.25 == delay(1, Answer(429), jitter=1.0)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120.0),
        (" 1.5 ", 1.5),
        ("-3", 0.0),
        ("nan", None),
        ("inf", None),
        ("1e400", None),
        ("", None),
        ("tomorrow", None),
        ("Mon, 01 Jan 99999 00:00:00 GMT", None),
    ],
    ids=repr,
)
def test_retry_after_is_read_or_ignored(text, seconds):
    """A header that makes no sense is no header."""
    assert seconds == retry_after({"Retry-After": text}, NOW)


def test_a_date_needs_a_clock():
    """Without the time of day a date says nothing."""
    assert retry_after({"retry-after": formatdate(NOW, usegmt=True)}) is None


def test_a_date_without_a_zone_is_in_utc(monkeypatch):
    """HTTP dates are UTC whatever the worker's time zone is."""
    import time

    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        seconds = retry_after({"retry-after": formatdate(NOW + 30).replace("-0000", "").strip()}, NOW)
    finally:
        monkeypatch.undo()
        time.tzset()

    assert 30.0 == seconds


@given(text=st.text(max_size=40), attempt=st.integers(1, 5), status=st.integers(100, 599), paid=st.booleans())
def test_any_pause_is_bearable(text, attempt, status, paid):
    """Whatever a header says, a pause is between nothing and a minute, and there are two at most."""
    pause = delay(attempt, Answer(status, {"Retry-After": text}), paid=paid, now=NOW, jitter=0.5)

    if pause is not None:
        assert 0 <= pause <= LONGEST_PAUSE
        assert attempt <= MAX_RETRIES
        assert not paid or status == 429
