"""Functions that return what their task makes, from execute to the result, against the emulator over a real socket."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG, task
from airflow_kit import Course, StateStore, TaskInstance, fire
from bulk_kit import FAST, again, drive_table, lines_of, rows_of

from airflow_provider_grokvideo.compat import AirflowFailException, AirflowSkipException, TaskDeferred
from airflow_provider_grokvideo.core.errors import (
    InvalidInput,
    JournalUnavailable,
    SpendLimitExceeded,
    VideoModerated,
    WaitTimeout,
)
from airflow_provider_grokvideo.decorators.grokvideo import KEPT, GrokVideoDecoratedOperator

pytestmark = pytest.mark.usefixtures("grokvideo_connection")

PROMPT = f"A ball{FAST}"
SLOW = " [[emulator: tempo=polls:999]]"


@pytest.fixture
def sql(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give tasks the SQL journal, which takes any number of rows, and a ledger."""
    monkeypatch.setenv("AIRFLOW__GROKVIDEO__LEDGER_PATH", str(tmp_path / "ledger.db"))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "clips"


class Calls:
    """A function of a DAG's author that counts its calls; each returns the next of the values."""

    def __init__(self, *values: Any) -> None:
        self.values = values
        self.count = 0

    def next(self) -> Any:
        self.count += 1
        value = self.values[min(self.count, len(self.values)) - 1]
        if isinstance(value, BaseException):
            raise value
        return value


def made_by(calls: Calls, *args: Any, **words: Any) -> Callable[[], GrokVideoDecoratedOperator]:
    """Return how to make the decorated task again and again, as Airflow does for every leg."""

    def make() -> GrokVideoDecoratedOperator:
        with DAG("films", schedule=None):

            @task.grokvideo(task_id="make", **{"duration": 1, "poll_interval": 0.05, **words})
            def clip() -> Any:
                return calls.next()

            return clip(*args).operator

    return make


def starts_of(emulator: Any) -> list[str]:
    return [start.prompt.partition(" [[")[0] for start in emulator.starts]


def test_a_prompt_makes_one_video(backend, grokvideo_emulator, drive, out):
    """A function that returns a text makes one video of it, with the arguments of the decorator."""
    calls = Calls(PROMPT)
    course = drive(made_by(calls, destination=f"{out}/a.mp4"), store=backend)

    assert (f"file://{out}/a.mp4", 1.0) == (course.result["uri"], course.result["duration"])
    assert ["A ball"] == starts_of(grokvideo_emulator)
    assert (1, 1) == (calls.count, len(course.triggers))


def test_a_mapping_wins_over_the_decorator(sql, grokvideo_emulator, drive, out):
    """Arguments that the function returns replace those of the decorator, the place of the video among them."""
    wish = {"prompt": PROMPT, "duration": 2, "destination": out / "b.mp4"}
    course = drive(made_by(Calls(wish), destination=f"{out}/a.mp4", aspect_ratio="1:1"))

    assert (f"file://{out}/b.mp4", 2.0) == (course.result["uri"], course.result["duration"])
    assert course.result["width"] == course.result["height"]


@pytest.mark.parametrize(
    ("words", "mode"),
    [
        pytest.param({}, "edit", id="a clip"),
        pytest.param({"duration": 2}, "extend", id="a clip and a duration"),
        pytest.param({"mode": "extend"}, "extend", id="said"),
    ],
)
def test_the_arguments_decide_the_mode(sql, grokvideo_emulator, drive, out, words, mode):
    """A clip without a duration is edited, one with a duration is extended, and `mode` decides where it is said."""
    first = drive(made_by(Calls(PROMPT), destination=f"{out}/a.mp4", duration=2))
    wish = {"prompt": f"In snow{FAST}", "video": first.result, **words}
    ti = TaskInstance(task_id="change")
    drive(made_by(Calls(wish), destination=f"{out}/b.mp4", duration=None), ti=ti)

    assert ["text-to-video", mode] == [start.mode for start in grokvideo_emulator.starts]


