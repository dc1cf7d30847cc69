"""A table of videos in one task, from execute to the result table, against the emulator over a real socket."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import httpx
import psutil
import pytest
from airflow.sdk.execution_time.timeout import TimeoutPosix
from airflow_kit import StateStore, TaskInstance
from bulk_kit import FAST, again, by_id, context_of, drive_table, lines_of, rows_of, table_task
from review_kit import PAUSES, TI_ID, Desk, said

from airflow_provider_grokvideo.compat import AirflowFailException, AirflowSkipException, AirflowTaskTimeout
from airflow_provider_grokvideo.core.billing.entries import Entry
from airflow_provider_grokvideo.core.errors import (
    AuthenticationFailed,
    GrokVideoError,
    InvalidInput,
    RateLimited,
    RowsFailed,
    SpendLimitExceeded,
)
from airflow_provider_grokvideo.core.purchases.records import Owner, Record
from airflow_provider_grokvideo.execution.task import items_of
from airflow_provider_grokvideo.ledger.sql import open_sqlite

OWNER = Owner("films", "manual__1", "make")

pytestmark = pytest.mark.usefixtures("grokvideo_connection")


@pytest.fixture(params=["journal_path", "sql"])
def journal(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Give tasks a journal that takes any number of rows, once of each kind."""
    if request.param == "sql":
        monkeypatch.setenv("AIRFLOW__GROKVIDEO__LEDGER_PATH", str(tmp_path / "ledger.db"))
    else:
        monkeypatch.setenv("AIRFLOW__GROKVIDEO__JOURNAL_PATH", str(tmp_path / "journal"))
    return request.param


