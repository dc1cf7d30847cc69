"""``grokvideo spend`` and ``grokvideo reconcile``: spend report, and update of the ledger from the journals.

Exit codes: 0 success, 1 nothing found or changed, 2 failure, 3 some purchases were not settled.
"""

from __future__ import annotations

import argparse
import csv
import functools
import json
import os
import re
import sys
import time
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pendulum

from airflow_provider_grokvideo.core.billing import budgets, reports
from airflow_provider_grokvideo.core.billing import entries as ledger_entries
from airflow_provider_grokvideo.core.billing.entries import Entry
from airflow_provider_grokvideo.core.billing.reports import Line, in_dollars
from airflow_provider_grokvideo.core.errors import GrokVideoError, InvalidInput, LedgerUnavailable
from airflow_provider_grokvideo.core.purchases.records import Owner, Record
from airflow_provider_grokvideo.journal import cli as journal
from airflow_provider_grokvideo.journal.scan import Journals, Unreadable, Wanted
from airflow_provider_grokvideo.ledger.backends import NoLedger
from airflow_provider_grokvideo.terminal import DONE, INCOMPLETE, NOTHING, guarded, printable, say, tell

if TYPE_CHECKING:
    from airflow_provider_grokvideo.journal.sql import SqlJournal
    from airflow_provider_grokvideo.ledger.backends import Ledger

OLD_ENOUGH = 10
"""Minutes after which a reservation without a journal record counts as that of a dead task: a live one writes the
record as soon as its inputs are uploaded."""

OLD_ENOUGH_ROW = 24 * 60
"""The same for a row: a table reserves all its rows at once, and each waits for its turn."""

_WHERE = """\
The ledger is the first of: --ledger-conn-id, --ledger-path, [grokvideo] ledger_conn_id or ledger_path in the Airflow
settings of this machine, grokvideo_ledger.db in AIRFLOW_HOME.
Exit codes: 0 success, 1 nothing found or changed, 2 failure, 3 some purchases were not settled.
"""


def add(commands: Any) -> None:
    """Add the commands ``spend`` and ``reconcile``.

    Args:
        commands: From ``argparse.ArgumentParser.add_subparsers``; options get a ``run`` that takes them and returns the
            exit code.
    """
    spend = _word(commands, "spend", show, "report what was spent", _WHERE)
    spend.add_argument("--since", metavar="DAY", help="first day, such as 2026-11-01; default: the first of the month")
    spend.add_argument("--until", metavar="DAY", help="last day; default: today")
    columns = ", ".join(reports.WORDS)
    spend.add_argument(
        "--by",
        nargs="+",
        default=["day"],
        choices=reports.WORDS,
        metavar="COLUMN",
        help=f"group by: {columns}; default: day",
    )
    spend.add_argument("--dag-id", metavar="D", help="only this DAG")
    spend.add_argument("--conn-id", metavar="C", help="only this connection")
    spend.add_argument("--timezone", metavar="TZ", help="time zone of the days; default: that of the budgets")
    spend.add_argument("--format", choices=("table", "csv", "json"), default="table", help="default: table")
    spend.add_argument("--entries", action="store_true", help="print a row for each purchase")
    told = f"{_WHERE}\nThe journals are found as by 'grokvideo journal'."
    text = "update the ledger from the journals"
    reconcile = _word(commands, "reconcile", bring, text, told)
    reconcile.add_argument(
        "--older-than",
        type=float,
        metavar="MINUTES",
        help=f"release only older reservations without a journal record; default: {OLD_ENOUGH}, and {OLD_ENOUGH_ROW} "
        "for a row of a table",
    )
    reconcile.add_argument("--dry-run", action="store_true", help="print the changes without writing them")
    where = reconcile.add_mutually_exclusive_group()
    where.add_argument("--journal-path", metavar="PATH", help="journal in files: a local path or an ObjectStorage URL")
    where.add_argument("--api-url", metavar="URL", help="journal in the task state store of this Airflow")
    reconcile.add_argument(
        "--operator",
        action="append",
        default=[],
        metavar="CLASS",
        help="include tasks of this class, derived from an operator of this provider (task state store only)",
    )


