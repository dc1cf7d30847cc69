"""Journal records of the purchases of one task instance or one row of it, and the next step of a try.

One :class:`Record` per purchase, oldest first. A record is written before the request is submitted (``intent``), gets
its request id after that (``submitted``), and ends when the video is stored (``delivered``) or when the request ended
without one (``ended``). A submission that was provably not accepted is ``withdrawn`` and no longer counts.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from decimal import Decimal
from typing import Any, Literal, get_args

from typing_extensions import assert_never

SCHEMA = 1

Phase = Literal["intent", "submitted", "delivered", "ended", "withdrawn"]
Outcome = Literal["failed", "moderated", "expired"]

OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)

ResubmitOn = Literal["failed", "moderated", "expired", "unconfirmed", "cleared"]
"""When a later try submits again: the last request ended this way, its submission is ``unconfirmed``, or it has ended
and the task was cleared since (``cleared``)."""
RESUBMIT_ON: tuple[ResubmitOn, ...] = get_args(ResubmitOn)

ADOPTED = "adopted by hand"
"""Note of a record whose request id you have set with ``grokvideo journal adopt``."""

HOW_TO_CLEAR = (
    "On Airflow 3.4 and newer choose 'keep task state': otherwise the clear deletes a journal in the task state store."
)
"""Advice about clearing a task on Airflow 3.4 and newer; a journal in files survives every clear."""

LONGEST_ITEM = 250
"""The most characters of a row's id: what the SQL tables hold."""

ANY_INPUTS = "*"
"""Fingerprint of an adopted record, whose inputs are not known."""


@dataclass(frozen=True)
class Owner:
    """The task instance that a record belongs to, without the try number, which changes with each retry.

    Attributes:
        dag_id: As in Airflow.
        run_id: As in Airflow.
        task_id: As in Airflow.
        map_index: As in Airflow; -1 for a task that is not mapped.
        item: Id of the row, for a task that buys a table of videos; None for a task with one video.
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: int = -1
    item: str | None = None

    def __str__(self) -> str:
        return f"{self.dag_id}.{self.task} of {self.run_id}"

    @property
    def task(self) -> str:
        """The task within its run, with its map index and row."""
        mapped = "" if self.map_index < 0 else f"[{self.map_index}]"
        row = "" if self.item is None else f" row {self.item!r}"
        return f"{self.task_id}{mapped}{row}"

    @property
    def whole(self) -> Owner:
        """The task instance without the row."""
        return self if self.item is None else replace(self, item=None)

    def words(self) -> dict[str, Any]:
        """Return the fields by name, the row only if there is one."""
        named = {each.name: getattr(self, each.name) for each in fields(self)}
        return named if self.item is not None else {name: named[name] for name in named if name != "item"}

    def command(self, verb: str, *arguments: str, where: Sequence[str] = ()) -> str:
        """Return the shell command that runs `verb` on this task instance's journal."""
        start = ["grokvideo", "journal", verb]
        ids = [self.dag_id, self.run_id, self.task_id]
        mapped = [] if self.map_index < 0 else ["--map-index", str(self.map_index)]
        if self.item is not None:
            # Behind the equals sign a leading dash is no option.
            mapped += [f"--item={self.item}"] if self.item.startswith("-") else ["--item", self.item]
        # A placeholder in angle brackets is for the reader to replace, so it is not quoted.
        given = [word if word.startswith("<") else shlex.quote(word) for word in arguments if not word.startswith("--")]
        options = [*(word for word in arguments if word.startswith("--")), *mapped, *where]
        if any(word.startswith("-") for word in (*ids, *given)):
            # Airflow's ids may begin with a dash: behind -- they are no options.
            return " ".join([shlex.join([*start, *options, "--", *ids]), *given])
        return " ".join([shlex.join([*start, *ids]), *given, *map(shlex.quote, options)])


