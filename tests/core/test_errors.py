"""Every error says what happened, to what, and what to do."""

from __future__ import annotations

import copy
import pickle
import re

import pytest

from airflow_provider_grokvideo.core import errors
from airflow_provider_grokvideo.core.errors import (
    AmbiguousSubmit,
    DeliveryFailed,
    GrokVideoError,
    InvalidInput,
    JournalUnavailable,
    LedgerUnavailable,
    RateLimited,
    ServiceUnavailable,
    VideoFailed,
    VideoModerated,
    WaitTimeout,
    shorten,
)

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, GrokVideoError)]
EACH = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)


def make(kind: type[GrokVideoError]) -> GrokVideoError:
    """Return an error of a kind with all it can know."""
    if kind is InvalidInput:
        return InvalidInput("duration", 16, "1 to 15", conn_id="c")
    error = kind("it broke", request_id="r", conn_id="c", service_id="s")
    if isinstance(error, VideoFailed):
        error.code, error.cost_usd = "internal_error", "0.4"
    if isinstance(error, RateLimited):
        error.retry_after = 2.0
    return error


def test_a_missing_argument_is_called_missing():
    """None is no value that was given, so the message names only the field and what is expected."""
    error = InvalidInput("prompt", None, "text")

    assert "missing prompt: expected text. Nothing was sent or billed." == str(error)


@EACH
def test_each_error_tells_what_to_do(kind):
    """Every class has advice in whole sentences and a docstring of its own."""
    assert kind.__doc__
    assert kind is GrokVideoError or kind.advice.endswith(".")
    assert "__doc__" in vars(kind)


def test_the_tree_in_the_docstring_is_the_tree():
    """The first screen of the module names every class at its place."""
    drawn = re.findall(r"^( *)([A-Z]\w+)(?: {2,}|$)", errors.__doc__.partition("::")[2], re.MULTILINE)
    depth = {name: (len(indent) - 4) // 2 for indent, name in drawn}

    assert {kind.__name__: len(kind.__mro__) - len(GrokVideoError.__mro__) for kind in KINDS} == depth


@EACH
def test_each_docstring_says_what_a_retry_does(kind):
    """A DAG author learns from the class whether a retry helps, buys or repeats."""
    text = f"{kind.__doc__} {kind.advice}".lower()

    assert kind is GrokVideoError or re.search(r"\bretr(y|ies)\b", text)


def test_only_what_passes_is_retried():
    """A retry helps where the same task can end differently without a new purchase."""
    assert {
        GrokVideoError,
        RateLimited,
        ServiceUnavailable,
        WaitTimeout,
        DeliveryFailed,
        JournalUnavailable,
        LedgerUnavailable,
    } == {kind for kind in KINDS if kind.retry_helps}


def test_a_message_is_fact_place_and_advice():
    """The parts come in one order: what, which request, connection and call, what to do."""
    error = AmbiguousSubmit("the answer was lost", advice="Look.")

    assert "the answer was lost. Look." == str(error)
    assert "the answer was lost [request r, connection c, x-request-id s]. Look." == str(
        error.about(request_id="r", conn_id="c", service_id="s")
    )


def test_a_message_without_advice_ends_with_the_fact():
    """No blank dangles."""
    assert "it broke." == str(GrokVideoError("it broke"))


def test_what_is_known_stays():
    """A higher layer adds and never overwrites."""
    error = GrokVideoError("it broke", request_id="first")

    assert error is error.about(request_id="second", conn_id="c")
    assert ("first", "c") == (error.request_id, error.conn_id)


def test_moderation_is_a_failure():
    """Who catches failures catches moderation too."""
    assert issubclass(VideoModerated, VideoFailed)


def test_a_complaint_names_field_value_and_what_is_allowed():
    """The three parts are in the message and on the error."""
    error = InvalidInput("duration", 16, "1 to 15 seconds", conn_id="c")

    assert ("duration", 16, "1 to 15 seconds") == (error.field, error.value, error.allowed)
    assert "invalid duration=16: expected 1 to 15 seconds [connection c]. Nothing was sent or billed." == str(error)


@EACH
@pytest.mark.parametrize(
    "again", [pytest.param(copy.copy, id="copy"), pytest.param(lambda e: pickle.loads(pickle.dumps(e)), id="pickle")]
)
def test_an_error_can_cross_a_process(kind, again):
    """A copied or pickled error is the same error."""
    error = make(kind)
    twin = again(error)

    assert (type(error), str(error), vars(error)) == (type(twin), str(twin), vars(twin))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param("A ball", "'A ball'", id="text"),
        pytest.param(None, "None", id="None"),
        pytest.param("data:image/png;base64,AAAA", "'data:image/png;base64,…' (4 characters)", id="data"),
        pytest.param("x" * 200, "'" + "x" * 118 + "…", id="long text"),
    ],
)
def test_a_value_is_shown_in_short(value, text):
    """A message shows enough of a value to recognise it."""
    assert text == shorten(value)


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("data:" + "SECRET" * 1000, id="data without comma"),
        pytest.param("data:" + "x" * 1000 + ",SECRET", id="data with a long head"),
        pytest.param("DATA:image/png;base64,SECRET", id="data in capitals"),
        pytest.param(" data:image/png;base64,SECRET", id="data after a blank"),
        pytest.param(["data:image/png;base64,SECRET"], id="list"),
        pytest.param({"url": "data:image/png;base64,SECRET"}, id="object"),
        pytest.param({"a": [{"url": "data:image/png;base64,SECRET"}]}, id="nested"),
    ],
)
def test_a_value_shows_no_payload(value):
    """Data stays out of messages wherever it stands, and a message stays a line."""
    text = shorten(value)

    assert "SECRET" not in text
    assert 200 > len(text)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param("https://cdn.example/a@2x.png?sig=1", "'https://cdn.example/a@2x.png'", id="at in the path"),
        pytest.param("https://me:pw@cdn.example/a.png", "'https://cdn.example/a.png'", id="user and password"),
    ],
)
def test_an_address_is_still_recognised(value, text):
    """What is left of an address names the host and the path that were given."""
    assert text == shorten(value)
