"""Whatever answers a call, in whatever form: a paid wait ends only by the API's word, and a cause is named only by it.

`make test-deep` draws 20,000 combinations of status, content type, body and endpoint; a plain run draws some hundred.
"""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_grokvideo.core.errors import (
    AmbiguousSubmit,
    AuthenticationFailed,
    GrokVideoError,
    OutOfCredits,
    RateLimited,
    RequestRejected,
    ServiceUnavailable,
    VideoModerated,
)
from airflow_provider_grokvideo.core.jobs import Done, Failed, Moderated, Pending
from airflow_provider_grokvideo.core.polling import decisions
from airflow_provider_grokvideo.core.wire import Accepted, decode, decode_document, decode_submit

R = "9b1f0c3e-5d64-4c0e-9b0e-3f3a1d2b4c5d"
URL = "https://vidgen.x.ai/xai-vidgen-bucket/xai-video-1.mp4"
USAGE = {"cost_in_usd_ticks": 4_800_000_000}

DRAWS = 10 * int(os.environ.get("GROKVIDEO_MODEL_EXAMPLES", "40"))
SEARCH = settings(
    max_examples=DRAWS,
    derandomize="GROKVIDEO_MODEL_EXAMPLES" not in os.environ,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)

TYPES = ["application/json", "application/problem+json", "text/html; charset=utf-8", "text/plain", "video/mp4", None]
WORDS = [
    "403 Forbidden",
    "404 page not found",
    "Attention Required! Please enable cookies",
    "Sign in to the guest network",
    "Incorrect API key provided",
    "Invalid API key",
    "You have no credits left, see billing",
    "This content violates usage guidelines",
    "blocked by content moderation policy",
    "The request could not be satisfied",
    "upstream connect error or disconnect/reset before headers",
    "no healthy upstream",
    "ä\u2028\u0000\ud83d",
]
PAGES = [
    "<html><head><title>{}</title></head><body><h1>{}</h1><hr>nginx</body></html>",
    "<!DOCTYPE html>\n<script>var challenge = {{}};</script><p>{}{}</p>",
    "<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>{}{}</Message></Error>",
    "  {} {}\r\n",
    '"{}{}"',
    '["{}", "{}"]',
    '{{"error": "{}", "code": "{}"',
    "{}\x1f\x8b{}",
]
OTHER_JSON: list[dict[str, Any]] = [
    {"message": "{}"},
    {"message": "{}", "requestId": "1"},
    {"statusCode": 404, "message": "{}"},
    {"success": False, "errors": [{"code": 1003, "message": "{}"}]},
    {"timestamp": "2026-11-29", "status": 404, "error": "{}", "path": "/v1/videos"},
    {"error": "{}", "error_description": "{}"},
    {"error": {"reason": "{}"}},
    {"fault": {"faultstring": "{}"}},
    {"status": "error", "message": "{}"},
    {"status": "success", "message": "{}"},
    {"status": "ok"},
    {"detail": "{}"},
    {"login": "https://portal.example/login"},
    {"error": {"code": 403, "message": "{}", "status": "PERMISSION_DENIED"}},
    {"error": {"code": 404, "message": "{}", "errors": [{"reason": "notFound"}]}},
    {"error": {"code": "unauthenticated", "message": "{}", "details": []}},
    {"code": "E1", "error": "{}", "message": "{}", "statusCode": 404},
    {"code": "E1", "error": "{}", "status": 404},
    {"error": {"message": "{}"}, "path": "/v1/videos", "timestamp": 1},
    {"status": "complete", "model": "m"},
    {"status": "error", "model": "m"},
    {"status": "error", "error": {"code": 503, "message": "{}"}},
    {"status": "succeeded"},
    {"status": "success", "response": {"message": "{}"}},
    {"status": "success", "usage": {"total_tokens": 1}},
    {"status": "success", "video": {"id": 1}},
    {"status": "failed", "message": "{}"},
    {"status": "expired", "message": "{}"},
    {"status": "success", "url": "https://login.example/"},
    {"status": "success", "data": [{"url": "https://login.example/"}]},
]


@st.composite
def foreign_bodies(draw: st.DrawFn) -> bytes:
    """Return a body of something between us and the API; it may use the API's words, but not its form."""
    word = draw(st.sampled_from(WORDS))
    if draw(st.booleans()):
        template = json.dumps(draw(st.sampled_from(OTHER_JSON)))
        return template.replace("{}", word.replace('"', "")).encode("utf-8", "surrogatepass")
    text = draw(st.sampled_from(PAGES)).format(word, draw(st.sampled_from(WORDS)))
    if draw(st.integers(0, 9)) == 0:
        text *= draw(st.integers(2, 200))
    return text.encode("utf-8", "surrogatepass")


