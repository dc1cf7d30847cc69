"""Child processes that never outlive their owner: start, log, signal, and find what is left of a family."""

from __future__ import annotations

import os
import socket
import subprocess
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from signal import SIGTERM, Signals
from typing import IO

import psutil  # type: ignore[import-untyped, unused-ignore]

FAMILY = "GROKVIDEO_PROCESS_FAMILY"
"""Environment variable that marks every descendant of a family, also those that changed group or lost their parent."""

_PASSED_ON_NEVER = ("AIRFLOW", "_AIRFLOW", "XAI_", "GROKVIDEO_", "PYTHONPATH", "PYTEST_", "COV_CORE_")


class ProcessFailed(RuntimeError):
    """A child did not start, did not get ready in time, or ended when it should not have."""


def clean_environment(**extra: str) -> dict[str, str]:
    """Return this process's environment without what belongs to the user's own Airflow or xAI account.

    PATH, HOME, proxies and certificates stay; loopback never goes through a proxy.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_PASSED_ON_NEVER)}
    for name in ("no_proxy", "NO_PROXY"):
        known = [host for host in kept.get(name, "").split(",") if host]
        kept[name] = ",".join(dict.fromkeys([*known, "127.0.0.1", "localhost"]))
    return kept | extra


def free_ports(count: int) -> list[int]:
    """Return ``count`` different TCP ports that nobody listens on at 127.0.0.1."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def tail(path: Path, lines: int = 25) -> str:
    """Return the last lines of a log, or a note that there is none."""
    try:
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return f"(no log at {path})"


class ChildProcess:
    """One child in its own session, so that a Ctrl-C at the terminal reaches only its owner.

    Args:
        name: What messages call it.
        command: Program and arguments.
        env: Its whole environment.
        log: File that gets its output and errors, appended to.
        cwd: Its working directory. ``python -m`` imports from there first: give it an empty one.
    """

    def __init__(self, name: str, command: Sequence[str], *, env: Mapping[str, str], log: Path, cwd: Path) -> None:
        self.name = name
        self.log = log
        self._command = list(command)
        self._env = dict(env)
        self._cwd = cwd
        self._popen: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; a child that runs already is an error."""
        if self.running:
            raise ProcessFailed(f"{self.name} is running already (pid {self.pid}).")
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as sink:
            self._popen = self._spawn(sink)

    def _spawn(self, sink: IO[bytes]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self._command,
            env=self._env,
            cwd=self._cwd,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """Process id of the current or last run."""
        if self._popen is None:
            raise ProcessFailed(f"{self.name} was never started.")
        return self._popen.pid

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._popen is not None and self._popen.poll() is None

    def check(self) -> None:
        """Raise with the end of its log if it has ended."""
        if not self.running:
            code = self._popen.returncode if self._popen else None
            raise ProcessFailed(f"{self.name} ended with code {code}. Its last lines:\n{tail(self.log)}")

    def wait(self, timeout: float) -> int:
        """Return its exit code; a child that runs longer than ``timeout`` seconds is an error."""
        if self._popen is None:
            raise ProcessFailed(f"{self.name} was never started.")
        try:
            return self._popen.wait(timeout)
        except subprocess.TimeoutExpired:
            raise ProcessFailed(
                f"{self.name} was not done after {timeout:.0f} s. Its last lines:\n{tail(self.log)}"
            ) from None

    def signal(self, sig: Signals) -> None:
        """Send a signal to the process itself; an ended one is left alone."""
        if self._popen is not None and self._popen.poll() is None:
            self._popen.send_signal(sig)


class Family:
    """Children that are started under one mark and end together.

    A process group is not enough: Airflow gives each task a group of its own, and the children of a killed parent
    belong to nobody. So each descendant carries a mark in its environment, by which :meth:`stop` finds the leftovers.
    """

    def __init__(self) -> None:
        self.mark = uuid.uuid4().hex
        self.members: dict[str, ChildProcess] = {}

    def add(self, name: str, command: Sequence[str], *, env: Mapping[str, str], log: Path, cwd: Path) -> ChildProcess:
        """Make a member without starting it."""
        # SPT_NOENV: setproctitle, which Airflow uses, would otherwise write its titles over the mark.
        marked = {**env, FAMILY: self.mark, "SPT_NOENV": "1"}
        child = ChildProcess(name, command, env=marked, log=log, cwd=cwd)
        self.members[name] = child
        return child

    def leftovers(self) -> list[psutil.Process]:
        """Return every living process that carries the mark, members included."""
        return [process for process in psutil.process_iter() if self._is_ours(process)]

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            marked = bool(process.environ().get(FAMILY) == self.mark)
            return marked and process.status() != psutil.STATUS_ZOMBIE
        except (psutil.Error, OSError):  # somebody else's, or gone meanwhile
            return False

    def stop(self, grace: float = 6.0) -> None:
        """End all of it: SIGTERM to the members, at most ``grace`` seconds, then SIGKILL for whoever carries the mark.

        Only the members get the SIGTERM, not their groups: Airflow's triggerer waits ten seconds longer when its child
        gets one too. A second Ctrl-C while waiting cuts the grace short.
        """
        try:
            for child in self.members.values():
                child.signal(SIGTERM)
            self._await_end(time.monotonic() + grace)
        finally:
            self.kill()

    def _await_end(self, deadline: float) -> None:
        for child in self.members.values():
            with suppress(ProcessFailed):
                child.wait(max(0.0, deadline - time.monotonic()))

    def kill(self) -> None:
        """End all of it by SIGKILL, and wait until it is gone."""
        for _ in range(20):  # a process may be forking while we look
            left = self.leftovers()
            if not left:
                break
            for process in left:
                with suppress(psutil.Error):
                    process.kill()
            psutil.wait_procs(left, timeout=1)
        for child in self.members.values():
            with suppress(ProcessFailed):
                child.wait(1)
