"""The download origin: videos under links that expire, and a detector of leaked keys (contract §5.4)."""

from __future__ import annotations

import struct
import zlib
from collections.abc import AsyncIterator
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from airflow_provider_grokvideo.emulator import shapes
from airflow_provider_grokvideo.emulator.faults import Fault
from airflow_provider_grokvideo.emulator.files import content_of
from airflow_provider_grokvideo.emulator.polling import spoken_anywhere
from airflow_provider_grokvideo.emulator.render import RenderingStopped
from airflow_provider_grokvideo.emulator.studio import Studio
from airflow_provider_grokvideo.emulator.wire import App, Cut, Pauses, cut, recorded, respond, stopping
from airflow_provider_grokvideo.emulator.world import Job, World

DRIP_SECONDS = 5.0
_DRIPS = 20


def downloads(world: World, studio: Studio, pauses: Pauses) -> App:
    """Return the ASGI application of the download origin."""
    shelf = _Shelf(world, studio, pauses)
    routes = [
        Route("/xai-vidgen-bucket/{token}/{name}", shelf.video, methods=["GET"]),
        Route("/files/{token}/{file_id}", shelf.public_file, methods=["GET"]),
    ]
    app = Starlette(routes=routes, exception_handlers={RenderingStopped: stopping})
    return recorded(app, world, "download")


class Truncated(Response):
    """Announce the whole body, send half of it, and cut the connection."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Send the half."""
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        half = bytes(self.body)[: len(self.body) // 2]
        await send({"type": "http.response.body", "body": half, "more_body": True})
        await cut(scope, receive, flush=True)


class _Shelf:
    def __init__(self, world: World, studio: Studio, pauses: Pauses) -> None:
        self.world, self.studio, self.pauses = world, studio, pauses

    async def video(self, request: Request) -> Response:
        if self._leaks(request):
            return _forbidden("credentials do not belong here")
        link = self.world.links.get(request.path_params["token"])
        job = self.world.jobs.get(link.request_id) if link else None
        if link is None or job is None or job.recipe is None:
            return respond(shapes.plain(404, "no such video"))
        fault = self.world.take_download_fault(job)
        if fault is not None and fault.kind == "expired_link":
            link.expires_at = min(link.expires_at, self.world.clock())
        if link.expires_at <= self.world.clock():
            return respond(shapes.plain(int(self.world.quirks["expired_status"]), "the link has expired"))
        if fault is not None and (odd := await self._odd(fault, job)) is not None:
            return odd
        return self._whole(request, await self._bytes(job))

    async def public_file(self, request: Request) -> Response:
        if self._leaks(request):
            return _forbidden("credentials do not belong here")
        file = self.world.public_files.get(request.path_params["token"])
        expired = file is not None and file.public_expires_at and file.public_expires_at <= self.world.clock()
        data = None if file is None or expired else await content_of(self.world, self.studio, file)
        return respond(shapes.plain(404, "no such file")) if data is None else self._whole(request, data)

    def _leaks(self, request: Request) -> bool:
        text = f"{request.url} {request.headers.raw!r}"
        leaked = "authorization" in request.headers or any(secret in text for secret in self.world.secrets)
        if leaked:
            with self.world.lock:
                self.world.leaks += 1
        return leaked

    async def _bytes(self, job: Job) -> bytes:
        assert job.recipe is not None  # noqa: S101 - checked by the caller
        return await self.studio.clip(job.recipe)

    async def _odd(self, fault: Fault, job: Job) -> Response | None:
        if (spoken := spoken_anywhere(fault, self.world)) is not None:
            return respond(spoken)
        match fault.kind:
            case "cut_before":
                return Cut()
            case "redirect":
                return RedirectResponse(fault.argument, 302)
            case "wrong_bytes":
                return Response(_png() if fault.argument == "png" else shapes.HTML.encode(), media_type="video/mp4")
            case "truncated":
                data = await self._bytes(job)
                if fault.argument == "short":
                    return Response(data[: len(data) // 2], media_type="video/mp4")
                return Truncated(data, media_type="video/mp4")
            case "slow_drip":
                data = await self._bytes(job)
                headers = {"content-length": str(len(data))}
                drip = self._drip(data, float(fault.argument or DRIP_SECONDS))
                return StreamingResponse(drip, media_type="video/mp4", headers=headers)
            case "hang" | "timeout":
                await self.pauses.wait(float(fault.argument or 3600))
        return None

    async def _drip(self, data: bytes, seconds: float) -> AsyncIterator[bytes]:
        step = max(1, -(-len(data) // _DRIPS))
        for start in range(0, len(data), step):
            yield data[start : start + step]
            await self.pauses.wait(seconds / _DRIPS)

    def _whole(self, request: Request, data: bytes) -> Response:
        wanted = _range(request.headers.get("range"), len(data))
        if wanted is None or self.world.quirks["range"] == "ignore":
            return Response(data, media_type="video/mp4", headers={"accept-ranges": "bytes", "etag": _etag(data)})
        start, end = wanted
        headers = {
            "accept-ranges": "bytes",
            "etag": _etag(data),
            "content-range": f"bytes {start}-{end - 1}/{len(data)}",
        }
        return Response(data[start:end], 206, media_type="video/mp4", headers=headers)


def _range(header: str | None, size: int) -> tuple[int, int] | None:
    """Read ``bytes=a-b`` with one range; anything else counts as none, as HTTP allows."""
    unit, _, span = (header or "").partition("=")
    first, dash, last = span.partition("-")
    if unit.strip() != "bytes" or not dash or not first.isdigit() or (last and not last.isdigit()):
        return None
    start, end = int(first), min(size, int(last) + 1 if last else size)
    return (start, end) if start < end else None


def _etag(data: bytes) -> str:
    return f'"{zlib.crc32(data):08x}-{len(data):x}"'


def _forbidden(why: str) -> Response:
    return respond(shapes.error(403, "permission-denied", why))


def _png() -> bytes:
    """Return a PNG of one grey pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    head = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\x00\x80")) + chunk(b"IEND", b"")
    )
