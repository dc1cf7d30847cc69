"""kill -9 at random moments of a table, real processes against the emulator: nothing is paid twice, nothing is lost."""

from __future__ import annotations

import json
import logging
import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_grokvideo.ledger.sql import open_sqlite

pytestmark = [pytest.mark.deep, pytest.mark.usefixtures("grokvideo_connection")]

SEARCHES = "GROKVIDEO_MODEL_EXAMPLES" in os.environ
KILLS, ROWS = (100, 40) if SEARCHES else (6, 12)
"""`make test-deep` kills 100 tries of tables of 40 rows with each backend, at other moments each time."""


@pytest.mark.parametrize("where", ["sql", "files"])
def test_a_kill_at_any_moment_of_a_table_costs_nothing_and_loses_nothing(
    where, tmp_path, grokvideo_emulator, monkeypatch
):
    """Each row has one accepted submission and its video, and the ledger is the bill, however its tries were killed."""
    monkeypatch.setenv("AIRFLOW__GROKVIDEO__LEDGER_PATH", str(tmp_path / "ledger.db"))
    if where == "files":
        monkeypatch.setenv("AIRFLOW__GROKVIDEO__JOURNAL_PATH", str(tmp_path / "journal"))
    seed = int(os.environ.get("GROKVIDEO_KILLS_SEED", random.randrange(2**32) if SEARCHES else 7))
    spec = {"kills": KILLS, "rows": ROWS, "folder": str(tmp_path / "clips"), "seed": seed}

    tables, problem = _run(spec, tmp_path / "stderr", grokvideo_emulator)
    starts = grokvideo_emulator.starts
    bought = Counter(start.prompt.partition(" [[")[0] for start in starts)
    doubles = [prompt for prompt, count in bought.items() if count > 1]
    lost = [start.prompt for start in starts if not _is_delivered(tmp_path / "clips", start)]
    missing = {f"Table {table['number']} row {row}" for table in tables for row in range(ROWS)} - bought.keys()
    entries = open_sqlite(str(tmp_path / "ledger.db")).entries()
    booked = {entry.request_id: entry.billed for entry in entries if entry.counted}
    killed, questions = (sum(table[name] for table in tables) for name in ("kills", "questions"))
    result = (
        f"{killed} kills, {len(tables)} tables, {len(starts)} starts, {len(doubles)} doubles, {len(lost)} lost, "
        f"{questions} questions"
    )
    logging.getLogger(__name__).warning("%s, seed %d: %s", where, seed, result)

    assert problem is None, f"seed {seed}: {problem}"
    assert killed >= KILLS
    assert (set(), [], []) == (missing, doubles, lost), f"seed {seed}"
    assert {start.request_id: start.billed_ticks for start in starts} == booked, f"seed {seed}"
    assert grokvideo_emulator.billed_ticks == sum(entry.counted for entry in entries), f"seed {seed}"
    assert [] == [entry for entry in entries if entry.state == "reserved"], f"seed {seed}"


def _run(spec: dict[str, Any], errors: Path, emulator: Any) -> tuple[list[dict[str, Any]], str | None]:
    """Let tables be killed, and answer what is asked; return what became of each, and what went wrong."""
    command = [sys.executable, str(Path(__file__).parents[1] / "kits" / "killed_bulk.py"), json.dumps(spec)]
    tables = []
    with (
        errors.open("w") as told_wrong,
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=told_wrong, text=True
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        for line in process.stdout:
            if not line.startswith("{"):
                continue
            told = json.loads(line)
            if "question" in told:
                # What a person does: look into the console of the service, and say what is there.
                answers = {row: _in_console(emulator, told["question"], row) for row in told["rows"]}
                print(json.dumps(answers), file=process.stdin, flush=True)
            else:
                tables.append(told)
    return tables, errors.read_text()[-3000:] if process.returncode else None


def _in_console(emulator: Any, table: int, row: str) -> str | None:
    prompt = f"Table {table} row {row.removeprefix('r')} "
    known = [start.request_id for start in emulator.starts if start.prompt.startswith(prompt)]
    return known[-1] if known else None


def _is_delivered(clips: Path, start: Any) -> bool:
    """Say whether the video of a start is at its destination, whole."""
    _, table, _, row, *_ = start.prompt.split()
    sidecar = clips / table / f"r{row}.json"
    if not sidecar.exists():
        return False
    record = json.loads(sidecar.read_text())
    whole = sidecar.with_suffix(".mp4").stat().st_size == record["bytes"]
    return bool(whole and record["request_id"] == start.request_id)
