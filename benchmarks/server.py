"""The service that a row waits for: answers polls and nothing else, so that one core carries thousands a second.

It speaks the poll of the API (contract §5.1) and counts what it was asked. Two addresses of its own, without a key:

``POST /control/work``
    ``[[request_id, seconds, model, duration, ticks], ...]``: the videos to make, all submitted at this moment, which
    the answer names in epoch seconds. Counts start anew.
``GET /control/counts``
    The :class:`Counts` since then.

Run as ``python -m benchmarks.server --port-file FILE``; the file gets the port as soon as it listens.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.machine import cpu_seconds, open_files

BACKLOG = 16384
"""Connections that may wait to be accepted; the system caps it."""

PROGRESS = 16
"""What every pending video says: progress was seen to stand still at this number (contract §5.5). One that grew evenly
would tell a client that believes it when to look."""

_END = b"\r\n\r\n"
_POLL = b"GET /v1/videos/"
_CONTROL = b"/control/"
_REASONS = {200: "OK", 202: "Accepted", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found"}


@dataclass
class Counts:
    """What happened since the work came.

    Attributes:
        polls: Polls at videos that exist.
        polls_after_done: Those beyond the first that found a video finished.
        refused: Calls without a key, or for something that does not exist.
        connections: Connections accepted, except those that used a control address.
        polls_per_video: Polls at each video, in the order in which the work named them.
        cpu: CPU seconds of the service.
    """

    polls: int = 0
    polls_after_done: int = 0
    refused: int = 0
    connections: int = 0
    polls_per_video: list[int] = field(default_factory=list)
    cpu: float = 0.0


@dataclass
class _Job:
    started: float
    seconds: float
    answer: bytes
    polls: int = 0
    seen_done: bool = False


class Service:
    """All videos and what was asked about them.

    Args:
        clock: Epoch seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.counts = Counts()
        self._clock = clock
        self._jobs: dict[bytes, _Job] = {}
        self._cpu = 0.0
        self._pending = _answer(202, {"status": "pending", "progress": PROGRESS}, "x-request-id: bench")

    def take(self, work: Sequence[Sequence[Any]]) -> float:
        """Start videos at this moment; return it."""
        self.counts = Counts()
        jobs = {str(row[0]).encode(): _Job(0.0, float(row[1]), _done(*row)) for row in work}
        now = self._clock()
        for job in jobs.values():
            job.started = now
        self._jobs = jobs
        self._cpu = cpu_seconds()
        return now

    def poll(self, request_id: bytes, head: bytes) -> bytes:
        """Answer a poll.

        Args:
            request_id: The video.
            head: Request line and headers.
        """
        if b"\nauthorization: bearer " not in head.lower():
            self.counts.refused += 1
            return _answer(401, {"code": "unauthenticated", "error": "no key"})
        job = self._jobs.get(request_id)
        if job is None:
            self.counts.refused += 1
            return _answer(404, {"code": "not-found", "error": "no deferred video of this id"})
        self.counts.polls += 1
        job.polls += 1
        if self._clock() < job.started + job.seconds:
            return self._pending
        self.counts.polls_after_done += job.seen_done
        job.seen_done = True
        return job.answer

    def control(self, line: bytes, body: bytes) -> bytes:
        """Answer a call to a control address."""
        if line.startswith(b"POST /control/work "):
            return _answer(200, {"start": self.take(json.loads(body))})
        if line.startswith(b"GET /control/counts "):
            self.counts.polls_per_video = [job.polls for job in self._jobs.values()]
            self.counts.cpu = cpu_seconds() - self._cpu
            return _answer(200, asdict(self.counts))
        return _answer(404, {"error": "no such control address"})


class Connection(asyncio.Protocol):
    """One connection: cuts bytes into calls, answers each, and stays open."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._buffer = b""
        self._counted = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count it."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - what a TCP server gets
        self._transport = transport
        self._service.counts.connections += 1
        self._counted = True

    def data_received(self, data: bytes) -> None:
        """Answer all complete calls."""
        self._buffer += data
        while (end := self._buffer.find(_END)) >= 0 and self._transport is not None:
            head, body_at = self._buffer[:end], end + len(_END)
            until = body_at + (_length(head) if head.startswith(b"POST") else 0)
            if len(self._buffer) < until:
                return
            body, self._buffer = self._buffer[body_at:until], self._buffer[until:]
            self._transport.write(self._answered(head, body))

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._transport = None

    def _answered(self, head: bytes, body: bytes) -> bytes:
        if head.startswith(_POLL):
            return self._service.poll(head[len(_POLL) : head.index(b" ", len(_POLL))], head)
        line = head.partition(b"\r\n")[0] + b" "
        if _CONTROL not in line:
            self._service.counts.refused += 1
            return _answer(404, {"error": "not an address of this service"})
        if self._counted:
            self._service.counts.connections -= 1
            self._counted = False
        return self._service.control(line, body)


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


def _answer(status: int, body: object, *headers: str) -> bytes:
    text = json.dumps(body).encode()
    lines = [
        f"HTTP/1.1 {status} {_REASONS[status]}",
        "content-type: application/json",
        f"content-length: {len(text)}",
        *headers,
    ]
    return "\r\n".join(lines).encode() + _END + text


def _done(request_id: str, seconds: float, model: str, duration: int, ticks: int) -> bytes:
    link = f"https://vidgen.x.ai/xai-vidgen-bucket/xai-video-{request_id}.mp4"
    video = {"url": link, "duration": duration, "respect_moderation": True}
    body = {
        "status": "done",
        "progress": 100,
        "model": model,
        "video": video,
        "usage": {"cost_in_usd_ticks": ticks},
    }
    return _answer(200, body, "x-request-id: bench")


async def serve(port_file: Path) -> None:
    """Serve on a free port of 127.0.0.1 until cancelled; the file gets its number."""
    service = Service()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(service), "127.0.0.1", 0, backlog=BACKLOG)
    aside = port_file.with_suffix(".new")
    aside.write_text(str(server.sockets[0].getsockname()[1]))
    aside.rename(port_file)
    async with server:
        await server.serve_forever()


def main() -> None:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--port-file", type=Path, required=True)
    open_files()
    asyncio.run(serve(parser.parse_args().port_file))


if __name__ == "__main__":
    main()
