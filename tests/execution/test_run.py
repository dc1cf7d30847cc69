"""What a task does with what its earlier tries bought, in both backends of the journal."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from airflow_kit import StateStore, adopt, fire
from mishaps import read_rows
from PIL import Image

from airflow_provider_grokvideo.compat import AirflowFailException, AirflowTaskTimeout, TaskDeferred
from airflow_provider_grokvideo.core.errors import (
    AmbiguousSubmit,
    JournalUnavailable,
    RateLimited,
    VideoFailed,
    VideoModerated,
    WaitTimeout,
)
from airflow_provider_grokvideo.execution import journal as memory_module
from airflow_provider_grokvideo.execution.journal import SAVING_TRIES, TaskJournal
from airflow_provider_grokvideo.execution.run import PaidRun
from airflow_provider_grokvideo.execution.task import TaskHost
from airflow_provider_grokvideo.hooks.grokvideo import GrokVideoHook
from airflow_provider_grokvideo.journal.backends import FileBackend
from airflow_provider_grokvideo.operators.grokvideo import GrokVideoEditOperator, GrokVideoGenerateOperator

pytestmark = pytest.mark.usefixtures("grokvideo_connection")


def make(prompt: str = "A red ball rolls [[emulator: tempo=polls:1]]", **words):
    """Return how to make the same generating task again and again, as Airflow does."""
    return functools.partial(
        GrokVideoGenerateOperator,
        **{"task_id": "make", "prompt": prompt, "duration": 1, "poll_interval": 0.05, **words},
    )


def retried(ti):
    """Return the same task instance at its next try: XCom is empty."""
    return replace(ti, try_number=ti.try_number + 1, xcoms={})


def cleared(ti):
    """Return the same task instance after a clear, which gives it more tries."""
    return replace(ti, try_number=ti.try_number + 1, max_tries=ti.try_number + 1, clears=ti.clears + 1, xcoms={})


def test_a_retry_waits_for_the_request_of_the_first_try(drive, backend, ti, grokvideo_emulator, tmp_path):
    """A worker that dies after the submit costs nothing: the next try delivers the same request."""
    task = make(destination=str(tmp_path / "ball.mp4"))
    with pytest.raises(TaskDeferred):
        task().execute({"ti": ti, "task_state_store": backend})

    course = drive(task, retried(ti), backend)

    (start,) = grokvideo_emulator.starts
    assert start.request_id == course.result["request_id"] == course.ti.xcoms["request_id"]
    assert (tmp_path / "ball.mp4").exists()


def test_a_finished_request_is_delivered_without_deferring(drive, backend, ti, grokvideo_emulator, tmp_path):
    """A try that finds its request finished delivers at once."""
    task = make("A ball [[emulator: tempo=at-once]]", destination=str(tmp_path / "ball.mp4"))
    with pytest.raises(TaskDeferred):
        task().execute({"ti": ti, "task_state_store": backend})

    course = drive(task, retried(ti), backend)

    assert [] == course.triggers
    assert 0.05 == course.result["estimated_cost_usd"]
    assert 1 == len(grokvideo_emulator.starts)


def test_a_cleared_task_returns_what_it_delivered(drive, backend, ti, grokvideo_emulator, tmp_path):
    """A clear of a delivered task returns its manifest and neither buys nor looks."""
    task = make(destination=str(tmp_path / "ball.mp4"))
    first = drive(task, ti, backend)
    polls = dict(grokvideo_emulator.polls)
    again = drive(task, cleared(ti), backend)

    assert {**first.result, "url": None, "reused": True} == again.result
    assert polls == dict(grokvideo_emulator.polls)
    assert 1 == len(grokvideo_emulator.starts)


def test_a_delivered_file_that_vanished_is_fetched_again(drive, backend, ti, grokvideo_emulator, tmp_path):
    """Where the delivered file is gone, a clear fetches the same request again."""
    task = make(destination=str(tmp_path / "ball.mp4"))
    drive(task, ti, backend)
    (tmp_path / "ball.mp4").unlink()

    again = drive(task, cleared(ti), backend)

    assert (tmp_path / "ball.mp4").exists()
    assert again.result["reused"]
    assert 1 == len(grokvideo_emulator.starts)


def test_another_destination_is_served_from_the_delivered_file(drive, backend, ti, grokvideo_emulator, tmp_path):
    """After a change of destination a clear copies the delivered file and asks the service for nothing."""
    drive(make(destination=str(tmp_path / "ball.mp4")), ti, backend)
    polls = dict(grokvideo_emulator.polls)
    again = drive(make(destination=str(tmp_path / "new" / "ball.mp4")), cleared(ti), backend)

    assert (tmp_path / "ball.mp4").read_bytes() == (tmp_path / "new" / "ball.mp4").read_bytes()
    assert (tmp_path / "new" / "ball.mp4").as_uri() == again.result["uri"]
    assert polls == dict(grokvideo_emulator.polls)


def test_regenerate_buys_after_a_clear_and_not_after_a_retry(drive, backend, ti, grokvideo_emulator, tmp_path):
    """With resubmit_on=['cleared'] a clear of a delivered task buys another video; a retry does not."""
    task = make(destination=str(tmp_path / "ball.mp4"), resubmit_on=["cleared"])
    first = drive(task, ti, backend)
    retry = drive(task, retried(ti), backend)
    clear = drive(task, cleared(retried(ti)), backend)

    assert first.result["request_id"] == retry.result["request_id"] != clear.result["request_id"]
    assert 2 == len(grokvideo_emulator.starts)


def test_changed_inputs_are_a_new_request(drive, backend, ti, grokvideo_emulator, tmp_path):
    """A task instance whose prompt changed buys what it is now asked for, and remembers what it bought before."""
    red, green = (
        make(f"A {colour} ball [[emulator: tempo=at-once]]", destination=f"{tmp_path}/") for colour in ("red", "green")
    )
    first = drive(red, ti, backend)
    second = drive(green, cleared(ti), backend)
    third = drive(red, cleared(cleared(ti)), backend)

    assert first.result["request_id"] == third.result["request_id"] != second.result["request_id"]
    assert 2 == len(grokvideo_emulator.starts)


def test_a_lost_answer_stops_this_try_and_all_others(drive, backend, ti, grokvideo_emulator):
    """A start whose answer was lost is never sent again, and each try says what a person can do."""
    grokvideo_emulator.script("lost_answer", on="submit")
    for each in (ti, retried(ti), cleared(ti)):
        with pytest.raises(AmbiguousSubmit, match=r"journal adopt films manual__1 make <request id>") as caught:
            drive(make(), each, backend)
        assert isinstance(caught.value, AirflowFailException)
        assert "journal forget films manual__1 make" in str(caught.value)

    assert 1 == len(grokvideo_emulator.starts)


def test_a_lost_answer_is_bought_again_where_the_user_said_so(drive, backend, ti, grokvideo_emulator, tmp_path):
    """With resubmit_on=['unconfirmed'] the next try buys again."""
    grokvideo_emulator.script("lost_answer", on="submit")
    task = make(resubmit_on=["unconfirmed"], destination=f"{tmp_path}/")
    with pytest.raises(AmbiguousSubmit) as caught:
        drive(task, ti, backend)
    course = drive(task, retried(ti), backend)

    assert not isinstance(caught.value, AirflowFailException)
    assert grokvideo_emulator.starts[1].request_id == course.result["request_id"]


def test_a_request_can_be_adopted(drive, backend, ti, grokvideo_emulator, tmp_path):
    """A request that a person found settles the unconfirmed submission."""
    grokvideo_emulator.script("lost_answer", on="submit")
    with pytest.raises(AmbiguousSubmit):
        drive(make(), ti, backend)
    (start,) = grokvideo_emulator.starts

    adopt(ti, start.request_id, backend)
    course = drive(make(destination=f"{tmp_path}/"), cleared(ti), backend)

    assert start.request_id == course.result["request_id"]
    assert (tmp_path / f"{start.request_id}.mp4").exists()
    assert 1 == len(grokvideo_emulator.starts)


def test_a_wait_that_timed_out_is_salvaged(drive, backend, ti, grokvideo_emulator, tmp_path):
    """After WaitTimeout each retry looks once more, and the one that finds the video finished delivers it for free."""
    task = make("A ball [[emulator: tempo=polls:4]]", timeout=0.001, destination=f"{tmp_path}/")
    timeouts, course = [], None
    while course is None and len(timeouts) < 5:
        try:
            course = drive(task, ti, backend)
        except WaitTimeout as error:
            timeouts.append(error)
            ti = retried(ti)

    assert timeouts
    assert not isinstance(timeouts[0], AirflowFailException)
    assert (tmp_path / f"{course.result['request_id']}.mp4").exists()
    assert 1 == len(grokvideo_emulator.starts)


@pytest.mark.parametrize(
    ("fault", "error"),
    [("moderated:b", VideoModerated), ("failed:internal_error", VideoFailed)],
)
def test_a_bad_end_is_told_again_and_not_bought_again(drive, backend, ti, grokvideo_emulator, fault, error):
    """A request that ended without a video is reported by every later try with its cost, from the journal."""
    task = make(f"A ball [[emulator: tempo=polls:1 fault={fault}]]")
    told = []
    for each in (ti, retried(ti), cleared(ti)):
        with pytest.raises(error) as caught:
            drive(task, each, backend)
        told.append(caught.value.cost_usd)
        assert isinstance(caught.value, AirflowFailException)

    assert 1 == len(set(told))
    assert 1 == len(grokvideo_emulator.starts)


def test_a_bad_end_is_bought_again_where_the_user_said_so(drive, backend, ti, grokvideo_emulator):
    """With resubmit_on the named outcome is retried by Airflow, and the retry is a new purchase."""
    task = make("A ball [[emulator: tempo=polls:1 fault=failed:internal_error]]", resubmit_on=["failed"])
    for each in (ti, retried(ti)):
        with pytest.raises(VideoFailed) as caught:
            drive(task, each, backend)
        assert not isinstance(caught.value, AirflowFailException)

    assert 2 == len(grokvideo_emulator.starts)


def test_a_journal_that_fails_before_the_start_costs_nothing(drive, ti, grokvideo_emulator):
    """Where the intent cannot be confirmed nothing is sent, and the retry submits although the intent was written."""

    class Forgetful(StateStore):
        reads = 0

        def get(self, key, default=None):
            self.reads += 1
            if self.reads == 3:
                raise ConnectionError("the API server is away")
            return super().get(key, default)

    store = Forgetful()
    with pytest.raises(JournalUnavailable, match="API server is away") as caught:
        drive(make(), ti, store)

    assert not isinstance(caught.value, AirflowFailException)
    assert [] == grokvideo_emulator.starts
    assert "done" == drive(make(), retried(ti), store).result["status"]


def test_a_journal_that_fails_after_the_start_does_not_stop_the_video(
    drive, ti, grokvideo_emulator, tmp_path, monkeypatch
):
    """Where the id cannot be written down, this try delivers all the same, and a later one asks instead of buying."""
    monkeypatch.setattr("airflow_provider_grokvideo.execution.journal.time.sleep", lambda seconds: None)

    class WriteOnce(StateStore):
        writes = 0

        def set(self, key, value, *, retention=None):
            self.writes += 1
            if self.writes > 1:
                raise ConnectionError("the API server is away")
            super().set(key, value)

    store = WriteOnce()
    course = drive(make(destination=str(tmp_path / "ball.mp4")), ti, store)

    assert (tmp_path / "ball.mp4").as_uri() == course.result["uri"]
    with pytest.raises(AmbiguousSubmit):
        drive(make(destination=str(tmp_path / "ball.mp4")), cleared(ti), store)
    assert 1 == len(grokvideo_emulator.starts)


def test_an_input_that_vanished_does_not_keep_a_task_from_its_video(drive, backend, ti, grokvideo_emulator, tmp_path):
    """A retry fetches the paid video although the image it was made from is gone by then."""
    image = tmp_path / "frame.png"
    Image.new("RGB", (64, 48), "red").save(image)
    task = make(image=str(image), destination=str(tmp_path / "ball.mp4"))
    with pytest.raises(TaskDeferred):
        task().execute({"ti": ti, "task_state_store": backend})
    image.unlink()

    drive(task, retried(ti), backend)

    assert (tmp_path / "ball.mp4").exists()
    assert 1 == len(grokvideo_emulator.starts)


def test_the_same_picture_elsewhere_is_the_same_input(drive, backend, ti, grokvideo_emulator, tmp_path):
    """A file counts by its content: under another name it is the same input, changed it is another one."""
    first, second = tmp_path / "a.png", tmp_path / "b.png"
    Image.new("RGB", (64, 48), "red").save(first)
    second.write_bytes(first.read_bytes())
    words = {"prompt": "A ball [[emulator: tempo=at-once]]", "destination": f"{tmp_path}/"}
    bought = drive(make(image=str(first), **words), ti, backend)
    again = drive(make(image=str(second), **words), cleared(ti), backend)
    Image.new("RGB", (64, 48), "green").save(second)
    other = drive(make(image=str(second), **words), cleared(ti), backend)

    assert bought.result["request_id"] == again.result["request_id"] != other.result["request_id"]


def test_an_edit_is_the_same_when_its_sources_link_has_aged(drive, backend, ti, grokvideo_emulator, tmp_path):
    """An edit of another task's video is recognised later, when it would be read from the file and not by its link."""
    words = {"prompt": "A ball [[emulator: tempo=at-once]]", "destination": str(tmp_path / "ball.mp4")}
    source = drive(make(**words), ti, backend).result
    edit = functools.partial(
        GrokVideoEditOperator, task_id="edit", prompt="Snow [[emulator: tempo=at-once]]", destination=f"{tmp_path}/"
    )
    ti = replace(ti, task_id="edit", xcoms={})
    store = backend and StateStore()
    first = drive(functools.partial(edit, video=source), ti, store)
    old = {**source, "finished_at": "2026-01-01T00:00:00Z"}
    again = drive(functools.partial(edit, video=old), cleared(ti), store)

    assert first.result["request_id"] == again.result["request_id"]
    assert 2 == len(grokvideo_emulator.starts)


