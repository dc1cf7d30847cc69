"""Put the sums of a fault run into a document, between its two markers.

Usage: ``python scripts/fault_table.py build/fault-run.json docs/paid-once.md``. The run is what the end-to-end tests
write; nothing but their counts goes into the table.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markers import NoMarkers, replaced

SECTION = "fault run"

_COUNTS = {
    "tasks": "task instances",
    "faults": "faults injected",
    "starts": "submissions accepted",
    "delivered": "videos delivered",
    "lost": "lost",
    "told": "resubmitted as set",
    "doubles": "doubles",
}


class Unusable(Exception):
    """The run or the document is not there or not what it should be; the message says which and what to do."""


def main(arguments: Sequence[str]) -> int:
    """Rewrite the document; return the exit code."""
    if len(arguments) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    source, target = map(Path, arguments)
    try:
        run = read_run(source)
        text = _read(target, "the document")
        target.write_text(replaced(text, SECTION, table(run), target.name), encoding="utf-8")
    except (Unusable, NoMarkers) as problem:
        print(problem, file=sys.stderr)
        return 1
    print(f"{target}: {len(run['rows'])} rows of {source}")
    return 0


def read_run(path: Path) -> Mapping[str, Any]:
    """Return a run that has rows.

    Raises:
        Unusable: There is none, or it cannot be read.
    """
    text = _read(path, "the fault run; `make test-e2e` writes it")
    try:
        run = json.loads(text)
        if run["rows"] and all(isinstance(row[name], int) for row in run["rows"] for name in _COUNTS):
            return dict(run)
    except (ValueError, TypeError, KeyError) as problem:
        raise Unusable(f"{path} is no fault run: {problem!r}") from None
    raise Unusable(f"{path} is no fault run: it has no rows, or counts that are no numbers")


def table(run: Mapping[str, Any]) -> str:
    """Return the run as Markdown: a line for each scenario, summed over the backends of the journal, and their sum."""
    head = ["what happened", "journal", *_COUNTS.values(), "settled by hand"]
    lines = [
        f"Airflow {run['airflow']}, LocalExecutor, SQLite:",
        "",
        _line(head),
        _line(["---", "---", *["---:"] * len(_COUNTS), "---"]),
    ]
    for scenario in dict.fromkeys(row["scenario"] for row in run["rows"]):
        rows = [row for row in run["rows"] if row["scenario"] == scenario]
        backends = dict.fromkeys(f"`{row['backend']}`" for row in rows)
        asked = "yes" if any(row["person"] for row in rows) else "no"
        lines.append(_line([scenario, ", ".join(backends), *_sums(rows), asked]))
    lines.append(_line(["**sum**", "", *(f"**{count}**" for count in _sums(run["rows"])), ""]))
    return "\n".join(lines)


def _sums(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return [str(sum(row[name] for row in rows)) for name in _COUNTS]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _read(path: Path, what: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise Unusable(f"{path} cannot be read ({problem}): {what}") from None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
