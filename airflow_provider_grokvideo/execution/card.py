"""Keep a task instance's card up to date: what the page in Airflow's UI shows of its video."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_grokvideo.core import cards
from airflow_provider_grokvideo.core.cards import Card, MadeFrom, Outcome
from airflow_provider_grokvideo.core.errors import shorten
from airflow_provider_grokvideo.core.redaction import shareable
from airflow_provider_grokvideo.execution.handover import described

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_grokvideo.core.errors import GrokVideoError
    from airflow_provider_grokvideo.core.purchases.records import Record
    from airflow_provider_grokvideo.core.requests import VideoRequest

LONGEST = 5_000
"""Characters of an argument that was refused; the service takes prompts of 4,096."""

LONGEST_LABEL = 250
"""Characters of a label, as many as Airflow keeps."""

log = logging.getLogger(__name__)


def show(
    context: Context,
    outcome: Outcome | None,
    *,
    request: VideoRequest | None = None,
    given: Mapping[str, Any] | None = None,
    made_from: tuple[str, Any] | None = None,
    made: Mapping[str, Any] | None = None,
    error: GrokVideoError | None = None,
    records: Sequence[Record] = (),
    **facts: Any,
) -> None:
    """Write the card of the task instance that runs; what is not given stays as an earlier leg of the try wrote it.

    A card is only shown. If it cannot be written, the task logs that and continues.

    Args:
        context: The task's.
        outcome: How far the video is; None where the error says it.
        request: What was asked for.
        given: The arguments as they were rendered, for a request that could not be made of them.
        made_from: The argument and the value that an edit, extension or image starts from.
        made: The manifest.
        error: Why the task stops.
        records: The journal's purchases of the task instance.
        facts: Further fields of the card; None is not told.
    """
    ti = context.get("ti")
    if ti is None:
        return
    try:
        now = time.time()
        told: dict[str, Any] = {name: value for name, value in facts.items() if value is not None}
        if "estimated_usd" in told:
            told["estimated_usd"] = cards.dollars(told["estimated_usd"])
        if request is None:
            earlier = _earlier(ti)
            if outcome == earlier.get("outcome") == "waiting":
                # A sensor that pokes says so again and again; since when is the first time.
                now = earlier["at"]
            told = {**_given(given or {}), **{name: value for name, value in earlier.items() if value}, **told}
        else:
            told |= _asked(request, made_from)
        told["label"] = _label(context) or told.get("label")
        if made is not None:
            told |= _made(made)
        told["problem"] = None if error is None else cards.problem_of(error)
        if error is not None:
            told |= {"request_id": error.request_id or told.get("request_id")}
            told |= {"cost_usd": cards.dollars(getattr(error, "cost_usd", None)) or told.get("cost_usd")}
            outcome = outcome or cards.outcome_of(error)
            if outcome == "refused" and any(record.is_orphan for record in records):
                # What stopped this try does not undo what an earlier one bought.
                outcome = "trouble"
        if records:
            told["purchases"] = bought = cards.purchases_of(records)
            if bought and not told.get("estimated_usd") and outcome != "refused":
                told["estimated_usd"] = bought[-1].estimated_usd
        card = Card(**{**told, "outcome": outcome, "at": now})
        ti.xcom_push(key=cards.KEY, value=card.to_json())
    except Exception as problem:  # noqa: BLE001 - nothing that happens to a card may cost a video
        log.warning("The Video tab is not up to date: %s: %s", type(problem).__name__, problem)


def show_table(context: Context, facts: Mapping[str, Any], *, error: GrokVideoError | None, conn_id: str) -> None:
    """Write the card of a task with a table of videos; if it cannot be written, the task logs that and continues.

    Args:
        context: The task's.
        facts: The summary of the table, and ``in_flight``.
        error: Why the task stops.
        conn_id: The connection that pays.
    """
    try:
        counts = dict(facts["counts"])
        is_open = facts["in_flight"] or counts.get("not_sent") or counts.get("submitted")
        outcome: Outcome = "waiting" if is_open else "delivered"
        if error is not None:
            outcome = "trouble" if counts.get("submitted") else "failed" if facts["cost_usd"] else "refused"
        told: dict[str, Any] = {
            "rows": cards.RowCounts(
                total=facts["rows"], counts=counts, in_flight=facts["in_flight"], table_uri=facts["table_uri"]
            ),
            "estimated_usd": cards.dollars(facts["estimated_cost_usd"]),
            "cost_usd": cards.dollars(facts["cost_usd"]),
            "problem": None if error is None else cards.problem_of(error),
            "conn_id": conn_id,
            "label": _label(context),
        }
        card = Card(**{"outcome": outcome, "at": time.time(), **told})
        context["ti"].xcom_push(key=cards.KEY, value=card.to_json())
    except Exception as problem:  # noqa: BLE001 - nothing that happens to a card may cost a video
        log.warning("The Video tab is not up to date: %s: %s", type(problem).__name__, problem)


def _earlier(ti: Any) -> dict[str, Any]:
    card = cards.parse(ti.xcom_pull(task_ids=ti.task_id, key=cards.KEY, map_indexes=ti.map_index))
    return {} if card is None else dict(card)


def _asked(request: VideoRequest, made_from: tuple[str, Any] | None) -> dict[str, Any]:
    words: dict[str, Any] = shareable(described(request))
    if made_from is not None:
        words.pop(made_from[0], None)
    return {
        "mode": words.pop("mode"),
        "model": words.pop("model"),
        "prompt": words.pop("prompt", None),
        "parameters": words,
        "kind": request.kind(),
        "made_from": None if made_from is None else _source(*made_from),
    }


def _given(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments of which no request could be made, so that people see which one was refused."""
    words = {name: _shown(name, value) for name, value in given.items() if value is not None}
    text: dict[str, Any] = {name: str(words.pop(name)) for name in ("prompt", "model") if name in words}
    return {"parameters": words, **text}


