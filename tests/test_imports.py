"""A DAG file that uses the provider is parsed again and again, so it loads only what defines its tasks."""

from __future__ import annotations

import subprocess
import sys

import pytest

OURS = "airflow_provider_grokvideo"

LATER = {
    "client.carriers": "sends requests",
    "core.latency": "knows how long requests take",
    "core.media": "defines pydantic models",
    "core.pricing": "needs the requests",
    "core.requests": "defines pydantic models, the worst case part of all",
    "delivery": "fetches and stores videos",
    "emulator": "is for tests",
    "journal.storage": "opens object storage",
    "ledger.sql": "loads SQLAlchemy",
    "execution.ledger": "needs the prices",
    "execution.inputs": "reads input files",
    "triggers": "waits in the triggerer",
}
"""What a running task loads when it comes to it, and why it can wait until then."""

HEAVY = {"av", "airflow.triggers.base", "httpx", "fsspec", "PIL", "pydantic", "s3fs", "starlette", "uvicorn"}
"""What nothing of ours loads at parse time beyond what Airflow's own SDK has loaded."""

NEW = """
import sys
from airflow.sdk import DAG, BaseHook, BaseOperator, BaseSensorOperator, dag, task
before = set(sys.modules)
import {module}
print(*sorted(set(sys.modules) - before))
"""


@pytest.mark.parametrize("module", ["operators.grokvideo", "sensors.grokvideo", "decorators.grokvideo"])
def test_parsing_a_dag_file_loads_no_heavy_module(module):
    """Importing operators or sensors loads neither the request models nor anything that talks, stores or renders."""
    code = NEW.format(module=f"{OURS}.{module}")
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    new = set(run.stdout.split())

    assert set() == new & (HEAVY | {f"{OURS}.{name}" for name in LATER})
    assert f"{OURS}.{module}" in new
