"""What the page in Airflow's UI shows of a card: outcome in words, addresses, progress, money.

Every address that a browser may follow is made here. Those of the page itself are relative to it; those of others come
from cards, which people may edit, and count only as http(s) links.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import pendulum

from airflow_provider_grokvideo.core.cards import YEAR_10000, Card, Outcome, dollars
from airflow_provider_grokvideo.core.jobs import Done, Expired, Failed, Job, Moderated, Pending, usd
from airflow_provider_grokvideo.core.journal import Owner
from airflow_provider_grokvideo.core.latency import Curve
from airflow_provider_grokvideo.core.media import source_of
from airflow_provider_grokvideo.core.spending import Entry

HEADLINES: dict[Outcome, str] = {
    "submitting": "Being submitted, or unconfirmed",
    "waiting": "Under way",
    "submitted": "Submitted; another task waits for it",
    "delivered": "Delivered",
    "done": "Done and not stored: the link dies within hours",
    "failed": "The service gave up on the video",
    "moderated": "Blocked by the content rules",
    "expired": "The service has forgotten the request",
    "unconfirmed": "Unconfirmed: it may have been bought",
    "refused": "Stopped before money was spent",
    "asking": "Waiting for a person's answer",
    "trouble": "The task stopped, the request goes on",
}

ENDED = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})
"""States of a task instance in which nothing of it runs any more."""

SENDING = frozenset({None, "running", "restarting"})
"""States of a task instance that may be submitting right now."""

WAITING = frozenset({"deferred", "up_for_reschedule"})
"""States in which a task instance waits and holds no worker."""

_UNCONFIRMED = (
    "The next try, or a clear, finds the submission in the journal and says how to settle it; it buys nothing again. "
    "Without a journal look for the request in xAI's console before you clear the task."
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
"""What is shown of a manifest, by type."""


@dataclass(frozen=True)
class Task:
    """What Airflow says of the task instance.

    Attributes:
        state: As in Airflow; None where it has none yet or nobody asked.
        try_number: The current try.
        max_tries: How many tries Airflow grants, the first one included.
        label: What Airflow shows instead of the map index.
    """

    state: str | None = None
    try_number: int | None = None
    max_tries: int | None = None
    label: str | None = None


@dataclass(frozen=True)
class Shown:
    """A card with whose it is and what Airflow says of the task."""

    owner: Owner
    card: Card
    task: Task = Task()

    @property
    def label(self) -> str:
        """Name of the task instance as Airflow's UI writes it."""
        return label(self.owner, self.task.label or self.card.label)


