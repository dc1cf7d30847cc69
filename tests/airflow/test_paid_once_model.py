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
from dataclasses import dataclass, replace
from importlib import import_module
from itertools import permutations
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from airflow.sdk.exceptions import (
    AirflowFailException,
    AirflowSkipException,
    TaskDeferred,
)
from airflow_kit import TaskInstance
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from mishaps import DECISIVE, POINTS, ROTTEN_FILES, ROTTEN_VALUES, Killed, Mishaps, StateStore, let_time_fly

from airflow_provider_grokvideo.core.errors import (
    AmbiguousSubmit,
    AuthenticationFailed,
    DeliveryFailed,
    GrokVideoError,
    InvalidInput,
    JournalCorrupt,
    JournalUnavailable,
    RateLimited,
    ServiceUnavailable,
    VideoExpired,
    VideoFailed,
    VideoModerated,
    WaitTimeout,
)
from airflow_provider_grokvideo.operators.grokvideo import GrokVideoGenerateOperator

EXAMPLES = int(os.environ.get("GROKVIDEO_MODEL_EXAMPLES", "150"))
STEPS = int(os.environ.get("GROKVIDEO_MODEL_STEPS", "20"))

RETRIES = 2
TICKS_PER_SECOND = 500_000_000
"""One second at 480p on the default model costs 0.05 USD (contract §4)."""

PROMPTS = ("A red ball", "A green ball", "A blue ball")
LISTS = [list(each) for length in (2, 3) for each in permutations(PROMPTS, length)] + [[PROMPTS[0], PROMPTS[0]]]
"""What a mapped task may be given: any order, and the same wish twice."""

WORDS: dict[str, list[Any]] = {
    "duration": [1, 2],
    "on_ambiguous_submit": ["fail", "resubmit"],
    "rerun": ["reuse", "regenerate"],
    "buy_again_after": [[], ["failed"], ["moderated"], ["expired"], ["failed", "moderated", "expired"]],
    "on_moderated": ["fail", "skip"],
    "wait_for_completion": [True, False],
    "deferrable": [True, False],
    "timeout": [900.0, 1e-6],
    "destination": ["one/", "two/", None],
}
CAREFUL = {word: values[0] for word, values in WORDS.items()}
USUAL: dict[str, list[Any]] = {
    **WORDS,
    "duration": [1],
    "rerun": ["reuse", "regenerate", "regenerate"],
    "buy_again_after": [[], [], *WORDS["buy_again_after"]],
    "wait_for_completion": [True, True, False],
    "deferrable": [True, True, False],
    "timeout": [900.0, 900.0, 900.0, 1e-6],
    "destination": ["one/", "one/", "two/", None],
}
"""How a DAG is written at first; the odds are in favour of what can go wrong in more ways."""

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
UNKNOWN = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"


def fire(path: str, kwargs: dict[str, Any]) -> dict[str, Any]:
    """Run a trigger from its serialized form, without the wait for the scheduler, and return its one event."""
    module, _, name = path.rpartition(".")

    async def collect() -> list[dict[str, Any]]:
        trigger = getattr(import_module(module), name)(**{**kwargs, "not_before": None})
        return [event.payload async for event in trigger.run()]

    (event,) = asyncio.run(collect())
    return event


class Wish(NamedTuple):
    """What a task instance is asked for; another wish is another purchase."""

    prompt: str
    duration: int


@dataclass
class Instance:
    """One task instance, as Airflow and a person see it.

    Attributes:
        ti: What the task is given.
        store: Its task state store, where Airflow has one.
        state: ``ready``, ``deferred``, ``up_for_retry``, or how it ended.
        deferral: Method, trigger and arguments that Airflow keeps of a deferred task.
        event: What its trigger said.
        subject: The wish of the try that runs or ran last.
        adopt: ``adopt_request_id``.
        cleared_at: When it was cleared last.
        rotten: What its journal held, as long as that cannot be read, and where.
    """

    ti: TaskInstance
    store: StateStore | None
    subject: Wish
    state: str = "ready"
    deferral: tuple[str, str, str] | None = None
    event: dict[str, Any] | None = None
    adopt: str | None = None
    cleared_at: int = 0
    rotten: tuple[Path | None, str, list[dict[str, Any]]] | None = None

    @property
    def is_busy(self) -> bool:
        """Whether Airflow has something to do."""
        return self.state in ("ready", "up_for_retry", "deferred")

    @property
    def waits_for(self) -> str | None:
        """The request that Airflow's trigger looks at."""
        return None if self.deferral is None else str(json.loads(self.deferral[2])["request_id"])


