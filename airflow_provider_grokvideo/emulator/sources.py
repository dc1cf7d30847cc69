"""Fetching what an order refers to: pictures and clips by data: URI, file id or URL.

The emulator talks to this machine only. Links of its own download origin are resolved without a request and stay good
as sources after they have expired, because the service keeps its own copies. Other http URLs on a loopback host are
fetched, bounded in time and size. Any other URL is never fetched: a stand-in takes its place, and the ledger says so.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import ipaddress
from urllib.parse import unquote_to_bytes, urlsplit

from airflow_provider_grokvideo.emulator.orders import Medium
from airflow_provider_grokvideo.emulator.prices import CLASSIC
from airflow_provider_grokvideo.emulator.recipe import FPS, Footage, Recipe
from airflow_provider_grokvideo.emulator.world import HeldFile, World

FETCH_SECONDS = 5.0
MAX_BYTES = {"image": 10 * 2**20, "video": 50 * 2**20}
STAND_IN_SECONDS = 6


class UnusableSource(Exception):
    """A source the service accepts in the body and cannot use; the job fails with ``invalid_argument``."""


class MissingFile(Exception):
    """A file_id that is not there; the submit is refused."""


def is_loopback(url: str) -> bool:
    """Tell whether a URL points to this machine, judged by its host name alone."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def stand_in(kind: str, url: str) -> Footage:
    """Return the replacement for a URL that is not fetched: a 6 s clip of 848x480, or a 640x480 picture."""
    host = urlsplit(url).hostname or "a public URL"
    key = hashlib.sha256(url.encode()).hexdigest()
    origin = f"stand-in for {url[:120]}"
    if kind == "image":
        return Footage("image", key, origin, 640, 480)
    made = Recipe("text-to-video", f"stand-in for {host}", CLASSIC, 848, 480, STAND_IN_SECONDS * FPS)
    return Footage("video", made.key, origin, made.width, made.height, made.frames, True, recipe=made)


async def find(world: World, medium: Medium, kind: str) -> Footage:
    """Return the footage behind a medium of an order.

    Raises:
        MissingFile: for a file id the Files API does not have.
        Unusable: for bytes that are not a picture or clip, or cannot be fetched.
    """
    if medium.file_id is not None:
        file = world.find_file(medium.file_id)
        if file is None:
            raise MissingFile(medium.file_id)
        return await _from_file(world, file, kind)
    url = medium.url or ""
    if url.startswith("data:"):
        return await _from_bytes(_decode(url), kind, "data: URI")
    own = _own(world, url)
    if isinstance(own, HeldFile):
        return await _from_file(world, own, kind)
    if own is not None:
        return _right_kind(own, kind)
    if is_loopback(url) and url.startswith("http://"):
        return await _from_bytes(await _fetch(url, MAX_BYTES[kind]), kind, "loopback URL")
    return stand_in(kind, url)


def _own(world: World, url: str) -> Footage | HeldFile | None:
    if not world.download_origin or not url.startswith(world.download_origin + "/"):
        return None
    parts = urlsplit(url).path.split("/")
    if len(parts) < 4:
        raise UnusableSource("the URL names nothing on the download origin")
    if parts[1] == "files" and parts[2] in world.public_files:
        return world.public_files[parts[2]]
    link = world.links.get(parts[2])
    footage = world.footage_of(link.request_id, "own link") if link else None
    if footage is None:
        raise UnusableSource("the URL names nothing on the download origin")
    return footage


async def _from_file(world: World, file: HeldFile, kind: str) -> Footage:
    if file.data is not None:
        return await _from_bytes(file.data, kind, "file_id")
    footage = world.footage_of(file.request_id or "", "file_id")
    if footage is None:
        raise UnusableSource("the stored file has no content")
    return _right_kind(footage, kind)


def _right_kind(footage: Footage, kind: str) -> Footage:
    if footage.kind != kind:
        raise UnusableSource(f"expected {_a(kind)}, got {_a(footage.kind)}")
    return footage


async def _from_bytes(data: bytes, kind: str, origin: str) -> Footage:
    from starlette.concurrency import run_in_threadpool

    from airflow_provider_grokvideo.emulator.probe import probe

    found = await run_in_threadpool(probe, data)
    if found is None:
        raise UnusableSource(f"the input ({origin}) is not a readable picture or clip")
    key = hashlib.sha256(data).hexdigest()
    footage = Footage(found.kind, key, origin, found.width, found.height, found.frames, found.audio, data=data)
    return _right_kind(footage, kind)


def _decode(uri: str) -> bytes:
    head, _, payload = uri.partition(",")
    if not head.endswith(";base64"):
        return unquote_to_bytes(payload)
    try:
        return base64.b64decode(payload, validate=True)
    except (binascii.Error, ValueError):
        raise UnusableSource("the data: URI is not valid base64") from None


async def _fetch(url: str, limit: int) -> bytes:
    import httpx

    data = bytearray()
    try:
        async with (
            httpx.AsyncClient(timeout=FETCH_SECONDS, trust_env=False) as client,
            client.stream("GET", url) as answer,
        ):
            if answer.status_code != 200:
                raise UnusableSource(f"fetching the input gave HTTP {answer.status_code}")
            async for chunk in answer.aiter_bytes():
                data += chunk
                if len(data) > limit:
                    raise UnusableSource(f"the input is larger than {limit} bytes")
    except httpx.HTTPError as problem:
        raise UnusableSource(f"fetching the input failed: {type(problem).__name__}") from None
    return bytes(data)


def _a(kind: str) -> str:
    return "an image" if kind == "image" else "a video"
