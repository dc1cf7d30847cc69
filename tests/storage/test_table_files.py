"""Result tables: types, whole files, pages, and the way back as a table of requests."""

from __future__ import annotations

import json
from datetime import date, datetime, timezone
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_provider_grokvideo.core.bulk import rows
from airflow_provider_grokvideo.core.bulk.lines import COLUMNS
from airflow_provider_grokvideo.core.errors import DeliveryFailed, InvalidInput
from airflow_provider_grokvideo.storage.table_files import check_table, read_lines, write_table
from airflow_provider_grokvideo.storage.tables import read_cells

SUBMITTED = datetime(2026, 1, 2, 3, 4, 5, 250000, timezone.utc)
NAIVE = SUBMITTED.replace(tzinfo=None)

LINE = {
    "id": "a",
    "status": "delivered",
    "uri": "s3://b/a.mp4",
    "sha256": "0" * 64,
    "bytes": 123456,
    "duration": 8.04,
    "width": 848,
    "height": 480,
    "has_audio": True,
    "mode": "generate",
    "model": "grok-imagine-video",
    "prompt": 'a "cat"\né \u2028',
    "prompt_sha256": "1" * 64,
    "request_id": "r",
    "estimated_cost_usd": Decimal("0.4"),
    "cost_usd": Decimal("0.1234567891"),
    "attempts": 1,
    "submitted_at": SUBMITTED.timestamp(),
    "finished_at": None,
    "error": None,
    "advice": None,
    "sku": 7,
}
PLAIN = {
    **LINE,
    "estimated_cost_usd": "0.4",
    "cost_usd": "0.1234567891",
    "submitted_at": "2026-01-02T03:04:05.250000Z",
}
EMPTY = dict.fromkeys(LINE)

FORMATS = pytest.mark.parametrize("name", ["t.jsonl", "t.parquet"])


def lines(number, **facts):
    """Return as many lines."""
    return [{**LINE, "id": str(at), **facts} for at in range(number)]


@FORMATS
def test_a_line_comes_back_as_plain_json(tmp_path, name):
    """Decimals and timestamps are text, exactly; missing cells are empty."""
    write_table(tmp_path / name, [LINE, {"id": "b", "status": "not_sent"}], ["sku"])
    found = read_lines(tmp_path / name)

    assert ([PLAIN, {**EMPTY, "id": "b", "status": "not_sent"}], 2) == found
    assert [*COLUMNS, "sku"] == list(json.loads(json.dumps(found[0][0])))


def test_parquet_has_types(tmp_path):
    """pyarrow reads times, decimals, numbers and flags as what they are."""
    write_table(tmp_path / "t.parquet", [LINE], ["sku"])
    schema = pq.read_schema(tmp_path / "t.parquet")
    types = {
        "text": pa.string(),
        "integer": pa.int64(),
        "number": pa.float64(),
        "boolean": pa.bool_(),
        "decimal": pa.decimal128(18, 10),
        "timestamp": pa.timestamp("us", tz="UTC"),
    }
    (line,) = pq.read_table(tmp_path / "t.parquet").to_pylist()

    assert [(name, types[kind]) for name, kind in COLUMNS.items()] + [("sku", pa.int64())] == list(
        zip(schema.names, schema.types, strict=True)
    )
    assert {**LINE, "submitted_at": SUBMITTED} == line


def test_json_lines_have_numbers(tmp_path):
    """Decimals are numbers with their exact digits, times ISO 8601 in UTC."""
    write_table(tmp_path / "t.jsonl", [LINE], ["sku"])
    (line,) = (tmp_path / "t.jsonl").read_text(encoding="utf-8").split("\n")[:-1]

    assert '"cost_usd": 0.1234567891, ' in line
    assert {**LINE, "estimated_cost_usd": 0.4, "cost_usd": 0.1234567891, "submitted_at": PLAIN["submitted_at"]} == (
        json.loads(line)
    )