def joined(shown: Sequence[Shown], others: Sequence[Shown] = ()) -> list[Shown]:
    """Return cards so that each video is there once.

    Of a task that only submitted a request and one that waits for it, the latter is kept. Who only waits does not know
    what was asked for; the one who submitted does, and is asked. Of a task that made a video and a review that approved
    it, the former is kept.

    Args:
        shown: The cards.
        others: Further cards among which the submitter may be.
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
    """Return what the page shows of a task instance, as plain JSON.

    Args:
        shown: The card.
        now: Epoch seconds.
        curve: How long requests of its kind take.
        root: Path that Airflow is served under, without a slash at its end.
        entry: What the ledger says of its request.
    """
    card = shown.card
    outcome, problem = _merged(card, shown.task)
    made = card.manifest or {}
    submitted = _epoch(made.get("submitted_at")) or card.submitted_at
    finished = _epoch(made.get("finished_at"))
    return {
        "key": {
            "dag_id": shown.owner.dag_id,
            "run_id": shown.owner.run_id,
            "task_id": shown.owner.task_id,
            "map_index": shown.owner.map_index,
        },
        "label": shown.label,
        "links": {"task": tab(shown.owner, root), "page": page(shown.owner), "run": run(shown.owner, root)},
        "outcome": outcome,
        "headline": _headline(outcome, card, problem),
        "mode": card.mode,
        "model": card.model,
        "prompt": card.prompt,
        "conn_id": card.conn_id,
        "parameters": [{"name": name, "value": _words(value)} for name, value in card.parameters.items()],
        "request_id": card.request_id,
        "estimated_usd": card.estimated_usd,
        "cost_usd": card.cost_usd,
        "cost": cost(card, outcome, entry),
        **{name: _of_type(made.get(name), kinds) for name, kinds in _FACTS.items()},
        "reused": bool(made.get("reused")),
        "submitted_at": iso(submitted),
        "finished_at": iso(finished),
        "took_seconds": round(finished - submitted, 1) if finished and submitted and finished >= submitted else None,
        "video": video(shown),
        "sidecar": f"media/sidecar?{query(shown.owner)}" if made.get("sidecar_uri") else None,
        "waiting": _waiting(card, submitted or card.at, curve) if outcome == "waiting" else None,
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
    """Return a view with what the service says of its request now."""
    waiting = view["waiting"]
    if waiting is None or job is None:
        return dict(view)
    progress = job.progress if isinstance(job, Pending) else None
    told = {"progress": progress, "polled_at": iso(at)}
    if isinstance(job, Done):
        told["progress"] = 100
    headline = view["headline"]
    if isinstance(job, Done):
        headline = "Done at the service; the task fetches it"
    elif isinstance(job, Failed | Moderated):
        headline = "Ended at the service without a video; the task will say so"
    return {**view, "headline": headline, "waiting": {**waiting, **told}}


def service_says(card: Card, job: Job | None, at: float) -> dict[str, Any]:
    """Return what the service says of a request now, without links."""
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
            told |= {"progress": 100, "model": job.model, "duration": job.duration, "cost_usd": _usd(job.cost_ticks)}
        case Moderated() | Failed():
            told |= {"code": job.code, "message": job.message, "cost_usd": _usd(job.cost_ticks)}
        case Expired():
            told |= {"message": job.message}
    return told


def video(shown: Shown) -> dict[str, Any] | None:
    """Return where a browser gets a task instance's video; None where there is none."""
    made = shown.card.manifest or {}
    if made.get("uri"):
        address = f"media/video?{query(shown.owner)}"
        poster = f"media/poster?{query(shown.owner)}" if made.get("poster_uri") else None
        return {"href": address, "kind": "file", "download": f"{address}&download=1", "poster": poster}
    link = web_link(made.get("url"))
    return None if link is None else {"href": link, "kind": "link", "download": None, "poster": None}


def before(shown: Shown, others: Iterable[Shown]) -> dict[str, Any] | None:
    """Return what an edit, an extension or an animated image started from; None for what starts from words.

    Args:
        shown: The card.
        others: Cards among which the task may be that made it.
    """
    source = shown.card.made_from
    if source is None:
        return None
    told: dict[str, Any] = {
        "label": file_name(source.address) or source.field,
        "page": None,
        "video": None,
        "image": None,
        "prompt": None,
        "request_id": source.request_id,
    }
    maker = next((each for each in others if _made(each, source.request_id)), None)
    if maker is not None:
        known = {"label": maker.label, "page": page(maker.owner), "prompt": maker.card.prompt}
        return {**told, **known, "video": video(maker)}
    link = web_link(source.address)
    address = link or (f"media/source?{query(shown.owner)}" if is_path(source.address) else None)
    if address is None:
        return told
    if source.field == "image":
        return {**told, "image": address}
    kind = "link" if link else "file"
    return {**told, "video": {"href": address, "kind": kind, "download": None, "poster": None}}


def chain(shown: Shown, others: Sequence[Shown]) -> list[dict[str, Any]]:
    """Return a clip with those it was made from before it, and those that were made from it after it."""
    found = [shown]
    while (maker := _maker(found[0], others)) is not None and maker not in found:
        found.insert(0, maker)
    waiting = [shown]
    while waiting:
        made_of = waiting.pop(0)
        for each in others:
            source = each.card.made_from
            if source is not None and each not in found and _made(made_of, source.request_id):
                found.append(each)
                waiting.append(each)
    return [_link(each, this=each is shown) for each in found]


def query(owner: Owner) -> str:
    """Return a task instance as the query of an address."""
    words = {"dag_id": owner.dag_id, "run_id": owner.run_id, "task_id": owner.task_id, "map_index": owner.map_index}
    return urlencode(words, quote_via=quote)


def page(owner: Owner) -> str:
    """Return the address of a task instance's page."""
    return f"video?{query(owner)}"


