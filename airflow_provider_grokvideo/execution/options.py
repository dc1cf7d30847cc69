"""Options of a run: where the video goes, how long to wait, what it may cost, when to pay again."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from os import PathLike
from typing import Any

from airflow_provider_grokvideo.client.account import check_conn_id
from airflow_provider_grokvideo.core.errors import InvalidInput
from airflow_provider_grokvideo.core.polling import decisions
from airflow_provider_grokvideo.core.purchases.records import RESUBMIT_ON
from airflow_provider_grokvideo.core.texts import is_rendered_data

_CHOICES = {
    "on_moderated": ("fail", "skip"),
    "deliver_via": ("download", "upload"),
    "on_limit": ("fail", "skip", "ask"),
}


@dataclass(frozen=True)
class RunOptions:
    """Everything about a run but its request; the operators' arguments of the same names say what each means.

    The values are as the author or a template gave them. :meth:`check` refuses what cannot be used; a run that resumes
    a paid request does not call it, because its video must not be lost to an argument that renders differently now.
    """

    grokvideo_conn_id: str
    destination: Any = None
    deliver_via: str = "download"
    deferrable: bool = True
    wait_for_completion: bool = True
    timeout: float | timedelta = decisions.DEFAULT_TIMEOUT
    execution_timeout: timedelta | None = None
    poll_interval: float | None = None
    on_moderated: str = "fail"
    resubmit_on: Collection[str] = ()
    max_cost_usd: Any = None
    budgets: Sequence[Mapping[str, Any]] = ()
    on_limit: str = "fail"
    response_timeout: float | timedelta | None = None
    assigned_users: Sequence[Mapping[str, str]] = ()

    def check(self) -> None:
        """Refuse what cannot be used.

        Raises:
            InvalidInput: It names the field.
        """
        for field, allowed in _CHOICES.items():
            value = getattr(self, field)
            if not isinstance(value, str) or value not in allowed:
                raise InvalidInput(field, value, f"one of {', '.join(allowed)}")
        listed = isinstance(self.resubmit_on, Collection) and not isinstance(self.resubmit_on, str | bytes | Mapping)
        if not listed or not all(each in RESUBMIT_ON for each in self.resubmit_on):
            raise InvalidInput("resubmit_on", self.resubmit_on, f"a list of {', '.join(RESUBMIT_ON)}, or an empty one")
        decisions.checked_timeout(self.timeout)
        for flag in ("deferrable", "wait_for_completion"):
            if not isinstance(getattr(self, flag), bool):
                raise InvalidInput(flag, getattr(self, flag), "True or False")
        _check_approval(self.response_timeout, self.assigned_users)
        decisions.checked_interval(self.poll_interval)
        if self.destination is not None:
            _check_destination(self.destination)
        if self.deliver_via == "upload" and (self.destination is None or not self.wait_for_completion):
            raise InvalidInput("deliver_via", "upload", "used with a destination, by a task that waits")
        check_conn_id(self.grokvideo_conn_id)

    @property
    def place(self) -> str | None:
        """The destination as text."""
        return None if self.destination is None else str(self.destination)

    @property
    def patience(self) -> float:
        """Seconds to wait from the submit."""
        return self.timeout.total_seconds() if isinstance(self.timeout, timedelta) else float(self.timeout)

    def deadline(self, started: float, since: float) -> float:
        """Return when to give up: `timeout` counts from the submit, Airflow's execution_timeout from the start."""
        deadline = since + self.patience
        if self.execution_timeout is None:
            return deadline
        return min(deadline, started + self.execution_timeout.total_seconds())


def _check_approval(timeout: object, users: object) -> None:
    if timeout is not None:
        decisions.checked_timeout(timeout, "response_timeout")
    named = users if isinstance(users, Sequence) and not isinstance(users, str | bytes) else [None]
    if not all(isinstance(user, Mapping) and {"id", "name"} <= set(user) for user in named):
        raise InvalidInput("assigned_users", users, 'a list of {"id": ..., "name": ...}')


def _check_destination(value: object) -> None:
    """Check what a template may have made of a destination; where it leads is checked before the purchase."""
    if not isinstance(value, str | PathLike) and not hasattr(value, "protocol"):
        raise InvalidInput("destination", value, "a path or URL")
    text = str(value).strip()
    if text in ("", "None") or is_rendered_data(text):
        raise InvalidInput(
            "destination", text[:100], "a path or URL; a template may have rendered to nothing or to data"
        )
