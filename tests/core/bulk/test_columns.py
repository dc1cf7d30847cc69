"""Columns of a table of requests: arguments, misspelt ones, and those of a result table."""

from __future__ import annotations

import inspect

import pytest

from airflow_provider_grokvideo.core.bulk import columns, lines, rows
from airflow_provider_grokvideo.core.bulk.rows import Row, Table
from airflow_provider_grokvideo.core.errors import InvalidInput
from airflow_provider_grokvideo.operators import grokvideo as operators

OPERATORS = {
    "generate": operators.GrokVideoGenerateOperator,
    "edit": operators.GrokVideoEditOperator,
    "extend": operators.GrokVideoExtendOperator,
}


def read(row, id_column="id"):
    """Read one row with a prompt."""
    return rows.read([{"prompt": "a cat", **row}], defaults=None, id_column=id_column, destination=None)


def refused(row, **options):
    """Return field and value of the error that refuses a whole table."""
    with pytest.raises(InvalidInput) as caught:
        read(row, **options)
    return caught.value


@pytest.mark.parametrize("mode", columns.MODES)
def test_arguments_are_those_of_the_operators(mode):
    """Each mode has the arguments of its operator, and needs those without a default."""
    own = inspect.signature(OPERATORS[mode].__init__).parameters.values()
    named = [each for each in own if each.kind is each.KEYWORD_ONLY]

    assert tuple(each.name for each in named) == columns.ARGUMENTS[mode]
    assert tuple(each.name for each in named if each.default is each.empty) == columns.REQUIRED[mode]


@pytest.mark.parametrize(
    ("column", "meant"),
    [
        ("promt", "prompt"),
        ("Prompt", "prompt"),
        ("prompts", "prompt"),
        ("rompt", "prompt"),
        ("aspect ratio", "aspect_ratio"),
        ("aspectRatio", "aspect_ratio"),
        ("duratoin", "duration"),
        ("resolutoin", "resolution"),
        ("reference_image", "reference_images"),
        ("genrate_audo", "generate_audio"),
        ("image_url", "image"),
        ("Video URL", "video"),
        ("images", "image"),
        ("mdoe", "mode"),
        ("Destination", "destination"),
        ("vidoe", "video"),
        ("key_frames", "keyframes"),
    ],
)
def test_a_misspelt_argument_refuses_the_table(column, meant):
    """A column that is nearly an argument would be carried along, and the video made without it."""
    error = refused({"id": "a", column: "x"})

    assert ("rows", column, True) == (error.field, error.value, f"did you mean {meant!r}?" in str(error))


def test_a_misspelt_id_refuses_the_table():
    """A table with the column "ID" does have ids."""

    assert "did you mean 'id'?" in str(refused({"ID": "a"}))
    assert "did you mean 'sku'?" in str(refused({"SKU": "a"}, id_column="sku"))


@pytest.mark.parametrize(
    "column",
    [
        "code",
        "node",
        "location",
        "rotation",
        "curation",
        "solution",
        "donation",
        "designation",
        "prompt2",
        "title",
        "motel",
        "date",
        "language",
        "format",
        "frame",
        "note",
        "status_code",
        "idx",
        "price_usd",
        "ratio",
        "seconds",
    ],
)
def test_a_name_that_is_far_is_carried(column):
    """Free columns are not suspected for a likeness."""

    assert (column,) == read({"id": "a", column: "x"}).carried


def test_an_address_beside_its_argument_is_carried():
    """A table with ``image`` may have ``image_url`` as well."""

    assert ("image_url",) == read({"id": "a", "image": "a.png", "image_url": "x"}).carried


@pytest.mark.parametrize("column", sorted(set(lines.COLUMNS) - columns.KEPT - {"duration"}))
def test_a_column_of_the_result_table_must_be_renamed(column):
    """Two columns of one name cannot be in the result table."""
    error = refused({"id": "a", column: "x"})

    assert ("rows", column) == (error.field, error.value)


def test_another_id_column_leaves_no_room_for_id():
    """The result table has the ids in its column ``id``."""

    assert "id" == refused({"sku": "a", "id": "b"}, id_column="sku").value


@pytest.mark.parametrize("column", ["", " ", "a\nb", "\ud83d"], ids=repr)
def test_a_column_has_a_name(column):
    """A name that nobody can see or write refuses the table."""

    assert column == refused({"id": "a", column: "x"}).value


@pytest.mark.parametrize("id_column", ["", "prompt", "video", "mode", "destination", None, 5, "sku"])
def test_the_id_column_is_a_column_that_is_no_argument(id_column):
    """A column that was named must be there, except for the default."""

    assert "id_column" == refused({"a": "x"}, id_column=id_column).field


RESULT = {**dict.fromkeys(lines.COLUMNS), "status": "failed", "attempts": 1, "prompt_sha256": "0", "duration": 8.04}


def test_a_result_table_is_a_table_of_requests():
    """Results are dropped, with the measured seconds; id, mode, model, prompt and free columns stay."""
    table = read(
        {**RESULT, "id": "a", "mode": "generate", "model": "m", "prompt": "p", "uri": "s3://b/a.mp4", "sku": 1}
    )

    assert Table((Row("a", 1, "generate", {"prompt": "p", "model": "m"}, None, {"sku": 1}),), (), ("sku",)) == table


def test_a_result_table_has_its_ids_in_id():
    """The column of the first run has gone."""

    assert ["a"] == [row.id for row in read({**RESULT, "id": "a", "prompt": "p"}, id_column="sku").rows]


def test_the_ids_are_found_under_their_own_name():
    """The result table names the ids `id`; the column of another name is there, too."""
    found = columns.sorted_out(["sku", "prompt", "price"], "sku")

    assert ("sku", ("sku", "price")) == (found.id, found.carried)
