"""What was spent, as somebody at a shell asks for it."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pendulum
import pytest

from airflow_provider_grokvideo.__main__ import main
from airflow_provider_grokvideo.core.billing.entries import Entry
from airflow_provider_grokvideo.core.purchases.records import Owner
from airflow_provider_grokvideo.ledger.sql import open_sqlite

CENT = 10**8
TICK = 1


def at(text: str, zone: str = "Europe/Berlin") -> float:
    """Return a moment."""
    return pendulum.parse(text, tz=zone).timestamp()


def bought(token: str, when: str, **facts) -> Entry:
    """Return a purchase of 5 cents that was settled as it was estimated."""
    owner = Owner(facts.pop("dag_id", "films"), "r1", facts.pop("task_id", "make"), facts.pop("map_index", -1))
    known = {
        "estimated": 5 * CENT,
        "billed": 5 * CENT,
        "state": "settled",
        "outcome": "done",
        "request_id": f"r-{token}",
    }
    return Entry(
        token,
        at(when),
        facts.pop("conn_id", "grokvideo_default"),
        owner,
        **{**known, "request_id": f"r-{token}", **facts},
    )


ENTRIES = [
    bought("a", "2026-10-24T23:59:59", model="classic"),
    bought("b", "2026-10-25T00:00:00", model="classic"),
    # The clocks go back in this night, so that the day has 25 hours.
    bought("c", "2026-10-25T23:59:59", model="new", billed=7 * CENT + TICK, map_index=3),
    bought("d", "2026-10-26T00:00:00", dag_id="ads", conn_id="ads", model="new", outcome="moderated"),
    bought("e", "2026-10-26T10:00:00", dag_id="ads", conn_id="ads", outcome="failed", billed=None),
    bought("f", "2026-10-26T11:00:00", dag_id="ads", outcome="expired", billed=None),
    bought(
        "g", "2026-10-26T12:00:00", dag_id="ads", state="reserved", outcome="unconfirmed", billed=None, request_id=None
    ),
    bought("h", "2026-10-26T13:00:00", dag_id="ads", state="reserved", outcome=None, billed=None),
    bought("i", "2026-10-26T14:00:00", dag_id="ads", state="released", outcome=None, billed=None),
]


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Return the file of a ledger with some purchases."""
    ledger = open_sqlite(str(tmp_path / "ledger.db"))
    for entry in ENTRIES:
        ledger.reserve(entry, [])
    return ledger.told


def report(path: str, *words: str) -> list[str]:
    """Return the words of the command."""
    period = ["--since", "2026-10-24", "--until", "2026-10-31", "--timezone", "Europe/Berlin"]
    return ["spend", "--ledger-path", path, *period, *words]


def test_days_end_at_midnight_of_the_time_zone(path, capsys):
    """The last second of a day is in it and the next is not, also on a day of 25 hours."""
    code = main(report(path, "--format", "json"))
    found = json.loads(capsys.readouterr().out)

    assert 0 == code
    assert [("2026-10-24", 1), ("2026-10-25", 2), ("2026-10-26", 5)] == [
        (group["day"], group["purchases"]) for group in found["groups"]
    ]


def test_a_period_has_its_first_and_its_last_day(path, capsys):
    """Both days count whole."""
    main([*report(path, "--format", "json"), "--since", "2026-10-25", "--until", "2026-10-25"])

    assert 2 == json.loads(capsys.readouterr().out)["total"]["purchases"]


def test_the_total_tells_bills_from_what_is_only_possible(path, capsys):
    """Bills to the tick, what may have been spent beside them, and how it ended; released starts are no purchases."""
    main(report(path, "--format", "json"))
    total = json.loads(capsys.readouterr().out)["total"]

    assert {
        "purchases": 8,
        "billed_usd": "0.2200000001",
        "possible_usd": "0.15",
        "estimated_usd": "0.40",
        "moderated": 1,
        "failed": 2,
        "open": 2,
    } == total


@pytest.mark.parametrize(
    "by", [["day"], ["dag", "outcome"], ["model"], ["connection"], ["mode"], ["task"], ["month", "run"]], ids=str
)
def test_every_grouping_sums_to_the_total(path, capsys, by):
    """CSV and JSON say the same, and no purchase is lost or counted twice."""
    main(report(path, "--format", "json", "--by", *by))
    found = json.loads(capsys.readouterr().out)
    main(report(path, "--format", "csv", "--by", *by))
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))

    assert [{name: str(value) for name, value in group.items()} for group in found["groups"]] == rows
    for name in ("purchases", "billed_usd", "possible_usd", "estimated_usd", "moderated", "failed", "open"):
        assert Decimal(str(found["total"][name])) == sum(Decimal(row[name]) for row in rows)


def test_the_table_is_for_people(path, capsys):
    """Columns stand under their headings, numbers to the right, a total below."""
    main(report(path, "--by", "dag", "outcome"))

    assert [
        "DAG    OUTCOME      PURCHASES      BILLED $  POSSIBLE $  ESTIMATED $  BLOCKED  FAILED  OPEN",
        "ads    expired              1          0.00        0.05         0.05        0       1     0",
        "ads    failed               1          0.00        0.00         0.05        0       1     0",
        "ads    moderated            1          0.05        0.00         0.05        1       0     0",
        "ads    pending              1          0.00        0.05         0.05        0       0     1",
        "ads    unconfirmed          1          0.00        0.05         0.05        0       0     1",
        "films  done                 3  0.1700000001        0.00         0.15        0       0     0",
        "total                       8  0.2200000001        0.15         0.40        1       2     2",
    ] == capsys.readouterr().out.splitlines()


