"""The gallery's list: everything that a user may see of a period, read once, with what it cost."""

from __future__ import annotations

import asyncio
import time

import pytest
from airflow_double import Double, iso

from airflow_provider_grokvideo.core.billing.entries import Entry
from airflow_provider_grokvideo.core.purchases.records import Owner
from airflow_provider_grokvideo.plugins import app as page_app
from airflow_provider_grokvideo.plugins import gallery
from airflow_provider_grokvideo.plugins.airflow_rest import Airflow

NOW = 1_800_000_000.0


@pytest.fixture(autouse=True)
def _fresh(monkeypatch):
    """Let each test begin with a process that has read nothing, without a ledger, and with time for slow machines."""
    monkeypatch.setattr(gallery, "READING", 60.0)
    monkeypatch.setenv("AIRFLOW__GROKVIDEO__LEDGER_PATH", "none")
    page_app.application.cache_clear()
    yield
    page_app.application.cache_clear()


async def listed(double, user="admin", since=NOW - 1000, until=NOW, **words):
    """Return the answer of the gallery's route."""
    async with double.page(user) as client:
        answer = await client.get("/api/videos", params={"since": iso(since), "until": iso(until), **words})
    return answer.json()


def labels(answer):
    """Return which task instances are in an answer."""
    return [view["label"] for view in answer["videos"]]


async def test_the_newest_come_first_and_no_more_than_wanted():
    """However many pages Airflow's list has."""
    double = Double()
    for number in range(250):
        double.add("make", NOW - number, map_index=number)
    answer = await listed(double, limit=120)

    assert [f"make[{number}]" for number in range(120)] == labels(answer)
    assert answer["truncated"]
    assert not (await listed(double, limit=250))["truncated"]


async def test_a_card_is_read_once():
    """The list says what has changed since."""
    double = Double()
    for number in range(30):
        double.add("make", NOW - 1 - number, map_index=number)
    await listed(double)
    await listed(double)
    first = double.seen["card"]
    double.add("make", NOW, map_index=7, outcome="failed")
    answer = await listed(double)

    assert (30, 31) == (first, double.seen["card"])
    assert "failed" == answer["videos"][0]["outcome"]


async def test_what_one_user_has_read_is_not_shown_to_another():
    """The list is asked for each user anew, and decides."""
    double = Double()
    double.add("secret", NOW - 1)
    double.add("open", NOW - 2, dag_id="others")
    await listed(double, "admin")

    assert ["open"] == labels(await listed(double, "guest"))


async def test_nobody_sees_nothing():
    """Without a login there is no list."""
    double = Double()
    double.add("make", NOW)
    async with double.page(None) as client:
        statuses = {(await client.get(path)).status_code for path in ("/", "/video", "/request", "/api/videos")}

    assert {401} == statuses


async def test_a_period_has_its_borders():
    """A day begins and ends where the reader's does."""
    double = Double()
    for name, at in {"before": NOW - 1001, "first": NOW - 1000, "last": NOW, "after": NOW + 1}.items():
        double.add(name, at)

    assert ["last", "first"] == labels(await listed(double))


async def test_an_airflow_that_cannot_sort_is_looked_through():
    """3.1 lists by name; the newest may be on the last page."""
    double = Double(newest_first=False)
    for number in range(350):
        double.add("make", NOW - 350 + number, map_index=number)
    async with double.page() as client:
        page_app.application.cache_clear()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(page_app.airflow, "__version__", "3.1.8")
            page_app.application()
    async with double.page() as client:
        answer = (
            await client.get("/api/videos", params={"since": iso(NOW - 1000), "until": iso(NOW), "limit": 3})
        ).json()

    assert ["make[349]", "make[348]", "make[347]"] == labels(answer)


async def test_what_disappears_meanwhile_is_left_out():
    """A task that is cleared while somebody looks."""
    double = Double()
    double.add("here", NOW)
    double.gone.add(double.add("gone", NOW))

    assert ["here"] == labels(await listed(double))


