"""A Redis server of one's own on 127.0.0.1, as a context manager; it keeps nothing on disk.

>>> with RedisServer() as server:
...     broker = server.url(database=0)
"""

from __future__ import annotations

import secrets
import shutil
import socket
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from postgres import NotInstalled
from processes import ChildProcess, Family, ProcessFailed, clean_environment, free_ports, tail

HOW_TO_INSTALL = (
    "Redis is not installed: redis-server is not on PATH. "
    "On Debian and Ubuntu: apt-get install redis-server; the server that the package sets up is not used."
)


class RedisServer:
    """A server without persistence at a free port of 127.0.0.1, behind a random password; ended on exit.

    Args:
        start_timeout: Seconds until it must answer. One is usual.

    Raises:
        NotInstalled: There is no Redis on this machine.
        ProcessFailed: It could not be started; the message has the end of its log.
    """

    def __init__(self, *, start_timeout: float = 30.0) -> None:
        self._timeout = start_timeout
        self._family = Family()
        self._password = secrets.token_hex(16)
        self._folder: Path | None = None
        self.port = 0

    def url(self, database: int = 0) -> str:
        """Return the address of one of its sixteen databases."""
        return f"redis://:{self._password}@127.0.0.1:{self.port}/{database}"

    def __enter__(self) -> RedisServer:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the server and wait until it answers."""
        program = find_program()
        folder = self._folder = Path(tempfile.mkdtemp(prefix="grokvideo-redis-"))
        (self.port,) = free_ports(1)
        # A file, as everybody can read the arguments of a process.
        configuration = folder / "redis.conf"
        configuration.touch(mode=0o600)
        configuration.write_text(
            f"bind 127.0.0.1\nport {self.port}\nrequirepass {self._password}\n"
            f'dir "{folder}"\nsave ""\nappendonly no\ndaemonize no\n'
        )
        server = self._family.add(
            "redis", [program, str(configuration)], env=clean_environment(), log=folder / "redis.log", cwd=folder
        )
        server.start()
        self._await_ready(server)

    def stop(self) -> None:
        """End the server and remove its folder; safe to call more than once."""
        self._family.stop(grace=3)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _await_ready(self, server: ChildProcess) -> None:
        deadline = time.monotonic() + self._timeout
        while not self._answers():
            server.check()
            if time.monotonic() > deadline:
                raise ProcessFailed(
                    f"Redis was not ready after {self._timeout:.0f} s. Its last lines:\n{tail(server.log)}"
                )
            time.sleep(0.05)

    def _answers(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1) as line:
            line.sendall(f"AUTH {self._password}\r\nPING\r\n".encode())
            answer = b""
            while answer.count(b"\r\n") < 2 and (part := line.recv(64)):
                answer += part
            return answer == b"+OK\r\n+PONG\r\n"
        return False


def find_program() -> str:
    """Return the path of ``redis-server``.

    Raises:
        NotInstalled: It is not on PATH.
    """
    program = shutil.which("redis-server")
    if program is None:
        raise NotInstalled(HOW_TO_INSTALL)
    return program
