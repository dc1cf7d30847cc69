"""Progress on the terminal: one line that moves where there is a terminal, a few plain lines where there is none."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, TextIO

from airflow_api import label

_WORDS = {
    None: "not yet due",
    "scheduled": "queued",
    "queued": "queued",
    "running": "at work",
    "deferred": "waiting in the triggerer",
    "up_for_retry": "failed, will be tried again",
    "success": "done",
    "upstream_failed": "not run",
}


class Progress:
    """Say what is going on and for how long.

    Without a terminal a line is printed when something changed, and again every ``quiet`` seconds when nothing does.
    """

    def __init__(
        self, out: TextIO | None = None, *, quiet: float = 15.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._out = out or sys.stdout
        self._quiet = quiet
        self._clock = clock
        self._began = clock()
        self._text = ""
        self._said_at = self._began
        self._moves = self._out.isatty()

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.done()

    def step(self, text: str) -> None:
        """Begin a new step; the line of the one before stays."""
        self.done()
        self._show(text)

    def tasks(self, task_instances: Sequence[Mapping[str, Any]]) -> None:
        """Show the states of a run's tasks on the line of the current step."""
        ordered = sorted(task_instances, key=lambda ti: (ti["start_date"] or "9", ti["id"]))
        self._show(", ".join(f"{label(ti)} {_WORDS.get(ti['state'], ti['state'])}" for ti in ordered))

    def done(self) -> None:
        """End the moving line, if there is one."""
        if self._moves and self._text:
            self._out.write("\n")
            self._out.flush()
        self._text = ""

    def _show(self, text: str) -> None:
        at = self._clock()
        if not self._moves and text == self._text and at - self._said_at < self._quiet:
            return
        line = f"{at - self._began:4.0f} s  {text}"
        if self._moves:
            width = shutil.get_terminal_size().columns - 1
            self._out.write(f"\r{line[:width]:<{width}}")
        else:
            self._out.write(f"{line}\n")
        self._out.flush()
        self._text, self._said_at = text, at
