"""``make test``: the whole test suite, in lanes that run side by side.

Each lane is a pytest process of its own: ``unit`` on all cores; ``e2e`` beside it, two files at
a time, because it mostly waits for Airflow;
``ui`` after ``unit``, because a browser's event loop and other async tests cannot share a process. A lane's output is
in ``build/test-<lane>.log`` while it runs, and is printed when it ends. Arguments are passed on to each lane's pytest;
a lane in which they leave no test counts as passed, unless that is so in all lanes.

The exit code is 0 if every lane passed, else the first other one.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import NoReturn

REPOSITORY = Path(__file__).resolve().parent.parent
BUILD = REPOSITORY / "build"
NO_TESTS = 5
"""pytest's exit code where nothing was collected."""

GRACE = 60.0
"""Seconds in which interrupted lanes end their Airflow processes."""

BETWEEN_LINES = 30.0
"""Seconds between two lines that say how far the lanes are."""


@dataclass
class Lane:
    """A part of the suite.

    Attributes:
        name: For people.
        marks: Which tests, as an expression of pytest's ``-m``.
        options: Further arguments of pytest.
        after: The lane that has to end first, if any.
    """

    name: str
    marks: str
    options: Sequence[str] = ()
    after: str | None = None
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    started: float = 0.0

    @property
    def log(self) -> Path:
        """The file with the lane's output."""
        return BUILD / f"test-{self.name}.log"

    def start(self, arguments: Sequence[str]) -> None:
        """Start pytest."""
        self.started = time.monotonic()
        command = [
            sys.executable,
            "-m",
            "pytest",
            *self.options,
            "--cov",
            "--cov-report=",
            *narrowed(self.marks, arguments),
        ]
        # A cache for each lane: they would write over each other's.
        command += ["-o", f"cache_dir={BUILD / f'pytest-cache-{self.name}'}"]
        env = {**os.environ, "COVERAGE_FILE": str(BUILD / f".coverage.{self.name}")}
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                command, cwd=REPOSITORY, env=env, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
            )

    def progress(self) -> str:
        """Return the lane's last percentage, such as ``unit 45%``."""
        found = self.log.read_text(errors="replace").rpartition("%]")[0].rpartition("[")[2].strip()
        return f"{self.name} {found}%" if found.isdigit() else self.name


def main(arguments: Sequence[str]) -> int:
    """Run all lanes; return the exit code."""
    BUILD.mkdir(exist_ok=True)
    for old in BUILD.glob(".coverage.*"):
        old.unlink()
    lanes = [
        Lane("unit", "not e2e and not ui", ["-n", "logical"]),
        Lane("e2e", "e2e and not ui", ["-n", "2", "--dist", "loadfile"]),
        Lane("ui", "ui", after="unit"),
    ]
    signal.signal(signal.SIGTERM, _leave)
    # A shell starts background jobs with this signal ignored, which its children inherit; lanes are ended by it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        codes = run(lanes, arguments)
    finally:
        stop([lane.process for lane in lanes if lane.process is not None])
    coverage()
    return verdict(codes)


def narrowed(marks: str, arguments: Sequence[str]) -> list[str]:
    """Return pytest's arguments for a lane: its own marks, together with those that were asked for.

    pytest itself takes the last ``-m`` alone, and each lane would then run the same tests.
    """
    known = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    known.add_argument("-m", dest="marks")
    asked, others = known.parse_known_args(list(arguments))
    return ["-m", f"({marks}) and ({asked.marks})" if asked.marks else marks, *others]


def stop(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """End lanes that still run: by the signal of Ctrl-C, on which pytest tears its fixtures down, then by force."""
    running = [process for process in processes if process.poll() is None]
    for process in running:
        os.killpg(process.pid, signal.SIGINT)
    until = time.monotonic() + GRACE
    for process in running:
        try:
            process.wait(max(0.1, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _leave(sig: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + sig)


def run(lanes: Sequence[Lane], arguments: Sequence[str]) -> dict[str, int]:
    """Run the lanes to their ends and print each one's output; return their exit codes by name."""
    codes: dict[str, int] = {}
    told = time.monotonic()
    while len(codes) < len(lanes):
        for lane in lanes:
            if lane.process is None and (lane.after is None or lane.after in codes):
                lane.start(arguments)
            elif lane.process is not None and lane.name not in codes and lane.process.poll() is not None:
                codes[lane.name] = lane.process.returncode
                show(lane)
        if time.monotonic() - told > BETWEEN_LINES:
            told = time.monotonic()
            running = [lane.progress() for lane in lanes if lane.process is not None and lane.name not in codes]
            print("  ...", ", ".join(running), flush=True)
        time.sleep(0.5)
    return codes


def show(lane: Lane) -> None:
    """Print what a lane has said."""
    print(f"--- {lane.name}, {time.monotonic() - lane.started:.0f} s ---", flush=True)
    print(lane.log.read_text(errors="replace"), flush=True)


def verdict(codes: dict[str, int]) -> int:
    """Return the exit code of the suite from those of its lanes."""
    if set(codes.values()) == {NO_TESTS}:
        return NO_TESTS
    return next((code for code in codes.values() if code not in (0, NO_TESTS)), 0)


def coverage() -> None:
    """Print the branch coverage of all lanes together."""
    files = sorted(str(path) for path in BUILD.glob(".coverage.*"))
    if files:
        env = {**os.environ, "COVERAGE_FILE": str(REPOSITORY / ".coverage")}
        for words in (["combine", "--quiet", *files], ["report"]):
            subprocess.run([sys.executable, "-m", "coverage", *words], cwd=REPOSITORY, env=env, check=False)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
