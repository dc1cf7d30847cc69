"""Which bytes a browser gets when it seeks in a video."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_grokvideo.plugins.ranges import ByteRange, wanted


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, (0, 100, 200)),
        ("bytes=0-", (0, 100, 206)),
        ("bytes=0-0", (0, 1, 206)),
        ("bytes=10-19", (10, 20, 206)),
        ("Bytes = 10 - 19", (10, 20, 206)),
        ("bytes=90-500", (90, 100, 206)),
        ("bytes=-5", (95, 100, 206)),
        ("bytes=-500", (0, 100, 206)),
        ("bytes=20-10", (0, 100, 200)),
        ("bytes=0-1,5-6", (0, 100, 200)),
        ("bytes=-", (0, 100, 200)),
        ("seconds=1-2", (0, 100, 200)),
        ("bytes=x-y", (0, 100, 200)),
    ],
)
def test_the_bytes_that_are_asked_for_are_given(header, expected):
    """As RFC 9110 says; what makes no sense gets the file."""
    part = wanted(header, 100)

    assert expected == (part.start, part.end, part.status)


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=500-600", "bytes=-0"])
def test_bytes_that_are_not_there_are_refused(header):
    """A player has to know that it asked for too much."""

    assert wanted(header, 100) is None


@given(st.text(max_size=40) | st.from_regex(r"bytes=\d*-\d*", fullmatch=True), st.integers(0, 10**12))
def test_whatever_is_asked_for_the_answer_lies_within_the_file(header, size):
    """No header reads beyond a file or names a length that does not come."""
    part = wanted(header, size)

    assert part is None or (0 <= part.start <= part.end <= size)
    assert part is None or part.headers()["Content-Length"] == str(part.end - part.start)


def test_a_part_says_where_it_belongs():
    """The numbers are inclusive on the wire."""
    expected = {"Content-Length": "10", "Accept-Ranges": "bytes", "Content-Range": "bytes 10-19/100"}

    assert expected == ByteRange(10, 20, 100).headers()
