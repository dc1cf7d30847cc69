"""Airflow names that older versions have elsewhere or not at all."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

try:
    from airflow.sdk.configuration import conf
    from airflow.sdk.exceptions import (
        AirflowFailException,
        AirflowNotFoundException,
        AirflowRescheduleException,
        AirflowSensorTimeout,
        AirflowSkipException,
        AirflowTaskTimeout,
        TaskDeferralError,
        TaskDeferralTimeout,
        TaskDeferred,
    )
except ImportError:
    from airflow.configuration import conf  # type: ignore[assignment,unused-ignore]
    from airflow.exceptions import (  # type: ignore[no-redef,attr-defined]
        AirflowFailException,
        AirflowNotFoundException,
        AirflowRescheduleException,
        AirflowSensorTimeout,
        AirflowSkipException,
        AirflowTaskTimeout,
        TaskDeferralError,
        TaskDeferralTimeout,
        TaskDeferred,
    )

try:
    from airflow.sdk.exceptions import TaskAwaitingInput
except ImportError:
    # Before 3.3 a task that waits in Required Actions is deferred.
    TaskAwaitingInput = None  # type: ignore[assignment,misc]

try:
    from airflow.sdk.execution_time.context import NEVER_EXPIRE
except ImportError:
    # Before 3.3 there is no task state store.
    NEVER_EXPIRE = None  # type: ignore[assignment]


def wanted(function: Callable[..., Any], args: Collection[Any], offered: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return those of the keyword arguments that a decorated function takes besides its positional ones."""
    try:
        from airflow.sdk.bases.decorator import determine_kwargs
    except ImportError:
        from airflow.utils.operator_helpers import determine_kwargs  # type: ignore[no-redef,attr-defined,unused-ignore]
    return determine_kwargs(function, args, offered)


def metrics() -> Any:
    """Return Airflow's metrics client; its first use reads files and may resolve a host name."""
    try:
        from airflow.observability.stats import Stats
    except ImportError:
        from airflow.stats import Stats  # type: ignore[assignment,unused-ignore]
    return Stats


__all__ = [
    "NEVER_EXPIRE",
    "AirflowFailException",
    "AirflowNotFoundException",
    "AirflowRescheduleException",
    "AirflowSensorTimeout",
    "AirflowSkipException",
    "AirflowTaskTimeout",
    "TaskAwaitingInput",
    "TaskDeferralError",
    "TaskDeferralTimeout",
    "TaskDeferred",
    "conf",
    "metrics",
    "wanted",
]
