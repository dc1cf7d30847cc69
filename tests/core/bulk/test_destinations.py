"""Destinations of rows: one safe place for each of them."""

from __future__ import annotations

import pytest

from airflow_provider_grokvideo.core.bulk import rows
from airflow_provider_grokvideo.core.errors import InvalidInput


def read(*cells, destination=None, **options):
    """Read rows with a prompt."""
    filled = [{"prompt": "p", **cell} for cell in cells]
    return rows.read(filled, defaults=None, id_column=options.get("id_column", "id"), destination=destination)


def places(*cells, destination=None, **options):
    """Return the destinations of good rows."""
    table = read(*cells, destination=destination, **options)
    assert () == table.bad
    return [row.destination for row in table.rows]


@pytest.mark.parametrize(
    ("template", "place"),
    [
        ("s3://b/{id}.mp4", "s3://b/a.mp4"),
        ("s3://b/{sku}/{id}.mp4", "s3://b/7/a.mp4"),
        ("s3://b/{mode}-{duration}-{id}.MP4", "s3://b/generate-8-a.MP4"),
        ("/data/", "/data/a.mp4"),
        ("/", "/a.mp4"),
        ("/data", "/data/a.mp4"),
        ("/data/{id}", "/data/a/a.mp4"),
        ("/data/2026.01", "/data/2026.01/a.mp4"),
        ("s3://bucket", "s3://bucket/a.mp4"),
        ("s3://bucket.mp4", "s3://bucket.mp4/a.mp4"),
        ("/d/{{x}}{{{id}}}.mp4", "/d/{x}{a}.mp4"),
        ("file:///", "file:///a.mp4"),
        ("~/v/{name}", "~/v/clip.mp4"),
    ],
)
def test_a_template_has_the_cells_of_the_row(template, place):
    """Columns stand in braces, and a directory gets a file named after the row."""

    assert [place] == places({"id": "a", "sku": 7.0, "duration": "8.0", "name": "clip.mp4"}, destination=template)


def test_without_a_destination_nothing_is_stored():
    """A row may have a destination of its own, which wins over the template."""

    assert [None, "/x/b.mp4"] == places({"id": "a"}, {"id": "b", "destination": "/x/b.mp4"})
    assert ["/v/a.mp4", "/x/b.mp4"] == places({"id": "a"}, {"id": "b", "destination": "/x/"}, destination="/v/{id}.mp4")


def test_the_id_has_two_names():
    """``{id}`` is the id, whatever its column is called, and also where the table has none."""
    made = read({"prompt": "p"}, destination="/v/{id}.mp4").rows[0]

    assert ["/v/a-a.mp4"] == places({"sku": "a"}, destination="/v/{id}-{sku}.mp4", id_column="sku")
    assert f"/v/{made.id}.mp4" == made.destination


@pytest.mark.parametrize(
    "template", ["", " ", "/v/{id.mp4", "/v/id}.mp4", "/v/{nope}.mp4", "/v/{}.mp4", "/v/{id!r}.mp4", 5]
)
def test_a_bad_template_refuses_the_table(template):
    """Braces are closed, and columns exist."""
    with pytest.raises(InvalidInput) as caught:
        read({"id": "a"}, destination=template)

    assert ("destination", template) == (caught.value.field, caught.value.value)


def test_one_file_for_many_rows_refuses_the_table():
    """The message says to add {id}; one row alone may have it, and rows with their own place do not count."""
    with pytest.raises(InvalidInput, match=r"add \{id\}") as caught:
        read({"id": "a"}, {"id": "b"}, destination="/v/a.mp4")

    assert "destination" == caught.value.field
    assert ["/v/a.mp4", "/v/b.mp4"] == places(
        {"id": "a"}, {"id": "b", "destination": "/v/b.mp4"}, destination="/v/a.mp4"
    )


@pytest.mark.parametrize(
    "value", ["a/b", "a\\b", ".a", "..", "a..b", "a\nb", "a?b", "a#b", "a*", "\ud83d", ["a"], {"a": 1}, 1e999, "", None]
)
def test_a_value_that_is_not_safe_in_a_path_is_a_bad_row(value):
    """The column is named; nothing leaves the directory that the DAG's author wrote."""
    table = read({"id": "a", "sku": value}, {"id": "b", "sku": "x"}, destination="/v/{sku}.mp4")

    assert [(1, "sku")] == [(bad.number, bad.field) for bad in table.bad]


@pytest.mark.parametrize("row_id", ["a/b", "../x", ".a", "a?b", "x" * 200 + "é" * 0, "é" * 130])
def test_an_id_that_is_no_file_name_is_a_bad_row(row_id):
    """Ids with slashes or dots, and names that are too long, are found before the purchase."""
    table = read({"id": row_id}, {"id": "b"}, destination="/v/{id}-" + "x" * 50 + ".mp4")

    assert [1] == [bad.number for bad in table.bad]


@pytest.mark.parametrize(
    "cell", ["/v/../a.mp4", "/v/a.mov", "/v/.mp4", "/v/a\nb.mp4", "/v/\ud83d.mp4", 5, ["/v/a.mp4"]]
)
def test_a_bad_place_of_its_own_is_a_bad_row(cell):
    """The row's column destination is named."""
    table = read({"id": "a", "destination": cell}, {"id": "b"})

    assert [(1, "destination")] == [(bad.number, bad.field) for bad in table.bad]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("/v/a.mp4", "/v/A.mp4"),
        ("/v/a.mp4", "/v//a.mp4"),
        ("/v/a.mp4", "/v/./a.mp4"),
        ("s3://b/é.mp4", "s3://b/e\u0301.mp4"),
    ],
)
def test_one_place_for_two_rows_makes_both_bad(one, other):
    """Some file systems do not tell capitals or spellings apart; each row names the other."""
    table = read({"id": "a", "destination": one}, {"id": "b"}, {"id": "c", "destination": other})

    assert [(1, "destination", True), (3, "destination", True)] == [
        (bad.number, bad.field, f"row {4 - bad.number};" in bad.problem) for bad in table.bad
    ]


def test_a_template_that_does_not_tell_rows_apart_makes_them_bad():
    """A column with equal cells is no name for a file."""
    table = read({"id": "a", "s": 1}, {"id": "b", "s": 2}, {"id": "c", "s": 1}, destination="/v/{s}.mp4")

    assert [1, 3] == [bad.number for bad in table.bad]
