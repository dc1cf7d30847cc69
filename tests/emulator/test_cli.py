"""``python -m airflow_provider_grokvideo.emulator`` as a shell sees it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from airflow_provider_grokvideo.emulator import Emulator, EmulatorError

COMMAND = [sys.executable, "-m", "airflow_provider_grokvideo.emulator"]


@contextmanager
def running(*options: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """Run the command until it has printed its first line; kill it if it is still there at the end."""
    process = subprocess.Popen([*COMMAND, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process, json.loads(process.stdout.readline())
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=10)


def refused(*options: str) -> subprocess.CompletedProcess[str]:
    """Run the command with options it should refuse."""
    return subprocess.run([*COMMAND, *options], capture_output=True, text=True, timeout=30, check=False)


def test_the_first_line_says_how_to_reach_it(tmp_path):
    """The line is JSON, stands in the ready-file too, and what it names answers; SIGTERM ends it cleanly."""
    ready = tmp_path / "ready.json"
    with running("--tempo", "at-once", "--quirk", "wrong_key=401", "--ready-file", str(ready)) as (process, facts):
        _until(ready.exists)
        written = json.loads(ready.read_text())
        headers = {"authorization": f"Bearer {facts['api_key']}"}
        good = httpx.get(f"{facts['base_url']}/api-key", headers=headers, trust_env=False)
        wrong = httpx.get(f"{facts['base_url']}/api-key", headers={"authorization": "Bearer x"}, trust_env=False)
        process.send_signal(signal.SIGTERM)
        _, hint = process.communicate(timeout=15)

    assert {"base_url", "download_origin", "api_key", "pid"} == set(facts)
    assert facts == written
    assert process.pid == facts["pid"]
    assert (200, 401) == (good.status_code, wrong.status_code)
    assert (0, [ready]) == (process.returncode, list(tmp_path.iterdir()))
    assert "AIRFLOW_CONN_GROKVIDEO_DEFAULT" in hint
    assert "Traceback" not in hint


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_signal_ends_it_quickly_although_an_answer_hangs(number):
    """A client that waits for a hanging answer does not hold the emulator up."""
    with running("--tempo", "at-once") as (process, facts):
        control = facts["base_url"].removesuffix("/v1") + "/_emulator"
        httpx.post(f"{control}/script", json={"fault": "timeout", "on": "submit"}, trust_env=False)
        client = threading.Thread(target=_submit, args=(facts,))
        client.start()
        _until(lambda: httpx.get(f"{control}/ledger", trust_env=False).json()["starts"])
        process.send_signal(number)
        # The answer hangs for an hour.
        _, said = process.communicate(timeout=60)
        client.join(60)

    assert 0 == process.returncode
    assert not client.is_alive()
    assert "Traceback" not in said


@pytest.mark.parametrize("option", ["--port", "--download-port"])
def test_a_taken_port_is_one_clear_line(option):
    """The message names address and reason, and the exit code is 2."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        found = refused(option, str(port))

    assert (2, "") == (found.returncode, found.stdout)
    assert [f"emulator: cannot listen on 127.0.0.1:{port}: {os.strerror(98)}"] == found.stderr.splitlines()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        pytest.param(["--host", "0.0.0.0"], "loopback", id="every address"),
        pytest.param(["--host", "example.org"], "loopback", id="a name"),
        pytest.param(["--tempo", "allegro"], "at-once, polls:N", id="tempo"),
        pytest.param(["--quirk", "colour=red"], "wrong_key", id="quirk"),
        pytest.param(["--quirk", "wrong_key"], "NAME=VALUE", id="quirk without a value"),
        pytest.param(["--port", "70000"], "70000", id="port"),
        pytest.param(["--speed", "0"], "speed", id="speed"),
    ],
)
def test_a_wrong_option_is_one_clear_line(options, named):
    """What cannot be is refused with exit code 2, without a traceback."""
    found = refused(*options)

    assert (2, "") == (found.returncode, found.stdout)
    assert named in found.stderr
    assert "Traceback" not in found.stderr


def test_a_ready_file_that_cannot_be_written_is_one_clear_line(tmp_path):
    """The folder of the ready-file must be there."""
    found = refused("--ready-file", str(tmp_path / "nowhere" / "ready.json"))

    assert 2 == found.returncode
    assert "nowhere" in found.stderr
    assert "Traceback" not in found.stderr


def test_from_python_a_taken_port_is_an_error():
    """The same refusal from Python, and nothing is left listening."""
    with Emulator() as first, pytest.raises(EmulatorError, match="cannot listen on"):
        Emulator(port=int(first.base_url.split(":")[2].split("/")[0])).start()

    assert first.base_url


def test_an_address_beyond_this_machine_needs_a_word():
    """``allow_remote`` is needed to bind an address that others can reach."""
    with pytest.raises(EmulatorError, match="allow_remote=True"):
        Emulator(host="0.0.0.0")

    Emulator(host="0.0.0.0", allow_remote=True)


def test_it_can_be_started_and_stopped_by_hand_and_again():
    """``start`` and ``stop`` may be called twice, the ports are free afterwards, and it starts anew."""
    emulator = Emulator()
    assert emulator is emulator.start() is emulator.start()
    first = emulator.base_url
    emulator.stop()
    emulator.stop()
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{first}/models", trust_env=False)
    with emulator:
        answer = httpx.get(f"{emulator.base_url}/models", trust_env=False)

    assert 401 == answer.status_code


def test_both_origins_are_on_loopback_and_differ():
    """API and downloads have ports of their own."""
    with Emulator() as emulator:
        origins = {emulator.base_url.removesuffix("/v1"), emulator.download_origin}

    assert 2 == len(origins)
    assert ["http://127.0.0.1", "http://127.0.0.1"] == [origin.rpartition(":")[0] for origin in origins]


def test_a_missing_library_is_named_with_its_cure():
    """Without PyAV the emulator says which extra brings it."""
    program = """
import importlib.util, sys
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "av" else find(name, *rest)
from airflow_provider_grokvideo.emulator.__main__ import main
sys.exit(main(["--port", "0"]))
"""
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False)

    line = "emulator: the emulator needs av: pip install 'airflow-provider-grokvideo[emulator]'"
    assert (2, line) == (found.returncode, found.stderr.strip())


def _submit(facts: dict[str, Any]) -> None:
    headers = {"authorization": f"Bearer {facts['api_key']}"}
    try:
        httpx.post(
            f"{facts['base_url']}/videos/generations",
            json={"prompt": "A red ball"},
            headers=headers,
            trust_env=False,
            timeout=30,
        )
    except httpx.HTTPError:
        return


def _until(true: Any) -> None:
    deadline = time.monotonic() + 15
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_help_names_every_option():
    """``--help`` costs no start of a server."""
    found = refused("--help")

    names = [
        "--host",
        "--port",
        "--download-port",
        "--tempo",
        "--speed",
        "--link-ttl",
        "--quirk",
        "--ready-file",
        "--allow-remote",
    ]
    assert 0 == found.returncode
    assert [] == [name for name in names if name not in found.stdout]


def test_paths_with_spaces_are_fine(tmp_path):
    """A ready-file may lie in a folder whose name has a space."""
    folder = tmp_path / "a folder"
    folder.mkdir()
    with running("--ready-file", str(folder / "ready file.json")) as (_, facts):
        _until((folder / "ready file.json").exists)
        written = json.loads(Path(folder / "ready file.json").read_text())

    assert facts == written
