"""A table of requests: what a row becomes, and which row and column a bad cell is named by."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_grokvideo.core.bulk import rows
from airflow_provider_grokvideo.core.bulk.rows import MOST_ROWS, BadRow, Row, Table, bad_row, summary_of_bad
from airflow_provider_grokvideo.core.errors import InvalidInput


class NAType:
    """The missing value of pandas, which has no truth."""

    def __bool__(self):
        raise TypeError("boolean value of NA is ambiguous")

    def __eq__(self, other):
        return self

    __hash__ = object.__hash__


class NaTType(NAType):
    """The missing time of pandas."""


class Scalar:
    """A number of numpy."""

    __module__ = "numpy"

    def __init__(self, value):
        self.value = value

    def tolist(self):
        return self.value


NAN = float("nan")
EMPTY = [None, "", "  ", "\n", NAN, Decimal("NaN"), NAType(), NaTType(), Scalar(NAN)]


def read(*cells, defaults=None, id_column="id", destination=None):
    """Read rows with a prompt, unless they say otherwise."""
    filled = [{"prompt": "a cat", **cell} if isinstance(cell, dict) else cell for cell in cells]
    return rows.read(filled, defaults=defaults, id_column=id_column, destination=destination)


def faults(table):
    """Return number, column and id of the bad rows."""
    return [(bad.number, bad.field, bad.id) for bad in table.bad]


def test_a_row_becomes_the_arguments_of_its_operator():
    """Given cells are arguments, free columns are carried, and the default mode is to generate."""
    table = read({"id": "a", "prompt": "a fox", "duration": 8, "sku": 7, "note": ""}, destination="s3://b/{id}.mp4")

    expected = Row(
        "a", 1, "generate", {"prompt": "a fox", "duration": 8}, "s3://b/a.mp4", carried={"sku": 7, "note": ""}
    )
    assert Table((expected,), (), ("sku", "note")) == table


def test_an_empty_table_is_fine():
    """No rows are no error."""

    assert Table((), (), ()) == read()


@pytest.mark.parametrize("empty", EMPTY, ids=lambda value: type(value).__name__)
def test_an_empty_cell_is_not_given(empty):
    """None, blanks and all kinds of NaN leave the argument to the defaults."""
    table = read({"id": "a", "duration": empty, "resolution": empty}, defaults={"duration": 5})

    assert {"prompt": "a cat", "duration": 5} == table.rows[0].arguments


@pytest.mark.parametrize("empty", EMPTY, ids=lambda value: type(value).__name__)
def test_a_missing_value_is_carried_as_none(empty):
    """A free column keeps its text, and NaN becomes None, because JSON has no NaN."""
    table = read({"id": "a", "note": empty})

    assert (empty if isinstance(empty, str) else None) == table.rows[0].carried["note"]


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("8.0", 8),
        ("8", 8),
        (" 8 ", 8),
        (8.0, 8),
        (Decimal("8"), 8),
        (Decimal("8.00"), 8),
        (Scalar(8), 8),
        (Scalar(8.0), 8),
        (7.5, 7.5),
        ("7.5", "7.5"),
        ("eight", "eight"),
        (float("inf"), float("inf")),
    ],
)
def test_seconds_are_whole_numbers(cell, value):
    """Whole seconds are read from text and floats; anything else is the request's error."""
    found = read({"id": "a", "duration": cell}).rows[0].arguments["duration"]

    assert (value, type(value)) == (found, type(found))


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("true", True),
        ("Yes", True),
        ("1", True),
        (1.0, True),
        (1, True),
        ("FALSE", False),
        ("no", False),
        ("0", False),
        (0, False),
        (False, False),
        (Scalar(True), True),
        ("maybe", "maybe"),
        (2, 2),
    ],
)
def test_a_flag_is_read_from_text_and_numbers(cell, value):
    """CSV has no booleans, and pandas makes floats of them."""

    assert value is read({"id": "a", "generate_audio": cell}).rows[0].arguments["generate_audio"]


@pytest.mark.parametrize(
    ("column", "cell", "value"),
    [
        ("reference_images", '["a.png", "b.png"]', ["a.png", "b.png"]),
        ("reference_images", "s3://b/a,1.png", ["s3://b/a,1.png"]),
        ("reference_images", "data:image/png;base64,AAAA", ["data:image/png;base64,AAAA"]),
        ("reference_images", ("a.png",), ["a.png"]),
        ("reference_audios", "eve", ["eve"]),
        ("keyframes", '[{"image": "a.png", "timestamp_s": 1}]', [{"image": "a.png", "timestamp_s": 1}]),
        ("storage_options", '{"filename": "a.mp4"}', {"filename": "a.mp4"}),
        ("storage_options", {"filename": "a.mp4"}, {"filename": "a.mp4"}),
        ("resolution", " 480p", "480p"),
        ("image", {"url": "https://example.com/a.png"}, {"url": "https://example.com/a.png"}),
    ],
)
def test_lists_and_objects_are_read_from_json(column, cell, value):
    """What a CSV cell cannot be is written as JSON; one path alone is a list of one."""

    assert value == read({"id": "a", column: cell}).rows[0].arguments[column]