@dataclass(frozen=True)
class Record:
    """One purchase of one task instance.

    Attributes:
        owner: Task instance of the purchase.
        number: Number of the purchase within its task instance, from 1.
        token: Random id from the try that wrote the intent; identifies its own record.
        phase: ``intent`` (may have been sent), ``submitted`` (accepted), ``delivered`` (returned by the task),
            ``ended`` (failed or moderated), ``withdrawn`` (provably not accepted, or forgotten by ``journal forget``).
        fingerprint: SHA-256 of the request, files by their content; equal for equal inputs.
        asked: SHA-256 of the arguments as given, files by their path; used when a file can no longer be read.
        intended_at: Epoch seconds when the intent was written.
        try_number: The try that wrote the intent.
        tries: Airflow's ``max_tries`` when the record was last written; a clear raises it and a retry does not, so a
            difference shows a clear.
        mode: Mode of the request.
        clears: How often Airflow had cleared the run (its ``clear_number``) when the intent was written.
        model: Requested model.
        conn_id: Connection whose account pays.
        estimated_usd: Estimated price in dollars, as text.
        destination: Rendered destination of the video.
        upload_uri: Object that xAI uploads the video to.
        stored_as: Unique name under which xAI stores the video.
        waits_elsewhere: The task only submits; a sensor waits.
        request_id: xAI's id of the request, once known.
        submitted_at: Epoch seconds when the request id became known.
        outcome: How the request ended without a video. ``expired`` keeps the phase ``submitted``: the API key of the
            right account may still find the request.
        closed_in: The try that saw its end without a video (failed, moderated, expired).
        code: xAI's error code.
        cost_usd: Billed amount in dollars, as text, once known.
        note: One line of explanation: why it is unconfirmed, why it was withdrawn, how it ended.
        manifest: The result of the task, once there is one.
    """

    owner: Owner
    number: int
    token: str
    phase: Phase
    fingerprint: str
    asked: str
    intended_at: float
    try_number: int | None = None
    tries: int | None = None
    clears: int | None = None
    mode: str | None = None
    model: str | None = None
    conn_id: str | None = None
    estimated_usd: str | None = None
    destination: str | None = None
    upload_uri: str | None = None
    stored_as: str | None = None
    waits_elsewhere: bool = False
    request_id: str | None = None
    submitted_at: float | None = None
    outcome: Outcome | None = None
    closed_in: int | None = None
    code: str | None = None
    cost_usd: str | None = None
    note: str | None = None
    manifest: Mapping[str, Any] | None = None

    @property
    def is_orphan(self) -> bool:
        """Whether it may have been paid for without a video: it has no request id, or a request id and no video."""
        if self.phase == "intent":
            return True
        return self.phase == "submitted" and not self.waits_elsewhere

    @property
    def has_witness(self) -> bool:
        """Whether an upload or a stored file can prove that a request without a known id was accepted."""
        return self.upload_uri is not None or self.stored_as is not None

    @property
    def sent_at(self) -> float | None:
        """Epoch seconds of the submit, as far as it is known."""
        return self.submitted_at if self.submitted_at is not None else self.intended_at or None

    @property
    def estimate(self) -> Decimal | None:
        """The estimate as a number."""
        return None if self.estimated_usd is None else Decimal(self.estimated_usd)

    def to_json(self) -> dict[str, Any]:
        """Return the record as plain JSON, stamped with its schema version."""
        flat = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "owner"}
        return {
            "schema": SCHEMA,
            **self.owner.words(),
            **{name: value for name, value in flat.items() if value is not None},
        }


NOT_WRITTEN = 0
"""The number of a purchase that no journal holds."""


def unwritten(owner: Owner, request_id: str | None, submitted_at: float | None, **facts: Any) -> Record:
    """Return a purchase that no journal holds, from what else is known of it."""
    token = f"request {request_id}"[:64]
    return Record(
        owner, NOT_WRITTEN, token, "submitted", ANY_INPUTS, ANY_INPUTS, submitted_at or 0.0,
        request_id=request_id, submitted_at=submitted_at, **facts,
    )  # fmt: skip


@dataclass(frozen=True)
class Policy:
    """How the task treats an earlier purchase.

    Attributes:
        resubmit_on: When the next try submits again, see :data:`RESUBMIT_ON`.
        tries: Airflow's ``max_tries`` now, to tell a clear from a retry.
    """

    resubmit_on: Collection[ResubmitOn] = field(default=())
    tries: int | None = None


@dataclass(frozen=True)
class Submit:
    """Submit: there is no earlier purchase of the same inputs."""


@dataclass(frozen=True)
class Attach:
    """Resume a known request: poll it and deliver its video. No new charge."""

    record: Record


@dataclass(frozen=True)
class Ambiguous:
    """Stop: the submission is unconfirmed, and you decide with ``journal adopt`` or ``journal forget``."""

    record: Record


@dataclass(frozen=True)
class Reuse:
    """Return the manifest of a delivered video if its file still exists. No new charge."""

    record: Record


@dataclass(frozen=True)
class Report:
    """Fail again with the outcome of a request that ended without a video. No new charge."""

    record: Record


Step = Submit | Attach | Ambiguous | Reuse | Report


def latest(records: Sequence[Record], fingerprint: str) -> Record | None:
    """Return the purchase of these inputs that a try resumes, or None.

    The last one counts. If it is unconfirmed and an earlier request is still running, the running one counts: its
    response arrived after another try had submitted again. A request that was handed to a sensor does not count here: a
    clear may be meant to submit again, and that submission is the unconfirmed one.
    """
    same = [r for r in records if r.fingerprint in (fingerprint, ANY_INPUTS) and r.phase != "withdrawn"]
    if not same:
        return None
    handed_on = [r for r in same if r.waits_elsewhere and r.manifest is not None]
    under_way = [r for r in same if r.phase == "submitted" and r.outcome is None and r not in handed_on]
    return under_way[-1] if same[-1].phase == "intent" and under_way else same[-1]


