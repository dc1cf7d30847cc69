"""Stored records of the journal: parsing of their JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from decimal import Decimal, InvalidOperation
from typing import Any, get_args

from airflow_provider_grokvideo.core.errors import JournalCorrupt, shorten
from airflow_provider_grokvideo.core.purchases.records import OUTCOMES, SCHEMA, Owner, Phase, Record


def parse(value: object, owner: Owner | None = None) -> Record:
    """Read a record back.

    Args:
        value: Parsed JSON.
        owner: Expected task instance; None accepts any.

    Raises:
        JournalCorrupt: It is not a record, has another schema, or belongs to another task instance.
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
            raise JournalCorrupt(f"a journal record has the invalid value {name}={shorten(value.get(name))}")
    for name, allowed in (("phase", get_args(Phase)), ("outcome", (None, *OUTCOMES))):
        if found.get(name) not in allowed:
            raise JournalCorrupt(f"a journal record has the unknown value {name}={shorten(found[name])}")
    known = found.get("request_id") or (
        found["phase"] == "delivered" and (found.get("upload_uri") or found.get("stored_as"))
    )
    if found["phase"] in ("submitted", "delivered", "ended") and not known:
        raise JournalCorrupt(f"a journal record has phase={found['phase']} but no request_id")
    whose = Owner(**{each.name: found.pop(each.name) for each in fields(Owner) if each.name in found})
    if owner is not None and whose != owner:
        raise JournalCorrupt(f"found a journal record of {whose} among the records of {owner}")
    return Record(owner=whose, **found)


def of_task(record: Record, owner: Owner) -> Record:
    """Return a record that was found among those of a task instance and its rows.

    Raises:
        JournalCorrupt: It belongs to another task instance.
    """
    if record.owner.whole != owner.whole:
        raise JournalCorrupt(f"found a journal record of {record.owner} among the records of {owner.whole}")
    return record


_NEEDED = frozenset({
    "dag_id", "run_id", "task_id", "map_index", "number", "token", "phase", "fingerprint", "asked", "intended_at",
})  # fmt: skip

_TYPES: dict[str, tuple[type, ...]] = {
    "dag_id": (str,),
    "run_id": (str,),
    "task_id": (str,),
    "map_index": (int,),
    "item": (str,),
    **{each.name: (str,) for each in fields(Record) if each.name != "owner"},
    **dict.fromkeys(("number", "try_number", "tries", "clears", "closed_in"), (int,)),
    **dict.fromkeys(("intended_at", "submitted_at"), (int, float)),
    "waits_elsewhere": (bool,),
    "manifest": (Mapping,),
}

_LEAST = {"map_index": -1, "number": 1}
_DOLLARS = frozenset({"estimated_usd", "cost_usd"})
_YEAR_10000 = 253_402_300_800


def _is_sound(name: str, part: Any) -> bool:
    """Return whether a value is valid for a field: of the right type, and a finite number in range."""
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
