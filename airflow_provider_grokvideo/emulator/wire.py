"""Shared by both origins, below HTTP: cut connections, pauses that end with the server, and the record of requests."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from uvicorn.protocols.http.h11_impl import H11Protocol

from airflow_provider_grokvideo.emulator import shapes
from airflow_provider_grokvideo.emulator.ledger import HEADERS_OF_INTEREST, Seen
from airflow_provider_grokvideo.emulator.shapes import Answered
from airflow_provider_grokvideo.emulator.world import World

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

LONGEST_HANG = 3600.0

_TRANSPORTS: dict[tuple[Any, Any], asyncio.Transport] = {}
"""Open connections by the addresses of both ends; a client may use one port of its own for both origins."""


class CuttableProtocol(H11Protocol):
    """HTTP/1.1 whose connections an application can cut, which ASGI has no word for."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Remember the connection under its addresses."""
        super().connection_made(transport)
        # The record of requests says the same without a line for each poll.
        self.access_log = False
        self._name = _name(transport.get_extra_info("peername"), transport.get_extra_info("sockname"))
        _TRANSPORTS[self._name] = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        _TRANSPORTS.pop(self._name, None)
        super().connection_lost(exc)


class Cut(Response):
    """Cut the connection instead of answering."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Reset the client's connection."""
        await cut(scope, receive)


async def cut(scope: Any, receive: Any, *, flush: bool = False) -> None:
    """Cut the connection of a request, at once or after what was sent has left, and wait until it is gone."""
    transport = _TRANSPORTS.get(_name(scope["client"], scope["server"]))
    if transport is not None:
        transport.close() if flush else transport.abort()
        while (await receive())["type"] != "http.disconnect":
            pass


def _name(client: Any, server: Any) -> tuple[Any, Any]:
    return tuple(client[:2]), tuple(server[:2])


class Pauses:
    """Waits that a fault asks for; all of them end when the emulator stops."""

    def __init__(self) -> None:
        self._stopping: asyncio.Event | None = None

    async def wait(self, seconds: float) -> None:
        """Wait, or return early because the emulator stops."""
        try:
            await asyncio.wait_for(self._event().wait(), min(seconds, LONGEST_HANG))
        except asyncio.TimeoutError:
            return

    def stop(self) -> None:
        """End all pauses; called on the server's loop."""
        self._event().set()

    def _event(self) -> asyncio.Event:
        if self._stopping is None:
            self._stopping = asyncio.Event()
        return self._stopping


def respond(answer: Answered) -> Response:
    """Turn an answer into an HTTP response; an empty one carries no content type (contract P1)."""
    if answer.json is not None:
        return JSONResponse(answer.json, answer.status, headers=answer.headers)
    if answer.text is not None:
        return Response(answer.text, answer.status, headers=answer.headers, media_type=answer.content_type)
    return Response(None, answer.status, headers=answer.headers)


async def stopping(request: Request, problem: Exception) -> Response:
    """Answer a request whose clip is not made any more, because the emulator stops."""
    return respond(shapes.error(503, "unavailable", "The emulator is stopping."))


def recorded(app: App, world: World, origin: str) -> App:
    """Note each request in the world's record, and give each answer an ``x-request-id``."""

    async def run(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        request = Request(scope)
        path = scope.get("raw_path", scope["path"].encode()).decode("ascii", "replace").partition("?")[0]
        headers = {name: request.headers[name] for name in HEADERS_OF_INTEREST if name in request.headers}
        seen = Seen(origin, scope["method"], path, None, headers)
        if not path.startswith("/_emulator"):
            world.requests[seen.id] = seen

        async def note(message: Any) -> None:
            if message["type"] == "http.response.start":
                # Noted before it is sent, so that whoever got the answer finds it in the record.
                if seen.id in world.requests:
                    world.requests[seen.id] = replace(seen, status=message["status"])
                message["headers"] = [*message["headers"], (b"x-request-id", world.new_id().encode())]
            await send(message)

        await app(scope, receive, note)

    return run
