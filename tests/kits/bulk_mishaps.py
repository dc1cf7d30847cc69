"""What can happen to a table from outside: as for a single task, in many threads, with a ledger that fails, too."""

from __future__ import annotations

import functools
from collections.abc import Callable
from threading import Lock
from typing import Any

import pytest
from mishaps import POINTS, Killed, Mishaps, let_time_fly

from airflow_provider_grokvideo.core.bulk import rounds
from airflow_provider_grokvideo.core.errors import LedgerUnavailable
from airflow_provider_grokvideo.execution.bulk import outcome, waiting
from airflow_provider_grokvideo.execution.bulk import run as bulk_run
from airflow_provider_grokvideo.ledger.sql import SqlLedger
from airflow_provider_grokvideo.operators.bulk import GrokVideoBulkOperator
from airflow_provider_grokvideo.storage import table_files

LEDGER = ("reserve_all", "release_all", "change")

BULK_POINTS = (
    *POINTS,
    *((name, when) for name in (*(f"ledger {verb}" for verb in LEDGER), "write table") for when in ("before", "after")),
)
"""Where a worker can die."""


class BulkMishaps(Mishaps):
    """What will go wrong next; all threads of a worker die together.

    Attributes:
        death_after: How often the point of `death` is passed before the worker dies there.
        ledger_outage: How many writes of the ledger fail.
        ledger_hits: Whether a write that fails was carried out all the same.
        ledger_seen: How many failed so far.
    """

    def __init__(self) -> None:
        super().__init__()
        self.death_after = 0
        self.ledger_outage = 0
        self.ledger_hits = False
        self.ledger_seen = 0
        self._dead = False
        self._dying = Lock()

    def new_worker(self) -> None:
        """Begin a leg in a process that lives."""
        self._dead = False

    def cross(self, name: str, when: str) -> None:
        """Die here, if that is the plan, or if another thread has killed the worker meanwhile."""
        with self._dying:
            if self.death == (name, when) and not self._dead:
                if self.death_after > 0:
                    self.death_after -= 1
                    return
                self.death, self._dead = None, True
        if self._dead:
            raise Killed(f"{when} {name}")

    def install(self, patch: pytest.MonkeyPatch) -> None:
        """Wrap every step, those of tables too, and take the pauses out."""
        super().install(patch)
        let_time_fly(patch)
        self._wrap(patch, GrokVideoBulkOperator, "defer", lambda *_: "defer")
        self._wrap(patch, GrokVideoBulkOperator, "execute_complete", lambda *_: "execute_complete")
        self._wrap(patch, table_files, "write_table", lambda *_: "write table")
        for verb in LEDGER:
            self._wrap_ledger(patch, verb)
        for name in ("PAUSE", "LONGEST_PAUSE"):
            patch.setattr(outcome, name, 0.02)
        patch.setattr(waiting, "LONGEST_SLEEP", 0.02)
        patch.setattr(rounds, "WAKE_AFTER", 0.1)
        # Every pause writes the table.
        patch.setattr(bulk_run, "BETWEEN_TABLES", 0.0)

    def _wrap_ledger(self, patch: pytest.MonkeyPatch, verb: str) -> None:
        original: Callable[..., Any] = getattr(SqlLedger, verb)

        @functools.wraps(original)
        def wrapped(ledger: SqlLedger, *args: Any, **kwargs: Any) -> Any:
            self.cross(f"ledger {verb}", "before")
            with self._dying:
                fails = self.ledger_outage > 0
                self.ledger_outage -= fails
                self.ledger_seen += fails
            if fails and not self.ledger_hits:
                raise LedgerUnavailable("the ledger is down")
            found = original(ledger, *args, **kwargs)
            if fails:
                raise LedgerUnavailable("the ledger is down")
            self.cross(f"ledger {verb}", "after")
            return found

        patch.setattr(SqlLedger, verb, wrapped)
