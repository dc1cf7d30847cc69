"""The plan command on DAG files."""

from __future__ import annotations

import csv
import io
import json
import os
import socket
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from airflow_provider_grokvideo.core.billing.pricing import DEFAULT_PRICES
from airflow_provider_grokvideo.planning.dags import DagReader
from airflow_provider_grokvideo.planning.loading import load
from airflow_provider_grokvideo.planning.report import ASSUMED

DAGS = Path(__file__).with_name("dags")


@pytest.fixture
def priced(planned):
    """Return the price of each task of a DAG; of a mapped task, one for each of its lines."""

    def run(file, dag_id):
        found: dict[str, list] = {}
        for line in planned(file, "--dag-id", dag_id)[dag_id]["tasks"]:
            found.setdefault(line["task_id"], []).append((line["count"], line["usd"]))
        return found

    return run


def test_a_chain_hands_on_what_it_makes(planned):
    """Params' defaults are rendered, an extension is source and tail, and what gets too long is priced as allowed."""
    nightly = planned("planned_nightly.py", "--month", "2027-01")["nightly"]
    tasks = {line["task_id"]: line for line in nightly["tasks"]}

    assert ["6 s of 720p"] == tasks["make"]["priced_for"]
    assert ["4 s of output", "6 s of input video"] == tasks["go_on"]["priced_for"]
    assert ["8.7 s of output", "8.7 s of input video"] == tasks["in_winter"]["priced_for"]
    assert "8.7 s" in tasks["in_winter"]["notes"][0]
    assert ("1.456", True) == (nightly["run"]["usd"], nightly["run"]["complete"])
    assert (31, "45.136") == (nightly["month"]["runs"], nightly["month"]["usd"])


def test_lists_that_are_known(planned, priced):
    """Each item is priced by its own arguments, and so is what another task makes of it."""
    found = priced("planned_mapped.py", "known_lists")

    assert [(2, "0.3"), (2, "0.42")] == found["clips"]
    assert [(2, "0.36"), (2, "0.48")] == found["edits"]
    assert [(1, "0.1"), (1, "0.33"), (1, "0.3")] == found["rows"]
    assert [(0, "0")] == found["nobody"]
    assert [(1, "0.1"), (1, "0.25")] == found["scene.shot"]
    assert [(1, "0.12"), (1, "0.3")] == found["scene.grade"]
    assert "3.06" == planned("planned_mapped.py")["known_lists"]["run"]["usd"]


def test_a_list_that_is_not_known_makes_no_bound(plan, planned):
    """The number of items stays open, in the run and in the month, and the exit code says so."""
    answer = plan("planned_mapped.py", "--dag-id", "unknown_lists", "--month", "2027-02")
    found = planned("planned_mapped.py", "--dag-id", "unknown_lists", "--month", "2027-02")["unknown_lists"]

    assert 3 == answer.code
    assert "at least 0.10 USD + n1 x 0.77 USD + n2 x 1.40 USD + n3 x 0.10 USD" in answer.out
    assert "n1 items of found, n2 items of free, n3 items of film" in answer.out
    assert {"found": "0.77", "free": "1.4", "film": "0.1"} == found["run"]["per_item"]
    assert ("0.1", False) == (found["run"]["usd"], found["run"]["complete"])
    assert ("2.8", {"found": "21.56", "free": "39.2", "film": "2.8"}, False) == (
        found["month"]["usd"],
        found["month"]["per_item"],
        found["month"]["complete"],
    )


def test_a_list_that_is_not_known_can_be_described(plan, planned):
    """The user says how many items there are and what they set: that is priced, is a bound, and is told as assumed."""
    said = ["--dag-id", "unknown_lists", "--n", "60", "--like", "duration=4", "--like", "image=a.png"]
    found = planned("planned_mapped.py", *said)["unknown_lists"]
    free = next(line for line in found["tasks"] if line["task_id"] == "free")

    assert ("12.12", 60, None, "image-to-video") == tuple(free[name] for name in ("usd", "count", "per_item", "mode"))
    assert found["run"]["complete"]
    assert "60 items (--n)" in plan("planned_mapped.py", *said).out


