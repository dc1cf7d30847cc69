"""``grokvideo journal``: list purchases and settle unconfirmed submissions.

Exit codes: 0 success, 1 nothing found or changed, 2 failure, 3 some records were unreadable.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow_provider_grokvideo.core.errors import InvalidInput, JournalUnavailable
from airflow_provider_grokvideo.core.purchases import repairs as edits
from airflow_provider_grokvideo.core.purchases.records import Owner, Record, orphans
from airflow_provider_grokvideo.journal import tables
from airflow_provider_grokvideo.journal.backends import Backend
from airflow_provider_grokvideo.journal.scan import ApiJournals, FileJournals, Journals, SqlJournals, Unreadable, Wanted
from airflow_provider_grokvideo.terminal import (
    DONE,
    INCOMPLETE,
    NOTHING,
    complain,
    guarded,
    printable,
    say,
    tell,
)

if TYPE_CHECKING:
    from airflow_provider_grokvideo.journal.sql import SqlJournal

_WHERE = """\
The journal is the first of: --journal-path, --api-url, [grokvideo] journal_path in the Airflow settings of this
machine, the SQL database of the ledger there, the task state store (Airflow 3.3+) through the REST API at
[api] base_url. The API requires AIRFLOW_API_TOKEN, or AIRFLOW_API_USERNAME and AIRFLOW_API_PASSWORD, in the
environment, unless all users are admins.
Exit codes: 0 success, 1 nothing found or changed, 2 failure, 3 some records were unreadable.
"""


def add(commands: Any, open_sql: Callable[[], SqlJournal | None] | None = None) -> None:
    """Add the command ``journal``.

    Args:
        commands: From ``argparse.ArgumentParser.add_subparsers``; options get a ``run`` that takes them and returns the
            exit code.
        open_sql: Opens the journal in the configured database; returns None without one.
    """
    journal = commands.add_parser(
        "journal",
        help="list purchases and settle unconfirmed submissions: list, show, adopt, forget",
        description="List purchases and settle unconfirmed submissions.",
        epilog=_WHERE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    journal.set_defaults(run=lambda _: _help(journal), open_sql=open_sql)
    verbs = journal.add_subparsers(title="verbs", metavar="VERB")
    listing = _verb(verbs, "list", list_all, "list all purchases")
    listing.add_argument(
        "--orphans",
        action="store_true",
        help="only unconfirmed submissions, and requests that are not stored yet, with the commands that settle them",
    )
    listing.add_argument("--dag-id", metavar="D", help="only this DAG")
    listing.add_argument("--run-id", metavar="R", help="only this DAG run")
    listing.add_argument("--task-id", metavar="T", help="only this task")
    listing.add_argument("--item", metavar="ID", help="only rows with this id, of tasks that make a table of videos")
    listing.add_argument(
        "--operator",
        action="append",
        default=[],
        metavar="CLASS",
        help="include tasks of this class, derived from an operator of this provider (task state store only)",
    )
    showing = _task_verb(verbs, "show", show, "show all purchases of one task instance, or of one row of its table")
    for each in (listing, showing):
        each.add_argument("--json", action="store_true", help="print JSON")
    adopting = _task_verb(verbs, "adopt", adopt, "attach a known request id to an unconfirmed submission")
    adopting.add_argument("request_id", metavar="REQUEST_ID", help="the id of the request in xAI's console or a log")
    adopting.add_argument(
        "--force", action="store_true", help="even if another request is running, or the journal has no such row"
    )
    forgetting = _task_verb(
        verbs, "forget", forget, "discard an unconfirmed submission so that clearing the task submits again"
    )
    forgetting.add_argument("--force", action="store_true", help="also discard a request with an id, which is billed")


def list_all(options: argparse.Namespace) -> int:
    """Print all purchases, or the orphans and the commands that settle them."""
    wanted = Wanted(options.dag_id, options.run_id, options.task_id)
    with open_journals(options) as shelf:
        found = list(shelf.purchases(wanted))
    problems = [each for each in found if isinstance(each, Unreadable)]
    records = sorted((each for each in found if isinstance(each, Record)), key=lambda record: record.intended_at)
    chosen = sorted(orphans(records), key=lambda record: record.phase != "intent") if options.orphans else records
    if options.item is not None:
        chosen = [each for each in chosen if each.owner.item == options.item]
    if options.json:
        unreadable = [{"where": each.where, "problem": each.what} for each in problems]
        _say_json(backend=shelf.told, purchases=[each.to_json() for each in chosen], problems=unreadable)
        return INCOMPLETE if problems else DONE
    lines = tables.table(chosen)
    if options.orphans:
        for record in chosen:
            lines += ["", *tables.settling(record, shelf.words)]
    lines += [""] if lines else []
    lines += [printable(f"unreadable: {each.where}: {each.what}") for each in problems]
    more = f"; {len(problems)} unreadable" if problems else ""
    say(*lines, tables.counts(chosen) + more)
    return INCOMPLETE if problems else DONE


def show(options: argparse.Namespace) -> int:
    """Print all records of one task instance, or of one row of it."""
    owner = _owner(options)
    with open_journals(options) as shelf:
        records = shelf.of_task(owner) if owner.item is None else shelf.backend(owner).records()
    if options.json:
        _say_json(backend=shelf.told, purchases=[each.to_json() for each in records])
    elif records:
        say(*(line for each in records for line in [*tables.everything(each), ""]), tables.counts(records))
    else:
        complain(edits.no_purchase(owner))
    return DONE if records else NOTHING


def adopt(options: argparse.Namespace) -> int:
    """Attach a request id to the unconfirmed submission."""
    owner = _owner(options)
    with open_journals(options) as shelf:
        backend = shelf.backend(owner)
        records = _to_settle(shelf, backend, owner)
        if not records and not options.force:
            _check_row(shelf, owner)
        token, now = secrets.token_hex(8), time.time()
        edit = edits.adopt(records, owner, options.request_id.strip(), token=token, now=now, force=options.force)
        return _settle(backend, edit)


def forget(options: argparse.Namespace) -> int:
    """Withdraw the unconfirmed submission."""
    owner = _owner(options)
    with open_journals(options) as shelf:
        backend = shelf.backend(owner)
        records = _to_settle(shelf, backend, owner)
        return _settle(backend, edits.forget(records, owner, force=options.force))


def _to_settle(shelf: Journals, backend: Backend, owner: Owner) -> list[Record]:
    """Return the purchases that an edit is about.

    Raises:
        InvalidInput: The task instance buys a table, and no row is named.
    """
    records = backend.records()
    if records or owner.item is not None:
        return records
    if rows := _rows(shelf, owner):
        raise InvalidInput("--item", None, f"the id of {_one_of(rows)} of {owner}")
    return records


def _check_row(shelf: Journals, owner: Owner) -> None:
    """Refuse a row that is not in the journal of a task instance with rows: its id may be mistyped.

    Raises:
        InvalidInput: The row is none of them.
    """
    if owner.item is not None and (rows := _rows(shelf, owner)):
        expected = (
            f"the id of {_one_of(rows)} in the journal of {owner.whole}; --force adopts for a row without records"
        )
        raise InvalidInput("--item", owner.item, expected)


def _rows(shelf: Journals, owner: Owner) -> list[str]:
    found = (record.owner.item for record in shelf.of_task(owner))
    return list(dict.fromkeys(item for item in found if item is not None))


def _one_of(rows: Sequence[str]) -> str:
    named = ", ".join(map(repr, rows[:3])) + (", ..." if len(rows) > 3 else "")
    return f"the only row {named}" if len(rows) == 1 else f"one of the {len(rows):,} rows ({named})"


def _settle(backend: Backend, edit: edits.Edit) -> int:
    """Write an edit and read it back: a try of the task may be writing too."""
    if isinstance(edit, edits.RepairRefused):
        complain(edit.why)
        return NOTHING
    if isinstance(edit, edits.Change):
        if edit.is_new:
            backend.create(edit.record)
        written = edit.is_new or backend.update(edit.record)
        if not written or edit.record not in backend.records():
            raise JournalUnavailable(
                "a try of the task wrote at the same moment; check the result with 'grokvideo journal show'"
            )
    say(_sentence(edit.told))
    return DONE


@contextmanager
def open_journals(options: argparse.Namespace) -> Iterator[Journals]:
    """Open the journals that the options and settings name, and print which."""
    path, url = options.journal_path, options.api_url
    words = ["--journal-path", path] if path else ["--api-url", url] if url else []
    open_sql = None if words else getattr(options, "open_sql", None)
    if not words:
        path, url = _configured()
    if path:
        shelf: Journals = FileJournals(path, words)
        tell(f"journal: {shelf.told}")
        yield shelf
        return
    if open_sql is not None and (found := open_sql()) is not None:
        shelf = SqlJournals(found)
        tell(f"journal: {shelf.told}")
        yield shelf
        return
    if not url:
        raise JournalUnavailable(
            "no journal is configured: pass --journal-path or --api-url, or set [grokvideo] journal_path or "
            "[api] base_url"
        )
    from airflow_provider_grokvideo.journal.rest import AirflowApi

    with AirflowApi(url, os.environ) as api:
        shelf = ApiJournals(api, words, getattr(options, "operator", ()))
        tell(f"journal: {shelf.told}")
        yield shelf


def _configured() -> tuple[str, str]:
    # Importing Airflow takes seconds, which an explicit path or URL avoids.
    from airflow_provider_grokvideo.compat import conf

    path = (conf.get("grokvideo", "journal_path", fallback="") or "").strip()
    return path, (conf.get("api", "base_url", fallback="") or "").strip()


def _verb(verbs: Any, name: str, run: Any, text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = verbs.add_parser(
        name,
        help=text,
        description=_sentence(text),
        epilog=_WHERE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--journal-path", metavar="PATH", help="journal in files: a local path or an ObjectStorage URL")
    where.add_argument("--api-url", metavar="URL", help="journal in the task state store of this Airflow")
    parser.set_defaults(run=lambda options: guarded(run, options))
    return parser


def _task_verb(verbs: Any, name: str, run: Any, text: str) -> argparse.ArgumentParser:
    parser = _verb(verbs, name, run, text)
    for word in ("dag_id", "run_id", "task_id"):
        parser.add_argument(word, metavar=word.removesuffix("_id").upper())
    parser.add_argument("--map-index", type=int, default=-1, metavar="N", help="map index of a mapped task")
    parser.add_argument("--item", metavar="ID", help="id of a row, for a task that makes a table of videos")
    return parser


def _help(parser: argparse.ArgumentParser) -> int:
    parser.print_help()
    return DONE


def _owner(options: argparse.Namespace) -> Owner:
    return Owner(options.dag_id, options.run_id, options.task_id, options.map_index, options.item)


def _say_json(**parts: str | Iterable[Any]) -> None:
    say(json.dumps(parts, indent=2))


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].removesuffix('.')}."