@pytest.fixture
def sql(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give tasks the SQL journal and a ledger; return its file."""
    monkeypatch.setenv("AIRFLOW__GROKVIDEO__LEDGER_PATH", str(tmp_path / "ledger.db"))
    return tmp_path / "ledger.db"


@pytest.fixture
def journal_and_ledger(journal: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give tasks a ledger beside each kind of journal; return its file."""
    monkeypatch.setenv("AIRFLOW__GROKVIDEO__LEDGER_PATH", str(tmp_path / "ledger.db"))
    return tmp_path / "ledger.db"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "clips"


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Desk:
    """Be the supervisor that a task sends its question to."""
    from airflow.sdk.execution_time import task_runner

    found = Desk()
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", found, raising=False)
    return found


def starts_of(emulator) -> Counter[str]:
    """Return how often each prompt was bought."""
    return Counter(start.prompt.partition(" [[")[0] for start in emulator.starts)


@pytest.mark.parametrize("deferrable", [True, False], ids=["deferrable", "blocking"])
def test_every_row_is_bought_once_and_delivered(journal, grokvideo_emulator, out, deferrable):
    """A table's rows are each bought once and stored, and the result has counts, cost and the table's place only."""
    course = drive_table(table_task(out, rows_of(6), deferrable=deferrable))

    expected = {
        "rows": 6,
        "counts": {"delivered": 6},
        "cost_usd": 0.3,
        "estimated_cost_usd": 0.3,
        "table_uri": f"{out}/make.jsonl",
        "errors": [],
    }
    assert expected == course.result
    assert {f"Clip {number}": 1 for number in range(6)} == starts_of(grokvideo_emulator)
    lines = lines_of(out / "make.jsonl")
    assert [f"a{number}" for number in range(6)] == [line["id"] for line in lines]
    assert {start.request_id for start in grokvideo_emulator.starts} == {line["request_id"] for line in lines}
    assert all((out / f"{line['id']}.mp4").stat().st_size == line["bytes"] for line in lines)
    assert 0 == grokvideo_emulator.leaks


def test_a_line_says_everything_about_its_row(sql, out):
    """The result table has what was asked, measured and paid for a row, and its free columns as they were."""
    drive_table(table_task(out, [{**rows_of(1)[0], "sku": "X-1", "price": 3}]))

    (line,) = lines_of(out / "make.jsonl")
    expected = {
        "id": "a0", "status": "delivered", "mode": "text-to-video", "model": "grok-imagine-video", "duration": 1.0,
        "width": 848, "height": 480, "has_audio": True, "estimated_cost_usd": 0.05, "cost_usd": 0.05, "attempts": 1,
        "error": None, "advice": None, "sku": "X-1", "price": 3,
    }  # fmt: skip
    assert expected == {name: line[name] for name in expected}
    assert line["submitted_at"] < line["finished_at"]
    assert 64 == len(line["sha256"]) == len(line["prompt_sha256"])


def test_the_ledger_has_mode_and_model_of_a_row(sql, out):
    """A row is booked with the mode and model of its request, as a single video is."""
    drive_table(table_task(out, rows_of(2)))

    booked = [(entry.owner.item, entry.mode, entry.model) for entry in open_sqlite(str(sql)).entries()]
    assert [(f"a{number}", "text-to-video", "grok-imagine-video") for number in range(2)] == sorted(booked)


def test_a_leg_leaves_no_connections(sql, grokvideo_emulator, out):
    """However many threads submitted and delivered rows, their connections are closed when the task ends."""
    drive_table(table_task(out, rows_of(10), deferrable=False, max_in_flight=4))

    port = httpx.URL(grokvideo_emulator.base_url).port
    left = [each for each in psutil.Process().net_connections("tcp") if each.raddr and each.raddr.port == port]
    # Those of the waits belong to the operator's own hook; a second one follows a slow answer. Four threads had theirs.
    assert len([each for each in left if each.status == psutil.CONN_ESTABLISHED]) < 4


def test_a_second_try_buys_nothing_again(journal, grokvideo_emulator, out):
    """A retry and a clear of a delivered table cost nothing."""
    make = table_task(out, rows_of(3))
    first = drive_table(make)
    second = drive_table(make, again(first.ti))
    third = drive_table(make, again(second.ti, cleared=True))

    assert first.result == second.result == third.result
    assert 3 == len(grokvideo_emulator.starts)


def test_a_changed_table_buys_only_what_is_new(journal, grokvideo_emulator, out):
    """Rows that were reordered, removed, added or edited between tries buy only the new and the edited ones."""
    rows = rows_of(3)
    first = drive_table(table_task(out, rows))
    changed = [{**rows[2]}, {**rows[0], "prompt": f"Other{FAST}"}, {"id": "b", "prompt": f"New{FAST}", "duration": 1}]
    drive_table(table_task(out, changed), again(first.ti))

    assert {"Clip 0": 1, "Clip 1": 1, "Clip 2": 1, "Other": 1, "New": 1} == starts_of(grokvideo_emulator)
    assert ["a2", "a0", "b"] == [line["id"] for line in lines_of(out / "make.jsonl")]


def test_a_table_without_ids_names_its_rows_by_their_content(sql, grokvideo_emulator, out):
    """Rows without ids are found again by their content, wherever they stand."""
    rows = [{"prompt": f"Clip {number}{FAST}", "duration": 1} for number in range(3)]
    first = drive_table(table_task(out, rows))
    drive_table(table_task(out, rows[::-1]), again(first.ti))

    assert 3 == len(grokvideo_emulator.starts)


def test_all_bad_rows_are_listed_before_anything_is_bought(sql, grokvideo_emulator, out):
    """Every bad row is named with its number and column, nothing is bought, and the table has all rows."""
    rows = rows_of(4)
    rows[1]["duration"] = 99
    rows[3]["prompt"] = ""

    with pytest.raises(InvalidInput) as caught:
        drive_table(table_task(out, rows))

    assert isinstance(caught.value, AirflowFailException)
    assert "row 2" in str(caught.value)
    assert "duration" in str(caught.value)
    assert "row 4" in str(caught.value)
    assert [] == grokvideo_emulator.starts
    expected = {"a0": "not_sent", "a1": "refused", "a2": "not_sent", "a3": "refused"}
    assert expected == by_id(lines_of(out / "make.jsonl"), "status")


def test_bad_rows_can_be_left_out(sql, grokvideo_emulator, out):
    """With on_bad_rows='skip' the good rows are made, and bad ones do not count in the ratio."""
    rows = rows_of(3)
    rows[1]["duration"] = 99
    course = drive_table(table_task(out, rows, on_bad_rows="skip"))

    assert {"delivered": 2, "refused": 1} == course.result["counts"]
    assert 2 == len(grokvideo_emulator.starts)
    assert ["a1"] == [each["id"] for each in course.result["errors"]]


@pytest.mark.parametrize(("ratio", "succeeds"), [(0.9, True), (1.0, False)])
def test_the_ratio_decides_whether_failed_rows_fail_the_task(sql, grokvideo_emulator, out, ratio, succeeds):
    """5 % failing rows succeed at 0.9 and fail at 1.0; either way all that is paid is stored and all rows are told."""
    rows = rows_of(20)
    rows[7]["prompt"] = "Bad [[emulator: tempo=polls:1 fault=failed:internal_error]]"
    make = table_task(out, rows, min_success_ratio=ratio)

    if succeeds:
        assert {"delivered": 19, "failed": 1} == drive_table(make).result["counts"]
    else:
        with pytest.raises(RowsFailed) as caught:
            drive_table(make)
        assert isinstance(caught.value, AirflowFailException)
    statuses = by_id(lines_of(out / "make.jsonl"), "status")
    assert 20 == len(statuses)
    assert "failed" == statuses["a7"]
    assert 19 == len(list(out.glob("*.mp4")))


def test_a_moderated_row_is_told_with_its_bill(sql, out):
    """A row that the content rules block has its cost, its error and what to do in the table."""
    rows = [{"id": "x", "prompt": "Bad [[emulator: tempo=polls:1 fault=moderated:b]]", "duration": 1}, *rows_of(1)]

    with pytest.raises(RowsFailed):
        drive_table(table_task(out, rows))

    line = lines_of(out / "make.jsonl")[0]
    assert "moderated" == line["status"]
    assert line["error"]
    assert "Change the prompt" in line["advice"]


def test_moderated_rows_need_not_count(sql, out):
    """With on_moderated='skip' blocked rows do not fail the task."""
    rows = [{"id": "x", "prompt": "Bad [[emulator: tempo=polls:1 fault=moderated:b]]", "duration": 1}, *rows_of(1)]
    course = drive_table(table_task(out, rows, on_moderated="skip"))

    assert {"delivered": 1, "moderated": 1} == course.result["counts"]


def test_a_failed_row_is_bought_again_only_where_that_is_allowed(journal, grokvideo_emulator, out):
    """A retry reports a failed row without a purchase; with resubmit_on=['failed'] it buys it once more, not twice."""
    rows = rows_of(2)
    rows[0]["prompt"] = "Bad [[emulator: tempo=polls:1 fault=failed:internal_error]]"
    ti = TaskInstance()

    for words in ({}, {}, {"resubmit_on": ["failed"]}):
        with pytest.raises(RowsFailed):
            drive_table(table_task(out, rows, **words), ti)
        ti = again(ti)

    assert {"Bad": 2, "Clip 1": 1} == starts_of(grokvideo_emulator)
    assert 2 == lines_of(out / "make.jsonl")[0]["attempts"]


def test_a_retry_where_resubmit_on_allows_it_is_airflows(sql, out):
    """A failed row that resubmit_on names lets Airflow retry the task; without that it does not."""
    rows = [{"id": "x", "prompt": "Bad [[emulator: tempo=polls:1 fault=failed:internal_error]]", "duration": 1}]

    with pytest.raises(RowsFailed) as caught:
        drive_table(table_task(out, rows, resubmit_on=["failed"]))

    assert not isinstance(caught.value, AirflowFailException)


def test_a_row_that_fails_can_stop_the_rest(sql, grokvideo_emulator, out):
    """With on_row_error='stop' nothing is submitted after the first row that fails, and what is paid is stored."""
    rows = rows_of(10)
    rows[1]["prompt"] = "Bad [[emulator: tempo=polls:1 fault=failed:internal_error]]"

    with pytest.raises(RowsFailed) as caught:
        drive_table(table_task(out, rows, on_row_error="stop", max_in_flight=2))

    assert isinstance(caught.value, AirflowFailException)
    statuses = Counter(by_id(lines_of(out / "make.jsonl"), "status").values())
    assert statuses["not_sent"] >= 5
    assert len(grokvideo_emulator.starts) == statuses["delivered"] + 1


def test_a_refused_row_stops_no_other(sql, grokvideo_emulator, out):
    """A row that the service refuses at once is refused in this try for good, and the others are made."""
    grokvideo_emulator.script("refused:400", on="submit", prompt="Clip 1", times=None)

    with pytest.raises(RowsFailed):
        drive_table(table_task(out, rows_of(3)))

    statuses = by_id(lines_of(out / "make.jsonl"), "status")
    assert {"a0": "delivered", "a2": "delivered"} == {name: statuses[name] for name in ("a0", "a2")}
    assert statuses["a1"] in ("refused", "moderated")


def test_a_lost_answer_stops_its_row_only(journal, grokvideo_emulator, out):
    """An unconfirmed submission stops that row, and no retry submits it again; the others are made."""
    grokvideo_emulator.script("lost_answer", on="submit", prompt="Clip 1")
    make = table_task(out, rows_of(3))

    with pytest.raises(RowsFailed):
        drive_table(make)
    with pytest.raises(RowsFailed):
        drive_table(make, again(TaskInstance()))

    line = lines_of(out / "make.jsonl")[1]
    assert "unconfirmed" == line["status"]
    assert "--item" in line["advice"]
    assert {"Clip 0": 1, "Clip 1": 1, "Clip 2": 1} == starts_of(grokvideo_emulator)


def test_lost_answers_in_a_row_stop_the_table(sql, grokvideo_emulator, out):
    """Where the service stops answering, a table does not go on paying for videos that nobody can find."""
    grokvideo_emulator.script("lost_answer", on="submit", times=None)

    with pytest.raises(RowsFailed) as caught:
        drive_table(table_task(out, rows_of(60), max_in_flight=60))

    assert isinstance(caught.value, AirflowFailException)
    # Three in a row, and those that other threads had begun by then.
    assert 3 <= len(grokvideo_emulator.starts) <= 3 + 8


def test_a_rate_limit_pauses_the_table(sql, grokvideo_emulator, out):
    """A 429 of a submit costs nothing and stops no row for good: the table goes on when it is told to."""
    grokvideo_emulator.script("http:429", on="submit", times=3, retry_after="1")
    course = drive_table(table_task(out, rows_of(12), max_in_flight=3))

    assert {"delivered": 12} == course.result["counts"]
    assert 12 == len(grokvideo_emulator.starts)


def test_an_outage_without_end_fails_the_task_for_a_retry(sql, grokvideo_emulator, out):
    """Where nothing is accepted pause after pause, the task fails with what it met, and Airflow may retry."""
    grokvideo_emulator.script("http:429", on="submit", times=None, retry_after="1")

    with pytest.raises(RateLimited) as caught:
        drive_table(table_task(out, rows_of(3)))

    assert not isinstance(caught.value, AirflowFailException)
    assert [] == grokvideo_emulator.starts


def test_a_refused_key_ends_the_table_and_loses_nothing(journal, grokvideo_emulator, out):
    """A key that is revoked while rows are in flight fails the task; a clear with a good key stores what is paid."""
    grokvideo_emulator.script("revoked", on="poll", times=None)
    make = table_task(out, rows_of(4))

    with pytest.raises(AuthenticationFailed):
        drive_table(make)
    bought = len(grokvideo_emulator.starts)
    grokvideo_emulator.clear_faults()
    course = drive_table(make, again(TaskInstance(), cleared=True))

    assert {"delivered": 4} == course.result["counts"]
    assert 4 == bought == len(grokvideo_emulator.starts)


def test_a_budget_allows_a_table_or_nothing_of_it(sql, grokvideo_emulator, out):
    """A table whose sum a budget does not allow buys no row at all."""
    budget = [{"usd": 0.17, "per": "dag_run"}]

    with pytest.raises(SpendLimitExceeded, match="4 rows"):
        drive_table(table_task(out, rows_of(4), budgets=budget))
    assert [] == grokvideo_emulator.starts

    assert {"delivered": 3} == drive_table(table_task(out, rows_of(3), budgets=budget)).result["counts"]


def test_the_limit_of_the_task_is_for_the_whole_table(sql, grokvideo_emulator, out):
    """max_cost_usd limits the sum of the rows that would be bought."""
    with pytest.raises(SpendLimitExceeded, match="max_cost_usd"):
        drive_table(table_task(out, rows_of(3), max_cost_usd=0.10))

    assert [] == grokvideo_emulator.starts


def test_a_limit_can_skip_the_table(sql, grokvideo_emulator, out):
    """With on_limit='skip' a table that is too expensive is skipped."""
    with pytest.raises(AirflowSkipException):
        drive_table(table_task(out, rows_of(3), max_cost_usd=0.10, on_limit="skip"))

    assert [] == grokvideo_emulator.starts


def test_an_approval_is_for_the_rows_that_were_shown(sql, grokvideo_emulator, out, desk):
    """A table above its limit waits for a response, shows number, sum and a sample, and buys what was approved."""
    ti = TaskInstance()
    ti.id = TI_ID
    make = table_task(out, rows_of(4), max_cost_usd=0.10, on_limit="ask")

    with pytest.raises(PAUSES):
        make().execute(context_of(ti))
    (question,) = desk.questions
    assert "Buy 4 videos for 0.2 USD?" == question["subject"]
    assert "Clip 0" in question["body"]
    assert [] == grokvideo_emulator.starts

    course = drive_table(make, ti, first=lambda task, context: task.execute_after_response(context, said("Buy")))

    assert {"delivered": 4} == course.result["counts"]


def test_an_approval_does_not_hold_for_other_rows(sql, grokvideo_emulator, out, desk):
    """A table that was changed after the question is not bought on the ground of the answer."""
    ti = TaskInstance()
    ti.id = TI_ID
    words = {"max_cost_usd": 0.10, "on_limit": "ask"}
    with pytest.raises(PAUSES):
        table_task(out, rows_of(4), **words)().execute(context_of(ti))

    with pytest.raises(SpendLimitExceeded, match="approved other rows"):
        table_task(out, rows_of(5), **words)().execute_after_response(context_of(ti), said("Buy"))
    assert [] == grokvideo_emulator.starts


def test_a_question_that_is_refused_or_lost_buys_nothing(sql, grokvideo_emulator, out, desk):
    """A refusal skips the task; a wait for the response that was lost fails it for a retry."""
    ti = TaskInstance()
    ti.id = TI_ID
    make = table_task(out, rows_of(4), max_cost_usd=0.10, on_limit="ask")
    with pytest.raises(PAUSES):
        make().execute(context_of(ti))

    with pytest.raises(GrokVideoError, match="the response about the price"):
        make().resume_execution("__fail__", {"error": "Trigger timeout"}, context_of(ti))
    with pytest.raises(AirflowSkipException):
        make().execute_after_response(context_of(ti), said("Do not buy"))
    assert [] == grokvideo_emulator.starts


def test_a_lost_decision_about_the_price_is_made_again(sql, grokvideo_emulator, out):
    """Where what a try has kept between its legs is lost, the rest of the table is checked against its limit again."""
    ti = TaskInstance()
    rows = rows_of(4)
    make = table_task(out, rows, max_in_flight=2, max_cost_usd=0.20)
    course = drive_table(make, ti, between=lambda leg: ti.xcoms.pop("grokvideo_bulk", None))

    assert {"delivered": 4} == course.result["counts"]
    assert 4 == len(grokvideo_emulator.starts)


def test_rows_that_are_not_sent_give_their_money_back(sql, grokvideo_emulator, out):
    """What a stopped table had reserved for rows that were never sent is free for others."""
    grokvideo_emulator.script("no_credits", on="submit", times=None)
    budget = [{"usd": 0.20, "per": "dag"}]

    with pytest.raises(Exception, match="credits"):
        drive_table(table_task(out, rows_of(4), budgets=budget))
    grokvideo_emulator.clear_faults()
    course = drive_table(table_task(out, rows_of(4), budgets=budget), TaskInstance(run_id="other"))

    assert {"delivered": 4} == course.result["counts"]


@pytest.mark.parametrize("row", [None, {"id": "b", "prompt": ""}], ids=["removed", "bad"])
def test_a_row_that_is_left_out_keeps_the_money_of_its_unconfirmed_submission(journal_and_ledger, out, row):
    """What a worker that died may have bought for a row counts in budgets, whatever became of the row since."""
    lost = replace(OWNER, item="b")
    entry = Entry("t1", time.time(), "grokvideo_default", lost, 1, estimated=500_000_000)
    record = Record(lost, 1, "t1", "intent", "f" * 64, "f" * 64, time.time(), 1, 1, estimated_usd="0.05")
    open_sqlite(str(journal_and_ledger)).reserve_all([entry], [])
    items_of(OWNER, None).of("b").create(record)
    rows = [*rows_of(2), *([] if row is None else [row])]

    drive_table(table_task(out, rows, on_bad_rows="skip"), TaskInstance(try_number=2))

    (there,) = [each for each in open_sqlite(str(journal_and_ledger)).entries() if each.token == "t1"]
    assert ("reserved", "unconfirmed", 500_000_000) == (there.state, there.outcome, there.counted)


def test_the_state_store_takes_few_rows_and_says_so(grokvideo_emulator, out):
    """With Airflow's task state store alone a small table works, and a large one is refused with a way out."""
    assert {"delivered": 3} == drive_table(table_task(out, rows_of(3)), store=StateStore()).result["counts"]
    bought = len(grokvideo_emulator.starts)

    with pytest.raises(InvalidInput, match="ledger_conn_id"):
        drive_table(table_task(out, rows_of(21)), TaskInstance(run_id="other"), StateStore())
    assert bought == len(grokvideo_emulator.starts)


def test_a_table_needs_a_journal(grokvideo_emulator, out):
    """Without any journal a table is refused: nobody could find what was paid."""
    with pytest.raises(InvalidInput, match="journal_path"):
        drive_table(table_task(out, rows_of(2)))

    assert [] == grokvideo_emulator.starts


def test_an_empty_table_succeeds(sql, grokvideo_emulator, out, logs):
    """A table without rows buys nothing and says so."""
    course = drive_table(table_task(out, []))

    assert 0 == course.result["rows"]
    assert [] == grokvideo_emulator.starts
    assert "0 rows" in logs()


def test_no_more_run_at_once_than_allowed(sql, grokvideo_emulator, out):
    """A task never has more than max_in_flight requests running, and one trigger waits for all of them."""
    course = drive_table(table_task(out, rows_of(9), max_in_flight=3))

    assert {"delivered": 9} == course.result["counts"]
    assert all(len(kwargs["requests"]["requests"]) <= 3 for _, kwargs in course.triggers)
    assert all(len(json.dumps(kwargs)) < 16_000 for _, kwargs in course.triggers)


def test_a_removed_row_is_still_stored(journal, grokvideo_emulator, out):
    """A paid row that is removed from the table before it is stored is stored where it was meant to go."""
    rows = rows_of(3)
    with pytest.raises(RowsFailed), wrong_bytes(grokvideo_emulator):
        drive_table(table_task(out, rows))
    drive_table(table_task(out, rows[:2]), again(TaskInstance()))

    assert (out / "a2.mp4").is_file()
    assert 3 == len(grokvideo_emulator.starts)
    assert ["a0", "a1", "a2"] == [line["id"] for line in lines_of(out / "make.jsonl")]


def test_a_video_that_cannot_be_stored_is_fetched_by_a_retry(journal, grokvideo_emulator, out):
    """Where downloads fail the task fails for a retry, which stores the same videos and pays nothing."""
    make = table_task(out, rows_of(3), min_success_ratio=0)
    with pytest.raises(RowsFailed) as caught, wrong_bytes(grokvideo_emulator):
        drive_table(make)
    assert not isinstance(caught.value, AirflowFailException)
    assert {"submitted"} == {*by_id(lines_of(out / "make.jsonl"), "status").values()}

    course = drive_table(make, again(TaskInstance()))

    assert {"delivered": 3} == course.result["counts"]
    assert 3 == len(grokvideo_emulator.starts)


@pytest.mark.parametrize("added", [[], rows_of(3)[2:]], ids=["nothing to buy", "one to buy"])
def test_a_deleted_video_that_cannot_be_fetched_again_is_not_delivered(journal, grokvideo_emulator, out, added):
    """A stored video that was deleted is fetched by the next try; where that fails the table and the task say so."""
    rows = rows_of(2)
    drive_table(table_task(out, rows))
    (out / "a1.mp4").unlink()
    make = table_task(out, [*rows, *added])

    grokvideo_emulator.script("wrong_bytes", on="download", prompt="Clip 1", times=None)
    with pytest.raises(RowsFailed) as caught:
        drive_table(make, again(TaskInstance()))
    statuses = by_id(lines_of(out / "make.jsonl"), "status")
    grokvideo_emulator.clear_faults()
    course = drive_table(make, again(again(TaskInstance())))

    assert not isinstance(caught.value, AirflowFailException)
    assert {"a0": "delivered", "a1": "submitted", **{row["id"]: "delivered" for row in added}} == statuses
    assert {"delivered": 2 + len(added)} == course.result["counts"]
    assert (out / "a1.mp4").is_file()
    assert 2 + len(added) == len(grokvideo_emulator.starts)


def test_a_table_that_is_gone_loses_no_paid_row(sql, grokvideo_emulator, out, tmp_path):
    """When the input file vanishes while rows run, they are stored before the task says what is wrong."""
    source = tmp_path / "wishes.jsonl"
    source.write_text("".join(f"{json.dumps(row)}\n" for row in rows_of(3)))

    with pytest.raises(InvalidInput, match="rows"):
        drive_table(table_task(out, str(source)), between=lambda leg: source.unlink(missing_ok=True))

    assert 3 == len(list(out.glob("*.mp4")))
    assert 3 == len(grokvideo_emulator.starts)


def test_a_table_that_changes_while_it_runs_buys_no_row_that_was_not_priced(sql, grokvideo_emulator, out, tmp_path):
    """Rows that were added or edited after the price was checked wait for the next try, which checks it again."""
    source = tmp_path / "wishes.jsonl"

    def write(rows):
        source.write_text("".join(f"{json.dumps(row)}\n" for row in rows))

    rows = rows_of(2)
    write(rows)
    make = table_task(out, str(source), max_in_flight=1, max_cost_usd=0.15)
    with pytest.raises(RowsFailed) as caught:
        drive_table(make, between=lambda leg: write([rows[0], {**rows[1], "duration": 15}]))

    assert caught.value.retry_helps
    assert {"Clip 0": 1} == starts_of(grokvideo_emulator)
    assert {"a0": "delivered", "a1": "not_sent"} == by_id(lines_of(out / "make.jsonl"), "status")

    with pytest.raises(SpendLimitExceeded):
        drive_table(make, again(TaskInstance()))
    write([*rows[::-1]])
    course = drive_table(make, again(again(TaskInstance())), between=lambda leg: write(rows))

    assert {"delivered": 2} == course.result["counts"]
    assert {"Clip 0": 1, "Clip 1": 1} == starts_of(grokvideo_emulator)


def test_a_result_table_is_a_table_of_requests(sql, grokvideo_emulator, out, tmp_path):
    """Another task buys the same prompts from it; what comes from an input that it does not have is a bad row."""
    first = drive_table(table_task(out, rows_of(2)))
    made = first.result["table_uri"]
    other = TaskInstance(task_id="second")
    second = drive_table(
        table_task(tmp_path / "again", first.result, task_id="second", defaults={"duration": 1}), other
    )
    lines = [{**line, "mode": "image-to-video"} for line in lines_of(made)]
    with pytest.raises(InvalidInput, match=r"row 1 .*column mode"):
        drive_table(table_task(tmp_path / "third", lines, task_id="third"))

    assert {"delivered": 2} == second.result["counts"]
    assert {"Clip 0": 2, "Clip 1": 2} == starts_of(grokvideo_emulator)


@pytest.mark.parametrize("destination", ["{id}.mp4", "", "{id}/{id}.mp4", "clip-{id}.mp4"])
def test_an_empty_table_has_its_result_table_where_the_videos_would_be(sql, out, destination):
    """No directory is named after a column."""
    course = drive_table(table_task(out, [], destination=f"{out}/{destination}".rstrip("/")))

    assert f"{out}/make.jsonl" == course.result["table_uri"]
    assert [] == lines_of(out / "make.jsonl")


def test_a_table_that_cannot_be_read_leaves_the_result_table_as_it_was(sql, out):
    """A misspelt column in a retry takes no line from what is known."""
    rows = rows_of(2)
    drive_table(table_task(out, rows))
    with pytest.raises(InvalidInput, match="promt"):
        drive_table(table_task(out, [{"id": "a0", "promt": "Clip"}]), again(TaskInstance()))

    assert ["delivered", "delivered"] == [line["status"] for line in lines_of(out / "make.jsonl")]


def test_a_broken_table_in_a_retry_loses_no_paid_row(sql, grokvideo_emulator, out):
    """A mistake that is made between tries stops new purchases, and what was paid before is stored anyway."""
    rows = rows_of(2)
    with pytest.raises(RowsFailed), wrong_bytes(grokvideo_emulator):
        drive_table(table_task(out, rows))

    with pytest.raises(InvalidInput, match="row 3"):
        drive_table(table_task(out, [*rows, {"id": "b", "prompt": ""}]), again(TaskInstance()))

    assert {"a0.mp4", "a1.mp4"} == {path.name for path in out.glob("*.mp4")}


def test_a_lost_trigger_is_no_lost_row(sql, grokvideo_emulator, out):
    """When the triggerer never reports, every request is polled and its video stored."""
    ti = TaskInstance()
    make = table_task(out, rows_of(3))
    with pytest.raises(BaseException, match=r".*") as deferral:
        make().execute(context_of(ti))
    assert "TaskDeferred" == type(deferral.value).__name__

    resumed: dict[str, object] = {"count": 0}

    def leg():
        resumed["count"] += 1
        return make()

    with pytest.raises(BaseException, match=r".*") as second:
        leg().resume_execution("__fail__", {"error": "Trigger timeout"}, context_of(ti))
    # The emulator finishes at the second poll: the first one was this leg's.
    assert "TaskDeferred" == type(second.value).__name__
    result = make().resume_execution("__fail__", {"error": "Trigger timeout"}, context_of(ti))

    assert {"delivered": 3} == result["counts"]


def test_an_interruption_loses_no_row(journal, grokvideo_emulator, out, tmp_path):
    """execution_timeout in the middle of the submits leaves nothing unknown or held: the next try buys the rest."""
    grokvideo_emulator.script("hang:1", on="submit", times=None)
    rows = rows_of(30)
    ti = TaskInstance()

    def strike() -> None:
        while not grokvideo_emulator.starts:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGALRM)

    striker = threading.Thread(target=strike, daemon=True)
    with pytest.raises(AirflowTaskTimeout), TimeoutPosix(600):  # noqa: PT012 - the strike needs the handler
        striker.start()
        table_task(out, rows, max_in_flight=30)().execute(context_of(ti))
    assert 0 < len(grokvideo_emulator.starts) < 30
    if journal == "sql":
        entries = open_sqlite(str(tmp_path / "ledger.db")).entries()
        assert len(grokvideo_emulator.starts) == sum(entry.counted > 0 for entry in entries)
    grokvideo_emulator.clear_faults()
    course = drive_table(table_task(out, rows, max_in_flight=30), again(ti))

    assert {"delivered": 30} == course.result["counts"]
    assert {f"Clip {number}": 1 for number in range(30)} == starts_of(grokvideo_emulator)


