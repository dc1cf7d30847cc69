"""What a ledger says of a purchase after everything that can become of it, and that no money is forgotten."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_grokvideo.core.billing.entries import (
    Entry,
    accepted,
    as_json,
    entry_of,
    forgotten,
    reconciled,
    refused,
    released,
    settled,
    unconfirmed,
)
from airflow_provider_grokvideo.core.jobs import Done, Expired, Failed, Moderated
from airflow_provider_grokvideo.core.purchases.records import Owner, Record

OWNER = Owner("films", "manual__1", "make", 2)
ESTIMATE, BILL = 4_000_000_000, 4_800_000_001
BILL_USD = "0.4800000001"


def bought(**facts):
    """Return a reservation, or what became of it."""
    return Entry(
        **{
            "token": "t-1",
            "reserved_at": 1_800_000_000.0,
            "conn_id": "team",
            "owner": OWNER,
            "try_number": 1,
            "mode": "generation",
            "model": "grok-imagine-video-1.5",
            "estimated": ESTIMATE,
            **facts,
        }
    )


def known(phase="submitted", **facts):
    """Return what the journal knows of the same purchase."""
    ids = {"request_id": "r-1"} if phase in ("submitted", "delivered", "ended") else {}
    return Record(
        **{
            "owner": OWNER,
            "number": 1,
            "token": "t-1",
            "phase": phase,
            "fingerprint": "a" * 64,
            "asked": "a" * 64,
            "intended_at": 1_800_000_001.0,
            "try_number": 1,
            "mode": "generation",
            "model": "grok-imagine-video-1.5",
            "conn_id": "team",
            "estimated_usd": "0.4",
            **ids,
            **facts,
        }
    )


def done(ticks=BILL):
    """Return a request that ended with a video."""
    return Done("r-1", url="https://vidgen.x.ai/v.mp4", cost_ticks=ticks)


OPEN = bought()
UNDER_WAY = bought(request_id="r-1")
UNCONFIRMED = bought(outcome="unconfirmed")
SETTLED = bought(state="settled", outcome="done", request_id="r-1", billed=BILL)
RELEASED = bought(state="released")


@pytest.mark.parametrize(
    ("entry", "counted", "possible"),
    [
        pytest.param(OPEN, ESTIMATE, ESTIMATE, id="reserved"),
        pytest.param(bought(estimated=None), 0, 0, id="reserved without a price"),
        pytest.param(UNCONFIRMED, ESTIMATE, ESTIMATE, id="unconfirmed"),
        pytest.param(UNDER_WAY, ESTIMATE, ESTIMATE, id="under way"),
        pytest.param(SETTLED, BILL, 0, id="done"),
        pytest.param(replace(SETTLED, billed=0), 0, 0, id="done, for nothing"),
        pytest.param(replace(SETTLED, billed=None), ESTIMATE, ESTIMATE, id="done, the bill is not told"),
        pytest.param(replace(SETTLED, outcome="moderated"), BILL, 0, id="moderated"),
        pytest.param(replace(SETTLED, outcome="moderated", billed=None), ESTIMATE, ESTIMATE, id="moderated, no bill"),
        pytest.param(replace(SETTLED, outcome="failed"), BILL, 0, id="failed"),
        pytest.param(replace(SETTLED, outcome="failed", billed=None), 0, 0, id="failed, no bill"),
        pytest.param(replace(SETTLED, outcome="expired", billed=None), ESTIMATE, ESTIMATE, id="expired"),
        pytest.param(replace(SETTLED, outcome="abandoned", billed=None), ESTIMATE, ESTIMATE, id="abandoned"),
        pytest.param(RELEASED, 0, 0, id="released"),
    ],
)
def test_what_counts_against_budgets(entry, counted, possible):
    """The bill counts; without one the estimate where money may be gone; nothing where none is."""
    assert (counted, possible) == (entry.counted, entry.possible)


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        pytest.param(accepted(OPEN, "r-1"), UNDER_WAY, id="accepted"),
        pytest.param(accepted(UNCONFIRMED, "r-1"), UNDER_WAY, id="unconfirmed, then accepted"),
        pytest.param(accepted(RELEASED, "r-1"), UNDER_WAY, id="released, then accepted"),
        pytest.param(unconfirmed(OPEN), UNCONFIRMED, id="unconfirmed"),
        pytest.param(unconfirmed(RELEASED), UNCONFIRMED, id="released, then unconfirmed"),
        pytest.param(released(OPEN), RELEASED, id="released"),
        pytest.param(refused(OPEN, None), RELEASED, id="refused"),
        pytest.param(
            refused(OPEN, BILL), bought(state="settled", outcome="moderated", billed=BILL), id="refused and billed"
        ),
        pytest.param(refused(OPEN, 0), bought(state="settled", outcome="moderated", billed=0), id="refused, 0 USD"),
    ],
)
def test_what_a_start_leaves(entry, expected):
    """An accepted or unconfirmed submission keeps its reservation; a refused one gives it back unless billed."""
    assert expected == entry


@pytest.mark.parametrize(
    ("entry", "job", "expected"),
    [
        pytest.param(UNDER_WAY, done(), SETTLED, id="done"),
        pytest.param(OPEN, done(), SETTLED, id="done, the acceptance was not booked"),
        pytest.param(
            UNCONFIRMED, Done("", cost_ticks=None), replace(SETTLED, billed=None, request_id=None), id="uploaded"
        ),
        pytest.param(RELEASED, done(), SETTLED, id="released by mistake"),
        pytest.param(SETTLED, done(), SETTLED, id="done twice"),
        pytest.param(SETTLED, done(None), SETTLED, id="done twice, the second time without a bill"),
        pytest.param(
            UNDER_WAY,
            Done("r-1", model="grok-2", cost_ticks=1),
            replace(SETTLED, model="grok-2", billed=1),
            id="redirected",
        ),
        pytest.param(
            UNDER_WAY, Moderated("r-1", cost_ticks=BILL), replace(SETTLED, outcome="moderated"), id="moderated"
        ),
        pytest.param(
            UNDER_WAY, Moderated("r-1"), replace(SETTLED, outcome="moderated", billed=None), id="moderated, no bill"
        ),
        pytest.param(UNDER_WAY, Failed("r-1", cost_ticks=BILL), replace(SETTLED, outcome="failed"), id="failed"),
        pytest.param(UNDER_WAY, Failed("r-1"), replace(SETTLED, outcome="failed", billed=None), id="failed, no bill"),
        pytest.param(UNDER_WAY, Expired("r-1"), replace(SETTLED, outcome="expired", billed=None), id="expired"),
        pytest.param(SETTLED, Expired("r-1"), SETTLED, id="done, then expired"),
        pytest.param(replace(SETTLED, outcome="expired", billed=None), done(), SETTLED, id="expired, then found"),
        pytest.param(
            replace(SETTLED, outcome="expired", billed=None),
            Failed("r-1"),
            replace(SETTLED, outcome="failed", billed=None),
            id="expired, then found failed",
        ),
        pytest.param(
            replace(SETTLED, outcome="failed"), Failed("r-1"), replace(SETTLED, outcome="failed"), id="failed twice"
        ),
    ],
)
def test_how_a_request_ends(entry, job, expected):
    """The end settles a purchase; a bill that was told stays where a later look names none."""
    assert expected == settled(entry, job)


PHASES = [
    pytest.param(known("intent"), {"outcome": "unconfirmed"}, id="intent"),
    pytest.param(known("submitted"), {"request_id": "r-1"}, id="submitted"),
    pytest.param(
        known("submitted", outcome="expired"),
        {"state": "settled", "outcome": "expired", "request_id": "r-1"},
        id="expired",
    ),
    pytest.param(
        known("delivered", manifest={"cost_usd": 0.4800000001}),
        {"state": "settled", "outcome": "done", "request_id": "r-1", "billed": BILL},
        id="delivered",
    ),
    pytest.param(
        known("delivered", manifest={"cost_usd": None}),
        {"state": "settled", "outcome": "done", "request_id": "r-1"},
        id="delivered, no bill",
    ),
    pytest.param(
        known("ended", outcome="moderated", cost_usd=BILL_USD),
        {"state": "settled", "outcome": "moderated", "request_id": "r-1", "billed": BILL},
        id="moderated",
    ),
    pytest.param(
        known("ended", outcome="failed"), {"state": "settled", "outcome": "failed", "request_id": "r-1"}, id="failed"
    ),
    pytest.param(known("withdrawn"), {"state": "released"}, id="withdrawn"),
    pytest.param(
        known("withdrawn", request_id="r-1"),
        {"state": "settled", "outcome": "abandoned", "request_id": "r-1"},
        id="forgotten by a person",
    ),
]


@pytest.mark.parametrize(("record", "facts"), PHASES)
def test_what_the_journal_alone_says(record, facts):
    """A purchase that the ledger does not know is booked from the journal."""
    expected = bought(reserved_at=1_800_000_001.0, **facts)

    assert expected == entry_of(record) == reconciled(None, record)


@pytest.mark.parametrize(("record", "facts"), PHASES)
def test_an_open_reservation_follows_the_journal(record, facts):
    """A reservation whose task died becomes what the journal knows; when it was made and who allowed it stay."""
    assert bought(approved_by="Ada", **facts) == reconciled(bought(approved_by="Ada"), record)


@pytest.mark.parametrize(
    ("entry", "record"),
    [
        pytest.param(SETTLED, known("submitted"), id="done, and not stored yet"),
        pytest.param(SETTLED, known("intent"), id="done, and the journal missed the acceptance"),
        pytest.param(SETTLED, known("delivered", manifest={}), id="done, and the manifest has no bill"),
        pytest.param(SETTLED, known("submitted", outcome="expired"), id="done, then forgotten by the service"),
        pytest.param(SETTLED, known("withdrawn", request_id="r-1"), id="done, then forgotten by a person"),
        pytest.param(replace(SETTLED, outcome="failed", billed=None), known("submitted"), id="failed without a bill"),
        pytest.param(
            bought(state="settled", outcome="moderated", billed=1), known("withdrawn"), id="refused and billed"
        ),
    ],
)
def test_the_ledger_may_know_more_than_the_journal(entry, record):
    """What the ledger heard first is kept until the journal knows a bill."""
    assert entry == reconciled(entry, record)


def test_a_bill_that_only_the_journal_knows_is_booked():
    """A purchase that ended while the ledger was away gets its bill later."""
    unbilled = replace(SETTLED, billed=None)

    assert SETTLED == reconciled(unbilled, known("delivered", manifest={"cost_usd": BILL_USD}))


def test_a_start_that_was_accepted_is_not_free_because_the_journal_missed_it():
    """Where the ledger knows the request's id, a record that a person withdrew gives nothing back."""
    given_up = reconciled(UNDER_WAY, known("withdrawn", note="forgotten"))

    assert ESTIMATE == given_up.counted


