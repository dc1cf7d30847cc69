"""How a table ended, and how a row's error changes what the table does next: decisions over plain data."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Literal

from airflow_provider_grokvideo.core.bulk.lines import Status
from airflow_provider_grokvideo.core.errors import (
    AmbiguousSubmit,
    DeliveryFailed,
    GrokVideoError,
    RateLimited,
    RequestRejected,
    RowsFailed,
    ServiceUnavailable,
    VideoExpired,
    VideoFailed,
    WaitTimeout,
)
from airflow_provider_grokvideo.core.texts import counted
from airflow_provider_grokvideo.execution.bulk.ports import KeptNumbers

PAUSE = 30.0
"""Seconds until the next submit after an outage, where xAI's response names no time."""

LONGEST_PAUSE = 3600.0
"""Longest accepted ``Retry-After``, in seconds."""

PAUSES = 3
"""Pauses in a row without an accepted submit after which a task stops submitting."""

UNANSWERED = 3
"""Lost answers in a row after which a task stops submitting: each may be a paid video that cannot be found."""

ROW_FAILED = "on_row_error is 'stop' and a row failed"
NO_ANSWERS = f"the answers to {UNANSWERED} submits in a row were lost"
"""Why a try submits no more."""


def changed() -> RowsFailed:
    """Return the error of a table that is not the one any more whose price was checked in this try."""
    error = RowsFailed(
        "the table has changed since this try began, so nothing more was submitted",
        advice="A retry or clear checks and prices the table as it is now; what is paid is not submitted again.",
    )
    error.retry_helps = True
    return error


Effect = Literal["row", "pause", "stop"]


def effect_of(error: GrokVideoError) -> Effect:
    """Return what an error of a submit means for the other rows.

    ``row``: it is a matter of this row. ``pause``: others would meet it too, and later not. ``stop``: others would meet
    it too, until you change something.
    """
    match error:
        case RequestRejected() | VideoFailed() | VideoExpired() | AmbiguousSubmit() | WaitTimeout():
            return "row"
        case RateLimited() | ServiceUnavailable() | DeliveryFailed():
            return "pause"
    return "stop"


def paused(kept: KeptNumbers, error: GrokVideoError, now: float) -> KeptNumbers:
    """Return the numbers of a try after an outage; several rows that meet the same one are one pause."""
    wanted = error.retry_after if isinstance(error, RateLimited) else None
    until = now + min(wanted or PAUSE, LONGEST_PAUSE)
    if kept.pause_until > now:
        return replace(kept, pause_until=max(kept.pause_until, until))
    return replace(kept, pauses=kept.pauses + 1, pause_until=until)


def verdict(
    counts: Mapping[Status, int],
    ratio: float,
    wanted: float,
    *,
    told: str,
    table_uri: str | None,
    resubmit_on: Collection[str],
    stopped: str = "",
) -> RowsFailed | None:
    """Return the error of a table of which too few rows have their video; None where it succeeded.

    A row that is paid and whose video is not stored fails the task whatever the ratio: a retry stores it at no charge.

    Args:
        counts: Rows with each status.
        ratio: Share of the rows that have their video.
        wanted: The task's ``min_success_ratio``.
        told: The counts as words.
        table_uri: The result table.
        resubmit_on: When the author lets a retry submit again.
        stopped: Why this try submitted no more; you have to look before another one does.
    """
    not_stored = counts.get("submitted", 0)
    if ratio >= wanted and not not_stored:
        return None
    free = not_stored or counts.get("not_sent", 0)
    again = [status for status in ("failed", "moderated", "expired", "unconfirmed") if counts.get(status)]
    again = [status for status in again if status in resubmit_on]
    what = f"{ratio:.1%} of the rows have their video, and min_success_ratio is {wanted:.1%} ({told})"
    if ratio >= wanted:
        what = f"the video of {counted(not_stored, 'row')} is paid and not stored ({told})"
    where = f" All rows are in {table_uri}." if table_uri else ""
    if stopped:
        free, again = 0, []
        what = f"{what}; nothing more was submitted, because {stopped}"
        advice = "Look at the rows first; clear the task to submit the rest. What is paid is not submitted again."
    elif again:
        advice = f"resubmit_on has {', '.join(map(repr, again))}: a retry or clear submits those rows again."
    elif free:
        advice = "A retry submits the rows that were not sent, and fetches those that are paid at no new charge."
    else:
        advice = f"A retry would end the same way. {_remedies(counts)}Then clear the task."
    error = RowsFailed(what, advice=f"{advice}{where}")
    error.retry_helps, error.resubmits = bool(free), bool(again)
    return error


def _remedies(counts: Mapping[Status, int]) -> str:
    """Return what you can do about the rows that have no video."""
    told: list[tuple[str, tuple[Status, ...]]] = [
        ("Settle the unconfirmed rows: their lines have the commands. ", ("unconfirmed",)),
        ("Correct the rows that were refused. ", ("refused",)),
        ("Change the prompts or inputs that were blocked. ", ("moderated",)),
        ("Set resubmit_on to submit failed or expired rows again. ", ("failed", "expired")),
    ]
    return "".join(text for text, statuses in told if any(counts.get(status) for status in statuses))
