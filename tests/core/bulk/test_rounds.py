"""When the worker of a bulk task is woken, and what fits into the trigger and its event."""

from __future__ import annotations

import json
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_grokvideo.core.bulk import rounds
from airflow_provider_grokvideo.core.bulk.rounds import InFlight, RoundEvent, round_event
from airflow_provider_grokvideo.core.errors import AuthenticationFailed, EventRejected, InvalidInput, RequestRejected
from airflow_provider_grokvideo.core.purchases.records import Owner, Record

NOW = 1_800_000_000.0
OWNER = Owner("films", "manual__1", "make")


def flight(count: int, kinds: int = 6) -> list[InFlight]:
    """Return requests as a worker submits them, one each 0.37 s."""
    return [
        InFlight(
            str(UUID(int=2**127 + index)), NOW + index * 0.37, NOW + 900 + index * 0.37, f"generate/m/{index % kinds}"
        )
        for index in range(count)
    ]


@pytest.mark.parametrize(
    ("flight", "finished", "expected"),
    [
        pytest.param(20, [], None, id="none finished"),
        pytest.param(20, [NOW - 5] * 4, NOW + 25, id="less than a quarter"),
        pytest.param(20, [NOW - 5] * 5, NOW, id="a quarter"),
        pytest.param(21, [NOW - 5] * 5, NOW + 25, id="a quarter is not rounded down"),
        pytest.param(20, [NOW - 31, NOW], NOW, id="the oldest is older than 30 s"),
        pytest.param(20, [NOW - 29, NOW], NOW + 1, id="the oldest is not yet 30 s old"),
        pytest.param(1, [NOW], NOW, id="all of one"),
        pytest.param(3, [NOW], NOW, id="at least one"),
        pytest.param(0, [], NOW, id="nothing to wait for"),
        pytest.param(10_000, [NOW] * 199, NOW + 30, id="fewer than can be named"),
        pytest.param(10_000, [NOW] * 200, NOW, id="as many as can be named"),
    ],
)
def test_the_worker_is_woken_when_it_is_worth_it(flight, finished, expected):
    """A quarter of the flight, all of it, or one that is 30 s old wakes the worker."""
    assert expected == rounds.wake_at(flight, finished, NOW)


@pytest.mark.parametrize(
    ("flight", "finished", "expected"),
    [
        pytest.param(20, [], None, id="none"),
        pytest.param(20, [NOW - 1] * 4, NOW + 29, id="too few"),
        pytest.param(20, [NOW] * 5, NOW + 0.5, id="a quarter just now"),
        pytest.param(20, [NOW - 0.5] * 5, NOW, id="a quarter, and no more come"),
        pytest.param(20, [*[NOW - 2.8] * 5, NOW], NOW + 0.2, id="more come, at most three seconds"),
        pytest.param(20, [NOW - 30, NOW], NOW + 0.5, id="an old one, and one just now"),
        pytest.param(20, [NOW] * 20, NOW, id="all"),
        pytest.param(1000, [NOW] * 200, NOW, id="as many as an event names"),
    ],
)
def test_a_worker_is_started_when_no_more_requests_finish(flight, finished, expected):
    """Requests that finish together are worth one start of a worker, which waits three seconds for them at most."""
    assert expected == rounds.start_at(flight, finished, NOW)


@pytest.mark.parametrize(
    ("flight", "refused", "expected"),
    [(20, 0, False), (20, 2, False), (20, 3, True), (8, 2, True), (4, 1, True), (1, 0, False), (1000, 3, True)],
)
def test_refused_polls_in_a_row_end_the_wait_of_all(flight, refused, expected):
    """Three refusals in a row, or as many as wake the worker anyway, mean the connection."""
    assert expected is rounds.refuses_all(flight, refused)


@pytest.mark.parametrize(
    ("said", "finished", "after", "expected"),
    [(3, 4, 14.9, False), (3, 4, 15.0, True), (3, 3, 59.0, False), (3, 3, 60.0, True)],
)
def test_progress_is_logged_every_15_seconds_at_most(said, finished, after, expected):
    """News come every 15 s, no news every minute."""
    assert expected is rounds.worth_saying(NOW, said, finished, NOW + after)


def test_200_requests_fit_into_a_trigger():
    """As many requests as an event names fit into 16 kB of arguments."""
    packed = rounds.pack(flight(rounds.MOST_NAMED, kinds=50))

    assert packed is not None
    assert len(json.dumps(packed)) <= rounds.LARGEST - 1000


def test_a_packed_flight_comes_back():
    """Ids, kinds and times to a hundredth of a second survive the trigger's arguments."""
    given = [*flight(5), InFlight("unknown", None, NOW + 60.25), InFlight("uploads", NOW, NOW + 1, "edit/m", True)]
    back = rounds.unpack(json.loads(json.dumps(rounds.pack(given))))

    assert [(each.request_id, each.kind, each.uploads) for each in given] == [
        (each.request_id, each.kind, each.uploads) for each in back
    ]
    assert [pytest.approx(each.deadline, abs=0.006) for each in given] == [each.deadline for each in back]
    assert [each.submitted_at and pytest.approx(each.submitted_at, abs=0.006) for each in given] == [
        each.submitted_at for each in back
    ]


