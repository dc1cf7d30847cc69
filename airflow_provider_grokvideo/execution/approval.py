"""Questions under Airflow's Required Actions, without a worker slot; and the approval of a purchase above a limit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn

import pendulum

from airflow_provider_grokvideo.core.errors import EventRejected, SpendLimitExceeded, shorten

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator, Context

    from airflow_provider_grokvideo.core.billing.pricing import Estimate
    from airflow_provider_grokvideo.core.requests import VideoRequest

BUY, REFUSE = "Buy", "Do not buy"
"""The two options of a spend approval; always the same, because Airflow keeps the first question of a try."""

UNKNOWN_PRICE = "unknown"
"""Stands in XCom for the price of a question whose price is not known."""


def ask(
    operator: BaseOperator,
    context: Context,
    question: tuple[str, str],
    *,
    method_name: str,
    timeout: float | timedelta | None,
    users: Sequence[Mapping[str, str]] = (),
    options: Sequence[str] = (BUY, REFUSE),
    params: Mapping[str, Any] | None = None,
) -> NoReturn:
    """Ask under Required Actions and pause the task until there is a response; no worker slot is held.

    :param operator: The task.
    :param context: Its context.
    :param question: Subject and body, from :func:`question`.
    :param method_name: Of `operator`, called with the response as ``event``.
    :param timeout: Seconds (or timedelta) to wait; None waits as long as the DAG run does.
    :param users: Who may respond, each ``{"id": ..., "name": ...}``; empty lets everyone respond who may act on the
        DAG.
    :param options: The options of the response.
    :param params: Fields of a form beside them, as Airflow serializes them.
    """
    from airflow.sdk.execution_time.hitl import HITLUser, upsert_hitl_detail

    from airflow_provider_grokvideo.compat import TaskAwaitingInput

    ti_id = context["ti"].id
    subject, body = question
    wait = timedelta(seconds=timeout) if isinstance(timeout, int | float) else timeout
    upsert_hitl_detail(
        ti_id=ti_id,
        options=[*options],
        subject=subject,
        body=body,
        defaults=None,
        multiple=False,
        params=dict(params or {}),
        assigned_users=[HITLUser(id=user["id"], name=user["name"]) for user in users],
    )
    operator.log.info("%s Waiting for a response under Required Actions.", subject)
    if TaskAwaitingInput is not None:
        raise TaskAwaitingInput(method_name=method_name, timeout=wait)
    from airflow.providers.standard.triggers.hitl import HITLTrigger

    trigger = HITLTrigger(
        ti_id=ti_id,
        options=[*options],
        params=dict(params or {}),
        timeout_datetime=None if wait is None else pendulum.now("UTC") + wait,
    )
    operator.defer(trigger=trigger, method_name=method_name)


def answered(event: object) -> tuple[bool, str]:
    """Return whether the response was to buy, and who gave it.

    :raises SpendLimitExceeded: There was no response within ``response_timeout``.
    :raises EventRejected: It is no valid response.
    """
    if isinstance(event, Mapping) and event.get("error_type") == "timeout":
        raise SpendLimitExceeded("no response to the spend approval within response_timeout")
    chosen = event.get("chosen_options") if isinstance(event, Mapping) else None
    if not isinstance(event, Mapping) or chosen not in ([BUY], [REFUSE]):
        raise EventRejected(f"invalid response to the spend approval: {shorten(event)}")
    return chosen == [BUY], who(event)


def question(request: VideoRequest, estimate: Estimate, why: str, account: str) -> tuple[str, str]:
    """Return subject and body (Markdown) of the question whether a request may be bought."""
    prompt = str(getattr(request, "prompt", "") or "")
    shown = prompt if len(prompt) <= _SHOWN else f"{prompt[:_SHOWN]}…"
    facts = [f"**Mode** {request.mode}", f"**Model** {request.model}", f"**Connection** {account}"]
    lines = [
        f"**Estimated cost** {estimate.explained()}",
        f"**Reason** {why}",
        " · ".join(facts),
        *(["**Prompt**", "\n".join(f"> {line}" for line in shown.splitlines())] if shown else []),
        "xAI bills the video when it accepts the request, even if content moderation blocks the result. The API has no "
        "cancel.",
    ]
    return f"Buy a video for {estimate}?", "\n\n".join(lines)


_SHOWN = 600


def who(event: Mapping[str, Any]) -> str:
    """Return the name of who responded; Airflow passes it as a mapping or as an object."""
    user = event.get("responded_by_user")
    fields = user if isinstance(user, Mapping) else getattr(user, "__dict__", {})
    return str(fields.get("name") or fields.get("id") or "a user")
