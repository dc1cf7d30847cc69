"""The same scenario in both colours: ``drive`` carries a flow out with the sync or the async client."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from media_fixtures import media, pauses, server

from airflow_provider_grokvideo.client.account import Account
from airflow_provider_grokvideo.client.carriers import AsyncClient, Client
from airflow_provider_grokvideo.client.flow import Flow


@dataclass
class Driver:
    """Carries out flows for an account and remembers the pauses it was asked for instead of sitting them out."""

    colour: str
    pauses: list[float] = field(default_factory=list)

    def __call__(self, account: Account, steps: Flow[Any]) -> Any:
        """Carry out one flow with a fresh client."""
        if self.colour == "sync":
            with Client(account, sleep=self.pauses.append) as client:
                return client.run(steps)
        return asyncio.run(self._async(account, steps))

    async def _async(self, account: Account, steps: Flow[Any]) -> Any:
        async def sleep(seconds: float) -> None:
            self.pauses.append(seconds)

        async with AsyncClient(account, sleep=sleep) as client:
            return await client.run(steps)


@pytest.fixture(params=["sync", "async"])
def drive(request: pytest.FixtureRequest) -> Driver:
    """Return a driver of each colour in turn."""
    return Driver(request.param)


@pytest.fixture
def account_of() -> Callable[..., Account]:
    """Return how to make an account of an emulator, with words to change."""

    def make(emulator: Any, **words: Any) -> Account:
        return Account(**{"base_url": emulator.base_url, "api_key": emulator.api_key, "timeout": 5.0, **words})

    return make


__all__ = ["account_of", "drive", "media", "pauses", "server"]
