"""Text output of ``grokvideo journal``: tables and details of purchases."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from decimal import Decimal, InvalidOperation
from typing import Any

from airflow_provider_grokvideo.core.purchases.records import Record, orphans
from airflow_provider_grokvideo.core.texts import counted
from airflow_provider_grokvideo.terminal import printable

_HEADINGS = ("WHEN (UTC)", "TASK", "PHASE", "EST. $", "BILLED $", "REQUEST ID")
_NUMBERS = frozenset({"EST. $", "BILLED $"})


def table(records: Sequence[Record]) -> list[str]:
    """Return the lines of a table with one block per DAG run, in the order of the records.

    A file's address has its own line, so that the rest fits into 120 columns unless a task id is very long.
    """
    if not records:
        return []
    rows = [_row(record) for record in records]
    widths = [max(map(len, column)) for column in zip(_HEADINGS, *rows, strict=True)]
    runs: dict[tuple[str, str], list[str]] = {}
    for record, row in zip(records, rows, strict=True):
        lines = runs.setdefault((record.owner.dag_id, record.owner.run_id), [])
        lines.append(_aligned(row, widths))
        if uri := delivered_uri(record):
            lines.append(f"    {printable(uri)}")
    found = [_aligned(_HEADINGS, widths)]
    for (dag_id, run_id), lines in runs.items():
        found += ["", printable(f"DAG {dag_id}, run {run_id}"), *lines]
    return found


def counts(records: Sequence[Record]) -> str:
    """Return one line with the number of purchases, their phases and prices, and the number of orphans.

    A submission that was not accepted cost nothing, so its estimate is left out.
    """
    many = len(records)
    phases = ", ".join(f"{number} {phase}" for phase, number in Counter(each.phase for each in records).items())
    # A purchase that several map indexes share was paid once.
    sent = {each.token: each for each in records if each.phase != "withdrawn" or each.request_id}.values()
    estimated, billed = _sum(each.estimated_usd for each in sent), _sum(map(billed_usd, sent))
    return (
        f"{counted(many, 'purchase')}{f' ({phases})' if phases else ''}; estimated {estimated} USD, "
        f"billed {billed} USD so far; {_orphans(records)}"
    )


def settling(record: Record, where: Sequence[str]) -> list[str]:
    """Return the commands that settle an orphan; none discards a request that a task may still store.

    Args:
        record: The orphan.
        where: Command-line arguments that name the backend.
    """
    owner = record.owner
    if record.phase == "intent":
        lines = [
            f"purchase {record.number} of {owner}: unconfirmed submission; look for its request in xAI's console",
            f"  found:      {owner.command('adopt', '<request id>', where=where)}",
            f"  not found:  {owner.command('forget', where=where)}",
        ]
    else:
        lines = [
            f"purchase {record.number} of {owner}: submitted, not stored yet; its task may still be running",
            f"  details:    {owner.command('show', where=where)}",
            f"  fetch:      clear the task, or GrokVideoSensor(request_id={record.request_id!r}, destination=...)",
        ]
    return [printable(line) for line in lines]


def _orphans(records: Sequence[Record]) -> str:
    found = orphans(records)
    unconfirmed = sum(each.phase == "intent" for each in found)
    kinds = ((unconfirmed, "unconfirmed"), (len(found) - unconfirmed, "submitted and not stored"))
    told = ", ".join(f"{number:,} {kind}" for number, kind in kinds if number)
    return f"{counted(len(found), 'orphan')}{f': {told}' if told else ''}"


def everything(record: Record) -> list[str]:
    """Return all fields of a record, one per line."""
    facts = {name: value for name, value in record.to_json().items() if name not in _OF_THE_HEADING}
    manifest = facts.pop("manifest", None)
    width = max(map(len, facts))
    lines = [f"purchase {record.number} of {record.owner}: {_phase(record)}"]
    lines += [f"  {name:<{width}}  {_fact(name, value)}" for name, value in facts.items()]
    if manifest is not None:
        lines.append("  manifest")
        lines += [f"    {line}" for line in json.dumps(manifest, indent=2, ensure_ascii=False).splitlines()]
    return [printable(line) for line in lines]


def delivered_uri(record: Record) -> str | None:
    """Return the address of a delivered video."""
    uri = (record.manifest or {}).get("uri")
    return str(uri) if uri else None


def billed_usd(record: Record) -> str | None:
    """Return the billed amount; None if unknown."""
    cost = record.cost_usd if record.cost_usd is not None else (record.manifest or {}).get("cost_usd")
    return None if cost is None else str(cost)


_OF_THE_HEADING = frozenset({"schema", "dag_id", "run_id", "task_id", "map_index", "item", "number", "phase"})


def _row(record: Record) -> tuple[str, ...]:
    cells = (
        _time(record.intended_at, "%Y-%m-%d %H:%M"),
        record.owner.task,
        _phase(record),
        record.estimated_usd or "-",
        billed_usd(record) or "-",
        record.request_id or "-",
    )
    return tuple(map(printable, cells))


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    parts = (
        cell.rjust(width) if name in _NUMBERS else cell.ljust(width)
        for name, cell, width in zip(_HEADINGS, cells, widths, strict=True)
    )
    return "  ".join(parts).rstrip()


def _phase(record: Record) -> str:
    more = record.outcome or ("a sensor waits" if record.phase == "submitted" and record.waits_elsewhere else None)
    return record.phase if more is None else f"{record.phase}: {more}"


def _fact(name: str, value: Any) -> str:
    return f"{_time(value, '%Y-%m-%d %H:%M:%S')} UTC" if name in ("intended_at", "submitted_at") else str(value)


def _time(epoch: float, form: str) -> str:
    try:
        return datetime.fromtimestamp(epoch, timezone.utc).strftime(form)
    except (ValueError, OverflowError, OSError):
        return str(epoch)


def _sum(amounts: Iterable[str | None]) -> str:
    total = Decimal(0)
    for amount in amounts:
        try:
            total += Decimal(amount or 0)
        except InvalidOperation:
            continue
    return f"{total.normalize():f}"