def _shown(name: str, value: Any) -> Any:
    """Return an argument as a card holds it, whatever it is."""
    plain = shareable(value if _is_json(value) else repr(value), name)
    if len(json.dumps(plain)) <= LONGEST:
        return plain
    return f"{plain if isinstance(plain, str) else shorten(plain, LONGEST)}"[:LONGEST]


def _is_json(value: Any) -> bool:
    try:
        return bool(json.dumps(value, allow_nan=False).encode())
    except (TypeError, ValueError, RecursionError):
        return False


def _label(context: Context) -> str | None:
    """Return what Airflow shows instead of the map index; before 3.3 it renders that when the task has ended."""
    ti: Any = context["ti"]
    known = getattr(ti, "rendered_map_index", None)
    template = context.get("map_index_template")
    if known or not template:
        return str(known)[:LONGEST_LABEL] if known else None
    try:
        return str(ti.task.dag.get_template_env().from_string(template).render(context))[:LONGEST_LABEL]
    except Exception:  # noqa: BLE001 - Airflow tells the author about the template
        return None


def _made(made: Mapping[str, Any]) -> dict[str, Any]:
    told = {
        "manifest": dict(made),
        "request_id": made.get("request_id"),
        "model": made.get("model"),
        "mode": made.get("mode"),
        "estimated_usd": cards.dollars(made.get("estimated_cost_usd")),
        "cost_usd": cards.dollars(made.get("cost_usd")),
    }
    return {name: value for name, value in told.items() if value is not None}


def _source(field: str, value: Any) -> MadeFrom:
    if isinstance(value, Mapping):
        address = value.get("uri") or value.get("url") or value.get("file_id")
        request_id = value.get("request_id")
    else:
        address, request_id = value, None
    return MadeFrom.model_validate(
        {
            "field": field,
            "request_id": None if request_id is None else str(request_id),
            "address": None if address is None else str(shareable(str(address))),
        }
    )