def test_without_a_journal_the_task_says_so(drive, ti, grokvideo_emulator, logs):
    """A task without any home for its journal warns at the submit what a retry may cost."""
    drive(make(), ti, None)

    assert "journal_path" in logs()


def test_the_journal_holds_no_secret(drive, backend, ti, grokvideo_emulator, tmp_path):
    """Neither the key nor the prompt is in the journal."""
    drive(make(destination=str(tmp_path / "ball.mp4")), ti, backend)
    kept = repr(backend.values) if backend else "".join(p.read_text() for p in (tmp_path / "journal").rglob("*.json"))
    kept += repr(read_rows(tmp_path / "ledger.db"))

    assert "delivered" in kept
    assert grokvideo_emulator.api_key not in kept
    assert "red ball" not in kept


class Killed(BaseException):
    """The worker is gone."""


@contextmanager
def dying_after(noted: dict[str, Any]) -> Iterator[None]:
    """Kill the worker as soon as the journal has noted these facts."""
    real = TaskJournal.note

    def note(memory: TaskJournal, **changes: Any) -> None:
        real(memory, **changes)
        if noted.items() <= changes.items():
            raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TaskJournal, "note", note)
        try:
            yield
        except Killed:
            return
    raise AssertionError("nobody died")


def test_a_retry_never_regenerates(drive, backend, ti, grokvideo_emulator, tmp_path):
    """A clear while the task waits is not one of its result: a retry after the delivery buys nothing."""
    task = make("A ball [[emulator: tempo=at-once]]", resubmit_on=["cleared"], destination=str(tmp_path / "ball.mp4"))
    with pytest.raises(TaskDeferred):
        task().execute({"ti": ti, "task_state_store": backend})
    ti = cleared(ti)
    with dying_after({"phase": "delivered"}):
        drive(task, ti, backend)

    assert drive(task, retried(ti), backend).result["reused"]
    assert 1 == len(grokvideo_emulator.starts)


