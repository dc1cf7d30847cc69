"""Fixtures for tests of DAGs that make videos. Nothing heavy is imported until a test asks for one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from airflow_provider_grokvideo.emulator import Emulator


@pytest.fixture(scope="session")
def _grokvideo_server() -> Iterator[Emulator]:
    from airflow_provider_grokvideo.emulator import Emulator

    with Emulator() as emulator:
        yield emulator


@pytest.fixture
def grokvideo_emulator(_grokvideo_server: Emulator) -> Iterator[Emulator]:
    """Yield an emulator of the Grok video API with an empty ledger; requests are done at the third poll."""
    _grokvideo_server.reset()
    yield _grokvideo_server
    _grokvideo_server.reset()


@pytest.fixture
def grokvideo_connection(grokvideo_emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> str:
    """Point the connection ``grokvideo_default`` to the emulator and return its id.

    A deferred task is polled at once meanwhile: the delay before the first poll gives a scheduler time to notice the
    deferral, and ``dag.test()`` has no scheduler. A request that the emulator does not know counts as expired at once.
    """
    for delay in ("FIRST_POLL", "PROPAGATION"):
        # By name: the emulator shares no code with the client it tests.
        monkeypatch.setattr(f"airflow_provider_grokvideo.core.polling.decisions.{delay}", 0.0)
    connection = {
        "conn_type": "grokvideo",
        "host": grokvideo_emulator.base_url,
        "password": grokvideo_emulator.api_key,
        # Its videos are done sooner than those of the real service, which the polling schedule expects.
        "extra": {"poll_interval": 0.2},
    }
    monkeypatch.setenv("AIRFLOW_CONN_GROKVIDEO_DEFAULT", json.dumps(connection))
    return "grokvideo_default"