@pytest.mark.parametrize("as_generator", [False, True], ids=["list", "generator"])
def test_many_make_a_table(sql, grokvideo_emulator, out, as_generator):
    """An iterable of mappings makes a table, with the arguments of the decorator as defaults of its rows."""
    rows = [{name: cell for name, cell in row.items() if name != "duration"} for row in rows_of(3)]
    rows[2]["duration"] = 2
    value = (row for row in rows) if as_generator else rows
    calls = Calls(value)
    course = drive_table(made_by(calls, destination=f"{out}/{{id}}.mp4"))

    assert {"delivered": 3} == course.result["counts"]
    assert [1.0, 1.0, 2.0] == [line["duration"] for line in lines_of(out / "make.jsonl")]
    assert 1 == calls.count
    assert 3 == len(grokvideo_emulator.starts)


def test_one_row_is_a_table_too(sql, out):
    """The kind of the result does not change with the number of rows."""
    course = drive_table(made_by(Calls(rows_of(1)), destination=f"{out}/{{id}}.mp4"))

    assert 1 == course.result["rows"]


def test_no_row_is_an_empty_table(sql, grokvideo_emulator, out):
    """A function that yields nothing succeeds and buys nothing."""
    course = drive_table(made_by(Calls(iter(())), destination=f"{out}/{{id}}.mp4"))

    assert (0, {}) == (course.result["rows"], course.result["counts"])
    assert [] == grokvideo_emulator.starts


@pytest.mark.parametrize("kind", [str, Path], ids=["text", "path"])
def test_a_file_of_rows_makes_a_table(sql, grokvideo_emulator, tmp_path, out, kind):
    """A function may return the path of a file of rows."""
    file = tmp_path / "my rows.jsonl"
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows_of(2)))
    course = drive_table(made_by(Calls(kind(file)), destination=f"{out}/{{id}}.mp4"))

    assert {"delivered": 2} == course.result["counts"]


def test_a_leg_does_not_call_the_function_again(sql, grokvideo_emulator, drive_to_end, out):
    """A function that returns something else each time is called once per try, and its first value is made."""
    calls = Calls(PROMPT, f"Another{FAST}")
    course = drive_to_end(made_by(calls, destination=f"{out}/a.mp4"))

    assert ["A ball"] == starts_of(grokvideo_emulator)
    assert (1, "done") == (calls.count, course.result["status"])


def test_a_table_is_kept_between_legs(sql, grokvideo_emulator, out):
    """The rows of the first call are made to the end, over many legs."""
    calls = Calls(rows_of(4), [{"id": "x", "prompt": f"Another{FAST}"}])
    course = drive_table(made_by(calls, destination=f"{out}/{{id}}.mp4", max_in_flight=1))

    assert ["Clip 0", "Clip 1", "Clip 2", "Clip 3"] == sorted(starts_of(grokvideo_emulator))
    assert 1 == calls.count
    assert len(course.triggers) >= 4


def test_a_retry_finds_what_was_bought(backend, grokvideo_emulator, drive, out):
    """A retry calls the function again, and buys nothing if it returns the same."""
    calls = Calls(PROMPT)
    make = made_by(calls, destination=f"{out}/a.mp4")
    first = drive(make, store=backend)
    second = drive(make, again(first.ti), backend)

    assert first.result["request_id"] == second.result["request_id"]
    assert (2, 1) == (calls.count, len(grokvideo_emulator.starts))


def test_the_journal_is_that_of_an_operator(sql, grokvideo_emulator, drive, out):
    """An operator of the same task finds what the decorated function bought."""
    from airflow_provider_grokvideo.operators.grokvideo import GrokVideoGenerateOperator

    words = {"duration": 1, "destination": f"{out}/a.mp4"}
    first = drive(made_by(Calls(PROMPT), **words))
    second = drive(lambda: GrokVideoGenerateOperator(task_id="make", prompt=PROMPT, **words), again(first.ti))

    assert first.result["request_id"] == second.result["request_id"]
    assert 1 == len(grokvideo_emulator.starts)


def begun(make: Callable[[], Any]) -> tuple[dict[str, Any], Any]:
    """Return the context of a task that has deferred, and the event of its trigger."""
    context = {"ti": TaskInstance(), "dag_run": SimpleNamespace(clear_number=0)}
    with pytest.raises(TaskDeferred) as deferral:
        make().execute(context)
    (event,) = fire(*deferral.value.trigger.serialize())
    return context, event


