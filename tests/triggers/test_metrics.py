"""What a wait tells Airflow's metrics, through Airflow's own client to a socket, and what a broken one cannot do."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from airflow.configuration import conf
from airflow.observability import stats
from airflow.observability.metrics import stats_utils
from airflow.observability.metrics.statsd_logger import get_statsd_logger  # noqa: F401 - fails here if statsd is missing

from airflow_provider_grokvideo.core.requests import TextToVideo
from airflow_provider_grokvideo.hooks.grokvideo import GrokVideoHook
from airflow_provider_grokvideo.triggers import metrics
from airflow_provider_grokvideo.triggers.grokvideo import GrokVideoTrigger

TAG = ",conn_id=grokvideo_default"


class Received:
    """What arrived at a statsd server on this machine."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.setblocking(False)
        self.port: int = self._socket.getsockname()[1]

    def values(self) -> dict[str, list[float]]:
        """Return the values of each metric in their order; what was sent to this machine has arrived."""
        values: dict[str, list[float]] = defaultdict(list)
        with suppress(BlockingIOError):
            while True:
                line = self._socket.recv(4096).decode()
                name, _, rest = line.partition(":")
                assert name.startswith("airflow.grokvideo."), line
                assert name.endswith(TAG), line
                name = name.removeprefix("airflow.grokvideo.").removesuffix(TAG)
                values[name].append(float(rest.partition("|")[0]))
        return values

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()


@pytest.fixture
def metrics_of_airflow(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Return how to set Airflow's metrics up as the triggerer does, with some settings."""

    def set_up(**settings: str) -> None:
        for name, value in settings.items():
            monkeypatch.setenv(f"AIRFLOW__METRICS__{name.upper()}", value)
        stats.initialize(
            factory=stats_utils.get_stats_factory(), export_legacy_names=conf.getboolean("metrics", "legacy_names_on")
        )

    yield set_up
    monkeypatch.undo()
    set_up()


@pytest.fixture
def statsd(metrics_of_airflow: Callable[..., None]) -> Iterator[Received]:
    """Turn Airflow's statsd metrics on and return what arrives."""
    received = Received()
    metrics_of_airflow(
        statsd_on="True", statsd_host="127.0.0.1", statsd_port=str(received.port), statsd_influxdb_enabled="True"
    )
    yield received
    received.close()


def submitted(words: str) -> str:
    """Submit a clip; `words` orders the emulator about."""
    return GrokVideoHook().submit(TextToVideo(prompt=f"A red ball [[emulator: {words}]]", duration=1))


def waited_for(*request_ids: str) -> list[str]:
    """Run triggers to their ends together and return their outcomes."""

    async def one(request_id: str) -> str:
        now = time.time()
        trigger = GrokVideoTrigger(request_id=request_id, deadline=now + 20, submitted_at=now, poll_interval=0.05)
        (event,) = [event.payload async for event in trigger.run()]
        return event["outcome"]

    async def together() -> list[str]:
        return await asyncio.gather(*(one(request_id) for request_id in request_ids))

    return asyncio.run(together())


@pytest.mark.usefixtures("grokvideo_connection")
def test_looks_misses_and_waits_are_counted(statsd, grokvideo_emulator):
    """Every look is counted, also those that found nothing out, and in the end nobody waits."""
    request_ids = [submitted("tempo=polls:2") for _ in range(3)]
    grokvideo_emulator.script("http:503", on="poll", times=2)

    outcomes = waited_for(*request_ids)

    values = statsd.values()
    assert ["settled"] * 3 == outcomes
    assert sum(grokvideo_emulator.polls.values()) == sum(values["polls"])
    assert 2 == sum(values["misses"])
    assert "rate_limited" not in values
    assert (0.0, 0.0) == (values["waits"][-1], values["overdue"][-1])
    assert 3 == len(values["lag"])
    assert all(0 <= lag < 20_000 for lag in values["lag"])


@pytest.mark.usefixtures("grokvideo_connection")
def test_a_rate_limit_shows_in_the_pace(statsd, grokvideo_emulator):
    """A 429 is counted as a poll, a miss and a rate limit, and the pace that is left is half of the usual one."""
    request_id = submitted("tempo=polls:2")
    grokvideo_emulator.script("http:429", on="poll", times=1)

    waited_for(request_id)

    values = statsd.values()
    assert (1, 1) == (sum(values["rate_limited"]), sum(values["misses"]))
    assert 500 == pytest.approx(min(values["pace"]), abs=10)


def test_looks_that_wait_for_the_pace_are_overdue(statsd, grokvideo_emulator, monkeypatch):
    """A pace that is too short for all who wait shows as looks that are due and not yet sent."""
    monkeypatch.setattr(metrics, "EVERY", 0.01)
    connection = {
        "conn_type": "grokvideo",
        "host": grokvideo_emulator.base_url,
        "password": grokvideo_emulator.api_key,
        "extra": {"requests_per_second": 20},
    }
    monkeypatch.setenv("AIRFLOW_CONN_GROKVIDEO_DEFAULT", json.dumps(connection))
    request_ids = [submitted("tempo=at-once") for _ in range(15)]

    waited_for(*request_ids)

    values = statsd.values()
    assert 0 < max(values["overdue"]) < 15
    assert 0 < max(values["waits"]) <= 15
    assert 20 == pytest.approx(max(values["pace"]))


class Broken:
    """Metrics that always fail."""

    def __getattr__(self, name: str) -> Any:
        raise OSError(f"no {name} today")


def _no_backend() -> Any:
    raise OSError("there is no metrics server")


@pytest.mark.usefixtures("grokvideo_connection")
@pytest.mark.parametrize("factory", [Broken, _no_backend], ids=["each call fails", "it cannot be made"])
def test_broken_metrics_harm_no_wait(factory, metrics_of_airflow, caplog):
    """Whatever fails in the metrics is one line in the log; the wait gets its event."""
    metrics_of_airflow()
    stats.initialize(factory=factory, export_legacy_names=False)
    request_id = submitted("tempo=polls:2")

    assert ["settled"] == waited_for(request_id)
    assert "Could not send metrics" in caplog.text
