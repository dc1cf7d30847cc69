"""What a task instance remembers of what it bought, and what follows from it.

One :class:`Record` per purchase, oldest first. A record is written before the start is sent (``intent``), gets its
request id after it (``submitted``), and stays until the video is stored (``delivered``) or the service ended the
request otherwise (``ended``). A start that was provably not accepted is ``withdrawn`` and counts no more.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from decimal import Decimal, InvalidOperation
from typing import Any, Literal, get_args

from typing_extensions import assert_never

from airflow_provider_grokvideo.core.errors import JournalCorrupt, shorten

SCHEMA = 1

Phase = Literal["intent", "submitted", "delivered", "ended", "withdrawn"]
Outcome = Literal["failed", "moderated", "expired"]

OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)

ResubmitOn = Literal["failed", "moderated", "expired", "unconfirmed", "cleared"]
"""When a later try submits again: the last request ended so, it is not known whether it was accepted (``unconfirmed``),
or it has ended and the task was cleared since (``cleared``)."""
RESUBMIT_ON: tuple[ResubmitOn, ...] = get_args(ResubmitOn)

ADOPTED = "adopted by hand"
"""The note of a record that got its request id from a person."""

HOW_TO_CLEAR = (
    "Where Airflow offers 'keep task state' (3.4 and newer), keep it: else the clear discards a journal kept there."
)
"""What a clear has to heed from Airflow 3.4 on; a journal in files outlives every clear."""

ANY_INPUTS = "*"
"""The fingerprint of a record that a person made by hand, who knows the request and not what it was made from."""


@dataclass(frozen=True)
class Owner:
    """The task instance that a record belongs to; never the try, which changes with each retry.

    Attributes:
        dag_id: As in Airflow.
        run_id: As in Airflow.
        task_id: As in Airflow.
        map_index: As in Airflow; -1 for a task that is not mapped.
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: int = -1

    def __str__(self) -> str:
        mapped = "" if self.map_index < 0 else f"[{self.map_index}]"
        return f"{self.dag_id}.{self.task_id}{mapped} of {self.run_id}"

    def command(self, verb: str, *words: str, where: Sequence[str] = ()) -> str:
        """Return the shell command that runs `verb` on this task instance's journal."""
        start = ["grokvideo", "journal", verb]
        ids = [self.dag_id, self.run_id, self.task_id]
        mapped = [] if self.map_index < 0 else ["--map-index", str(self.map_index)]
        # A word in angle brackets is for the reader to fill in, so it stays as it is.
        given = [word if word.startswith("<") else shlex.quote(word) for word in words if not word.startswith("--")]
        options = [*(word for word in words if word.startswith("--")), *mapped, *where]
        if any(word.startswith("-") for word in (*ids, *given)):
            # Airflow's ids may begin with a dash: behind -- they are no options.
            return " ".join([shlex.join([*start, *options, "--", *ids]), *given])
        return " ".join([shlex.join([*start, *ids]), *given, *map(shlex.quote, options)])