def test_what_was_never_handed_on_is_not_regenerated(drive, backend, ti, grokvideo_emulator):
    """A request that a submitting task did not live to hand on is handed on by the next try, whatever was cleared."""
    task = make(wait_for_completion=False, resubmit_on=["cleared"])
    with dying_after({"phase": "submitted"}):
        drive(task, ti, backend)
    handed_on = drive(task, cleared(ti), backend)
    another = drive(task, cleared(cleared(ti)), backend)

    assert grokvideo_emulator.starts[0].request_id == handed_on.result["request_id"]
    assert grokvideo_emulator.starts[1].request_id == another.result["request_id"]


def test_arguments_that_change_during_the_wait_do_not_spoil_the_delivery(
    drive, backend, ti, grokvideo_emulator, tmp_path
):
    """A task whose DAG is edited while it waits delivers what was bought, and its record claims nothing else."""
    words = {"prompt": "A ball [[emulator: tempo=at-once]]", "destination": str(tmp_path / "ball.mp4")}
    with pytest.raises(TaskDeferred) as deferral:
        make(**words)().execute({"ti": ti, "task_state_store": backend})
    (event,) = fire(*deferral.value.trigger.serialize())

    manifest = make(**words, duration=5)().execute_complete({"ti": ti, "task_state_store": backend}, event)

    assert 1.0 == pytest.approx(manifest["duration"], abs=0.1)
    assert {} == json.loads((tmp_path / "ball.json").read_text())["request"]


