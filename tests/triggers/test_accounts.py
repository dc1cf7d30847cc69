"""Connections are looked up once for all triggers, again when they may have changed, and never in vain for good."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import ClassVar

import pytest
from airflow.sdk import Connection
from airflow.sdk import configuration as airflow_configuration
from airflow.secrets import BaseSecretsBackend

from airflow_provider_grokvideo.core.polling import decisions
from airflow_provider_grokvideo.core.requests import TextToVideo
from airflow_provider_grokvideo.emulator import Emulator
from airflow_provider_grokvideo.emulator.world import KEY_ZDR
from airflow_provider_grokvideo.hooks.grokvideo import GrokVideoHook
from airflow_provider_grokvideo.triggers import accounts
from airflow_provider_grokvideo.triggers.accounts import account_of
from airflow_provider_grokvideo.triggers.grokvideo import GrokVideoTrigger


class Vault(BaseSecretsBackend):
    """A secrets backend as a user could have one: it knows the connection ``vaulted`` and counts who asks for it."""

    connection: ClassVar[dict[str, str]] = {}
    asked = 0
    refusing = 0
    hiding = 0
    lock = threading.Lock()

    def __init__(self) -> None:
        with Vault.lock:
            if Vault.refusing:
                Vault.refusing -= 1
                raise ConnectionError("the vault is sealed")

    def get_connection(self, conn_id: str) -> Connection | None:
        """Return the connection, if it is the one that is known here."""
        if conn_id != "vaulted":
            return None
        with Vault.lock:
            Vault.asked += 1
            if Vault.hiding:
                Vault.hiding -= 1
                return None
            # As Airflow itself makes it from what a backend stores as JSON.
            return Connection.from_json(json.dumps(Vault.connection), conn_id=conn_id)


def _forget_backends() -> None:
    # Before Airflow 3.3 nothing is kept.
    getattr(airflow_configuration, "clear_secrets_backends_cache", lambda: None)()


@pytest.fixture
def vault(grokvideo_emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Vault]]:
    """Return the backend of all connections, which knows the emulator."""
    connection = {
        "conn_type": "grokvideo",
        "host": grokvideo_emulator.base_url,
        "password": grokvideo_emulator.api_key,
        "extra": json.dumps({"poll_interval": 0.05}),
    }
    for name, value in (("connection", connection), ("asked", 0), ("refusing", 0), ("hiding", 0)):
        monkeypatch.setattr(Vault, name, value)
    for section in ("SECRETS__BACKEND", "WORKERS__SECRETS_BACKEND"):
        monkeypatch.setenv(f"AIRFLOW__{section}", f"{__name__}.Vault")
    monkeypatch.setenv("AIRFLOW_CONN_FOR_SUBMITS", json.dumps(connection))
    _forget_backends()
    yield Vault
    _forget_backends()


def submitted(tempo: str) -> str:
    """Submit a clip with a connection of its own."""
    hook = GrokVideoHook("for_submits")
    return hook.submit(TextToVideo(prompt=f"A red ball [[emulator: tempo={tempo}]]", duration=1))


async def event(request_id: str, deadline: float = 20.0) -> dict:
    """Run a trigger to its end."""
    now = time.time()
    trigger = GrokVideoTrigger(request_id=request_id, grokvideo_conn_id="vaulted", deadline=now + deadline)
    (found,) = [event.payload async for event in trigger.run()]
    return found


async def until(condition: Callable[[], object]) -> None:
    """Wait for something that the emulator's thread does."""
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:  # noqa: ASYNC110 - another thread tells no event
        await asyncio.sleep(0.005)


def test_two_hundred_triggers_ask_once(vault):
    """Triggers that start together share one lookup, and those that come a little later use its answer."""
    request_id = submitted("at-once")

    async def together() -> list[dict]:
        first = await asyncio.gather(*(event(request_id) for _ in range(200)))
        return [*first, await event(request_id)]

    found = asyncio.run(together())

    assert ["settled"] * 201 == [each["outcome"] for each in found]
    assert 1 == vault.asked