@dataclass(frozen=True)
class Record:
    """One purchase of one task instance.

    Attributes:
        owner: Whose it is.
        number: Which purchase of its owner, from 1.
        token: Made anew by the try that wrote the intent, to tell its own record from another's.
        phase: ``intent`` (may have been sent), ``submitted`` (accepted), ``delivered`` (the owner has handed it on),
            ``ended`` (failed or moderated), ``withdrawn`` (provably not accepted, or forgotten by a person).
        fingerprint: SHA-256 of the request, files by their content; decides whether a record is about the same inputs.
        asked: SHA-256 of the arguments as they were given, files by their path; used where a file can no longer be
            read.
        intended_at: Epoch seconds when the intent was written.
        try_number: The try that wrote the intent.
        tries: Airflow's ``max_tries`` when the last that is known of it was written down; a clear raises it and a retry
            does not, so that a clear since then can be told.
        mode: Mode of the request.
        clears: How often Airflow had cleared the run (its ``clear_number``) when the intent was written.
        model: Model that was asked for.
        conn_id: Connection that pays.
        estimated_usd: What it should cost, in dollars, as text.
        destination: Where the video should go, as rendered.
        upload_uri: Object that the service was told to upload to.
        stored_as: Name, of this purchase alone, under which the service was told to store the video.
        waits_elsewhere: The task only submits; a sensor waits.
        request_id: The service's id, once it is known.
        submitted_at: Epoch seconds when it was known.
        outcome: How the request ended, if not with a video. ``expired`` keeps the phase ``submitted``: with the key of
            the right account the request may be there again.
        code: The service's code for it.
        cost_usd: What was billed, in dollars, as text, where the service said so.
        note: One line for people: why it is unconfirmed, why it was withdrawn, how it ended.
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
    code: str | None = None
    cost_usd: str | None = None
    note: str | None = None
    manifest: Mapping[str, Any] | None = None

    @property
    def is_orphan(self) -> bool:
        """Whether money may be in it that nobody holds in hands: no id, or an id and no video."""
        if self.phase == "intent":
            return True
        return self.phase == "submitted" and not self.waits_elsewhere

    @property
    def has_witness(self) -> bool:
        """Whether something can prove that the request was accepted where nobody knows its id."""
        return self.upload_uri is not None or self.stored_as is not None

    @property
    def estimate(self) -> Decimal | None:
        """The estimate as a number."""
        return None if self.estimated_usd is None else Decimal(self.estimated_usd)

    def to_json(self) -> dict[str, Any]:
        """Return the record as plain JSON, stamped with its schema version."""
        flat = asdict(self)
        return {
            "schema": SCHEMA,
            **flat.pop("owner"),
            **{name: value for name, value in flat.items() if value is not None},
        }


@dataclass(frozen=True)
class Policy:
    """What the user wants where an earlier purchase is found.

    Attributes:
        resubmit_on: What lets the next try submit again, see :data:`RESUBMIT_ON`.
        tries: Airflow's ``max_tries`` now, to tell a clear from a retry.
    """

    resubmit_on: Collection[ResubmitOn] = field(default=())
    tries: int | None = None


@dataclass(frozen=True)
class Submit:
    """Buy; nothing of the same inputs is under way or at hand."""


@dataclass(frozen=True)
class Attach:
    """The request is known: look at it, wait for it, deliver it. Free."""

    record: Record


@dataclass(frozen=True)
class Ambiguous:
    """A start may have been accepted and nobody knows its id: a person decides."""

    record: Record


@dataclass(frozen=True)
class Reuse:
    """The video was delivered: hand its manifest over if the file is still there. Free."""

    record: Record


@dataclass(frozen=True)
class Report:
    """The request ended without a video: say so again. Free."""

    record: Record


Step = Submit | Attach | Ambiguous | Reuse | Report


def latest(records: Sequence[Record], fingerprint: str) -> Record | None:
    """Return the purchase of these inputs that a try has to go on with, or None.

    It is the last one that counts. Only where that is unconfirmed and an earlier one is known to be under way, as when
    the answer to a start came after another try had sent it again, the known one comes first. One that was handed on to
    be waited for elsewhere does not: a clear can be meant to buy another, and that is what is unconfirmed then.
    """
    same = [r for r in records if r.fingerprint in (fingerprint, ANY_INPUTS) and r.phase != "withdrawn"]
    if not same:
        return None
    handed_on = [r for r in same if r.waits_elsewhere and r.manifest is not None]
    under_way = [r for r in same if r.phase == "submitted" and r.outcome is None and r not in handed_on]
    return under_way[-1] if same[-1].phase == "intent" and under_way else same[-1]


def next_step(record: Record | None, fingerprint: str, policy: Policy) -> Step:
    """Say what a try has to do, given the last purchase of its task instance.

    Args:
        record: From :func:`latest`; None if there is none.
        fingerprint: Of the request that the try would make. Other inputs are another request: map index and names
            alone do not make it the same.
        policy: What the user wants.
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
    """Say whether a record may be written over what stands in its place, which another one may have written.

    What was read before may be changed in any way. What came in between gives way only to more knowledge: a request id
    where there is none, or a later phase of the same request. So no late word of a slow try, and no ``withdrawn``,
    covers an id that it has not seen.

    Args:
        there: What stands there now; None if nothing does.
        read: What the writer has read there, or written, last.
        now: What is to be written.
    """
    if there is None or there in (read, now):
        return True
    if now.request_id is None or now.phase == "withdrawn":
        return False
    if there.request_id == now.request_id:
        return there.phase == "withdrawn" or _ORDER[now.phase] >= _ORDER[there.phase]
    # The answer of the service beats the word of a person, and not the other way round.
    return there.request_id is None or now.note != ADOPTED