def show(options: argparse.Namespace) -> int:
    """Print what was spent in a period."""
    from airflow_provider_grokvideo.ledger import settings

    zone = budgets.checked_zone(options.timezone, "--timezone") if options.timezone else settings.timezone()
    since, until = _period(options, zone)
    ledger = _opened(options)
    after = until.add(days=1)
    found = ledger.entries(budgets.begin(since, zone), budgets.begin(after, zone))
    bought = [entry for entry in found if entry.state != "released" and _is(entry, options)]
    lines = reports.grouped(bought, options.by, zone)
    total = reports.line((), bought)
    held = _budgets(ledger) if since <= pendulum.now(zone).date() <= until else []
    tell(f"ledger: {ledger.told}; {since} to {until}, {zone}")
    if options.format == "json":
        parts: dict[str, Any] = {"ledger": ledger.told, "timezone": zone, "since": str(since), "until": str(until)}
        if options.entries:
            parts["purchases"] = [ledger_entries.as_json(entry) for entry in bought]
        parts["groups"] = [each.to_json(options.by) for each in lines]
        say(json.dumps({**parts, "total": total.to_json(()), "budgets": held}, indent=2))
    elif options.format == "csv":
        rows = (
            [ledger_entries.as_json(each) for each in bought]
            if options.entries
            else [x.to_json(options.by) for x in lines]
        )
        _csv(rows)
    else:
        say(*(_purchases(bought, zone) if options.entries else _table(lines, options.by, total)))
        say(*(f"budget: {each['told']}" for each in held))
    return DONE if bought else NOTHING


def bring(options: argparse.Namespace) -> int:
    """Update the ledger from the journals, which have a record for each row of a table too.

    A reservation without a record is released if it is old enough: of a row only after a day, because the rows of a
    table are reserved together and wait for their turn.
    """
    from airflow_provider_grokvideo.ledger.sync import follow

    ledger = _opened(options)
    tell(f"ledger: {ledger.told}")
    with journal.open_journals(options) as shelf:
        found = list(shelf.purchases(Wanted()))
        records = [each for each in found if isinstance(each, Record)]
        problems = [each for each in found if isinstance(each, Unreadable)]
        known = {entry.token: entry for entry in ledger.entries()}
        before = sum(entry.counted for entry in known.values())
        changes = [
            change
            for record in records
            for change in follow(ledger, record, known.get(record.token), dry_run=options.dry_run)
        ]
        dead, kept = _dead(known.values(), records, problems, shelf, options.older_than)
        for entry in dead:
            changes.append((entry, ledger_entries.forgotten(entry)))
            if not options.dry_run:
                ledger.change(entry.token, lambda there: there and ledger_entries.forgotten(there))
    for was, is_ in changes:
        say(printable(f"{is_.owner}: {_state(was)} -> {_state(is_)}"))
    say(*(printable(f"kept: {entry.owner}: {_state(entry)}: {why}") for entry, why in kept))
    say(*(printable(f"unreadable: {each.where}: {each.what}") for each in problems))
    after = before + sum(is_.counted - (was.counted if was else 0) for was, is_ in changes)
    verb = "would change" if options.dry_run else "changed"
    counted = f"{in_dollars(before)} USD before, {in_dollars(after)} USD after"
    say(f"{len(changes)} {verb}; counted against budgets: {counted}")
    if problems or kept:
        return INCOMPLETE
    return DONE if changes else NOTHING


def _dead(
    entries: Iterable[Entry],
    records: Sequence[Record],
    problems: Sequence[Unreadable],
    shelf: Journals,
    older_than: float | None,
) -> tuple[list[Entry], list[tuple[Entry, str]]]:
    """Return the reservations whose tasks died before the submit, and the uncertain ones with the reason."""
    written = {record.token for record in records}
    now = time.time()
    # Once for all rows of a task instance.
    reads, has = functools.cache(functools.partial(_reads, shelf)), functools.cache(shelf.has)
    dead: list[Entry] = []
    kept: list[tuple[Entry, str]] = []
    for entry in entries:
        if (
            entry.token in written
            or ledger_entries.forgotten(entry) == entry
            or entry.reserved_at > now - _age(entry, older_than)
        ):
            continue
        if problems and not reads(entry.owner.whole):
            kept.append((entry, "its journal cannot be read"))
        elif not has(entry.owner.whole):
            kept.append((entry, "the task instance was deleted in Airflow, and its journal with it"))
        else:
            dead.append(entry)
    return dead, kept


def _age(entry: Entry, older_than: float | None) -> float:
    """Return the seconds after which a reservation without a record counts as that of a dead task."""
    usual = OLD_ENOUGH if entry.owner.item is None else OLD_ENOUGH_ROW
    return 60.0 * (usual if older_than is None else older_than)


def _reads(shelf: Journals, owner: Owner) -> bool:
    try:
        shelf.of_task(owner)
    except GrokVideoError:
        return False
    return True


def _opened(options: argparse.Namespace) -> Ledger:
    """Open the ledger that the options or settings name."""
    # As in Airflow's own commands, so that connections in its metadata database are found.
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
    with warnings.catch_warnings():
        # Airflow prints its deprecations on standard output, where the report goes.
        warnings.simplefilter("ignore")
        return _open(options)


