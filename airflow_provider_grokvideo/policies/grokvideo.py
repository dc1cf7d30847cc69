"""Retry policy: waits that pass cost no retry, and what is final is not retried."""

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
        "GrokVideoRetryPolicy needs Airflow 3.3 or newer: older versions have no retry policies"
    ) from error

if TYPE_CHECKING:
    from airflow.sdk import Context

CAN_RESCHEDULE = hasattr(RetryAction, "RESCHEDULE")
"""Airflow 3.4 and newer. On 3.3 the task is retried after the same delay, which uses a retry."""


class GrokVideoRetryPolicy(RetryPolicy):
    """Reschedule a task that met a rate limit or an unreachable journal or ledger; fail what no retry can mend.

    A rescheduled task uses no retry and holds no worker slot. Nothing was bought by then, or the journal has it. What
    ``resubmit``-like arguments let a task repeat, and every other error, follows the task's own ``retries``.

    :param delay: The shortest time until the next attempt; the service's ``Retry-After`` can be longer. Default 30 s.
    :param reschedule_timeout: How long one try may be put off before its retries count. Default 6 hours, because a rate
        limit or an outage that lasts longer needs somebody to look at it.
    """

    def __init__(
        self, *, delay: timedelta = timedelta(seconds=30), reschedule_timeout: timedelta = timedelta(hours=6)
    ) -> None:
        self.delay = delay
        self.reschedule_timeout = reschedule_timeout

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Context | None = None
    ) -> RetryDecision:
        """Decide what follows from a failure."""
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
