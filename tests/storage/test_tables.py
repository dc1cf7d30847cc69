"""Files of tables: what they hold, and which row and column a damaged one is named by."""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
from datetime import date, datetime, timezone
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_grokvideo.core.bulk import rows
from airflow_provider_grokvideo.core.errors import DeliveryFailed, InvalidInput
from airflow_provider_grokvideo.storage import parquet
from airflow_provider_grokvideo.storage.tables import read_cells


@pytest.fixture
def table(tmp_path):
    """Return a function that writes a file and returns its path."""

    def write(content, name="t.csv"):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return str(path)

    return write


@pytest.fixture
def columns(tmp_path):
    """Return a function that writes columns as Parquet and returns the path."""

    def write(**found):
        pq.write_table(pa.table(found), tmp_path / "t.parquet")
        return str(tmp_path / "t.parquet")

    return write


def refusal(path):
    """Return the error of a table that is refused."""
    with pytest.raises(InvalidInput) as caught:
        read_cells(path)
    assert "rows" == caught.value.field
    return str(caught.value)


EXPECTED = [{"id": "a", "prompt": 'a cat; a\nfox, "an" owl | é', "note": ""}]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_csv_is_read_as_spreadsheets_write_it(table, delimiter, newline, mark):
    """Delimiters, byte order marks, quotes and line breaks in cells are read."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter, lineterminator=newline)
    writer.writerows([["id", "prompt", "note"], EXPECTED[0].values()])

    assert EXPECTED == read_cells(table(mark + text.getvalue()))


def test_delimiters_in_quotes_of_the_header_do_not_count(table):
    """A column may be called "a,b"."""

    assert [{"a,b,c": "1", "d": "2"}] == read_cells(table('"a,b,c";d\n1;2\n'))


def test_blanks_around_names_of_columns_do_not_count(table):
    """``id, prompt`` has a column prompt; cells keep their blanks, and blank lines are no rows."""

    assert [{"id": "a", "prompt": " x"}] == read_cells(table("id, prompt\n\na, x\n\n"))


@pytest.mark.parametrize("content", ["", "id,prompt\n", "id,prompt", "\ufeffid,prompt\r\n", "\n\n"])
def test_a_csv_without_rows_is_an_empty_table(table, content):
    """Nothing but a header is no error."""

    assert [] == read_cells(table(content))


def test_a_cell_may_be_long(table):
    """A data: URI is longer than Python's own limit for a cell, which is as before afterwards."""
    before = csv.field_size_limit()

    assert [{"id": "a", "image": "x" * 300_000}] == read_cells(table(f"id,image\na,{'x' * 300_000}\n"))
    assert before == csv.field_size_limit()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"id,prompt\na,x\nb,caf\xe9\n", "row 2 has the byte 0xe9"),
        (b'id,prompt\na,"x\ny\ncaf\xe9"\n', "row 1 has the byte 0xe9"),
        (b"id,pr\xe9\n", "the header has the byte 0xe9"),
        ("id,prompt\na,x\n".encode("utf-16"), "the header has the byte 0xff"),
        (b"id,prompt\na,x\nb,\0\n", "row 2 has a NUL byte"),
        (b"id,prompt\na,x\nb\n", "2 cells in each row, as in the header, but row 2 has 1"),
        (b"id,prompt\na,x,y\n", "but row 1 has 3"),
        (b"id,prompt\na,x\nb,y\nc;z\n", "but row 3 has 1"),
        (b"id,prompt,id\na,x,b\n", "two columns 'id'"),
        (b"id,,prompt\na,x,y\n", "column 2 has none"),
        (b'id,prompt\na,"x\n', "row 1 is not: unexpected end of data"),
        (b'id,prompt\na,x\nb,"x"y\n', "row 2 is not"),
        (b"id,prompt\ra,x\rb,y\r", "valid CSV"),
    ],
)
def test_a_damaged_csv_names_the_row(table, content, says):
    """The row is counted from 1, without the header."""

    assert says in refusal(table(content))


