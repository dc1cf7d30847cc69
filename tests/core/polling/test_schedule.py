"""When looks pay: the schedule against the best there is, against a fixed interval, and under a pace that is short.

The latencies are those of the benchmark, lognormal with published medians. Everything runs on a virtual clock.
"""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from airflow_provider_grokvideo.core.polling.latency import Latencies
from airflow_provider_grokvideo.core.polling.queue import PATIENCE
from benchmarks.simulation import MIX, Job, Kind, Outcome, best, fewest_polls, fixed, frontier, simulate, steadily

PRICE = 0.29
"""Seconds of lag per look at which the best schedule needs about as many polls as ours."""


def learned(seed: int = 3) -> Latencies:
    """Return what is known after a thousand videos of the mix."""
    latencies = Latencies()
    simulate(steadily(MIX, 0.3, 1000, seed), latencies)
    return latencies


def by_kind(outcome: Outcome) -> dict[str, Outcome]:
    """Return the videos of each kind, in the order in which they were found."""
    return {kind.name: Outcome([row for row in outcome.found if row[0].kind == kind.name]) for kind in MIX}


def beside_fixed(outcome: Outcome) -> tuple[float, float]:
    """Return polls and lag as parts of those of a fixed interval of 5 s on the same videos."""
    polls, lag = fixed([job for job, _, _ in outcome.found])
    return outcome.polls / polls, outcome.lag / lag


def test_the_yardsticks_are_right():
    """Fixed 5 s costs 11.5 polls and 2.5 s on the mix, and the best schedule trades polls for lag below that."""
    polls, lag = fixed(steadily(MIX, 1.0, 20_000))

    assert (11.5, 2.5) == (pytest.approx(polls, abs=0.1), pytest.approx(lag, abs=0.05))
    assert all(few < many and late > soon for (many, soon), (few, late) in pairwise(frontier()))


@pytest.mark.parametrize("rate", [0.3, 3.0], ids=["few at once", "many at once"])
def test_a_learned_schedule_is_close_to_the_best_there_is(rate):
    """At most 0.55 of the polls and 0.7 of the lag of fixed 5 s, within 15 % of who knows the distributions."""
    outcome = simulate(steadily(MIX, rate, 2000), learned())

    polls, lag = beside_fixed(outcome)
    assert polls < 0.55
    assert lag < 0.7
    assert outcome.polls < 1.15 * fewest_polls(outcome.lag)


def test_a_thousand_at_once_do_not_mislead_it():
    """The fast ones of a crowd are found first; the schedule of the next crowd is right all the same."""
    latencies = learned()

    simulate(steadily(MIX, 1e9, 1000, seed=5), latencies)
    again = simulate(steadily(MIX, 1e9, 1000, seed=6), latencies)

    polls, lag = beside_fixed(again)
    assert polls < 0.6
    assert lag < 0.75


@pytest.mark.parametrize("rate", [0.3, 1e9], ids=["one after another", "all at once"])
@pytest.mark.parametrize("speed", [0.5, 1.0, 2.0], ids=["twice as fast", "as guessed", "half as fast"])
@pytest.mark.parametrize("kind", MIX, ids=[kind.name[14:] for kind in MIX])
def test_before_anything_is_learned_it_is_never_worse_in_both(kind, speed, rate):
    """With nothing but the guess, also one off by two, it never needs more polls and more time than fixed 5 s."""
    rows = []
    for seed in range(20):
        rows += simulate(steadily([kind], rate, 10, seed, speed), Latencies()).found

    polls, lag = beside_fixed(Outcome(rows))

    assert polls < 1.02 or lag < 1.02


@pytest.mark.parametrize("speed", [0.5, 2.0], ids=["twice as fast", "half as fast"])
def test_a_service_that_changes_its_speed_is_learned_again(speed):
    """While it changes never worse than fixed 5 s in both, and good again within 50 finished requests of the kind."""
    during: dict[str, list[Outcome]] = {kind.name: [] for kind in MIX}
    after: dict[str, list[Outcome]] = {kind.name: [] for kind in MIX}
    for seed in range(8):
        found = by_kind(simulate(steadily(MIX, 0.3, 600, seed, speed), learned(seed + 100)))
        for name, outcome in found.items():
            during[name].append(outcome.of(slice(0, 50)))
            after[name].append(outcome.of(slice(50, None)))

    worse, slow = {}, {}
    for kind in MIX:
        polls, lag = beside_fixed(Outcome([row for each in during[kind.name] for row in each.found]))
        if polls > 1.02 and lag > 1.02:
            worse[kind.name] = (polls, lag)
        now = Outcome([row for each in after[kind.name] for row in each.found])
        few, soon = best(Kind(kind.name, kind.median * speed, kind.sigma, 1.0), PRICE)
        if now.lag + PRICE * now.polls > 1.2 * (soon + PRICE * few):
            slow[kind.name] = (now.polls, now.lag)
    assert ({}, {}) == (worse, slow)


def test_two_speeds_in_one_kind_are_both_learned():
    """Latencies need not be lognormal: of half at 30 s and half at 120 s, few polls fall between."""
    chance = random.Random(1)
    kinds = [Kind(MIX[1].name, median, 0.05, 0.5) for median in (30, 120)]
    jobs = [Job(job.kind, job.submitted, job.latency) for job in steadily(kinds, 0.2, 800, chance.randrange(99))]

    outcome = simulate(jobs, Latencies()).of(slice(300, None))

    polls, lag = beside_fixed(outcome)
    assert polls < 0.7
    assert lag < 0.8


def test_a_progress_that_tells_the_truth_helps_and_one_that_lies_costs_little():
    """Progress only brings looks forward: true or not, still fewer polls than fixed 5 s."""
    jobs = steadily(MIX, 0.3, 600)
    without = simulate(jobs, Latencies())
    honest = simulate(jobs, Latencies(), progress=True)

    assert honest.lag < without.lag
    assert beside_fixed(honest)[0] < 0.8


@pytest.mark.parametrize(
    ("rate", "lag"),
    [pytest.param(0.3, 5.0, id="30 %"), pytest.param(0.6, 12.0, id="60 %"), pytest.param(0.8, 25.0, id="80 %")],
)
@pytest.mark.parametrize("known", [True, False], ids=["learned", "first day"])
def test_a_short_pace_is_spent_where_it_pays(rate, lag, known):
    """One look a second carries 0.8 videos a second: bounded lag, stable, and nobody is overdue beyond the bound."""
    outcome = simulate(steadily(MIX, rate, 1500), learned() if known else Latencies(), pace=1.0)

    first, second = outcome.of(slice(None, 750)), outcome.of(slice(750, None))
    assert outcome.lag < lag
    assert second.lag < 1.5 * first.lag
    assert outcome.waited < PATIENCE + outcome.fullest / 1.0


def test_more_work_than_the_pace_carries_starves_nobody():
    """Five hundred at once at one poll a second: everybody is looked at within the stated bound, and all are found."""
    outcome = simulate(steadily(MIX, 1e9, 500), Latencies(), pace=1.0)

    assert 500 == len(outcome.found)
    assert outcome.waited < PATIENCE + outcome.fullest / 1.0
