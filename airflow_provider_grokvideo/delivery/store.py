"""Storage of a checked video with its sidecar and poster.

Two task instances of one run that write to the same destination are nearly always a mapped task whose destination
lacks its map index. Each has paid for its video, so the later one is stored beside the earlier one. The sidecar has the
owner of a video; while a video is being written, a claim (``.<name>.claim``) has it, and other writers wait.

A poster is stored beside its video. A failure of the poster is logged and never fails the task.
"""

from __future__ import annotations

import hashlib
import json
import logging
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from airflow_provider_grokvideo.core.errors import DeliveryFailed
from airflow_provider_grokvideo.media import poster as posters
from airflow_provider_grokvideo.storage import destination
from airflow_provider_grokvideo.storage.destination import LARGEST_SIDECAR, Target, is_foreign
from airflow_provider_grokvideo.storage.names import hidden
from airflow_provider_grokvideo.storage.places import Place, reason, while_storing

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Stored:
    """URIs of the video, its sidecar and its poster, if there is one."""

    uri: str
    sidecar_uri: str
    poster_uri: str | None

    def addresses(self) -> dict[str, str | None]:
        """Return the URIs by their names in the manifest."""
        return asdict(self)


def store(
    source: Path | str,
    target: Target,
    *,
    sidecar: Mapping[str, Any],
    owner: Mapping[str, Any],
    poster: bytes | None = None,
    log: logging.Logger = _LOG,
) -> Stored:
    """Store a video, its sidecar and its poster, completely or not at all.

    The same request is delivered to the same name again. A video of another run is replaced, so that ``latest.mp4``
    works.

    Args:
        source: The video: a local file, or the name of an object in the target's directory.
        target: The target; a name beside it is used if another task instance of the same run has this one.
        sidecar: The record, with its :func:`identity`. URIs and owner are added.
        owner: ``dag_id``, ``run_id``, ``task_id``, ``map_index`` of the task instance.
        poster: The JPEG to store beside the video. Without one, the poster of an earlier delivery of the same request
            stays, and that of another request, whose video is replaced, is deleted.
        log: Gets a line if another name was used, or if a poster was not stored.

    Raises:
        DeliveryFailed: The storage failed.
        InvalidInput: The storage is not installed.
    """
    request_id = identity(sidecar)
    place = target.place()
    with while_storing(target.uri):
        place.prepare()
        with _claimed(place, target, request_id, owner) as free:
            chosen = target if free else target.beside(request_id)
            if not free:
                log.warning(
                    "%s, or the JSON file beside it, belongs to another task instance; storing %s instead. Add "
                    "{{ ti.map_index }} (or {{ ti.task_id }}) to destination",
                    target.uri,
                    chosen.uri,
                )
            _put(source, place, chosen)
            poster_uri = _put_poster(poster, place, chosen, request_id, log)
            stored = Stored(chosen.uri, chosen.sidecar_uri, poster_uri)
            place.write(chosen.sidecar_name, to_json({**sidecar, **stored.addresses(), "owner": dict(owner)}))
    return stored


def still_there(uri: str, size: int | None) -> bool:
    """Return whether a delivered video still exists with the same size.

    Raises:
        DeliveryFailed: The storage does not respond.
        InvalidInput: The storage is not installed.
    """
    to = destination.target(uri, default_name="video")
    with while_storing(uri):
        there = to.place().size(to.name)
    return there is not None and size in (None, there)


def found(to: Target, request_id: str) -> Mapping[str, Any] | None:
    """Return the sidecar of a request stored at a destination, or beside it; None if it is not complete.

    Raises:
        DeliveryFailed: The storage does not respond.
        InvalidInput: The storage is not installed.
    """
    with while_storing(to.uri):
        place = to.place()
        for each in (to, to.beside(request_id)):
            sidecar = _record(place, each.sidecar_name)
            if sidecar is not None and identity(sidecar) == request_id and "sidecar_uri" in sidecar:
                size = place.size(each.name)
                if size is not None and size == sidecar.get("bytes"):
                    return sidecar
    return None


def copied(uri: str, into: Path) -> tuple[str, int]:
    """Copy a delivered video into a local file; return its SHA-256 and its length.

    Raises:
        DeliveryFailed: The storage cannot read it.
    """
    to = destination.target(uri, default_name="video")
    digest, size = hashlib.sha256(), 0
    with while_storing(uri), to.place().open(to.name) as source, into.open("wb") as file:
        while chunk := source.read(1024 * 1024):
            file.write(chunk)
            digest.update(chunk)
            size += len(chunk)
    return digest.hexdigest(), size


def earlier_poster(uri: str | None, request_id: str) -> bytes | None:
    """Return the poster of an earlier delivery of a request; None if it is missing or cannot be read."""
    if not uri or not uri.endswith(destination.POSTER_SUFFIX):
        return None
    try:
        video = f"{uri.removesuffix(destination.POSTER_SUFFIX)}{destination.SUFFIX}"
        of = destination.target(video, default_name="video")
        place, name = of.place(), of.poster_name
        head = place.part(name, 0, posters.HEAD_BYTES)
        if posters.is_poster(head, request_id) and (place.size(name) or 0) <= posters.LARGEST_KEPT:
            return place.read(name)
    except Exception as error:  # noqa: BLE001 - storage raises what it likes, and no poster is worth a video
        _LOG.info("Could not copy the earlier poster %s: %s", uri, reason(error))
    return None


def identity(record: Mapping[str, Any]) -> str:
    """Return the identity of a request in sidecars, claims and posters: its id, or else its upload or its hash."""
    return str(record.get("request_id") or record.get("upload") or record.get("sha256"))


