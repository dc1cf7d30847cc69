"""The benchmark measures what it says, on a small work that takes seconds."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from airflow_provider_grokvideo.core.jobs import Done, Expired, Pending
from airflow_provider_grokvideo.core.models import find_model
from airflow_provider_grokvideo.core.wire import decode
from benchmarks import bench, report, work
from benchmarks.server import PROGRESS, Connection, Service
from benchmarks.stalls import BEAT, Stalls
from benchmarks.waits import LAST_POLLS

WAITS = 20


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Every row once, at a fiftieth of the latencies."""
    place = tmp_path_factory.mktemp("bench")
    out = place / "bench.json"
    out.write_text('{"costs": "as they were"}')
    small = ["--waits", str(WAITS), "--scale", "0.02", "--patience", "9"]
    bench.measured(bench.Wishes.read([*small, "--parts", "waits", "--out", str(out)]), place / "home")
    written: dict[str, Any] = json.loads(out.read_text())
    assert {"waits", "costs"} == written.keys()
    waits: dict[str, Any] = written["waits"]
    return waits


def test_every_row_is_measured(measured: dict[str, Any]) -> None:
    """One run measures the usual trigger, ours twice, and the floor, and loses nothing at this size."""
    expected = {"usual": 0, "ours": 0, "ours-learned": 0, "floor": 0}

    assert expected == {row["who"]: row["lost"] for row in measured["rows"]}


def test_counts_are_consistent(measured: dict[str, Any]) -> None:
    """Each finished video cost a poll at least, no poll was refused, and each way used the sockets it must."""
    for row in measured["rows"]:
        assert row["polls"] >= WAITS - row["lost"]
        assert row["polls"] == pytest.approx(row["polls_per_video"] * WAITS)
        assert (0, 0) == (row["polls_refused"], row["polls_after_done"])
        assert row["rss_peak_mb"] >= row["rss_before_mb"] > 0
        assert row["lag"]["max"] >= row["lag"]["p90"] >= row["lag"]["p50"] > 0
    sockets = {row["who"]: row["sockets"] for row in measured["rows"]}
    usual = next(row for row in measured["rows"] if row["who"] == "usual")

    assert sockets["usual"] == usual["polls"]
    assert 1 <= sockets["ours"] <= 8


def test_limit_ends_a_row(tmp_path: Path) -> None:
    """What has not ended at the limit is lost, and the row says so instead of waiting on."""
    patience = 2.0 - LAST_POLLS - work.longest(work.mixed(WAITS))
    arguments = ["--waits", str(WAITS), "--who", "floor", f"--patience={patience}", "--out", str(tmp_path / "b.json")]
    written = bench.run(bench.Wishes.read(arguments), tmp_path / "home")
    (row,) = written["rows"]

    assert (WAITS, None, {}) == (row["lost"], row["lag"], row["faults"])
    assert f"| – | – | {WAITS} |" in report.table(written)


def test_table_has_every_row(measured: dict[str, Any]) -> None:
    """The table is Markdown with one line for each row and one for what the pace allows."""
    lines = report.table(measured).splitlines()
    names = [line.split("|")[2].strip() for line in lines[2:7]]

    assert [*report.TITLES.values(), "*best at 400 polls/s*"] == names
    assert 1 == len({line.count("|") for line in lines[:7]})


def test_row_without_numbers_says_why(measured: dict[str, Any]) -> None:
    """A row that did not run stands in the table with its reason."""
    skipped = report.unmeasured("usual", WAITS, "not run: memory")
    table = report.table(measured | {"rows": [skipped]})

    assert f"| {WAITS} | usual trigger | not run: memory |" in table


@pytest.mark.parametrize("waits", [1, 20, 100, 1_000, 9_999])
def test_work_has_the_shares(waits: int) -> None:
    """A row has exactly as many videos as it says, each kind with its share, each video with a name of its own."""
    videos = work.mixed(waits)
    counts = Counter(video.kind for video in videos)

    assert waits == len({video.request_id for video in videos})
    assert all(abs(counts[kind] - kind.share * waits) <= 1 for kind in work.KINDS)


def test_work_is_the_same_for_every_row() -> None:
    """The same number of waits is the same work; the seconds can be scaled."""
    whole, half = work.mixed(100), work.mixed(100, scale=0.5)

    assert whole == work.mixed(100)
    assert [video.latency / 2 for video in whole] == pytest.approx([video.latency for video in half])


def test_latencies_follow_their_kind() -> None:
    """The median is the published one, and the longest latency is cut where the row would take too long."""
    for kind in work.KINDS:
        latencies = [video.latency for video in work.mixed(10_000) if video.kind == kind]

        assert kind.median == pytest.approx(median(latencies), rel=0.001)
        assert kind.latency(work.LONGEST) == max(latencies)
    assert work.longest(work.mixed(10_000)) < 160


def test_models_exist() -> None:
    """The work is made of models that the package knows."""
    assert all(find_model(kind.model) is not None for kind in work.KINDS)