STATUSES = st.one_of(
    st.sampled_from(
        [200, 201, 204, 301, 302, 400, 401, 402, 403, 404, 407, 410, 413, 422, 429, 431, 451, 500, 502, 503]
    ),
    st.integers(200, 599),
)
HEADERS = st.builds(
    lambda kind, pause: {
        **({} if kind is None else {"Content-Type": kind}),
        **({} if pause is None else {"Retry-After": pause}),
    },
    st.sampled_from(TYPES),
    st.sampled_from([None, "2", "1e999", "-1", "nan", "99999999999999999999", "Wed, 21 Oct 2026 07:28:00 GMT", "soon"]),
)
VOICES = {
    "key": [
        {"code": "invalid-argument", "error": "Incorrect API key provided: xa***. Obtain an API key from the console."},
        {"code": "unauthenticated:bad-credentials", "error": "The OAuth2 token could not be validated."},
        {"code": "permission-denied", "error": "This API key is blocked."},
        {"error": {"message": "Invalid API key", "type": "invalid_request_error"}},
    ],
    "money": [
        {"code": "permission-denied", "error": "Your team has used all available credits."},
        {"code": "resource-exhausted", "error": "You reached your monthly spending limit."},
        {"code": "personal-team-blocked:spending-limit", "error": "No credits."},
    ],
    "content": [
        {"code": "imagine:content-moderated", "error": "Blocked.", "usage": USAGE},
        {
            "code": "permission-denied",
            "error": "Content violates usage guidelines. Team: t, API key ID: k, Failed check: SAFETY_CHECK_TYPE_X",
            "usage": USAGE,
        },
        {
            "code": "The caller does not have permission to execute the specified operation",
            "error": "Content violates usage guidelines. Team: t, invalid, API key ID: k",
            "usage": USAGE,
        },
    ],
}
CAUSE = {"key": AuthenticationFailed, "money": OutOfCredits, "content": VideoModerated}


def waits_on(found: object) -> bool:
    """Say whether a wait for a paid video continues after this poll."""
    watch = decisions.Watch(R, since=0.0, deadline=900.0)
    return isinstance(decisions.poll(watch, found, 100.0), decisions.PollAgain)


@pytest.mark.deep
@SEARCH
@given(status=STATUSES, headers=HEADERS, body=foreign_bodies(), uploads=st.booleans())
def test_a_wait_outlives_whatever_is_not_the_apis(status, headers, body, uploads):
    """No page, text or JSON of something in between ends a wait or is taken for the state of the video."""
    found = decode(status, headers, body, request_id=R, uploads=uploads, now=0.0)

    assert isinstance(found, ServiceUnavailable | RateLimited | Pending)
    assert waits_on(found)


@pytest.mark.deep
@SEARCH
@given(status=STATUSES, headers=HEADERS, body=foreign_bodies())
def test_a_submit_blames_nobody_for_what_is_not_the_apis(status, headers, body):
    """No such answer is a purchase, a bad key, a bill or a refused content; a success or a 5xx leaves a doubt."""
    found = decode_submit(status, headers, body, now=0.0)

    assert isinstance(found, ServiceUnavailable | RateLimited | RequestRejected | AmbiguousSubmit)
    if status < 300 or status >= 500 or status in (408, 409, 425, 444, 460, 499):
        assert type(found) is AmbiguousSubmit


@pytest.mark.deep
@SEARCH
@given(status=STATUSES, headers=HEADERS, body=foreign_bodies())
def test_the_free_calls_blame_nobody_for_what_is_not_the_apis(status, headers, body):
    """The connection's test and uploads do not call a key bad because a firewall answered."""
    found = decode_document(status, headers, body, now=0.0)

    assert not isinstance(found, AuthenticationFailed | OutOfCredits | AmbiguousSubmit)
    assert isinstance(found, dict) is (200 <= status < 300 and isinstance(_object(body), dict))