def test_an_id_that_was_not_saved_is_saved_when_the_task_resumes(drive, ti, grokvideo_emulator, tmp_path, monkeypatch):
    """Where the journal was away after the start, the resumed task writes the id, and no doubt is left behind."""
    monkeypatch.setattr("airflow_provider_grokvideo.execution.journal.time.sleep", lambda seconds: None)

    class Away(StateStore):
        writes = 0

        def set(self, key, value, *, retention=None):
            self.writes += 1
            if 1 < self.writes <= 5:
                raise ConnectionError("the API server is away")
            super().set(key, value)

    store = Away()
    course = drive(make(destination=str(tmp_path / "ball.mp4")), ti, store)
    (record,) = store.get("grokvideo_journal")["purchases"]

    assert ("delivered", course.result["request_id"]) == (record["phase"], record["request_id"])


def mapped(ti, index: int):
    """Return another map index of the same task."""
    return replace(ti, map_index=index, xcoms={})


def bought(drive, ti, prompts, tmp_path) -> list[str]:
    """Run a mapped task over prompts, one after another, and return the request of each map index."""
    return [
        drive(
            make(f"{prompt} [[emulator: tempo=at-once]]", destination=str(tmp_path / f"{index}.mp4")),
            mapped(ti, index),
        ).result["request_id"]
        for index, prompt in enumerate(prompts)
    ]


