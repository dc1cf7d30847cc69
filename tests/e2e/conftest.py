"""The four real Airflow processes as a fixture."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from stack import AirflowStack

StackFactory = Callable[..., AirflowStack]


@pytest.fixture(scope="session")
def stack_factory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StackFactory]:
    """Start stacks: ``stack_factory(dags_folder, env={...})``; all of them end with the session, or by ``stop()``."""
    with ExitStack() as running:

        def start(dags_folder: Path, env: dict[str, str] | None = None, **options: Any) -> AirflowStack:
            home = tmp_path_factory.mktemp("airflow home")
            return running.enter_context(AirflowStack(home, dags_folder, env, **options))

        yield start