def test_the_result_is_small_however_large_the_table(sql, out):
    """The result and the card of a table stay below 16 kB, with long errors and many rows."""
    rows = [{"id": f"{'x' * 190}{number}", "prompt": "y" * 4000, "duration": 99} for number in range(500)]
    ti = TaskInstance()
    make = table_task(out, [*rows, *rows_of(1)], on_bad_rows="skip", destination=f"{out}/{{id}}.mp4")
    course = drive_table(make, ti)

    assert 500 == course.result["counts"]["refused"]
    assert len(json.dumps(course.result)) <= 16_000
    assert all(len(json.dumps(value)) <= 16_000 for value in ti.xcoms.values())


@pytest.mark.parametrize(
    ("words", "field"),
    [
        ({"max_in_flight": 0}, "max_in_flight"),
        ({"max_in_flight": -1}, "max_in_flight"),
        ({"max_in_flight": 2.5}, "max_in_flight"),
        ({"max_in_flight": 1001}, "max_in_flight"),
        ({"max_in_flight": "many"}, "max_in_flight"),
        ({"min_success_ratio": 1.1}, "min_success_ratio"),
        ({"min_success_ratio": "most"}, "min_success_ratio"),
        ({"on_row_error": "ignore"}, "on_row_error"),
        ({"on_bad_rows": "warn"}, "on_bad_rows"),
        ({"id_column": ""}, "id_column"),
        ({"table": "clips.csv"}, "table"),
        ({"table": 7}, "table"),
        ({"rows": 7}, "rows"),
        ({"rows": None}, "rows"),
        ({"destination": None}, "destination"),
        ({"destination": "clip.mp4"}, "destination"),
        ({"rows_sql": "SELECT 1"}, "rows_sql"),
        ({"rows": None, "rows_sql": "SELECT 1"}, "sql_conn_id"),
        ({"rows": None, "rows_sql": "SELECT 1", "sql_conn_id": "not_there"}, "sql_conn_id"),
        ({"rows": [{"id": "a", "text": "x"}]}, "rows"),
        ({"resubmit_on": ["bad"]}, "resubmit_on"),
        ({"defaults": {"promt": "x"}}, "defaults"),
    ],
)
def test_a_bad_argument_is_named_before_money(sql, grokvideo_emulator, out, words, field):
    """A wrong argument of the task is refused by its name, and nothing is bought."""
    with pytest.raises(InvalidInput) as caught:
        drive_table(table_task(out, **{"rows": rows_of(2), **words}))

    assert field == caught.value.field
    assert isinstance(caught.value, AirflowFailException)
    assert [] == grokvideo_emulator.starts


