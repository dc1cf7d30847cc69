"""The Files API (contract §8): inputs that were uploaded, and outputs that were stored."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import SequenceMatcher
from typing import Any

from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from airflow_provider_grokvideo.emulator import shapes
from airflow_provider_grokvideo.emulator.discovery import KeyOf
from airflow_provider_grokvideo.emulator.polling import spoken_anywhere
from airflow_provider_grokvideo.emulator.shapes import Answered
from airflow_provider_grokvideo.emulator.studio import Studio
from airflow_provider_grokvideo.emulator.wire import Cut, Pauses, respond
from airflow_provider_grokvideo.emulator.world import HeldFile, World

MAX_BYTES = 50 * 2**20
LIFE_SECONDS = (3600, 2_592_000)

PAGE = 100
"""Files on a page at most (contract §8)."""

LIKENESS = 0.5
"""How alike a name has to be, from 0 to 1, for a fuzzy hit."""


def file_routes(world: World, studio: Studio, key_of: KeyOf, pauses: Pauses) -> list[Route]:
    """Return the routes below ``/v1/files``."""

    async def collection(request: Request) -> Response:
        key_of(world, request)
        if (odd := await _fault(world, pauses)) is not None:
            return odd
        if request.method == "GET":
            return respond(await _listed(world, studio, request.query_params))
        return respond(await _upload(world, studio, request))

    async def one(request: Request) -> Response:
        key_of(world, request)
        if (odd := await _fault(world, pauses)) is not None:
            return odd
        file = world.find_file(request.path_params["file_id"])
        if file is None:
            return respond(_missing(request.path_params["file_id"]))
        if request.method == "DELETE":
            world.remove_file(file)
            return respond(Answered(200, {"id": file.id, "object": "file", "deleted": True}))
        return respond(Answered(200, await _facts(world, studio, file)))

    async def content(request: Request) -> Response:
        key_of(world, request)
        if (odd := await _fault(world, pauses)) is not None:
            return odd
        file = world.find_file(request.path_params["file_id"])
        data = None if file is None else await content_of(world, studio, file)
        if data is None:
            return respond(_missing(request.path_params["file_id"]))
        return Response(data, media_type="application/octet-stream")

    return [
        Route("/v1/files", collection, methods=["GET", "POST"]),
        Route("/v1/files/{file_id}", one, methods=["GET", "DELETE"]),
        Route("/v1/files/{file_id}/content", content, methods=["GET"]),
    ]


async def _listed(world: World, studio: Studio, asked: Mapping[str, str]) -> Answered:
    """Return a page of the files, the newest first; a page that is not empty has a token for the next (F1)."""
    limit, order = asked.get("limit", str(PAGE)), asked.get("order", "desc")
    start = asked.get("pagination_token", "p0").removeprefix("p")
    if not (limit.isdecimal() and 1 <= int(limit) <= PAGE):
        return shapes.error(400, "invalid-argument", f"limit must be between 1 and {PAGE}")
    if order not in ("asc", "desc"):
        return shapes.error(400, "invalid-argument", "order must be asc or desc")
    if not start.isdecimal():
        return shapes.error(400, "invalid-argument", "pagination_token is not one of ours")
    world.settle_ready()
    wanted = asked.get("filter", "")
    known = [file for file_id in list(world.files) if (file := world.find_file(file_id))]
    kept = [file for file in known if not wanted or is_like(file.filename, wanted)]
    kept.sort(key=lambda file: file.created_at, reverse=order == "desc")
    end = int(start) + int(limit)
    page: dict[str, Any] = {
        "object": "list",
        "data": [await _facts(world, studio, file) for file in kept[int(start) : end]],
    }
    if page["data"]:
        page["pagination_token"] = f"p{end}"
    return Answered(200, page)


def is_like(name: str, wanted: str) -> bool:
    """Say whether a name is a hit, exact or not: the service's filter is fuzzy (contract §6.3)."""
    name, wanted = name.lower(), wanted.lower()
    return wanted in name or SequenceMatcher(None, name, wanted).ratio() >= LIKENESS


async def content_of(world: World, studio: Studio, file: HeldFile) -> bytes | None:
    """Return the bytes of a file: uploaded ones, or the video of its job."""
    if file.data is not None:
        return file.data
    job = world.jobs.get(file.request_id or "")
    if job is None or job.recipe is None:
        return None
    return await studio.clip(job.recipe)


async def _fault(world: World, pauses: Pauses) -> Response | None:
    with world.lock:
        fault = world.faults.take("files")
    if fault is None:
        return None
    if (spoken := spoken_anywhere(fault, world)) is not None:
        return respond(spoken)
    if fault.kind == "cut_before":
        return Cut()
    await pauses.wait(float(fault.argument or 3600))
    return None


async def _upload(world: World, studio: Studio, request: Request) -> Answered:
    async with request.form(max_part_size=MAX_BYTES) as form:
        life: int | None = None
        # The service reads the fields in their order and learns of a later one too late (contract §8).
        for name, value in form.multi_items():
            if name in ("expires_after", "expires_after[seconds]") and isinstance(value, str):
                life = int(value) if value.isdigit() else -1
            if name == "file" and isinstance(value, UploadFile):
                return await _store(world, studio, value, life)
    return shapes.error(400, "invalid-argument", "the form has no file")


async def _store(world: World, studio: Studio, upload: UploadFile, life: int | None) -> Answered:
    data = await upload.read()
    if len(data) > MAX_BYTES:
        return shapes.plain(413, "length limit exceeded")
    low, high = LIFE_SECONDS
    if life is not None and not low <= life <= high:
        return shapes.error(400, "invalid-argument", f"expires_after must be between {low} and {high} seconds")
    now = world.clock()
    file = HeldFile(
        id=f"file_{world.new_id()}",
        filename=upload.filename or "file",
        created_at=now,
        data=data,
        expires_at=None if life is None else now + life,
    )
    return Answered(200, await _facts(world, studio, world.store(file)))


async def _facts(world: World, studio: Studio, file: HeldFile) -> dict[str, Any]:
    facts = {
        "id": file.id,
        "object": "file",
        "bytes": len(await content_of(world, studio, file) or b""),
        "created_at": int(file.created_at),
        "filename": file.filename,
        "expires_at": file.expires_at and int(file.expires_at),
        "public_url": world.public_url(file),
        "public_url_expires_at": file.public_expires_at and int(file.public_expires_at),
    }
    return {name: value for name, value in facts.items() if value is not None}


def _missing(file_id: str) -> Answered:
    return shapes.error(404, "not-found", f"file {file_id} does not exist")