@FORMATS
def test_no_lines_are_a_table(tmp_path, name):
    """A table without lines is whole; Parquet has all its columns."""
    write_table(tmp_path / name, [], ["sku"])

    assert ([], 0) == read_lines(tmp_path / name)
    if name == "t.parquet":
        assert [*COLUMNS, "sku"] == pq.read_schema(tmp_path / name).names


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["a", None], pa.string()),
        ([1, None], pa.int64()),
        ([1, 2.5], pa.float64()),
        ([True, False], pa.bool_()),
        ([date(2026, 1, 2), None], pa.date32()),
        ([datetime(2026, 1, 2, tzinfo=timezone.utc), None], pa.timestamp("us", tz="UTC")),
        ([Decimal("1.5"), Decimal("22.25")], pa.decimal128(4, 2)),
        ([["a"], []], pa.list_(pa.string())),
        ([[], None], pa.list_(pa.string())),
        ([None, None], pa.string()),
        ([1, "a"], pa.string()),
        ([True, 1], pa.string()),
        ([{"a": 1}, None], pa.string()),
        ([[1], [2]], pa.string()),
        ([2**80, 1], pa.string()),
        ([date(2026, 1, 2), NAIVE], pa.string()),
        ([NAIVE, datetime(2026, 1, 2, tzinfo=timezone.utc)], pa.string()),
        ([b"x", object()], pa.string()),
        ([float("nan"), 1.5], pa.float64()),
        (["\ud83d", "a"], pa.string()),
    ],
)
def test_a_free_column_has_the_type_of_its_cells(tmp_path, cells, kind):
    """Mixed and nested cells are JSON text; the cells of a bad row never stop the table."""
    write_table(tmp_path / "t.parquet", [{"id": str(at), "x": cell} for at, cell in enumerate(cells)], ["x"])
    write_table(tmp_path / "t.jsonl", [{"id": str(at), "x": cell} for at, cell in enumerate(cells)], ["x"])

    assert kind == pq.read_schema(tmp_path / "t.parquet").field("x").type
    assert len(cells) == len(read_cells(tmp_path / "t.parquet")) == len(read_cells(tmp_path / "t.jsonl"))


@FORMATS
def test_half_an_emoji_does_not_stop_the_table(tmp_path, name):
    """The prompt of a bad row is written with a question mark."""
    write_table(tmp_path / name, [{**LINE, "prompt": "a\ud83d", "duration": float("nan")}], [])

    assert "a?" == read_lines(tmp_path / name)[0][0]["prompt"]


@FORMATS
def test_pages_and_statuses(tmp_path, name):
    """A page has lines of one status, and the count is that of all pages."""
    write_table(tmp_path / name, [*lines(10), *lines(5, status="failed")], ["sku"])

    def ids(**options):
        found, count = read_lines(tmp_path / name, **options)
        return [line["id"] for line in found], count

    assert (["2", "3"], 15) == ids(offset=2, limit=2)
    assert (["3", "4"], 5) == ids(status="failed", offset=3, limit=9)
    assert ([], 5) == ids(status="failed", offset=7)
    assert ([], 0) == ids(status="expired")
    assert ([], 15) == ids(limit=0)


@FORMATS
def test_a_result_table_is_read_as_requests(tmp_path, name):
    """Failed rows are bought again by the table of an earlier run."""
    write_table(tmp_path / name, [LINE, {**LINE, "id": "b", "status": "failed"}], ["sku"])
    table = rows.read(read_cells(tmp_path / name), defaults=None, id_column="id", destination=None)

    assert ((), ("sku",)) == (table.bad, table.carried)
    assert [("a", {"prompt": LINE["prompt"], "model": LINE["model"]}, {"sku": 7})] == [
        (row.id, row.arguments, row.carried) for row in table.rows[:1]
    ]


@FORMATS
def test_a_table_is_replaced_whole(tmp_path, name):
    """An error while lines are made leaves the earlier table, and nothing beside it."""
    write_table(tmp_path / name, lines(1), [])

    def broken():
        yield LINE
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_table(tmp_path / name, broken(), [])

    assert 1 == read_lines(tmp_path / name)[1]
    assert [tmp_path / name] == list(tmp_path.iterdir())


