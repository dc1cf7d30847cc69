"""Airflow's side of a run: the task instance's identity, its journal, its XCom and its card."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import pendulum
from typing_extensions import assert_never

from airflow_provider_grokvideo.compat import NEVER_EXPIRE, AirflowSkipException, AirflowTaskTimeout, conf
from airflow_provider_grokvideo.core.errors import JournalUnavailable
from airflow_provider_grokvideo.core.polling import decisions
from airflow_provider_grokvideo.core.purchases.records import Owner, Record
from airflow_provider_grokvideo.execution.journal import TaskJournal
from airflow_provider_grokvideo.journal.backends import Backend, FileBackend, TaskStateBackend, numbered

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator, Context

    from airflow_provider_grokvideo.core.cards import Outcome as Shown
    from airflow_provider_grokvideo.core.errors import GrokVideoError
    from airflow_provider_grokvideo.core.requests import VideoRequest
    from airflow_provider_grokvideo.execution.options import RunOptions
    from airflow_provider_grokvideo.execution.ports import Next, Order, WaitFor
    from airflow_provider_grokvideo.execution.run import PaidRun
    from airflow_provider_grokvideo.journal.items import Items
    from airflow_provider_grokvideo.journal.sql import SqlJournal
    from airflow_provider_grokvideo.storage.directories import Storage

log = logging.getLogger(__name__)

DEFER_GRACE = 60.0
"""Seconds that Airflow's own deferral timeout leaves the trigger to report a passed deadline itself."""

INTERRUPTIONS: tuple[type[BaseException], ...] = (AirflowTaskTimeout, Exception)
"""What can end a step of a task besides the death of its worker: ``execution_timeout`` is no ``Exception``."""


class TaskHost:
    """The task instance that runs, as :class:`~airflow_provider_grokvideo.execution.run.PaidRun` sees it.

    Args:
        context: The task's.
        order: What is asked for; says what the card shows of it.
        conn_id: The connection that pays.
        arguments: The request's arguments as they were rendered, shown where no request can be made of them.
    """

    interruptions = INTERRUPTIONS

    def __init__(
        self, context: Context, order: Order, conn_id: str, arguments: Mapping[str, Any] | None = None
    ) -> None:
        self._context = context
        self._order = order
        self._conn_id = conn_id
        self._arguments = dict(arguments or {})

    @property
    def owner(self) -> Owner:
        """The task instance."""
        return owner_in(self._context)

    def keep(self, key: str, value: Any) -> None:
        """Push an XCom of this task instance."""
        if (ti := self._context.get("ti")) is not None:
            ti.xcom_push(key=key, value=value)

    def recall(self, key: str) -> Any:
        """Return what this task instance pushed before it deferred."""
        ti = self._context.get("ti")
        if ti is None:
            return None
        return ti.xcom_pull(task_ids=self.owner.task_id, key=key, map_indexes=ti.map_index)

    def show(
        self,
        outcome: Shown | None,
        *,
        request: VideoRequest | None = None,
        record: Record | None = None,
        error: GrokVideoError | None = None,
        records: Any = (),
        **facts: Any,
    ) -> None:
        """Write the card of this task instance, for the Video tab."""
        from airflow_provider_grokvideo.execution.card import show

        if record is not None:
            bought = {
                "request_id": record.request_id,
                "submitted_at": record.submitted_at or record.intended_at,
                "estimated_usd": record.estimate,
            }
            facts = {**bought, **facts}
        given = self._arguments if request is None else None
        show(
            self._context,
            outcome,
            request=request,
            given=given,
            made_from=self._order.made_from(),
            error=error,
            records=records,
            conn_id=self._conn_id,
            **facts,
        )


def do(found: Next, run: PaidRun, operator: BaseOperator, context: Context) -> dict[str, Any]:
    """Do what a run says until it finishes; return its manifest. Pauses the task by raising, as Airflow wants it."""
    from airflow_provider_grokvideo.execution import approval
    from airflow_provider_grokvideo.execution import ports as values

    while True:
        match found:
            case values.Finished(made):
                return dict(made)
            case values.WaitFor():
                found = _wait(found, run, operator)
            case values.RunAgain(at):
                if run.options.deferrable:
                    pause(at, operator)
                found = run.run_at(at)
            case values.AskApproval(subject, body):
                approval.ask(
                    operator,
                    context,
                    (subject, body),
                    method_name="execute_after_response",
                    timeout=run.options.response_timeout,
                    users=run.options.assigned_users,
                )
            case values.SkipTask(why):
                raise AirflowSkipException(why)
            case _:
                assert_never(found)


def _wait(found: WaitFor, run: PaidRun, operator: BaseOperator) -> Next:
    """Defer to the triggerer, or wait in this worker."""
    if run.options.deferrable:
        _defer(found, run.options, operator)
    return run.wait(found)


def _defer(found: WaitFor, options: RunOptions, operator: BaseOperator) -> NoReturn:
    from airflow_provider_grokvideo.triggers.grokvideo import GrokVideoTrigger

    now = time.time()
    trigger = GrokVideoTrigger(
        request_id=found.request_id,
        grokvideo_conn_id=options.grokvideo_conn_id,
        deadline=found.deadline,
        submitted_at=found.since,
        not_before=now + decisions.FIRST_POLL,
        poll_interval=options.poll_interval,
        uploads=found.uploads,
        kind=found.kind,
    )
    timeout = timedelta(seconds=found.deadline - now + DEFER_GRACE)
    operator.defer(trigger=trigger, method_name="execute_complete", timeout=timeout)


def pause(at: float, operator: BaseOperator) -> NoReturn:
    """Let the task be run again at `at`."""
    from airflow.providers.standard.triggers.temporal import DateTimeTrigger

    operator.defer(trigger=DateTimeTrigger(moment=pendulum.from_timestamp(at)), method_name="execute_again")