def test_each_purchase_can_be_listed(path, capsys):
    """When, which task, how it ended, which request, for how much."""
    main(report(path, "--entries", "--dag-id", "films"))
    lines = capsys.readouterr().out.splitlines()

    assert 4 == len(lines)
    assert ["2026-10-25", "23:59", "films.make[3]", "new", "done", "r-c", "0.05", "0.0700000001"] == lines[3].split()


def test_only_one_dag_or_connection(path, capsys):
    """Filters narrow the report."""
    main(report(path, "--format", "json", "--dag-id", "ads", "--conn-id", "ads"))

    assert 2 == json.loads(capsys.readouterr().out)["total"]["purchases"]


def test_a_name_cannot_move_the_cursor(tmp_path, capsys):
    """What comes from outside is printed without control characters."""
    ledger = open_sqlite(str(tmp_path / "ledger.db"))
    ledger.reserve(bought("x", "2026-10-26T00:00:00", dag_id="evil\x1b[2Jdag", model="m\n\r", request_id="r\x07"), [])
    main(report(ledger.told, "--by", "dag", "model"))
    main(report(ledger.told, "--entries"))

    assert not set("\x1b\r\x07") & set(capsys.readouterr().out)


def test_budgets_of_the_settings_are_told(tmp_path, capsys, monkeypatch):
    """Today's report says how much of each budget that is one sum is gone."""
    ledger = open_sqlite(str(tmp_path / "ledger.db"))
    now = pendulum.now("UTC").to_iso8601_string()
    ledger.reserve(bought("x", now), [])
    ledger.reserve(bought("y", now, dag_id="ads", state="reserved", billed=None), [])
    declared = [
        {"usd": 20, "per": "day"},
        {"usd": 1, "per": "month", "dag_id": "ads"},
        {"usd": 3, "per": ["dag", "day"]},
    ]
    monkeypatch.setenv("AIRFLOW__GROKVIDEO__BUDGETS", json.dumps(declared))
    main(["spend", "--ledger-path", ledger.told, "--timezone", "UTC"])

    assert [
        "budget: 20 USD per day ([grokvideo] budgets[0]): 0.10 USD spent or reserved",
        "budget: 1 USD per month of ads ([grokvideo] budgets[1]): 0.05 USD spent or reserved",
    ] == [line for line in capsys.readouterr().out.splitlines() if line.startswith("budget")]


def test_nothing_spent_is_said_and_looking_makes_no_ledger(tmp_path, path, capsys, monkeypatch):
    """An empty period has an exit code of its own, a missing ledger a message, and neither leaves a file behind."""
    empty = main([*report(path), "--since", "2020-01-01", "--until", "2020-01-02"])
    missing = main(["spend", "--ledger-path", str(tmp_path / "none.db")])
    monkeypatch.setenv("AIRFLOW__GROKVIDEO__LEDGER_PATH", "none")
    switched_off = main(["spend"])
    said = capsys.readouterr().err

    assert (1, 2, 2) == (empty, missing, switched_off)
    assert str(tmp_path / "none.db") in said
    assert "[grokvideo] ledger_path" in said
    assert not (tmp_path / "none.db").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--since", "yesterday"], "a day such as 2026-11-23"),
        (["--since", "2026-13-01"], "a day such as 2026-11-23"),
        (["--until", "20261101"], "a day such as 2026-11-23"),
        (["--since", "2026-11-02", "--until", "2026-11-01"], "a day not after 2026-11-01"),
        (["--timezone", "Mars/Base"], "the name of a time zone"),
    ],
    ids=str,
)
def test_what_cannot_be_meant_is_an_error(path, capsys, words, said):
    """The message names the word and what is allowed."""
    assert 2 == main([*report(path), *words])
    assert said in capsys.readouterr().err


def test_rows_count_within_their_task_and_are_listed_with_their_id(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """--by task adds the rows up; --entries names each."""
    path = str(tmp_path / "rows.db")
    ledger = open_sqlite(path)
    for item in ("a", "b"):
        entry = bought(item, "2026-10-26T10:00:00")
        ledger.reserve(replace(entry, owner=replace(entry.owner, item=item)), [])
    period = ["--ledger-path", path, "--since", "2026-10-01", "--until", "2026-10-31"]
    main(["spend", *period, "--by", "task", "--format", "json"])
    (group,) = json.loads(capsys.readouterr().out)["groups"]
    main(["spend", *period, "--entries", "--format", "json"])
    listed = json.loads(capsys.readouterr().out)["purchases"]
    main(["spend", *period, "--entries"])

    assert ("films.make", 2, "0.10") == (group["task"], group["purchases"], group["billed_usd"])
    assert ["a", "b"] == [each["item"] for each in listed]
    assert "films.make row 'a'" in capsys.readouterr().out