@pytest.fixture
def files(tmp_path, monkeypatch) -> None:
    """Keep the journal in files."""
    monkeypatch.setenv("AIRFLOW__GROKVIDEO__JOURNAL_PATH", str(tmp_path / "journal"))


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(
    ("before", "after", "starts"),
    [
        pytest.param(["red", "blue"], ["blue", "red"], 2, id="swapped"),
        pytest.param(["red", "blue"], ["green", "red", "blue"], 3, id="one more in front"),
        pytest.param(["red", "blue", "green"], ["blue", "green"], 3, id="first one gone"),
        pytest.param(["red", "red"], ["red", "red"], 2, id="the same twice on purpose"),
    ],
)
def test_a_changed_mapped_list_buys_nothing_twice(drive, ti, grokvideo_emulator, tmp_path, before, after, starts):
    """Each prompt keeps its purchase wherever it moves in the list, and each wish is one purchase."""
    first = bought(drive, ti, before, tmp_path)
    second = bought(drive, cleared(ti), after, tmp_path)

    assert starts == len(grokvideo_emulator.starts)
    assert sorted(request for request, prompt in zip(first, before, strict=True) if prompt in after) == sorted(
        request for request, prompt in zip(second, after, strict=True) if prompt in before
    )
    assert len(set(second)) == len(second)


@pytest.mark.usefixtures("files")
def test_inputs_that_become_the_same_share_a_video_rather_than_cost_twice(drive, ti, grokvideo_emulator, tmp_path):
    """Where an index is given the inputs of another one, nobody can tell it from a move, so nothing is bought."""
    first = bought(drive, ti, ["red", "blue"], tmp_path)
    second = bought(drive, cleared(ti), ["red", "red"], tmp_path)

    assert 2 == len(grokvideo_emulator.starts)
    assert [first[0], first[0]] == second


@pytest.mark.parametrize("where", ["delivered", "waiting"])
def test_an_index_never_takes_the_video_of_other_inputs(drive, backend, ti, grokvideo_emulator, tmp_path, where):
    """A map index whose inputs are others by now does not hand over what it bought before."""
    words = {"destination": str(tmp_path / "0.mp4")}
    red, blue = (make(f"A {colour} ball [[emulator: tempo=at-once]]", **words) for colour in ("red", "blue"))
    if where == "delivered":
        drive(red, mapped(ti, 0), backend)
    else:
        with pytest.raises(TaskDeferred):
            red().execute({"ti": mapped(ti, 0), "task_state_store": backend})

    course = drive(blue, mapped(cleared(ti), 0), backend)

    assert grokvideo_emulator.starts[1].request_id == course.result["request_id"]
    assert not course.result["reused"]