@pytest.mark.parametrize("name", ["t.jsonl", "t.NDJSON"])
def test_json_lines_are_read(table, name):
    """Blank lines are left out, and NaN is not given."""
    one, other = read_cells(table('\ufeff{"id": "a", "n": 1, "x": NaN}\n\n  \n{"id": "é", "l": ["a"]}', name))

    assert math.isnan(one.pop("x"))
    assert ({"id": "a", "n": 1}, {"id": "é", "l": ["a"]}) == (one, other)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('{"id": "a"}\n{"id": \n', "row 2 is none"),
        ('{"id": "a"}\n\n["a"]\n', "row 2 is ['a']"),
        ('[{"id": "a"}]', "row 1 is [{'id': 'a'}]"),
        (b'{"id": "caf\xe9"}', "row 1 has the byte 0xe9"),
        ("[" * 100_000, "row 1 is none"),
        ('{"id": ' + "9" * 5000 + "}", "row 1 is none"),
    ],
    ids=["cut", "list", "one list", "latin-1", "deep", "long number"],
)
def test_damaged_json_lines_name_the_row(table, content, says):
    """Blank lines do not count."""

    assert says in refusal(table(content, "t.jsonl"))


@pytest.mark.parametrize(
    ("name", "content"), [("t.csv.gz", b"id\na\n"), ("t.tsv.GZ", b"id\na\n"), ("t.jsonl.gz", b'{"id": "a"}\n')]
)
def test_packed_tables_are_read(table, name, content):
    """Text may be compressed."""

    assert [{"id": "a"}] == read_cells(table(gzip.compress(content), name))


@pytest.mark.parametrize(
    "content",
    [b"id\na\n", gzip.compress(b"id\na\n" * 100)[:-9], gzip.compress(b"id\n") + b"x", b"\x1f\x8b\x08" + b"\0" * 40],
    ids=["plain", "cut", "more", "damaged"],
)
def test_a_damaged_gzip_is_one_error(table, content):
    """Whatever is wrong with it, it is no complete gzip file."""

    assert "a complete gzip file" in refusal(table(content, "t.csv.gz"))


def test_a_packed_table_is_read_up_to_its_limit(table, monkeypatch):
    """What a small file unpacks to is bounded, also in one line."""
    monkeypatch.setattr(parquet, "LARGEST_TABLE", 1000)
    monkeypatch.setattr("airflow_provider_grokvideo.storage.tables.LARGEST_TABLE", 1000)

    assert "at most" in refusal(table(gzip.compress(b"id\n" + b"a\n" * 600), "t.csv.gz"))
    assert "at most" in refusal(table(gzip.compress(b"id\n" + b"a" * 2000), "t.csv.gz"))


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl"])
def test_too_many_rows_stop_the_reading(table, name, monkeypatch):
    """The error is that of too many rows in a list."""
    monkeypatch.setattr(rows, "MOST_ROWS", 3)
    content = "id\n" + "a\n" * 5 if name == "t.csv" else "{}\n" * 5
    with pytest.raises(InvalidInput) as caught:
        read_cells(table(content, name))

    assert ("rows", 4) == (caught.value.field, caught.value.value)


def test_too_many_rows_of_parquet_are_not_read(columns, monkeypatch):
    """The file says how many it has."""
    monkeypatch.setattr(rows, "MOST_ROWS", 3)
    with pytest.raises(InvalidInput) as caught:
        read_cells(columns(id=["a"] * 5))

    assert ("rows", 5) == (caught.value.field, caught.value.value)


def test_parquet_becomes_plain_values(columns):
    """Times, decimals and dictionaries are Python's own; nanoseconds are cut."""
    moment = datetime(2026, 1, 2, 3, 4, 5, 678901, timezone.utc)
    path = columns(
        id=pa.array(["a"]).dictionary_encode(),
        at=pa.array([int(moment.timestamp()) * 10**9 + 678901999], pa.timestamp("ns", "UTC")),
        usd=pa.array([Decimal("1.50")]),
        day=pa.array([date(2026, 1, 2)]),
        reference_images=pa.array([["a.png"]]),
        duration=pa.array([8.0]),
        half=pa.array([1.5], pa.float16()),
        nothing=pa.array([None], pa.null()),
    )
    expected = {
        "id": "a",
        "at": moment,
        "usd": Decimal("1.50"),
        "day": date(2026, 1, 2),
        "reference_images": ["a.png"],
        "duration": 8.0,
        "half": 1.5,
        "nothing": None,
    }

    assert [expected] == read_cells(path)


