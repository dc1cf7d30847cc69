"""How a table ended, and what a row's error means for the other rows."""

from __future__ import annotations

import pytest

from airflow_provider_grokvideo.core import errors
from airflow_provider_grokvideo.execution.bulk import outcome
from airflow_provider_grokvideo.execution.bulk.ports import KeptNumbers

NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (errors.RequestRejected("x"), "row"),
        (errors.InvalidInput("prompt", "", "a text"), "row"),
        (errors.VideoModerated("x"), "row"),
        (errors.VideoFailed("x"), "row"),
        (errors.VideoExpired("x"), "row"),
        (errors.AmbiguousSubmit("x"), "row"),
        (errors.WaitTimeout("x"), "row"),
        (errors.RateLimited("x"), "pause"),
        (errors.ServiceUnavailable("x"), "pause"),
        (errors.DeliveryFailed("x"), "pause"),
        (errors.AuthenticationFailed("x"), "stop"),
        (errors.OutOfCredits("x"), "stop"),
        (errors.SpendLimitExceeded("x", why="x"), "stop"),
        (errors.JournalUnavailable("x"), "stop"),
        (errors.LedgerUnavailable("x"), "stop"),
        (errors.GrokVideoError("x"), "stop"),
    ],
    ids=lambda each: type(each).__name__ if isinstance(each, Exception) else each,
)
def test_an_error_is_of_its_row_or_of_all(error, expected):
    """An error that other rows would meet stops them or lets them wait, any other leaves them alone."""
    assert expected == outcome.effect_of(error)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (errors.ServiceUnavailable("x"), 30.0),
        (errors.RateLimited("x"), 30.0),
        (errors.RateLimited("x", retry_after=5.0), 5.0),
        (errors.RateLimited("x", retry_after=3600.0), 3600.0),
        (errors.RateLimited("x", retry_after=90_000.0), 3600.0),
    ],
)
def test_a_pause_is_as_long_as_the_service_says(error, expected):
    """A pause lasts as long as Retry-After says, at most an hour, else half a minute."""
    kept = outcome.paused(KeptNumbers(NOW), error, NOW)

    assert (1, NOW + expected) == (kept.pauses, kept.pause_until)


def test_rows_that_meet_one_outage_are_one_pause():
    """Several rows that are refused side by side are one pause, which ends with the latest of them."""
    first = outcome.paused(KeptNumbers(NOW), errors.RateLimited("x", retry_after=60.0), NOW)
    second = outcome.paused(first, errors.ServiceUnavailable("x"), NOW + 1)
    third = outcome.paused(second, errors.ServiceUnavailable("x"), NOW + 61)

    assert (1, NOW + 60) == (second.pauses, second.pause_until)
    assert (2, NOW + 91) == (third.pauses, third.pause_until)


def verdict(counts, ratio, wanted=1.0, resubmit_on=(), stopped=""):
    """Return the verdict over a table."""
    return outcome.verdict(
        counts, ratio, wanted, told="", table_uri="/t.jsonl", resubmit_on=resubmit_on, stopped=stopped
    )


@pytest.mark.parametrize(("ratio", "wanted"), [(1.0, 1.0), (0.9, 0.9), (0.0, 0.0)])
def test_enough_videos_are_a_success(ratio, wanted):
    """A table succeeds where the share of its videos is what was wanted."""
    assert verdict({"delivered": 9, "failed": 1}, ratio, wanted) is None


@pytest.mark.parametrize(
    ("counts", "words", "retry_helps", "resubmits"),
    [
        ({"failed": 1}, {}, False, False),
        ({"failed": 1}, {"resubmit_on": ["failed"]}, False, True),
        ({"failed": 1}, {"resubmit_on": ["moderated"]}, False, False),
        ({"not_sent": 1}, {}, True, False),
        ({"submitted": 1}, {}, True, False),
        ({"submitted": 1, "failed": 1}, {"resubmit_on": ["failed"]}, True, True),
        ({"unconfirmed": 1}, {}, False, False),
        ({"not_sent": 1, "unconfirmed": 3}, {"stopped": outcome.NO_ANSWERS, "resubmit_on": ["unconfirmed"]}, False,
         False),
        ({"not_sent": 1, "failed": 1}, {"stopped": outcome.ROW_FAILED, "resubmit_on": ["failed"]}, False, False),
    ],
)  # fmt: skip
def test_a_retry_happens_where_it_changes_something(counts, words, retry_helps, resubmits):
    """Airflow retries a table with rows to fetch, to send, or that resubmit_on names; not one that was stopped."""
    error = verdict(counts, 0.5, **words)

    assert (retry_helps, resubmits) == (error.retry_helps, error.resubmits)
    assert "/t.jsonl" in error.what_to_do


def test_a_paid_row_without_a_file_is_no_success():
    """A row that is paid and not stored fails the task for a retry, whatever the ratio."""
    error = verdict({"delivered": 99, "submitted": 1}, 0.99, 0.0)

    assert error.retry_helps