def test_a_known_list_is_priced_as_it_stands(planned):
    """What the user says of unknown lists changes nothing about lists in the file."""
    wanted = ["--dag-id", "known_lists"]
    as_it_stands = planned("planned_mapped.py", *wanted)

    assert as_it_stands == planned("planned_mapped.py", *wanted, "--n", "60", "--like", "duration=9")


@pytest.mark.parametrize("wrong", [["--n", "0"], ["--n", "many"], ["--like", "duration"], ["--like", "colour=red"]])
def test_a_description_without_sense_is_refused(wrong, plan):
    """It ends with exit code 2 and prices nothing."""
    with pytest.raises(SystemExit) as ended:
        plan("planned_mapped.py", *wrong)

    assert 2 == ended.value.code


@pytest.mark.parametrize(
    ("task_id", "usd"),
    [
        ("by_param", "0.25"),
        ("by_own_param", "0.15"),
        ("by_calculation", "0.5"),
        ("by_choice", "0.2"),
        ("param_without_value", "0.75"),
        ("by_macro", "0.75"),
        ("by_filter", "0.75"),
        ("by_replaced_filter", "0.75"),
        ("by_date", "0.75"),
        ("by_defined", "0.75"),
        ("by_default", "0.75"),
        ("by_chance", "0.75"),
        ("by_variable", "0.75"),
        ("by_function", "0.75"),
        ("by_task", "0.75"),
        ("any_resolution", "0.35"),
        ("any_model", "0.4"),
        ("any_image", "0.252"),
        ("any_references", "0.264"),
        ("some_references", "0.256"),
        ("any_frames", "0.44"),
        ("unlisted", None),
        ("limited", "0.3"),
        ("too_dear", "0"),
        ("asks", "0.75"),
        ("limit_by_task", "0.25"),
        ("wrong", "0"),
        ("short", "0.1"),
        ("shorts", "0.2"),
        ("own", None),
        ("edits_a_file", "0.696"),
        ("extends_a_file", "0.85"),
    ],
)
def test_argument(priced, task_id, usd):
    """An argument counts as its value only where it has the same in every run; else as the worst case."""
    ((_, found),) = priced("planned_templates.py", "templates")[task_id]

    assert usd == found


def test_native_template(priced):
    """A list out of a template is one where the DAG renders to native objects."""
    assert [(1, "0.254")] == priced("planned_templates.py", "native")["listed"]


def test_nothing_of_the_user_is_called():
    """Macros, filters, callables and tasks are left alone."""
    dag = load(str(DAGS / "planned_templates.py"))["templates"]
    lines = DagReader(dag, DEFAULT_PRICES).lines

    assert lines
    assert [] == dag.user_defined_macros["macro"].__globals__["CALLS"]


def test_without_a_journal_every_retry_may_buy():
    """Where no try knows of the ones before it, the retries of a task count."""
    dag = load(str(DAGS / "planned_mapped.py"))["known_lists"]

    def tries(*, remembers):
        lines = DagReader(dag, DEFAULT_PRICES, remembers=remembers).lines
        return [line.worst.tries for line in lines if line.task_id == "rows"]

    assert [1, 1, 3] == tries(remembers=True)
    assert [3, 3, 3] == tries(remembers=False)


def test_no_connection_is_opened(plan, monkeypatch):
    """A plan needs no network."""

    def refuse(*_: object) -> None:
        raise AssertionError("the plan opened a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)

    assert 0 == plan("planned_nightly.py").code


def test_it_runs_where_airflow_has_no_database(tmp_path):
    """Standard output is the plan and nothing else, and no database is made."""
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{tmp_path}/none.db",
    }
    command = [sys.executable, "-m", "airflow_provider_grokvideo", "plan", str(DAGS / "planned_nightly.py")]
    done = subprocess.run(
        [*command, "--format", "json"], env=environment, capture_output=True, text=True, timeout=120, check=False
    )

    assert 0 == done.returncode
    assert "nightly" == json.loads(done.stdout)["dags"][0]["dag_id"]
    assert not (tmp_path / "none.db").exists()


