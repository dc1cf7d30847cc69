"""A card is plain JSON that comes back as it was, and whatever else is there is no card."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_grokvideo.core import errors
from airflow_provider_grokvideo.core.cards import (
    SCHEMA,
    Card,
    CardProblem,
    MadeFrom,
    Purchase,
    dollars,
    outcome_of,
    parse,
    problem_of,
    purchases_of,
)
from airflow_provider_grokvideo.core.purchases.records import Owner, Record
from airflow_provider_grokvideo.execution.airflow_errors import final

OWNER = Owner("films", "manual__1", "make", 2)
CARD = Card(
    outcome="delivered",
    at=1_800_000_000.0,
    conn_id="team",
    request_id="r-1",
    kind="edit/grok-imagine-video/-/-",
    mode="edit",
    model="grok-imagine-video",
    prompt="Make it snow",
    parameters={"storage_options": {"filename": "a.mp4"}},
    made_from=MadeFrom(field="video", request_id="r-0", address="file:///out/a.mp4"),
    estimated_usd="0.36",
    cost_usd="0.3600000001",
    submitted_at=1_799_999_950.0,
    manifest={"uri": "file:///out/b.mp4", "bytes": 3},
    problem=CardProblem(type="DeliveryFailed", message="no", advice="Clear the task."),
    purchases=(Purchase(number=1, phase="delivered", request_id="r-1", estimated_usd="0.36"),),
)


def record(**facts):
    """Return a journal record."""
    known = {
        "owner": OWNER,
        "number": 1,
        "token": "t",
        "phase": "submitted",
        "fingerprint": "f",
        "asked": "a",
        "intended_at": 5.0,
    }
    return Record(**{**known, **facts})


def test_a_card_comes_back_from_json_as_it_was():
    """What a task writes is what the page reads."""

    assert parse(json.loads(json.dumps(CARD.to_json()))) == CARD


@pytest.mark.parametrize(
    "value",
    [
        None,
        "text",
        [],
        {},
        {**CARD.to_json(), "schema": SCHEMA + 1},
        {**CARD.to_json(), "outcome": "sold"},
        {**CARD.to_json(), "at": -1},
        {**CARD.to_json(), "cost_usd": "1e99"},
        {**CARD.to_json(), "purchases": "none"},
        {**CARD.to_json(), "manifest": "x"},
    ],
    ids=["none", "text", "list", "empty", "newer", "outcome", "time", "money", "purchases", "manifest"],
)
def test_what_is_no_card_is_none(value):
    """People may edit XCom, and a page must not stumble over it."""

    assert parse(value) is None


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), lambda each: st.dictionaries(st.text(), each)))
def test_no_value_of_json_breaks_the_reading(value):
    """Reading never raises."""
    read = parse({**CARD.to_json(), "manifest": value, "made_from": value, "problem": value})

    assert read is None or isinstance(read, Card)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (errors.VideoModerated("m"), "moderated"),
        (errors.VideoFailed("f"), "failed"),
        (errors.VideoExpired("e"), "expired"),
        (errors.AmbiguousSubmit("a"), "unconfirmed"),
        (errors.WaitTimeout("w", request_id="r"), "trouble"),
        (errors.DeliveryFailed("d", request_id="r"), "trouble"),
        (errors.AuthenticationFailed("k", request_id="r"), "trouble"),
        (errors.AuthenticationFailed("k"), "refused"),
        (errors.InvalidInput("prompt", "", "words"), "refused"),
        (errors.SpendLimitExceeded("s"), "refused"),
        (errors.DeliveryFailed("not writable"), "refused"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value,
)
def test_an_error_says_how_far_the_video_is(error, expected):
    """What has a request goes on or ended; what has none was stopped before money was spent."""

    assert expected == outcome_of(error)


def test_a_problem_has_the_name_that_the_documentation_has():
    """That Airflow shall not retry is no other kind of error."""
    error = final(errors.VideoModerated("blocked", code="moderated", request_id="r", advice="Change the prompt."))
    expected = CardProblem(type="VideoModerated", message="blocked", advice="Change the prompt.", code="moderated")

    assert expected == problem_of(error)


def test_purchases_are_those_that_may_have_cost_something():
    """A start that was provably not accepted is none; what was billed is told by the end or by the manifest."""
    records = [
        record(phase="withdrawn"),
        record(number=2, phase="ended", request_id="r-2", outcome="moderated", cost_usd="0.40"),
        record(number=3, phase="delivered", request_id="r-3", submitted_at=9.0, manifest={"cost_usd": 0.36}),
    ]
    told = [(each.number, each.outcome, each.cost_usd, each.at) for each in purchases_of(records)]

    assert [(2, "moderated", "0.4", 5.0), (3, None, "0.36", 9.0)] == told


@pytest.mark.parametrize(
    ("amount", "expected"),
    [
        (None, None),
        (0.1, "0.1"),
        (Decimal("1E+1"), "10"),
        (Decimal("0.0000000001"), "0.0000000001"),
        ("0.50", "0.5"),
        (0, "0"),
        ("abc", None),
        (-1, None),
        (float("inf"), None),
    ],
)
def test_dollars_are_plain_digits(amount, expected):
    """A page shows them as they are."""

    assert expected == dollars(amount)
