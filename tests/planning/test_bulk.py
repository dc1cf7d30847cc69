"""What a table of requests costs at most, from its rows or its file; and functions that decide it later."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

HEAD = """
from pathlib import Path
from airflow.sdk import DAG, Param, task
from airflow_provider_grokvideo.operators.grokvideo import *
with DAG("tables", schedule=None, params={"seconds": 3}) as dag:
"""

ROWS = [
    {"id": "a", "prompt": "A ball", "duration": 2},
    {"id": "b", "prompt": "A kite", "duration": "3", "resolution": "720p"},
    {"id": "c", "prompt": "A cup"},
]


@pytest.fixture
def planned_task(planned, tmp_path: Path) -> Callable[..., Mapping[str, Any]]:
    """Return how to plan one task, given as Python; returns its line."""

    def run(*lines: str, **words: str) -> Mapping[str, Any]:
        arguments = ", ".join(
            f"{name}={value}" for name, value in {"task_id": "'make'", "destination": "'out'", **words}.items()
        )
        body = lines or (f"GrokVideoBulkOperator({arguments})",)
        file = tmp_path / "dag.py"
        file.write_text(HEAD + "".join(f"    {line}\n" for line in body))
        (line,) = [each for each in planned(file)["tables"]["tasks"] if each["task_id"] == "make"]
        return line

    return run


def written(tmp_path: Path, kind: str) -> Path:
    """Write the rows as a file."""
    path = tmp_path / f"rows.{kind}"
    if kind == "parquet":
        pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        rows = [{"id": row["id"], "prompt": row["prompt"], "duration": row.get("duration") and int(row["duration"]),
                 "resolution": row.get("resolution")} for row in ROWS]  # fmt: skip
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif kind == "csv":
        path.write_text("id;prompt;duration;resolution\na;A ball;2;\nb;A kite;3.0;720p\nc;A cup;;\n")
    else:
        path.write_text("".join(f"{json.dumps(row)}\n" for row in ROWS))
    return path


@pytest.mark.parametrize("kind", ["list", "csv", "jsonl", "parquet"])
def test_a_table_costs_the_sum_of_its_rows(planned_task, tmp_path, kind):
    """A literal list and a local file are shown with the number of their rows and the sum of their estimates."""
    rows = repr(ROWS) if kind == "list" else repr(str(written(tmp_path, kind)))
    line = planned_task(rows=rows, defaults="{'duration': 4}")

    # 2 s and 4 s of 480p at 0.05, 3 s of 720p at 0.07.
    assert Decimal("0.51") == Decimal(line["usd"])
    assert (["3 rows"], 1, "text-to-video", True) == (
        line["priced_for"],
        line["count"],
        line["mode"],
        line["complete"],
    )
    assert [] == line["notes"]


@pytest.mark.parametrize("words", [{"rows": "Path(__file__).with_name('rows.csv')"}, {"rows": "'{{ params.file }}'"}])
def test_the_path_may_be_an_object_or_a_param(planned_task, tmp_path, words):
    """A path of the file system and a template of params' defaults are known before the run."""
    path = written(tmp_path, "csv")
    dag = f"dag.params.update({{'file': {str(path)!r}}})"
    line = planned_task(dag, f"GrokVideoBulkOperator(task_id='make', destination='out', rows={words['rows']})")

    # 2 s and the service's 8 s of 480p, 3 s of 720p.
    assert Decimal("0.71") == Decimal(line["usd"])


@pytest.mark.parametrize(
    "words",
    [
        pytest.param({"rows": "'s3://bucket/rows.csv'"}, id="object storage"),
        pytest.param({"rows": "'/nowhere/rows.csv'"}, id="missing file"),
        pytest.param({"rows": "'{{ ds }}.csv'"}, id="template"),
        pytest.param({"rows_sql": "'SELECT 1'", "sql_conn_id": "'db'"}, id="query"),
        pytest.param({"rows": repr(ROWS), "defaults": "'{{ ds }}'"}, id="defaults"),
    ],
)
def test_rows_that_are_not_there_yet_are_unknown(planned_task, words):
    """Rows that only the run can read have no price, and the line says so."""
    line = planned_task(**words)

    assert (None, False) == (line["usd"], line["complete"])
    assert "unknown until the run" in line["notes"][0]