def test_no_requests_are_packed_and_come_back():
    """A flight of nothing is no error."""
    assert [] == rounds.unpack(rounds.pack([]) or {})


def test_a_larger_flight_is_cut_where_it_must_be_named():
    """A flight that does not fit is refused as a whole, and its oldest requests can be named."""
    large = flight(1000)
    some = rounds.unpack(rounds.pack_some(large))

    assert rounds.pack(large) is None
    assert rounds.MOST_NAMED <= len(some) < 1000
    assert [each.request_id for each in large[: len(some)]] == [each.request_id for each in some]


@pytest.mark.parametrize(
    "event",
    [
        pytest.param(round_event(["a", "b"]), id="some ended"),
        pytest.param(round_event([]), id="none ended"),
        pytest.param(round_event(None), id="look at all"),
        pytest.param(round_event(["a"], AuthenticationFailed("HTTP 401", service_id="srv-1")), id="refused"),
    ],
)
def test_an_event_comes_back_as_it_went(event):
    """An event survives JSON, as Airflow stores it."""
    assert event == rounds.parse(json.loads(json.dumps(event.payload())))


@pytest.mark.parametrize("count", [1, 200, 250, 1000, 100_000])
def test_an_event_is_at_most_16_kb(count):
    """However many requests have ended, and whatever the error says, an event stays small."""
    problem = AuthenticationFailed("\U0001f3ac" * 9_000, advice="\x00" * 9_000, service_id="é" * 9_000)
    payload = round_event([each.request_id for each in flight(count)], problem).payload()

    assert len(json.dumps(payload)) <= 16_000
    assert "AuthenticationFailed" == payload["problem"]


def test_as_many_as_wake_the_worker_are_named():
    """200 ended requests are named, so that the worker does not look at a thousand."""
    ids = tuple(each.request_id for each in flight(rounds.MOST_NAMED))

    assert ids == rounds.parse(round_event(ids).payload()).ended


def test_a_problem_comes_back_as_the_class_it_was():
    """The worker raises what the trigger saw, with the connection."""
    event = rounds.parse(round_event(["r"], AuthenticationFailed("HTTP 401", advice="Change it.")).payload())
    error = event.as_error("c")

    assert (AuthenticationFailed, "HTTP 401", "c", "Change it.") == (
        type(error),
        error.what,
        error.conn_id,
        error.what_to_do,
    )
    assert RoundEvent(("r",)).as_error() is None
    assert RequestRejected is type(round_event([], InvalidInput("host", "x", "a base URL")).as_error())


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(None, id="nothing"),
        pytest.param(["r"], id="list"),
        pytest.param({}, id="empty"),
        pytest.param({"version": 2, "ended": []}, id="newer version"),
        pytest.param({"version": 1}, id="no requests"),
        pytest.param({"version": 1, "ended": "r"}, id="text"),
        pytest.param({"version": 1, "ended": [5]}, id="number"),
    ],
)
def test_an_invalid_event_is_rejected(payload):
    """A malformed event is refused."""
    with pytest.raises(EventRejected):
        rounds.parse(payload)


JUNK = st.one_of(
    st.none(), st.booleans(), st.integers(), st.text(max_size=5), st.lists(st.text(max_size=3), max_size=2)
)


@given(changes=st.dictionaries(st.sampled_from(["version", "ended", "problem", "message", "advice", "x"]), JUNK))
def test_any_payload_is_an_event_or_refused(changes):
    """Whatever comes back, it is checked or refused, and an event's error can be raised."""
    try:
        event = rounds.parse({"version": 1, "ended": ["r"], **changes})
    except EventRejected:
        return

    assert event.as_error() is None or str(event.as_error())


def record(name: str, phase: str = "submitted", **facts) -> Record:
    """Return a record of a row."""
    given = {"request_id": name, "submitted_at": NOW, **facts}
    return Record(OWNER, 1, name, phase, "f", "a", NOW - 1, **given)


def test_the_flight_is_what_was_submitted_and_has_no_end():
    """Of a journal, only accepted requests without an end are waited for, the oldest first."""
    records = {
        "delivered": [record("r1", "delivered")],
        "second purchase": [record("r2", "ended", outcome="failed"), record("r3", submitted_at=NOW + 5)],
        "unconfirmed": [record("r4", "intent", request_id=None, submitted_at=None)],
        "expired": [record("r5", outcome="expired")],
        "uploads": [record("r6", upload_uri="s3://bucket/a.mp4")],
        "adopted": [record("r7", submitted_at=None)],
    }

    assert [
        InFlight("r7", None, NOW + 99),
        InFlight("r6", NOW, NOW + 100, uploads=True),
        InFlight("r3", NOW + 5, NOW + 102),
    ] == rounds.flight_of(records, patience=100, latest=NOW + 102)


def test_no_more_than_the_flight_is_read():
    """A journal with more requests than the worker had in flight gives the oldest ones."""
    records = {str(index): [record(f"r{index}", submitted_at=NOW - index)] for index in range(5)}
    found = rounds.flight_of(records, patience=100, latest=None, most=2)

    assert [("r4", NOW + 96), ("r3", NOW + 97)] == [(each.request_id, each.deadline) for each in found]