@pytest.mark.parametrize("is_deleted", [True, False], ids=["deleted", "away"])
def test_without_what_was_kept_a_leg_stops(sql, grokvideo_emulator, drive, out, is_deleted, monkeypatch):
    """A leg that cannot read XCom neither calls the function nor buys; a retry goes on with what is paid."""
    calls = Calls(PROMPT)
    make = made_by(calls, destination=f"{out}/a.mp4")
    context, event = begun(make)
    if is_deleted:
        del context["ti"].xcoms[KEPT]
    else:
        monkeypatch.setattr(context["ti"], "xcom_pull", away)
    with pytest.raises(JournalUnavailable, match=r"clip\(\)") as error:
        make().resume_execution("execute_complete", {"event": event}, context)

    assert not isinstance(error.value, AirflowFailException)
    drive(make, again(context["ti"]))
    assert (2, 1) == (calls.count, len(grokvideo_emulator.starts))


def away(**_: Any) -> Any:
    raise ConnectionError("the API server is away")


def test_without_a_journal_such_a_leg_is_not_retried(grokvideo_emulator, monkeypatch):
    """Where a retry would not find the request, the task fails for good."""
    make = made_by(Calls(PROMPT))
    context, event = begun(make)
    monkeypatch.setattr(context["ti"], "xcom_pull", away)
    with pytest.raises(JournalUnavailable, match="GrokVideoSensor") as error:
        make().resume_execution("execute_complete", {"event": event}, context)

    assert isinstance(error.value, AirflowFailException)


def test_a_pause_does_not_call_the_function_again(sql, grokvideo_emulator, out):
    """A task that is resumed after a pause goes on with the request that was bought."""
    calls = Calls(PROMPT, f"Another{FAST}")
    make = made_by(calls, destination=f"{out}/a.mp4")
    context, _ = begun(make)
    result = make().resume_execution("execute_again", None, context)

    assert f"file://{out}/a.mp4" == result["uri"]
    assert (1, 1) == (calls.count, len(grokvideo_emulator.starts))


def test_a_lost_trigger_names_the_request(sql, grokvideo_emulator):
    """A wait whose trigger was lost ends as with an operator, without another call of the function."""
    calls = Calls(f"A ball{SLOW}")
    make = made_by(calls)
    context = {"ti": TaskInstance(), "dag_run": SimpleNamespace(clear_number=0)}
    with pytest.raises(TaskDeferred):
        make().execute(context)
    with pytest.raises(WaitTimeout) as error:
        make().resume_execution("__fail__", {"error": "Trigger timeout"}, context)

    (start,) = grokvideo_emulator.starts
    assert start.request_id == error.value.request_id
    assert 1 == calls.count


def test_a_function_that_raises_buys_nothing(sql, grokvideo_emulator, out):
    """The function's own error ends the task, and so does that of a generator in its middle."""

    def broken() -> Any:
        yield rows_of(1)[0]
        raise AirflowSkipException("no film today")

    for value, kind in ((ZeroDivisionError("x"), ZeroDivisionError), (broken(), AirflowSkipException)):
        with pytest.raises(kind):
            drive_table(made_by(Calls(value), destination=f"{out}/{{id}}.mp4"))

    assert [] == grokvideo_emulator.starts


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(None, id="None"),
        pytest.param(" \n", id="blank"),
        pytest.param(7, id="number"),
        pytest.param(b"a ball", id="bytes"),
        pytest.param({}, id="empty mapping"),
        pytest.param({"promt": PROMPT}, id="misspelt"),
        pytest.param({"prompt": PROMPT, "id": "a"}, id="a row's column"),
        pytest.param({"prompt": PROMPT, "retries": 3}, id="an argument of the task"),
        pytest.param({1: PROMPT}, id="a name that is no text"),
        pytest.param({"mode": "edit", "prompt": PROMPT}, id="no clip"),
        pytest.param({"mode": "edit", "prompt": PROMPT, "video": "file_1", "resolution": "720p"}, id="another mode's"),
        pytest.param({"prompt": PROMPT, "image": object()}, id="an object"),
        pytest.param({"prompt": PROMPT, "image": float("inf")}, id="infinite"),
        pytest.param([{"prompt": object()}], id="an object in a row"),
    ],
)
def test_a_wrong_value_is_refused_by_the_functions_name(sql, grokvideo_emulator, drive, value):
    """What is no prompt, no arguments and no rows fails without a retry, naming the function, before any money."""
    with pytest.raises(InvalidInput) as error:
        drive(made_by(Calls(value)))

    assert "return value of clip()" == error.value.field
    assert isinstance(error.value, AirflowFailException)
    assert [] == grokvideo_emulator.starts


