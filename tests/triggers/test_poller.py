"""One poller for all waits of an account: few sockets, no harm to each other, and nothing left behind."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import re
import threading
import time
import warnings
import weakref
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
import structlog
from crowd_kit import crowd_service

from airflow_provider_grokvideo.client.account import Account
from airflow_provider_grokvideo.core.errors import GrokVideoError
from airflow_provider_grokvideo.core.jobs import Job
from airflow_provider_grokvideo.core.polling.decisions import Settled, Watch
from airflow_provider_grokvideo.core.polling.latency import Latencies
from airflow_provider_grokvideo.core.requests import TextToVideo
from airflow_provider_grokvideo.hooks.grokvideo import GrokVideoHook
from airflow_provider_grokvideo.triggers import poller
from airflow_provider_grokvideo.triggers.grokvideo import GrokVideoTrigger
from benchmarks.server import Connection, Service

SOON = 0.02
"""Seconds that a video of the desk takes: two or three looks."""


class Desk(Service):
    """The lean service of the benchmarks, on a thread of this process, that can refuse one poll for its rate."""

    def __init__(self) -> None:
        super().__init__()
        self.url = ""
        self.arrivals: list[float] = []
        self.polls: Counter[str] = Counter()
        self.refuse_at: int | None = None
        self.done_at: int | None = None
        self.refused_at = 0.0
        self.open: set[Connection] = set()

    def make(self, *request_ids: str, seconds: float = SOON) -> None:
        """Start videos of these names."""
        self.arrivals = []
        self.polls.clear()
        self.take([(request_id, seconds, "grok-imagine-video", 5, 1) for request_id in request_ids])

    def poll(self, request_id: bytes, head: bytes) -> bytes:
        """Answer a poll, or refuse it."""
        self.arrivals.append(time.monotonic())
        self.polls[request_id.decode()] += 1
        if self.polls[request_id.decode()] == self.done_at:
            self._jobs[request_id].seconds = 0.0
        if len(self.arrivals) == self.refuse_at:
            self.refused_at = self.arrivals[-1]
            return b"HTTP/1.1 429 Too Many Requests\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n"
        return super().poll(request_id, head)

    def serve(self) -> Any:
        """Return what an event loop listens with."""
        desk = self

        class Counted(Connection):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                desk.open.add(self)
                super().connection_made(transport)

            def connection_lost(self, exc: Exception | None) -> None:
                super().connection_lost(exc)
                desk.open.discard(self)

        return Counted(self)


@pytest.fixture(scope="module")
def _desk() -> Iterator[Desk]:
    desk, loop = Desk(), asyncio.new_event_loop()
    server = loop.run_until_complete(loop.create_server(desk.serve, "127.0.0.1", 0, backlog=512))
    desk.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield desk
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    server.close()
    loop.run_until_complete(server.wait_closed())
    loop.close()


@pytest.fixture
def desk(_desk: Desk, connect: Callable[..., str]) -> Desk:
    """Return the lean service, as the default connection."""
    _desk.refuse_at = _desk.done_at = None
    connect(_desk.url)
    return _desk


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Return how to make a connection to an address."""

    def make(url: str, conn_id: str = "grokvideo_default", key: str = "xai-some-key", **extra: Any) -> str:
        connection = {"conn_type": "grokvideo", "host": url, "password": key, "extra": extra}
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(connection))
        return conn_id

    return make


def submitted(words: str = "") -> str:
    """Submit a clip to the emulator; `words` orders it about."""
    return GrokVideoHook().submit(
        TextToVideo(prompt=f"A red ball [[emulator: {words or 'tempo=polls:2'}]]", duration=1)
    )


async def event(request_id: str, **words: Any) -> dict[str, Any]:
    """Run a trigger that looks often to its end."""
    now = time.time()
    words = {"deadline": now + 20, "submitted_at": now, "poll_interval": 0.005, **words}
    (found,) = [event.payload async for event in GrokVideoTrigger(request_id=request_id, **words).run()]
    return found


async def events(*request_ids: str, **words: Any) -> list[str]:
    """Run triggers together to their ends and return their outcomes."""
    return [each["outcome"] for each in await asyncio.gather(*(event(name, **words) for name in request_ids))]


