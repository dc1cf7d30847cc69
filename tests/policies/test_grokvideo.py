"""The retry policy: what passes by itself uses no retry, and what is final ends the task."""

from __future__ import annotations

import importlib
import sys
from datetime import timedelta

import pytest

from airflow_provider_grokvideo.core import errors
from airflow_provider_grokvideo.core.retrying import after_failure

HAS_POLICIES = importlib.util.find_spec("airflow.sdk.definitions.retry_policy") is not None


def resubmitting(error: errors.GrokVideoError) -> errors.GrokVideoError:
    """Return an error after which the user allowed a retry to submit again."""
    error.resubmits = True
    return error


CASES = [
    pytest.param(errors.RateLimited("slow", retry_after=90.0), 90.0, id="rate limit, longer"),
    pytest.param(errors.RateLimited("slow", retry_after=1.0), 30.0, id="rate limit, shorter"),
    pytest.param(errors.RateLimited("slow"), 30.0, id="rate limit"),
    pytest.param(errors.JournalUnavailable("away"), 30.0, id="journal"),
    pytest.param(errors.LedgerUnavailable("away"), 30.0, id="ledger"),
    pytest.param(errors.ServiceUnavailable("away"), "default", id="service"),
    pytest.param(errors.DeliveryFailed("disk full"), "default", id="delivery"),
    pytest.param(errors.AuthenticationFailed("no key"), "fail", id="key"),
    pytest.param(errors.InvalidInput("prompt", "", "text"), "fail", id="input"),
    pytest.param(errors.AmbiguousSubmit("lost"), "fail", id="unconfirmed"),
    pytest.param(resubmitting(errors.AmbiguousSubmit("lost")), "default", id="unconfirmed, resubmit"),
    pytest.param(resubmitting(errors.VideoFailed("gone", code="x")), "default", id="failed, resubmit"),
    pytest.param(ValueError("of the user's own code"), "default", id="another error"),
]


@pytest.mark.parametrize(("error", "expected"), CASES)
def test_what_follows_from_an_error(error, expected):
    """Rate limits and stores that are away are put off, final errors fail, all else follows the task's retries."""
    assert expected == after_failure(error, shortest=30.0)


@pytest.mark.skipif(not HAS_POLICIES, reason="Airflow before 3.3 has no retry policies")
@pytest.mark.parametrize(("error", "expected"), CASES)
def test_the_policy_carries_it_out(error, expected):
    """The decision reaches Airflow as its own: a reschedule from 3.4 on, a retry with the same delay on 3.3."""
    from airflow_provider_grokvideo.policies import GrokVideoRetryPolicy
    from airflow_provider_grokvideo.policies.grokvideo import CAN_RESCHEDULE

    decision = GrokVideoRetryPolicy().evaluate(error, 1, 2)
    waits = isinstance(expected, float)
    action = ("reschedule" if CAN_RESCHEDULE else "retry") if waits else expected

    assert action == decision.action.value
    assert (timedelta(seconds=expected) if waits else None) == decision.retry_delay


@pytest.mark.skipif(HAS_POLICIES, reason="Airflow from 3.3 on has retry policies")
def test_older_airflow_says_what_it_needs():
    """Importing the policy on Airflow 3.1 or 3.2 names the version that has policies."""
    sys.modules.pop("airflow_provider_grokvideo.policies", None)
    with pytest.raises(ImportError, match=r"3\.3"):
        importlib.import_module("airflow_provider_grokvideo.policies")
