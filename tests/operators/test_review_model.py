"""Any sequence of answers, crashes, faults, retries and clears, through the real review against the real emulator.

The model knows nothing of the decisions of the package. It counts the answers that want another take, and holds them
against the ledger of the emulator, which is the bill.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from mishaps import POINTS, Killed, Mishaps, StateStore, let_time_fly, read_rows, write_row
from paid_once_model import BAD_ENDS, FAULTS, fire
from review_kit import PAUSES, TI_ID, Desk, said

from airflow_provider_grokvideo.compat import AirflowFailException, AirflowSkipException, TaskDeferred
from airflow_provider_grokvideo.core.errors import AuthenticationFailed, DeliveryFailed, GrokVideoError, WaitTimeout
from airflow_provider_grokvideo.execution import approval
from airflow_provider_grokvideo.ledger.sql import open_sqlite
from airflow_provider_grokvideo.operators.grokvideo import GrokVideoGenerateOperator
from airflow_provider_grokvideo.operators.review import GrokVideoReviewOperator

EXAMPLES = int(os.environ.get("GROKVIDEO_MODEL_EXAMPLES", "30"))
STEPS = int(os.environ.get("GROKVIDEO_MODEL_STEPS", "25"))

RETRIES = 2
MOST = 6

WORDS: dict[str, list[Any]] = {
    "deferrable": [True, False],
    "timeout": [900.0, 1e-6],
    "destination": ["takes/", "takes/named.mp4"],
    "on_moderated": ["fail", "skip"],
    "on_limit": ["fail", "skip", "ask"],
    "resubmit_on": [[], ["unconfirmed"], ["failed", "moderated", "expired"], ["unconfirmed", "failed", "cleared"]],
}
ASKED_FOR = st.sampled_from([{}, {"prompt": "A green ball"}, {"prompt": "A red ball"}])
POINTS_OF_ALL = (*POINTS, ("ask", "before"))
CAREFUL = {word: values[0] for word, values in WORDS.items()}


class Reviewed(RuleBasedStateMachine):
    """One review of an Airflow that has no luck, and of a person who cannot decide."""

    def __init__(self, emulator: Any, mishaps: Mishaps, film: dict[str, Any], ti: Any) -> None:
        super().__init__()
        self.emulator, self.mishaps, self.film = emulator, mishaps, film
        self.emulator.reset()
        self.mishaps.__init__()  # type: ignore[misc]
        self.patch = pytest.MonkeyPatch()
        self.folder = Path(tempfile.mkdtemp(prefix="grokvideo-review-"))
        self.ledger = open_sqlite(str(self.folder / "ledger.db"))
        self.patch.setenv("AIRFLOW__GROKVIDEO__LEDGER_PATH", self.ledger.told)
        self.store: StateStore | None = None
        self.backend = "task_state_store"
        self.words: dict[str, Any] = dict(CAREFUL)
        self.ti = replace(ti, task_id="review", try_number=1, max_tries=RETRIES, xcoms={})
        self.state, self.pause = "ready", ("", "", "")
        self.last_answer: dict[str, Any] | None = None
        self.bought_for_it = 0
        self.wanted = 0
        self.undisturbed = True
        self.problem: GrokVideoError | None = None
        self.result: dict[str, Any] | None = None
        self.sound = True

    # What a person sees

    def journal(self) -> list[dict[str, Any]]:
        """Read the journal without the package."""
        if self.store is not None:
            return json.loads(self.store.values.get("grokvideo_journal", '{"purchases": []}'))["purchases"]
        if self.backend == "sql":
            return read_rows(self.folder / "ledger.db")
        return [json.loads(path.read_text()) for path in sorted((self.folder / "journal").rglob("[0-9]*.json"))]

    def write_journal(self, record: dict[str, Any]) -> None:
        """Change a record by hand."""
        if self.store is not None:
            whole = json.loads(self.store.values["grokvideo_journal"])
            whole["purchases"] = [record if each["token"] == record["token"] else each for each in whole["purchases"]]
            self.store.values["grokvideo_journal"] = json.dumps(whole)
            return
        if self.backend == "sql":
            write_row(self.folder / "ledger.db", record)
            return
        for path in (self.folder / "journal").rglob("[0-9]*.json"):
            if json.loads(path.read_text())["token"] == record["token"]:
                path.write_text(json.dumps(record))

    def unknown_starts(self) -> list[str]:
        """Return what was bought and no record names: what the console shows and the journal does not."""
        known = {record.get("request_id") for record in self.journal()}
        return [start.request_id for start in self.emulator.starts if start.request_id not in known]

    # One leg of the task

    def operator(self) -> GrokVideoReviewOperator:
        """Parse the DAG anew."""
        words = {**self.words, "destination": f"{self.folder}/{self.words['destination']}"}
        return GrokVideoReviewOperator(
            task_id="review", video=self.film, max_takes=MOST, poll_interval=0.01, retries=RETRIES, **words
        )

    def leg(self, call: Any, *, may_buy: int = 0) -> None:
        """Run a piece of the task in a worker, let Airflow take notice of how it ended, and look at the bill."""
        self.sound = False
        before = len(self.emulator.starts)
        self._run(call)
        bought = len(self.emulator.starts) - before
        self.bought_for_it += bought
        assert bought <= may_buy, f"bought {bought}, {may_buy} allowed; {self.journal()}"
        assert len(self.emulator.starts) <= self.wanted
        assert len(self.emulator.starts) <= MOST - 1
        counting = [record for record in self.journal() if record["phase"] != "withdrawn"]
        assert len(self.emulator.starts) <= len(counting), "a start that the journal does not know"
        self._check_files()
        self.sound = True

    def _run(self, call: Any) -> None:
        context = {"ti": self.ti, "task_state_store": self.store}
        try:
            self.result = json.loads(json.dumps(call(self.operator(), context)))
        except PAUSES as pause:
            if pause.method_name == "execute_after_review":
                self.state, self.pause = "asking", (pause.method_name, "", "")
            else:
                path, kwargs = pause.trigger.serialize()
                self.state, self.pause = "deferred", (pause.method_name, path, json.dumps(kwargs))
        except Killed:
            self._failed(final=False)
        except AirflowSkipException:
            assert self.last_answer is not None
            assert self.last_answer["chosen_options"] == ["Reject"]
            self.state = "skipped"
        except GrokVideoError as error:
            self.problem = error
            self._failed(final=isinstance(error, AirflowFailException))
        else:
            self.state = "success"

    def _failed(self, *, final: bool) -> None:
        again = not final and self.ti.try_number <= self.ti.max_tries
        self.state = "up_for_retry" if again else "failed"

    def _check_files(self) -> None:
        states = {start.request_id: start.state for start in self.emulator.starts}
        stored = {path.stem: path for path in self.folder.glob("takes/*.json")}
        for record in self.journal():
            if record["phase"] == "delivered":
                assert "done" == states[record["request_id"]]
                uri = Path(record["manifest"]["uri"].removeprefix("file://"))
                assert record["request_id"] == json.loads(stored[uri.stem].read_text())["request_id"]
                assert record["manifest"]["bytes"] == uri.stat().st_size

    def step(self) -> None:
        """Do what Airflow does next without a person."""
        if self.state == "deferred":
            method, path, kwargs = self.pause
            event = fire(path, json.loads(kwargs))
            self.leg(lambda task, context: task.resume_execution(method, {"event": event}, context))
            return
        if self.state == "up_for_retry":
            self.ti = replace(self.ti, try_number=self.ti.try_number + 1)
        # XCom begins empty, and an answer goes with its try.
        self.ti = replace(self.ti, xcoms={})
        self.ti.id = TI_ID
        self.last_answer = None
        self.leg(lambda task, context: task.execute(context))

    def hand_on(self, answer: dict[str, Any], may_buy: int) -> None:
        """Hand an answer to the task."""
        self.leg(
            lambda task, context: task.resume_execution("execute_after_review", {"event": answer}, context),
            may_buy=may_buy,
        )

    def _is_busy(self) -> bool:
        return self.state in ("ready", "up_for_retry", "deferred")

    # What may happen

    @initialize(
        backend=st.sampled_from(["journal_path", "sql"]),
        tempo=st.sampled_from(["at-once", "polls:1"]),
        words=st.fixed_dictionaries({word: st.sampled_from(values) for word, values in WORDS.items()}),
    )
    def begin(self, backend: str, tempo: str, words: dict[str, Any]) -> None:
        self.words = words
        self.emulator.set_tempo(tempo)
        self.backend = backend
        if backend == "journal_path":
            self.patch.setenv("AIRFLOW__GROKVIDEO__JOURNAL_PATH", str(self.folder / "journal"))
        self.step()

    @precondition(_is_busy)
    @rule()
    def airflow_goes_on(self) -> None:
        self.step()

    @precondition(_is_busy)
    @rule()
    def airflow_goes_on_to_the_question(self) -> None:
        while self._is_busy():
            self.step()

    @precondition(lambda self: self.state == "asking")
    @rule(words=ASKED_FOR)
    def person_wants_another_take(self, words: dict[str, Any]) -> None:
        self.last_answer = said("Another take", **words)
        self.wanted += 1
        self.bought_for_it = 0
        has_room = len([r for r in self.journal() if r["phase"] != "withdrawn"]) < MOST - 1
        exact = self.undisturbed and has_room
        before = len(self.emulator.starts)
        self.hand_on(self.last_answer, 1)
        assert not exact or len(self.emulator.starts) == before + 1, "an answer that bought nothing"

    @rule(words=ASKED_FOR)
    def person_has_another_take_made(self, words: dict[str, Any]) -> None:
        self._to_the_question()
        if self.state == "asking":
            self.person_wants_another_take(words)
            self.airflow_goes_on_to_the_question()

    @rule(words=ASKED_FOR, point=st.sampled_from(POINTS_OF_ALL))
    def worker_dies_over_another_take(self, words: dict[str, Any], point: tuple[str, str]) -> None:
        self._to_the_question()
        if self.state == "asking":
            self.worker_will_die(point)
            self.person_wants_another_take(words)

    def _to_the_question(self) -> None:
        if self.state in ("success", "skipped", "failed"):
            self._clear()
        self.airflow_goes_on_to_the_question()

    @precondition(lambda self: self.state == "asking")
    @rule(take=st.sampled_from(["latest", "1", "2", "3"]))
    def person_approves(self, take: str) -> None:
        self.last_answer = said("Approve", take=take)
        self.bought_for_it = 0
        self.hand_on(self.last_answer, 0)

    @precondition(lambda self: self.state == "asking")
    @rule()
    def person_rejects(self) -> None:
        self.last_answer = said("Reject")
        self.hand_on(self.last_answer, 0)

    @precondition(lambda self: self.last_answer is not None and self.state in ("asking", "deferred", "success"))
    @rule()
    def answer_comes_twice(self) -> None:
        assert self.last_answer is not None
        wants = self.last_answer["chosen_options"] == ["Another take"]
        self.hand_on(self.last_answer, int(wants and self.bought_for_it == 0))

    @rule()
    def person_clears(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self.ti = replace(self.ti, try_number=self.ti.try_number + 1, max_tries=self.ti.try_number + RETRIES)
        self.state = "ready"

    @precondition(lambda self: self.state == "deferred")
    @rule()
    def trigger_is_lost(self) -> None:
        lost = {"error": "Trigger failure"}
        self.leg(lambda task, context: task.resume_execution("__fail__", lost, context))

    @rule(fault=st.sampled_from(FAULTS))
    def service_misbehaves(self, fault: tuple[str, dict[str, Any]]) -> None:
        self.undisturbed = False
        self.emulator.script(fault[0], **fault[1])

    @rule(point=st.sampled_from(POINTS_OF_ALL))
    def worker_will_die(self, point: tuple[str, str]) -> None:
        self.undisturbed = False
        self.mishaps.death = point

    @rule(after=st.integers(0, 12), operations=st.integers(1, 10), hits=st.booleans())
    def journal_will_fail(self, after: int, operations: int, hits: bool) -> None:
        self.undisturbed = False
        self.mishaps.outage_after, self.mishaps.outage, self.mishaps.outage_hits = after, operations, hits

    @rule(change=st.sampled_from([(word, value) for word, values in WORDS.items() for value in values]))
    def author_edits(self, change: tuple[str, Any]) -> None:
        self.words[change[0]] = change[1]

    @rule()
    def person_settles_what_is_in_doubt(self) -> None:
        """Look into the console: adopt what was accepted, forget what was not."""
        unknown = self.unknown_starts()
        for record in self.journal():
            if record["phase"] == "intent" and unknown:
                found = {"request_id": unknown.pop(0), "submitted_at": record["intended_at"], "phase": "submitted"}
                self.write_journal({**record, **found, "note": "adopted by hand"})
            elif record["phase"] == "intent":
                self.write_journal({**record, "phase": "withdrawn", "note": "forgotten by hand"})

    # How it all has to end

    def teardown(self) -> None:
        """Let everything calm down: what was bought and is done is stored, and the latest take can be approved."""
        try:
            if self.sound:
                self._calm_down()
        finally:
            self.patch.undo()
            shutil.rmtree(self.folder, ignore_errors=True)

    def _calm_down(self) -> None:
        self.mishaps.death, self.mishaps.outage = None, 0
        self.words = {**CAREFUL, "resubmit_on": [each for each in self.words["resubmit_on"] if each == "unconfirmed"]}
        self.person_settles_what_is_in_doubt()
        bought = len(self.emulator.starts)
        for _ in range(60):
            self._clear()
            while self._is_busy():
                self.step()
            if self.state == "asking":
                break
            assert isinstance(self.problem, DeliveryFailed | WaitTimeout | AuthenticationFailed), self.problem
        self.hand_on(said("Approve"), 0)

        assert "success" == self.state
        assert bought == len(self.emulator.starts)
        delivered = [record["request_id"] for record in self.journal() if record["phase"] == "delivered"]
        assert self.result is not None
        assert (delivered or [self.film["request_id"]])[-1] == self.result["request_id"]
        last = self.emulator.starts[-1] if bought else None
        if last is not None and last.state not in BAD_ENDS:
            assert last.request_id == self.result["request_id"]
        assert self.emulator.billed_ticks <= sum(entry.counted for entry in self.ledger.entries())


@pytest.fixture
def mishaps() -> Iterator[Mishaps]:
    """Wrap what can go wrong, and take the pauses out."""
    with pytest.MonkeyPatch.context() as patch:
        planned = Mishaps()
        planned.install(patch)
        for name in ("defer", "execute_complete"):
            planned._wrap(patch, GrokVideoReviewOperator, name, functools.partial(_named, name))
        planned._wrap(patch, approval, "ask", functools.partial(_named, "ask"))
        let_time_fly(patch)
        yield planned


def _named(name: str, *_: Any) -> str:
    return name


@pytest.fixture
def film(grokvideo_emulator: Any, grokvideo_connection: Any, tmp_path: Path, ti: Any) -> dict[str, Any]:
    """A clip of one second that another task has made."""
    grokvideo_emulator.set_tempo("at-once")
    make = GrokVideoGenerateOperator(
        task_id="film", prompt="A red ball", duration=1, deferrable=False, destination=str(tmp_path / "film.mp4")
    )
    with contextlib.suppress(TaskDeferred):
        return make.execute({"ti": ti})
    raise AssertionError("the clip was not made")


@pytest.mark.deep
def test_whatever_happens_each_wish_for_another_take_buys_at_most_one(
    grokvideo_emulator, mishaps, film, ti, monkeypatch
):
    """No crash, fault, retry, clear or repeated answer buys a take nobody asked for, nor loses one that was bought."""
    from airflow.sdk.execution_time import task_runner

    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", Desk(), raising=False)
    run_state_machine_as_test(
        lambda: Reviewed(grokvideo_emulator, mishaps, film, ti),
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            derandomize="GROKVIDEO_MODEL_EXAMPLES" not in os.environ,
            database=None,
            print_blob=True,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )
