"""Videos, posters and sidecars for users who may see their DAG.

A card has the address of a video, but users may edit cards. So a file is only served if its sidecar names the same
request and a DAG that the user may see, and if its content is a video or an image. A file without a sidecar is only
served as the source of a clip, if the DAG itself names it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, TypeVar

from fastapi import HTTPException, Request
from fastapi.responses import Response, StreamingResponse

from airflow_provider_grokvideo.core.cards import Card
from airflow_provider_grokvideo.core.purchases.records import Owner
from airflow_provider_grokvideo.delivery.store import identity
from airflow_provider_grokvideo.media import poster as posters
from airflow_provider_grokvideo.media import sniffing
from airflow_provider_grokvideo.plugins import ranges
from airflow_provider_grokvideo.plugins.airflow_rest import Airflow
from airflow_provider_grokvideo.plugins.keeping import Kept, weight
from airflow_provider_grokvideo.plugins.lanes import Busy, Lanes
from airflow_provider_grokvideo.storage import destination, places
from airflow_provider_grokvideo.storage.local import LocalPlace
from airflow_provider_grokvideo.storage.places import Place

CHUNK = 1024 * 1024
"""Bytes per read."""

KEPT = 500
"""Maximum number of cached sidecars."""

KEPT_BYTES = 16 * 1024 * 1024
"""Maximum size of the cached sidecars in bytes."""

SHOWABLE = frozenset({"video/mp4", "video/webm", "video/quicktime", "image/jpeg", "image/png", "image/webp"})

BELIEVED = 30.0
"""Seconds for which a file's facts are cached: a player requests many ranges of one file."""

NOT_HERE = (
    "The video is not at its address, or this API server cannot read it: the path is on another machine, or the "
    "storage's provider or connection is missing here"
)
"""One message for all reasons, so that it reveals nothing about other files on the API server."""

NO_ANSWER = "The video's storage does not respond"

_LANES = Lanes()
log = logging.getLogger(__name__)

_LARGEST_SIDECAR = 256 * 1024
_HEADERS = {
    "Cache-Control": "private, no-cache",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Referrer-Policy": "no-referrer",
}


T = TypeVar("T")


@dataclass(frozen=True)
class Found:
    """An inspected file.

    Attributes:
        place: Its storage.
        name: Its name in the storage.
        size: Size in bytes.
        mime: MIME type of its content.
        sidecar: Content of its sidecar; None if there is none.
        tag: Entity tag, which changes with the file.
        lane: Name of the threads that read it.
    """

    place: Place
    name: str
    size: int
    mime: str
    sidecar: Mapping[str, Any] | None
    tag: str
    lane: str


class MediaCache:
    """Short-lived cache of inspected files."""

    def __init__(self) -> None:
        self._known: Kept[str, tuple[float, Found]] = Kept(KEPT, KEPT_BYTES)

    async def find(self, uri: str) -> Found:
        """Inspect a file.

        Raises:
            HTTPException: It does not exist, is neither video nor image, or cannot be read here (404); or its storage
                does not respond (504).
        """
        until, found = self._known.get(uri) or (0.0, None)
        if found is None or time.monotonic() > until:
            found = await _in_thread(lane_of(uri), _find, uri)
            self._known.put(uri, (time.monotonic() + BELIEVED, found), weight([uri, found.sidecar]))
        return found


async def video(shelf: MediaCache, airflow: Airflow, card: Card) -> Found:
    """Return the delivered video of a card.

    Raises:
        HTTPException: There is none, the user may not see it, or another video has replaced it.
    """
    uri = _told(card, "uri")
    found = await shelf.find(uri)
    await _allowed(found, card.request_id, airflow)
    return found


