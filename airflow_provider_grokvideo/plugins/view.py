"""View of a card on the page in Airflow's UI: outcome, addresses, progress, cost.

Every address that a browser may follow is made here. Those of the page are relative; those from cards, which users may
edit, must be http(s) links.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from airflow_provider_grokvideo.core.billing.entries import Entry
from airflow_provider_grokvideo.core.bulk.lines import STATUSES
from airflow_provider_grokvideo.core.cards import Card, Outcome, RowCounts
from airflow_provider_grokvideo.core.jobs import Done, Expired, Failed, Job, Moderated, Pending
from airflow_provider_grokvideo.core.polling.latency import Curve
from airflow_provider_grokvideo.core.purchases.records import Owner
from airflow_provider_grokvideo.links.urls import page, query, run, tab
from airflow_provider_grokvideo.plugins.values import epoch, file_name, iso, of_type, usd_of, web_link, words

HEADLINES: dict[Outcome, str] = {
    "submitting": "Submitting",
    "waiting": "In progress",
    "submitted": "Submitted; another task waits for it",
    "delivered": "Delivered",
    "done": "Done, not stored: the link expires within hours",
    "failed": "Failed at xAI",
    "moderated": "Blocked by the content rules",
    "expired": "xAI no longer knows the request",
    "unconfirmed": "Purchase unconfirmed",
    "refused": "Stopped before anything was charged",
    "asking": "Response required",
    "trouble": "The task stopped, the request is still running",
}

ENDED = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})
"""States of a task instance that has ended."""

SENDING = frozenset({None, "running", "restarting"})
"""States of a task instance that may be submitting right now."""

WAITING = frozenset({"deferred", "up_for_reschedule"})
"""States of a task instance that waits without a worker slot."""

_UNCONFIRMED = (
    "Retry or clear the task: it finds the submission in the journal and prints the commands that settle it; no new "
    "charge. Without a journal, look for the request in xAI's console before you clear the task."
)

_LONGEST_WAIT = 4000.0

_FACTS: dict[str, tuple[type, ...]] = {
    "duration": (int, float),
    "width": (int,),
    "height": (int,),
    "bytes": (int,),
    "has_audio": (bool,),
    "sha256": (str,),
    "checked": (str,),
}
"""Fields of a manifest that the page shows, with their types."""


@dataclass(frozen=True)
class Task:
    """A task instance in Airflow.

    Attributes:
        state: As in Airflow; None if it has none yet, or is unknown.
        try_number: The current try.
        max_tries: Maximum number of tries, including the first one.
        label: Rendered ``map_index_template``.
    """

    state: str | None = None
    try_number: int | None = None
    max_tries: int | None = None
    label: str | None = None


@dataclass(frozen=True)
class Shown:
    """A card with its owner and its task instance in Airflow."""

    owner: Owner
    card: Card
    task: Task = Task()

    @property
    def label(self) -> str:
        """Name of the task instance as Airflow's UI writes it."""
        named = label(self.owner, self.task.label or self.card.label)
        return named if self.owner.item is None else f"{named} · {self.owner.item}"


def joined(shown: Sequence[Shown], others: Sequence[Shown] = ()) -> list[Shown]:
    """Return the cards with each video once.

    If one task submits a request and another waits for it, the waiting task's card is kept, with the arguments of the
    submitting task. If one task made a video and a review approved it, the former's card is kept.

    Args:
        shown: The cards.
        others: Further cards, which may include the submitting task's.
    """
    handed_on = {each.card.request_id: each.card for each in (*shown, *others) if each.card.outcome == "submitted"}
    waited_for = {each.card.request_id for each in shown if each.card.outcome != "submitted"}
    found = []
    bought = {(each.card.request_id, each.card.outcome) for each in shown if _bought(each.card)}
    for each in shown:
        card = each.card
        if card.outcome in ("delivered", "done") and not _bought(card) and (card.request_id, card.outcome) in bought:
            continue
        asked = handed_on.get(each.card.request_id) if each.card.request_id else None
        if asked is None:
            found.append(each)
        elif each.card.outcome != "submitted":
            found.append(replace(each, card=_told_by(asked, each.card)))
        elif each.card.request_id not in waited_for:
            found.append(each)
    return found