def test_a_new_journal_path_takes_over_what_the_state_store_knows(drive, ti, grokvideo_emulator, tmp_path, monkeypatch):
    """A task that was under way when journal_path was set goes on with its request."""
    task, store = make(destination=str(tmp_path / "ball.mp4")), StateStore()
    with pytest.raises(TaskDeferred):
        task().execute({"ti": ti, "task_state_store": store})
    monkeypatch.setenv("AIRFLOW__GROKVIDEO__JOURNAL_PATH", str(tmp_path / "journal"))

    course = drive(task, retried(ti), store)

    assert grokvideo_emulator.starts[0].request_id == course.result["request_id"]
    assert 1 == len(grokvideo_emulator.starts)
    assert ["delivered"] == [json.loads(p.read_text())["phase"] for p in (tmp_path / "journal").rglob("*.json")]


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(
    ("before", "order", "starts"),
    [
        pytest.param(
            "ABC", [(3, "C"), (0, "N"), (1, "A"), (2, "B")], "ABCN", id="one more in front, the last one first"
        ),
        pytest.param("A", [(1, "A"), (0, "B")], "AB", id="swapped before the second one ran"),
        pytest.param("AB", [(0, "B"), (1, "B")], "AB", id="swapped and back"),
        pytest.param("AB", [(0, "B"), (1, "A"), (0, "A"), (1, "B")], "AB", id="swapped, then swapped again"),
        pytest.param("AA", [(2, "A"), (3, "A"), (0, "N"), (1, "N2")], ["A", "A", "N", "N2"], id="a pair moves"),
    ],
)
def test_a_prompt_is_bought_once_in_whatever_order_the_indexes_run(
    drive, ti, grokvideo_emulator, tmp_path, before, order, starts
):
    """After a clear each prompt of the new list is served by what was bought, whichever index asks first."""

    def run(index, prompt, of):
        task = make(f"{prompt} [[emulator: tempo=at-once]]", destination=str(tmp_path / f"{index}.mp4"))
        return drive(task, mapped(of, index)).result["request_id"]

    for index, prompt in enumerate(before):
        run(index, prompt, ti)
    found = [run(index, prompt, cleared(ti)) for index, prompt in order]

    assert sorted(starts) == sorted(start.prompt.partition(" ")[0] for start in grokvideo_emulator.starts)
    assert set(found) <= {start.request_id for start in grokvideo_emulator.starts}


@pytest.mark.usefixtures("files")
def test_nobody_takes_over_an_unconfirmed_submission(drive, ti, grokvideo_emulator, tmp_path):
    """A prompt that moves while its submission is unconfirmed is neither bought again nor taken from its own index."""
    grokvideo_emulator.script("lost_answer", on="submit")
    with pytest.raises(AmbiguousSubmit):
        drive(make("blue"), mapped(ti, 1))
    before = {path: path.read_text() for path in (tmp_path / "journal").rglob("*.json")}
    with pytest.raises(AmbiguousSubmit) as stopped:
        drive(make("blue"), mapped(cleared(ti), 0))

    assert isinstance(stopped.value, AirflowFailException)
    assert "--map-index 1" in stopped.value.what_to_do
    assert 1 == len(grokvideo_emulator.starts)
    assert before == {path: path.read_text() for path in (tmp_path / "journal").rglob("*.json")}


@pytest.mark.parametrize("when", ["before the write", "after the write"])
def test_a_timeout_while_the_id_is_written_down_loses_nothing(
    drive, backend, ti, grokvideo_emulator, monkeypatch, when
):
    """execution_timeout may strike at the very moment when the id is saved: the retry knows the request."""
    save, struck = TaskJournal._save, []

    def late(memory, **changes):
        strikes = changes.get("phase") == "submitted" and not struck
        if not strikes or when == "after the write":
            save(memory, **changes)
        if strikes:
            struck.append(True)
            raise AirflowTaskTimeout("now")
        return True

    monkeypatch.setattr(TaskJournal, "_save", late)
    with pytest.raises(WaitTimeout):
        make(deferrable=False)().execute({"ti": ti, "task_state_store": backend})
    course = drive(make(), retried(ti), backend)

    assert [course.result["request_id"]] == [start.request_id for start in grokvideo_emulator.starts]


