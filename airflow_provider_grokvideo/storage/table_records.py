"""Record beside a result table: which task instance wrote it, and the digest of what it wrote.

A result table does not say whose it is. The page in Airflow's UI shows a table only with this record: its address comes
from a card, which users may edit.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from airflow_provider_grokvideo.core.purchases.records import Owner
from airflow_provider_grokvideo.storage.names import hidden
from airflow_provider_grokvideo.storage.places import Place

SCHEMA = 1

_SUFFIX = ".owner"
_PIECE = 1024 * 1024


@dataclass(frozen=True)
class TableRecord:
    """What is known about a result table without reading it.

    Attributes:
        owner: The task instance that wrote it.
        sha256: Digest of its content.
        bytes: Size of its content.
    """

    owner: Owner
    sha256: str
    bytes: int


def record_name(table: str) -> str:
    """Return the name of the record of a table."""
    return hidden(table, _SUFFIX)


def write_record(place: Place, name: str, table: Path, owner: Owner) -> None:
    """Store the record of a table; `table` is a local copy of its content."""
    with table.open("rb") as file:
        sha256, size = digest_of(file)
    told = {"schema": SCHEMA, "owner": owner.whole.words(), "sha256": sha256, "bytes": size}
    place.write(record_name(name), json.dumps(told).encode())


def read_record(place: Place, name: str) -> TableRecord | None:
    """Return the record of a table; None if there is none, or it is invalid."""
    try:
        told = json.loads(place.read(record_name(name)) or b"null")
        if not isinstance(told, Mapping) or told.get("schema") != SCHEMA:
            return None
        who = told["owner"]
        owner = Owner(str(who["dag_id"]), str(who["run_id"]), str(who["task_id"]), int(who["map_index"]))
        return TableRecord(owner, str(told["sha256"]), int(told["bytes"]))
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def digest_of(file: IO[bytes]) -> tuple[str, int]:
    """Return the SHA-256 and the size of a file."""
    digest, size = hashlib.sha256(), 0
    while piece := file.read(_PIECE):
        digest.update(piece)
        size += len(piece)
    return digest.hexdigest(), size