def view(
    shown: Shown, *, now: float, curve: Curve | None = None, root: str = "", entry: Entry | None = None
) -> dict[str, Any]:
    """Return the view of a task instance as plain JSON.

    Args:
        shown: The card.
        now: Epoch seconds.
        curve: Latency of requests of its kind.
        root: Path prefix of Airflow, without a trailing slash.
        entry: Ledger entry of its request.
    """
    card = shown.card
    outcome, problem = _merged(card, shown.task)
    made = card.manifest or {}
    submitted = epoch(made.get("submitted_at")) or card.submitted_at
    finished = epoch(made.get("finished_at"))
    return {
        "key": {
            "dag_id": shown.owner.dag_id,
            "run_id": shown.owner.run_id,
            "task_id": shown.owner.task_id,
            "map_index": shown.owner.map_index,
            "item": shown.owner.item,
        },
        "label": shown.label,
        "links": {
            "task": tab(shown.owner, root),
            "page": page(shown.owner),
            "run": run(shown.owner, root),
            "table": None if shown.owner.item is None else page(shown.owner.whole),
        },
        "outcome": outcome,
        "headline": _headline(outcome, card, problem),
        "mode": card.mode,
        "model": card.model,
        "prompt": card.prompt,
        "conn_id": card.conn_id,
        "parameters": [{"name": name, "value": words(value)} for name, value in card.parameters.items()],
        "request_id": card.request_id,
        "estimated_usd": card.estimated_usd,
        "cost_usd": card.cost_usd,
        "cost": cost(card, outcome, entry),
        **{name: of_type(made.get(name), kinds) for name, kinds in _FACTS.items()},
        "reused": bool(made.get("reused")),
        "submitted_at": iso(submitted),
        "finished_at": iso(finished),
        "took_seconds": round(finished - submitted, 1) if finished and submitted and finished >= submitted else None,
        "video": video(shown),
        "sidecar": f"media/sidecar?{query(shown.owner)}" if made.get("sidecar_uri") else None,
        "waiting": _waiting(card, submitted or card.at, curve) if outcome == "waiting" and card.rows is None else None,
        "rows": _rows(shown),
        "problem": problem,
        "task": {
            "state": shown.task.state,
            "try_number": shown.task.try_number,
            "max_tries": shown.task.max_tries,
        },
        "purchases": [
            {
                **purchase.model_dump(exclude={"at"}),
                "at": iso(purchase.at),
                "this": purchase.request_id is not None and purchase.request_id == card.request_id,
            }
            for purchase in card.purchases
        ],
        "now": iso(now),
    }


def polled_at(view: Mapping[str, Any], job: Job | None, at: float) -> dict[str, Any]:
    """Return a view with the polled state of its request."""
    waiting = view["waiting"]
    if waiting is None or job is None:
        return dict(view)
    progress = job.progress if isinstance(job, Pending) else None
    told = {"progress": progress, "polled_at": iso(at)}
    if isinstance(job, Done):
        told["progress"] = 100
    headline = view["headline"]
    if isinstance(job, Done):
        headline = "Done at xAI; the task is fetching it"
    elif isinstance(job, Failed | Moderated):
        headline = "Ended at xAI without a video; the task will report it"
    return {**view, "headline": headline, "waiting": {**waiting, **told}}


def service_says(card: Card, job: Job | None, at: float) -> dict[str, Any]:
    """Return the polled state of a request, without links."""
    told: dict[str, Any] = {
        "request_id": card.request_id,
        "conn_id": card.conn_id,
        "polled_at": iso(at) if job is not None else None,
        "status": None if job is None else type(job).__name__.lower(),
    }
    match job:
        case Pending():
            told |= {"progress": job.progress}
        case Done():
            told |= {"progress": 100, "model": job.model, "duration": job.duration, "cost_usd": usd_of(job.cost_ticks)}
        case Moderated() | Failed():
            told |= {"code": job.code, "message": job.message, "cost_usd": usd_of(job.cost_ticks)}
        case Expired():
            told |= {"message": job.message}
    return told