async def until(condition: Callable[[], object]) -> None:
    """Wait for something that another thread does."""
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:  # noqa: ASYNC110 - another thread tells no event
        await asyncio.sleep(0.002)


async def steps(count: int) -> None:
    """Let the loop go round so many times."""
    for _ in range(count):
        await asyncio.sleep(0)


class Complaints(logging.Handler):
    """What asyncio complains about, except that something took long."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: list[str] = []
        self.slow: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Note a line."""
        text = f"{record.getMessage()} {record.exc_info[1] if record.exc_info else ''}"
        (self.slow if text.startswith("Executing ") else self.said).append(text)


@contextmanager
def complaints() -> Iterator[Complaints]:
    """Gather the complaints of asyncio, and every warning, also those of what is left to the garbage collector."""
    heard = Complaints()
    logging.getLogger("asyncio").addHandler(heard)
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            yield heard
            gc.collect()
        heard.said += [f"{warning.category.__name__}: {warning.message}" for warning in warned]
    finally:
        logging.getLogger("asyncio").removeHandler(heard)


@pytest.fixture
def small_heap() -> Iterator[None]:
    """Make collecting garbage cheap, for tests that do it a hundred times."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def run(main: Coroutine[Any, Any, Any]) -> Any:
    """Run in a loop of its own, in debug mode, and find nothing left behind and nothing complained about."""
    with complaints() as heard:
        result = asyncio.run(main, debug=True)

    assert [] == heard.said
    return result


async def undisturbed(desk: Desk, *request_ids: str) -> int:
    """Return how often the loop goes round from the start of these waits to their end."""
    desk.make(*request_ids)
    waiting, count = asyncio.ensure_future(events(*request_ids)), 0
    while not waiting.done():
        await asyncio.sleep(0)
        count += 1
    return count


@pytest.mark.usefixtures("small_heap")
@pytest.mark.parametrize(
    "again",
    [
        pytest.param((), id="once"),
        pytest.param((0,), id="twice"),
        pytest.param((1,), id="again a step later"),
        pytest.param((2, 2), id="three times, two steps apart"),
    ],
)
def test_a_trigger_cancelled_at_any_step_harms_no_other(desk, again):
    """Wherever a trigger is cancelled, in its start, a poll or its end, the other gets its event and nothing stays."""
    last = max(run(undisturbed(desk, "a", "b")) for _ in range(3)) + 5

    async def cancelled_after(count: int) -> str:
        victim, other = (asyncio.ensure_future(event(name)) for name in ("a", "b"))
        await steps(count)
        victim.cancel()
        for more in again:
            await steps(more)
            victim.cancel()
        await asyncio.wait([victim])
        assert victim.cancelled() or "settled" == victim.result()["outcome"]
        return (await other)["outcome"]

    for count in range(min(last, 120)):
        desk.make("a", "b")

        assert "settled" == run(cancelled_after(count)), f"after {count} steps"


@pytest.mark.usefixtures("small_heap")
@pytest.mark.parametrize("again", [(), (0,), (1,), (2,), (3, 3)], ids=lambda again: f"and again after {again}")
def test_the_last_trigger_cancelled_at_any_step_leaves_nothing(desk, again):
    """Wherever the only trigger is cancelled, and however often, no task, socket or complaint outlives it."""
    last = max(run(undisturbed(desk, "a")) for _ in range(3)) + 5

    async def cancelled_after(count: int) -> int:
        victim = asyncio.ensure_future(event("a"))
        await steps(count)
        victim.cancel()
        for more in again:
            await steps(more)
            victim.cancel()
        await asyncio.wait([victim])
        # Cancelled twice, it does not wait for its own clearing up, which is over soon.
        await until(lambda: len(asyncio.all_tasks()) == 1)
        return len(asyncio.all_tasks())

    for count in range(min(last, 80)):
        desk.make("a")

        assert 1 == run(cancelled_after(count)), f"after {count} steps"


@pytest.mark.usefixtures("small_heap")
@pytest.mark.parametrize("cancels", [0, 1, 2])
def test_a_loop_that_ends_at_any_step_finds_nothing_open(desk, cancels):
    """Whether a wait goes on or was just cancelled: when the loop ends, it leaves no task, no socket, no complaint."""

    async def ends_after(count: int) -> None:
        waiting = asyncio.ensure_future(event("a"))
        await until(lambda: desk.counts.polls)
        await steps(count)
        for _ in range(cancels):
            waiting.cancel()
            await steps(1)

    for count in range(60):
        desk.make("a")

        run(ends_after(count))


def test_a_loop_that_ends_before_the_closing_begins_finds_nothing_open(desk):
    """Where the loop is stopped in the very step in which the last wait ends, the connections are closed, too."""

    async def stopped_at_the_end() -> None:
        def make(loop: asyncio.AbstractEventLoop, work: Any, **words: Any) -> asyncio.Task[Any]:
            if getattr(work, "__qualname__", "") == "Poller.close":
                loop.set_task_factory(None)
                loop.stop()
            return asyncio.Task(work, loop=loop, **words)

        asyncio.get_running_loop().set_task_factory(make)
        await event("a")

    desk.make("a")
    with complaints() as heard, pytest.raises(RuntimeError, match="stopped before"):
        asyncio.run(stopped_at_the_end(), debug=True)

    assert [] == heard.said


def test_nothing_stays_when_nobody_waits(desk):
    """The last wait that ends closes the connections, also while the loop goes on, and a later one opens new ones."""

    async def one_after_the_other() -> list[str]:
        outcomes = []
        for name in ("a", "b"):
            desk.make(name)
            outcomes += await events(name)
            await until(lambda: not desk.open)
            assert not desk.open
            assert 1 == len(asyncio.all_tasks())
            assert desk.counts.connections >= 1
        return outcomes

    assert ["settled", "settled"] == run(one_after_the_other())


def test_a_trigger_that_hangs_up_does_not_wait_for_the_answer(grokvideo_emulator, grokvideo_connection):
    """A look that the service does not answer is given up with its trigger, at once."""
    request_id = submitted()
    grokvideo_emulator.script("timeout", on="poll")

    async def hung_up() -> int:
        waiting = asyncio.ensure_future(event(request_id))
        await until(lambda: grokvideo_emulator.polls.get(request_id))
        waiting.cancel()
        await asyncio.wait([waiting], timeout=10)
        assert waiting.cancelled()
        return len(asyncio.all_tasks())

    assert 1 == run(hung_up())


def test_a_loop_that_was_closed_in_the_middle_is_forgotten(desk):
    """A loop closed with waits in it cannot say so; the next one works, and the old one is let go."""
    desk.make("a", "b", seconds=0.05)
    loop = asyncio.new_event_loop()
    waiting = loop.create_task(event("a", deadline=time.time() + 60, not_before=time.time() + 50))
    loop.run_until_complete(asyncio.sleep(0.05))
    # Nobody but this test is to blame for the task.
    waiting._log_destroy_pending = False
    loop.close()
    gone = weakref.ref(loop)
    del loop, waiting

    assert ["settled"] == asyncio.run(events("b"))
    gc.collect()
    assert gone() is None


def test_loops_in_two_threads_do_not_meet(desk):
    """Each event loop has a poller of its own, also in another thread at the same time."""
    names = [[f"{thread}-{index}" for index in range(20)] for thread in range(2)]
    desk.make(*names[0], *names[1])
    outcomes: list[str] = []
    threads = [
        threading.Thread(target=lambda each: outcomes.extend(asyncio.run(events(*each))), args=[n]) for n in names
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert ["settled"] * 40 == outcomes


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        pytest.param(("http://127.0.0.1:1/v1", "k"), ("http://127.0.0.1:1/v1", "k"), True, id="same key and host"),
        pytest.param(("http://127.0.0.1:1/v1", "k"), ("http://127.0.0.1:1/v1", "other"), False, id="two keys"),
        pytest.param(("http://127.0.0.1:1/v1", "k"), ("http://127.0.0.1:2/v1", "k"), False, id="two hosts"),
    ],
)
async def test_an_account_is_a_key_and_a_host(first, second, same):
    """Connections that mean the same account share its poller, whatever they are called; others do not."""
    async with (
        poller.shared(Account(*first, poll_interval=3), "one") as one,
        poller.shared(Account(*second, timeout=9), "two") as two,
    ):
        assert same is (one is two)


async def test_a_bad_listener_harms_only_its_own_wait(desk):
    """Where telling somebody what a poll found fails, that wait fails with it, and all others go on."""
    names = [f"v-{index}" for index in range(20)]
    desk.make(*names, seconds=0.1)

    def bad(watch: Watch, seen: Job | GrokVideoError, now: float) -> None:
        raise LookupError(f"nobody listens to {watch.request_id}")

    def good(watch: Watch, seen: Job | GrokVideoError, now: float) -> None:
        pass

    now = time.time()
    async with poller.shared(Account(desk.url, "k"), "c") as shared:
        waits: list[Awaitable[object]] = [
            shared.wait(Watch(name, now, now + 20, poll_interval=0.01), bad if index % 3 == 0 else good)
            for index, name in enumerate(names)
        ]
        found = await asyncio.gather(*waits, return_exceptions=True)

    assert [LookupError if index % 3 == 0 else Settled for index in range(20)] == [type(each) for each in found]


@pytest.mark.usefixtures("grokvideo_connection")
@pytest.mark.parametrize(
    "request_id", ["\ud800", "../../api-key", "a b?c=d#e", "%00", "x" * 5000, ""], ids=lambda text: ascii(text[:8])
)
def test_a_strange_request_id_harms_only_its_own_wait(request_id):
    """Whatever an id looks like, its own wait ends somehow, and the others get their events."""
    good = [submitted() for _ in range(5)]

    async def together() -> list[str]:
        bad = asyncio.ensure_future(event(request_id, deadline=time.time() + 0.2, submitted_at=1.0))
        outcomes = await events(*good)
        await asyncio.wait([bad], timeout=10)
        assert bad.done()
        assert isinstance(bad.exception(), UnicodeError | None)
        return outcomes

    assert ["settled"] * 5 == asyncio.run(together())


@pytest.mark.usefixtures("grokvideo_connection")
@pytest.mark.parametrize("fault", ["html_200", "text_200", "no_status", "cut_before", "http:500", "timeout"])
def test_what_the_service_does_to_one_request_is_its_own(grokvideo_emulator, fault):
    """Garbage, or no answer at all, for one request keeps no other from its event."""
    good, bad = [submitted() for _ in range(10)], submitted()
    grokvideo_emulator.script(fault, on="poll", times=None, request_id=bad)

    async def together() -> list[str]:
        waiting = asyncio.ensure_future(event(bad))
        await until(lambda: grokvideo_emulator.polls.get(bad))
        outcomes = await events(*good)
        assert not waiting.done()
        waiting.cancel()
        await asyncio.wait([waiting])
        return outcomes

    assert ["settled"] * 10 == run(together())


@pytest.mark.parametrize("others", [0, 3], ids=["alone", "among others"])
@pytest.mark.usefixtures("grokvideo_connection")
def test_a_lane_that_is_cancelled_loses_nobody(grokvideo_emulator, others):
    """Somebody who cancels tasks that are not theirs, in the middle of a poll, costs the wait one poll."""
    request_ids = [submitted() for _ in range(1 + others)]
    grokvideo_emulator.script("timeout", on="poll", times=1 + others)

    async def disturbed() -> list[str]:
        waiting = asyncio.ensure_future(events(*request_ids))
        await until(lambda: sum(grokvideo_emulator.polls.values()) == 1 + others)
        for task in asyncio.all_tasks():
            if "Poller._lane" in task.get_coro().__qualname__:
                task.cancel()
        return await asyncio.wait_for(waiting, 10)

    assert ["settled"] * (1 + others) == run(disturbed())


def test_the_users_interval_wins(desk, connect, monkeypatch):
    """Whatever is known of a kind, a task or connection that names an interval is looked at that often."""
    kind = "text-to-video/grok-imagine-video/8/720p"
    learned = Latencies()
    for _ in range(40):
        learned.learn(kind, 900.0, 901.0, 0.5, [])
    monkeypatch.setitem(poller.LATENCIES, desk.url, learned)
    connect(desk.url, "often", poll_interval=0.01)
    desk.make("task", "connection", "schedule", seconds=3600)
    desk.done_at = 4

    async def together() -> list[str]:
        scheduled = asyncio.ensure_future(event("schedule", kind=kind, poll_interval=None))
        outcomes = [
            (await event("task", kind=kind))["outcome"],
            (await event("connection", kind=kind, poll_interval=None, grokvideo_conn_id="often"))["outcome"],
        ]
        assert not scheduled.done()
        scheduled.cancel()
        await asyncio.wait([scheduled])
        return outcomes

    assert ["settled", "settled"] == run(together())
    assert {"task": 4, "connection": 4} == dict(desk.polls)


def test_nobody_looks_for_who_has_gone(desk):
    """A wait that was cancelled before its look was due costs no poll."""
    names = [f"v-{index}" for index in range(20)]
    desk.make("stays", *names, seconds=1.0)

    async def most_leave() -> list[str]:
        soon = time.time() + 0.6
        leaving = [asyncio.ensure_future(event(name, not_before=soon)) for name in names]
        staying = asyncio.ensure_future(events("stays"))
        await until(lambda: desk.polls["stays"])
        for each in leaving:
            each.cancel()
        return await staying

    assert ["settled"] == run(most_leave())
    assert {"stays"} == desk.polls.keys()


def test_a_rate_limit_holds_all_triggers(desk):
    """After one 429 nobody looks for as long as it says, except who was on the way; then everybody goes on."""
    names = [f"v-{index}" for index in range(40)]
    desk.make(*names, seconds=0.5)
    desk.refuse_at = 60

    outcomes = run(events(*names))

    assert ["settled"] * 40 == outcomes
    held = [at for at in desk.arrivals if desk.refused_at < at < desk.refused_at + 1.0]
    assert len(held) < poller.LANES
    assert max(desk.arrivals) > desk.refused_at + 1.0


def test_log_lines_belong_to_the_trigger_they_are_about(desk, capsys):
    """A lane looks for many triggers; what it says is logged in the context of the one it is about."""
    names = [f"v-{index}" for index in range(30)]
    desk.make(*names)

    async def named(name: str) -> None:
        structlog.contextvars.bind_contextvars(trigger_of=name)
        await event(name)

    async def together() -> None:
        # As in the triggerer: each trigger in a task of its own.
        await asyncio.gather(*(asyncio.create_task(named(name)) for name in names))

    run(together())

    lines = re.findall(
        r"Request (\S+) is done.*trigger_of=(\S+)", re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    )
    assert sorted((name, name) for name in names) == sorted(lines)


@pytest.mark.usefixtures("small_heap")
def test_a_thousand_waits_need_few_sockets_and_never_stop_the_loop(connect, tmp_path, monkeypatch):
    """A thousand triggers at once, in debug mode: all get their events, over few sockets, with no slow call."""
    # Debug mode notes who called, for each call; ten frames of it would be most of what is measured.
    monkeypatch.setattr(asyncio.constants, "DEBUG_STACK_DEPTH", 1)
    ours: list[str] = []
    with crowd_service(tmp_path) as address:
        connect(f"{address}/v1")
        # A noisy machine can stop anything for a while, so one repetition is fair.
        for _ in range(2):
            outcomes, polls, sockets, slow = crowd(address)

            assert {"settled": 1000} == outcomes
            assert 1000 <= polls
            assert sockets <= 8
            ours = [line for line in slow if "airflow_provider_grokvideo" in line or "coro=<event()" in line]
            if not ours:
                break
    assert [] == ours


def crowd(address: str) -> tuple[dict[str, int], int, int, list[str]]:
    """Wait for a thousand videos together; return outcomes, looks, sockets and slow calls."""
    names = [f"video-{index}" for index in range(1000)]
    work = [(name, 2.0, "grok-imagine-video", 5, 1) for name in names]
    httpx.post(f"{address}/control/work", json=work, trust_env=False).raise_for_status()

    async def all_of_them() -> list[str]:
        asyncio.get_running_loop().slow_callback_duration = 1.0
        return await events(*names, poll_interval=1.5, deadline=time.time() + 60)

    with complaints() as heard:
        outcomes = asyncio.run(all_of_them(), debug=True)
    assert [] == heard.said
    counts = httpx.get(f"{address}/control/counts", trust_env=False).json()
    return {each: outcomes.count(each) for each in set(outcomes)}, counts["polls"], counts["connections"], heard.slow
