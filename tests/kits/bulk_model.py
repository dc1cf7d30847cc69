"""Any sequence of crashes, faults, retries, clears and edits of a table, through the real operator and emulator.

The model knows nothing of the decisions of the package. It reads the journal as a person would, and holds it against
the ledger of the emulator, which is the bill.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from airflow_kit import TaskInstance, fire
from bulk_kit import context_of, lines_of, table_task
from bulk_mishaps import BULK_POINTS, BulkMishaps
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from mishaps import Killed, read_rows, write_row
from paid_once_model import FAULTS, PRICE_TICKS

from airflow_provider_grokvideo.compat import AirflowFailException, TaskDeferred
from airflow_provider_grokvideo.core.errors import GrokVideoError, RowsFailed
from airflow_provider_grokvideo.ledger.sql import open_sqlite
from airflow_provider_grokvideo.sensors.grokvideo import GrokVideoSensor

EXAMPLES = int(os.environ.get("GROKVIDEO_MODEL_EXAMPLES", "40"))
STEPS = int(os.environ.get("GROKVIDEO_MODEL_STEPS", "20"))

RETRIES = 2
IDS = ("a", "b", "C", "c", "-e")
VERSIONS = (1, 2)
LITTLE = 2.5 * PRICE_TICKS / 10**10
"""A budget in dollars for two rows."""

WORDS: dict[str, list[Any]] = {
    "unconfirmed": [[], ["unconfirmed"]],
    "cleared": [[], ["cleared"]],
    "ends": [[], ["failed"], ["moderated"], ["expired"], ["failed", "moderated", "expired"]],
    "on_moderated": ["fail", "skip"],
    "on_row_error": ["collect", "stop"],
    "deferrable": [True, False],
    "max_in_flight": [20, 1, 2],
    "min_success_ratio": [1.0, 0.0],
    "timeout": [900.0, 1e-6],
    "budgets": [[], [{"usd": LITTLE, "per": "dag"}], [{"usd": 10, "per": "dag"}]],
}
CAREFUL = {word: values[0] for word, values in WORDS.items()}
TABLE_FAULTS = [
    *FAULTS,
    ("lost_answer", {"on": "submit", "times": 3}),
    ("http:503", {"on": "submit", "times": 5}),
    ("no_credits", {"on": "submit"}),
    ("wrong_bytes", {"on": "download", "times": 8}),
]

Key = tuple[str, int]
"""A row with what it asks for: its id and the version of its prompt."""

KEYS: list[Key] = [(name, version) for name in IDS for version in VERSIONS]


def prompt_of(key: Key) -> str:
    """Return the prompt of a row."""
    return f"Row {key[0]} take {key[1]}"


class PaidTable(RuleBasedStateMachine):
    """One bulk task of an Airflow that has no luck."""

    def __init__(self, emulator: Any, mishaps: BulkMishaps) -> None:
        super().__init__()
        self.emulator, self.mishaps = emulator, mishaps
        self.emulator.reset()
        self.mishaps.__init__()  # type: ignore[misc]
        self.patch = pytest.MonkeyPatch()
        self.folder = Path(tempfile.mkdtemp(prefix="grokvideo-table-"))
        self.ledger = open_sqlite(str(self.folder / "ledger.db"))
        self.patch.setenv("AIRFLOW__GROKVIDEO__LEDGER_PATH", self.ledger.told)
        self.connection = json.loads(os.environ["AIRFLOW_CONN_GROKVIDEO_DEFAULT"])
        self.files = False
        self.words: dict[str, Any] = dict(CAREFUL)
        self.table: list[Key] = []
        self.budgets_at_begin: list[Any] = []
        self.ti = TaskInstance(max_tries=RETRIES)
        self.state = "ready"
        self.deferral: tuple[str, str, str] | None = None
        self.event: Any = None
        self.now = self.cleared_at = 0
        self.ended_at: dict[str, int] = {}
        self.fingerprints: dict[Key, str] = {}
        self.forgotten: set[str] = set()
        self.bought_in_try: Counter[Key] = Counter()
        self.sound = True

    # What a person sees

    @property
    def clips(self) -> Path:
        return self.folder / "clips"

    def journal(self) -> list[dict[str, Any]]:
        """Read the journal without the package."""
        if not self.files:
            return read_rows(self.folder / "ledger.db")
        paths = sorted((self.folder / "journal").rglob("[0-9]*.json"), key=lambda path: path.name)
        return [json.loads(path.read_text()) for path in paths]

    def write_journal(self, record: dict[str, Any]) -> None:
        """Change a record by hand."""
        if not self.files:
            write_row(self.folder / "ledger.db", record)
            return
        for path in (self.folder / "journal").rglob("[0-9]*.json"):
            if json.loads(path.read_text())["token"] == record["token"]:
                path.write_text(json.dumps(record))

    def records(self, key: Key) -> list[dict[str, Any]]:
        """Return the purchases of a row as it is now."""
        fingerprint = self.fingerprints.get(key)
        return [r for r in self.journal() if r["item"] == key[0] and r["fingerprint"] == fingerprint]

    def last(self, key: Key) -> dict[str, Any] | None:
        """Return the last purchase of a row that counts."""
        return next((r for r in reversed(self.records(key)) if r["phase"] != "withdrawn"), None)

    def starts(self, key: Key) -> list[Any]:
        """Return what was billed for a row."""
        return [start for start in self.emulator.starts if start.prompt == prompt_of(key)]

    def unknown_starts(self, key: Key) -> list[str]:
        """Return the requests that were bought and that no record names: what the console shows and the journal not."""
        known = {record.get("request_id") for record in self.journal()}
        return [start.request_id for start in self.starts(key) if start.request_id not in known]

    def may_buy(self, key: Key) -> bool:
        """Say whether a purchase is allowed: the first one, or one that somebody asked for."""
        record = self.last(key)
        if key not in self.table:
            return False
        if record is None:
            return True
        if record["phase"] == "intent":
            return bool(self.words["unconfirmed"])
        if record.get("outcome") in self.words["ends"]:
            return True
        ended = self.ended_at.get(record["token"])
        return bool(self.words["cleared"]) and ended is not None and self.cleared_at > ended

    # One step of Airflow

    def operator(self) -> Any:
        """Parse the DAG anew."""
        words = dict(self.words)
        words["resubmit_on"] = [*words.pop("unconfirmed"), *words.pop("cleared"), *words.pop("ends")]
        rows = [{"id": key[0], "prompt": prompt_of(key), "duration": 1} for key in self.table]
        return table_task(self.clips, rows, poll_interval=0.01, retries=RETRIES, **words)()

    def execute(self) -> tuple[str, Any]:
        """Begin a try."""
        if self.state == "up_for_retry":
            self.ti = replace(self.ti, try_number=self.ti.try_number + 1)
        self.ti = replace(self.ti, xcoms={})
        self.deferral = self.event = None
        self.bought_in_try.clear()
        self.budgets_at_begin = self.words["budgets"]
        return self.attempt(lambda: self.operator().execute(context_of(self.ti)))

    def resume(self, event: Any) -> tuple[str, Any]:
        """Resume a deferred try."""
        assert self.deferral is not None
        method, kwargs = self.deferral[0], {"event": event}
        if event == "lost":
            method, kwargs = "__fail__", {"error": "Trigger failure"}
        return self.attempt(lambda: self.operator().resume_execution(method, kwargs, context_of(self.ti)))

    def attempt(self, call: Callable[[], Any]) -> tuple[str, Any]:
        """Run a leg in a worker and let Airflow take notice of how it ended."""
        self.mishaps.new_worker()
        ledger_seen = self.mishaps.ledger_seen
        with self.audited():
            how, what = self._attempt(call)
            trouble = self.mishaps.ledger_seen > ledger_seen
            if how in ("success", "failed") and not trouble:
                self._check_nothing_is_held()
        return how, what

    def _attempt(self, call: Callable[[], Any]) -> tuple[str, Any]:
        try:
            result = call()
        except TaskDeferred as deferral:
            path, kwargs = deferral.trigger.serialize()
            assert len(str(kwargs)) <= 16_000
            given = json.dumps(kwargs, default=lambda value: value.isoformat())
            self.deferral, self.event = (deferral.method_name, path, given), None
            self.state = "deferred"
            return "deferred", kwargs
        except Killed as death:
            self._failed(final=False)
            return "killed", death
        except GrokVideoError as error:
            self._failed(final=isinstance(error, AirflowFailException))
            return "failed", error
        self.state = "success"
        self._check_result(json.loads(json.dumps(result)))
        return "success", result

    def _failed(self, *, final: bool) -> None:
        again = not final and self.ti.try_number <= self.ti.max_tries
        self.state = "up_for_retry" if again else "failed"

    def _check_result(self, result: dict[str, Any]) -> None:
        """See that a task that succeeds has what it says, and that the table says the same."""
        lines = lines_of(self.clips / "make.jsonl")
        in_table = [line["id"] for line in lines][: len(self.table)]
        assert [name for name, _ in self.table] == in_table
        counts = Counter(line["status"] for line in lines[: len(self.table)])
        assert dict(counts) == result["counts"]
        assert not counts["submitted"], "a paid row that is not stored must not succeed"
        if self.words["min_success_ratio"] == 1.0 and self.words["on_moderated"] == "fail":
            assert {"delivered": len(self.table)} == result["counts"] or not self.table
        for key, line in zip(self.table, lines, strict=False):
            if line["status"] == "delivered":
                (start,) = [each for each in self.starts(key) if each.request_id == line["request_id"]]
                assert "done" == start.state
                assert line["bytes"] == (self.clips / f"{key[0]}.mp4").stat().st_size

    def _check_nothing_is_held(self) -> None:
        """See that a task that has ended holds no money for rows that it did not send."""
        held = [
            entry
            for entry in self.ledger.entries()
            if entry.state == "reserved" and entry.request_id is None and entry.outcome is None
        ]
        known = {record["token"] for record in self.journal() if record["phase"] == "intent"}
        assert [] == [entry for entry in held if entry.token not in known]

    @contextmanager
    def audited(self) -> Iterator[None]:
        """Hold the ledger of the emulator against the journal after a leg."""
        self.sound = False
        self.now += 1
        before = {key: (len(self.starts(key)), self.may_buy(key)) for key in KEYS}
        seen = {record["token"] for record in self.journal()}
        yield
        asked = dict(self.table)
        for record in self.journal():
            if record["token"] not in seen:
                key = (record["item"], asked[record["item"]])
                assert self.fingerprints.setdefault(key, record["fingerprint"]) == record["fingerprint"]
            if record["phase"] in ("delivered", "ended"):
                self.ended_at.setdefault(record["token"], self.now)
        for key, (count, allowed) in before.items():
            bought = len(self.starts(key)) - count
            self.bought_in_try[key] += bought
            assert bought <= int(allowed), f"bought {bought} times {key}, allowed: {allowed}, {self.records(key)}"
            assert self.bought_in_try[key] <= 1, f"a try bought {key} twice"
            counting = [r for r in self.records(key) if r["phase"] != "withdrawn" or r["token"] in self.forgotten]
            assert len(self.starts(key)) <= len(counting), f"a start of {key} that the journal does not know"
        if any(len(self.starts(key)) > count for key, (count, _) in before.items()):
            self._check_budget()
        self._check_files()
        self.sound = True

    def _check_budget(self) -> None:
        budgets = self.words["budgets"]
        if budgets and budgets == self.budgets_at_begin and not self.forgotten:
            counted = sum(entry.counted for entry in self.ledger.entries())
            assert counted <= budgets[0]["usd"] * 10**10, f"{counted} ticks in spite of {budgets}"

    def _check_files(self) -> None:
        starts = {start.request_id: start for start in self.emulator.starts}
        for record in self.journal():
            if record["phase"] == "delivered":
                assert "done" == starts[record["request_id"]].state
            if record["phase"] == "ended":
                assert record["outcome"] == starts[record["request_id"]].state

    def step(self) -> tuple[str, Any]:
        """Do what Airflow would do next."""
        if self.state in ("ready", "up_for_retry"):
            return self.execute()
        self.wait()
        return self.resume(self.event)

    def wait(self) -> None:
        """Let the trigger of a deferred try come to its event."""
        assert self.deferral is not None
        kwargs = json.loads(self.deferral[2])
        events = [None] if "moment" in kwargs else fire(self.deferral[1], kwargs)
        assert 1 == len(events)
        self.event = events[0]

    def _is_busy(self) -> bool:
        return self.state in ("ready", "up_for_retry", "deferred")

    def _is_deferred(self) -> bool:
        return self.state == "deferred"

    def to_the_end(self) -> tuple[str, Any]:
        """Let Airflow go on until the task has ended."""
        how, what = self.state, None
        while self._is_busy():
            how, what = self.step()
        return how, what

    # What may happen

    @initialize(
        files=st.booleans(),
        tempo=st.sampled_from(["at-once", "polls:1", "polls:2"]),
        words=st.fixed_dictionaries({word: st.sampled_from(values) for word, values in WORDS.items()}),
        table=st.lists(
            st.tuples(st.sampled_from(IDS), st.sampled_from(VERSIONS)), max_size=5, unique_by=lambda k: k[0]
        ),
    )
    def begin(self, files: bool, tempo: str, words: dict[str, Any], table: list[Key]) -> None:
        self.words, self.table, self.files = words, table, files
        self.emulator.set_tempo(tempo)
        if files:
            self.patch.setenv("AIRFLOW__GROKVIDEO__JOURNAL_PATH", str(self.folder / "journal"))

    @precondition(_is_busy)
    @rule()
    def airflow_goes_on(self) -> None:
        self.step()

    @precondition(_is_busy)
    @rule()
    def airflow_goes_on_to_the_end(self) -> None:
        self.to_the_end()

    @rule()
    def person_clears(self) -> None:
        self._clear()

    def _clear(self) -> None:
        if self.state == "ready":
            return
        number = self.ti.try_number + 1
        self.ti = replace(self.ti, try_number=number, max_tries=number - 1 + RETRIES, clears=self.ti.clears + 1)
        self.deferral = self.event = None
        self.state = "ready"
        self.now += 1
        self.cleared_at = self.now

    @precondition(_is_deferred)
    @rule()
    def trigger_is_lost(self) -> None:
        self.resume("lost")

    @precondition(_is_deferred)
    @rule()
    def event_names_other_requests(self) -> None:
        mine = [start.request_id for start in self.emulator.starts]
        words = dict.fromkeys(("problem", "message", "advice", "service_id"))
        self.resume({"version": 1, "ended": ["unknown", *mine, *mine], **words})

    @rule(fault=st.sampled_from(TABLE_FAULTS))
    def service_misbehaves(self, fault: tuple[str, dict[str, Any]]) -> None:
        self.emulator.script(fault[0], **fault[1])

    @rule(fault=st.sampled_from(TABLE_FAULTS), key=st.sampled_from(IDS))
    def service_misbehaves_for_a_row(self, fault: tuple[str, dict[str, Any]], key: str) -> None:
        self.emulator.script(fault[0], prompt=f"Row {key} ", **fault[1])

    @rule(point=st.sampled_from(BULK_POINTS), after=st.integers(0, 4))
    def worker_will_die(self, point: tuple[str, str], after: int) -> None:
        self.mishaps.death, self.mishaps.death_after = point, after

    @rule(after=st.integers(0, 20), operations=st.integers(1, 10), hits=st.booleans())
    def journal_will_fail(self, after: int, operations: int, hits: bool) -> None:
        self.mishaps.outage_after, self.mishaps.outage, self.mishaps.outage_hits = after, operations, hits

    @rule(writes=st.integers(1, 6), hits=st.booleans())
    def ledger_will_fail(self, writes: int, hits: bool) -> None:
        self.mishaps.ledger_outage, self.mishaps.ledger_hits = writes, hits

    @rule(change=st.sampled_from([(word, value) for word, values in WORDS.items() for value in values]))
    def author_edits(self, change: tuple[str, Any]) -> None:
        self.words[change[0]] = change[1]

    @rule(name=st.sampled_from(IDS), version=st.sampled_from(VERSIONS), at=st.integers(0, 5))
    def author_writes_a_row(self, name: str, version: int, at: int) -> None:
        """Add a row, or edit and move it."""
        self.table = [key for key in self.table if key[0] != name]
        self.table.insert(at, (name, version))

    @precondition(lambda self: self.table)
    @rule(at=st.integers(0, 5))
    def author_removes_a_row(self, at: int) -> None:
        del self.table[at % len(self.table)]

    @rule(order=st.randoms(use_true_random=False))
    def author_sorts_the_table(self, order: Any) -> None:
        order.shuffle(self.table)

    @rule()
    def key_is_revoked(self) -> None:
        self.patch.setenv("AIRFLOW_CONN_GROKVIDEO_DEFAULT", json.dumps({**self.connection, "password": "old-key"}))

    @rule()
    def key_is_restored(self) -> None:
        self.patch.setenv("AIRFLOW_CONN_GROKVIDEO_DEFAULT", json.dumps(self.connection))

    @rule()
    def storage_breaks(self) -> None:
        """Put a file in the place of the directory."""
        if not self.clips.is_file():
            if self.clips.exists():
                self.clips.rename(self.folder / "away")
            self.clips.touch()

    @rule()
    def storage_is_mended(self) -> None:
        if self.clips.is_file():
            self.clips.unlink()
            if (self.folder / "away").exists():
                (self.folder / "away").rename(self.clips)

    @rule()
    def person_deletes_the_files(self) -> None:
        for path in self.clips.glob("*.mp4"):
            path.unlink()

    @rule()
    def person_settles(self) -> None:
        """Do with each unconfirmed row what its advice says."""
        for key in KEYS:
            self._settle(key)

    @rule(key=st.sampled_from(KEYS))
    def person_forgets(self, key: Key) -> None:
        record = self.last(key)
        if record is not None and record["phase"] == "intent":
            self._forget(key, record)

    def _forget(self, key: Key, record: dict[str, Any]) -> None:
        self.forgotten.add(record["token"])
        self.bought_in_try[key] = 0
        self.write_journal({**record, "phase": "withdrawn", "note": "forgotten by hand"})

    def _settle(self, key: Key, *, mistaken: bool = False) -> None:
        """Adopt what the console shows, and forget what it does not.

        Args:
            key: The row.
            mistaken: Also adopt what was forgotten although it had been accepted.
        """
        unknown = self.unknown_starts(key)
        for record in self.records(key):
            wrong = mistaken and record["phase"] == "withdrawn" and record["token"] in self.forgotten
            if record["phase"] != "intent" and not wrong:
                continue
            if unknown:
                found = {"phase": "submitted", "request_id": unknown.pop(0), "submitted_at": record["intended_at"]}
                self.write_journal({**record, **found, "note": "adopted by hand"})
            elif record["phase"] == "intent":
                self._forget(key, record)

    # How it all has to end

    def teardown(self) -> None:
        """Let everything calm down: what was bought is delivered or told, nothing more is bought, all is booked."""
        try:
            if self.sound:
                self._calm_down()
        finally:
            self.patch.undo()
            shutil.rmtree(self.folder, ignore_errors=True)

    def _calm_down(self) -> None:
        self.mishaps.death, self.mishaps.outage, self.mishaps.ledger_outage = None, 0, 0
        self.emulator.clear_faults()
        self.key_is_restored()
        self.storage_is_mended()
        self.words = dict(CAREFUL)
        for key in KEYS:
            self._settle(key, mistaken=True)
        bought = len(self.emulator.starts)
        for version in VERSIONS:
            self.table = [key for key in KEYS if key[1] == version and self.last(key) is not None]
            self._run_until_it_stays()
            for key in self.table:
                self._check_row(key)
        assert bought == len(self.emulator.starts)
        self._hold_against_the_bill()

    def _run_until_it_stays(self) -> None:
        for _ in range(20):
            self._clear()
            how, what = self.to_the_end()
            lines = lines_of(self.clips / "make.jsonl") if self.table else []
            if how == "success" or (
                isinstance(what, RowsFailed) and not {"submitted", "not_sent"} & {line["status"] for line in lines}
            ):
                return
        raise AssertionError(f"{self.table} never comes to an end: {what!r}")

    def _check_row(self, key: Key) -> None:
        """See that the last purchase of a row is delivered, or that the table says how it ended."""
        record = self.last(key)
        assert record is not None
        (start,) = [each for each in self.starts(key) if each.request_id == record["request_id"]]
        lines = {line["id"]: line for line in lines_of(self.clips / "make.jsonl")}
        expected = {"done": "delivered", "gone": "expired"}.get(start.state, start.state)
        assert (expected, start.request_id) == (lines[key[0]]["status"], lines[key[0]]["request_id"])
        if expected == "delivered":
            sidecar = json.loads((self.clips / f"{key[0]}.json").read_text())
            assert start.request_id == sidecar["request_id"]
            assert sidecar["bytes"] == (self.clips / f"{key[0]}.mp4").stat().st_size
        else:
            assert lines[key[0]]["error"]
            assert lines[key[0]]["advice"]

    def _hold_against_the_bill(self) -> None:
        known = {record.get("request_id") for record in self.journal()}
        assert [] == [start for start in self.emulator.starts if start.request_id not in known]
        for start in self.emulator.starts:
            sensor = GrokVideoSensor(task_id="fetch", request_id=start.request_id, deferrable=False, poke_interval=0.01)
            # How it ended is booked, whether it is a video or an error.
            with contextlib.suppress(GrokVideoError):
                sensor.execute({"ti": self.ti})  # type: ignore[typeddict-item]
        entries = self.ledger.entries()
        by_request = {entry.request_id: entry for entry in entries if entry.request_id}
        told = {start.request_id: (start.state, start.billed_ticks) for start in self.emulator.starts}
        counted = {
            request_id: (told[request_id][0], by_request[request_id].counted) if request_id in by_request else None
            for request_id in told
        }
        assert told == counted
        assert self.emulator.billed_ticks == sum(entry.counted for entry in entries), entries
