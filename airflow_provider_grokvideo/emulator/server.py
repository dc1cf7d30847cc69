"""Python API of the emulator: two HTTP servers in a thread."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
from collections.abc import Callable, Mapping
from typing import Any

from airflow_provider_grokvideo.emulator.error import EmulatorError
from airflow_provider_grokvideo.emulator.faults import FaultQueue, read_fault
from airflow_provider_grokvideo.emulator.ledger import Seen, Start
from airflow_provider_grokvideo.emulator.tempo import Tempo
from airflow_provider_grokvideo.emulator.world import KEY, World

START_SECONDS = 15.0
STOP_SECONDS = 10.0


class Emulator:
    """The Grok video API on this machine.

    A context manager; :meth:`start` and :meth:`stop` do the same by hand. The API and the downloads are two origins
    on two ports. All state lives in memory and ends with the object.

    Args:
        host: Address to listen on; a loopback address, unless `allow_remote` is set.
        port: Port of the API; 0 chooses a free port.
        download_port: Port of the downloads; 0 chooses a free port.
        tempo: How long a job takes: ``at-once``, ``polls:N``, ``seconds:T`` or ``realistic``. The default, two polls,
            makes tests deterministic.
        quirks: Switches for behaviours that are known in more than one version; see ``docs/emulator.md``.
        link_ttl: Seconds until a download link expires.
        speed: Divides the times of ``seconds`` and ``realistic``.
        seed: Makes request ids and realistic waits repeatable.
        clock: Returns epoch seconds.
        allow_remote: Allow an address that other machines can reach; the emulator has no real authentication.

    Raises:
        EmulatorError: The address is not loopback, a port is taken, or the servers did not come up.
        ValueError: A tempo, quirk or speed is invalid.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        download_port: int = 0,
        tempo: str = "polls:2",
        quirks: Mapping[str, str] | None = None,
        link_ttl: float = 3600.0,
        speed: float = 1.0,
        seed: int | None = None,
        clock: Callable[[], float] | None = None,
        allow_remote: bool = False,
    ) -> None:
        if not allow_remote and not _is_loopback(host):
            raise EmulatorError(
                f"invalid host={host!r}: expected a loopback address; --allow-remote (allow_remote=True) allows others"
            )
        if not speed > 0:
            raise ValueError(f"invalid speed={speed}: expected a number above 0")
        self._place = (host, port, download_port)
        self._world = World(Tempo.parse(tempo), dict(quirks or {}), link_ttl, speed, seed, clock)
        self._thread: threading.Thread | None = None
        self._servers: list[Any] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pauses: Any = None
        self.base_url = ""
        self.download_origin = ""
        self.api_key = KEY

    def start(self) -> Emulator:
        """Start both servers and wait until they answer."""
        if self._thread is not None:
            return self
        sockets = self._bind()
        self._prepare(sockets)
        self._thread = threading.Thread(target=self._serve, args=(sockets,), name="grokvideo-emulator", daemon=True)
        self._thread.start()
        waited = threading.Event()
        for _ in range(int(START_SECONDS / 0.01)):
            if all(server.started for server in self._servers):
                return self
            if not self._thread.is_alive():
                break
            waited.wait(0.01)
        self.stop()
        raise EmulatorError(f"the emulator did not start within {START_SECONDS:.0f} s")

    def stop(self) -> None:
        """Stop both servers; hanging answers end, clips being made are dropped."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        for server in self._servers:
            server.should_exit = True
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._pauses.stop)
        self._studio.close()
        thread.join(STOP_SECONDS)

    def __enter__(self) -> Emulator:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.stop()

    @property
    def starts(self) -> list[Start]:
        """The accepted submissions, in their order: what xAI would bill."""
        return self._world.starts()

    @property
    def billed_ticks(self) -> int:
        """The sum of all bills in 1/10^10 USD."""
        return sum(start.billed_ticks for start in self.starts)

    @property
    def polls(self) -> dict[str, int]:
        """How often each request was polled."""
        return self._world.polls()

    @property
    def leaks(self) -> int:
        """How often the download origin saw an Authorization header or one of the keys; should be 0."""
        return self._world.leaks

    @property
    def requests(self) -> list[Seen]:
        """Every request that arrived since the last reset, without keys."""
        return list(self._world.requests.values())

    def script(self, fault: str, **options: Any) -> None:
        """Queue a fault such as ``http:503``, with ``on=``, ``times=``, ``prompt=``, ``request_id=`` and so on.

        Raises:
            ValueError: The fault or an option is unknown; the message lists the known ones.
        """
        read = read_fault(fault, **options)
        with self._world.lock:
            self._world.faults.add(read)

    def clear_faults(self) -> None:
        """Forget the queued faults; jobs and records stay."""
        with self._world.lock:
            self._world.faults = FaultQueue()

    def set_tempo(self, tempo: str) -> None:
        """Set the tempo of later requests."""
        with self._world.lock:
            self._world.tempo = Tempo.parse(tempo)

    def reset(self) -> None:
        """Clear jobs, files, faults and records, and restore the initial settings."""
        self._world.reset()

    def _bind(self) -> list[socket.socket]:
        host, port, download_port = self._place
        bound = []
        try:
            for number in (port, download_port):
                family = socket.AF_INET6 if ":" in host else socket.AF_INET
                # Named in full, because asyncio turns Nagle's delay (40 ms an answer) off for such sockets only.
                listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
                bound.append(listener)
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind((host, number))
                listener.listen(1024)
        except (OSError, OverflowError) as problem:
            for listener in bound:
                listener.close()
            reason = problem.strerror if isinstance(problem, OSError) else problem
            raise EmulatorError(f"cannot listen on {host}:{number}: {reason}") from problem
        origins = [f"http://{_bracketed(host)}:{listener.getsockname()[1]}" for listener in bound]
        self.base_url = f"{origins[0]}/v1"
        self.download_origin = self._world.download_origin = origins[1]
        # 0.0.0.0 is no address to fetch a video from: links name the host that the client asked.
        self._world.download_port = bound[1].getsockname()[1] if host in ("0.0.0.0", "::", "") else None  # noqa: S104
        return bound

    def _prepare(self, sockets: list[socket.socket]) -> None:
        import uvicorn

        from airflow_provider_grokvideo.emulator.app import api
        from airflow_provider_grokvideo.emulator.downloads import downloads
        from airflow_provider_grokvideo.emulator.studio import Studio
        from airflow_provider_grokvideo.emulator.wire import CuttableProtocol, Pauses

        self._studio = Studio()
        self._pauses = Pauses()
        self._servers = [
            uvicorn.Server(
                uvicorn.Config(
                    app,
                    http=CuttableProtocol,
                    loop="asyncio",
                    lifespan="off",
                    log_config=None,
                    access_log=False,
                    timeout_graceful_shutdown=2,
                )
            )
            for app in (
                api(self._world, self._studio, self._pauses),
                downloads(self._world, self._studio, self._pauses),
            )
        ]

    def _serve(self, sockets: list[socket.socket]) -> None:
        async def both() -> None:
            self._loop = asyncio.get_running_loop()
            pairs = zip(self._servers, sockets, strict=True)
            await asyncio.gather(*(server.serve(sockets=[listener]) for server, listener in pairs))

        try:
            asyncio.run(both())
        finally:
            self._studio.close()
            for listener in sockets:
                listener.close()


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
