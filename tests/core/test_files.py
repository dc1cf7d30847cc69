"""Names of stored outputs, and the list in which they are found."""

from __future__ import annotations

import pytest

from airflow_provider_grokvideo.core.errors import ServiceUnavailable
from airflow_provider_grokvideo.core.files import KEPT_SECONDS, Page, page, stored_as, unique_name
from airflow_provider_grokvideo.core.jobs import StoredFile


@pytest.mark.parametrize(
    ("filename", "expected"),
    [
        (None, "airflow-7f.mp4"),
        ("film.mp4", "film-7f.mp4"),
        ("film.v2.mp4", "film.v2-7f.mp4"),
        ("film", "film-7f"),
        (".mp4", ".mp4-7f"),
        ("a.name without a suffix", "a.name without a suffix-7f"),
        ("x" * 500 + ".mp4", "x" * 120 + "-7f.mp4"),
    ],
)
def test_a_name_is_the_users_with_the_purchases_token_in_it(filename, expected):
    """Two purchases never share a name, and people find theirs again."""

    assert expected == unique_name(filename, "7f")


def test_what_is_stored_is_what_the_user_wants_else_what_the_connection_wants():
    """The user's other options stay; a file that is stored for the sake of its name is deleted after some days."""
    options = {"filename": "a.mp4", "public_url": True}

    assert {"filename": "a-7f.mp4", "public_url": True} == stored_as(options, "7f", wanted=False)
    assert {"filename": "airflow-7f.mp4", "expires_after": KEPT_SECONDS} == stored_as(None, "7f", wanted=True)
    assert stored_as(None, "7f", wanted=False) is None
    assert {"filename": "a.mp4", "public_url": True} == options


FILE = {"id": "file_1", "filename": "a.mp4"}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"data": [FILE]}, Page(StoredFile("file_1"), None)),
        ({"files": [{"file_id": "file_1", "filename": "a.mp4"}]}, Page(StoredFile("file_1"), None)),
        (
            {"data": [{**FILE, "public_url": "https://x"}], "pagination_token": "t"},
            Page(StoredFile("file_1", "https://x"), "t"),
        ),
        ({"data": [{**FILE, "filename": "A.mp4"}], "pagination_token": "t"}, Page(None, "t")),
        ({"data": [{**FILE, "filename": "a.mp4 "}]}, Page(None, None)),
        ({"data": [{"filename": "a.mp4"}, 7, None, {**FILE, "id": ""}]}, Page(None, None)),
        ({"data": [], "pagination_token": "t"}, Page(None, None)),
        ({"data": [{}], "pagination_token": 7}, Page(None, None)),
    ],
)
def test_only_the_exact_name_is_found(answer, expected):
    """A fuzzy hit is somebody else's; a page without files is the last one."""

    assert expected == page(answer, "a.mp4")


@pytest.mark.parametrize("answer", [{}, {"data": None}, {"data": {"a": 1}}, {"error": "no"}])
def test_what_is_no_list_is_no_word_about_the_file(answer):
    """It is an error, and the submission stays unconfirmed."""
    with pytest.raises(ServiceUnavailable):
        page(answer, "a.mp4")