def test_rows_of_another_task_are_unknown(planned_task):
    """An XCom has no price before the run."""
    line = planned_task(
        "@task", "def rows(): return []", "GrokVideoBulkOperator(task_id='make', destination='out', rows=rows())"
    )

    assert line["usd"] is None


def test_unknown_rows_cost_at_most_the_limit(planned_task):
    """max_cost_usd of a table is its bound where its rows are unknown; with on_limit="ask" there is none."""
    bound = planned_task(rows="'{{ ds }}.csv'", max_cost_usd="3")
    asked = planned_task(rows="'{{ ds }}.csv'", max_cost_usd="3", on_limit="'ask'")

    assert "3" == bound["usd"]
    assert asked["usd"] is None


def test_a_table_above_its_limit_is_refused(planned_task):
    """max_cost_usd is for the whole table: a sum above it buys nothing."""
    line = planned_task(rows=repr(ROWS), max_cost_usd="0.5")

    assert "0" == line["usd"]
    assert "max_cost_usd=0.5" in line["notes"][-1]


def test_bad_rows_are_listed_and_counted(planned_task):
    """The first five bad rows are listed by number and column, and the others counted; the good ones have a price."""
    bad = [{"id": f"x{number}", "prompt": "A ball", "duration": 99} for number in range(6)]
    line = planned_task(rows=repr([ROWS[0], {"id": "e", "prompt": ""}, *bad]))

    assert Decimal("0.10") == Decimal(line["usd"])
    assert ["1 of 8 rows"] == line["priced_for"]
    assert line["notes"][0].startswith("7 bad rows: nothing is bought")
    assert line["notes"][1].startswith('row 2 (id "e"), column prompt: ')
    assert line["notes"][2].startswith('row 3 (id "x0"), column duration: ')
    assert (7, "and 2 more") == (len(line["notes"]), line["notes"][-1])


def test_bad_rows_may_be_left_out(planned_task):
    """With on_bad_rows="skip" the others are bought."""
    line = planned_task(rows=repr([*ROWS, "no row"]), on_bad_rows="'skip'")

    assert line["notes"][0] == "1 bad row, left out"


def test_a_wrong_table_is_refused(planned_task):
    """A misspelt column and a destination of one file buy nothing."""
    misspelt = planned_task(rows=repr([{"promt": "A ball"}]))
    one_file = planned_task(rows=repr(ROWS), destination="'clips/a.mp4'")

    assert ["0", "0"] == [misspelt["usd"], one_file["usd"]]
    assert "promt" in misspelt["notes"][0]
    assert "destination" in one_file["notes"][0]


@pytest.mark.parametrize(
    ("words", "field"),
    [
        pytest.param({"max_in_flight": "0"}, "max_in_flight", id="flight"),
        pytest.param({"min_success_ratio": "'{{ 2 }}'"}, "min_success_ratio", id="rendered ratio"),
        pytest.param({"on_bad_rows": "'drop'"}, "on_bad_rows", id="choice"),
        pytest.param({"timeout": "-1"}, "timeout", id="timeout"),
        pytest.param({"destination": "None"}, "destination", id="no destination"),
        pytest.param({"rows_sql": "'SELECT 1'", "sql_conn_id": "'db'"}, "rows_sql", id="two sources"),
        pytest.param({"rows": "None", "rows_sql": "'SELECT 1'"}, "sql_conn_id", id="no connection"),
    ],
)
def test_what_the_task_would_refuse_is_refused(planned_task, words, field):
    """Options that the task refuses buy nothing, and the line names the argument."""
    line = planned_task(**{"rows": repr(ROWS), **words})

    assert "0" == line["usd"]
    assert line["notes"][0].startswith("refused before the submit: ")
    assert field in line["notes"][0]