def video(shown: Shown) -> dict[str, Any] | None:
    """Return the address of a task instance's video for a browser; None if there is none."""
    made = shown.card.manifest or {}
    if made.get("uri"):
        address = f"media/video?{query(shown.owner)}"
        poster = f"media/poster?{query(shown.owner)}" if made.get("poster_uri") else None
        return {"href": address, "kind": "file", "download": f"{address}&download=1", "poster": poster}
    link = web_link(made.get("url"))
    return None if link is None else {"href": link, "kind": "link", "download": None, "poster": None}


def label(owner: Owner, rendered: str | None = None) -> str:
    """Return the name of a task instance as Airflow's UI writes it; `rendered` is its ``map_index_template``."""
    return owner.task_id if owner.map_index < 0 else f"{owner.task_id}[{rendered or owner.map_index}]"


def cost(card: Card, outcome: Outcome, entry: Entry | None = None) -> dict[str, Any]:
    """Return the cost of a video and its kind.

    ``billed``: reported by xAI or the ledger. ``nothing``: nothing was charged. ``unbilled``: the request ended without
    a reported cost, which counts as none (contract §5.1). ``possible``: the upper limit, if it was billed.
    ``estimated``: the estimate of a running request. ``elsewhere``: paid by the task that made the video, not by the
    review. ``unknown``: no cost is known.

    Args:
        card: The card of the video.
        outcome: Its outcome, by its card and by Airflow.
        entry: The ledger entry of the same request.
    """
    if outcome == "asking" and card.request_id and not _bought(card):
        return {"usd": card.cost_usd, "kind": "elsewhere"}
    booked = next(
        (each.cost_usd for each in card.purchases if each.request_id == card.request_id and each.cost_usd), None
    )
    billed = card.cost_usd or booked or (None if entry is None else usd_of(entry.billed))
    if billed is not None:
        return {"usd": billed, "kind": "billed"}
    if entry is not None and entry.known is not None:
        return {"usd": usd_of(entry.known), "kind": "unbilled"}
    if outcome in ("refused", "asking") and not card.request_id:
        return {"usd": None, "kind": "nothing"}
    if outcome == "failed":
        return {"usd": "0", "kind": "unbilled"}
    sure = outcome not in ("moderated", "expired", "unconfirmed", "trouble")
    kind = "unknown" if card.estimated_usd is None else "estimated" if sure else "possible"
    return {"usd": card.estimated_usd, "kind": kind}


def taught_by(card: Card) -> tuple[str, float] | None:
    """Return the kind of a finished request and the seconds it took; None if unknown."""
    made = card.manifest or {}
    submitted, finished = epoch(made.get("submitted_at")), epoch(made.get("finished_at"))
    if card.kind is None or made.get("reused") or submitted is None or finished is None:
        return None
    seconds = finished - submitted
    return (card.kind, seconds) if 0 < seconds < _LONGEST_WAIT else None


def _bought(card: Card) -> bool:
    """Return whether the request of a card is a purchase of its own task."""
    return card.request_id is not None and card.request_id in {each.request_id for each in card.purchases}


def _told_by(submitted: Card, waited: Card) -> Card:
    names = ("mode", "model", "prompt", "parameters", "kind", "made_from", "estimated_usd", "submitted_at")
    known = {name: getattr(submitted, name) for name in names if not getattr(waited, name)}
    return waited.model_copy(update=known)


