"""The API origin: contract §2, §3 and §5 over HTTP, and the emulator's own controls below ``/_emulator``."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from airflow_provider_grokvideo.emulator import booking, discovery, polling, shapes, validation
from airflow_provider_grokvideo.emulator.control import control_routes
from airflow_provider_grokvideo.emulator.directives import read_prompt
from airflow_provider_grokvideo.emulator.faults import Fault
from airflow_provider_grokvideo.emulator.fields import FieldRefused
from airflow_provider_grokvideo.emulator.files import file_routes
from airflow_provider_grokvideo.emulator.orders import ENDPOINTS
from airflow_provider_grokvideo.emulator.render import RenderingStopped
from airflow_provider_grokvideo.emulator.shapes import Answered
from airflow_provider_grokvideo.emulator.studio import Studio
from airflow_provider_grokvideo.emulator.wire import App, Cut, Pauses, recorded, respond, stopping
from airflow_provider_grokvideo.emulator.world import KEY_BLOCKED, KEY_NO_CREDIT, KEY_ZDR, KEYS, Job, World

BODY_BYTES = 20 * 2**20
"""The emulator's own limit; the service publishes none (contract §3.4)."""


class Unauthorized(Exception):
    """The key is refused; carries the answer."""

    def __init__(self, answer: Answered) -> None:
        super().__init__()
        self.answer = answer


def key_of(world: World, request: Request) -> str:
    """Return the key of a request (A1 to A3).

    Raises:
        Unauthorized: No key, a wrong one, or a blocked one.
    """
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not key:
        raise Unauthorized(shapes.error(401, "unauthenticated:no-credentials", "No Authorization header."))
    if key not in KEYS:
        raise Unauthorized(wrong_key(world))
    if key == KEY_BLOCKED:
        raise Unauthorized(shapes.error(403, "permission-denied", "This API key is blocked."))
    return key


def wrong_key(world: World) -> Answered:
    """Return how a key that is not known, or no longer, is refused (A2)."""
    message = "Incorrect API key provided. You can obtain an API key from the console."
    if world.quirks["wrong_key"] == "401":
        return shapes.error(401, "unauthenticated:bad-credentials", message)
    return shapes.error(400, "invalid-argument", message)


def api(world: World, studio: Studio, pauses: Pauses) -> App:
    """Return the ASGI application of the API origin."""
    service = _Videos(world, studio, pauses)
    routes = [
        *(Route(f"/v1{endpoint}", service.submit, methods=["POST"]) for endpoint in ENDPOINTS),
        Route("/v1/videos/{request_id}", service.poll, methods=["GET"]),
        *discovery.routes(world, key_of),
        *file_routes(world, studio, key_of, pauses),
        *control_routes(world),
    ]
    app = Starlette(
        routes=routes,
        exception_handlers={Unauthorized: _unauthorized, HTTPException: _http_error, RenderingStopped: stopping},
    )
    app.router.redirect_slashes = False
    return recorded(app, world, "api")


async def _unauthorized(request: Request, problem: Exception) -> Response:
    assert isinstance(problem, Unauthorized)  # noqa: S101 - registered for this class only
    return respond(problem.answer)


async def _http_error(request: Request, problem: Exception) -> Response:
    status = problem.status_code if isinstance(problem, HTTPException) else 500
    return respond(shapes.error(status, "not-found" if status == 404 else "unimplemented", "No such operation."))


