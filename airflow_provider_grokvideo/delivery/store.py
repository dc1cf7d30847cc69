"""From a checked local file to its destination, with the record of what it is beside it.

Two task instances of one run that write to the same destination are nearly always a mapped task whose destination
lacks its map index. Each has paid for its video, so the later one is put beside the earlier one. The sidecar says
whose video is there; while a video is on its way, a claim (``.<name>.claim``) says so.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from airflow_provider_grokvideo.core.errors import DeliveryFailed
from airflow_provider_grokvideo.delivery import destination
from airflow_provider_grokvideo.delivery.destination import Target
from airflow_provider_grokvideo.delivery.places import Place, while_storing

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Stored:
    """Where the video and its sidecar are."""

    uri: str
    sidecar_uri: str


def store(
    source: Path | str,
    target: Target,
    *,
    sidecar: Mapping[str, Any],
    owner: Mapping[str, Any],
    log: logging.Logger = _LOG,
) -> Stored:
    """Put a video and its sidecar to their destination, whole or not at all.

    The same request is delivered to the same name again. A video of another run is replaced: a ``latest.mp4`` is a
    legitimate wish.

    Args:
        source: The video: a local file, or the name of an object in the target's directory.
        target: Where to; a name beside it is taken if that one is another task instance's of the same run.
        sidecar: What to record, with its ``request_id`` or, where nobody knows that, its ``upload``; where it is and
            whose it is are added.
        owner: ``dag_id``, ``run_id``, ``task_id``, ``map_index`` of the task instance.
        log: Told when another name had to be taken.

    Raises:
        DeliveryFailed: The storage did not take it.
        InvalidInput: There is no such storage here.
    """
    request_id = str(sidecar["request_id"] or sidecar["upload"])
    place = target.place()
    with while_storing(target.uri):
        place.prepare()
        with _claimed(place, target, request_id, owner) as free:
            chosen = target if free else target.beside(request_id)
            if not free:
                log.warning(
                    "%s holds another task instance's video of this run; storing %s instead. Put "
                    "{{ ti.map_index }} (or {{ ti.task_id }}) into destination",
                    target.uri,
                    chosen.uri,
                )
            _put(source, place, chosen)
            record = {**sidecar, "uri": chosen.uri, "sidecar_uri": chosen.sidecar_uri, "owner": dict(owner)}
            place.write(chosen.sidecar_name, to_json(record))
    return Stored(chosen.uri, chosen.sidecar_uri)


def still_there(uri: str, size: int | None) -> bool:
    """Say whether a delivered video is where it was put, as long as it was.

    Raises:
        DeliveryFailed: The storage does not answer.
        InvalidInput: There is no such storage here.
    """
    to = destination.target(uri, default_name="video")
    with while_storing(uri):
        there = to.place().size(to.name)
    return there is not None and size in (None, there)


def copied(uri: str, into: Path) -> tuple[str, int]:
    """Copy a delivered video into a local file; return its SHA-256 and its length.

    Raises:
        DeliveryFailed: The storage does not give it back.
    """
    to = destination.target(uri, default_name="video")
    digest, size = hashlib.sha256(), 0
    with while_storing(uri), to.place().open(to.name) as source, into.open("wb") as file:
        while chunk := source.read(1024 * 1024):
            file.write(chunk)
            digest.update(chunk)
            size += len(chunk)
    return digest.hexdigest(), size


def whose(record: Mapping[str, Any] | None, request_id: str, owner: Mapping[str, Any]) -> Literal["free", "taken"]:
    """Say whether a name may be written to, given the record found there (a sidecar or a claim)."""
    if record is None or (record.get("request_id") or record.get("upload")) == request_id:
        return "free"
    other = record.get("owner")
    if not isinstance(other, Mapping):
        return "free"
    same_run = all(other.get(key) == owner.get(key) for key in ("dag_id", "run_id"))
    same_task = all(other.get(key) == owner.get(key) for key in ("task_id", "map_index"))
    return "taken" if same_run and not same_task else "free"


def to_json(record: Mapping[str, Any]) -> bytes:
    """Return a record as a file: UTF-8, indented, sorted, with a newline at its end."""
    return f"{json.dumps(record, indent=2, sort_keys=True, ensure_ascii=False, default=str)}\n".encode()


@contextmanager
def _claimed(place: Place, target: Target, request_id: str, owner: Mapping[str, Any]) -> Iterator[bool]:
    """Claim a name while writing to it; yield False if it is another task instance's."""
    name = f".{target.name}.claim"
    claim = to_json({"request_id": request_id, "owner": dict(owner)})
    if not place.create(name, claim):
        if whose(_record(place, name), request_id, owner) == "taken":
            yield False
            return
        # Left by an earlier try that was killed, or by another run.
        place.write(name, claim)
    try:
        # Looked at under the claim: whoever held it before has written its sidecar by then.
        yield whose(_record(place, target.sidecar_name), request_id, owner) == "free"
    finally:
        place.remove(name)


def _record(place: Place, name: str) -> Mapping[str, Any] | None:
    content = place.read(name)
    try:
        record = json.loads(content) if content is not None else None
    except ValueError:
        return None
    return record if isinstance(record, Mapping) else None


def _put(source: Path | str, place: Place, target: Target) -> None:
    if isinstance(source, str):
        expected = place.size(source) or 0
        place.copy(source, target.name)
    else:
        expected = source.stat().st_size
        place.put(source, target.name)
    try:
        there = place.size(target.name)
    except PermissionError as error:
        # An account that may write but not look; the storage itself has checked the upload.
        _LOG.info("%s was uploaded and cannot be looked at (%s)", target.uri, error)
        return
    if there != expected:
        place.remove(target.name)
        raise DeliveryFailed(f"{target.uri} has {there or 0} bytes after the upload instead of {expected}")