def _merged(card: Card, task: Task) -> tuple[Outcome, dict[str, Any] | None]:
    """Return the outcome of a card; Airflow may have ended the task since the card was written."""
    problem = None if card.problem is None else card.problem.model_dump()
    if _is_unconfirmed(card) and card.outcome in ("submitting", "waiting"):
        if task.state in SENDING:
            return "submitting", problem
        if task.state not in WAITING:
            what = f"the worker stopped while it submitted the request; the task's state is {task.state}"
            return "unconfirmed", _problem(f"{what}. The request may have been accepted and billed", _UNCONFIRMED)
        return "waiting", problem
    if card.rows is not None:
        return _merged_table(card, card.rows, task, problem)
    if task.state not in ENDED or card.outcome not in ("waiting", "asking"):
        return card.outcome, problem
    said = f"the task's state is {task.state}"
    if card.outcome == "asking":
        made = card.manifest or {}
        unanswered = _problem(f"{said}, and there was no response", "Clear the task to ask again.")
        return "delivered" if made.get("uri") else "done" if made.get("url") else "refused", unanswered
    advice = "Clear the task to fetch the video: with a journal it resumes the request, with no new charge."
    return "trouble", _problem(f"{said}, and the request is still running at xAI", advice)


def _merged_table(
    card: Card, rows: RowCounts, task: Task, problem: dict[str, Any] | None
) -> tuple[Outcome, dict[str, Any] | None]:
    """Return the outcome of a table, as :func:`_merged`."""
    if task.state == "awaiting_input":
        return "asking", problem
    if task.state not in ENDED or card.outcome != "waiting":
        return card.outcome, problem
    if task.state == "success":
        return "delivered", problem
    paid = max(rows.in_flight, rows.counts.get("submitted", 0))
    said = f"the task's state is {task.state}"
    if paid:
        told = f"{said}, and {paid:,} paid rows are not stored yet"
        return "trouble", _problem(told, "Clear the task to fetch their videos, with no new charge.")
    return "trouble", _problem(f"{said}, and it has not sent all rows", "Clear the task to send the others.")


def _rows(shown: Shown) -> dict[str, Any] | None:
    """Return the state of a table for the page, without the address of its result table."""
    rows = shown.card.rows
    if rows is None:
        return None
    return {
        "total": rows.total,
        "counts": {status: rows.counts[status] for status in STATUSES if rows.counts.get(status)},
        "in_flight": rows.in_flight,
        "file": file_name(rows.table_uri),
        "download": f"media/table?{query(shown.owner)}" if rows.table_uri else None,
    }


def _is_unconfirmed(card: Card) -> bool:
    """Return whether a request without a known id may have been sent."""
    intended = bool(card.purchases) and card.purchases[-1].phase == "intent"
    return card.request_id is None and (intended or card.outcome == "submitting")


def _problem(message: str, advice: str) -> dict[str, Any]:
    return {"type": "TaskEnded", "message": message, "advice": advice, "code": None}


def _headline(outcome: Outcome, card: Card, problem: Mapping[str, Any] | None) -> str:
    made = card.manifest or {}
    if card.rows is not None:
        stored = card.rows.counts.get("delivered", 0)
        return f"{stored:,} of {card.rows.total:,} rows have their video"
    if outcome == "waiting" and _is_unconfirmed(card):
        return "Unconfirmed; searching for its video"
    if outcome == "delivered" and made.get("reused"):
        return "Delivered by an earlier try; no new charge"
    if outcome == "waiting" and made.get("status") == "done":
        return "Done; being stored"
    if outcome == "trouble" and problem is not None and problem["type"] == "DeliveryFailed":
        return "Paid, not stored yet"
    return HEADLINES[outcome]


def _waiting(card: Card, since: float, curve: Curve | None) -> dict[str, Any]:
    def by(share: float) -> str | None:
        return None if curve is None else iso(since + curve.value(0.0, _LONGEST_WAIT, share))

    return {
        "since": iso(since),
        "expected_at": by(0.5),
        "late_at": by(0.9),
        "deadline": iso(card.deadline),
        "progress": 100 if (card.manifest or {}).get("status") == "done" else None,
        "polled_at": None,
    }
