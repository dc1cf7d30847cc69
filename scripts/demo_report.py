"""The table at the end of the demo: what each task made, for how much, and whether the file plays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from airflow_api import label


class NotPlayable(RuntimeError):
    """A task says that it delivered a clip, but there is none, or it does not decode."""


@dataclass(frozen=True)
class Row:
    """One delivered clip.

    Attributes:
        task: Name of the task instance.
        request_id: The service's name of the job.
        seconds: Length of the clip in the file.
        took: Seconds from the task's start to its end.
        cost_usd: What the service billed; None if it did not say.
        file: Where the clip is.
    """

    task: str
    request_id: str
    seconds: float
    took: float
    cost_usd: float | None
    file: Path


def rows(tasks: Sequence[Mapping[str, Any]], result: Callable[[Mapping[str, Any]], Any]) -> list[Row]:
    """Check each task's clip and return the table's rows in the order the tasks began.

    Args:
        tasks: Task instances as Airflow's API shows them.
        result: Returns the manifest of a task instance.

    Raises:
        NotPlayable: A file is missing or does not decode, or no task delivered any.
    """
    made = [_row(ti, result(ti)) for ti in sorted(tasks, key=lambda ti: str(ti["start_date"]))]
    if not made:
        raise NotPlayable("No task delivered a clip.")
    return made


def _row(ti: Mapping[str, Any], manifest: Mapping[str, Any]) -> Row:
    uri = manifest.get("uri")
    if not uri:
        raise NotPlayable(f"{label(ti)} delivered no file: {manifest}")
    file = local_path(uri)
    took = datetime.fromisoformat(ti["end_date"]) - datetime.fromisoformat(ti["start_date"])
    return Row(
        task=label(ti),
        request_id=manifest["request_id"],
        seconds=_playable_seconds(label(ti), file),
        took=took.total_seconds(),
        cost_usd=None if manifest.get("cost_usd") is None else float(manifest["cost_usd"]),
        file=file,
    )


def local_path(uri: str) -> Path:
    """Return the local file behind a ``file://`` URL or a plain path."""
    return Path(unquote(urlsplit(uri).path)) if uri.startswith("file://") else Path(uri)


def _playable_seconds(task: str, file: Path) -> float:
    from airflow_provider_grokvideo.media.probe import probe

    if not file.is_file():
        raise NotPlayable(f"{task} says that it delivered {file}, but there is no such file.")
    seen = probe(file)
    if seen.kind != "video" or not seen.duration:
        raise NotPlayable(f"{file} of task {task} is not a playable video: {seen}")
    return seen.duration


def table(made: Sequence[Row]) -> str:
    """Return the rows as aligned text under a heading."""
    head = ("task", "request id", "seconds", "took", "cost (USD)", "file")
    body = [
        (
            row.task,
            row.request_id,
            f"{row.seconds:.2f}",
            f"{row.took:.0f} s",
            "not told" if row.cost_usd is None else f"{row.cost_usd:.4f}",
            str(row.file),
        )
        for row in made
    ]
    widths = [max(len(line[column]) for line in (head, *body)) for column in range(len(head))]
    rule = tuple("-" * width for width in widths)
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in (head, rule, *body)
    )