@pytest.mark.parametrize(
    ("file", "options", "code", "told"),
    [
        pytest.param("planned_broken.py", [], 2, "division by zero", id="import error"),
        pytest.param("planned_missing.py", [], 2, "is not a file", id="no file"),
        pytest.param("planned_no_dag.py", [], 1, "has no DAG", id="no DAG"),
        pytest.param("planned_others.py", [], 1, "of this provider", id="no task of ours"),
        pytest.param("planned_nightly.py", ["--dag-id", "daily"], 1, "no DAG daily; it has nightly", id="another DAG"),
        pytest.param("planned_templates.py", ["--dag-id", "templates"], 3, "", id="no price"),
        pytest.param("planned_nightly.py", [], 0, "", id="a bound"),
    ],
)
def test_exit_code(plan, file, options, code, told):
    """The exit code says whether there is a bound; what keeps it from being is told, and nothing else printed."""
    answer = plan(file, *options)

    assert code == answer.code
    assert told in answer.err
    assert (code in (1, 2)) == (not answer.out)


@pytest.mark.parametrize("month", ["2027", "2027-13", "27-01", "next", "0000-01"])
def test_month_that_is_none(plan, month):
    """A month that cannot be read stops the command line."""
    with pytest.raises(SystemExit) as stopped:
        plan("planned_nightly.py", "--month", month)

    assert 2 == stopped.value.code


@pytest.mark.parametrize("file", sorted(path.name for path in DAGS.glob("planned_*.py")))
def test_table_fits(plan, file):
    """No line is wider than 120 columns."""
    assert [] == [line for line in plan(file).out.splitlines() if len(line) > 120]


def test_table_says_what_it_assumes(plan):
    """The date of the prices and every assumption stand below the table."""
    out = plan("planned_nightly.py").out

    assert f"Prices of {DEFAULT_PRICES.as_of}" in out
    assert set(ASSUMED) <= {line.removeprefix("- ") for line in out.splitlines()}


def test_csv_has_a_row_for_each_task_and_total(plan):
    """Rows of tasks add up to the row of the run."""
    rows = list(csv.DictReader(io.StringIO(plan("planned_nightly.py", "--format", "csv", "--month", "2027-02").out)))

    assert ["make", "go_on", "in_winter"] == [row["task_id"] for row in rows if row["what"] == "task"]
    assert Decimal("1.456") == sum(Decimal(row["usd"]) for row in rows if row["what"] == "task")
    assert [("run", "1.456", ""), ("2027-02", "40.768", "28")] == [
        (row["what"], row["usd"], row["count"]) for row in rows if row["what"] != "task"
    ]


def test_configured_prices_count(plan, planned, tmp_path, monkeypatch):
    """The price file of the settings is the one that is planned with, and a broken one stops the command."""
    entry = {"output_second": {"480p": "1", "720p": "2"}}
    path = tmp_path / "prices.json"
    path.write_text(json.dumps({"as_of": "2027-01-01", "models": {"grok-imagine-video": entry}}))
    monkeypatch.setenv("AIRFLOW__GROKVIDEO__PRICES_PATH", str(path))

    assert "12" == planned("planned_nightly.py")["nightly"]["tasks"][0]["usd"]
    path.write_text("{}")
    assert 2 == plan("planned_nightly.py").code


def test_a_review_counts_every_other_take_that_a_person_may_ask_for(planned):
    """The price of the clip that is reviewed, for each take after the first; nothing where there is none to be had."""
    lines = planned("reviewed.py")["reviewed"]["tasks"]
    told = {(line["task_id"], line["usd"]) for line in lines}

    assert {("film", "0.1"), ("several", "0.3"), ("one", "0"), ("unknown", None), ("each", "0.1")} <= told
