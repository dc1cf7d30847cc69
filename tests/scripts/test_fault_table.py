"""The table of the fault run in the documentation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fault_table import SECTION, main

BEGIN, END = f"<!-- {SECTION}: begin -->", f"<!-- {SECTION}: end -->"

EMPTY = f"# Paid once\n\n{BEGIN}\n{END}\n\nThe end.\n"


def row(scenario: str = "worker killed", backend: str = "task_state_store", **counts: Any) -> dict[str, Any]:
    whole = {"tasks": 1, "faults": 1, "starts": 1, "delivered": 1, "lost": 0, "told": 0, "doubles": 0, "person": False}
    return {"scenario": scenario, "backend": backend, **whole, **counts}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    rows = [
        row(),
        row(backend="journal_path", faults=2, person=True),
        row("answer | lost", starts=5, told=1, doubles=3, lost=1, delivered=0),
    ]
    path = tmp_path / "fault-run.json"
    path.write_text(json.dumps({"airflow": "3.3.2", "rows": rows}))
    return path


@pytest.fixture
def document(tmp_path: Path) -> Path:
    path = tmp_path / "paid-once.md"
    path.write_text(EMPTY)
    return path


def test_counts_are_summed(source: Path, document: Path) -> None:
    """Each scenario is one line with the sums over its backends, and the last line sums all of them up."""
    code = main([str(source), str(document)])
    lines = [line for line in document.read_text().splitlines() if line.startswith("|")]

    assert 0 == code
    assert [
        "| worker killed | `task_state_store`, `journal_path` | 2 | 3 | 2 | 2 | 0 | 0 | 0 | yes |",
        "| answer \\| lost | `task_state_store` | 1 | 1 | 5 | 0 | 1 | 1 | 3 | no |",
        "| **sum** |  | **3** | **4** | **7** | **2** | **1** | **1** | **3** |  |",
    ] == lines[2:]


def test_only_what_is_between_the_markers_changes(source: Path, document: Path) -> None:
    """The rest of the document stays, and a second run changes nothing."""
    main([str(source), str(document)])
    once = document.read_text()
    main([str(source), str(document)])

    assert once == document.read_text()
    assert once.startswith(f"# Paid once\n\n{BEGIN}\nAirflow 3.3.2, LocalExecutor, SQLite:\n\n| what happened |")
    assert once.endswith(f"|\n{END}\n\nThe end.\n")


@pytest.mark.parametrize(
    "text",
    ["# Paid once\n", f"{END}\n{BEGIN}\n", f"{BEGIN}\n", EMPTY + EMPTY],
    ids=["none", "wrong order", "no end", "twice"],
)
def test_a_document_without_markers_stays(
    source: Path, document: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    """Where the markers are not as they should be nothing is written, and the message says so."""
    document.write_text(text)
    code = main([str(source), str(document)])

    assert 1 == code
    assert text == document.read_text()
    assert "paid-once.md does not have" in capsys.readouterr().err


@pytest.mark.parametrize(
    "content",
    [None, "{", "[]", '{"rows": []}', '{"airflow": "3.3.2", "rows": [{"tasks": "many"}]}'],
    ids=["absent", "cut", "a list", "no rows", "no numbers"],
)
def test_a_run_that_is_none_is_refused(
    source: Path, document: Path, capsys: pytest.CaptureFixture[str], content: str | None
) -> None:
    """A run that is not there or holds no counts is named, and the document stays."""
    source.unlink() if content is None else source.write_text(content)
    code = main([str(source), str(document)])

    assert 1 == code
    assert EMPTY == document.read_text()
    assert "fault-run.json" in capsys.readouterr().err


def test_an_absent_document_is_an_error(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A document that is not there is named and not made."""
    code = main([str(source), str(tmp_path / "none.md")])

    assert 1 == code
    assert "none.md cannot be read" in capsys.readouterr().err
    assert not (tmp_path / "none.md").exists()