def test_options_of_templates_are_not_refused(planned_task):
    """What only the run knows is checked by the run."""
    late = "'{{ ds }}'"
    line = planned_task(rows=repr(ROWS), max_in_flight=late, min_success_ratio=late, table=late, destination=late)

    assert Decimal("0.71") == Decimal(line["usd"])


def test_a_file_that_cannot_be_read_is_refused(planned_task, tmp_path):
    """A damaged file and a file of another kind are there, so the run could not read them either."""
    damaged, other = tmp_path / "rows.jsonl", tmp_path / "rows.xlsx"
    damaged.write_text("{")
    other.write_text("x")
    lines = [planned_task(rows=repr(str(path))) for path in (damaged, other)]

    assert ["0", "0"] == [line["usd"] for line in lines]
    assert all("the table cannot be read: " in line["notes"][0] for line in lines)


def test_one_row_is_counted_in_the_singular(planned_task):
    """A table of one row has 1 row."""
    assert ["1 row"] == planned_task(rows=repr(ROWS[:1]))["priced_for"]


def test_an_empty_table_costs_nothing(planned_task):
    """No rows, no price."""
    line = planned_task(rows="[]")

    assert ("0", ["0 rows"]) == (line["usd"], line["priced_for"])


def test_unknown_cells_are_the_worst_case(planned_task):
    """A cell that is only known at run time is priced at its maximum, and so is a clip of unknown length."""
    rows = [
        {"id": "{{ ds }}", "prompt": "{{ ds }}", "duration": "{{ ds }}"},
        {"id": "b", "prompt": "Snow", "mode": "edit", "video": "clip.mp4"},
        {"id": "c", "prompt": "A ball", "duration": "{{ params.seconds }}"},
    ]
    line = planned_task(rows=repr(rows))

    # 15 s of 480p, an edit of 8.7 s of 720p, 3 s of 480p.
    assert Decimal("0.75") + Decimal("0.696") + Decimal("0.15") == Decimal(line["usd"])
    assert ["(1 row)"] * 2 == [note[-7:] for note in line["notes"]]


def test_a_model_without_a_price_is_unknown(planned_task):
    """One row without a price leaves the sum unknown."""
    line = planned_task(rows=repr([*ROWS, {"id": "d", "prompt": "A ball", "model": "grok-imagine-next"}]))

    assert line["usd"] is None
    assert "grok-imagine-next" in line["notes"][0]


def test_purchases_that_may_be_repeated_count(planned_task):
    """resubmit_on with retries buys each row that often."""
    line = planned_task(rows=repr(ROWS[:1]), retries="2", resubmit_on="['failed']")

    assert (3, Decimal("0.30")) == (line["purchases_each"], Decimal(line["usd"]))


def test_mapped_tables_add_up(planned_task):
    """A bulk task that is mapped over two files has the price of both."""
    one, two = repr(ROWS[:1]), repr([ROWS[1]])
    body = f"GrokVideoBulkOperator.partial(task_id='make', destination='out').expand(rows=[{one}, {one}])"

    assert Decimal("0.20") == Decimal(planned_task(body)["usd"])
    assert "0.21" == planned_task(f"GrokVideoBulkOperator(task_id='make', destination='out', rows={two})")["usd"]


@pytest.mark.parametrize("call", ["make()", "make.expand(x=[1, 2])"], ids=["plain", "mapped"])
def test_a_decorated_function_is_unknown(planned_task, call):
    """What a function decides has no price before the run, unless the task has a limit."""
    function = "def make(x=0): return 'A ball'"
    free = planned_task("@task.grokvideo", function, call)
    bound = planned_task("@task.grokvideo(max_cost_usd=2)", function, call)

    count = 1 if call == "make()" else 2
    assert (None, count) == (free["usd"], free["count"])
    assert "function" in free["notes"][0]
    assert str(2 * count) == bound["usd"]
