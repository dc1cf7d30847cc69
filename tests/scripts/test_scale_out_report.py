"""What a scaled-out run is judged by: the ledger, the files and the logs, and the report of it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from scale_out import main, requirements
from scale_out_course import Course, Sample
from scale_out_evidence import Evidence, Fired, Start, executions, files_in, in_logs, spread, starts_in
from scale_out_report import facts, markdown, shortcomings

SETTING = {"airflow": "3.3.2", "celery": "5.6.3", "slots": 4, "dead_after": 10, "cores": 2}


def evidence(**changed: Any) -> Evidence:
    whole: dict[str, Any] = {
        "starts": tuple(Start(number, f"r{number}", 100.0 + number, 130.0 + number, 9) for number in range(4)),
        "fired": tuple(Fired(number, 1, 132.0 + number) for number in range(4)),
        "waits": {1: frozenset({0, 1, 2, 3}), 3: frozenset({2, 3})},
        "files": {number: (f"r{number}", 140.0 + number) for number in range(4)},
        "workers": {"worker-1": 5, "worker-2": 3},
    }
    return Evidence(**{**whole, **changed})


def course(state: str = "success") -> Course:
    samples = (
        Sample(100.0, "running", {None: 4}, {}, 0),
        Sample(105.0, "running", {"deferred": 4}, {1: 2, 3: 2}, 4),
        Sample(106.0, "running", {"deferred": 4}, {1: 2, 3: 2}, 4),
        Sample(115.0, "running", {"deferred": 4}, {1: 4}, 4),
        Sample(150.0, state, {"success": 4}, {}, 4),
    )
    return Course(samples, killed_at=105.5, holders={0: 1, 1: 1, 2: 3, 3: 3}, dead=3, retried=0)


def test_a_whole_run_keeps_everything() -> None:
    """Four videos, each bought and delivered once: nothing to complain of, and the numbers are those of the run."""
    found = facts(course(), evidence(), videos=4)

    assert [] == shortcomings(found)
    assert (4, 4, 0, 0) == (found["starts"], found["delivered"], found["bought_twice"], found["lost"])
    assert {"victim": "triggerer-2", "after_s": 5.5, "bought": 4, "takeover_s": 9.5} == found["kill"]
    assert {"triggerer-2": 2, "triggerer-1": 2} == found["waits_at_kill"]
    assert {"triggerer-2": 0, "triggerer-1": 4} == found["waits_after_takeover"]
    assert {"p50": 2.0, "p90": 2.0, "max": 2.0} == found["lag_moved"]


FIFTH = Start(0, "r4", 101.0, 131.0, 9)


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        pytest.param({"starts": (*evidence().starts, FIFTH)}, "1 videos were bought twice", id="bought-twice"),
        pytest.param({"files": {0: ("r0", 140.0)}}, "1 of 4 videos were delivered", id="lost"),
        pytest.param({"files": dict.fromkeys(range(4), ("r0", 140.0))}, "1 of 4 videos", id="one-video-in-all-places"),
        pytest.param({"fired": (Fired(0, 1, 132.0), Fired(0, 3, 133.0))}, "more than one event", id="told-twice"),
        pytest.param({"fired": ()}, "", id="no-events-are-no-crash"),
    ],
)
def test_a_flaw_is_named(changed: dict[str, Any], complaint: str) -> None:
    """What went wrong is said, and the report can still be written."""
    found = facts(course(), evidence(**changed), videos=4)

    assert complaint in "; ".join(shortcomings(found))
    assert "triggerer-2 got SIGKILL" in markdown(found, SETTING)


def test_a_failed_run_is_a_flaw() -> None:
    """A run that did not end well is no demonstration, whatever was delivered."""
    assert ["the run ended as failed"] == shortcomings(facts(course("failed"), evidence(), videos=4))


def test_the_ledger_is_read() -> None:
    """A start's number and the time at which its video is done come from its prompt."""
    entry = {"request_id": "r7", "prompt": "Video 7 of a boat [[emulator: tempo=seconds:33]]", "accepted_at": 100.0}

    assert (Start(7, "r7", 100.0, 133.0, 5),) == starts_in({"starts": [entry], "polls": {"r7": 5}})


def test_a_foreign_start_is_an_error() -> None:
    """A start that another client made cannot be counted as one of the run's."""
    with pytest.raises(ValueError, match="not of this run"):
        starts_in({"starts": [{"request_id": "r1", "prompt": "A red ball"}], "polls": {}})


def test_logs_tell_who_waited(tmp_path: Path) -> None:
    """The job id of a triggerer is in the name of its log of a wait; only the fired event counts as one."""
    folder = tmp_path / "dag_id=scale_out" / "run_id=a" / "task_id=generate" / "map_index=12"
    folder.mkdir(parents=True)
    starting = json.dumps({"timestamp": "2026-01-01T00:00:00Z", "event": "trigger starting"})
    fired = json.dumps({"timestamp": "2026-01-01T00:00:01Z", "event": "Trigger fired event"})
    (folder / "attempt=1.log.trigger.3.log").write_text(f"{starting}\n")
    (folder / "attempt=1.log.trigger.1.log").write_text(f"{starting}\n{fired}\n")
    (folder / "attempt=1.log").write_text("what a worker wrote\n")

    assert ((Fired(12, 1, 1767225601.0),), {1: {12}, 3: {12}}) == in_logs(tmp_path)


def test_a_file_that_does_not_play_is_no_video(tmp_path: Path) -> None:
    """Neither an empty file nor one without its JSON file counts as delivered."""
    (tmp_path / "1.mp4").touch()
    (tmp_path / "1.json").write_text('{"request_id": "r1"}')
    (tmp_path / "2.mp4").write_bytes(b"\0" * 2000)

    assert {} == files_in(tmp_path)


def test_executions_are_counted(tmp_path: Path) -> None:
    """Of a worker's log only the lines that end an execution count."""
    log = tmp_path / "worker-1.log"
    log.write_text("Task execute_workload[a-1] received\nTask execute_workload[a-1] succeeded in 1.0s: None\n")

    assert 1 == executions(log)


def test_quantiles() -> None:
    """Median, 90 % quantile and maximum of ten values."""
    assert {"p50": 4.0, "p90": 8.0, "max": 9.0} == spread([float(value) for value in range(10)])


def test_a_machine_without_servers_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without PostgreSQL and Redis the script ends with an error that names both, before it does anything."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("postgres._DEBIAN", tmp_path)

    assert 1 == main([])
    assert ["postgresql", "redis-server"] == re.findall(r"apt-get install ([\w-]+)", capsys.readouterr().err)


def test_the_extra_names_what_is_imported() -> None:
    """The extra that the script installs brings Airflow's Celery provider."""
    assert any(each.startswith("apache-airflow-providers-celery") for each in requirements())
