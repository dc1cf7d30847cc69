"""Rows of a result table for the page: as lines of a list, and each as a video of its own."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

from airflow_provider_grokvideo.core.bulk.lines import COLUMNS, STATUSES, Kind, Status
from airflow_provider_grokvideo.core.cards import Card, CardProblem, Outcome, dollars
from airflow_provider_grokvideo.links.urls import page
from airflow_provider_grokvideo.plugins import view as views
from airflow_provider_grokvideo.plugins.view import Shown
from airflow_provider_grokvideo.storage import destination

LONGEST_TEXT = 600
"""Characters of a prompt, an error or an advice of a row on the page."""

LONGEST_NAME = 1_100
"""Characters of any other text: addresses are the longest."""

WITH_VIDEO: Status = "delivered"

_LONG = frozenset({"prompt", "error", "advice"})
_LEFT_OUT = frozenset({"prompt_sha256"})

_OUTCOMES: dict[Status, Outcome] = {
    "delivered": "delivered",
    "moderated": "moderated",
    "failed": "failed",
    "expired": "expired",
    "unconfirmed": "unconfirmed",
    "refused": "refused",
    "not_sent": "refused",
    "submitted": "waiting",
}

_BRIEF = (
    "prompt", "mode", "model", "request_id", "estimated_usd", "cost", "duration", "width", "height", "bytes", "video",
    "submitted_at", "finished_at",
)  # fmt: skip
"""Fields of a view that the list shows."""


def trimmed(line: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what the page keeps of a line; None if it is not a line of a result table.

    Args:
        line: A line as plain JSON.
    """
    if line.get("status") not in STATUSES:
        return None
    known = {name: _of_kind(name, line.get(name), kind) for name, kind in COLUMNS.items() if name not in _LEFT_OUT}
    return {name: value for name, value in known.items() if value is not None}


def card_of(row: Mapping[str, Any], table: Card) -> Card:
    """Return the card of one row, as if it were a task's.

    Args:
        row: As :func:`trimmed` returns it.
        table: The card of the table.
    """
    status: Status = row["status"]
    uri = row.get("uri")
    made = {name: row.get(name) for name in ("duration", "width", "height", "bytes", "has_audio", "sha256", "uri")}
    made |= {name: row.get(name) for name in ("submitted_at", "finished_at")}
    if uri and str(uri).endswith(destination.SUFFIX):
        stem = str(uri).removesuffix(destination.SUFFIX)
        made |= {"sidecar_uri": f"{stem}.json", "poster_uri": f"{stem}{destination.POSTER_SUFFIX}"}
    problem = None
    if row.get("error") or row.get("advice"):
        problem = CardProblem(type=_words(status), message=row.get("error") or "", advice=row.get("advice") or "")
    return Card(
        outcome=_OUTCOMES[status],
        at=table.at,
        conn_id=table.conn_id,
        request_id=row.get("request_id"),
        mode=row.get("mode"),
        model=row.get("model"),
        prompt=row.get("prompt"),
        estimated_usd=dollars(row.get("estimated_cost_usd")),
        cost_usd=dollars(row.get("cost_usd")),
        manifest=made if status == WITH_VIDEO else None,
        problem=problem,
    )


def shown(row: Mapping[str, Any], table: Shown) -> Shown:
    """Return one row as a video of its task."""
    return replace(table, owner=replace(table.owner, item=str(row.get("id") or "")), card=card_of(row, table.card))


def brief(row: Mapping[str, Any], table: Shown, now: float) -> dict[str, Any]:
    """Return one row as the list shows it.

    Args:
        row: As :func:`trimmed` returns it.
        table: The card of the table.
        now: Epoch seconds.
    """
    one = shown(row, table)
    told = views.view(one, now=now)
    return {
        **{name: told[name] for name in _BRIEF},
        "id": row.get("id"),
        "status": row["status"],
        "attempts": row.get("attempts"),
        "error": row.get("error"),
        "advice": row.get("advice"),
        "page": page(one.owner) if row["status"] == WITH_VIDEO and row.get("id") else None,
    }


def _words(status: Status) -> str:
    return status.replace("_", " ")


def _of_kind(name: str, value: Any, kind: Kind) -> Any:
    """Return a cell if it has the type of its column: a table may have been changed by others."""
    if value is None:
        return None
    if kind in ("text", "timestamp"):
        return _cut(str(value), LONGEST_TEXT if name in _LONG else LONGEST_NAME)
    if kind == "boolean":
        return value if isinstance(value, bool) else None
    if kind == "decimal":
        return dollars(value)
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal) or not math.isfinite(value):
        return None
    return int(value) if kind == "integer" else float(value)


def _cut(text: str, most: int) -> str:
    plain = text if len(text) <= most else f"{text[: most - 1]}…"
    return plain.encode("utf-8", "replace").decode()