@pytest.mark.parametrize(
    "column",
    [
        pa.array([{"a": 1}]),
        pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())),
        pa.array([[1]]),
        pa.array([[["a"]]]),
    ],
    ids=["struct", "map", "numbers", "lists"],
)
def test_nested_columns_are_named(columns, column):
    """Only lists of text are read."""

    assert "column 'sku'" in refusal(columns(id=["a"], sku=column))


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + b"\0" * 50 + b"PAR1", b"id,prompt\n"], ids=range(4))
def test_a_damaged_parquet_is_one_error(table, content):
    """Whatever pyarrow raises is an input error."""

    assert "a Parquet file that pyarrow can read" in refusal(table(content, "t.parquet"))


def test_equal_names_in_parquet_are_named(tmp_path):
    """Parquet allows two columns of one name."""
    pq.write_table(pa.Table.from_arrays([pa.array([1]), pa.array([2])], ["id", "id"]), tmp_path / "t.parquet")

    assert "two columns 'id'" in refusal(tmp_path / "t.parquet")


@pytest.mark.parametrize("name", ["t.txt", "t.json", "t.xlsx", "t.parquet.gz", "t.gz", "csv", ""])
def test_other_files_are_no_tables(table, name):
    """The suffix says what a file is."""

    assert "a file ending in .csv" in refusal(f"/data/{name}")


def test_a_place_that_cannot_be_read_is_named(tmp_path):
    """A missing file and a directory are input errors."""
    (tmp_path / "d.csv").mkdir()

    assert "an existing file" in refusal(tmp_path / "no.csv")
    assert "a file, and no directory" in refusal(tmp_path / "d.csv")
    assert "install apache-airflow-providers-google" in refusal("gs://bucket/a.csv")


def test_no_credentials_are_told():
    """Neither user nor signature of a URL is in the message."""

    assert "geheim" not in refusal("nope://geheim@bucket/a.csv?X-Amz-Signature=geheim&x=.csv")


def test_objects_are_read(s3):
    """Tables in object stores are read, and missing ones are named."""
    s3.fs.pipe_file("bucket/in/t.csv.gz", gzip.compress(b"id\na\n"))
    pq.write_table(pa.table({"id": ["a"]}), "bucket/in/t.parquet", filesystem=s3.fs)

    assert [{"id": "a"}] == read_cells(f"{s3.url}/in/t.csv.gz") == read_cells(f"{s3.url}/in/t.parquet")
    assert "an existing file" in refusal(f"{s3.url}/in/no.csv")


def test_storage_that_does_not_answer_may_answer_later(dead_s3):
    """An unreachable storage is no input error, and nothing was bought."""
    with pytest.raises(DeliveryFailed, match="Nothing was sent or billed"):
        read_cells(f"{dead_s3}/a.csv")


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), max_size=6)
TABLES = st.lists(st.fixed_dictionaries({"id": TEXTS, "prompt": TEXTS, "note": TEXTS}), min_size=1, max_size=5)


@settings(
    max_examples=60,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(TABLES, st.sampled_from(",;\t|"))
def test_a_table_is_the_same_in_every_format(table, tmp_path, cells, delimiter):
    """The same rows come out of CSV, JSONL and Parquet."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, ["id", "prompt", "note"], delimiter=delimiter, quoting=csv.QUOTE_ALL)
    writer.writeheader()
    writer.writerows(cells)
    pq.write_table(pa.Table.from_pylist(cells), tmp_path / "t.parquet")

    assert cells == read_cells(table(text.getvalue()))
    assert cells == read_cells(table("\n".join(map(json.dumps, cells)), "t.jsonl"))
    assert cells == read_cells(tmp_path / "t.parquet")
