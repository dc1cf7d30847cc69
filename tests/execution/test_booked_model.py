"""Whatever happens to a task, what its ledger adds up to in the end is what the service bills: to the tick.

The machine of ``test_paid_once_model.py`` goes on: any sequence of crashes, faults, retries, clears and edits, with a
ledger that fails now and then too. The bill is the emulator's, which shares no code with the package.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import rule, run_state_machine_as_test
from mishaps import Mishaps, let_time_fly
from paid_once_model import PROMPTS, PaidOnce

from airflow_provider_grokvideo.core.errors import GrokVideoError, LedgerUnavailable
from airflow_provider_grokvideo.execution.ledger import TaskLedger
from airflow_provider_grokvideo.execution.task import open_journal
from airflow_provider_grokvideo.ledger.sql import SqlLedger, open_sqlite
from airflow_provider_grokvideo.sensors.grokvideo import GrokVideoSensor

EXAMPLES = int(os.environ.get("GROKVIDEO_MODEL_EXAMPLES", "30"))
STEPS = int(os.environ.get("GROKVIDEO_MODEL_STEPS", "25"))


class Ledgers:
    """What goes wrong with the ledger next.

    Attributes:
        outage: How many of its writes fail from here on.
        outage_hits: Whether a write that fails was carried out all the same, its answer being lost.
    """

    def __init__(self) -> None:
        self.outage = 0
        self.outage_hits = False

    def install(self, patch: pytest.MonkeyPatch, mishaps: Mishaps) -> None:
        """Wrap what a task calls; a worker can also die on either side of it."""
        for verb in ("reserve", "change"):
            self._wrap(patch, mishaps, verb)

    def _wrap(self, patch: pytest.MonkeyPatch, mishaps: Mishaps, verb: str) -> None:
        original: Callable[..., Any] = getattr(SqlLedger, verb)

        def wrapped(ledger: SqlLedger, *args: Any, **kwargs: Any) -> Any:
            mishaps.cross(f"ledger {verb}", "before")
            fails = self.outage > 0
            mishaps.outages_seen += fails
            self.outage -= fails
            if fails and not self.outage_hits:
                raise LedgerUnavailable("the ledger is down")
            found = original(ledger, *args, **kwargs)
            if fails:
                raise LedgerUnavailable("the ledger is down")
            mishaps.cross(f"ledger {verb}", "after")
            return found

        patch.setattr(SqlLedger, verb, wrapped)


class Booked(PaidOnce):
    """One task instance of an Airflow that has no luck, and its ledger."""

    def __init__(self, emulator: Any, mishaps: Mishaps, ledgers: Ledgers, ti: Any) -> None:
        super().__init__(emulator, mishaps, ti)
        self.ledgers = ledgers
        self.ledgers.outage = 0
        self.ledger = open_sqlite(str(self.folder / "ledger.db"))
        self.patch.setenv("AIRFLOW__GROKVIDEO__LEDGER_PATH", self.ledger.told)

    @rule(writes=st.integers(1, 6), hits=st.booleans())
    def ledger_will_fail(self, writes: int, hits: bool) -> None:
        self.ledgers.outage, self.ledgers.outage_hits = writes, hits

    @rule(verb=st.sampled_from(["reserve", "change"]), when=st.sampled_from(["before", "after"]))
    def worker_will_die_while_it_books(self, verb: str, when: str) -> None:
        self.mishaps.death = (f"ledger {verb}", when)

    def _calm_down(self, prompt: str) -> None:
        self.ledgers.outage = self.mishaps.outage = 0
        self.mishaps.death = None
        super()._calm_down(prompt)
        if prompt == PROMPTS[-1] and self.sound:
            self._settle_what_is_in_doubt()
            self._hold_against_the_bill()

    def _settle_what_is_in_doubt(self) -> None:
        """Do what a person does: look into the console, adopt or forget each doubtful start, fetch what nobody did."""
        for prompt in PROMPTS:
            unknown = self.unknown_starts(prompt)
            records = self.records(prompt)
            # Who has forgotten a start that was accepted all the same finds it in the console now.
            doubtful = [record for record in records if record["phase"] == "intent"]
            mistaken = [r for r in records if r["phase"] == "withdrawn" and r["token"] in self.forgotten]
            for record in [*doubtful, *mistaken]:
                if unknown:
                    found = {"request_id": unknown.pop(), "submitted_at": record["intended_at"]}
                    self.write_journal({**record, **found, "phase": "submitted", "note": "adopted by hand"})
                else:
                    self.write_journal({**record, "phase": "withdrawn", "note": "forgotten by hand"})
        TaskLedger().follow(open_journal({"ti": self.ti, "task_state_store": self.store}))
        for start in self.emulator.starts:
            sensor = GrokVideoSensor(task_id="fetch", request_id=start.request_id, deferrable=False, poke_interval=0.01)
            # How it ended is booked, whether it is a video or an error.
            with contextlib.suppress(GrokVideoError):
                sensor.execute({"ti": self.ti})

    def _hold_against_the_bill(self) -> None:
        entries = self.ledger.entries()
        by_request = {entry.request_id: entry for entry in entries if entry.request_id}
        told = [(start.state, start.billed_ticks, by_request.get(start.request_id)) for start in self.emulator.starts]
        assert self.emulator.billed_ticks == sum(entry.counted for entry in entries), (told, entries)
        for state, ticks, entry in told:
            assert entry is not None, f"a start that ended {state} is not booked"
            assert ticks == entry.counted
            if state == "done":
                assert ticks == entry.billed


@pytest.fixture
def planned() -> Iterator[tuple[Mishaps, Ledgers]]:
    """Wrap what can go wrong, and take the pauses out."""
    with pytest.MonkeyPatch.context() as patch:
        mishaps, ledgers = Mishaps(), Ledgers()
        mishaps.install(patch)
        ledgers.install(patch, mishaps)
        let_time_fly(patch)
        yield mishaps, ledgers


@pytest.mark.deep
@pytest.mark.usefixtures("grokvideo_connection")
def test_whatever_happens_the_ledger_is_the_bill(grokvideo_emulator, planned, ti):
    """After any sequence of faults, once the doubtful starts are settled, the ledger's sum is the emulator's bill."""
    run_state_machine_as_test(
        lambda: Booked(grokvideo_emulator, *planned, ti),
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