@pytest.mark.parametrize(
    ("column", "cell"),
    [
        ("keyframes", "a.png"),
        ("keyframes", "{}"),
        ("reference_images", '["a.png"'),
        ("reference_images", {"url": "a.png"}),
        ("storage_options", "[]"),
        ("storage_options", "[" * 100_000),
        ("storage_options", 5),
    ],
)
def test_what_is_no_json_of_its_kind_is_a_bad_row(column, cell):
    """The row and the column are named."""

    assert [(1, column, "a")] == faults(read({"id": "a", column: cell}))


def test_defaults_belong_to_their_mode():
    """Defaults fill what rows leave out; those of another mode are ignored."""
    table = read(
        {"id": "a"},
        {"id": "b", "mode": "Edit", "video": "a.mp4"},
        {"id": "c", "duration": 3},
        defaults={"duration": "5", "generate_audio": "no", "model": "m", "image": None},
    )

    assert [
        {"prompt": "a cat", "duration": 5, "generate_audio": False, "model": "m"},
        {"prompt": "a cat", "video": "a.mp4", "model": "m"},
        {"prompt": "a cat", "duration": 3, "generate_audio": False, "model": "m"},
    ] == [row.arguments for row in table.rows]


def test_the_default_mode_is_a_default():
    """Defaults may say the mode of all rows."""

    assert ["extend"] == [row.mode for row in read({"id": "a", "video": "v.mp4"}, defaults={"mode": "extend"}).rows]


@pytest.mark.parametrize(
    "defaults",
    [{"promt": "x"}, {"id": "a"}, {"destination": "/x/"}, {"mode": "make"}, {"keyframes": "x"}, ["prompt"], {1: 2}],
    ids=str,
)
def test_defaults_are_arguments(defaults):
    """An unknown or unreadable default refuses the table, even an empty one."""
    with pytest.raises(InvalidInput) as caught:
        rows.read([], defaults=defaults, id_column="id", destination=None)

    assert "defaults" == caught.value.field


@pytest.mark.parametrize(
    ("cell", "row_id"),
    [
        ("a", "a"),
        (7, "7"),
        (7.0, "7"),
        ("7.0", "7.0"),
        (Decimal("7.0"), "7"),
        (7.5, "7.5"),
        (Scalar(7), "7"),
        ("é", "é"),
    ],
)
def test_an_id_is_text(cell, row_id):
    """Pandas makes 7.0 of a 7; text stays as it is."""

    assert row_id == read({"id": cell}).rows[0].id


@pytest.mark.parametrize(
    "cell", [None, "", NAN, " a", "a ", "a\nb", "a\x00", "\ud83d", "x" * 201, True, ["a"], {"a": 1}, b"a"], ids=repr
)
def test_a_bad_id_is_a_bad_row(cell):
    """A row of a table with ids needs a printable one."""

    assert [(2, "id", None)] == faults(read({"id": "a"}, {"id": cell}))


def test_an_id_that_is_there_twice_makes_both_rows_bad():
    """Each of them names another one; the rows between are fine."""
    table = read({"id": "a"}, {"id": "b"}, {"id": "a"}, {"id": "a"})

    assert [(1, "id", "a"), (3, "id", "a"), (4, "id", "a")] == faults(table)
    assert [True, True, True] == [
        f"row {other}" in bad.problem for bad, other in zip(table.bad, (3, 1, 1), strict=True)
    ]
    assert ["b"] == [row.id for row in table.rows]


def test_without_ids_the_content_is_the_id():
    """Neither the position nor the order of the columns changes an id; equal rows are counted."""
    one, two = {"prompt": "a fox", "duration": 8, "sku": 1}, {"prompt": "an owl"}
    table = read(one, two, one, one)
    turned = read(two, {"sku": 1.0, "note": None, "prompt": "a fox", "duration": "8.0"})
    first, other, second, third = (row.id for row in table.rows)

    assert (f"{first}-2", f"{first}-3", 16) == (second, third, len(first))
    assert [other, first] == [row.id for row in turned.rows]


def test_defaults_count_in_an_id_that_is_made():
    """Another default is another video, so it is another row."""
    ids = {read({"sku": 1}, defaults=defaults).rows[0].id for defaults in (None, {"duration": 5}, {"duration": 6})}

    assert 3 == len(ids)


