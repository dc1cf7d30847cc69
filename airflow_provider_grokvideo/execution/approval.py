"""Ask a person in Airflow's "Required Actions", holding no worker slot: above all, whether to exceed a limit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn

import pendulum

from airflow_provider_grokvideo.core.errors import EventRejected, SpendLimitExceeded, shorten

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator, Context

    from airflow_provider_grokvideo.core.pricing import Estimate
    from airflow_provider_grokvideo.core.requests import VideoRequest

BUY, REFUSE = "Buy", "Do not buy"
"""The two answers about money; always the same, because Airflow keeps the first question of a task instance's try."""

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
    """Put a question and pause the task until it is answered; no worker slot is held.

    :param operator: The task.
    :param context: Its context.
    :param question: Subject and body, from :func:`question`.
    :param method_name: Of `operator`, called with the answer as ``event``.
    :param timeout: How long to wait, in seconds or as a timedelta; None as long as it takes.
    :param users: Who may answer, each ``{"id": ..., "name": ...}``; nobody named lets everybody answer who may act on
        the DAG.
    :param options: The answers there are.
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
    operator.log.info("%s Waiting for an answer under Required Actions.", subject)
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
    """Return whether the answer was to buy, and who gave it.

    :raises SpendLimitExceeded: Nobody answered in time.
    :raises EventRejected: It is no answer.
    """
    if isinstance(event, Mapping) and event.get("error_type") == "timeout":
        raise SpendLimitExceeded("nobody answered in time whether the request may exceed its limit")
    chosen = event.get("chosen_options") if isinstance(event, Mapping) else None
    if not isinstance(event, Mapping) or chosen not in ([BUY], [REFUSE]):
        raise EventRejected(f"the answer to a question about money makes no sense: {shorten(event)}")
    return chosen == [BUY], who(event)


def question(request: VideoRequest, estimate: Estimate, why: str, account: str) -> tuple[str, str]:
    """Return subject and body (Markdown) of the question whether a request may be bought."""
    prompt = str(getattr(request, "prompt", "") or "")
    shown = prompt if len(prompt) <= _SHOWN else f"{prompt[:_SHOWN]}…"
    facts = [f"**Mode** {request.mode}", f"**Model** {request.model}", f"**Connection** {account}"]
    lines = [
        f"**Estimated cost** {estimate.explained()}",
        f"**Why you are asked** {why}",
        " · ".join(facts),
        *(["**Prompt**", "\n".join(f"> {line}" for line in shown.splitlines())] if shown else []),
        "The service bills the video when it accepts the request, also if its content rules block the result. Nothing "
        "can cancel it then.",
    ]
    return f"Buy a video for {estimate}?", "\n\n".join(lines)


_SHOWN = 600


def who(event: Mapping[str, Any]) -> str:
    """Return the name of who answered; Airflow hands it on as a mapping or as an object."""
    user = event.get("responded_by_user")
    fields = user if isinstance(user, Mapping) else getattr(user, "__dict__", {})
    return str(fields.get("name") or fields.get("id") or "somebody")