async def test_tasks_that_airflow_ended_are_told_with_few_questions():
    """A hundred requests under way are one question about their tasks."""
    double = Double()
    for number in range(100):
        owner = double.add("make", NOW - number, map_index=number, outcome="waiting")
        double.states[owner] = "failed" if number % 2 else "deferred"
    answer = await listed(double, limit=200)

    assert {"waiting": 50, "trouble": 50} == {
        outcome: sum(view["outcome"] == outcome for view in answer["videos"]) for outcome in ("waiting", "trouble")
    }
    assert 1 == double.seen["tasks"]


async def test_without_a_ledger_the_spend_is_that_of_the_list():
    """Billed where a bill is known, possible where it is not, nothing for what was reused or stopped before."""
    double = Double()
    made = {"uri": "s3://b/a.mp4"}
    double.add("a", NOW, cost_usd="0.36", estimated_usd="0.30", manifest=made)
    double.add("b", NOW, outcome="waiting", estimated_usd="0.40")
    double.add("c", NOW, outcome="moderated", cost_usd="0.10", estimated_usd="0.10")
    double.add("d", NOW, outcome="failed", estimated_usd="0.20")
    double.add("e", NOW, outcome="refused", estimated_usd="9.00")
    double.add("f", NOW, cost_usd="0.50", manifest={**made, "reused": True})
    double.add("g", NOW, outcome="expired", estimated_usd="0.05", dag_id="others")
    for name in ("h", "i"):
        double.add(name, NOW, request_id="rescued", cost_usd="0.04", dag_id="others", manifest=made)
    spend = (await listed(double))["spend"]

    assert ("videos", "0.50", "0.45", 6) == (
        spend["source"],
        spend["billed_usd"],
        spend["possible_usd"],
        spend["purchases"],
    )
    assert {"films": "0.46", "others": "0.04"} == {line["dag_id"]: line["billed_usd"] for line in spend["by_dag"]}


async def test_every_purchase_of_a_task_counts_once():
    """Also one before the last, and one that is under way while a later try was refused; not one of another period."""
    double = Double()
    blocked = {"number": 1, "phase": "ended", "outcome": "moderated", "request_id": "a", "cost_usd": "0.50", "at": NOW}
    again = {"number": 2, "phase": "delivered", "request_id": "b", "cost_usd": "0.40", "at": NOW}
    long_ago = {"number": 3, "phase": "delivered", "request_id": "c", "cost_usd": "9", "at": NOW - 9_000}
    going_on = {"number": 1, "phase": "submitted", "request_id": "d", "estimated_usd": "0.30", "at": NOW}
    double.add("twice", NOW, purchases=[blocked, again, long_ago], cost_usd="0.40")
    double.add("stopped", NOW, outcome="refused", purchases=[going_on])
    spend = (await listed(double))["spend"]

    assert ("0.90", "0.30", 3, 1) == (
        spend["billed_usd"],
        spend["possible_usd"],
        spend["purchases"],
        spend["moderated"],
    )


async def test_a_request_that_is_sensed_counts_once():
    """The task that submitted it and the one that waits show one video and one bill."""
    double = Double()
    double.add("submit", NOW - 5, request_id="r", outcome="submitted", estimated_usd="0.10", prompt="A parcel")
    double.add("sense", NOW, request_id="r", cost_usd="0.10", manifest={"uri": "s3://b/a.mp4"})
    answer = await listed(double)

    assert [("sense", "A parcel")] == [(view["label"], view["prompt"]) for view in answer["videos"]]
    assert (1, "0.10") == (answer["spend"]["purchases"], answer["spend"]["billed_usd"])


@pytest.mark.parametrize(
    "value",
    [
        "text",
        None,
        7,
        [],
        {"schema": 2},
        {"schema": 1},
        {"schema": 1, "outcome": "waiting", "at": 253_402_300_799.0},
        {"schema": 1, "outcome": "delivered", "at": NOW, "manifest": {"duration": "\ud800"}},
    ],
    ids=["text", "none", "number", "list", "newer", "empty", "end of time", "no letter"],
)
async def test_values_that_are_no_cards_are_left_out(value):
    """People may edit XCom."""
    double = Double()
    owner = double.add("odd", NOW)
    double.cards[owner] = (value, NOW)
    double.add("good", NOW)

    assert ["good"] == labels(await listed(double))


