"""The agenda of an account: nobody is lost or taken twice, the most promising goes first, and nobody starves."""

from __future__ import annotations

import gc
import random
import weakref
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_grokvideo.core.polling.decisions import Watch
from airflow_provider_grokvideo.core.polling.latency import Latencies
from airflow_provider_grokvideo.core.polling.queue import PATIENCE, TEACHERS, PollQueue
from airflow_provider_grokvideo.core.polling.rate_limit import RateLimit

NOW = 1_800_000_000.0
KIND = "text-to-video/grok-imagine-video/8/720p"


class Wait:
    """A key that tells whether somebody still holds it."""


def agenda(pace: float = 1e9) -> PollQueue:
    """Return an empty agenda."""
    return PollQueue(RateLimit.of(pace, NOW), Latencies())


def watch(age: float = 0.0, kind: str | None = KIND, **words) -> Watch:
    """Return a wait for a request of some age."""
    return Watch("r", since=NOW - age, deadline=NOW + 9000, kind=kind, **words)


def taken(book: PollQueue, now: float) -> list:
    """Take everybody who can be taken."""
    found = []
    while (key := book.take(now)) is not None:
        found.append(key)
    return found


steps = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(0, 7), st.floats(-5, 20)),
        st.tuples(st.just("drop"), st.integers(0, 7), st.just(0.0)),
        st.tuples(st.just("take"), st.just(0), st.just(0.0)),
        st.tuples(st.just("wait"), st.just(0), st.floats(0, 10)),
        st.tuples(st.just("set back"), st.just(0), st.floats(0, 5000)),
    ),
    max_size=80,
)


@given(steps=steps, pace=st.sampled_from([0.3, 2.0, 1e9]))
def test_it_is_a_list_of_who_is_due(steps, pace):
    """Whatever is put, dropped and taken in whatever order: who is due is taken, once, and nobody else ever is."""
    book, now = agenda(pace), NOW
    planned: dict[int, float] = {}
    known: set[int] = set()
    for what, key, amount in steps:
        if what == "put":
            book.put(key, watch(), now + amount)
            planned[key] = now + amount
            known.add(key)
        elif what == "drop":
            book.drop(key)
            planned.pop(key, None)
            known.discard(key)
        elif what == "wait":
            now += amount
        elif what == "set back":
            book.next_at(now)
            now -= amount
            book.next_at(now)
            planned = {key: at - amount for key, at in planned.items()}
        else:
            due = {key for key, at in planned.items() if at <= now + 1e-3}
            free = book.pace.next_at(now) <= now
            found = book.take(now)
            if found is None:
                assert not free or not {key for key in due if planned[key] <= now - 1e-3}
            else:
                assert free
                assert found in due
                del planned[found]
        assert len(known) == len(book)

    assert sorted(planned) == sorted(drained(book, now))


def drained(book: PollQueue, now: float) -> list:
    """Take everybody by going to the moments that the agenda names."""
    found = []
    while (at := book.next_at(now)) is not None:
        now = max(now, at)
        if (key := book.take(now)) is not None:
            found.append(key)
        else:
            assert len(found) <= len(book)
    return found


@given(
    pace=st.sampled_from([0.5, 3.0, 20.0]),
    waits=st.integers(1, 90),
    seed=st.integers(0, 99),
    hot=st.floats(0, 1),
)
def test_nobody_is_overdue_beyond_the_bound(pace, waits, seed, hot):
    """However unpromising: after the patience, at most one poll of every wait else goes first."""
    chance = random.Random(seed)
    book, now = agenda(pace), NOW
    watches: dict[int, Watch] = {}
    due: dict[int, float] = {}
    for key in range(waits):
        # Some are long past their time and can always gain; the others hardly can.
        watches[key] = watch(age=200.0 if chance.random() < hot else 0.0)
        due[key] = now + chance.random() * 30
        book.put(key, watches[key], due[key])

    worst = 0.0
    while now < NOW + 2 * PATIENCE + 3 * waits / pace:
        at = book.next_at(now)
        assert at is not None
        now = max(now, at)
        key = book.take(now)
        if key is not None:
            worst = max(worst, now - due[key])
            watches[key] = replace(watches[key], seen_at=now)
            due[key] = now + 1 + chance.random()
            book.put(key, watches[key], due[key])

    assert worst <= PATIENCE + waits / pace
    assert all(now - at <= PATIENCE + waits / pace for at in due.values())


