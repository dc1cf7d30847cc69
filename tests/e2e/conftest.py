"""The four real Airflow processes as a fixture, and the sums of what was done to them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from fault_run import Tally
from stack import AirflowStack

# As Airflow does, so that tests can read what the DAG files do.
sys.path.append(str(Path(__file__).parent / "dags"))

FAULT_RUN = Path(__file__).parents[2] / "build" / "fault-run.json"

StackFactory = Callable[..., AirflowStack]


@pytest.fixture(scope="session")
def stack_factory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StackFactory]:
    """Start stacks: ``stack_factory(dags_folder, env={...})``; all of them end with the session, or by ``stop()``."""
    with ExitStack() as running:

        def start(dags_folder: Path, env: dict[str, str] | None = None, **options: Any) -> AirflowStack:
            backend = tmp_path_factory.mktemp("airflow home")
            return running.enter_context(AirflowStack(backend, dags_folder, env, **options))

        yield start


@pytest.fixture(scope="session")
def tally() -> Iterator[Tally]:
    """What the faults of this session led to; written to ``build/fault-run.json`` at its end."""
    rows = Tally()
    yield rows
    if rows.rows:
        rows.write(FAULT_RUN, airflow=version("apache-airflow"))
