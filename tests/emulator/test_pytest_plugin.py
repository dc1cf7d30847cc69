"""The fixtures that come with the package: they cost nothing until used, and then a DAG's tests have a service."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

THROWAWAY = """
import json, os, urllib.request
import pytest
from airflow_provider_grokvideo.core.polling import decisions


def ask(emulator, path, body=None):
    request = urllib.request.Request(emulator.base_url + path, json.dumps(body).encode() if body else None)
    request.add_header("authorization", f"Bearer {emulator.api_key}")
    request.add_header("content-type", "application/json")
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.status


def test_a_first_start(grokvideo_emulator):
    assert 200 == ask(grokvideo_emulator, "/videos/generations", {"prompt": "A red ball"})
    request_id = grokvideo_emulator.starts[0].request_id
    assert [202, 202, 200] == [ask(grokvideo_emulator, f"/videos/{request_id}") for _ in range(3)]
    grokvideo_emulator.set_tempo("polls:9")
    ADDRESSES.append(grokvideo_emulator.base_url)


def test_nothing_is_left_of_it(grokvideo_emulator):
    assert [] == grokvideo_emulator.starts == grokvideo_emulator.requests
    assert 0 == grokvideo_emulator.billed_ticks
    assert [grokvideo_emulator.base_url] == ADDRESSES


def test_the_connection_points_to_it(grokvideo_connection, grokvideo_emulator):
    connection = json.loads(os.environ["AIRFLOW_CONN_GROKVIDEO_DEFAULT"])
    assert "grokvideo_default" == grokvideo_connection
    assert {
        "conn_type": "grokvideo",
        "host": grokvideo_emulator.base_url,
        "password": grokvideo_emulator.api_key,
        "extra": {"poll_interval": 0.2},
    } == connection


def test_a_deferred_task_is_polled_at_once(grokvideo_connection):
    assert (0, 0) == (decisions.FIRST_POLL, decisions.PROPAGATION)


def test_the_connection_is_gone_afterwards():
    assert "AIRFLOW_CONN_GROKVIDEO_DEFAULT" not in os.environ
    assert (10, 10) == (decisions.FIRST_POLL, decisions.PROPAGATION)


ADDRESSES = []
"""

IDLE = """
import sys


def test_nothing_heavy_is_loaded():
    heavy = {"airflow", "av", "PIL", "starlette", "uvicorn", "httpx", "pydantic"}
    assert "airflow_provider_grokvideo.emulator.pytest_plugin" in sys.modules
    assert set() == heavy & set(sys.modules)
"""

PLUGIN = "airflow_provider_grokvideo.emulator.pytest_plugin"


def run_pytest(folder: Path, text: str) -> str:
    """Run a test file in a process and a folder of its own, with our plugin alone; return what it said."""
    (folder / "test_throwaway.py").write_text(text)
    (folder / "pytest.ini").write_text("[pytest]\n")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_CONN_")}
    command = [sys.executable, "-m", "pytest", "-q", "-p", PLUGIN, "-p", "no:cacheprovider", "test_throwaway.py"]
    found = subprocess.run(
        command,
        cwd=folder,
        env=environment | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return found.stdout + found.stderr


def test_the_fixtures_serve_a_throwaway_test_file(tmp_path):
    """A shared server, an empty ledger for each test, and a connection that goes away."""
    assert "5 passed" in run_pytest(tmp_path, THROWAWAY)


def test_tests_that_use_no_fixture_load_nothing_heavy(tmp_path):
    """Other people's tests do not pay for the plugin."""
    assert "1 passed" in run_pytest(tmp_path, IDLE)


@pytest.mark.parametrize(
    "module", [PLUGIN, "airflow_provider_grokvideo.emulator", "airflow_provider_grokvideo.emulator.__main__"]
)
def test_importing_is_light(module):
    """Importing the plugin, the package or the command line loads no server, no encoder and no Airflow."""
    program = f"import sys, {module}; print(sorted({{name.partition('.')[0] for name in sys.modules}}))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)

    heavy = ("'airflow'", "'av'", "'PIL'", "'starlette'", "'uvicorn'", "'httpx'", "'pydantic'")
    assert [] == [name for name in heavy if name in loaded.stdout]


def test_pytest_finds_the_plugin_by_itself():
    """The installed package registers the plugin."""
    from importlib.metadata import entry_points

    assert PLUGIN in {point.value for point in entry_points(group="pytest11")}


def test_the_emulator_stands_alone():
    """A running emulator loads nothing of the client, the core or Airflow; the version is all it shares."""
    program = """
import sys
from airflow_provider_grokvideo.emulator import Emulator
with Emulator() as emulator:
    import airflow_provider_grokvideo.emulator.render
ours = {name.split(".")[1] for name in sys.modules if name.startswith("airflow_provider_grokvideo.")}
print(sorted(ours), "airflow" in sys.modules)
"""
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)

    assert "['emulator', 'provider_info'] False" == found.stdout.strip()