def test_an_id_that_could_not_be_saved_is_saved_with_the_error(drive, backend, ti, grokvideo_emulator, monkeypatch):
    """A journal that was away after the submit and answers by the time of the error knows the request then."""
    save, fails = TaskJournal._save, []

    def away(memory, **changes):
        if changes.get("phase") == "submitted" and len(fails) < SAVING_TRIES:
            fails.append(True)
            raise JournalUnavailable("away")
        return save(memory, **changes)

    monkeypatch.setattr(TaskJournal, "_save", away)
    monkeypatch.setattr(memory_module, "BETWEEN_TRIES", 0.0)
    with pytest.raises(WaitTimeout) as late:
        make("A [[emulator: tempo=polls:99]]", deferrable=False, timeout=0.2)().execute(
            {"ti": ti, "task_state_store": backend}
        )

    assert not isinstance(late.value, AirflowFailException)
    with pytest.raises(WaitTimeout):
        make("A [[emulator: tempo=polls:99]]", deferrable=False, timeout=0.2)().execute(
            {"ti": retried(ti), "task_state_store": backend}
        )
    assert 1 == len(grokvideo_emulator.starts)


@pytest.mark.parametrize("copied", [0, 1, 2])
def test_a_move_that_was_cut_short_is_completed(drive, ti, grokvideo_emulator, tmp_path, monkeypatch, copied):
    """However many records reached the files before the worker died, the next try knows the request under way."""
    store = StateStore()
    grokvideo_emulator.script("http:429", on="submit", times=3)
    with pytest.raises(RateLimited):
        drive(make(), ti, store)
    with pytest.raises(TaskDeferred):
        make()().execute({"ti": retried(ti), "task_state_store": store})
    monkeypatch.setenv("AIRFLOW__GROKVIDEO__JOURNAL_PATH", str(tmp_path / "journal"))
    create = FileBackend.create

    def dying(self, record):
        if record.number > copied:
            raise KeyboardInterrupt
        create(self, record)

    with monkeypatch.context() as patch:
        patch.setattr(FileBackend, "create", dying)
        with pytest.raises((KeyboardInterrupt, TaskDeferred)):
            make()().execute({"ti": retried(retried(ti)), "task_state_store": store})
    course = drive(make(), retried(retried(retried(ti))), store)

    assert [course.result["request_id"]] == [start.request_id for start in grokvideo_emulator.starts]


def test_an_id_that_came_to_the_old_home_after_the_move_is_found(drive, ti, grokvideo_emulator, tmp_path, monkeypatch):
    """A worker that still had the old setting wrote the answer down where its intent was."""
    store = StateStore()
    with pytest.raises(TaskDeferred):
        make()().execute({"ti": ti, "task_state_store": store})
    whole = json.loads(store.values["grokvideo_journal"])
    early = StateStore()
    (record,) = whole["purchases"]
    unknown = {name: value for name, value in record.items() if name not in ("request_id", "submitted_at")}
    early.set("grokvideo_journal", {**whole, "purchases": [{**unknown, "phase": "intent"}]})
    monkeypatch.setenv("AIRFLOW__GROKVIDEO__JOURNAL_PATH", str(tmp_path / "journal"))
    with pytest.raises(AmbiguousSubmit):
        drive(make(), retried(ti), early)
    course = drive(make(), retried(retried(ti)), store)

    assert [course.result["request_id"]] == [start.request_id for start in grokvideo_emulator.starts]


def test_what_is_stored_needs_no_service(drive, backend, ti, grokvideo_emulator, tmp_path, monkeypatch):
    """A worker died between storing and noting, and the service forgot the request: the file and its record count."""

    class Killed(BaseException):
        pass

    note = TaskJournal.note

    def dying(memory, **changes):
        if changes.get("phase") == "delivered":
            raise Killed
        return note(memory, **changes)

    task = make(destination=str(tmp_path / "ball.mp4"), deferrable=False)
    with monkeypatch.context() as patch:
        patch.setattr(TaskJournal, "note", dying)
        with pytest.raises(Killed):
            task().execute({"ti": ti, "task_state_store": backend})
    grokvideo_emulator.script("http:404", on="poll", times=9)
    result = drive(task, retried(ti), backend).result

    assert (tmp_path / "ball.mp4").as_uri() == result["uri"]
    assert [result["request_id"]] == [start.request_id for start in grokvideo_emulator.starts]
    assert result == {**drive(task, retried(retried(ti)), backend).result, "reused": False}


