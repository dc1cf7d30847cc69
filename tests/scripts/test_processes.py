"""Children end with their owner, however they try to get away."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import ChildProcess, Family, ProcessFailed, free_ports

SLEEPER = "import time; print('up', flush=True); time.sleep(60)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEPER}"
PARENT_OF_RUNAWAY = (
    f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {SLEEPER!r}], start_new_session=True)"
)


@pytest.fixture
def family() -> Iterator[Family]:
    made = Family()
    yield made
    made.stop(grace=0)


def add(family: Family, code: str, folder: Path) -> ChildProcess:
    env = {"PATH": "/usr/bin:/bin"}
    child = family.add("child", [sys.executable, "-c", code], env=env, log=folder / "child.log", cwd=folder)
    child.start()
    return child


def wait_for_output(child: ChildProcess) -> None:
    deadline = time.monotonic() + 20
    while "up" not in child.log.read_text():
        if time.monotonic() > deadline:
            raise TimeoutError(child.log.read_text())
        time.sleep(0.02)


def test_stop_ends_a_child(family: Family, tmp_path: Path) -> None:
    """A child that listens to SIGTERM is gone long before the grace is over."""
    child = add(family, SLEEPER, tmp_path)
    wait_for_output(child)
    began = time.monotonic()
    family.stop(grace=30)

    assert not child.running
    assert time.monotonic() - began < 30


def test_stop_kills_who_ignores_it(family: Family, tmp_path: Path) -> None:
    """A child that ignores SIGTERM is killed after the grace."""
    child = add(family, STUBBORN, tmp_path)
    wait_for_output(child)
    family.stop(grace=0.2)

    assert not child.running


def test_stop_finds_a_runaway(family: Family, tmp_path: Path) -> None:
    """A grandchild in a session of its own, whose parent is gone, is found by its mark and ended."""
    child = add(family, PARENT_OF_RUNAWAY, tmp_path)

    assert 0 == child.wait(20)

    wait_for_output(child)

    assert 1 == len(family.leftovers())

    family.stop()

    assert [] == family.leftovers()


def test_dead_child_shows_its_last_words(family: Family, tmp_path: Path) -> None:
    """A child that ended by itself is reported with its exit code and the end of its log."""
    child = add(family, "print('no such database'); raise SystemExit(3)", tmp_path)
    child.wait(20)

    with pytest.raises(ProcessFailed, match=r"(?s)child ended with code 3.*no such database"):
        child.check()


def test_free_ports_differ() -> None:
    """Ports that are asked for together are different ones."""
    ports = free_ports(20)

    assert 20 == len(set(ports))