def test_a_mistake_in_the_journal_is_no_bill():
    """A cost that is no number leaves the estimate in force."""
    for cost in ("much", float("nan"), float("inf"), [], True):
        assert ESTIMATE == entry_of(known("delivered", manifest={"cost_usd": cost})).counted


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        pytest.param(OPEN, RELEASED, id="reserved"),
        pytest.param(UNDER_WAY, UNDER_WAY, id="accepted"),
        pytest.param(SETTLED, SETTLED, id="settled"),
        pytest.param(RELEASED, RELEASED, id="released"),
    ],
)
def test_a_reservation_that_the_journal_does_not_know_was_never_sent(entry, expected):
    """Only a reservation of a start that cannot have been sent is given back."""
    assert expected == forgotten(entry)


TICKS = st.none() | st.integers(0, 10**13)
JOBS = st.one_of(
    st.builds(Done, st.just("r-1"), cost_ticks=TICKS),
    st.builds(Moderated, st.just("r-1"), cost_ticks=TICKS),
    st.builds(Failed, st.just("r-1"), cost_ticks=TICKS),
    st.just(Expired("r-1")),
)
DOLLARS = TICKS.map(lambda ticks: None if ticks is None else str(Decimal(ticks) / 10**10))
RECORDS = st.one_of(
    st.just(known("intent")),
    st.builds(known, st.just("submitted"), outcome=st.sampled_from([None, "expired"])),
    st.builds(lambda usd: known("delivered", manifest={"cost_usd": usd}), DOLLARS),
    st.builds(known, st.just("ended"), outcome=st.sampled_from(["failed", "moderated"]), cost_usd=DOLLARS),
    st.builds(
        known,
        st.just("withdrawn"),
        request_id=st.sampled_from([None, "r-1"]),
        note=st.sampled_from([None, "taken over by map index 1"]),
    ),
)
STEPS = st.one_of(
    st.just(lambda entry: accepted(entry, "r-1")),
    st.just(unconfirmed),
    st.just(released),
    st.just(forgotten),
    st.builds(lambda ticks: lambda entry: refused(entry, ticks), TICKS),
    st.builds(lambda job: lambda entry: settled(entry, job), JOBS),
    st.builds(lambda record: lambda entry: reconciled(entry, record), RECORDS),
)