def test_a_timeout_before_the_submit_is_no_question(drive, backend, ti, grokvideo_emulator, monkeypatch):
    """execution_timeout that strikes after the intent and before the submit: nothing was sent, so a retry submits."""
    show = TaskHost.show

    def late(host, outcome, **facts):
        if outcome == "submitting":
            raise AirflowTaskTimeout("now")
        show(host, outcome, **facts)

    with monkeypatch.context() as patch:
        patch.setattr(TaskHost, "show", late)
        with pytest.raises(AirflowTaskTimeout):
            make()().execute({"ti": ti, "task_state_store": backend})
    before = len(grokvideo_emulator.starts)
    course = drive(make(), retried(ti), backend)

    assert 0 == before
    assert [course.result["request_id"]] == [start.request_id for start in grokvideo_emulator.starts]


def test_a_new_database_takes_over_what_the_embedded_one_knows(drive, ti, grokvideo_emulator, tmp_path, monkeypatch):
    """A task that bought before its ledger moved out of AIRFLOW_HOME returns that video after a clear."""
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    monkeypatch.setenv("AIRFLOW__GROKVIDEO__LEDGER_PATH", "")
    task = make(destination=str(tmp_path / "ball.mp4"))
    before = drive(task, ti).result
    monkeypatch.setenv("AIRFLOW__GROKVIDEO__LEDGER_PATH", str(tmp_path / "moved.db"))

    after = drive(task, cleared(ti)).result

    assert (before["request_id"], True) == (after["request_id"], after["reused"])
    assert 1 == len(grokvideo_emulator.starts)
    assert ["delivered"] == [record["phase"] for record in read_rows(tmp_path / "moved.db")]


def test_a_ledger_that_is_away_does_not_stop_a_first_try_whose_journal_is_elsewhere(
    drive, ti, grokvideo_emulator, tmp_path, monkeypatch
):
    """With journal_path and no budget a first try needs no ledger; a later one might find its purchase there."""
    monkeypatch.setenv("AIRFLOW__GROKVIDEO__JOURNAL_PATH", str(tmp_path / "journal"))
    monkeypatch.setenv("AIRFLOW__GROKVIDEO__LEDGER_CONN_ID", "missing")
    drive(make(), ti)
    with pytest.raises(JournalUnavailable):
        drive(make(), retried(ti))

    assert 1 == len(grokvideo_emulator.starts)


@pytest.mark.parametrize("moment", ["the stored files are searched", "the next search is waited for"])
def test_a_timeout_after_a_lost_answer_is_final_without_a_journal(ti, grokvideo_emulator, monkeypatch, moment):
    """execution_timeout while the witness of a lost answer is looked for: no journal would stop a retry."""

    def late(*_: object) -> None:
        raise AirflowTaskTimeout("now")

    grokvideo_emulator.script("http:502", on="submit")
    if moment == "the stored files are searched":
        monkeypatch.setattr(GrokVideoHook, "find_file", late)
    else:
        monkeypatch.setattr(f"{PaidRun.__module__}.time.sleep", late)
    with pytest.raises(AmbiguousSubmit) as stopped:
        make(storage_options={"filename": "ball.mp4"}, deferrable=False)().execute({"ti": ti})

    assert isinstance(stopped.value, AirflowFailException)


def test_a_timeout_right_before_the_deferral_is_final_without_a_journal(ti, grokvideo_emulator, monkeypatch):
    """execution_timeout between the submit and the deferral: without a journal a retry would submit again."""

    def late(*_: object, **__: object) -> None:
        raise AirflowTaskTimeout("now")

    monkeypatch.setattr(GrokVideoGenerateOperator, "defer", late)
    with pytest.raises(WaitTimeout) as stopped:
        make()().execute({"ti": ti})

    assert isinstance(stopped.value, AirflowFailException)
    assert [stopped.value.request_id] == [start.request_id for start in grokvideo_emulator.starts]
