"""The trigger's one event survives the way through Airflow, and nothing else is believed."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_grokvideo.core import errors
from airflow_provider_grokvideo.core.errors import (
    AuthenticationFailed,
    EventRejected,
    GrokVideoError,
    InvalidInput,
    OutOfCredits,
    RequestRejected,
    WaitTimeout,
)
from airflow_provider_grokvideo.core.polling.events import VERSION, Event, abandoned, parse

PAYLOAD = {"version": VERSION, "request_id": "r", "outcome": "settled"}


@pytest.mark.parametrize(
    "event",
    [
        pytest.param(Event("r", "settled"), id="settled"),
        pytest.param(Event("r", "settled", 1_700_000_000.5), id="with its time"),
        pytest.param(abandoned("r", WaitTimeout("not finished"), 12.0), id="abandoned"),
    ],
)
def test_an_event_comes_back_as_it_went(event):
    """An event survives JSON, as Airflow stores it."""
    assert event == parse(json.loads(json.dumps(event.payload())))


def test_an_event_carries_no_link_and_no_price():
    """Airflow prints events into the log, so only ids, words and times are in one."""
    assert {"url", "uri", "cost_usd", "cost_ticks"}.isdisjoint(Event("r", "settled").payload())


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        pytest.param(None, "not an object", id="nothing"),
        pytest.param("settled", "not an object", id="text"),
        pytest.param(["r"], "not an object", id="list"),
        pytest.param({}, "has no request id", id="empty"),
        pytest.param({**PAYLOAD, "request_id": ""}, "has no request id", id="empty id"),
        pytest.param({**PAYLOAD, "request_id": 5}, "has no request id", id="id of a wrong type"),
        pytest.param({**PAYLOAD, "version": 2}, "version 2", id="newer version"),
        pytest.param({**PAYLOAD, "version": None}, "version None", id="no version"),
        pytest.param({**PAYLOAD, "version": "1"}, "version '1'", id="version as text"),
        pytest.param({**PAYLOAD, "outcome": "success"}, "'success'", id="unknown outcome"),
        pytest.param({**PAYLOAD, "outcome": None}, "None", id="no outcome"),
        pytest.param({**PAYLOAD, "outcome": ["settled"]}, "outcome", id="outcome of a wrong type"),
    ],
)
def test_an_invalid_event_is_rejected(payload, said):
    """A malformed event is refused with the reason."""
    with pytest.raises(EventRejected) as refused:
        parse(payload)

    assert said in str(refused.value)


def test_a_settled_wait_is_no_error():
    """Whatever the request ended as, the worker finds it out by looking."""
    assert Event("r", "settled").as_error() is None


KINDS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, GrokVideoError) and kind is not InvalidInput
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_error_comes_back_as_the_class_it_was(kind):
    """The worker raises what the trigger saw, with the request and the connection."""
    event = parse(json.loads(json.dumps(abandoned("r", kind("it broke")).payload())))
    error = event.as_error("c")

    assert (kind, "it broke", "r", "c") == (type(error), error.what, error.request_id, error.conn_id)


def test_wrong_connection_numbers_are_still_not_retried():
    """A complaint about the connection that came up in the trigger stays one that a retry cannot help."""
    error = abandoned("r", InvalidInput("host", "x", "a base URL")).as_error()

    assert error is not None
    assert error.retry_helps is False


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(RequestRejected("it redirects", advice="Set the connection's host."), id="advice"),
        pytest.param(AuthenticationFailed("HTTP 401", service_id="srv-1"), id="service id"),
        pytest.param(OutOfCredits("HTTP 403"), id="plain"),
    ],
)
def test_an_error_keeps_its_words_on_the_way(error):
    """What to do and what to ask xAI's support about are not lost between trigger and worker."""
    back = parse(json.loads(json.dumps(abandoned("r", error).payload()))).as_error()

    assert str(error.about(request_id="r")) == str(back)


@pytest.mark.parametrize(
    "name", [None, "", "NoSuchError", "ClassVar", "annotations", "shorten", 5, ["x"], {}], ids=repr
)
def test_an_error_nobody_knows_is_still_an_error(name):
    """A class name that is none of ours gives the base class, never a crash."""
    error = parse({**PAYLOAD, "outcome": "abandoned", "error": name}).as_error()

    assert GrokVideoError is type(error)


@pytest.mark.parametrize(
    "value", ["soon", True, 10**400, float("nan"), float("inf"), [], {}], ids=lambda v: repr(v)[:8]
)
def test_a_time_that_is_none_is_left_out(value):
    """A submit time that makes no sense is unknown, not an error."""
    assert parse({**PAYLOAD, "submitted_at": value}).submitted_at is None


JUNK = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(st.text(max_size=8), inner, max_size=2)),
    max_leaves=4,
)


@given(changes=st.dictionaries(st.sampled_from([*PAYLOAD, "submitted_at", "error", "message", "x"]), JUNK))
def test_any_payload_is_an_event_or_refused(changes):
    """Whatever comes back, it is checked or refused, and an event's error can be raised."""
    try:
        event = parse({**PAYLOAD, **changes})
    except EventRejected:
        return

    assert event.request_id
    assert event.as_error() is None or str(event.as_error())