def test_an_edited_connection_reaches_new_waits(vault, monkeypatch):
    """A connection is believed for a while, then looked up again."""

    async def twice() -> tuple[str, str]:
        before = await account_of("vaulted")
        vault.connection = {**vault.connection, "password": "xai-new"}
        same = await account_of("vaulted")
        monkeypatch.setattr(accounts, "KEPT", -1.0)
        new = await account_of("vaulted")
        assert before == same
        return before.api_key, new.api_key

    old, new = asyncio.run(twice())

    assert ("xai-new", 2) == (new, vault.asked)
    assert old != new


def test_each_loop_asks_for_itself(vault):
    """What a loop that is over looked up is not waited for in the next."""
    first, second = asyncio.run(account_of("vaulted")), asyncio.run(account_of("vaulted"))

    assert first == second
    assert 2 == vault.asked


def test_a_rotated_key_makes_the_waits_go_on(vault):
    """When the old key is refused, one lookup finds the new one, and every wait goes on with it."""
    request_ids = [submitted("polls:2") for _ in range(10)]
    right = vault.connection["password"]
    vault.connection = {**vault.connection, "password": "xai-rotated-away"}

    async def rotated() -> list[dict]:
        await account_of("vaulted")
        vault.connection = {**vault.connection, "password": right}
        return await asyncio.gather(*(event(request_id) for request_id in request_ids))

    found = asyncio.run(rotated())

    assert ["settled"] * 10 == [each["outcome"] for each in found]
    assert 2 == vault.asked


def test_the_wait_that_looked_the_connection_up_notices_a_rotated_key_too(vault, grokvideo_emulator):
    """Also where the wait's own lookup brought the key that is refused in the middle of it, it asks again."""
    request_id = submitted("polls:5")

    async def rotated() -> dict:
        waiting = asyncio.ensure_future(event(request_id))
        await until(lambda: grokvideo_emulator.polls.get(request_id))
        vault.connection = {**vault.connection, "password": KEY_ZDR}
        grokvideo_emulator.script("revoked", on="poll", times=1)
        return await waiting

    found = asyncio.run(rotated())

    assert ("settled", 2) == (found["outcome"], vault.asked)


def test_a_key_that_stays_wrong_ends_the_waits(vault):
    """A lookup that brings the same key as before is the end, and many waits share it."""
    request_ids = [submitted("polls:2") for _ in range(10)]
    vault.connection = {**vault.connection, "password": "xai-wrong"}

    async def waiting() -> list[dict]:
        return await asyncio.gather(*(event(request_id) for request_id in request_ids))

    found = asyncio.run(waiting())

    assert [("abandoned", "AuthenticationFailed")] * 10 == [(each["outcome"], each["error"]) for each in found]
    assert 2 == vault.asked


def test_a_lookup_without_an_answer_is_repeated(vault, monkeypatch, capsys):
    """A vault that is away for a moment does not end the wait for a paid video."""
    monkeypatch.setattr(decisions, "DEFAULT_INTERVAL", 0.01)
    request_id = submitted("at-once")
    _forget_backends()
    vault.refusing = 3

    found = asyncio.run(event(request_id))

    assert "settled" == found["outcome"]
    assert 0 == vault.refusing
    assert "trying again" in "".join(capsys.readouterr())


def test_a_connection_that_is_gone_for_a_moment_is_looked_for(vault, monkeypatch):
    """Airflow says of a connection that it could not fetch that there is none; that is not believed at once."""
    monkeypatch.setattr(decisions, "DEFAULT_INTERVAL", 0.01)
    request_id = submitted("at-once")
    vault.hiding = 2

    found = asyncio.run(event(request_id))

    assert ("settled", 3) == (found["outcome"], vault.asked)


def test_a_lookup_that_never_answers_ends_at_the_deadline(vault, monkeypatch):
    """Where Airflow never hands out the connection, the event says so in time, and why."""
    monkeypatch.setattr(decisions, "DEFAULT_INTERVAL", 0.01)
    vault.refusing = 10_000

    found = asyncio.run(event("r", deadline=0.1))

    assert ("abandoned", "ServiceUnavailable") == (found["outcome"], found["error"])
    assert "the vault is sealed" in found["message"]


def test_a_cancelled_trigger_does_not_take_the_lookup_with_it(vault):
    """Who began the lookup may leave; whoever shares it gets the answer."""
    request_id = submitted("at-once")

    async def first_leaves() -> dict:
        first, second = (asyncio.ensure_future(event(request_id)) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        return await second

    found = asyncio.run(first_leaves())

    assert ("settled", 1) == (found["outcome"], vault.asked)