@pytest.mark.deep
@SEARCH
@given(data=st.data(), voice=st.sampled_from(sorted(VOICES)), headers=HEADERS)
def test_the_apis_word_has_one_cause(data, voice, headers):
    """A bad key, missing credits and refused content are told apart on submit, poll and the free calls."""
    body = json.dumps(data.draw(st.sampled_from(VOICES[voice]))).encode()
    statuses = {"key": [400, 401, 403], "money": [402, 403, 429], "content": [400, 403, 404, 422]}
    status = data.draw(st.sampled_from(statuses[voice]))
    polled = decode(status, headers, body, request_id=R, now=0.0)
    submitted = decode_submit(status, headers, body, now=0.0)
    asked = decode_document(status, headers, body, now=0.0)

    assert CAUSE[voice] is type(submitted)
    if voice == "content":
        assert (Moderated, 4_800_000_000) == (type(polled), polled.cost_ticks)
        assert "0.48" == submitted.cost_usd
    else:
        assert [CAUSE[voice]] * 2 == [type(polled), type(asked)]
        assert polled.request_id == R


@pytest.mark.deep
@SEARCH
@given(answers=st.lists(st.tuples(STATUSES, HEADERS, foreign_bodies()), max_size=8))
def test_a_wait_that_met_anything_ends_with_the_video(answers):
    """However many pages come first, the video is found by the poll that reaches the API."""
    met = [decode(status, headers, body, request_id=R, now=0.0) for status, headers, body in answers]
    last = decode(200, {}, json.dumps({"status": "done", "video": {"url": URL}, "usage": USAGE}).encode(), request_id=R)

    assert all(waits_on(found) for found in met)
    assert (Done, URL, 4_800_000_000) == (type(last), last.url, last.cost_ticks)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        pytest.param(
            429, {"code": "resource-exhausted", "error": "Slow down; see your billing page"}, RateLimited, id="pace"
        ),
        pytest.param(429, "<html>no credits</html>", RateLimited, id="page of a gateway"),
        pytest.param(429, {"error": "violates usage guidelines"}, RateLimited, id="429 is never content"),
        pytest.param(400, {"error": "No video here. Team: t, API key ID: k, invalid"}, Failed, id="key only named"),
        pytest.param(400, {"error": "invalid duration; the API key used was k"}, Failed, id="key and fault apart"),
        pytest.param(200, {"code": "unauthenticated:x", "error": "x"}, ServiceUnavailable, id="200 about the key"),
        pytest.param(200, {"code": "resource-exhausted", "error": "x"}, ServiceUnavailable, id="200 about the pace"),
        pytest.param(
            200, {"error": {"code": 503, "message": "x"}}, ServiceUnavailable, id="200 with a gateway's status"
        ),
        pytest.param(200, {"status": "error"}, ServiceUnavailable, id="anybody's word"),
        pytest.param(200, {"status": "success"}, ServiceUnavailable, id="anybody's word for done"),
    ],
)
def test_words_have_their_place(status, body, kind):
    """The same words mean another thing with another status or beside other words (contract §7)."""
    raw = body.encode() if isinstance(body, str) else json.dumps(body).encode()

    assert kind is type(decode(status, {}, raw, request_id=R))


@pytest.mark.parametrize(
    ("text", "lacks"),
    [
        ("The caller does not have permission to execute the specified operation.", True),
        ("Your team is blocked and has no access.", False),
        ("This API key is disabled.", False),
    ],
)
def test_a_missing_capability_has_advice_of_its_own(text, lacks):
    """A key that works and may not do this is no key to be replaced."""
    body = json.dumps({"code": "permission-denied", "error": text}).encode()
    refused = decode_submit(403, {}, body)

    assert AuthenticationFailed is type(refused)
    assert lacks is (refused.what_to_do != AuthenticationFailed.advice)


@pytest.mark.parametrize("request_id", [".", "..", "...", "a\nb", "ä", "x" * 600, ""])
def test_an_id_that_changes_the_path_is_no_purchase(request_id):
    """A submit that is answered with such an id was perhaps accepted, and its id cannot be polled."""
    assert AmbiguousSubmit is type(decode_submit(200, {}, json.dumps({"request_id": request_id}).encode()))


def test_a_stored_file_whose_id_is_a_path_is_none():
    """The id of a stored file becomes a part of an address."""
    body = {"status": "done", "video": {"url": URL, "file_output": {"file_id": ".."}}}

    assert decode(200, {}, json.dumps(body).encode(), request_id=R).file is None


