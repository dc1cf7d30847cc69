"""Progress that a person can read, with a terminal and without."""

from __future__ import annotations

import io
from typing import Any

from progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def task(name: str, state: str | None, *, map_index: int = -1) -> dict[str, Any]:
    return {"id": name, "task_id": name, "map_index": map_index, "state": state, "start_date": None}


def test_without_terminal_only_changes_are_printed() -> None:
    """A log file gets one line a change, not one a tick."""
    out = io.StringIO()
    progress = Progress(out, clock=Clock())
    for state in ("running", "running", "deferred", "deferred", "success"):
        progress.tasks([task("generate", state)])

    assert [
        "   0 s  generate at work",
        "   0 s  generate waiting in the triggerer",
        "   0 s  generate done",
    ] == out.getvalue().splitlines()


def test_without_terminal_silence_is_broken() -> None:
    """When nothing changes for a while the line is said again with the elapsed time."""
    out, clock = io.StringIO(), Clock()
    progress = Progress(out, quiet=15, clock=clock)
    for clock.now in (100.0, 110.0, 116.0):
        progress.tasks([task("edit", "deferred")])

    assert [
        "   0 s  edit waiting in the triggerer",
        "  16 s  edit waiting in the triggerer",
    ] == out.getvalue().splitlines()


def test_terminal_line_moves() -> None:
    """A terminal sees one line that is overwritten, and a new one for the next step."""
    out = Terminal()
    with Progress(out, clock=Clock()) as progress:
        progress.step("first")
        progress.tasks([task("make", "running", map_index=2)])
        progress.step("second")
    lines = [line.split("\r")[-1].strip() for line in out.getvalue().rstrip("\n").split("\n")]

    assert ["0 s  make[2] at work", "0 s  second"] == lines