def test_the_most_promising_goes_first():
    """Where the pace is short, the poll that is most likely to find a video goes first, not the one that came first."""
    book = agenda(pace=1.0)
    for key, age in (("just begun", 1.0), ("soon", 40.0), ("long past", 120.0), ("half way", 20.0)):
        book.put(key, watch(age), NOW)

    order = drained(book, NOW)

    assert ["long past", "soon", "half way", "just begun"] == order


def test_who_waited_too_long_goes_before_all():
    """Beyond the patience only the age of the poll counts, the oldest first."""
    book = agenda(pace=1.0)
    book.put("promising", watch(age=90.0), NOW + 199)
    book.put("old", watch(age=0.0, kind="text-to-video/grok-imagine-video/15/1080p"), NOW + 100)
    book.put("older", watch(age=0.0, kind="text-to-video/grok-imagine-video/15/1080p"), NOW + 50)

    assert ["older", "old", "promising"] == drained(book, NOW + 200)


def test_dropping_thousands_leaves_nothing_behind():
    """The agenda of a triggerer that has seen ten thousand waits go holds on to a few of them at most."""
    book = agenda()
    alive = weakref.WeakSet()
    for _ in range(10_000):
        key = Wait()
        alive.add(key)
        book.put(key, watch(), NOW + 3600)
        book.drop(key)
    del key
    gc.collect()

    assert 0 == len(book)
    assert len(alive) <= 65


def test_waits_that_stay_are_kept_while_thousands_go():
    """Cleaning up after those who left loses nobody of those who stay."""
    book = agenda()
    for key in range(2000):
        book.put(key, watch(), NOW + key % 7)
    for key in range(2000):
        if key % 100:
            book.drop(key)

    assert list(range(0, 2000, 100)) == sorted(taken(book, NOW + 10))


def test_teachers_are_few_and_chosen_when_waits_begin():
    """Of a thousand simultaneous requests a few are learned from, the first; who is there already is never added."""
    book = agenda()
    for key in range(1000):
        book.put(key, watch(), NOW + 60)
    assert list(range(TEACHERS)) == [key for key in range(1000) if book.teaches(key)]

    book.drop(3)
    assert not any(book.teaches(key) for key in (3, *range(TEACHERS, 1000)))

    book.put(1000, watch(), NOW + 60)
    book.put(1001, watch(), NOW + 60)
    assert (True, False) == (book.teaches(1000), book.teaches(1001))


def test_each_kind_has_teachers_of_its_own():
    """A crowd of one kind does not keep another from being learned."""
    book = agenda()
    for key in range(100):
        book.put(key, watch(), NOW)
    book.put("other", watch(kind="edit/grok-imagine-video/5/480p"), NOW)

    assert book.teaches("other")


def test_a_teacher_stays_one_from_look_to_look():
    """Coming back after a poll changes nothing, and those that go on are known by the age at which they were seen."""
    book = agenda()
    book.put("a", watch(age=30.0), NOW)
    book.put("b", watch(age=40.0), NOW)

    assert [] == book.running(KIND)

    book.take(NOW)
    book.put("a", watch(age=30.0, seen_at=NOW), NOW + 5)

    assert [30.0] == book.running(KIND)
    assert book.teaches("a")


@pytest.mark.parametrize("retry_after", [None, 7.0], ids=["without a pause", "with a pause"])
def test_a_rate_limit_holds_everybody(retry_after):
    """One look that was refused for its rate keeps all others from being sent until it may be tried again."""
    book = agenda(pace=10.0)
    for key in range(50):
        book.put(key, watch(), NOW)
    book.take(NOW)

    book.limited(NOW, NOW, retry_after)

    opens = NOW + (retry_after or 0.2)
    assert opens <= book.next_at(NOW)
    assert [] == taken(book, opens - 0.01)
    assert 1 == len(taken(book, book.next_at(opens)))


def test_a_clock_that_is_set_back_delays_nobody():
    """A look that was ten seconds away stays ten seconds away."""
    book = agenda()
    book.put("soon", watch(), NOW + 10)
    book.put("later", watch(), NOW + 20)
    assert NOW + 10 == book.next_at(NOW)

    back = NOW - 3600

    assert back + 10 == pytest.approx(book.next_at(back))
    assert ["soon"] == taken(book, back + 10.001)
    assert ["later"] == taken(book, back + 20.001)