class PaidOnce(RuleBasedStateMachine):
    """One task of an Airflow that has no luck, mapped or not."""

    def __init__(self, emulator: Any, mishaps: Mishaps, ti: TaskInstance) -> None:
        super().__init__()
        self.emulator, self.mishaps = emulator, mishaps
        self.emulator.reset()
        self.mishaps.__init__()  # type: ignore[misc]
        self.patch = pytest.MonkeyPatch()
        self.folder = Path(tempfile.mkdtemp(prefix="grokvideo-model-"))
        self.blank = replace(ti, try_number=1, max_tries=RETRIES, xcoms={})
        self.words: dict[str, Any] = dict(CAREFUL)
        self.prompts = [PROMPTS[0]]
        self.instances: list[Instance] = []
        self.one: Instance
        self.files = False
        self.offline = False
        self.now = 0
        self.ended_at: dict[str, int] = {}
        self.handed_at: dict[str, int] = {}
        self.fingerprints: dict[Wish, str] = {}
        self.written_for: dict[str, str] = {}
        self.settled_by_hand: set[str] = set()
        self.named: set[tuple[Wish, str]] = set()
        self.misnamed: set[Wish] = set()
        self.disturbed: set[str] = set()
        self.sound = True

    # What a person sees

    @property
    def is_mapped(self) -> bool:
        return self.instances[0].ti.map_index >= 0

    @property
    def journal_folder(self) -> Path:
        return self.folder / "journal"

    def paths(self, one: Instance) -> list[Path]:
        """Return the files of a task instance's journal."""
        return sorted((self.journal_folder / f"films/manual__1/make/{one.ti.map_index}").glob("[0-9]*.json"))

    def journal(self, one: Instance) -> list[dict[str, Any]]:
        """Read a journal without the package; what rotted is known from its backup."""
        if one.rotten is not None:
            return one.rotten[2]
        records = []
        if one.store is not None and "grokvideo_journal" in one.store.values:
            records = json.loads(one.store.values["grokvideo_journal"])["purchases"]
        filed = self.filed(one) if self.files else []
        return list({each["token"]: each for each in [*records, *filed]}.values())

    def filed(self, one: Instance) -> list[dict[str, Any]]:
        """Read the part of a journal that is in files."""
        return [json.loads(path.read_text()) for path in self.paths(one)] if one.rotten is None else one.rotten[2]

    def whole_journal(self) -> list[dict[str, Any]]:
        """Return all records of all task instances."""
        return [record for one in self.instances for record in self.journal(one)]

    def write_journal(self, one: Instance, record: dict[str, Any]) -> None:
        """Change a record by hand."""
        self.settled_by_hand.add(record["token"])
        for path in self.paths(one):
            if json.loads(path.read_text())["token"] == record["token"]:
                path.write_text(json.dumps(record))
                return
        assert one.store is not None
        whole = json.loads(one.store.values["grokvideo_journal"])
        whole["purchases"] = [record if each["token"] == record["token"] else each for each in whole["purchases"]]
        one.store.values["grokvideo_journal"] = json.dumps(whole)

    def wish(self, one: Instance) -> Wish:
        """Return what a task instance is asked for by the DAG as it stands."""
        return Wish(self.prompts[max(one.ti.map_index, 0)], self.words["duration"])

    def last(self, one: Instance, wish: Wish) -> dict[str, Any] | None:
        """Return the last purchase of a wish that counts."""
        fingerprint = self.fingerprints.get(wish)
        same = [r for r in self.journal(one) if r["fingerprint"] == fingerprint and r["phase"] != "withdrawn"]
        return same[-1] if same else None

    def moved(self, one: Instance, wish: Wish) -> dict[str, Any] | None:
        """Return the purchase of another map index, where the journal shows that the list has changed its order."""
        if not self.files or not self.is_mapped:
            return None
        fingerprint = self.fingerprints.get(wish)
        had_others = any(r["fingerprint"] != fingerprint for r in self.journal(one))
        for other in self.instances:
            # What the task state store of another map index holds is not seen from here.
            found = self.last(other, wish) if self.filed(other) else None
            if found is not None and (had_others or self.journal(other)[-1]["fingerprint"] != fingerprint):
                return found
        return None

    def starts(self, wish: Wish) -> list[Any]:
        """Return what was billed for a wish."""
        return [s for s in self.emulator.starts if Wish(s.prompt, s.body["duration"]) == wish]

    def own(self, wish: Wish) -> list[str]:
        """Return the requests that may serve a wish: bought for it, or named by a person."""
        return [s.request_id for s in self.starts(wish)] + [request for each, request in self.named if each == wish]

    def unknown_starts(self, wish: Wish) -> list[str]:
        """Return the requests that were bought and that no record names: what the console shows and the journal not."""
        known = {record.get("request_id") for record in self.whole_journal()}
        return [start.request_id for start in self.starts(wish) if start.request_id not in known]

    def may_buy(self, one: Instance) -> bool:
        """Say whether a purchase is allowed at the next try: the first one, or one that somebody asked for."""
        if one.adopt is not None or one.rotten is not None:
            return False
        record = self.last(one, self.wish(one)) or self.moved(one, self.wish(one))
        if record is None:
            return True
        if record["phase"] == "intent":
            return bool(self.words["on_ambiguous_submit"] == "resubmit")
        if record.get("outcome") in self.words["buy_again_after"]:
            return True
        ended = {**self.handed_at, **self.ended_at}.get(record["request_id"])
        return self.words["rerun"] == "regenerate" and ended is not None and one.cleared_at > ended

    # One step of Airflow

    def operator(self, one: Instance) -> GrokVideoGenerateOperator:
        """Parse the DAG anew."""
        words = {**self.words, "prompt": self.wish(one).prompt}
        if words["destination"] is not None:
            words["destination"] = f"{self.folder}/{words['destination']}"
        return GrokVideoGenerateOperator(
            task_id="make", poll_interval=0.01, retries=RETRIES, adopt_request_id=one.adopt, **words
        )

    def attempt(self, one: Instance, call: Any, *, resumed: bool) -> tuple[str, Any]:
        """Run a piece of a task in a worker, let Airflow take notice of how it ended, and audit."""
        self.sound = False
        self.now += 1
        if not resumed:
            one.subject = self.wish(one)
        held = self.last(one, one.subject)
        first = held is None and self.moved(one, one.subject) is None
        may_buy = self.may_buy(one) and not resumed
        expected = one.waits_for if resumed else (held or {}).get("request_id")
        outages, offline = self.mishaps.outages_seen, self.offline
        seen = {record["token"] for record in self.whole_journal()}
        bills = {start.request_id for start in self.emulator.starts}
        how, what = self._attempt(one, call)
        new = [record for record in self.journal(one) if record["token"] not in seen]
        trouble = self.mishaps.outages_seen > outages
        self._learn(one, new)
        self._check_bill(one, [s for s in self.emulator.starts if s.request_id not in bills], new, may_buy)
        self._check_journal()
        self._check_files()
        if one.rotten is None:
            self._check_outcome(one, how, what, expected if not may_buy else None)
        if how == "failed":
            self._check_error(one, what, held, may_buy, trouble)
        orderly = how in ("deferred", "success") or (how == "failed" and not isinstance(what, AmbiguousSubmit))
        if orderly and not trouble and not resumed:
            assert "intent" not in [r["phase"] for r in new if not r.get("note", "").startswith("taken over")]
        if how in ("deferred", "success") and first and may_buy:
            assert len(bills) + 1 == len(self.emulator.starts)
        if isinstance(what, AmbiguousSubmit) and new and first:
            assert "submit" in self.disturbed, f"in doubt for no reason: {what}"
        if isinstance(what, DeliveryFailed):
            assert "download" in self.disturbed or one.subject in self.misnamed, f"not delivered for no reason: {what}"
        if isinstance(what, ServiceUnavailable | AuthenticationFailed | RateLimited):
            assert self.disturbed or offline, f"no service for no reason: {what}"
        self.sound = True
        return how, what

    def _learn(self, one: Instance, new: list[dict[str, Any]]) -> None:
        for record in new:
            assert self.fingerprints.setdefault(one.subject, record["fingerprint"]) == record["fingerprint"]
        for record in self.whole_journal():
            if record["phase"] in ("delivered", "ended"):
                self.ended_at.setdefault(record["request_id"], self.now)
        tokens = {record["token"]: record for record in self.whole_journal()}
        for start, token in self.written_for.items():
            # A purchase in doubt that another map index took over.
            if new and token in tokens and "taken over" in tokens[token].get("note", ""):
                heirs = [r["token"] for r in new if r["fingerprint"] == tokens[token]["fingerprint"]]
                self.written_for[start] = heirs[0] if heirs else token

    def _check_bill(self, one: Instance, bought: list[Any], new: list[dict[str, Any]], may_buy: bool) -> None:
        """Hold what was billed during a step against what was allowed and what was written."""
        held = self.last(one, one.subject)
        assert len(bought) <= may_buy, f"bought {len(bought)} times {one.subject}, allowed: {may_buy}: {held}"
        for start in bought:
            assert one.subject == Wish(start.prompt, start.body["duration"])
            assert new, f"nothing was written about {start}"
            self.written_for[start.request_id] = new[-1]["token"]
        records = self.whole_journal()
        known = {record.get("request_id") for record in records}
        in_doubt = {record["token"] for record in records if record["phase"] == "intent"}
        for request_id, token in self.written_for.items():
            assert request_id in known or token in in_doubt | self.settled_by_hand, f"nothing knows {request_id}"
        billed = sum(
            TICKS_PER_SECOND * start.body["duration"]
            for start in self.emulator.starts
            if start.billed_ticks or start.state not in ("failed", "pending")
        )
        assert billed == self.emulator.billed_ticks

    def _check_journal(self) -> None:
        states = {start.request_id: start.state for start in self.emulator.starts}
        for record in self.whole_journal():
            if record["phase"] == "delivered":
                assert "done" == states[record["request_id"]]
            if record["phase"] == "ended":
                assert record["outcome"] == states[record["request_id"]]
        for one in self.instances:
            if one.rotten is not None:
                where, _, _ = one.rotten
                there = where.read_bytes() if where else one.store and one.store.values["grokvideo_journal"].encode()
                assert there in (*ROTTEN_FILES, *map(str.encode, ROTTEN_VALUES))

    def _check_files(self) -> None:
        states = {start.request_id: start.state for start in self.emulator.starts}
        for path in [*self.folder.glob("one/*.mp4"), *self.folder.glob("two/*.mp4")]:
            assert "done" == states[path.stem]

    def _attempt(self, one: Instance, call: Any) -> tuple[str, Any]:
        try:
            result = call()
        except TaskDeferred as deferral:
            path, kwargs = deferral.trigger.serialize()
            one.deferral, one.event = (deferral.method_name, path, json.dumps(kwargs)), None
            one.state = "deferred"
            return "deferred", kwargs["request_id"]
        except Killed as death:
            self._failed(one, final=False)
            return "killed", death
        except AirflowSkipException as skip:
            one.state = "skipped"
            return "skipped", skip
        except GrokVideoError as error:
            self._failed(one, final=isinstance(error, AirflowFailException))
            return "failed", error
        one.state = "success"
        return "success", json.loads(json.dumps(result))

    @staticmethod
    def _failed(one: Instance, *, final: bool) -> None:
        again = not final and one.ti.try_number <= one.ti.max_tries
        one.state = "up_for_retry" if again else "failed"

    def _check_outcome(self, one: Instance, how: str, what: Any, expected: str | None) -> None:
        mine = self.own(one.subject)
        if how == "deferred":
            assert what in mine
            assert expected in (None, what)
        elif how == "success":
            assert what["request_id"] in mine
            assert expected in (None, what["request_id"])
            if what["status"] == "submitted":
                assert not self.words["wait_for_completion"]
                held = self.last(one, one.subject)
                if held is not None and held.get("manifest"):
                    self.handed_at[what["request_id"]] = self.now
            else:
                assert "done" == what["status"]
                assert self.words["destination"] is None or what["uri"] is not None
                if what["uri"] is not None:
                    self._check_delivered(what)
        elif how == "skipped":
            assert "skip" == self.words["on_moderated"]
            assert any(s.state == "moderated" and s.request_id in str(what) for s in self.emulator.starts)

    def _check_delivered(self, manifest: dict[str, Any]) -> None:
        path = Path(manifest["uri"].removeprefix("file://"))
        sidecar = json.loads(Path(manifest["sidecar_uri"].removeprefix("file://")).read_text())
        (start,) = [each for each in self.emulator.starts if each.request_id == manifest["request_id"]]
        assert manifest["bytes"] == path.stat().st_size
        assert start.body["duration"] == round(manifest["duration"])
        assert f"{manifest['request_id']}.mp4" == path.name
        assert manifest["request_id"] == sidecar["request_id"]

    def _check_error(self, one: Instance, error: GrokVideoError, held: Any, may_buy: bool, trouble: bool) -> None:
        text = str(error)
        now_held = self.last(one, one.subject)
        known = now_held.get("request_id") if now_held else None
        final = isinstance(error, AirflowFailException)
        assert error.what_to_do.strip() or any(each in text for each in self.own(one.subject)), text
        if isinstance(error, JournalCorrupt):
            assert any(each.rotten for each in self.instances), text
            return
        assert one.rotten is None or one.deferral is not None or trouble, f"an unreadable journal led to {error!r}"
        if isinstance(error, AmbiguousSubmit):
            assert now_held is not None
            assert "intent" == now_held["phase"], text
            assert final == (self.words["on_ambiguous_submit"] == "fail")
            assert not final or ("journal adopt films" in text and "journal forget films" in text)
            return
        if isinstance(error, JournalUnavailable):
            assert trouble, text
            return
        if isinstance(error, InvalidInput):
            assert one.adopt is not None, text
            return
        if held is not None and held["phase"] == "intent" and self.words["on_ambiguous_submit"] == "fail":
            assert one.adopt is not None or one.deferral is not None, f"an intent led to {error!r}"
        if one.rotten is not None:
            return
        if known is not None and held is not None and held.get("request_id") == known and not may_buy:
            assert known in text
        if known is not None and now_held.get("outcome") is None and not trouble:
            goes_on = isinstance(error, DeliveryFailed | WaitTimeout | ServiceUnavailable | RateLimited)
            assert not (goes_on and final), text

    def execute(self, one: Instance) -> tuple[str, Any]:
        """Begin a try."""
        if one.state == "up_for_retry":
            one.ti = replace(one.ti, try_number=one.ti.try_number + 1)
        one.ti = replace(one.ti, xcoms={})
        one.deferral = one.event = None
        context = {"ti": one.ti, "task_state_store": one.store}
        with self._network():
            return self.attempt(one, lambda: self.operator(one).execute(context), resumed=False)

    def resume(self, one: Instance, event: Any) -> tuple[str, Any]:
        """Resume a deferred try."""
        assert one.deferral is not None
        method, kwargs = one.deferral[0], {"event": event}
        if event == "lost":
            method, kwargs = "__fail__", {"error": "Trigger failure"}
        context = {"ti": one.ti, "task_state_store": one.store}
        with self._network():
            return self.attempt(one, lambda: self.operator(one).resume_execution(method, kwargs, context), resumed=True)

    @contextmanager
    def _network(self) -> Iterator[None]:
        """Point the connection to a port where nobody listens, for one step."""
        if not self.offline or not self.words["deferrable"]:
            yield
            return
        kept = os.environ["AIRFLOW_CONN_GROKVIDEO_DEFAULT"]
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            host = f"http://127.0.0.1:{nobody.getsockname()[1]}/v1"
            self.patch.setenv("AIRFLOW_CONN_GROKVIDEO_DEFAULT", json.dumps({**json.loads(kept), "host": host}))
            try:
                yield
            finally:
                self.patch.setenv("AIRFLOW_CONN_GROKVIDEO_DEFAULT", kept)
                self.offline = False

    def step(self, one: Instance) -> tuple[str, Any]:
        """Do what Airflow would do next."""
        if one.state in ("ready", "up_for_retry"):
            return self.execute(one)
        if one.event is None:
            assert one.deferral is not None
            one.event = fire(one.deferral[1], json.loads(one.deferral[2]))
            return "event", one.event
        return self.resume(one, one.event)

    def _is_busy(self) -> bool:
        return self.one.is_busy

    # What may happen

    @initialize(
        home=st.sampled_from(["task_state_store", "journal_path"]),
        tempo=st.sampled_from(["at-once", "at-once", "looks:1", "looks:2"]),
        words=st.fixed_dictionaries({word: st.sampled_from(values) for word, values in USUAL.items()}),
        mapped=st.sampled_from([None, None, None, *LISTS]),
    )
    def begin(self, home: str, tempo: str, words: dict[str, Any], mapped: list[str] | None) -> None:
        self.words = words
        self.emulator.set_tempo(tempo)
        self.prompts = mapped or self.prompts
        for index in range(-1, 0) if mapped is None else range(len(PROMPTS)):
            store = StateStore(self.mishaps) if home == "task_state_store" else None
            self.instances.append(Instance(replace(self.blank, map_index=index), store, Wish(*PROMPTS[:1], 1)))
        self.one = self.instances[0]
        if home == "journal_path":
            self._use_files()

    def _use_files(self) -> None:
        self.files = True
        self.patch.setenv("AIRFLOW__GROKVIDEO__JOURNAL_PATH", str(self.journal_folder))

    @precondition(_is_busy)
    @rule()
    def airflow_goes_on(self) -> None:
        self.step(self.one)

    @precondition(_is_busy)
    @rule()
    def airflow_goes_on_to_the_end(self) -> None:
        self._to_the_end(self.one)

    def _to_the_end(self, one: Instance) -> None:
        while one.is_busy:
            self.step(one)

    @precondition(_is_busy)
    @rule(point=st.sampled_from([*DECISIVE, *DECISIVE, *POINTS]), clear=st.booleans(), then=st.booleans())
    def worker_dies(self, point: tuple[str, str], clear: bool, then: bool) -> None:
        """Go on, after a clear or not, until the worker dies, and then to the end or not."""
        if clear:
            self._clear(self.one)
        self.mishaps.death = point
        while self.one.is_busy and self.mishaps.death is not None:
            self.step(self.one)
        self.mishaps.death = None
        if then:
            self._to_the_end(self.one)

    @rule(
        fault=st.sampled_from(FAULTS),
        clear=st.booleans(),
    )
    def service_misbehaves(self, fault: tuple[str, dict[str, Any]], clear: bool) -> None:
        self.disturbed.add(fault[1].get("on", "job"))
        self.emulator.script(fault[0], **fault[1])
        if clear:
            self._clear(self.one)
            self._to_the_end(self.one)

    @rule(to_the_end=st.booleans())
    def person_clears(self, to_the_end: bool) -> None:
        self._clear(self.one)
        if to_the_end:
            self._to_the_end(self.one)

    def _clear(self, one: Instance) -> None:
        if one.state == "ready":
            return
        one.ti = replace(one.ti, try_number=one.ti.try_number + 1, max_tries=one.ti.try_number + RETRIES, xcoms={})
        one.deferral = one.event = None
        one.state = "ready"
        self.now += 1
        one.cleared_at = self.now

    @precondition(lambda self: self.one.state == "deferred")
    @rule()
    def trigger_is_lost(self) -> None:
        self.resume(self.one, "lost")

    @precondition(lambda self: self.one.state == "deferred")
    @rule()
    def trigger_runs_again(self) -> None:
        assert self.one.deferral is not None
        self.one.event = fire(self.one.deferral[1], json.loads(self.one.deferral[2]))

    @precondition(lambda self: self.one.state == "success" and self.one.event is not None)
    @rule()
    def event_comes_twice(self) -> None:
        self.resume(self.one, self.one.event)

    @rule(operations=st.integers(1, 10), hits=st.booleans())
    def journal_will_fail(self, operations: int, hits: bool) -> None:
        self.mishaps.outage, self.mishaps.outage_hits = operations, hits

    @rule()
    def network_will_fail(self) -> None:
        self.offline = True

    @rule(change=st.sampled_from([(word, value) for word, values in WORDS.items() for value in values]))
    def author_edits(self, change: tuple[str, Any]) -> None:
        self.words[change[0]] = change[1]

    @precondition(lambda self: self.one.state == "deferred")
    @rule(change=st.sampled_from([("duration", 1), ("duration", 2), ("rerun", "regenerate"), ("destination", "two/")]))
    def author_edits_what_is_under_way(self, change: tuple[str, Any]) -> None:
        self.words[change[0]] = change[1]
        self._to_the_end(self.one)

    @precondition(lambda self: not self.is_mapped)
    @rule(prompt=st.sampled_from(PROMPTS[:2]))
    def author_asks_for(self, prompt: str) -> None:
        self.prompts = [prompt]

    @precondition(lambda self: self.is_mapped)
    @rule(prompts=st.sampled_from(LISTS), clear=st.booleans())
    def mapped_list_changes(self, prompts: list[str], clear: bool) -> None:
        self.prompts = prompts
        self.one = self.instances[min(self.instances.index(self.one), len(prompts) - 1)]
        for each in self.instances[: len(prompts)] if clear else []:
            self._clear(each)
            self._to_the_end(each)

    @precondition(lambda self: self.is_mapped)
    @rule(index=st.integers(0, len(PROMPTS) - 1))
    def another_map_index(self, index: int) -> None:
        self.one = self.instances[min(index, len(self.prompts) - 1)]

    @precondition(lambda self: not self.files and not any(each.rotten for each in self.instances))
    @rule()
    def admin_sets_journal_path(self) -> None:
        self._use_files()

    @rule()
    def person_deletes_the_files(self) -> None:
        for path in self.folder.glob("*/*.mp4"):
            path.unlink()

    def _doubt(self) -> dict[str, Any] | None:
        record = None if self.one.rotten else self.last(self.one, self.wish(self.one))
        return record if record is not None and record["phase"] == "intent" else None

    @precondition(lambda self: self.unknown_starts(self.wish(self.one)))
    @rule(by=st.sampled_from(["argument", "journal"]))
    def person_finds_the_request(self, by: str) -> None:
        self._adopt(self.unknown_starts(self.wish(self.one))[-1], by)

    @rule(by=st.sampled_from(["argument", "journal"]), which=st.integers(0, 9))
    def person_names_a_wrong_request(self, by: str, which: int) -> None:
        wish = self.wish(self.one)
        wrong = [UNKNOWN, *(s.request_id for s in self.emulator.starts if s.request_id not in self.own(wish))]
        self._adopt(wrong[which % len(wrong)], by)

    def _adopt(self, request_id: str, by: str) -> None:
        wish, record = self.wish(self.one), self._doubt()
        if by == "journal" and record is None:
            return
        if request_id not in self.own(wish):
            self.misnamed |= {wish, *(Wish(s.prompt, s.body["duration"]) for s in self.emulator.starts
                                      if s.request_id == request_id)}  # fmt: skip
        self.named.add((wish, request_id))
        if record is not None:
            self.settled_by_hand.add(record["token"])
        if by == "argument":
            self.one.adopt = request_id
        elif record is not None:
            adopted = {"phase": "submitted", "request_id": request_id, "submitted_at": record["intended_at"]}
            self.write_journal(self.one, {**record, **adopted, "note": "adopted by hand"})

    @precondition(lambda self: self.one.adopt is not None)
    @rule()
    def author_adopts_no_more(self) -> None:
        self.one.adopt = None

    @precondition(lambda self: self._doubt() is not None)
    @rule()
    def person_forgets(self) -> None:
        record = self._doubt()
        assert record is not None
        self.write_journal(self.one, {**record, "phase": "withdrawn", "note": "forgotten by hand"})

    def _may_rot(self) -> bool:
        return self.one.rotten is None and not (self.files and self.one.store) and bool(self.journal(self.one))

    @precondition(_may_rot)
    @rule(number=st.integers(0, 9), content=st.sampled_from(ROTTEN_FILES), value=st.sampled_from(ROTTEN_VALUES))
    def journal_rots(self, number: int, content: bytes, value: str) -> None:
        records = self.journal(self.one)
        if self.one.store is not None:
            self.one.rotten = None, self.one.store.values["grokvideo_journal"], records
            self.one.store.values["grokvideo_journal"] = value
            return
        path = self.paths(self.one)[number % len(records)]
        self.one.rotten = path, path.read_text(), records
        path.write_bytes(content)

    @precondition(lambda self: self.one.rotten is not None)
    @rule(how=st.sampled_from(["try", "restore", "remove"]))
    def person_sees_that_the_journal_is_rotten(self, how: str) -> None:
        if how == "try":
            self._clear(self.one)
            self._to_the_end(self.one)
        else:
            self._repair(self.one, remove=how == "remove")

    def _repair(self, one: Instance, *, remove: bool) -> None:
        assert one.rotten is not None
        where, good, records = one.rotten
        one.rotten = None
        if where is not None:
            where.write_text(good)
            if remove:
                self.settled_by_hand.add(json.loads(good)["token"])
                where.unlink()
            return
        assert one.store is not None
        one.store.values["grokvideo_journal"] = good
        if remove:
            self.settled_by_hand |= {record["token"] for record in records}
            del one.store.values["grokvideo_journal"]

    # How it all has to end

    def teardown(self) -> None:
        """Let everything calm down: what was bought and finished is delivered, and nothing more is bought."""
        try:
            if self.sound:
                self._calm_down()
        finally:
            self.patch.undo()
            shutil.rmtree(self.folder, ignore_errors=True)

    def _calm_down(self) -> None:
        self.mishaps.death, self.mishaps.outage, self.offline = None, 0, False
        self.words = dict(CAREFUL)
        for one in self.instances:
            one.adopt = None
            if one.rotten is not None:
                self._repair(one, remove=False)
        for one in self.instances:
            for wish in self.fingerprints:
                self._settle(one, wish)

    def _settle(self, one: Instance, wish: Wish) -> None:
        record = self.last(one, wish)
        if record is None:
            return
        self.prompts = [wish.prompt] * len(self.instances)
        self.words["duration"] = wish.duration
        if wish in self.misnamed:
            self._run_cleared(one)
            return
        how, what = self._until_it_stays(one)
        if record["phase"] == "intent":
            assert "failed" == how
            assert isinstance(what, AmbiguousSubmit)
            return
        (start,) = [each for each in self.starts(wish) if each.request_id == record["request_id"]]
        if start.state in BAD_ENDS:
            assert "failed" == how
            assert isinstance(what, BAD_ENDS[start.state])
            assert start.request_id in str(what)
            return
        assert ("success", record["request_id"]) == (how, what["request_id"])
        self._check_delivered(what)
        seen = len(self.emulator.requests)
        assert ("success", {**what, "url": None, "reused": True}) == self._run_cleared(one)
        assert seen == len(self.emulator.requests)

    def _until_it_stays(self, one: Instance) -> tuple[str, Any]:
        for _ in range(60):
            how, what = self._run_cleared(one)
            if how == "success" or isinstance(what, AmbiguousSubmit | VideoFailed | VideoExpired):
                return how, what
            assert isinstance(what, DeliveryFailed | WaitTimeout | AuthenticationFailed), what
        raise AssertionError(f"{one.subject} never comes to an end: {what}")

    def _run_cleared(self, one: Instance) -> tuple[str, Any]:
        self._clear(one)
        how, what = self.step(one)
        while one.is_busy:
            how, what = self.step(one)
        return how, what


@pytest.fixture
def mishaps() -> Iterator[Mishaps]:
    """Wrap what can go wrong, and take the pauses out."""
    with pytest.MonkeyPatch.context() as patch:
        planned = Mishaps()
        planned.install(patch)
        let_time_fly(patch)
        yield planned


@pytest.mark.usefixtures("grokvideo_connection")
def test_whatever_happens_nothing_is_paid_twice_and_nothing_paid_is_lost(grokvideo_emulator, mishaps, ti):
    """No sequence of crashes, faults, retries, clears and edits buys what nobody asked for or loses what was bought."""
    run_state_machine_as_test(
        lambda: PaidOnce(grokvideo_emulator, mishaps, ti),
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
