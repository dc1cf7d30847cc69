"""``grokvideo generate``: the paid run without Airflow's processes."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from airflow_provider_grokvideo.__main__ import main

pytestmark = pytest.mark.usefixtures("grokvideo_connection")

KILLS = 50 if "GROKVIDEO_MODEL_EXAMPLES" in os.environ else 3
"""`make test-deep` kills 50 commands, at other moments each time."""


@pytest.fixture(autouse=True)
def _ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__GROKVIDEO__LEDGER_PATH", str(tmp_path / "ledger.db"))
    monkeypatch.delenv("XAI_API_KEY", raising=False)


def answer(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Type a line."""
    read, write = os.pipe()
    os.write(write, f"{text}\n".encode())
    os.close(write)
    monkeypatch.setattr(sys, "stdin", os.fdopen(read))


def test_a_yes_submits_once_and_a_second_run_returns_the_video(grokvideo_emulator, tmp_path, monkeypatch, capsys):
    """The price is shown and a yes submits; the same command again returns the delivered video at no charge."""
    command = ["generate", "--prompt", "A ball [[emulator: tempo=at-once]]", "--duration", "1"]
    command += ["--destination", str(tmp_path / "ball.mp4")]
    answer(monkeypatch, "y")
    first = main(command)
    shown = capsys.readouterr()
    second = main([*command, "--yes"])
    again = json.loads(capsys.readouterr().out)
    made = json.loads(shown.out)

    assert (0, 0) == (first, second)
    assert "0.05 USD" in shown.err
    assert (made["request_id"], False, True) == (again["request_id"], made["reused"], again["reused"])
    assert (tmp_path / "ball.mp4").stat().st_size == made["bytes"]
    assert 1 == len(grokvideo_emulator.starts)


@pytest.mark.parametrize("typed", ["n", "", "maybe"])
def test_anything_but_a_yes_submits_nothing(grokvideo_emulator, tmp_path, monkeypatch, typed):
    """Without a yes nothing is submitted, and the exit code says so."""
    answer(monkeypatch, typed)

    assert 1 == main(["generate", "--prompt", "A ball", "--destination", str(tmp_path / "ball.mp4")])
    assert [] == grokvideo_emulator.starts


def test_a_price_above_the_limit_submits_nothing(grokvideo_emulator, tmp_path, capsys):
    """--max-cost-usd submits without a question up to that price and fails above it."""
    command = ["generate", "--prompt", "A ball", "--destination", str(tmp_path / "b.mp4"), "--max-cost-usd", "0.01"]

    assert 2 == main(command)
    assert "0.01" in capsys.readouterr().err
    assert [] == grokvideo_emulator.starts


@pytest.mark.deep
def test_a_kill_at_any_moment_costs_nothing_and_loses_nothing(grokvideo_emulator, tmp_path):
    """However often the command is killed with SIGKILL, running it again ends with one paid, delivered video."""
    dice, kills, number, lasts, questions = random.Random(7), 0, 0, 3.0, 0
    while kills < KILLS:
        number += 1
        for attempt in range(12):
            after = dice.uniform(0, lasts) if attempt < 2 else None
            begun = time.monotonic()
            code, told = typed(tmp_path, number, after)
            if code == -signal.SIGKILL:
                kills += 1
            elif code == 0:
                lasts = 0.7 * lasts + 0.3 * (time.monotonic() - begun)
                break
            elif "grokvideo journal adopt" in told:
                questions += 1
                settle(grokvideo_emulator, number)
    bought = Counter(start.prompt for start in grokvideo_emulator.starts)

    assert {1} == set(bought.values())
    assert [] == [each for each in range(1, number + 1) if not (tmp_path / f"{each}.json").exists()]


def typed(folder: Path, number: int, after: float | None) -> tuple[int, str]:
    """Run the command, kill it after some seconds, and return its exit code and what it printed."""
    command = [sys.executable, "-m", "airflow_provider_grokvideo", "generate", "--yes", "--name", f"n{number}"]
    command += ["--prompt", f"Ball {number} [[emulator: tempo=at-once]]", "--duration", "1"]
    command += ["--destination", str(folder / f"{number}.mp4")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        try:
            _, told = process.communicate(timeout=after)
        except subprocess.TimeoutExpired:
            process.kill()
            _, told = process.communicate()
    return process.returncode, told


def settle(emulator: object, number: int) -> None:
    """Name the request that the console shows, or discard the submission."""
    found = [start.request_id for start in emulator.starts if start.prompt.startswith(f"Ball {number} ")]  # type: ignore[attr-defined]
    owner = ["grokvideo", f"n{number}", "generate"]
    assert 0 == main(["journal", "adopt", *owner, found[-1]] if found else ["journal", "forget", *owner])


def test_the_same_words_in_another_directory_are_another_destination(grokvideo_emulator, tmp_path, monkeypatch, capsys):
    """A relative destination is a place of its own in each directory, however it is spelt there."""
    command = ["generate", "--yes", "--prompt", "A ball [[emulator: tempo=at-once]]", "--duration", "1"]
    made = []
    for folder, spelt in (("one", "ball.mp4"), ("two", "ball.mp4"), ("two", "./ball.mp4")):
        (tmp_path / folder).mkdir(exist_ok=True)
        monkeypatch.chdir(tmp_path / folder)
        assert 0 == main([*command, "--destination", spelt])
        made.append(json.loads(capsys.readouterr().out)["uri"])

    assert [(tmp_path / folder / "ball.mp4").as_uri() for folder in ("one", "two", "two")] == made
    assert 2 == len(grokvideo_emulator.starts)


@pytest.mark.parametrize("option", ["--destination", "--name"])
def test_what_no_file_can_be_called_is_refused(grokvideo_emulator, tmp_path, capsys, option):
    """A name with bytes that are no UTF-8 is refused like any other wrong value."""
    command = ["generate", "--yes", "--prompt", "A ball", "--destination", str(tmp_path / "b.mp4"), option, "\udcff"]

    assert 2 == main(command)
    assert f"invalid {option}" in capsys.readouterr().err
    assert [] == grokvideo_emulator.starts


def test_a_key_that_cannot_be_one_is_refused(grokvideo_emulator, tmp_path, monkeypatch, capsys):
    """A damaged XAI_API_KEY ends the command with a message that does not show it."""
    monkeypatch.setenv("XAI_API_KEY", "xai-geheim\nschluessel")

    assert 2 == main(["generate", "--yes", "--prompt", "A ball", "--destination", str(tmp_path / "b.mp4")])
    assert "geheim" not in capsys.readouterr().err


def test_an_interrupted_question_submits_nothing(grokvideo_emulator, tmp_path, monkeypatch):
    """Ctrl-C instead of a response ends the command with its exit code, and nothing is bought."""

    class Interrupted:
        def readline(self) -> str:
            raise KeyboardInterrupt

    monkeypatch.setattr(sys, "stdin", Interrupted())

    assert 2 == main(["generate", "--prompt", "A ball", "--destination", str(tmp_path / "ball.mp4")])
    assert [] == grokvideo_emulator.starts


def test_a_user_without_a_name_may_buy(grokvideo_emulator, tmp_path, monkeypatch):
    """In a container whose user has only a number a yes is a yes."""

    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found: 12345")

    monkeypatch.setattr("getpass.getuser", nameless)
    answer(monkeypatch, "y")

    command = ["generate", "--prompt", "A ball [[emulator: tempo=at-once]]", "--duration", "1"]
    assert 0 == main([*command, "--destination", str(tmp_path / "ball.mp4")])
    assert 1 == len(grokvideo_emulator.starts)
