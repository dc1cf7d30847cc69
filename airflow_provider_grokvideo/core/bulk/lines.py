"""Columns and statuses of a result table: one line per row of the input, also for rows that were never sent."""

from __future__ import annotations

from typing import Literal, get_args

Kind = Literal["text", "integer", "number", "boolean", "decimal", "timestamp"]
"""Type of a column. In a line a decimal is a ``Decimal``, a timestamp is seconds since the epoch; all may be None."""

COLUMNS: dict[str, Kind] = {
    "id": "text",
    "status": "text",
    "uri": "text",
    "sha256": "text",
    "bytes": "integer",
    "duration": "number",
    "width": "integer",
    "height": "integer",
    "has_audio": "boolean",
    "mode": "text",
    "model": "text",
    "prompt": "text",
    "prompt_sha256": "text",
    "request_id": "text",
    "estimated_cost_usd": "decimal",
    "cost_usd": "decimal",
    "attempts": "integer",
    "submitted_at": "timestamp",
    "finished_at": "timestamp",
    "error": "text",
    "advice": "text",
}
"""The columns in their order; the free columns of the input follow."""

Status = Literal[
    "delivered",
    "moderated",
    "failed",
    "expired",
    "unconfirmed",
    "refused",
    "not_sent",
    "submitted",
]
"""Status of a row: ``submitted`` is paid and not stored yet."""

STATUSES: tuple[Status, ...] = get_args(Status)

MARKS = frozenset({"status", "prompt_sha256", "attempts"})
"""A table that has all these columns is a result table."""