@pytest.mark.parametrize(
    ("latencies", "pace", "expected"),
    [
        pytest.param([5.0, 1.0, 3.0], 1.0, [0.0, 0.0, 0.0], id="enough"),
        pytest.param([1.0, 1.0, 1.0], 2.0, [0.0, 0.5, 1.0], id="together"),
        pytest.param([1.0, 1.25, 3.0], 1.0, [0.0, 0.75, 0.0], id="caught-up"),
    ],
)
def test_bound_is_what_the_pace_allows(latencies: list[float], pace: float, expected: list[float]) -> None:
    """Nobody can see a video before it is finished, or more videos than the pace has looks."""
    assert expected == work.bound(latencies, pace)


def test_lag_of_nothing_is_nothing() -> None:
    """Without a single event there is no lag to speak of."""
    assert report.lag([]) is None


def test_lag_takes_quantiles() -> None:
    """Quantiles are values that occurred: the smallest that the share does not exceed."""
    expected = {"p50": 5.0, "p90": 9.0, "max": 10.0, "mean": 5.5}

    assert expected == report.lag([float(value) for value in range(10, 0, -1)])


def test_sleeping_loop_is_not_late() -> None:
    """A loop that sleeps between short passes keeps nobody waiting."""
    stalls = Stalls(0.0)
    for second in range(10):
        stalls.sleeps(second + 0.006, more=False)
        stalls.wakes(second + 1.005)
    stalls.end(10.006)

    assert (0.0, 0.0) == (stalls.worst(), stalls.quantile(0.99))


def test_long_pass_is_late_for_all_its_beats() -> None:
    """Each timer that becomes due during a long pass is as late as the pass goes on."""
    stalls = Stalls(0.0)
    stalls.sleeps(1.0, more=False)
    stalls.wakes(2.0)
    stalls.end(2.0)

    assert pytest.approx(1.0 - BEAT) == stalls.worst()
    assert pytest.approx(0.48, abs=BEAT) == stalls.quantile(0.75)
    assert 0.0 == stalls.quantile(0.49)


def test_timer_runs_after_what_was_ready_before() -> None:
    """A timer that becomes due during a pass runs at the end of the next one, if the loop has no time to sleep."""
    stalls = Stalls(0.0)
    stalls.sleeps(0.03, more=True)
    stalls.wakes(0.03)
    stalls.sleeps(0.035, more=False)
    stalls.end(0.035)

    assert pytest.approx(0.035 - BEAT) == stalls.worst()


class _Wire(asyncio.Transport):
    """What the service writes."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def answer(self) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body of the one answer."""
        head, _, body = self.written.partition(b"\r\n\r\n")
        first, *rest = head.decode().split("\r\n")
        self.written = b""
        return int(first.split()[1]), dict(line.split(": ", 1) for line in rest), body


class _Talk:
    """A connection to a service whose clock stands still until it is set."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.service = Service(lambda: self.now)
        self.service.take([["one", 10.0, "grok-imagine-video", 5, 2_500_000_000]])
        self.wire = _Wire()
        self.connection = Connection(self.service)
        self.connection.connection_made(self.wire)

    def poll(self, request_id: str = "one", key: str = "Authorization: Bearer k\r\n") -> Any:
        """Return what the package understands of a poll."""
        self.connection.data_received(f"GET /v1/videos/{request_id} HTTP/1.1\r\nHost: x\r\n{key}\r\n".encode())
        return decode(*self.wire.answer(), request_id=request_id)


def test_service_speaks_the_look_of_the_api() -> None:
    """The package understands the service: pending, then done with link, length and price."""
    talk = _Talk()
    talk.now += 4.0

    assert Pending("one", progress=PROGRESS) == talk.poll()

    talk.now += 6.0
    done = talk.poll()

    assert isinstance(done, Done)
    assert isinstance(talk.poll("two"), Expired)
    assert (2, 0, 1) == (talk.service.counts.polls, talk.service.counts.polls_after_done, talk.service.counts.refused)


def test_service_waits_for_a_whole_call() -> None:
    """A call that arrives in pieces is one call, and two that arrive together are two."""
    talk = _Talk()
    call = b"GET /v1/videos/one HTTP/1.1\r\nauthorization: Bearer k\r\n\r\n"
    talk.connection.data_received(call[:30])

    assert b"" == talk.wire.written

    talk.connection.data_received(call[30:] + call)

    assert 2 == talk.service.counts.polls


def test_control_is_not_counted() -> None:
    """A connection that loads the work or reads the counts is not one of the row's."""
    talk = _Talk()
    talk.connection.data_received(b"GET /control/counts HTTP/1.1\r\n\r\n")
    counts = json.loads(talk.wire.answer()[2])

    assert (0, [0]) == (counts["connections"], counts["polls_per_video"])


def test_unknown_row_is_refused(tmp_path: Path) -> None:
    """The command line names the rows that there are."""
    with pytest.raises(SystemExit):
        bench.Wishes.read(["--who", "nobody", "--out", str(tmp_path / "x.json")])
