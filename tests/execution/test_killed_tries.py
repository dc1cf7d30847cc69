"""kill -9 at random moments of a try, real processes against the emulator: nothing is paid twice, nothing is lost."""

from __future__ import annotations

import json
import logging
import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

pytestmark = [pytest.mark.deep, pytest.mark.usefixtures("grokvideo_connection")]

SEARCHES = "GROKVIDEO_MODEL_EXAMPLES" in os.environ
KILLS = 200 if SEARCHES else 4
"""`make test-deep` kills 200 tries on each backend, at other moments each time."""


@pytest.mark.parametrize("where", ["disk", "s3"])
def test_a_kill_at_any_moment_costs_nothing_and_loses_nothing(
    request, where, tmp_path, grokvideo_emulator, monkeypatch
):
    """Each task has one accepted submission and its video at the destination, however its tries were killed."""
    endpoint, journal = None, str(tmp_path / "journal")
    if where == "s3":
        request.getfixturevalue("s3")
        endpoint, journal = request.getfixturevalue("_s3_server"), "s3://bucket/journal"
    monkeypatch.setenv("AIRFLOW__GROKVIDEO__JOURNAL_PATH", journal)
    monkeypatch.setenv("AIRFLOW__GROKVIDEO__LEDGER_PATH", "none")
    seed = random.randrange(2**32) if SEARCHES else 7
    spec = {"kills": KILLS, "folder": str(tmp_path), "endpoint": endpoint, "seed": seed}
    command = [sys.executable, str(Path(__file__).parents[1] / "kits" / "killed_tries.py"), json.dumps(spec)]
    tasks = []
    with (
        (tmp_path / "stderr").open("w") as errors,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        for line in process.stdout:
            if not line.startswith("{"):
                continue
            told = json.loads(line)
            if "question" in told:
                # What a person does: look into the console of the service, and say what is there.
                prompt = f"Ball {told['question']} "
                known = [start.request_id for start in grokvideo_emulator.starts if start.prompt.startswith(prompt)]
                print(json.dumps(known[-1] if known else None), file=process.stdin, flush=True)
            else:
                tasks.append(told)
    bought = Counter(start.prompt.split()[1] for start in grokvideo_emulator.starts)
    doubles = sum(count - 1 for count in bought.values())
    states = {start.request_id for start in grokvideo_emulator.starts}
    lost = [task for task in tasks if not _is_delivered(tmp_path / f"{task['number']}.json", states)]
    killed, questions = (sum(task[name] for task in tasks) for name in ("kills", "questions"))
    result = f"{killed} kills, {len(tasks)} tasks, {doubles} doubles, {len(lost)} lost, {questions} questions"
    logging.getLogger(__name__).warning("%s, seed %d: %s", where, seed, result)

    assert 0 == process.returncode, (tmp_path / "stderr").read_text()[-2000:]
    assert killed >= KILLS
    assert (0, []) == (doubles, lost), f"seed {seed}"


def _is_delivered(sidecar: Path, known: set[str]) -> bool:
    """Say whether a video is at its destination, whole, and of a request that was bought."""
    if not sidecar.exists():
        return False
    record = json.loads(sidecar.read_text())
    return record["request_id"] in known and sidecar.with_suffix(".mp4").stat().st_size == record["bytes"]