def owner_in(context: Context) -> Owner:
    """Return the task instance that runs; empty names where there is none."""
    ti = context.get("ti")
    return Owner(
        str(getattr(ti, "dag_id", "")),
        str(getattr(ti, "run_id", "")),
        str(getattr(ti, "task_id", "")),
        int(getattr(ti, "map_index", -1) if ti is not None else -1),
    )


def open_journal(context: Context) -> TaskJournal:
    """Open the journal of the task instance that runs.

    ``[grokvideo] journal_path`` wins where it is set; then the SQL database of the ledger, where there is one; then
    Airflow's task state store (3.3+).

    Raises:
        JournalUnavailable: The backend does not answer.
        JournalCorrupt: What is there cannot be read.
        InvalidInput: ``journal_path`` is no place Airflow can open.
    """
    ti, owner = context.get("ti"), owner_in(context)
    clears = getattr(context.get("dag_run"), "clear_number", None)
    first = getattr(ti, "try_number", None) == 1 and not clears
    backend = backend_of(owner, context.get("task_state_store"), first=first) if ti is not None else None
    return TaskJournal(
        backend,
        owner,
        try_number=getattr(ti, "try_number", None),
        tries=getattr(ti, "max_tries", None),
        clears=clears,
        interruptions=INTERRUPTIONS,
    )


def backend_of(owner: Owner, store: Any, *, first: bool = False) -> Backend | None:
    """Return where a task instance's journal is, with everything that the backends of lower precedence hold.

    Args:
        owner: The task instance.
        store: Airflow's task state store, if there is one.
        first: This is the first try, so that no earlier one can have bought: a backend of lower precedence that is
            unavailable stops nothing.
    """

    def database(journal: SqlJournal | None) -> Backend | None:
        return None if journal is None else journal.of(owner)

    places: list[Callable[[], Backend | None]] = [
        lambda: None if (tree := _tree()) is None else FileBackend(tree, owner),
        lambda: database(_database()),
        lambda: database(_former_database()),
        lambda: None if store is None else TaskStateBackend(store, owner, _KEPT),
    ]
    return _merged(places, lambda other, mine: _move(other.records(), mine, mine.records()), first=first)


def open_items(context: Context) -> Items | None:
    """Open the journal of the rows of the task instance that runs; None where nothing keeps one.

    The places, and their errors, are those of :func:`open_journal`.
    """
    ti = context.get("ti")
    if ti is None:
        return None
    first = getattr(ti, "try_number", None) == 1 and not getattr(context.get("dag_run"), "clear_number", None)
    return items_of(owner_in(context), context.get("task_state_store"), first=first)


def items_of(owner: Owner, store: Any, *, first: bool = False) -> Items | None:
    """Return where the journal of a table's rows is, with everything that the backends of lower precedence hold.

    The arguments are those of :func:`backend_of`.
    """
    from airflow_provider_grokvideo.journal.items import FileItems, SqlItems, StateItems

    def database(journal: SqlJournal | None) -> Items | None:
        return None if journal is None else SqlItems(journal, owner)

    places: list[Callable[[], Items | None]] = [
        lambda: None if (tree := _tree()) is None else FileItems(tree, owner),
        lambda: database(_database()),
        lambda: database(_former_database()),
        lambda: None if store is None else StateItems(store, owner, _KEPT),
    ]
    return _merged(places, _move_items, first=first)


_KEPT = {"retention": NEVER_EXPIRE}

T = TypeVar("T")


def _merged(places: Sequence[Callable[[], T | None]], move: Callable[[T, T], None], *, first: bool) -> T | None:
    """Return the journal of the first place that has one; `move` brings into it what each later one holds."""
    mine: T | None = None
    for number, place in enumerate(places):
        try:
            other = None if mine is None and number == _FORMER else place()
            if other is None:
                continue
            if mine is None:
                mine = other
            else:
                move(other, mine)
        except JournalUnavailable as error:
            if mine is None or not first:
                raise
            log.warning("%s; its records were not copied", error.what)
    return mine


_FORMER = 2
"""The place that is only read: the SQL database before the settings named another one."""


def _tree() -> Storage | None:
    path = (conf.get("grokvideo", "journal_path", fallback="") or "").strip()
    if not path:
        return None
    from airflow_provider_grokvideo.storage.directories import open_tree

    return open_tree(path)


def _database() -> SqlJournal | None:
    from airflow_provider_grokvideo.ledger.settings import open_sql_journal

    return open_sql_journal()


def _former_database() -> SqlJournal | None:
    from airflow_provider_grokvideo.ledger.settings import open_former_sql_journal

    return open_former_sql_journal()


def _move_items(other: Items, mine: Items) -> None:
    """Bring the rows of a backend of lower precedence into this one."""
    before = other.records()
    there = mine.records() if before else {}
    for item, records in before.items():
        _move(records, mine.of(item), there.get(item, []))


def _move(before: list[Record], backend: Backend, held: list[Record]) -> None:
    """Bring what was bought before `journal_path` was set into the files; one move that was cut short is completed.

    Args:
        before: The records there.
        backend: Where they are now.
        held: What it holds.
    """
    there = {each.token: each for each in held}
    for record in before:
        known = there.get(record.token)
        if known is None:
            taken = any(each.number == record.number for each in there.values())
            moved = numbered(record, [*there.values()]) if taken else record
            backend.create(moved)
            there[moved.token] = moved
        elif known.phase == "intent" and record.phase != "intent":
            # Its worker had the setting as it was before, and has written down the answer where it began.
            backend.update(replace(record, number=known.number))
