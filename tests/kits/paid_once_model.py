"""Any sequence of crashes, faults, retries, clears and policies, through the real operator against the real emulator.

The model knows nothing of the decisions of the package. It reads the journal as a person would, and holds it against
the ledger of the emulator, which is the bill.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from mishaps import POINTS, Killed, Mishaps, StateStore, read_rows, write_row

from airflow_provider_grokvideo.compat import (
    AirflowFailException,
    AirflowSkipException,
    TaskDeferred,
)
from airflow_provider_grokvideo.core.errors import (
    AmbiguousSubmit,
    AuthenticationFailed,
    DeliveryFailed,
    GrokVideoError,
    JournalUnavailable,
    RateLimited,
    ServiceUnavailable,
    VideoExpired,
    VideoFailed,
    VideoModerated,
    WaitTimeout,
)
from airflow_provider_grokvideo.operators.grokvideo import GrokVideoGenerateOperator

EXAMPLES = int(os.environ.get("GROKVIDEO_MODEL_EXAMPLES", "60"))
STEPS = int(os.environ.get("GROKVIDEO_MODEL_STEPS", "30"))

RETRIES = 2
PRICE_TICKS = 500_000_000
"""One second at 480p on the default model costs 0.05 USD (contract §4)."""

PROMPTS = ("A red ball", "A green ball")
WORDS: dict[str, list[Any]] = {
    "prompt": list(PROMPTS),
    "unconfirmed": [[], ["unconfirmed"]],
    "cleared": [[], ["cleared"]],
    "ends": [[], ["failed"], ["moderated"], ["expired"], ["failed", "moderated", "expired"]],
    "on_moderated": ["fail", "skip"],
    "wait_for_completion": [True, False],
    "deferrable": [True, False],
    "timeout": [900.0, 1e-6],
    "destination": ["one/", "two/", None],
}
CAREFUL = {word: values[0] for word, values in WORDS.items()}

FAULTS: list[tuple[str, dict[str, Any]]] = [
    ("lost_answer", {"on": "submit"}),
    ("accept_then_502", {"on": "submit"}),
    ("http:429", {"on": "submit", "times": 3}),
    ("http:429", {"on": "submit"}),
    ("http:503", {"on": "submit"}),
    ("http:400", {"on": "submit"}),
    ("cut_before", {"on": "submit"}),
    ("http:500", {"on": "poll", "times": 4}),
    ("cut_before", {"on": "poll"}),
    ("http:429", {"on": "poll"}),
    ("html_200", {"on": "poll"}),
    ("revoked", {"on": "poll"}),
    ("truncated", {"on": "download", "times": 5}),
    ("truncated:short", {"on": "download"}),
    ("expired_link", {"on": "download"}),
    ("expired_link", {"on": "download", "times": 2}),
    ("http:503", {"on": "download", "times": 5}),
    ("wrong_bytes", {"on": "download"}),
    ("moderated:a", {}),
    ("moderated:b", {}),
    ("moderated:c", {}),
    ("failed:internal_error", {}),
    ("expired", {}),
    ("gone", {}),
]
BAD_ENDS = {
    "moderated": VideoModerated,
    "failed": VideoFailed,
    "expired": VideoExpired,
    "gone": VideoExpired,
}


def fire(path: str, kwargs: dict[str, Any]) -> dict[str, Any]:
    """Run a trigger from its serialized form, without the wait for the scheduler, and return its one event."""
    module, _, name = path.rpartition(".")

    async def collect() -> list[dict[str, Any]]:
        trigger = getattr(import_module(module), name)(**{**kwargs, "not_before": None})
        return [event.payload async for event in trigger.run()]

    (event,) = asyncio.run(collect())
    return event


class PaidOnce(RuleBasedStateMachine):
    """One task instance of an Airflow that has no luck."""

    def __init__(self, emulator: Any, mishaps: Mishaps, ti: Any) -> None:
        super().__init__()
        self.emulator, self.mishaps = emulator, mishaps
        self.emulator.reset()
        self.mishaps.__init__()  # type: ignore[misc]
        self.patch = pytest.MonkeyPatch()
        self.patch.setenv("AIRFLOW__GROKVIDEO__LEDGER_PATH", "none")
        self.folder = Path(tempfile.mkdtemp(prefix="grokvideo-model-"))
        self.store: StateStore | None = None
        self.backend = "task_state_store"
        self.words: dict[str, Any] = dict(CAREFUL)
        self.ti = replace(ti, try_number=1, max_tries=RETRIES, xcoms={})
        self.state = "ready"
        self.deferral: tuple[str, str, str] | None = None
        self.event: dict[str, Any] | None = None
        self.subject = self.words["prompt"]
        self.offline = False
        self.now = 0
        self.cleared_at = 0
        self.ended_at: dict[str, int] = {}
        self.handed_at: dict[str, int] = {}
        self.fingerprints: dict[str, str] = {}
        self.forgotten: set[str] = set()
        self.sound = True

    # What a person sees

    @property
    def journal_folder(self) -> Path:
        return self.folder / "journal"

    def journal(self) -> list[dict[str, Any]]:
        """Read the journal without the package."""
        if self.store is not None:
            return json.loads(self.store.values.get("grokvideo_journal", '{"purchases": []}'))["purchases"]
        if self.backend == "sql":
            return read_rows(self.folder / "ledger.db")
        return [json.loads(path.read_text()) for path in sorted(self.journal_folder.rglob("[0-9]*.json"))]

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
        for path in self.journal_folder.rglob("[0-9]*.json"):
            if json.loads(path.read_text())["token"] == record["token"]:
                path.write_text(json.dumps(record))

    def records(self, prompt: str) -> list[dict[str, Any]]:
        """Return the purchases of a prompt."""
        fingerprint = self.fingerprints.get(prompt)
        return [record for record in self.journal() if record["fingerprint"] == fingerprint]

    def last(self, prompt: str) -> dict[str, Any] | None:
        """Return the last purchase of a prompt that counts."""
        return next((r for r in reversed(self.records(prompt)) if r["phase"] != "withdrawn"), None)

    def starts(self, prompt: str) -> list[Any]:
        """Return what was billed for a prompt."""
        return [start for start in self.emulator.starts if start.prompt == prompt]

    def unknown_starts(self, prompt: str) -> list[str]:
        """Return the requests that were bought and that no record names: what the console shows and the journal not."""
        known = {record.get("request_id") for record in self.journal()}
        return [start.request_id for start in self.starts(prompt) if start.request_id not in known]

    def may_buy(self) -> bool:
        """Say whether a purchase is allowed at the next try: the first one, or one that somebody asked for."""
        record = self.last(self.words["prompt"])
        if record is None:
            return True
        if record["phase"] == "intent":
            return bool(self.words["unconfirmed"])
        if record.get("outcome") in self.words["ends"]:
            return True
        ended = {**self.handed_at, **self.ended_at}.get(record["token"])
        return bool(self.words["cleared"]) and ended is not None and self.cleared_at > ended

    # One step of Airflow

    def operator(self) -> GrokVideoGenerateOperator:
        """Parse the DAG anew."""
        words = dict(self.words)
        words["resubmit_on"] = [*words.pop("unconfirmed"), *words.pop("cleared"), *words.pop("ends")]
        if words["destination"] is not None:
            words["destination"] = f"{self.folder}/{words['destination']}"
        return GrokVideoGenerateOperator(task_id="make", duration=1, poll_interval=0.01, retries=RETRIES, **words)

    @contextmanager
    def audited(self, may_buy: bool) -> Iterator[None]:
        """Hold the ledger against the journal after a step."""
        self.sound = False
        self.now += 1
        prompt = self.subject
        before = {each: len(self.starts(each)) for each in PROMPTS}
        yield
        for record in self.journal():
            if record["phase"] in ("delivered", "ended"):
                self.ended_at.setdefault(record["token"], self.now)
            elif record.get("manifest"):
                # Handed on: as after a delivery, a worker that dies now has done its work.
                self.handed_at.setdefault(record["token"], self.now)
        for each in PROMPTS:
            bought = len(self.starts(each)) - before[each]
            allowed = int(may_buy and each == prompt)
            assert bought <= allowed, f"bought {bought} times {each!r}, {allowed} allowed: {self.last(each)}"
            counting = [r for r in self.records(each) if r["phase"] != "withdrawn" or r["token"] in self.forgotten]
            assert len(self.starts(each)) <= len(counting), f"a start of {each!r} that the journal does not know"
        billed = sum(PRICE_TICKS for start in self.emulator.starts if not self._unbilled(start))
        assert billed == self.emulator.billed_ticks
        self._check_files()
        self.sound = True

    @staticmethod
    def _unbilled(start: Any) -> bool:
        return start.billed_ticks == 0 and start.state in ("failed", "pending")

    def _check_files(self) -> None:
        states = {start.request_id: start.state for start in self.emulator.starts}
        for record in self.journal():
            if record["phase"] == "delivered":
                assert "done" == states[record["request_id"]]
            if record["phase"] == "ended":
                assert record["outcome"] == states[record["request_id"]]
        for path in [*self.folder.glob("one/*.mp4"), *self.folder.glob("two/*.mp4")]:
            assert "done" == states[path.stem]

    def attempt(self, call: Any) -> tuple[str, Any]:
        """Run a piece of the task in a worker and let Airflow take notice of how it ended."""
        resumed = self.state == "event"
        if not resumed:
            self.subject = self.words["prompt"]
        held = self.last(self.subject)
        may_buy = self.may_buy() and not resumed
        outages = self.mishaps.outages_seen
        seen = {record["token"] for record in self.journal()}
        with self.audited(may_buy):
            how, what = self._attempt(call)
            self._learn(seen)
            trouble = self.mishaps.outages_seen > outages
            self._check_outcome(how, what, held, may_buy, trouble)
        return how, what

    def _learn(self, seen: set[str]) -> None:
        prompt = self.subject
        for record in self.journal():
            if record["token"] not in seen:
                assert self.fingerprints.setdefault(prompt, record["fingerprint"]) == record["fingerprint"]

    def _attempt(self, call: Any) -> tuple[str, Any]:
        try:
            result = call()
        except TaskDeferred as deferral:
            path, kwargs = deferral.trigger.serialize()
            self.deferral, self.event = (deferral.method_name, path, json.dumps(kwargs)), None
            self.state = "deferred"
            return "deferred", kwargs["request_id"]
        except Killed as death:
            self._failed(final=False)
            return "killed", death
        except AirflowSkipException as skip:
            self.state = "skipped"
            return "skipped", skip
        except GrokVideoError as error:
            self._failed(final=isinstance(error, AirflowFailException))
            return "failed", error
        self.state = "success"
        return "success", json.loads(json.dumps(result))

    def _failed(self, *, final: bool) -> None:
        again = not final and self.ti.try_number <= self.ti.max_tries
        self.state = "up_for_retry" if again else "failed"

    def _check_outcome(self, how: str, what: Any, held: Any, may_buy: bool, trouble: bool) -> None:
        prompt = self.subject
        now_held = self.last(prompt)
        mine = [start.request_id for start in self.starts(prompt)]
        held_id = held.get("request_id") if held else None
        if how == "deferred":
            assert what in mine
            if held_id is not None and not may_buy:
                assert held_id == what
        elif how == "success":
            assert what["request_id"] in mine
            if held_id is not None and not may_buy:
                assert held_id == what["request_id"]
            if what["status"] == "submitted":
                assert not self.words["wait_for_completion"]
                if now_held is not None:
                    self.handed_at.setdefault(now_held["token"], self.now)
            else:
                assert "done" == what["status"]
                assert (self.words["destination"] is None) <= (what["uri"] is None or held is not None)
                if what["uri"] is not None:
                    self._check_delivered(what)
        elif how == "skipped":
            assert "skip" == self.words["on_moderated"]
            assert any(start.state == "moderated" and start.request_id in str(what) for start in self.starts(prompt))
        elif how == "failed":
            self._check_error(what, held, now_held, mine, may_buy, trouble)

    def _check_delivered(self, manifest: dict[str, Any]) -> None:
        path = Path(manifest["uri"].removeprefix("file://"))
        sidecar = json.loads(Path(manifest["sidecar_uri"].removeprefix("file://")).read_text())
        assert manifest["bytes"] == path.stat().st_size
        assert f"{manifest['request_id']}.mp4" == path.name
        assert manifest["request_id"] == sidecar["request_id"]

    def _check_error(
        self, error: GrokVideoError, held: Any, now_held: Any, mine: list[str], may_buy: bool, trouble: bool
    ) -> None:
        text = str(error)
        known = now_held.get("request_id") if now_held else None
        final = isinstance(error, AirflowFailException)
        assert error.what_to_do.strip() or any(each in text for each in mine), text
        if isinstance(error, AmbiguousSubmit):
            assert now_held is not None
            assert "intent" == now_held["phase"], text
            assert final == (not self.words["unconfirmed"])
            assert not final or ("journal adopt films" in text and "journal forget films" in text)
            return
        if isinstance(error, JournalUnavailable):
            assert trouble, text
            return
        # A resumed task may know the id that could not be saved before it deferred, and has written it down by now.
        unconfirmed = held is not None and held["phase"] == "intent" and known is None
        if unconfirmed and not self.words["unconfirmed"]:
            raise AssertionError(f"an intent led to {error!r}")
        if known is not None and held is not None and held.get("request_id") == known and not may_buy:
            assert known in text
        if known is not None and now_held.get("outcome") is None and not trouble:
            goes_on = isinstance(error, DeliveryFailed | WaitTimeout | ServiceUnavailable | RateLimited)
            assert not (goes_on and final), text

    def execute(self) -> tuple[str, Any]:
        """Begin a try."""
        if self.state == "up_for_retry":
            self.ti = replace(self.ti, try_number=self.ti.try_number + 1)
        self.ti = replace(self.ti, xcoms={})
        self.deferral = self.event = None
        context = {"ti": self.ti, "task_state_store": self.store}
        with self._network():
            return self.attempt(lambda: self.operator().execute(context))

    def resume(self, event: Any) -> tuple[str, Any]:
        """Resume a deferred try."""
        assert self.deferral is not None
        method, kwargs = self.deferral[0], {"event": event}
        if event == "lost":
            method, kwargs = "__fail__", {"error": "Trigger failure"}
        context = {"ti": self.ti, "task_state_store": self.store}
        self.state = "event"
        with self._network():
            return self.attempt(lambda: self.operator().resume_execution(method, kwargs, context))

    @contextmanager
    def _network(self) -> Iterator[None]:
        """Point the connection to a port where nobody listens, for one step."""
        if not self.offline or not self.words["deferrable"]:
            yield
            return
        self.offline = False
        kept = os.environ["AIRFLOW_CONN_GROKVIDEO_DEFAULT"]
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            host = f"http://127.0.0.1:{nobody.getsockname()[1]}/v1"
            self.patch.setenv("AIRFLOW_CONN_GROKVIDEO_DEFAULT", json.dumps({**json.loads(kept), "host": host}))
            try:
                yield
            finally:
                self.patch.setenv("AIRFLOW_CONN_GROKVIDEO_DEFAULT", kept)

    def step(self) -> tuple[str, Any]:
        """Do what Airflow would do next."""
        if self.state in ("ready", "up_for_retry"):
            return self.execute()
        if self.event is None:
            assert self.deferral is not None
            self.event = fire(self.deferral[1], json.loads(self.deferral[2]))
            return "event", self.event
        return self.resume(self.event)

    def _is_busy(self) -> bool:
        return self.state in ("ready", "up_for_retry", "deferred")

    # What may happen

    @initialize(
        backend=st.sampled_from(["task_state_store", "journal_path", "sql"]),
        tempo=st.sampled_from(["at-once", "polls:1", "polls:2"]),
        words=st.fixed_dictionaries({word: st.sampled_from(values) for word, values in WORDS.items()}),
    )
    def begin(self, backend: str, tempo: str, words: dict[str, Any]) -> None:
        self.words = words
        self.emulator.set_tempo(tempo)
        if backend == "task_state_store" and os.environ["AIRFLOW__GROKVIDEO__LEDGER_PATH"] != "none":
            # Where there is a ledger its database is the journal, too.
            backend = "sql"
        self.backend = backend
        if backend == "task_state_store":
            self.store = StateStore(self.mishaps)
        elif backend == "sql":
            self.patch.setenv("AIRFLOW__GROKVIDEO__LEDGER_PATH", str(self.folder / "ledger.db"))
        else:
            self.patch.setenv("AIRFLOW__GROKVIDEO__JOURNAL_PATH", str(self.journal_folder))

    @precondition(_is_busy)
    @rule()
    def airflow_goes_on(self) -> None:
        self.step()

    @precondition(_is_busy)
    @rule()
    def airflow_goes_on_to_the_end(self) -> None:
        while self._is_busy():
            self.step()

    @rule()
    def person_clears(self) -> None:
        self._clear()

    def _clear(self) -> None:
        if self.state == "ready":
            return
        self.ti = replace(self.ti, try_number=self.ti.try_number + 1, max_tries=self.ti.try_number + RETRIES, xcoms={})
        self.deferral = self.event = None
        self.state = "ready"
        self.now += 1
        self.cleared_at = self.now

    @precondition(lambda self: self.state == "deferred")
    @rule()
    def trigger_is_lost(self) -> None:
        self.resume("lost")

    @precondition(lambda self: self.state == "deferred")
    @rule()
    def trigger_runs_again(self) -> None:
        assert self.deferral is not None
        self.event = fire(self.deferral[1], json.loads(self.deferral[2]))

    @precondition(lambda self: self.state == "success" and self.event is not None)
    @rule()
    def event_comes_twice(self) -> None:
        self.resume(self.event)

    @rule(fault=st.sampled_from(FAULTS))
    def service_misbehaves(self, fault: tuple[str, dict[str, Any]]) -> None:
        self.emulator.script(fault[0], **fault[1])

    @rule(point=st.sampled_from(POINTS))
    def worker_will_die(self, point: tuple[str, str]) -> None:
        self.mishaps.death = point

    @rule(after=st.integers(0, 12), operations=st.integers(1, 10), hits=st.booleans())
    def journal_will_fail(self, after: int, operations: int, hits: bool) -> None:
        self.mishaps.outage_after, self.mishaps.outage, self.mishaps.outage_hits = after, operations, hits

    @rule()
    def network_will_fail(self) -> None:
        self.offline = True

    @rule(change=st.sampled_from([(word, value) for word, values in WORDS.items() for value in values]))
    def author_edits(self, change: tuple[str, Any]) -> None:
        self.words[change[0]] = change[1]

    @rule()
    def person_deletes_the_files(self) -> None:
        for path in self.folder.glob("*/*.mp4"):
            path.unlink()

    @precondition(lambda self: self.unknown_starts(self.words["prompt"]))
    @rule()
    def person_finds_the_request(self) -> None:
        prompt = self.words["prompt"]
        request_id = self.unknown_starts(prompt)[-1]
        record = self.last(prompt)
        if record is not None and record["phase"] == "intent":
            adopted = {"phase": "submitted", "request_id": request_id, "submitted_at": record["intended_at"]}
            self.write_journal({**record, **adopted, "note": "adopted by hand"})

    @rule()
    def person_forgets(self) -> None:
        record = self.last(self.words["prompt"])
        if record is not None and record["phase"] == "intent":
            self.forgotten.add(record["token"])
            self.write_journal({**record, "phase": "withdrawn", "note": "forgotten by hand"})

    # How it all has to end

    def teardown(self) -> None:
        """Let everything calm down: what was bought and finished is delivered, and nothing more is bought."""
        try:
            if self.sound:
                for prompt in PROMPTS:
                    self._calm_down(prompt)
        finally:
            self.patch.undo()
            shutil.rmtree(self.folder, ignore_errors=True)

    def _calm_down(self, prompt: str) -> None:
        record = self.last(prompt)
        if record is None:
            return
        self.mishaps.death, self.mishaps.outage, self.offline = None, 0, False
        self.words = {**CAREFUL, "prompt": prompt}
        how, what = self._until_it_stays(prompt)
        if record["phase"] == "intent":
            assert "failed" == how
            assert isinstance(what, AmbiguousSubmit)
            return
        (start,) = [each for each in self.starts(prompt) if each.request_id == record["request_id"]]
        if start.state in BAD_ENDS:
            assert "failed" == how
            assert isinstance(what, BAD_ENDS[start.state])
            assert start.request_id in str(what)
            return
        assert ("success", record["request_id"]) == (how, what["request_id"])
        self._check_delivered(what)
        seen = len(self.emulator.requests)
        assert ("success", {**what, "url": None, "reused": True}) == self._run_cleared()
        assert seen == len(self.emulator.requests)

    def _until_it_stays(self, prompt: str) -> tuple[str, Any]:
        for _ in range(60):
            how, what = self._run_cleared()
            if how == "success" or isinstance(what, AmbiguousSubmit | VideoFailed | VideoExpired):
                return how, what
            assert isinstance(what, DeliveryFailed | WaitTimeout | AuthenticationFailed), what
        raise AssertionError(f"{prompt!r} never comes to an end: {what}")

    def _run_cleared(self) -> tuple[str, Any]:
        self._clear()
        how, what = self.step()
        while self._is_busy():
            how, what = self.step()
        return how, what