@pytest.mark.parametrize("where", ["table", "default"])
def test_a_result_table_in_the_place_of_the_input_is_refused(sql, grokvideo_emulator, out, where):
    """Rows are not written over by the result, whether the author or the default names their file."""
    out.mkdir()
    source = out / ("make.jsonl" if where == "default" else "wishes.jsonl")
    text = "".join(f"{json.dumps(row)}\n" for row in rows_of(2))
    source.write_text(text)
    words = {} if where == "default" else {"table": f"{out}/../{out.name}/wishes.jsonl"}

    with pytest.raises(InvalidInput, match="table"):
        drive_table(table_task(out, f"file://{source}", **words))

    assert text == source.read_text()
    assert [] == grokvideo_emulator.starts


def test_arguments_may_be_text_from_templates(sql, out):
    """Numbers that a template has rendered to text are numbers."""
    course = drive_table(table_task(out, rows_of(2), max_in_flight="5", min_success_ratio="0.5"))

    assert {"delivered": 2} == course.result["counts"]


class wrong_bytes:  # noqa: N801 - it reads as a clause of a with statement
    """Every download has something else in it, within this block."""

    def __init__(self, emulator) -> None:
        self._emulator = emulator

    def __enter__(self) -> None:
        self._emulator.script("wrong_bytes", on="download", times=None)

    def __exit__(self, *_: object) -> None:
        self._emulator.clear_faults()
