"""``python -m airflow_provider_grokvideo journal``: look at what tasks bought, and settle what is unconfirmed.

Exit codes: 0 done, 1 nothing was changed or found, 2 it could not be done, 3 a list that leaves out what is unreadable.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from airflow_provider_grokvideo.core import journal_edits as edits
from airflow_provider_grokvideo.core.errors import JournalUnavailable
from airflow_provider_grokvideo.core.journal import Owner, Record, orphans
from airflow_provider_grokvideo.journal import tables
from airflow_provider_grokvideo.journal.backends import Backend
from airflow_provider_grokvideo.journal.shelves import ApiShelf, FileShelf, Problem, Shelf, Wanted
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

_WHERE = """\
Where the journal is: --journal-path, else --api-url, else [grokvideo] journal_path of this machine's Airflow settings,
else Airflow's task state store (3.3+) through the REST API at [api] base_url. The API wants AIRFLOW_API_TOKEN, or
AIRFLOW_API_USERNAME and AIRFLOW_API_PASSWORD, in the environment, unless all its users are admins.
"""


def add(commands: Any) -> None:
    """Add the word ``journal`` to a command line.

    Args:
        commands: What ``argparse.ArgumentParser.add_subparsers`` returned; options get a ``run`` that takes them and
            returns the exit code.
    """
    journal = commands.add_parser(
        "journal",
        help="what tasks bought: list, show, adopt, forget",
        description="Look at what tasks bought, and settle what is unconfirmed.",
        epilog=_WHERE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    journal.set_defaults(run=lambda _: _help(journal))
    verbs = journal.add_subparsers(title="verbs", metavar="VERB")
    listing = _verb(verbs, "list", list_all, "all purchases")
    listing.add_argument(
        "--orphans", action="store_true", help="only starts without an id and requests never delivered, and what to do"
    )
    listing.add_argument("--dag-id", metavar="D")
    listing.add_argument("--run-id", metavar="R")
    listing.add_argument("--task-id", metavar="T")
    listing.add_argument(
        "--operator",
        action="append",
        default=[],
        metavar="CLASS",
        help="look also at tasks of this class, derived from an operator of this provider (task state store only)",
    )
    showing = _task_verb(verbs, "show", show, "all that is known of one task instance")
    for each in (listing, showing):
        each.add_argument("--json", action="store_true", help="JSON on standard output")
    adopting = _task_verb(verbs, "adopt", adopt, "give the request that you found to the unconfirmed submission")
    adopting.add_argument("request_id", metavar="REQUEST_ID")
    adopting.add_argument("--force", action="store_true", help="even where another request is under way")
    forgetting = _task_verb(
        verbs, "forget", forget, "forget the unconfirmed submission, so that a clear of the task buys anew"
    )
    forgetting.add_argument("--force", action="store_true", help="even a request with an id: it is billed")


def list_all(options: argparse.Namespace) -> int:
    """Print all purchases, or the orphans with the commands that settle them."""
    wanted = Wanted(options.dag_id, options.run_id, options.task_id)
    with open_shelf(options) as shelf:
        found = list(shelf.purchases(wanted))
    problems = [each for each in found if isinstance(each, Problem)]
    records = sorted((each for each in found if isinstance(each, Record)), key=lambda record: record.intended_at)
    chosen = orphans(records) if options.orphans else records
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
    """Print all records of one task instance."""
    owner = _owner(options)
    with open_shelf(options) as shelf:
        records = shelf.backend(owner).records()
    if options.json:
        _say_json(backend=shelf.told, purchases=[each.to_json() for each in records])
    elif records:
        say(*(line for each in records for line in [*tables.everything(each), ""]), tables.counts(records))
    else:
        complain(edits.no_purchase(owner))
    return DONE if records else NOTHING


def adopt(options: argparse.Namespace) -> int:
    """Give a request to the unconfirmed submission."""
    owner = _owner(options)
    with open_shelf(options) as shelf:
        backend = shelf.backend(owner)
        token, now = secrets.token_hex(8), time.time()
        edit = edits.adopt(
            backend.records(), owner, options.request_id.strip(), token=token, now=now, force=options.force
        )
        return _settle(backend, edit)


def forget(options: argparse.Namespace) -> int:
    """Withdraw the unconfirmed submission."""
    owner = _owner(options)
    with open_shelf(options) as shelf:
        backend = shelf.backend(owner)
        return _settle(backend, edits.forget(backend.records(), owner, force=options.force))


def _settle(backend: Backend, edit: edits.Edit) -> int:
    """Write a change down and read it back: a try of the task may be writing too."""
    if isinstance(edit, edits.Refused):
        complain(edit.why)
        return NOTHING
    if isinstance(edit, edits.Change):
        if edit.is_new:
            backend.create(edit.record)
        written = edit.is_new or backend.update(edit.record)
        if not written or edit.record not in backend.records():
            raise JournalUnavailable("a try of the task wrote at the same moment; look at it with show")
    say(_sentence(edit.told))
    return DONE


@contextmanager
def open_shelf(options: argparse.Namespace) -> Iterator[Shelf]:
    """Open the journals that the options and settings name, and say which."""
    path, url = options.journal_path, options.api_url
    words = ["--journal-path", path] if path else ["--api-url", url] if url else []
    if not words:
        path, url = _configured()
    if path:
        shelf: Shelf = FileShelf(path, words)
        tell(f"journal: {shelf.told}")
        yield shelf
        return
    if not url:
        raise JournalUnavailable(
            "nothing says where the journal is: give --journal-path or --api-url, or set [grokvideo] journal_path or "
            "[api] base_url"
        )
    from airflow_provider_grokvideo.journal.rest import AirflowApi

    with AirflowApi(url, os.environ) as api:
        shelf = ApiShelf(api, words, getattr(options, "operator", ()))
        tell(f"journal: {shelf.told}")
        yield shelf


def _configured() -> tuple[str, str]:
    # Importing Airflow takes seconds, which an explicit path or address spares.
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
    where.add_argument("--journal-path", metavar="PATH", help="a journal in files, local or an ObjectStorage URL")
    where.add_argument("--api-url", metavar="URL", help="a journal in the task state store of this Airflow")
    parser.set_defaults(run=lambda options: guarded(run, options))
    return parser


def _task_verb(verbs: Any, name: str, run: Any, text: str) -> argparse.ArgumentParser:
    parser = _verb(verbs, name, run, text)
    for word in ("dag_id", "run_id", "task_id"):
        parser.add_argument(word, metavar=word.removesuffix("_id").upper())
    parser.add_argument("--map-index", type=int, default=-1, metavar="N", help="of a mapped task")
    return parser


def _help(parser: argparse.ArgumentParser) -> int:
    parser.print_help()
    return DONE


def _owner(options: argparse.Namespace) -> Owner:
    return Owner(options.dag_id, options.run_id, options.task_id, options.map_index)


def _say_json(**parts: str | Iterable[Any]) -> None:
    say(json.dumps(parts, indent=2))


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].removesuffix('.')}."