def tab(owner: Owner, root: str = "") -> str:
    """Return the address of a task instance's Video tab in Airflow's UI."""
    dag_id, run_id, task_id = (quote(each, safe="") for each in (owner.dag_id, owner.run_id, owner.task_id))
    mapped = "" if owner.map_index < 0 else f"/mapped/{owner.map_index}"
    return f"{root}/dags/{dag_id}/runs/{run_id}/tasks/{task_id}{mapped}/plugin/grokvideo"


def run(owner: Owner, root: str = "") -> str:
    """Return the address of a DAG run in Airflow's UI."""
    return f"{root}/dags/{quote(owner.dag_id, safe='')}/runs/{quote(owner.run_id, safe='')}"


def label(owner: Owner, rendered: str | None = None) -> str:
    """Return the name of a task instance as Airflow's UI writes it; `rendered` is its ``map_index_template``."""
    return owner.task_id if owner.map_index < 0 else f"{owner.task_id}[{rendered or owner.map_index}]"


def cost(card: Card, outcome: Outcome, entry: Entry | None = None) -> dict[str, Any]:
    """Return what a video cost, and how sure that is.

    ``billed``: the service or the ledger says so. ``nothing``: nothing was bought. ``unbilled``: the service ended the
    request and named no bill, which counts as none (contract §5.1). ``possible``: at most that, if it was billed.
    ``estimated``: what is under way should cost that. ``elsewhere``: the task that made it paid, not the review that
    asks about it. ``unknown``: nobody has said.

    Args:
        card: What is known of the video.
        outcome: How far it is, by its card and by Airflow.
        entry: What the ledger says of the same request.
    """
    if outcome == "asking" and card.request_id and not _bought(card):
        return {"usd": card.cost_usd, "kind": "elsewhere"}
    booked = next(
        (each.cost_usd for each in card.purchases if each.request_id == card.request_id and each.cost_usd), None
    )
    billed = card.cost_usd or booked or (None if entry is None else _usd(entry.billed))
    if billed is not None:
        return {"usd": billed, "kind": "billed"}
    if entry is not None and entry.known is not None:
        return {"usd": _usd(entry.known), "kind": "unbilled"}
    if outcome in ("refused", "asking") and not card.request_id:
        return {"usd": None, "kind": "nothing"}
    if outcome == "failed":
        return {"usd": "0", "kind": "unbilled"}
    sure = outcome not in ("moderated", "expired", "unconfirmed", "trouble")
    kind = "unknown" if card.estimated_usd is None else "estimated" if sure else "possible"
    return {"usd": card.estimated_usd, "kind": kind}


def is_path(address: str | None) -> bool:
    """Say whether an address is one that Airflow's ObjectStorage reads, a local path included."""
    return address is not None and source_of(address) == "path"


def file_name(address: str | None) -> str | None:
    """Return an address without the place in the storage; a web address and an id as they are."""
    if address is None or not is_path(address):
        return address
    return PurePosixPath(address).name or address


def web_link(address: object) -> str | None:
    """Return an address if a browser may follow it: https, or http to this machine."""
    if not isinstance(address, str) or "…" in address:
        # The mark of an address that was cut before it was kept.
        return None
    try:
        parts = urlsplit(address)
    except ValueError:
        return None
    local = parts.scheme == "http" and parts.hostname in ("127.0.0.1", "localhost", "::1")
    return address if (parts.scheme == "https" or local) and parts.hostname else None


def iso(epoch: float | None) -> str | None:
    """Return epoch seconds as ISO 8601 in UTC."""
    return None if epoch is None else pendulum.from_timestamp(epoch).to_iso8601_string()


def taught_by(card: Card) -> tuple[str, float] | None:
    """Return the kind of a finished request and the seconds it took; None where they are not known."""
    made = card.manifest or {}
    submitted, finished = _epoch(made.get("submitted_at")), _epoch(made.get("finished_at"))
    if card.kind is None or made.get("reused") or submitted is None or finished is None:
        return None
    seconds = finished - submitted
    return (card.kind, seconds) if 0 < seconds < _LONGEST_WAIT else None


def _bought(card: Card) -> bool:
    """Say whether the request of a card was bought by its own task."""
    return card.request_id is not None and card.request_id in {each.request_id for each in card.purchases}