async def poster(shelf: MediaCache, airflow: Airflow, card: Card) -> Found:
    """Return the poster of the delivered video of a card.

    Raises:
        HTTPException: As :func:`video`.
    """
    of = await video(shelf, airflow, card)
    uri = _told(card, "uri")
    name = f"{of.name.removesuffix(destination.SUFFIX)}{destination.POSTER_SUFFIX}"
    found = await shelf.find(f"{uri[: -len(of.name)]}{name}")
    head = await _in_thread(found.lane, found.place.part, found.name, 0, posters.HEAD_BYTES)
    if not posters.is_poster(head, identity(of.sidecar or {})):
        raise HTTPException(404, "The image beside the video is not its poster")
    return found


async def source(shelf: MediaCache, airflow: Airflow, card: Card, owner: Owner) -> Found:
    """Return the source of the video of a card: another task's video, or a file that the DAG names.

    Raises:
        HTTPException: As :func:`video`.
    """
    made_from = card.made_from
    if made_from is None or made_from.address is None:
        raise HTTPException(404, "This video was not made from a file")
    if made_from.address.endswith(destination.POSTER_SUFFIX):
        raise HTTPException(404, NOT_HERE)
    found = await shelf.find(made_from.address)
    if found.sidecar is not None:
        await _allowed(found, made_from.request_id or found.sidecar.get("request_id"), airflow)
        return found
    # Without a sidecar, only a file in the task's rendered argument may be shown.
    task = await airflow.task_instance(owner)
    rendered = task.get("rendered_fields") or {}
    ours = str(task.get("operator") or task.get("operator_name")).startswith("GrokVideo")
    if not ours or str(rendered.get(made_from.field)) != made_from.address:
        raise HTTPException(403, "The task's arguments do not name this file")
    return found


def sidecar(found: Found) -> dict[str, Any]:
    """Return the sidecar of a video for users, with storage addresses reduced to file names."""
    return {name: _without_place(name, value) for name, value in (found.sidecar or {}).items()}


def respond(found: Found, request: Request, *, attachment: bool = False) -> Response:
    """Return the HTTP response with a file, or with the requested range of it."""
    headers = {**_HEADERS, "ETag": found.tag}
    if request.headers.get("if-none-match") == found.tag:
        return Response(status_code=304, headers=headers)
    kept = request.headers.get("if-range") in (None, found.tag)
    part = ranges.wanted(request.headers.get("range") if kept else None, found.size)
    if part is None:
        return Response(status_code=416, headers={**headers, "Content-Range": f"bytes */{found.size}"})
    if attachment:
        headers["Content-Disposition"] = _attachment(found.name)
    told = {**headers, **part.headers()}
    if request.method == "HEAD":
        return Response(status_code=part.status, headers=told, media_type=found.mime)
    return StreamingResponse(_bytes(found, part), part.status, told, media_type=found.mime)


async def _in_thread(lane: str, work: Callable[..., T], *given: Any) -> T:
    """Run a storage read in the storage's own threads."""
    try:
        return await _LANES.run(lane, work, *given)
    except Busy:
        raise HTTPException(504, NO_ANSWER) from None


def lane_of(uri: str) -> str:
    """Return the name of an address's threads: scheme and connection, or the mount point of a local path."""
    scheme, _, rest = uri.partition("://") if "://" in uri else ("file", "", uri)
    if scheme.lower() in ("file", "local"):
        return "/".join(["file:", *PurePosixPath(rest).parts[1:3]])
    authority = rest.partition("/")[0]
    return f"{scheme.lower()}://{authority.rpartition('@')[0]}"


async def _bytes(found: Found, part: ranges.ByteRange) -> AsyncIterator[bytes]:
    at = part.start
    while at < part.end:
        try:
            chunk = await _in_thread(found.lane, found.place.part, found.name, at, min(at + CHUNK, part.end))
        except HTTPException:
            chunk = b""
        if not chunk:
            # The file has shrunk or the storage stopped responding: end before the promised length, so that the
            # download counts as incomplete.
            return
        yield chunk
        at += len(chunk)


