"""Retry policy for tasks of this provider."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

from typing_extensions import assert_never

from airflow_provider_grokvideo.core.retrying import after_failure

try:
    from airflow.sdk.definitions.retry_policy import RetryAction, RetryDecision, RetryPolicy
except ImportError as error:
    raise ImportError(
        "GrokVideoRetryPolicy requires Airflow 3.3 or newer: older versions have no retry policies"
    ) from error

if TYPE_CHECKING:
    from airflow.sdk import Context

CAN_RESCHEDULE = hasattr(RetryAction, "RESCHEDULE")
"""Airflow 3.4 and newer. On 3.3 the task is retried after the same delay, which uses a retry."""


class GrokVideoRetryPolicy(RetryPolicy):
    """Reschedule after a rate limit or an unreachable journal or ledger; fail at once if no retry can help.

    A rescheduled task uses no retry and no worker slot. Nothing was bought before, or the journal has the purchase.
    All other errors, and those that ``resubmit_on`` lets a retry repeat, follow the task's own ``retries``.

    :param delay: Shortest time until the next attempt; xAI's ``Retry-After`` can be longer. Default 30 s.
    :param reschedule_timeout: How long one try may be rescheduled before retries are used. Default 6 hours: you should
        check a rate limit or an outage that lasts longer.
    """

    def __init__(
        self, *, delay: timedelta = timedelta(seconds=30), reschedule_timeout: timedelta = timedelta(hours=6)
    ) -> None:
        self.delay = delay
        self.reschedule_timeout = reschedule_timeout

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Context | None = None
    ) -> RetryDecision:
        """Return the decision after a failure."""
        verdict = after_failure(exception, shortest=self.delay.total_seconds())
        reason = f"{type(exception).__name__}: {exception}"[:500]
        match verdict:
            case "default":
                return RetryDecision.default()
            case "fail":
                return RetryDecision.fail(reason)
            case float():
                delay = timedelta(seconds=verdict)
                if not CAN_RESCHEDULE:
                    return RetryDecision.retry(delay, reason)
                reschedule: Callable[..., RetryDecision] = getattr(RetryDecision, "reschedule")  # noqa: B009 - new in 3.4
                return reschedule(delay, reschedule_timeout=self.reschedule_timeout, reason=reason)
            case _:
                assert_never(verdict)