def after(steps):
    """Return a reservation after all that happened to it, in whatever order."""
    entry = bought()
    for step in steps:
        entry = step(entry)
    return entry


@given(st.lists(STEPS, max_size=6))
def test_nothing_that_counts_is_negative(steps):
    """Whatever happens, in whatever order, a purchase never makes room for others."""
    entry = after(steps)

    assert 0 <= entry.possible <= entry.counted


@given(st.lists(STEPS, max_size=5), RECORDS)
def test_to_reconcile_twice_is_to_reconcile_once(steps, record):
    """What the journal says is booked once, however often it is read."""
    once = reconciled(after(steps), record)

    assert once == reconciled(once, record)


@given(st.lists(STEPS, max_size=4), JOBS, st.lists(STEPS, max_size=4))
def test_a_bill_that_was_told_is_never_forgotten(before, job, later):
    """Once the service has named a price some bill counts, whatever is heard or read afterwards in whatever order."""
    billed = settled(after(before), job)
    entry = billed
    for step in later:
        entry = step(entry)

    assert (entry.billed is None) <= (billed.billed is None)
    assert entry.billed is None or entry.counted == entry.billed


@given(st.lists(STEPS, max_size=4), JOBS, st.sampled_from([lambda entry: accepted(entry, "r-1"), unconfirmed]))
def test_a_late_word_of_the_start_changes_no_end(before, job, late):
    """A try that was replaced and wakes up after its successor has booked the end changes nothing of it."""
    end = settled(after(before), job)

    assert end == late(end)


def test_an_entry_as_json():
    """Reports have dollars without exponents, and every part of the task instance."""
    expected = {
        "token": "t-1",
        "reserved_at": 1_800_000_000.0,
        "conn_id": "team",
        "dag_id": "films",
        "run_id": "manual__1",
        "task_id": "make",
        "map_index": 2,
        "item": None,
        "try_number": 1,
        "mode": "generation",
        "model": "grok-imagine-video-1.5",
        "state": "settled",
        "outcome": "done",
        "request_id": "r-1",
        "estimated_usd": "0.4",
        "billed_usd": BILL_USD,
        "counted_usd": BILL_USD,
        "approved_by": None,
    }

    assert expected == as_json(SETTLED)
    assert ("0", None) == (as_json(RELEASED)["counted_usd"], as_json(OPEN)["billed_usd"])
    assert as_json(SETTLED) == json.loads(json.dumps(as_json(SETTLED)))
