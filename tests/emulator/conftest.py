"""One emulator for the whole folder, emptied before each test; jobs are done at the first poll."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from emulator_kit import Api

from airflow_provider_grokvideo.emulator import Emulator


@pytest.fixture(scope="session")
def shared_api() -> Iterator[Api]:
    """Run the emulator and yield a client for it."""
    with Emulator(tempo="at-once") as emulator, Api(emulator) as api:
        yield api


@pytest.fixture
def api(shared_api: Api) -> Api:
    """Return the client of an emulator with an empty ledger."""
    shared_api.emulator.reset()
    return shared_api


@pytest.fixture
def emulator(api: Api) -> Emulator:
    """Return the emulator behind ``api``."""
    return api.emulator