def _told_by(submitted: Card, waited: Card) -> Card:
    names = ("mode", "model", "prompt", "parameters", "kind", "made_from", "estimated_usd", "submitted_at")
    known = {name: getattr(submitted, name) for name in names if not getattr(waited, name)}
    return waited.model_copy(update=known)


def _merged(card: Card, task: Task) -> tuple[Outcome, dict[str, Any] | None]:
    """Return the outcome of a card, given that Airflow may have ended the task without its knowledge."""
    problem = None if card.problem is None else card.problem.model_dump()
    if _is_unconfirmed(card) and card.outcome in ("submitting", "waiting"):
        if task.state in SENDING:
            return "submitting", problem
        if task.state not in WAITING:
            what = f"the task's worker stopped while it submitted the request; Airflow has the task as {task.state}"
            return "unconfirmed", _problem(f"{what}. The request may have been accepted and billed", _UNCONFIRMED)
        return "waiting", problem
    if task.state not in ENDED or card.outcome not in ("waiting", "asking"):
        return card.outcome, problem
    said = f"Airflow has the task as {task.state}"
    if card.outcome == "asking":
        made = card.manifest or {}
        unanswered = _problem(f"{said}, and nobody has answered", "Clear the task to ask again.")
        return "delivered" if made.get("uri") else "done" if made.get("url") else "refused", unanswered
    advice = (
        "Clear the task to fetch the video: it goes on with the request and buys nothing if the task has a journal."
    )
    return "trouble", _problem(f"{said}, and the request goes on at the service", advice)


def _is_unconfirmed(card: Card) -> bool:
    """Say whether a request may have been sent whose id nobody knows."""
    intended = bool(card.purchases) and card.purchases[-1].phase == "intent"
    return card.request_id is None and (intended or card.outcome == "submitting")


def _problem(message: str, advice: str) -> dict[str, Any]:
    return {"type": "TaskEnded", "message": message, "advice": advice, "code": None}


def _headline(outcome: Outcome, card: Card, problem: Mapping[str, Any] | None) -> str:
    made = card.manifest or {}
    if outcome == "waiting" and _is_unconfirmed(card):
        return "Unconfirmed; looking for its video"
    if outcome == "delivered" and made.get("reused"):
        return "Delivered by an earlier try; nothing was paid again"
    if outcome == "waiting" and made.get("status") == "done":
        return "Done; being stored"
    if outcome == "trouble" and problem is not None and problem["type"] == "DeliveryFailed":
        return "Paid and not stored yet"
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


def _made(shown: Shown, request_id: str | None) -> bool:
    return request_id is not None and shown.card.request_id == request_id


def _maker(shown: Shown, others: Iterable[Shown]) -> Shown | None:
    source = shown.card.made_from
    wanted = None if source is None else source.request_id
    return next((each for each in others if each is not shown and _made(each, wanted)), None)


def _link(shown: Shown, *, this: bool) -> dict[str, Any]:
    found = video(shown) or {}
    return {
        "label": shown.label,
        "page": page(shown.owner),
        "outcome": shown.card.outcome,
        "prompt": shown.card.prompt,
        "mode": shown.card.mode,
        "poster": found.get("poster"),
        "href": found.get("href"),
        "this": this,
    }


def _words(value: Any) -> str:
    """Return an argument for people: the source of an image or clip, else as it was given."""
    if isinstance(value, Mapping):
        named = [value.get(name) for name in ("known_as", "path", "url", "file_id", "voice_id") if value.get(name)]
        if named and set(value) <= {"path", "url", "file_id", "voice_id", "known_as", "sha256"}:
            return file_name(str(named[0])) or ""
        return ", ".join(f"{name}: {_words(part)}" for name, part in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_words, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def _of_type(value: object, kinds: tuple[type, ...]) -> object:
    """Return what a manifest says if it is of the type that it should be: people may edit cards."""
    fits = isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool))
    return value if fits and not (isinstance(value, float) and not isfinite(value)) else None


def _usd(ticks: int | None) -> str | None:
    return None if ticks is None else dollars(usd(ticks))


def _epoch(text: object) -> float | None:
    try:
        moment = pendulum.parse(text) if isinstance(text, str) else None
    except (ValueError, OverflowError):
        return None
    at = moment.timestamp() if isinstance(moment, pendulum.DateTime) else -1.0
    return at if 0 <= at < YEAR_10000 else None