def whose(record: Mapping[str, Any] | None, request_id: str, owner: Mapping[str, Any]) -> Literal["free", "taken"]:
    """Return whether a name is free, given its record (a sidecar or a claim)."""
    if record is None or identity(record) == request_id:
        return "free"
    other = record.get("owner")
    if not isinstance(other, Mapping):
        return "free"
    same_run = all(other.get(key) == owner.get(key) for key in ("dag_id", "run_id"))
    same_task = all(other.get(key) == owner.get(key) for key in ("task_id", "map_index", "item"))
    return "taken" if same_run and not same_task else "free"


def to_json(record: Mapping[str, Any]) -> bytes:
    """Return a record as JSON: UTF-8, indented, sorted, with a newline at its end."""
    return f"{json.dumps(record, indent=2, sort_keys=True, ensure_ascii=False, default=str)}\n".encode()


CLAIM_LASTS = 300.0
"""Seconds after which the claim of another run counts as left by a dead worker. Uploads take less."""

_BETWEEN_CLAIMS = (0.05, 2.0)
"""Seconds between two checks of a claim, at first and at most."""


@contextmanager
def _claimed(place: Place, target: Target, request_id: str, owner: Mapping[str, Any]) -> Iterator[bool]:
    """Claim a name while writing to it; yield False if it belongs to another task instance.

    It waits for other claims, so that video and sidecar are of one request.

    Raises:
        DeliveryFailed: Another run took the claim meanwhile; both files must be written again.
    """
    name = target.claim_name
    mine = {"request_id": request_id, "owner": dict(owner), "claim": secrets.token_hex(8), "at": time.time()}
    if not _take_claim(place, name, mine, request_id, owner):
        yield False
        return
    try:
        # Read under the claim: whoever held it before has written its sidecar by then.
        content = place.read(target.sidecar_name)
        yield not is_foreign(content) and whose(_parsed(content), request_id, owner) == "free"
        held = _record(place, name)
        if held is not None and held.get("claim") != mine["claim"] and identity(held) != request_id:
            raise DeliveryFailed(f"another run stored to {target.uri} at the same time")
    finally:
        if (_record(place, name) or mine).get("claim") == mine["claim"]:
            place.remove(name)


def _take_claim(place: Place, name: str, mine: Mapping[str, Any], request_id: str, owner: Mapping[str, Any]) -> bool:
    """Write a claim, waiting for that of another run; return False where it is another task instance's of this run."""
    until, pause = time.monotonic() + CLAIM_LASTS, _BETWEEN_CLAIMS[0]
    while not place.create(name, to_json(mine)):
        held = _record(place, name)
        if whose(held, request_id, owner) == "taken":
            return False
        old = held is not None and not _is_recent(held.get("at"))
        if time.monotonic() > until:
            # The lock of a worker that died while it took over goes, too.
            place.remove(hidden(name, _TAKING))
            place.write(name, to_json(mine))
            return True
        # Left by an earlier try of this request, or by a worker that died.
        left = held is not None and (old or identity(held) == request_id)
        if left and _taken_over(place, name, held, mine):
            return True
        time.sleep(pause)
        pause = min(2 * pause, _BETWEEN_CLAIMS[1])
    return True


_TAKING = ".taking"


def _taken_over(place: Place, name: str, held: Mapping[str, Any] | None, mine: Mapping[str, Any]) -> bool:
    """Write over a claim that was left, unless another who waited was quicker."""
    lock = hidden(name, _TAKING)
    if not place.create(lock, b"{}"):
        return False
    try:
        if _record(place, name) != held:
            return False
        place.write(name, to_json(mine))
    finally:
        place.remove(lock)
    return True


def _is_recent(at: object) -> bool:
    return isinstance(at, int | float) and abs(time.time() - at) < CLAIM_LASTS


def _record(place: Place, name: str) -> Mapping[str, Any] | None:
    return _parsed(place.read(name))


def _parsed(content: bytes | None) -> Mapping[str, Any] | None:
    try:
        record = json.loads(content) if content is not None and len(content) <= LARGEST_SIDECAR else None
    except (ValueError, RecursionError):
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
        _LOG.info("%s was uploaded, but its size cannot be checked (%s)", target.uri, error)
        return
    if there != expected:
        place.remove(target.name)
        raise DeliveryFailed(f"{target.uri} has {there or 0} bytes after the upload instead of {expected}")


def _put_poster(jpeg: bytes | None, place: Place, target: Target, request_id: str, log: logging.Logger) -> str | None:
    """Store a poster beside its stored video; return its URI, None if there is none.

    A file of that name is replaced only if it is a poster of this provider.
    """
    name = target.poster_name
    try:
        if jpeg is not None and place.create(name, posters.marked(jpeg, request_id)):
            return target.poster_uri
        head = _head(place, name)
        if head is None:
            return None
        if not posters.is_poster(head):
            log.info("The video gets no poster: %s exists and is not a poster of this provider", target.poster_uri)
            return None
        if not posters.is_poster(head, request_id):
            # First, so that a failure to write the new one leaves no picture of another video.
            place.remove(name)
            if jpeg is None:
                return None
        if jpeg is not None:
            place.write(name, posters.marked(jpeg, request_id))
    except Exception as error:  # noqa: BLE001 - storage raises what it likes, and no poster is worth a video
        log.warning("Could not store the poster at %s: %s", target.poster_uri, reason(error))
        return None
    return target.poster_uri


def _head(place: Place, name: str) -> bytes | None:
    try:
        return place.part(name, 0, posters.HEAD_BYTES)
    except (FileNotFoundError, PermissionError):
        return None
