"""Reading the price list leaves no trace in the task's lineage."""

from __future__ import annotations

import os
import subprocess
import sys

PROGRAM = """
from airflow.providers.openlineage.extractors.manager import ExtractorManager
from airflow.sdk import ObjectStoragePath

from airflow_provider_grokvideo.ledger import settings


def inputs():
    found = ExtractorManager().get_hook_lineage()
    return [] if found is None else [f"{each.namespace}{each.name}" for each in found.inputs]


price = settings.prices().as_of
print(price, inputs())
with ObjectStoragePath(settings._setting("prices_path")).open("rb") as file:
    file.read()
print(len(inputs()))
"""


def test_prices_at_a_storage_url_are_no_input_of_the_task(tmp_path):
    """OpenLineage's own collector sees nothing of the price file; it does see files that a task opens itself."""
    prices = tmp_path / "prices.json"
    prices.write_text('{"as_of": "2026-12-01", "models": {}}')
    env = {
        **os.environ,
        "AIRFLOW__GROKVIDEO__PRICES_PATH": f"file://{prices}",
        "AIRFLOW__OPENLINEAGE__TRANSPORT": '{"type": "console"}',
        "AIRFLOW__OPENLINEAGE__DISABLED": "False",
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=env, capture_output=True, text=True, timeout=120, check=False
    )

    assert ["2026-12-01 []", "1"] == done.stdout.splitlines()[-2:], done.stderr[-2000:]
