"""Servers of one's own for tests and demonstrations: they start, answer, and leave nothing behind."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import postgres
import psutil
import pytest
import redis_server
from postgres import NotInstalled, Postgres, find_programs


def missing() -> str:
    """Return what to install, or nothing."""
    try:
        find_programs()
    except NotInstalled as reason:
        return str(reason)
    return ""


installed = pytest.mark.skipif(
    bool(missing()) and os.environ.get("GROKVIDEO_NEED_POSTGRES") != "1", reason=missing() or "PostgreSQL is here"
)
"""A machine without PostgreSQL is told what to install; GROKVIDEO_NEED_POSTGRES=1 makes that a failure."""


def psql(dsn: str, question: str) -> list[str]:
    return [str(find_programs() / "psql"), "--no-psqlrc", "-tAc", question, dsn]


def ask(dsn: str, question: str) -> str:
    done = subprocess.run(psql(dsn, question), capture_output=True, text=True, check=False, timeout=20)
    return (done.stdout or done.stderr).strip()


@installed
def test_postgres_answers_and_is_gone() -> None:
    """A server answers within its block, on 127.0.0.1 only; afterwards neither process nor data is left."""
    with Postgres(settings={"max_connections": "20"}) as server:
        process = psutil.Process(server.pid)
        heard = {each.laddr.ip for each in process.net_connections() if each.status == psutil.CONN_LISTEN}
        data = Path(ask(server.dsn, "SHOW data_directory"))

        assert "1" == ask(server.dsn, "SELECT 1")
        assert ("20", "off") == (ask(server.dsn, "SHOW max_connections"), ask(server.dsn, "SHOW fsync"))
        assert {"127.0.0.1"} == heard
        assert data.exists()

    assert not process.is_running()
    assert not data.parent.exists()


@installed
def test_postgres_does_not_wait_for_its_clients() -> None:
    """A block that ends by an error ends its server at once, also while a client is in the middle of a statement."""
    began = 0.0
    with suppress(ZeroDivisionError), Postgres(fsync=True) as server:
        process = psutil.Process(server.pid)
        client = subprocess.Popen(psql(server.dsn, "SELECT pg_sleep(60)"), stderr=subprocess.DEVNULL)
        asleep = "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)' AND state = 'active'"
        deadline = time.monotonic() + 20
        while ask(server.dsn, asleep) != "1":
            assert time.monotonic() < deadline
        began = time.monotonic()
        raise ZeroDivisionError

    assert 0 != client.wait(10)
    assert not process.is_running()
    assert time.monotonic() - began < 50


@installed
def test_postgres_refuses_a_wrong_password() -> None:
    """Others on the same machine do not get in without the password."""
    with Postgres() as server:
        answer = ask(server.dsn.replace("@", "x@"), "SELECT 1")

    assert "password authentication failed" in answer


@installed
def test_postgres_shows_why_it_does_not_start() -> None:
    """A server that ends at its start is an error with the end of its log."""
    with pytest.raises(postgres.ProcessFailed, match="no_such_setting"), Postgres(settings={"no_such_setting": "1"}):
        pass


@pytest.mark.parametrize(
    ("find", "package"),
    [
        pytest.param(postgres.find_programs, "postgresql", id="PostgreSQL"),
        pytest.param(redis_server.find_program, "redis-server", id="Redis"),
    ],
)
def test_a_missing_server_is_named(
    find: Callable[[], object], package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a machine without the programs the message says what to install."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(postgres, "_DEBIAN", tmp_path)

    with pytest.raises(NotInstalled, match=f"apt-get install {package};"):
        find()


def test_the_newest_postgres_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where several versions are installed side by side, the highest number wins, not the last name."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(postgres, "_DEBIAN", tmp_path)
    for version in ("9.6", "15", "17"):
        programs = tmp_path / version / "bin"
        programs.mkdir(parents=True)
        for name in ("initdb", "postgres"):
            (programs / name).touch()

    assert tmp_path / "17" / "bin" == find_programs()