async def _allowed(found: Found, request_id: str | None, airflow: Airflow) -> None:
    beside = found.sidecar
    if beside is None:
        raise HTTPException(404, NOT_HERE)
    dag_id = str(beside["owner"]["dag_id"])
    if not await airflow.may_see(dag_id):
        raise HTTPException(403, "You do not have permission to see the results of this video's DAG")
    if beside.get("request_id") != request_id:
        run_id = beside["owner"].get("run_id")
        raise HTTPException(404, f"Another video has replaced it: request {beside.get('request_id')} of run {run_id}")


def _told(card: Card, name: str) -> str:
    told = (card.manifest or {}).get(name)
    if not isinstance(told, str) or not told:
        raise HTTPException(404, "The video was not delivered to a destination")
    return told


def _find(uri: str) -> Found:
    try:
        return _looked_into(*opened(uri), uri)
    except HTTPException:
        raise
    except Exception as problem:  # noqa: BLE001 - storage raises what it likes
        # The message of a storage library may contain the address, so it is only logged.
        log.info("Cannot show a video: %s: %s", type(problem).__name__, problem)
        raise HTTPException(404, NOT_HERE) from None


def _looked_into(place: Place, name: str, uri: str) -> Found:
    if isinstance(place, LocalPlace) and not (place.directory / name).is_file():
        # A pipe would never return.
        raise HTTPException(404, NOT_HERE)
    size = place.size(name)
    if size is None:
        raise HTTPException(404, NOT_HERE)
    format_ = sniffing.sniff(place.part(name, 0, min(size, sniffing.HEAD_BYTES)))
    if format_.mime not in SHOWABLE:
        raise HTTPException(404, NOT_HERE)
    beside = _sidecar(place, name)
    stands_for = f"{uri}\n{size}\n{(beside or {}).get('request_id')}\n{(beside or {}).get('sha256')}"
    tag = f'"{hashlib.sha256(stands_for.encode()).hexdigest()[:24]}"'
    return Found(place, name, size, format_.mime, beside, tag, lane_of(uri))


def opened(uri: str) -> tuple[Place, str]:
    """Return the storage of an address and the file's name in it, without reading.

    Raises:
        HTTPException: It is not an absolute path or URL of a storage.
    """
    directory, slash, name = uri.rpartition("/")
    scheme = uri.partition("://")[0].lower() if "://" in uri else "file"
    local = scheme in ("file", "local")
    if local:
        directory = directory.partition("://")[2] if "://" in directory else directory
    # S3 does not treat ?versionId=... as part of the name, and would open another file than the checked one.
    odd = (not local and "?" in uri) or scheme in ("http", "https")
    if odd or not slash or not name or (local and not directory.startswith("/")):
        raise HTTPException(404, NOT_HERE)
    return places.open_place(directory, is_local=local, field="destination", shown="the video's storage"), name


def _sidecar(place: Place, name: str) -> Mapping[str, Any] | None:
    if not name.endswith(destination.SUFFIX):
        return None
    beside = f"{name.removesuffix(destination.SUFFIX)}.json"
    size = place.size(beside)
    if size is None:
        return None
    if size > _LARGEST_SIDECAR:
        raise HTTPException(404, NOT_HERE)
    try:
        record = json.loads(place.read(beside) or b"null")
    except ValueError:
        return None
    owner = record.get("owner") if isinstance(record, Mapping) else None
    ours = isinstance(owner, Mapping) and isinstance(owner.get("dag_id"), str) and "request_id" in record
    return record if ours and record.get("schema") == 1 else None


def _without_place(name: str, value: Any) -> Any:
    if isinstance(value, Mapping):
        return {part: _without_place(part, each) for part, each in value.items()}
    if isinstance(value, list):
        return [_without_place(name, each) for each in value]
    is_address = isinstance(value, str) and (name in ("path", "upload") or name.endswith("uri"))
    return PurePosixPath(value).name if is_address else value


def _attachment(name: str) -> str:
    from urllib.parse import quote

    plain = "".join(each if each.isascii() and each.isprintable() and each not in '"\\%' else "_" for each in name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
