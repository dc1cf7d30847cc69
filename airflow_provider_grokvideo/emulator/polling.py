"""The answer to a poll: pending, or the way the job ended."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from airflow_provider_grokvideo.emulator import shapes
from airflow_provider_grokvideo.emulator.faults import Fault
from airflow_provider_grokvideo.emulator.shapes import Answered
from airflow_provider_grokvideo.emulator.sources import is_loopback
from airflow_provider_grokvideo.emulator.studio import Studio
from airflow_provider_grokvideo.emulator.world import Job, World

PUT_SECONDS = 30.0

_DONE_SHAPES = {
    "old_done": "old",
    "flat_done": "flat",
    "openai_done": "openai",
    "nested_response": "nested",
    "done_without_url": "new",
    "storage_error": "new",
}


def odd(fault: Fault, job: Job, world: World) -> Answered | None:
    """Return the single odd answer a poll fault asks for, or None where it is not an answer."""
    if (spoken := spoken_anywhere(fault, world)) is not None:
        return spoken
    match fault.kind:
        case "unknown_word":
            return Answered(200, {"status": fault.argument})
        case "no_status":
            return Answered(200, {"request_id": job.request_id})
        case "html_202":
            return shapes.page(202, "Accepted")
        case "html_200":
            return shapes.page(200, "One moment")
        case "text_200":
            return shapes.plain(200, "one moment")
    return None


def spoken_anywhere(fault: Fault, world: World) -> Answered | None:
    """Return the answer of a fault that answers every operation alike, or None for another fault."""
    match fault.kind:
        case "http":
            return shapes.trouble(int(fault.argument), fault.body, fault.retry_after)
        case "no_credits":
            return shapes.no_credit(world.quirks["no_credit"])
        case "no_capability":
            return shapes.no_capability()
    return None


async def answer(world: World, studio: Studio, job: Job) -> Answered:
    """Return the ordinary answer to a poll that was counted."""
    if not world.is_ready(job):
        return shapes.pending(
            job.answered_polls,
            world.progress(job),
            job.order.model,
            world.quirks["pending_body"],
            world.quirks["pending_shape"],
            job.request_id,
        )
    world.settle(job)
    await uploaded(studio, job)
    return _ended(world, job)


async def uploaded(studio: Studio, job: Job) -> None:
    """Return when the video of a job that is done is where ``output.upload_url`` wants it; it is sent once."""
    if job.order.upload_url is None or job.state != "done":
        return
    if job.uploading is None:
        job.uploading = asyncio.ensure_future(_put(studio, job))
    # A look whose client hangs up must not stop the upload.
    await asyncio.shield(job.uploading)


def _ended(world: World, job: Job) -> Answered:
    kind, argument = job.fate_kind, job.fate.argument if job.fate else ""
    match kind:
        case "moderated":
            return shapes.moderated(argument, job.order.model, _whole_seconds(job), job.price)
        case "failed" if job.fate is None and job.order.doom:
            return shapes.failed(job.order.doom.code, job.order.doom.message)
        case "failed":
            return shapes.failed(argument, "The video could not be generated.")
        case "failed_string":
            return shapes.failed("", "The video could not be generated.", as_string=True)
        case "expired":
            return shapes.expired()
        case "gone":
            return shapes.not_found(job.request_id)
    shape = _DONE_SHAPES.get(kind, world.quirks["done_shape"])
    return shapes.done(shape, job.request_id, job.order.model, _video(world, job), job.price)


def _video(world: World, job: Job) -> dict[str, Any]:
    seconds = _whole_seconds(job)
    url: str | None = world.link_for(job).url
    if job.order.upload_url:
        url = job.order.upload_url if world.quirks["upload_result"] == "url" else None
    if job.fate_kind == "done_without_url":
        url = ""
    video: dict[str, Any] = {"url": url, "duration": seconds, "respect_moderation": True}
    if job.fate_kind == "storage_error":
        video["storage_error"] = "the output could not be stored"
    elif job.file is not None:
        video["file_output"] = _file_output(world, job)
    return video


def _file_output(world: World, job: Job) -> Mapping[str, Any]:
    file = job.file
    if file is None:
        return {}
    given = {
        "file_id": file.id,
        "filename": file.filename,
        "expires_at": file.expires_at and int(file.expires_at),
        "public_url": world.public_url(file),
        "public_url_expires_at": file.public_expires_at and int(file.public_expires_at),
    }
    return {name: value for name, value in given.items() if value is not None}


def _whole_seconds(job: Job) -> int | float:
    seconds = float(job.recipe.seconds if job.recipe else job.order.seconds)
    return int(seconds) if seconds.is_integer() else round(seconds, 2)


async def _put(studio: Studio, job: Job) -> None:
    """Send the MP4 to the upload address; only to this machine, because the emulator never leaves it."""
    import httpx

    address = job.order.upload_url or ""
    if not is_loopback(address) or job.recipe is None:
        job.notes.append("output.upload_url is not on this machine: nothing was uploaded")
        return
    data = await studio.clip(job.recipe)
    try:
        async with httpx.AsyncClient(timeout=PUT_SECONDS, trust_env=False) as client:
            sent = await client.put(address, content=data, headers={"content-type": "video/mp4"})
    except httpx.HTTPError as problem:
        job.notes.append(f"output.upload_url could not be reached: {type(problem).__name__}")
        return
    if not sent.is_success:
        job.notes.append(f"output.upload_url answered HTTP {sent.status_code}")