@pytest.mark.parametrize(
    ("cell", "column"),
    [
        ({"prompt": None}, "prompt"),
        ({"mode": "edit"}, "video"),
        ({"mode": "make"}, "mode"),
        ({"mode": 5}, "mode"),
        ({"mode": "edit", "video": "a.mp4", "duration": 5}, "duration"),
        ({"video": "a.mp4"}, "video"),
        ({"mode": "extend", "video": "a.mp4", "image": "a.png"}, "image"),
        ({"note": b"x"}, "note"),
        ({"note": object()}, "note"),
        ({"note": float("inf")}, "note"),
        ({"note": "\ud83d"}, "note"),
        ({"note": {1: 2}}, "note"),
        ({"note": {0: 2}}, "note"),
        ({"note": [b"x"]}, "note"),
        ({"note": 10**5000}, "note"),
        ({7: "x"}, None),
    ],
)
def test_a_bad_cell_names_row_and_column(cell, column):
    """The other rows are read."""
    table = read({"id": "a"}, {"id": "b", **cell}, {"id": "c"})

    assert [(2, column, "b")] == faults(table)
    assert ["a", "c"] == [row.id for row in table.rows]


@pytest.mark.parametrize("row", [None, "a cat", ["a"], 5], ids=repr)
def test_what_is_no_row_is_a_bad_row(row):
    """A list of prompts is no table."""

    assert [(2, None, None)] == faults(read({"id": "a"}, row))


def test_nested_json_is_carried():
    """Free columns may hold lists and objects."""
    note = {"tags": ["a", {"b": None}], "n": 1.5}

    assert note == read({"id": "a", "note": note}).rows[0].carried["note"]


def test_a_self_containing_list_is_a_bad_row():
    """Nesting without end is found."""
    note: list[object] = []
    note.append(note)

    assert [(1, "note", "a")] == faults(read({"id": "a", "note": note}))


@pytest.mark.parametrize(
    "cells", ["a.csv", b"x", {"id": "a"}, iter([]), None], ids=["path", "bytes", "row", "iterator", "none"]
)
def test_a_table_is_a_list(cells):
    """Anything else refuses the table."""
    with pytest.raises(InvalidInput) as caught:
        rows.read(cells, defaults=None, id_column="id", destination=None)

    assert "rows" == caught.value.field


def test_too_many_rows_are_not_read():
    """100,001 rows are refused at once."""
    with pytest.raises(InvalidInput) as caught:
        rows.read([None] * (MOST_ROWS + 1), defaults=None, id_column="id", destination=None)

    assert ("rows", 100_001) == (caught.value.field, caught.value.value)


def test_a_bad_row_says_where_and_what():
    """One line with number, id and column."""
    bad = BadRow(7, "a", "duration", "is bad", None, None, None, {})

    assert 'row 7 (id "a"), column duration: is bad' == str(bad)
    assert "row 7: is bad" == str(BadRow(7, None, None, "is bad", None, None, None, {}))


def test_a_good_row_may_turn_out_bad():
    """What the request refuses is told with the same facts."""
    row = Row("a", 7, "edit", {"prompt": "p", "model": "m"}, None, {"sku": 1})

    assert BadRow(7, "a", "video", "is bad", "p", "edit", "m", {"sku": 1}) == bad_row(row, "video", "is bad")


def test_a_bad_row_keeps_what_is_known():
    """The result table has a line for it."""
    (bad,) = read({"id": "a", "prompt": "p", "model": "m", "mode": "make", "sku": 1}).bad

    assert ("p", None, "m", {"sku": 1}) == (bad.prompt, bad.mode, bad.model, bad.carried)


def test_a_summary_has_the_first_rows():
    """Twenty rows are shown, and the others counted."""
    bad = read(*({"id": str(number), "prompt": ""} for number in range(25))).bad

    assert [*map(str, bad[:20]), "and 5 more"] == summary_of_bad(bad).split("\n")
    assert list(map(str, bad[:5])) == summary_of_bad(bad[:5]).split("\n")


WORDS = st.text("ab-. é\n/", max_size=4)
CELLS = st.one_of(st.none(), st.integers(0, 3), st.floats(), WORDS, st.booleans())


@given(
    st.lists(st.dictionaries(st.sampled_from(["id", "prompt", "duration", "sku", "destination"]), CELLS), max_size=8)
)
def test_ids_and_destinations_are_unique(cells):
    """Whatever the table, each row is good or bad, and no two good ones have the same id or file."""
    table = rows.read(cells, defaults={"prompt": "p"}, id_column="id", destination="/v/{id}.mp4")
    places = [(row.destination or "").casefold() for row in table.rows]

    assert len(cells) == len(table.rows) + len(table.bad)
    assert len(table.rows) == len({row.id for row in table.rows}) == len(set(places))
    assert list(range(1, len(cells) + 1)) == sorted(each.number for each in (*table.rows, *table.bad))


@given(
    st.lists(st.fixed_dictionaries({"prompt": st.sampled_from("pq"), "sku": st.integers(0, 2)}), max_size=8),
    st.randoms(),
)
def test_the_order_of_rows_changes_no_made_id(cells, random):
    """The ids that a table makes are the same in any order."""
    shuffled = random.sample(cells, len(cells))

    def ids(table):
        return sorted((row.id, json.dumps([row.arguments, row.carried])) for row in table.rows)

    assert ids(read(*cells)) == ids(read(*shuffled))