def elsewhere(
    own: Sequence[Record], others: Sequence[Sequence[Record]], fingerprint: str, *, clears: int | None = None
) -> list[Record]:
    """Return the purchases of other map indexes that these inputs belong to, after a mapped list changed; best first.

    Two map indexes that were given the same inputs on purpose are two purchases. So another one's is only used where
    the list may have changed: this index had other inputs before, the other one has others by now, or this index is
    new and the run was cleared since, or it is not known whether it was. An index that the other one has left comes
    first. Both indexes may want the inputs still; then one video serves both until the next clear.

    An ``intent`` is returned only where nothing better is there, for the caller to stop: it may be under way, and then
    its own index writes down what becomes of it.

    Args:
        own: The records of this map index.
        others: The records of each other one.
        fingerprint: Of the inputs that this map index has now.
        clears: How often the run was cleared; None if that is not known.
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
    """Return the records of a whole journal in which money may be that nobody holds in hands.

    A purchase that several map indexes hold is none once one of them has its end.
    """
    settled = {each.token for each in records if each.phase in ("delivered", "ended")}
    return [each for each in records if each.is_orphan and each.token not in settled]


def left_behind(records: Sequence[Record], fingerprint: str) -> list[Record]:
    """Return the purchases of other inputs that may hold a paid video which nobody fetched."""
    return [r for r in records if r.is_orphan and r.fingerprint not in (fingerprint, ANY_INPUTS)]


def upload_token(owner: Owner, fingerprint: str, number: int) -> str:
    """Return what makes the name of an upload this purchase's alone, and the same in every try."""
    text = json.dumps([owner.dag_id, owner.run_id, owner.task_id, owner.map_index, fingerprint, number])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def parse(value: object, owner: Owner | None = None) -> Record:
    """Read a record back.

    Args:
        value: Parsed JSON.
        owner: Whose it has to be.

    Raises:
        JournalCorrupt: It is no record, of another schema, or somebody else's.
    """
    if not isinstance(value, Mapping):
        raise JournalCorrupt(f"a journal record is not an object: {shorten(value)}")
    schema = value.get("schema")
    if type(schema) is not int or schema != SCHEMA:
        newer = isinstance(schema, int) and schema > SCHEMA
        hint = "; it was written by a newer version of this provider" if newer else ""
        raise JournalCorrupt(f"a journal record has schema {shorten(schema)}, this version reads {SCHEMA}{hint}")
    found: dict[str, Any] = {name: value[name] for name in _TYPES if value.get(name) is not None}
    for name in _TYPES:
        if not (_is_sound(name, found[name]) if name in found else name not in _NEEDED):
            raise JournalCorrupt(f"a journal record has {name}={shorten(value.get(name))}")
    for name, allowed in (("phase", get_args(Phase)), ("outcome", (None, *OUTCOMES))):
        if found.get(name) not in allowed:
            raise JournalCorrupt(
                f"a journal record has {name}={shorten(found[name])}, which this version does not know"
            )
    known = found.get("request_id") or (
        found["phase"] == "delivered" and (found.get("upload_uri") or found.get("stored_as"))
    )
    if found["phase"] in ("submitted", "delivered", "ended") and not known:
        raise JournalCorrupt(f"a journal record says {found['phase']} and names no request")
    whose = Owner(**{name: found.pop(name) for name in ("dag_id", "run_id", "task_id", "map_index")})
    if owner is not None and whose != owner:
        raise JournalCorrupt(f"a journal record of {whose} stands where those of {owner} are")
    return Record(owner=whose, **found)


_ORDER: dict[Phase, int] = {"withdrawn": 0, "intent": 1, "submitted": 2, "ended": 3, "delivered": 4}
"""How much is known in a phase."""

_NEEDED = frozenset({
    "dag_id", "run_id", "task_id", "map_index", "number", "token", "phase", "fingerprint", "asked", "intended_at",
})  # fmt: skip

_TYPES: dict[str, tuple[type, ...]] = {
    "dag_id": (str,),
    "run_id": (str,),
    "task_id": (str,),
    "map_index": (int,),
    **{each.name: (str,) for each in fields(Record) if each.name != "owner"},
    **dict.fromkeys(("number", "try_number", "tries", "clears"), (int,)),
    **dict.fromkeys(("intended_at", "submitted_at"), (int, float)),
    "waits_elsewhere": (bool,),
    "manifest": (Mapping,),
}

_LEAST = {"map_index": -1, "number": 1}
_DOLLARS = frozenset({"estimated_usd", "cost_usd"})
_YEAR_10000 = 253_402_300_800


def _is_sound(name: str, part: Any) -> bool:
    """Say whether a value may stand under a name: of the right type, and a number that can be counted with."""
    kinds = _TYPES[name]
    typed = isinstance(part, kinds) and (bool in kinds or not isinstance(part, bool))
    if typed and name in _LEAST:
        return bool(part >= _LEAST[name])
    if typed and float in kinds:
        return bool(0 <= part < _YEAR_10000)
    return typed and (name not in _DOLLARS or _is_finite(part))


def _is_finite(text: str) -> bool:
    try:
        return Decimal(text).is_finite()
    except InvalidOperation:
        return False


def _cleared_since(record: Record, policy: Policy) -> bool:
    return record.tries is not None and policy.tries is not None and record.tries != policy.tries