def next_step(record: Record | None, fingerprint: str, policy: Policy) -> Step:
    """Return the next step of a try, given the last purchase of its task instance.

    Args:
        record: From :func:`latest`; None if there is none.
        fingerprint: Fingerprint of the try's own request. Other inputs are another request, even for the same map
            index.
        policy: How the task treats an earlier purchase.
    """
    if record is None or record.phase == "withdrawn" or record.fingerprint not in (fingerprint, ANY_INPUTS):
        return Submit()
    again = "cleared" in policy.resubmit_on and _cleared_since(record, policy)
    match record.phase:
        case "intent":
            return Submit() if "unconfirmed" in policy.resubmit_on else Ambiguous(record)
        case "submitted":
            done_with = again and record.waits_elsewhere and record.manifest is not None
            return Submit() if done_with or record.outcome in policy.resubmit_on else Attach(record)
        case "delivered":
            return Submit() if again else Reuse(record)
        case "ended":
            return Submit() if again or record.outcome in policy.resubmit_on else Report(record)
        case _:
            assert_never(record.phase)


def may_replace(there: Record | None, read: Record | None, now: Record) -> bool:
    """Return whether a record may replace the stored one, which another process may have written.

    A record that the writer has read may be replaced by any other. A record that it has not read is only replaced by
    more knowledge: a request id where there is none, or a later phase of the same request. So a slow try, or a
    ``withdrawn``, never hides a request id that it has not seen.

    Args:
        there: The stored record; None if there is none.
        read: The record that the writer last read or wrote there.
        now: The new record.
    """
    if there is None or there in (read, now):
        return True
    if now.request_id is None or now.phase == "withdrawn":
        return False
    if there.request_id == now.request_id:
        return there.phase == "withdrawn" or _ORDER[now.phase] >= _ORDER[there.phase]
    # The service's response replaces an adopted id, never the reverse.
    return there.request_id is None or now.note != ADOPTED


def elsewhere(
    own: Sequence[Record], others: Sequence[Sequence[Record]], fingerprint: str, *, clears: int | None = None
) -> list[Record]:
    """Return the purchases of other map indexes with these inputs, after a mapped list changed; best first.

    Two map indexes with the same inputs are two purchases. Another index's purchase is only used if the list may have
    changed: this index had other inputs before, the other index has other inputs now, or this index is new and the run
    was cleared since (or that is unknown). A purchase that the other index no longer needs comes first. If both indexes
    still have the inputs, one video serves both until the next clear.

    An ``intent`` comes last, and the caller stops at it: its own index may still be submitting it.

    Args:
        own: Records of this map index.
        others: Records of each other map index.
        fingerprint: Fingerprint of this map index's current inputs.
        clears: How often the run was cleared; None if unknown.
    """
    moved = any(record.fingerprint not in (fingerprint, ANY_INPUTS) for record in own)
    forgotten = {record.request_id for record in own if record.phase == "withdrawn" and record.request_id}
    found: list[tuple[int, Record]] = []
    for records in others:
        last = next((r for r in reversed(records) if r.fingerprint == fingerprint and r.phase != "withdrawn"), None)
        if last is None or last.request_id in forgotten:
            continue
        left = records[-1].fingerprint != fingerprint
        known = None not in (clears, last.clears)
        renewed = not own and (clears != last.clears if known else last.phase != "intent")
        if moved or left or renewed:
            found.append((2 if last.phase == "intent" else 0 if left else 1, last))
    return [record for _, record in sorted(found, key=lambda pair: pair[0])]


def orphans(records: Sequence[Record]) -> list[Record]:
    """Return the orphans of a whole journal: purchases that may have been paid for without a delivered video.

    A purchase that several map indexes share is no orphan once it has ended for one of them.
    """
    settled = {each.token for each in records if each.phase in ("delivered", "ended")}
    return [each for each in records if each.is_orphan and each.token not in settled]


def left_behind(records: Sequence[Record], fingerprint: str) -> list[Record]:
    """Return the purchases of other inputs that may have a paid video which was never delivered."""
    return [r for r in records if r.is_orphan and r.fingerprint not in (fingerprint, ANY_INPUTS)]


def upload_token(owner: Owner, fingerprint: str, number: int) -> str:
    """Return the part of an upload's name that is unique to this purchase and equal in every try."""
    named = [owner.dag_id, owner.run_id, owner.task_id, owner.map_index, fingerprint, number]
    text = json.dumps(named if owner.item is None else [*named, owner.item])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


_ORDER: dict[Phase, int] = {"withdrawn": 0, "intent": 1, "submitted": 2, "ended": 3, "delivered": 4}
"""Order of the phases; a later one knows more."""


def _cleared_since(record: Record, policy: Policy) -> bool:
    return record.tries is not None and policy.tries is not None and record.tries != policy.tries