@pytest.mark.parametrize("until", ["9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z"])
async def test_a_period_at_the_end_of_time_is_a_period(until):
    """Whatever an address asks for has an answer."""
    double = Double()
    double.add("make", NOW)
    async with double.page() as client:
        answer = await client.get("/api/videos", params={"since": "1970-01-02T00:00:00Z", "until": until})

    assert 200 == answer.status_code


@pytest.mark.parametrize("index", ["--5", "{MAP_INDEX}", "", "٣", "99999999999999999999", "-1"])
async def test_a_map_index_that_is_none_is_that_of_an_unmapped_task(index):
    """Airflow leaves its placeholder in the address."""
    double = Double()
    double.add("make", NOW)
    async with double.page() as client:
        query = {"dag_id": "films", "run_id": "run", "task_id": "make", "map_index": index}
        answer = await client.get("/api/video", params=query)

    assert "make" == answer.json()["label"]


async def test_a_period_that_is_not_named_is_the_last_week():
    """And now is its end."""
    double = Double()
    now = time.time()
    double.add("recent", now - 6 * 86_400)
    double.add("old", now - 8 * 86_400)
    async with double.page() as client:
        answer = (await client.get("/api/videos")).json()

    assert ["recent"] == labels(answer)


async def test_pages_let_nothing_else_in():
    """Whatever a page's browser is told to load, it loads from here, over https, or from this machine."""
    double = Double()
    async with double.page() as client:
        policy = (await client.get("/")).headers["content-security-policy"]

    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'self'" in policy


ODD = [
    {"manifest": {"submitted_at": f"P{'9' * 400}Y", "finished_at": "now"}},
    {"manifest": {"finished_at": "9999-12-31T23:59:59-23:00", "submitted_at": "0001-01-01T00:00:00+23:00"}},
    {"manifest": {"duration": [[[]] * 99], "width": "wide", "bytes": float("1e308")}},
    {"prompt": "\ud800"},
    {"prompt": "x" * 50_000},
    {"parameters": {"a": [[[[{"b": None}]]]] * 500}},
    {"kind": "/".join("9" * 99)},
    {"request_id": "\0", "conn_id": "\x7f"},
]


@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
async def test_an_odd_card_hides_no_other(odd):
    """People may edit cards."""
    double = Double()
    double.add("good", NOW - 2)
    double.cards[double.add("odd", NOW - 1)][0].update({"kind": "k", **odd})
    answer = await listed(double)

    assert "good" in labels(answer)
    assert all(len(view["prompt"] or "") <= page_app.LONGEST_PROMPT for view in answer["videos"])


async def test_a_card_that_airflow_never_gives_does_not_keep_the_others(monkeypatch):
    """Its reading has an end."""
    loop = asyncio.get_running_loop()
    now, ask, others_are_read = loop.time, Airflow.card, asyncio.Event()

    async def slow(self, owner):
        if owner.task_id == "hung":
            await others_are_read.wait()
            monkeypatch.setattr(loop, "time", lambda: now() + gallery.READING)
            await asyncio.Event().wait()
        card = await ask(self, owner)
        others_are_read.set()
        return card

    monkeypatch.setattr(Airflow, "card", slow)
    double = Double()
    double.add("good", NOW - 2)
    double.add("hung", NOW - 1)

    assert ["good"] == labels(await listed(double))


async def test_what_the_ledger_says_of_a_failed_request_is_its_cost(monkeypatch):
    """Not its estimate; without a ledger and a bill it cost nothing."""
    booked = Entry(
        "t", NOW - 50, "c", Owner("films", "run", "failed"), estimated=5, billed=1_000_000_000, state="settled",
        outcome="failed", request_id="r-failed--1",
    )  # fmt: skip
    double = Double()
    double.add("failed", NOW - 2, outcome="failed", estimated_usd="0.15")
    without = await listed(double)
    monkeypatch.setattr("airflow_provider_grokvideo.plugins.spend._booked", lambda *given: [booked])
    told = await listed(double)

    assert {"usd": "0", "kind": "unbilled"} == without["videos"][0]["cost"]
    assert {"usd": "0.1", "kind": "billed"} == told["videos"][0]["cost"]