class _Videos:
    def __init__(self, world: World, studio: Studio, pauses: Pauses) -> None:
        self.world, self.studio, self.pauses = world, studio, pauses
        self._deliveries: set[asyncio.Future[None]] = set()

    async def submit(self, request: Request) -> Response:
        key = key_of(self.world, request)
        try:
            body = await _json_object(request)
            if key == KEY_NO_CREDIT:
                return respond(shapes.no_credit(self.world.quirks["no_credit"]))
            return await self._book(request.url.path.removeprefix("/v1"), body, key)
        except FieldRefused as refused:
            return respond(_refusal(refused))

    async def _book(self, endpoint: str, body: Mapping[str, Any], key: str) -> Response:
        raw_prompt = body.get("prompt") if isinstance(body.get("prompt"), str) else ""
        try:
            directives = read_prompt(raw_prompt or "")
        except ValueError as problem:
            raise FieldRefused(400, "invalid-argument", f"emulator: {problem}") from None
        fault = self.world.take_submit_fault(directives, raw_prompt or "")
        if fault is not None and fault.kind == "cut_before":
            return Cut()
        if fault is not None and (spoken := polling.spoken_anywhere(fault, self.world)) is not None:
            return respond(spoken)
        if fault is not None and fault.kind == "refused":
            if fault.argument == "billed":
                return respond(shapes.refused(403, shapes.FEE_TICKS))
            return respond(shapes.refused(int(fault.argument)))
        if limited := self.world.over_rate():
            # Both kinds are seen in the wild, so they take turns (S26).
            return respond(shapes.trouble(429, "json", "2" if limited % 2 else None))
        if key == KEY_ZDR or (fault is not None and fault.kind == "zdr"):
            validation.check_zdr(body)
        job = await booking.book(self.world, endpoint, body, directives)
        if job.order.upload_url and job.tempo.kind != "polls":
            self._deliveries.add(delivery := asyncio.ensure_future(self._deliver(job)))
            delivery.add_done_callback(self._deliveries.discard)
        return await self._accepted(job.request_id, fault)

    async def _deliver(self, job: Job) -> None:
        """Upload a video when it is done, whether anybody looks or not."""
        # A little longer, because two clocks measure it.
        await self.pauses.wait(job.span + 0.05)
        if job.request_id in self.world.jobs and self.world.is_ready(job):
            self.world.settle(job)
            with suppress(RenderingStopped):
                await polling.uploaded(self.studio, job)

    async def _accepted(self, request_id: str, fault: Fault | None) -> Response:
        if fault is not None:
            if fault.kind == "lost_answer":
                return Cut()
            if fault.kind == "accept_then_502":
                return respond(shapes.page(502, "Bad gateway"))
            if fault.kind in ("hang", "timeout"):
                await self.pauses.wait(float(fault.argument or 3600))
        return respond(Answered(200, {"request_id": request_id}))

    async def poll(self, request: Request) -> Response:
        key_of(self.world, request)
        request_id = request.path_params["request_id"]
        try:
            uuid.UUID(request_id)
        except ValueError:
            return respond(shapes.error(400, "invalid-argument", "request_id is not a UUID."))
        self.world.reached_as(request.url.hostname)
        job = self.world.jobs.get(request_id)
        if job is None:
            return respond(shapes.not_found(request_id))
        fault = self.world.poll(job)
        if fault is not None:
            if fault.kind == "cut_before":
                return Cut()
            if fault.kind == "revoked":
                return respond(wrong_key(self.world))
            if fault.kind in ("hang", "timeout"):
                await self.pauses.wait(float(fault.argument or 3600))
            elif (strange := polling.odd(fault, job, self.world)) is not None:
                return respond(strange)
        return respond(await polling.answer(self.world, self.studio, job))


async def _json_object(request: Request) -> dict[str, Any]:
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise FieldRefused(415, "unsupported", "Expected request with `Content-Type: application/json`", plain=True)
    raw = await request.body()
    if len(raw) > BODY_BYTES:
        raise FieldRefused(413, "too-large", "length limit exceeded", plain=True)
    try:
        body = json.loads(raw)
    except ValueError:
        raise FieldRefused(400, "malformed", "Failed to parse the request body as JSON", plain=True) from None
    if not isinstance(body, dict):
        raise FieldRefused(422, "malformed", "invalid type, expected a JSON object", plain=True)
    return body


def _refusal(refused: FieldRefused) -> Answered:
    if refused.plain:
        return shapes.plain(refused.status, refused.message)
    return shapes.error(refused.status, refused.code, refused.message)
