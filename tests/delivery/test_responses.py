"""What an answer to a download means."""

from __future__ import annotations

import pytest

from airflow_provider_grokvideo.delivery.responses import (
    TRIES,
    Body,
    DeadLink,
    Part,
    Redirect,
    Transient,
    excerpt,
    meaning,
    pause_before,
)

URL = "https://vidgen.x.ai/a/b.mp4"
HALF = Part(bytes=50, total=100, etag='"v1"')


def read(status, headers=None, part=None):
    """Return what an answer to :data:`URL` means."""
    return meaning(status, headers or {}, url=URL, part=part or Part())


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_a_dead_link_can_be_asked_for_again(status):
    """What an object store says to an old signature is an expired link, not a failure."""

    assert DeadLink(status) == read(status)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 520])
def test_faults_that_pass_are_tried_again(status):
    """Overload and broken gateways are transient."""

    assert Transient(f"HTTP {status}") == read(status)


def test_the_server_may_say_how_long_to_wait():
    """Retry-After is honoured."""

    assert 7.0 == pause_before(1, read(503, {"retry-after": "7"}))


def test_a_long_wait_is_left_to_airflow():
    """A pause that would hold the slot ends the tries."""

    assert pause_before(1, read(429, {"retry-after": "3600"})) is None


def test_tries_end():
    """Pauses grow, and after the last try there is none."""
    fault = Transient("HTTP 502")

    assert [0.5, 1.0, 2.0, 4.0, None] == [pause_before(attempt, fault) for attempt in range(1, TRIES + 1)]


@pytest.mark.parametrize(
    ("location", "where"),
    [
        ("https://cdn.example/x", "https://cdn.example/x"),
        ("/x", "https://vidgen.x.ai/x"),
        ("x", "https://vidgen.x.ai/a/x"),
        ("a film.mp4?s=1", "https://vidgen.x.ai/a/a%20film.mp4?s=1"),
    ],
)
def test_redirects_are_read_relative_to_the_link(location, where):
    """A Location may be absolute or relative."""

    assert Redirect(where) == read(302, {"location": location})


@pytest.mark.parametrize(
    "kind", ["text/html", "text/html; charset=utf-8", "application/json", "Application/XML", "application/problem+json"]
)
def test_an_odd_type_is_a_warning(kind):
    """A video may be labelled as a page: its bytes are judged, and the label is a warning."""
    found = read(200, {"content-type": kind})

    assert isinstance(found, Body)
    assert kind.partition(";")[0] in (found.odd or "")


@pytest.mark.parametrize(
    ("headers", "taken"),
    [
        ({}, True),
        ({"content-range": "bytes 0-9/10"}, True),
        ({"content-range": "nonsense"}, True),
        ({"content-range": "bytes 0-8/10"}, False),
        ({"content-range": "bytes 1-9/10"}, False),
    ],
)
def test_a_206_that_nobody_asked_for_is_the_file_if_it_is_whole(headers, taken):
    """A server that calls the whole file a part is believed by the range it names."""
    found = read(206, {"content-length": "10", **headers})

    assert taken == isinstance(found, Body)
    assert not taken or found.odd


@pytest.mark.parametrize("kind", ["video/mp4", "application/octet-stream", "binary/octet-stream", None])
def test_types_of_files_are_left_to_the_content(kind):
    """What may be a video is fetched."""
    headers = {"content-length": "10", "etag": '"a"', **({"content-type": kind} if kind else {})}

    assert Body(0, 10, '"a"', kind) == read(200, headers)


def test_a_206_that_counts_wrongly_is_taken_at_the_last_try():
    """What claims to lack its end to the last is taken with a warning; its bytes are judged."""
    headers = {"content-length": "10", "content-range": "bytes 0-9/11"}
    last = meaning(206, headers, url=URL, part=Part(), is_last=True)

    assert [True, True] == [isinstance(read(206, headers), Transient), isinstance(last, Body)]
    assert (10, True) == (last.total, bool(last.odd))


@pytest.mark.parametrize("status", [201, 203, 226])
def test_another_success_brings_the_file(status):
    """A proxy that changed something says 203; the file is taken with a warning."""
    found = read(status, {"content-length": "10"})

    assert (0, 10, True) == (found.start, found.total, bool(found.odd))


@pytest.mark.parametrize("status", [202, 204, 402, 451])
def test_other_answers_are_no_file(status):
    """An answer nobody asked for is not taken for the file."""

    assert not isinstance(read(status), Body)


@pytest.mark.parametrize(
    ("headers", "same"),
    [
        pytest.param({"content-range": "bytes 50-99/100", "etag": '"v1"'}, True, id="same"),
        pytest.param({"content-range": "bytes 50-99/100"}, True, id="no-etag-again"),
        pytest.param({"content-range": "bytes 50-99/*", "etag": '"v1"'}, True, id="total-left-out"),
        pytest.param({"content-range": "bytes 50-99/100", "etag": '"v2"'}, False, id="other-etag"),
        pytest.param({"content-range": "bytes 50-119/120", "etag": '"v1"'}, False, id="other-total"),
        pytest.param({"content-range": "bytes 40-99/100", "etag": '"v1"'}, False, id="other-start"),
        pytest.param({"content-range": "bytes 50-80/100", "etag": '"v1"'}, False, id="not-to-the-end"),
        pytest.param({"content-range": "lines 1-2/3"}, False, id="nonsense"),
        pytest.param({}, False, id="no-range"),
    ],
)
def test_a_rest_is_taken_only_if_it_continues_the_same_file(headers, same):
    """Anything else about a 206 starts the download over."""
    found = read(206, headers, HALF)

    assert (Body(50, 100, '"v1"', None) if same else True) == (found if same else found.restart)


@pytest.mark.parametrize(
    ("part", "headers"),
    [
        pytest.param(HALF, {"Range": "bytes=50-", "If-Range": '"v1"'}, id="etag"),
        pytest.param(Part(50, 100), {"Range": "bytes=50-"}, id="total-only"),
        pytest.param(Part(50, 100, weak=True), {}, id="weak-etag"),
        pytest.param(Part(50), {}, id="nothing-known"),
        pytest.param(Part(0, 100, '"v1"'), {}, id="nothing-there"),
    ],
)
def test_a_rest_is_asked_for_only_if_it_can_be_recognised(part, headers):
    """Without a strong tag or a total the download starts over."""

    assert headers == part.headers()


def test_a_page_is_quoted_in_one_clean_line():
    """No markup, no control characters, no signed queries, at most 200 characters."""
    page = b"<html><style>p{}</style><p>Access\x00 denied\n\xff</p> see https://h/x?sig=abc&k=1 " + b"z" * 500
    found = excerpt(page)

    assert found.startswith("Access denied � see https://h/x zzz")
    assert 200 == len(found)