def _open(options: argparse.Namespace) -> Ledger:
    """Open the ledger without creating a missing file."""
    from airflow_provider_grokvideo.ledger import settings
    from airflow_provider_grokvideo.ledger.sql import open_sqlite

    if options.ledger_conn_id:
        return settings.open_connection(options.ledger_conn_id)
    path = options.ledger_path or settings.embedded_path()
    if path is not None:
        if not Path(path).is_file():
            raise LedgerUnavailable(f"no ledger found: {path} does not exist; the first purchase creates it")
        return open_sqlite(path)
    ledger = settings.open_ledger()
    if isinstance(ledger, NoLedger):
        raise LedgerUnavailable(f"there is no ledger: {ledger.told}")
    return ledger


def _period(options: argparse.Namespace, zone: str) -> tuple[pendulum.Date, pendulum.Date]:
    today = pendulum.now(zone).date()
    until = _day(options.until, "--until") or today
    since = _day(options.since, "--since") or until.start_of("month")
    if since > until:
        raise InvalidInput("--since", str(since), f"a day not after {until}")
    return since, until


def _day(text: str | None, where: str) -> pendulum.Date | None:
    if text is None:
        return None
    try:
        # Other forms are times or no days.
        return pendulum.Date.fromisoformat(text if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text) else "")
    except ValueError:
        raise InvalidInput(where, text, "a day such as 2026-11-23") from None


def _is(entry: Entry, options: argparse.Namespace) -> bool:
    return options.dag_id in (None, entry.owner.dag_id) and options.conn_id in (None, entry.conn_id)


def _budgets(ledger: Ledger) -> list[dict[str, str]]:
    """Return the used part of the budgets in the settings that are not divided by DAG, run or connection."""
    from airflow_provider_grokvideo.ledger import settings

    held = []
    for budget in settings.declared():
        if set(budget.per) <= {"day", "month"}:
            used = ledger.used(budgets.whole(budget, time.time()))
            told = f"{budget} ({budget.where}): {in_dollars(used)} USD spent or reserved"
            held.append({"limit_usd": in_dollars(budget.ticks), "used_usd": in_dollars(used), "told": told})
    return held


_NUMBERS = ("PURCHASES", "BILLED $", "POSSIBLE $", "ESTIMATED $", "BLOCKED", "FAILED", "OPEN")


def _table(lines: Sequence[Line], by: Sequence[str], total: Line) -> list[str]:
    headings = [*map(str.upper, by), *_NUMBERS]
    rows = [[*map(printable, each.keys), *_cells(each)] for each in lines]
    rows.append(["total", *[""] * (len(by) - 1), *_cells(total)])
    return _aligned(headings, rows, len(by))


def _cells(each: Line) -> list[str]:
    amounts = map(in_dollars, (each.billed, each.possible, each.estimated))
    return [str(each.purchases), *amounts, *map(str, (each.moderated, each.failed, each.open))]


def _purchases(entries: Sequence[Entry], zone: str) -> list[str]:
    headings = ["WHEN", "TASK", "MODEL", "OUTCOME", "REQUEST ID", "EST. $", "BILLED $"]
    rows = []
    for entry in entries:
        when = pendulum.from_timestamp(entry.reserved_at, tz=zone).strftime("%Y-%m-%d %H:%M")
        task = f"{entry.owner.dag_id}.{entry.owner.task}"
        outcome = reports.WORDS["outcome"](entry, zone)
        texts = [when, task, entry.model or "-", outcome, entry.request_id or "-"]
        amounts = ["-" if ticks is None else in_dollars(ticks) for ticks in (entry.estimated, entry.billed)]
        rows.append([*map(printable, texts), *amounts])
    return _aligned(headings, rows, 5)


def _aligned(headings: Sequence[str], rows: Sequence[Sequence[str]], texts: int) -> list[str]:
    """Return the lines of a table whose first columns are texts and whose others are numbers."""
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if index < texts else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ).rstrip()
        for cells in (headings, *rows)
    ]


def _state(entry: Entry | None) -> str:
    if entry is None:
        return "no entry"
    outcome = f", {entry.outcome}" if entry.outcome else ""
    return f"{entry.state}{outcome}, {in_dollars(entry.counted)} USD"


def _csv(rows: Sequence[dict[str, Any]]) -> None:
    if rows:
        writer = csv.DictWriter(sys.stdout, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _word(commands: Any, name: str, run: Any, text: str, epilog: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=text,
        description=f"{text[:1].upper()}{text[1:]}.",
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--ledger-conn-id", metavar="ID", help="ledger in the database of this Airflow connection")
    where.add_argument("--ledger-path", metavar="FILE", help="ledger in this SQLite file")
    parser.set_defaults(run=lambda options: guarded(run, options), open_sql=open_sql_journal)
    return parser


def open_sql_journal() -> SqlJournal | None:
    """Open the journal in the configured database; imports Airflow, which takes seconds."""
    from airflow_provider_grokvideo.ledger import settings

    return settings.open_sql_journal()
