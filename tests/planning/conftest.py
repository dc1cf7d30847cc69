"""The plan command, run in this process on DAG files."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_grokvideo.__main__ import main

DAGS = Path(__file__).with_name("dags")


@dataclass(frozen=True)
class Answer:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def dags(self) -> dict[str, Any]:
        """Return the plans by DAG."""
        return {each["dag_id"]: each for each in json.loads(self.out)["dags"]}


@pytest.fixture
def plan(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Answer]:
    """Return how to plan a file: its name below tests/planning/dags, or its path, and options."""
    monkeypatch.setenv("AIRFLOW__GROKVIDEO__JOURNAL_PATH", str(tmp_path))

    def run(file: str | Path, *options: str) -> Answer:
        capsys.readouterr()
        code = main(["plan", str(DAGS / file), *options])
        return Answer(code, *capsys.readouterr())

    return run


@pytest.fixture
def planned(plan) -> Callable[..., Any]:
    """Return how to plan the DAGs of a file, as JSON by DAG."""

    def run(file: str | Path, *options: str) -> Any:
        return plan(file, "--format", "json", *options).dags

    return run
