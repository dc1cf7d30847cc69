"""A PostgreSQL server of one's own on 127.0.0.1, as a context manager; it is gone, data included, when the block ends.

>>> with Postgres() as server:
...     engine = sqlalchemy.create_engine(server.url("psycopg2"))

It is made of the programs of an installed PostgreSQL; a server that runs on this machine already is not touched.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from processes import ChildProcess, Family, ProcessFailed, clean_environment, free_ports, tail

USER = "grokvideo"
DATABASE = "postgres"
HOW_TO_INSTALL = (
    "PostgreSQL is not installed: initdb and postgres are neither on PATH nor in /usr/lib/postgresql/*/bin. "
    "On Debian and Ubuntu: apt-get install postgresql; the server that the package sets up is not used."
)

_DEBIAN = Path("/usr/lib/postgresql")
_UNPRIVILEGED = ("postgres", "nobody")

# PostgreSQL refuses to run as root. The interpreter that drops the rights becomes the program: the pid stays.
_AS_USER = "import os, sys; os.setgroups([]); os.setgid({gid}); os.setuid({uid}); os.execv(sys.argv[1], sys.argv[1:])"

_UNSAFE_AND_FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class NotInstalled(RuntimeError):
    """A program is missing; the message says how to get it."""


class Postgres:
    """A server with an empty database, started on entry and ended on exit.

    It listens at a free port of 127.0.0.1 only, without a Unix socket, and asks for a random password: others on the
    same machine cannot use it. Started by root, it runs as the user ``postgres``, or else ``nobody``.

    Args:
        fsync: Whether a commit survives a crash of the machine. False by default: the data lives as long as the block.
        settings: Further settings of the server, such as ``{"max_connections": "200"}``.
        start_timeout: Seconds for each of the two steps, making the data directory and answering.
            One second is usual for both.

    Raises:
        NotInstalled: There is no PostgreSQL on this machine.
        ProcessFailed: It could not be set up or started; the message has the end of its log.
    """

    def __init__(
        self, *, fsync: bool = False, settings: Mapping[str, str] | None = None, start_timeout: float = 60.0
    ) -> None:
        self._settings = ({} if fsync else _UNSAFE_AND_FAST) | dict(settings or {})
        self._timeout = start_timeout
        self._family = Family()
        self._password = secrets.token_hex(16)
        self._folder: Path | None = None
        self._server: ChildProcess | None = None
        self.port = 0

    def url(self, driver: str = "psycopg2") -> str:
        """Return the address for SQLAlchemy, for a driver such as ``psycopg2`` or ``asyncpg``."""
        return self._address(f"postgresql+{driver}")

    @property
    def dsn(self) -> str:
        """The address as libpq and its drivers know it."""
        return self._address("postgresql")

    def _address(self, scheme: str) -> str:
        return f"{scheme}://{USER}:{self._password}@127.0.0.1:{self.port}/{DATABASE}"

    @property
    def pid(self) -> int:
        """Process id of the server."""
        if self._server is None:
            raise ProcessFailed("PostgreSQL was never started.")
        return self._server.pid

    def __enter__(self) -> Postgres:
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
        """Make the data directory, start the server and wait until it takes connections."""
        programs = find_programs()
        self._folder = Path(tempfile.mkdtemp(prefix="grokvideo-postgres-"))
        self._make_data(programs / "initdb", self._folder)
        (self.port,) = free_ports(1)
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            # In the data directory, so that a killed server leaves nothing in /dev/shm.
            "dynamic_shared_memory_type": "mmap",
            **self._settings,
        }
        arguments = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        data = self._folder / "data"
        self._server = self._add("postgres", programs / "postgres", "-D", str(data), *arguments)
        self._server.start()
        self._await_ready(self._server, data / "postmaster.pid")

    def stop(self) -> None:
        """End the server and remove its data; safe to call more than once."""
        if self._server is not None:
            # SIGINT: close the connections of clients. SIGTERM would wait for them.
            self._server.signal(signal.SIGINT)
            with suppress(ProcessFailed):
                self._server.wait(5)
        self._family.kill()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _make_data(self, initdb: Path, folder: Path) -> None:
        secret = folder / "password"
        secret.touch(mode=0o600)
        secret.write_text(self._password)
        for path in (folder, secret):
            _hand_over(path)
        maker = self._add(
            "initdb",
            initdb,
            *("-D", str(folder / "data"), "-U", USER, "-A", "scram-sha-256", f"--pwfile={secret}"),
            *("-E", "UTF8", "--no-locale", "--no-sync"),
        )
        maker.start()
        if maker.wait(self._timeout) != 0:
            raise ProcessFailed(f"initdb failed. Its last lines:\n{tail(maker.log)}")
        secret.unlink()

    def _add(self, name: str, program: Path, *arguments: str) -> ChildProcess:
        if self._folder is None:
            raise ProcessFailed("PostgreSQL has no folder.")
        command = [*_rights_dropped(), str(program), *arguments]
        log = self._folder / f"{name}.log"
        return self._family.add(name, command, env=clean_environment(LC_ALL="C"), log=log, cwd=self._folder)

    def _await_ready(self, server: ChildProcess, pid_file: Path) -> None:
        deadline = time.monotonic() + self._timeout
        while not _says_ready(pid_file):
            server.check()
            if time.monotonic() > deadline:
                raise ProcessFailed(
                    f"PostgreSQL was not ready after {self._timeout:.0f} s. Its last lines:\n{tail(server.log)}"
                )
            time.sleep(0.05)


def find_programs() -> Path:
    """Return the folder with ``initdb`` and ``postgres``: the one on PATH, else the newest of Debian's.

    Raises:
        NotInstalled: There is none.
    """
    on_path = shutil.which("initdb")
    debian = sorted(_DEBIAN.glob("*/bin"), key=_version, reverse=True)
    folders = [Path(on_path).resolve().parent] if on_path else []
    for folder in [*folders, *debian]:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    raise NotInstalled(HOW_TO_INSTALL)


def _version(folder: Path) -> float:
    try:
        return float(folder.parent.name)
    except ValueError:
        return 0.0


def _says_ready(pid_file: Path) -> bool:
    """Tell whether the server's pid file has "ready" in its eighth line, which is how ``pg_ctl --wait`` knows."""
    try:
        lines = pid_file.read_text().splitlines()
    except OSError:
        return False
    return len(lines) >= 8 and lines[7].strip() == "ready"


def _unprivileged() -> pwd.struct_passwd | None:
    """Return the user that a server of root's runs as; None if we are not root.

    Raises:
        ProcessFailed: There is no such user.
    """
    if os.geteuid() != 0:
        return None
    for name in _UNPRIVILEGED:
        with suppress(KeyError):
            return pwd.getpwnam(name)
    raise ProcessFailed(f"PostgreSQL does not run as root, and there is no user {' or '.join(_UNPRIVILEGED)}.")


def _rights_dropped() -> list[str]:
    user = _unprivileged()
    if user is None:
        return []
    return [sys.executable, "-I", "-S", "-c", _AS_USER.format(uid=user.pw_uid, gid=user.pw_gid)]


def _hand_over(path: Path) -> None:
    user = _unprivileged()
    if user is not None:
        os.chown(path, user.pw_uid, user.pw_gid)