@FORMATS
def test_object_stores_have_tables(s3, name):
    """A table is one object, rewritten as the run goes on."""
    uri = f"{s3.url}/out/{name}"
    check_table(uri)
    for number in (1, 3):
        write_table(uri, lines(number), ["sku"])

        assert number == read_lines(uri)[1]
    assert [f"out/{name}"] == s3.names()


@FORMATS
def test_other_storage_shows_no_half_table(memory, name):
    """Where files are seen while they grow, the table is moved to its name."""
    uri = f"{memory.url}/out/{name}"
    check_table(uri)
    write_table(uri, lines(2), ["sku"])

    assert (2, [f"out/{name}"]) == (read_lines(uri)[1], memory.names())


def test_a_directory_is_made_and_left_empty(tmp_path):
    """The check makes directories and leaves nothing in them."""
    check_table(tmp_path / "a/b/t.jsonl")

    assert [] == list((tmp_path / "a/b").iterdir())


@pytest.mark.parametrize(
    "uri",
    [
        "",
        None,
        "/v/t.csv",
        "/v/t",
        "/v/t.json",
        "/v/.jsonl",
        "/v/../t.jsonl",
        "https://x.org/t.jsonl",
        "s3:///t.jsonl",
        "s3://t.jsonl",
        "data:t.jsonl",
        "gs://bucket/t.jsonl",
        "/v/" + "x" * 250 + ".jsonl",
        "/v/\n.jsonl",
    ],
)
@pytest.mark.parametrize("call", [check_table, read_lines, lambda uri: write_table(uri, [], [])])
def test_what_is_no_table_is_an_input_error(uri, call):
    """Suffix and place are checked before the purchase, and at each use."""
    with pytest.raises(InvalidInput) as caught:
        call(uri)

    assert "table" == caught.value.field


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a directory that not even root can write to")
def test_an_unwritable_place_is_named():
    """Where nothing can be written is an input error."""
    with pytest.raises(InvalidInput, match="Nothing was sent or billed"):
        check_table("/proc/self/t.jsonl")


def test_a_directory_in_the_way_is_named(tmp_path):
    """A directory cannot be replaced by a table."""
    (tmp_path / "t.jsonl").mkdir()
    with pytest.raises(InvalidInput, match="is not a file"):
        check_table(tmp_path / "t.jsonl")


@pytest.mark.parametrize(
    ("name", "content"),
    [("t.jsonl", b'{"id": '), ("t.jsonl", b"[1]\n"), ("t.jsonl", b"\xff\n"), ("t.parquet", b"PAR1")],
)
def test_a_damaged_table_is_an_input_error(tmp_path, name, content):
    """A file of somebody else is no result table."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidInput):
        read_lines(tmp_path / name, status="failed")


def test_a_missing_table_is_an_input_error(tmp_path):
    """There is nothing to read yet."""
    with pytest.raises(InvalidInput, match="an existing result table"):
        read_lines(tmp_path / "t.jsonl")


def test_storage_that_does_not_answer_may_answer_later(dead_s3):
    """An unreachable storage is no input error."""
    for call in (check_table, read_lines, lambda uri: write_table(uri, [], [])):
        with pytest.raises(DeliveryFailed):
            call(f"{dead_s3}/t.jsonl")


@pytest.mark.parametrize("call", [check_table, lambda uri: write_table(uri, [LINE], []), read_lines, read_cells])
def test_without_pyarrow_the_extra_is_named(tmp_path, monkeypatch, call):
    """Parquet needs the extra, and the message says how to install it."""
    (tmp_path / "t.parquet").write_bytes(b"PAR1")
    for name in ("pyarrow", "pyarrow.parquet"):
        monkeypatch.setitem(__import__("sys").modules, name, None)
    with pytest.raises(InvalidInput, match=r"airflow-provider-grokvideo\[table\]"):
        call(str(tmp_path / "t.parquet"))


def test_json_lines_need_no_pyarrow(tmp_path, monkeypatch):
    """Only Parquet does."""
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    check_table(tmp_path / "t.jsonl")
    write_table(tmp_path / "t.jsonl", [LINE], ["sku"])

    assert ([PLAIN], 1) == read_lines(tmp_path / "t.jsonl")