@pytest.mark.parametrize(
    ("value", "field"),
    [
        pytest.param({"mode": "remix", "prompt": PROMPT}, "mode", id="unknown"),
        pytest.param({"prompt": PROMPT, "video": "file_1", "resolution": "720p"}, "mode", id="no mode takes them"),
        pytest.param(["a ball"], "rows", id="texts are no rows"),
        pytest.param(rows_of(2, promt="x"), "rows", id="misspelt column"),
    ],
)
def test_wrong_arguments_are_refused_by_their_name(sql, grokvideo_emulator, drive, out, value, field):
    """A wrong argument is named, as by the operators."""
    with pytest.raises(InvalidInput) as error:
        drive(made_by(Calls(value), destination=f"{out}/{{id}}.mp4"))

    assert field == error.value.field
    assert [] == grokvideo_emulator.starts


def test_more_than_xcom_should_hold_is_refused(sql, grokvideo_emulator, drive):
    """Rows of more than 1 MB are refused with the advice to write a file."""
    rows = [{"prompt": "x" * 1000} for _ in range(1100)]
    with pytest.raises(InvalidInput, match=r"\.jsonl") as error:
        drive(made_by(Calls(rows)))

    assert "return value of clip()" == error.value.field
    assert [] == grokvideo_emulator.starts


def test_a_table_cannot_return_before_it_is_done(sql, grokvideo_emulator, drive):
    """wait_for_completion=False is for one video."""
    with pytest.raises(InvalidInput) as error:
        drive(made_by(Calls(rows_of(2)), wait_for_completion=False))

    assert "wait_for_completion" == error.value.field
    one = drive(made_by(Calls(PROMPT), wait_for_completion=False))
    assert "submitted" == one.result["status"]


def test_templates_of_what_was_returned_are_rendered(sql, grokvideo_emulator, drive, out):
    """A prompt and arguments are rendered like the command of @task.bash; rows of a table are data and are not."""
    wish = {"prompt": "Take {{ ti.try_number }}" + FAST, "destination": f"{out}/{{{{ ti.task_id }}}}.mp4"}
    one = drive(made_by(Calls(wish)))
    rows = [{"id": "a", "prompt": "Take {{ ti.try_number }}" + FAST}]
    drive_table(made_by(Calls(rows), destination=f"{out}/{{id}}.mp4"), TaskInstance(task_id="rows"))

    assert f"file://{out}/make.mp4" == one.result["uri"]
    assert ["Take 1", "Take {{ ti.try_number }}"] == starts_of(grokvideo_emulator)


def test_limits_of_the_decorator_hold(sql, grokvideo_emulator, drive):
    """max_cost_usd of the decorator refuses the video that the function wants."""
    with pytest.raises(SpendLimitExceeded):
        drive(made_by(Calls({"prompt": PROMPT, "duration": 10}), max_cost_usd=0.1))

    assert [] == grokvideo_emulator.starts


def test_errors_of_the_video_are_the_operators(sql, grokvideo_emulator, drive):
    """A video that is moderated fails as with an operator, without a retry."""
    with pytest.raises(VideoModerated) as error:
        drive(made_by(Calls("A ball [[emulator: moderated]]")))

    assert isinstance(error.value, AirflowFailException)


def test_a_kill_says_what_keeps_running(sql, grokvideo_emulator, logs):
    """A killed task names the request that the API cannot cancel."""
    operator = made_by(Calls(PROMPT))()
    operator.on_kill()
    context = {"ti": TaskInstance(), "dag_run": SimpleNamespace(clear_number=0)}
    with pytest.raises(TaskDeferred):
        operator.execute(context)
    operator.on_kill()

    (start,) = grokvideo_emulator.starts
    assert start.request_id in logs()


@pytest.fixture
def drive_to_end() -> Callable[..., Course]:
    """Return how to take a task through all its legs."""

    def run(make: Callable[[], Any], store: StateStore | None = None) -> Course:
        return drive_table(make, store=store)

    return run