def _object(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None


def test_an_accepted_submit_is_accepted_whatever_its_type():
    """Only the body decides: gateways label JSON as they like."""
    assert Accepted(R) == decode_submit(200, {"content-type": "text/html"}, json.dumps({"request_id": R}).encode())
    assert isinstance(decode_submit(200, {}, b"{}"), GrokVideoError)


@pytest.mark.parametrize(
    "body",
    [
        {"status": "error", "error": "upstream request timeout"},
        {"status": "error", "error": {"reason": "x"}},
        {"status": "success", "data": {}},
        {"status": "success", "data": []},
        {"status": "complete", "error": None},
    ],
)
def test_a_status_word_of_anybody_ends_no_video(body):
    """A gateway's own answer with 200 is a miss; the paid video is waited for."""
    assert isinstance(decode(200, {}, json.dumps(body), request_id=R), ServiceUnavailable)


@pytest.mark.parametrize("status", [302, 308, 405, 407, 421, 431, 451, 499])
@pytest.mark.parametrize("body", [{"error": "no"}, {"code": "c", "error": "no"}, {"error": {"message": "no"}}])
def test_a_status_of_the_way_ends_no_video(status, body):
    """A redirect, a proxy's login or a filter says nothing about the video, even in the API's form."""
    assert isinstance(decode(status, {}, json.dumps(body), request_id=R), ServiceUnavailable)


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 410, 422])
@pytest.mark.parametrize("body", [found for found in OTHER_JSON if "error" in found or "code" in found])
def test_a_foreign_error_ends_no_wait(status, body):
    """Errors of gateways have keys that the API's errors have not, and no status makes them final."""
    text = json.dumps(body).replace("{}", "Incorrect API key provided; content violates usage guidelines")

    assert isinstance(decode(status, {}, text, request_id=R), ServiceUnavailable)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"status": "failed", "error": "connection refused"}, Failed),
        ({"status": "error", "error": {"code": "internal_error", "message": "x"}}, Failed),
        ({"status": "success", "video": {"url": None, "respect_moderation": False}}, Moderated),
        ({"status": "completed", "usage": USAGE, "url": URL, "duration": 6}, Done),
        ({"status": "done", "url": URL}, Done),
    ],
)
def test_the_apis_own_ends_are_believed(body, kind):
    """What the contract has ends a wait, also where it is short."""
    assert kind is type(decode(200, {}, json.dumps(body), request_id=R))


ACCEPTED = json.dumps({"request_id": R})


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(f")]}}'\n{ACCEPTED}", id="guard against scripts"),
        pytest.param(f"{ACCEPTED}\x00", id="NUL at the end"),
        pytest.param(f"\ufeff{ACCEPTED}", id="byte order mark"),
        pytest.param(ACCEPTED.encode("utf-16"), id="UTF-16"),
        pytest.param(ACCEPTED * 2, id="twice"),
        pytest.param(f"{ACCEPTED}\n<!-- proxy -->", id="comment behind it"),
        pytest.param(f"[{ACCEPTED}]", id="in a list"),
        pytest.param(f'{{"data": {ACCEPTED}, "error": null}}', id="under data"),
        pytest.param(json.dumps({"statusCode": 200, "body": ACCEPTED}), id="as a text"),
        pytest.param(json.dumps(ACCEPTED), id="all of it a text"),
        pytest.param(f"data: {ACCEPTED}\n\n", id="as an event"),
        pytest.param(ACCEPTED[:-1], id="cut off behind the id"),
        pytest.param(b'{"note": "\xe9t\xe9", "request_id": "' + R.encode() + b'"}', id="Latin-1 beside it"),
        pytest.param(b'{"note": "\xe9t\xe9", "id": "' + R.encode() + b'"}', id="Latin-1 beside the other name"),
        pytest.param(f'{{"request_id": null, "data": {ACCEPTED}}}', id="empty outside"),
    ],
)
def test_a_wrapped_id_is_not_lost(body):
    """Where one request id can be read from an accepted submit, the paid request is known by it."""
    assert Accepted(R) == decode_submit(200, {}, body)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(f'[{ACCEPTED}, {{"request_id": "another"}}]', id="two ids"),
        pytest.param(f"<html><script>{ACCEPTED}</script></html>", id="page"),
        pytest.param(f'{{"error": {{"message": "x"}}, "meta": {ACCEPTED}}}', id="beside an error"),
        pytest.param('[{"request_id": ".."}]', id="no id"),
        pytest.param('[{"request_id": 5}]', id="number"),
        pytest.param(ACCEPTED[:-3], id="cut off in the id"),
    ],
)
def test_an_id_that_may_be_another_is_none(body):
    """What may be a gateway's own id, or one of two, leaves the submission unconfirmed."""
    assert AmbiguousSubmit is type(decode_submit(200, {}, body))


@pytest.mark.parametrize("status", [302, 400, 403, 422, 429, 500, 504])
def test_an_error_status_has_no_id(status):
    """An id in an error is that of the call."""
    assert isinstance(decode_submit(status, {}, f"[{ACCEPTED}]"), GrokVideoError)
