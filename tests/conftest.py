"""Every test runs in an Airflow of its own: a temporary AIRFLOW_HOME, and nothing of the user's settings.

Airflow reads its settings when it is imported for the first time, so they are made when this file is loaded: before
any other conftest.py and any test module.
"""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parent.parent / "dags_examples"

_OF_THE_USER = ("AIRFLOW_", "_AIRFLOW_")
_OF_THE_USER_TOO = ("XAI_API_KEY", "GROKVIDEO_DEMO_OUTPUT")
_OF_THE_TESTS = {
    "AIRFLOW__CORE__DAGS_FOLDER": str(EXAMPLES),
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
    "AIRFLOW__API_AUTH__JWT_SECRET": "only-for-tests-" * 5,
}


def _settle_in() -> None:
    if "airflow" in sys.modules:
        raise RuntimeError("Airflow was imported before tests/conftest.py; leave out the pytest plugin that does it")
    for name in list(os.environ):
        if name.startswith(_OF_THE_USER) or name in _OF_THE_USER_TOO:
            del os.environ[name]
    home = tempfile.mkdtemp(prefix="grokvideo-tests-")
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    os.environ.update(_OF_THE_TESTS, AIRFLOW_HOME=home)


_settle_in()


@pytest.fixture(scope="session")
def airflow_db() -> None:
    """Make Airflow's database: once, and only for tests that need it, because it takes seconds."""
    command = [sys.executable, "-m", "airflow", "db", "migrate"]
    made = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    if made.returncode != 0:
        raise RuntimeError(f"airflow db migrate failed:\n{made.stderr[-3000:]}")
