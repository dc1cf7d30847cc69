"""Every test runs in an Airflow of its own: a temporary AIRFLOW_HOME, and nothing of the user's settings.

Airflow reads its settings when it is imported for the first time, so they are made when this file is loaded: before
any other conftest.py and any test module.
"""

from __future__ import annotations

import atexit
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).resolve().parent.parent / "dags_examples"

_OF_THE_USER = ("AIRFLOW_", "_AIRFLOW_")
_OF_THE_USER_TOO = ("XAI_API_KEY", "GROKVIDEO_DEMO_OUTPUT")
_OF_THE_TESTS = {
    "AIRFLOW__CORE__DAGS_FOLDER": str(EXAMPLES),
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
    "AIRFLOW__OPENLINEAGE__DISABLED": "True",
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


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep what a test printed in a form that can be sent: pytest-xdist stops at half a surrogate pair."""
    report = yield
    report.sections = [(title, text.encode("utf-8", "replace").decode()) for title, text in report.sections]
    return report


@pytest.fixture(scope="session")
def airflow_db() -> None:
    """Make Airflow's database: once, and only for tests that need it, because it takes seconds."""
    command = [sys.executable, "-m", "airflow", "db", "migrate"]
    made = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    if made.returncode != 0:
        raise RuntimeError(f"airflow db migrate failed:\n{made.stderr[-3000:]}")


@dataclass
class Bucket:
    """Object storage as Airflow has it, and a poll into it that goes around our code."""

    url: str
    fs: Any
    root: str

    def names(self) -> list[str]:
        """Return the names of all objects."""
        self.fs.invalidate_cache()
        return [name.removeprefix(f"{self.root}/") for name in self.fs.find(self.root)]

    def read(self, name: str) -> bytes:
        """Return an object's content."""
        return bytes(self.fs.cat_file(f"{self.root}/{name}"))


@pytest.fixture(scope="session")
def _s3_server() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def _attach_s3(endpoint: str) -> Any:
    """Attach S3 in the place the Amazon provider would have."""
    import s3fs
    from airflow.sdk.io import attach
    from airflow.sdk.io.store import _STORE_CACHE

    _STORE_CACHE.pop("s3", None)
    fs = s3fs.S3FileSystem(
        key="test",
        secret="test",
        endpoint_url=endpoint,
        client_kwargs={"region_name": "us-east-1"},
        config_kwargs={"retries": {"max_attempts": 1}, "connect_timeout": 2},
        skip_instance_cache=True,
    )
    attach("s3", fs=fs)
    return fs


@pytest.fixture
def s3(_s3_server: str) -> Iterator[Bucket]:
    """Attach an empty bucket of an S3 server on loopback."""
    import httpx
    from airflow.sdk.io.store import _STORE_CACHE

    httpx.post(f"{_s3_server}/moto-api/reset", trust_env=False).raise_for_status()
    fs = _attach_s3(_s3_server)
    fs.call_s3("create_bucket", Bucket="bucket")
    yield Bucket("s3://bucket", fs, "bucket")
    _STORE_CACHE.pop("s3", None)


@pytest.fixture
def dead_s3() -> Iterator[str]:
    """Attach an S3 nobody serves."""
    from airflow.sdk.io.store import _STORE_CACHE

    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        _attach_s3(f"http://127.0.0.1:{held.getsockname()[1]}").retries = 1
        yield "s3://bucket"
    _STORE_CACHE.pop("s3", None)


@pytest.fixture
def memory() -> Iterator[Bucket]:
    """Attach a storage that shows files while they are written, as SFTP does."""
    from airflow.sdk.io import attach
    from airflow.sdk.io.store import _STORE_CACHE
    from fsspec.implementations.memory import MemoryFileSystem

    fs = MemoryFileSystem(skip_instance_cache=True)
    fs.store.clear()
    _STORE_CACHE.pop("memory", None)
    attach("memory", fs=fs)
    yield Bucket("memory://files", fs, "/files")
    fs.store.clear()
    _STORE_CACHE.pop("memory", None)
