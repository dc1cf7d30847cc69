"""Every answer of the contract is understood: §5, §6.4, §7, §13.3, and whatever a gateway makes of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
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
from airflow_provider_grokvideo.core.jobs import Done, Expired, Failed, Moderated, Pending, StoredFile
from airflow_provider_grokvideo.core.wire import Accepted, decode, decode_document, decode_submit

GOLDEN = sorted((Path(__file__).parent.parent / "contract" / "answers").glob("*.json"))

R = "0a1b"
URL = "https://vidgen.x.ai/xai-vidgen-bucket/xai-video-0a1b.mp4"
VIDEO = {"url": URL, "duration": 6, "respect_moderation": True}
USAGE = {"cost_in_usd_ticks": 4_800_000_000}
KEY = "xai-0123456789abcdefSECRET"


def raw(body: Any) -> bytes:
    """Return a body as it comes over the wire."""
    if body is None:
        return b""
    return body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else json.dumps(body).encode()


def outcome(found: object) -> str:
    """Name what was decoded in the words of the golden answers."""
    name = type(found).__name__
    return f"error:{name}" if isinstance(found, GrokVideoError) else name.lower()


@pytest.mark.parametrize("path", [pytest.param(path, id=path.stem) for path in GOLDEN])
def test_a_golden_answer_means_what_it_says(path):
    """Each golden poll answer is decoded as the file expects."""
    golden = json.loads(path.read_text())
    found = decode(golden["status"], golden["headers"], raw(golden["body"]), request_id=R)

    assert golden["expect"] == outcome(found)


def test_the_golden_answers_hold_every_outcome():
    """The golden answers cover each kind of job."""
    expected = {json.loads(path.read_text())["expect"] for path in GOLDEN}

    assert {"pending", "done", "moderated", "failed", "expired"} <= expected


@pytest.mark.parametrize(
    ("status", "body", "job"),
    [
        pytest.param(202, None, Pending(R), id="P1 empty 202"),
        pytest.param(202, {"status": "pending", "progress": 42, "model": "m"}, Pending(R, 42), id="P2 progress"),
        pytest.param(202, {"status": "pending", "progress": None}, Pending(R), id="P2 no progress"),
        pytest.param(202, "Accepted", Pending(R), id="P21 text 202"),
        pytest.param(202, "null", Pending(R), id="null 202"),
        pytest.param(202, {"status": "done", "video": VIDEO}, Pending(R), id="202 is never final"),
        pytest.param(200, None, Pending(R), id="empty 200"),
        pytest.param(200, " \n", Pending(R), id="blank 200"),
        pytest.param(204, None, Pending(R), id="204"),
        pytest.param(200, {"status": "pending"}, Pending(R), id="P3 200 pending"),
        pytest.param(200, {"request_id": R}, Pending(R), id="P3 no status"),
        pytest.param(200, {}, Pending(R), id="empty object"),
        pytest.param(200, {"status": None}, Pending(R), id="status null"),
        pytest.param(200, {"status": " In_Progress "}, Pending(R), id="synonym in odd case"),
        pytest.param(200, {"status": "queued", "progress": 150}, Pending(R, 100), id="progress too high"),
        pytest.param(200, {"status": "throttled"}, Pending(R, None, "throttled"), id="P20 unknown word"),
        pytest.param(200, {"status": "pending", "error": {"code": "x"}}, Pending(R), id="pending with an error field"),
        pytest.param(
            200,
            {"status": "done", "progress": 100, "model": "m", "video": VIDEO, "usage": USAGE},
            Done(R, URL, 6.0, "m", 4_800_000_000),
            id="P4 done",
        ),
        pytest.param(200, {"video": VIDEO, "model": "m"}, Done(R, URL, 6.0, "m"), id="P5 done without status"),
        pytest.param(200, {"url": URL, "duration": 8}, Done(R, URL, 8.0), id="P6 flat"),
        pytest.param(
            200, {"id": R, "status": "completed", "data": [{"url": URL}]}, Done(R, URL), id="P6 shape of another API"
        ),
        pytest.param(200, {"response": {"video": VIDEO, "model": "m"}}, Done(R, URL, 6.0, "m"), id="nested response"),
        pytest.param(
            200, {"status": "done", "response": {"video": VIDEO}}, Done(R, URL, 6.0), id="nested with status outside"
        ),
        pytest.param(
            200,
            {"status": "done", "video": {"url": URL, "duration": None}, "duration": 8},
            Done(R, URL, 8.0),
            id="duration null falls back to the flat one",
        ),
        pytest.param(
            200,
            {"status": "done", "video": {**VIDEO, "duration": 6.5}, "usage": None},
            Done(R, URL, 6.5),
            id="float duration, usage null",
        ),
        pytest.param(
            200,
            {
                "status": "done",
                "video": {**VIDEO, "file_output": {"file_id": "file_1", "filename": "a", "public_url": "https://f/1"}},
            },
            Done(R, URL, 6.0, file=StoredFile("file_1", "https://f/1")),
            id="P7 stored",
        ),
        pytest.param(
            200,
            {
                "status": "done",
                "video": {"url": None, "file_output": {"file_id": "file_1", "public_url": "https://f/1"}},
            },
            Done(R, "https://f/1", file=StoredFile("file_1", "https://f/1")),
            id="P7 stored, public link only",
        ),
        pytest.param(
            200,
            {"status": "done", "video": {"url": "", "file_output": {"file_id": "file_1"}}},
            Done(R, None, file=StoredFile("file_1")),
            id="P7 stored, file id only",
        ),
        pytest.param(
            200,
            {"status": "done", "video": {**VIDEO, "storage_error": "quota"}},
            Done(R, URL, 6.0, storage_error="quota"),
            id="P7 storing failed",
        ),
        pytest.param(
            200,
            {"status": "done", "video": {"url": None, "duration": 6, "respect_moderation": False}, "usage": USAGE},
            Moderated(R, "respect_moderation", "the result was withheld", 4_800_000_000),
            id="P9 moderated a",
        ),
        pytest.param(
            400,
            {"code": "imagine:content-moderated", "error": "blocked", "usage": USAGE},
            Moderated(R, "imagine:content-moderated", "blocked", 4_800_000_000),
            id="P10 moderated b",
        ),
        pytest.param(
            400,
            {
                "code": "Client specified an invalid argument",
                "error": "Generated video rejected by content moderation.",
            },
            Moderated(R, "Client specified an invalid argument", "Generated video rejected by content moderation."),
            id="P10 moderated b, older code",
        ),
        pytest.param(
            200,
            {"status": "failed", "error": {"code": "invalid_argument", "message": "content moderation"}},
            Moderated(R, "invalid_argument", "content moderation"),
            id="P11 moderated c",
        ),
        pytest.param(
            200,
            {"status": "failed", "error": {"code": "CONTENT_POLICY_VIOLATION", "message": "no"}, "usage": USAGE},
            Moderated(R, "CONTENT_POLICY_VIOLATION", "no", 4_800_000_000),
            id="moderated, code of the SDK's tests",
        ),
        pytest.param(
            200,
            {"status": "failed", "error": {"code": "internal_error", "message": "oops"}},
            Failed(R, "internal_error", "oops"),
            id="P12 failed",
        ),
        pytest.param(
            200, {"status": "failed", "error": "oops", "progress": 0}, Failed(R, "unknown", "oops"), id="P13 text error"
        ),
        pytest.param(
            200, {"status": "FAILED", "error": {"code": "UNKNOWN_X"}}, Failed(R, "UNKNOWN_X", ""), id="P13 unknown code"
        ),
        pytest.param(200, {"error": {"code": 5, "message": "x"}}, Failed(R, "5", "x"), id="error without status"),
        pytest.param(
            200, {"response": {"error": {"code": "c", "message": "x"}}}, Failed(R, "c", "x"), id="nested error"
        ),
        pytest.param(200, {"status": "cancelled"}, Failed(R, "unknown", ""), id="cancelled"),
        pytest.param(200, {"status": "failed", "error": None, "url": URL}, Failed(R), id="failed with a link"),
        pytest.param(200, {"status": "expired"}, Expired(R, "the service reported it expired"), id="P14 expired"),
        pytest.param(404, {"code": "not-found", "error": "gone"}, Expired(R, "not-found: gone"), id="P15 unknown"),
        pytest.param(410, {"code": "gone", "error": "Gone"}, Expired(R, "gone: Gone"), id="gone"),
        pytest.param(
            400,
            {"code": "invalid-argument", "error": "bad id"},
            Failed(R, "invalid-argument", "bad id"),
            id="P16 malformed id",
        ),
        pytest.param(
            400,
            {"error": {"message": "1080p is not supported", "type": "invalid_request_error", "code": None}},
            Failed(R, "invalid_request_error", "1080p is not supported"),
            id="nested error of another API",
        ),
        pytest.param(
            200,
            {"status": "done", "video": {"url": "", "duration": 6, "respect_moderation": True}, "usage": USAGE},
            Failed(R, "missing_url", "the service reported done but sent no link", 4_800_000_000),
            id="P19 done without link",
        ),
    ],
)
def test_an_answer_to_a_look_is_a_job(status, body, job):
    """Each shape of §5 and §13.3 is read as the one job it means."""
    assert job == decode(status, {}, raw(body), request_id=R)


@pytest.mark.parametrize(
    "url", [pytest.param("https://bucket.example/put", id="upload link"), pytest.param(None, id="no link")]
)
def test_an_uploaded_result_needs_no_link(url):
    """Where the output went to an upload address, done without a link is success (P8)."""
    body = {"status": "done", "video": {"url": url, "duration": 6}}

    assert Done(R, url, 6.0) == decode(200, {}, raw(body), request_id=R, uploads=True)


@pytest.mark.parametrize(
    ("ticks", "booked"),
    [
        (4_800_000_000, 4_800_000_000),
        (0, 0),
        (4.8e9, 4_800_000_000),
        ("4800000000", 4_800_000_000),
        (True, None),
        (-1, None),
        (None, None),
        ("cheap", None),
        ({}, None),
    ],
    ids=repr,
)
def test_a_bill_is_a_whole_number_of_ticks(ticks, booked):
    """What was billed is booked whichever way a gateway writes the number, and nonsense is no bill."""
    body = {"status": "done", "video": VIDEO, "usage": {"cost_in_usd_ticks": ticks}}

    assert booked == decode(200, {}, raw(body), request_id=R).cost_ticks


def test_the_id_is_taken_from_the_body_where_nobody_gave_one():
    """A look that was told no id reads it from the answer."""
    assert [R, R] == [decode(200, {}, raw({name: R})).request_id for name in ("request_id", "id")]


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        pytest.param(200, "<html>ok</html>", ServiceUnavailable, id="HTML 200"),
        pytest.param(200, "[1, 2]", ServiceUnavailable, id="list"),
        pytest.param(200, b"\x00\xff\xfe", ServiceUnavailable, id="bytes"),
        pytest.param(301, None, ServiceUnavailable, id="redirect"),
        pytest.param(
            400, {"code": "invalid-argument", "error": "Incorrect API key provided"}, AuthenticationFailed, id="A2"
        ),
        pytest.param(401, {"code": "unauthenticated:no-credentials", "error": "No"}, AuthenticationFailed, id="A1"),
        pytest.param(401, None, ServiceUnavailable, id="empty 401"),
        pytest.param(401, {"error": "moderated"}, AuthenticationFailed, id="401 that speaks of moderation"),
        pytest.param(403, {"code": "permission-denied", "error": "The key is blocked"}, AuthenticationFailed, id="A3"),
        pytest.param(403, {"code": "permission-denied", "error": "no credits left"}, OutOfCredits, id="A4"),
        pytest.param(403, {"error": "monthly spending limit reached"}, OutOfCredits, id="spending limit"),
        pytest.param(422, {"error": "malformed API key"}, AuthenticationFailed, id="other 4xx that speaks of the key"),
        pytest.param(408, None, ServiceUnavailable, id="408"),
        pytest.param(409, {"error": "conflict"}, ServiceUnavailable, id="409"),
        pytest.param(429, {"code": "resource-exhausted", "error": "slow"}, RateLimited, id="P17 429"),
        pytest.param(429, {"error": "moderate your pace"}, RateLimited, id="429 that speaks of moderation"),
        pytest.param(500, {"code": "internal", "error": "x"}, ServiceUnavailable, id="P17 500"),
        pytest.param(502, "<html><head><title>502</title></head></html>", ServiceUnavailable, id="P21 HTML 502"),
        pytest.param(503, {"status": "failed", "error": "x"}, ServiceUnavailable, id="P17 503"),
        pytest.param(504, None, ServiceUnavailable, id="504"),
        pytest.param(529, "overloaded", ServiceUnavailable, id="529"),
    ],
)
def test_an_answer_about_the_question_is_an_error(status, body, kind):
    """What says nothing about the video is an error of its kind that names the request."""
    found = decode(status, {}, raw(body), request_id=R)

    assert (kind, R) == (type(found), found.request_id)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        pytest.param(400, {"code": "invalid-argument", "error": "1080p"}, RequestRejected, id="S10"),
        pytest.param(422, "Failed to deserialize: unknown variant `21:9`", RequestRejected, id="S5"),
        pytest.param(404, {"code": "not-found", "error": "no such model"}, RequestRejected, id="S16"),
        pytest.param(400, {"error": "ZDR teams must set output.upload_url"}, RequestRejected, id="S23"),
        pytest.param(413, "length limit exceeded", RequestRejected, id="S24"),
        pytest.param(415, None, RequestRejected, id="S25"),
        pytest.param(302, None, RequestRejected, id="redirect"),
        pytest.param(429, {"code": "resource-exhausted", "error": "slow"}, RateLimited, id="S26"),
        pytest.param(429, {"error": "slow down, see our usage guidelines"}, RateLimited, id="S26 with odd words"),
        pytest.param(401, {"error": "content policy requires a login"}, AuthenticationFailed, id="401 with odd words"),
        pytest.param(400, {"error": "Incorrect API key provided"}, AuthenticationFailed, id="A2"),
        pytest.param(403, {"error": "blocked"}, AuthenticationFailed, id="A3"),
        pytest.param(403, {"error": "used all available credits"}, OutOfCredits, id="A4"),
        pytest.param(400, {"code": "imagine:content-moderated", "error": "no"}, VideoModerated, id="moderated"),
        pytest.param(500, {"code": "internal", "error": "x"}, AmbiguousSubmit, id="500"),
        pytest.param(502, "<html>", AmbiguousSubmit, id="502"),
        pytest.param(503, {"code": "unavailable", "error": "x"}, AmbiguousSubmit, id="S27 503"),
        pytest.param(529, None, AmbiguousSubmit, id="529"),
        pytest.param(200, None, AmbiguousSubmit, id="success without a body"),
        pytest.param(200, {}, AmbiguousSubmit, id="success without an id"),
        pytest.param(200, {"request_id": " "}, AmbiguousSubmit, id="success with a blank id"),
        pytest.param(200, {"request_id": None, "id": []}, AmbiguousSubmit, id="success with a wrong id"),
        pytest.param(200, "<html>welcome</html>", AmbiguousSubmit, id="success of a captive portal"),
    ],
)
def test_a_start_that_was_not_accepted_says_why(status, body, kind):
    """A 4xx proves that nothing was accepted; a 5xx or an unreadable success proves nothing (§6.3)."""
    assert kind is type(decode_submit(status, {}, raw(body)))


def test_a_start_refused_for_its_content_does_not_claim_a_bill():
    """A synchronous refusal is not known to be billed (§5.2), so the message does not say that it is."""
    refused = decode_submit(400, {}, raw({"code": "imagine:content-moderated", "error": "no"}))

    assert "blocked and billed again" not in str(refused)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        pytest.param(200, {"request_id": R}, id="S1"),
        pytest.param(200, {"id": R}, id="id"),
        pytest.param(201, {"request_id": R}, id="201"),
        pytest.param(202, {"request_id": f" {R} "}, id="202"),
        pytest.param(200, {"request_id": R, "status": "failed", "error": "x"}, id="with more words"),
    ],
)
def test_a_start_with_an_id_is_accepted(status, body):
    """Any success with a request id is a purchase."""
    assert Accepted(R) == decode_submit(status, {}, raw(body))


def test_a_rate_limit_hands_on_the_pause_that_was_asked_for():
    """Retry-After is read in any case and form."""
    headers = {"RETRY-AFTER": "2"}

    assert [2.0, 2.0, 2.0] == [
        decode(429, headers, b"").retry_after,
        decode_submit(429, headers, b"").retry_after,
        decode_document(429, headers, b"").retry_after,
    ]


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        pytest.param(200, None, ServiceUnavailable, id="empty"),
        pytest.param(200, "[]", ServiceUnavailable, id="list"),
        pytest.param(400, {"error": "Incorrect API key"}, AuthenticationFailed, id="A2"),
        pytest.param(404, {"error": "x"}, RequestRejected, id="A8"),
        pytest.param(413, "too large", RequestRejected, id="upload too large"),
        pytest.param(500, None, ServiceUnavailable, id="500"),
    ],
)
def test_a_document_is_an_object_or_an_error(status, body, kind):
    """The free calls give a JSON object or say what went wrong."""
    assert kind is type(decode_document(status, {}, raw(body)))


def test_a_document_is_handed_over_as_it_is():
    """A JSON object comes through unchanged."""
    assert {"models": [1]} == decode_document(200, {}, b'{"models": [1]}')


@pytest.mark.parametrize(
    ("status", "body"),
    [
        pytest.param(400, {"error": f"Incorrect API key provided: {KEY}."}, id="quoted key"),
        pytest.param(400, {"code": KEY, "error": {"message": f"({KEY})"}}, id="as code and message"),
        pytest.param(502, f"<p>Bearer {KEY}</p>", id="in a page"),
        pytest.param(200, f"no json {KEY}", id="in a text"),
        pytest.param(200, {"status": KEY}, id="as status"),
        pytest.param(200, {"status": "failed", "error": f"key={KEY}"}, id="in a failure"),
        pytest.param(200, {"status": "done", "video": {"url": URL, "storage_error": KEY}}, id="in a storage error"),
        pytest.param(404, f"{KEY}", id="in a not-found"),
    ],
)
def test_a_key_in_an_answer_goes_no_further(status, body):
    """Whatever the service quotes, nothing that looks like a key reaches a message."""
    seen = [call(status, {}, raw(body)) for call in (decode, decode_submit, decode_document)]

    assert [] == [found for found in seen if not isinstance(found, dict) and "secret" in f"{found!r} {found}".lower()]


@pytest.mark.parametrize(
    ("status", "body"),
    [
        pytest.param(200, {"status": "w" * 100_000}, id="status word"),
        pytest.param(400, {"code": "c" * 100_000, "error": "e" * 100_000}, id="complaint"),
        pytest.param(502, "x" * 1_000_000, id="page"),
    ],
)
def test_a_flood_of_words_is_cut(status, body):
    """However much a gateway says, a message stays a line."""
    assert 2000 > len(repr(decode(status, {}, raw(body), request_id=R)))


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"<" * 1_000_000, id="open brackets"),
        pytest.param(b"<script " * 200_000, id="open scripts"),
        pytest.param(b"<style></script>" * 100_000, id="crossed tags"),
    ],
)
def test_a_hostile_page_is_one_short_message(body):
    """However an error page is built, its message is a line, because only its beginning is read."""
    assert 500 > len(str(decode(502, {}, body)))


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"[" * 100_000, id="deep list"),
        pytest.param(b'{"a":' * 100_000, id="deep object"),
        pytest.param(b'{"status":"pending","progress":1' + b"0" * 400 + b"}", id="endless progress"),
        pytest.param(b'{"video":{"url":"https://a/b","duration":1' + b"0" * 400 + b"}}", id="endless duration"),
        pytest.param(b'{"usage":{"cost_in_usd_ticks":1' + b"0" * 5000 + b"}}", id="endless bill"),
        pytest.param(b'{"status":"failed","error":"\\ud800"}', id="half a character"),
        pytest.param(b'\xef\xbb\xbf{"status":"pending"}', id="byte order mark"),
        pytest.param(b"\xff\xfe{", id="another encoding"),
        pytest.param(b'{"progress": NaN, "duration": Infinity}', id="no numbers"),
    ],
)
@pytest.mark.parametrize("status", [200, 202, 400, 502])
@pytest.mark.parametrize("call", [decode, decode_submit, decode_document], ids=lambda call: call.__name__)
def test_a_monstrous_body_is_still_an_answer(call, status, body):
    """No body makes the decoder fall over."""
    found = call(status, {}, body)

    assert isinstance(found, Pending | Done | Moderated | Failed | Expired | GrokVideoError | Accepted | dict)


JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=20),
        st.sampled_from(
            [KEY, f"Bearer {KEY}", "moderated", "API key", "credits", "done", "failed", "pending", "expired"]
        ),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.text(max_size=6), inner, max_size=3),
    ),
    max_leaves=8,
)
NAMES = st.sampled_from(
    [
        "status",
        "error",
        "code",
        "message",
        "detail",
        "video",
        "url",
        "data",
        "usage",
        "progress",
        "response",
        "model",
        "id",
    ]
)
INNER = st.dictionaries(
    st.sampled_from(
        [
            "url",
            "duration",
            "respect_moderation",
            "file_output",
            "file_id",
            "code",
            "message",
            "type",
            "cost_in_usd_ticks",
        ]
    ),
    JSON,
    max_size=4,
)
ANSWERS = st.dictionaries(NAMES, st.one_of(JSON, INNER), max_size=6)
BODIES = st.one_of(st.binary(max_size=60), ANSWERS.map(raw), JSON.map(raw))
HEADERS = st.dictionaries(
    st.sampled_from(["Retry-After", "retry-after", "X-Request-Id"]), st.text(max_size=30), max_size=2
)
STATUSES = st.one_of(
    st.sampled_from([200, 202, 400, 401, 403, 404, 408, 409, 410, 422, 429, 500, 503]), st.integers(100, 599)
)


@given(status=STATUSES, headers=HEADERS, body=BODIES, uploads=st.booleans())
@example(status=200, headers={}, body=b"[" * 100_000, uploads=False)
def test_any_answer_is_a_job_or_an_error(status, headers, body, uploads):
    """The decoder is total: whatever comes, it says what it means and shows no key."""
    found = decode(status, headers, body, request_id=R, uploads=uploads, now=0.0)

    assert isinstance(found, Pending | Done | Moderated | Failed | Expired | GrokVideoError)
    assert R == found.request_id
    shown = f"{found!r} {found}" if not isinstance(found, Done) else f"{found.storage_error}"
    assert "secret" not in shown.lower()


@given(status=st.sampled_from([202, 401, 403, 408, 409, 429, 500, 502, 503, 504, 529]), body=BODIES)
def test_nothing_ends_on_an_answer_about_the_question(status, body):
    """These answers say nothing final about a video, whatever their body claims (§6.4)."""
    assert not isinstance(decode(status, {}, body, request_id=R), Done | Moderated | Failed | Expired)


@given(status=STATUSES, headers=HEADERS, body=BODIES)
def test_any_answer_to_a_start_is_a_purchase_or_an_error(status, headers, body):
    """A start's answer is either a purchase with an id or an error, and only a success is a purchase."""
    found = decode_submit(status, headers, body, now=0.0)

    if isinstance(found, Accepted):
        assert found.request_id.strip()
        assert 200 <= status < 300
    else:
        assert isinstance(found, GrokVideoError)
        assert "secret" not in f"{found!r} {found}".lower()


@given(status=st.integers(500, 599), headers=HEADERS, body=BODIES)
def test_a_start_in_doubt_is_never_called_anything_else(status, headers, body):
    """No wording of a 5xx makes a start look refused: that would buy again (§6.3)."""
    assert isinstance(decode_submit(status, headers, body), AmbiguousSubmit)


@given(status=STATUSES, headers=HEADERS, body=BODIES)
def test_any_document_is_an_object_or_an_error(status, headers, body):
    """The free calls are as safe to read."""
    found = decode_document(status, headers, body, now=0.0)

    assert isinstance(found, dict | GrokVideoError)


@pytest.mark.parametrize("body", ["", '{"status": "pending"}', "<html>502</html>", "no json"], ids=repr)
@pytest.mark.parametrize("status", [200, 202, 400, 502])
def test_a_body_may_be_text(status, body):
    """Text means what its bytes mean."""
    as_bytes = decode(status, {}, body.encode(), request_id=R)

    assert repr(as_bytes) == repr(decode(status, {}, body, request_id=R))
