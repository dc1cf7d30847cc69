"""Airflow's side of a table: the task instance, its table, its journals, its card; and its deferrals."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from typing_extensions import assert_never

from airflow_provider_grokvideo.compat import AirflowSkipException
from airflow_provider_grokvideo.core.bulk import rows as tables
from airflow_provider_grokvideo.core.bulk.rounds import InFlight
from airflow_provider_grokvideo.core.errors import GrokVideoError, InvalidInput
from airflow_provider_grokvideo.core.polling import decisions
from airflow_provider_grokvideo.execution import approval
from airflow_provider_grokvideo.execution import ports as values
from airflow_provider_grokvideo.execution.bulk import ports
from airflow_provider_grokvideo.execution.task import DEFER_GRACE, INTERRUPTIONS, owner_in, pause

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator, Context

    from airflow_provider_grokvideo.core.bulk.rows import Table
    from airflow_provider_grokvideo.core.purchases.records import Owner
    from airflow_provider_grokvideo.execution.bulk.run import BulkRun

log = logging.getLogger(__name__)


class TableTask:
    """The task instance that runs, as :class:`~airflow_provider_grokvideo.execution.bulk.run.BulkRun` sees it.

    Args:
        context: The task's.
        conn_id: The connection that pays.
    """

    interruptions = INTERRUPTIONS

    def __init__(self, context: Context, conn_id: str) -> None:
        self._context = context
        self._conn_id = conn_id
        self._ti: Any = context["ti"]

    @property
    def owner(self) -> Owner:
        """The task instance."""
        return owner_in(self._context)

    @property
    def try_number(self) -> int | None:
        """This try."""
        return getattr(self._ti, "try_number", None)

    @property
    def tries(self) -> int | None:
        """Airflow's ``max_tries``."""
        return getattr(self._ti, "max_tries", None)

    @property
    def clears(self) -> int | None:
        """How often Airflow has cleared the run."""
        return getattr(self._context.get("dag_run"), "clear_number", None)

    def keep(self, key: str, value: Any) -> None:
        """Push an XCom of this task instance."""
        self._ti.xcom_push(key=key, value=value)

    def recall(self, key: str) -> Any:
        """Return what this task instance pushed before it deferred."""
        return self._ti.xcom_pull(task_ids=self.owner.task_id, key=key, map_indexes=self._ti.map_index)

    def show_table(self, facts: Mapping[str, Any], error: BaseException | None = None) -> None:
        """Write the card of this task instance, for the Video tab."""
        from airflow_provider_grokvideo.execution.card import show_table

        known = error if isinstance(error, GrokVideoError) else None
        show_table(self._context, facts, error=known, conn_id=self._conn_id)


def table_name(context: Context) -> str:
    """Return the name of a result table that has no place of its own: the task's, so that tasks do not share one."""
    owner = owner_in(context)
    return owner.task_id if owner.map_index < 0 else f"{owner.task_id}-{owner.map_index}"


@dataclass(frozen=True)
class RowSource:
    """Where the rows of a table come from; the operator's arguments of the same names say what each means."""

    rows: Any
    rows_sql: str | None
    sql_conn_id: str | None
    id_column: str
    defaults: Mapping[str, Any] | None
    destination: str | None

    def read(self) -> Table:
        """Read the table: a list, a file, or the result of a query.

        Raises:
            InvalidInput: It cannot be read, or is no table.
        """
        return tables.read(
            self._cells(), defaults=self.defaults, id_column=self.id_column, destination=self.destination
        )

    @property
    def file(self) -> str | None:
        """The path or URL of the table; None where it is no file."""
        rows = _named(self.rows)
        return str(rows) if _is_file(rows) else None

    def _cells(self) -> Sequence[Mapping[str, Any]]:
        if self.rows_sql is None:
            return cells_in(self.rows)
        if self.rows is not None:
            raise InvalidInput("rows_sql", self.rows_sql, "no rows beside it: a table has one source")
        from airflow_provider_grokvideo.execution.bulk.queries import query

        return query(self.rows_sql, self.sql_conn_id)


def cells_in(rows: Any) -> Sequence[Mapping[str, Any]]:
    """Return the cells of the operator's `rows`, from a list or a file.

    Raises:
        InvalidInput: It is neither, or the file cannot be read.
    """
    rows = _named(rows)
    if isinstance(rows, str) and rows.strip().startswith("["):
        try:
            rows = json.loads(rows)
        except ValueError as error:
            raise InvalidInput("rows", rows, f"a list of mappings as JSON ({error})") from None
    if _is_file(rows):
        from airflow_provider_grokvideo.storage.tables import read_cells

        return read_cells(str(rows))
    if rows is None or isinstance(rows, Mapping | bytes) or not hasattr(rows, "__iter__"):
        raise InvalidInput(
            "rows", rows, "a list of mappings, or a path or URL of a .csv, .jsonl or .parquet file; or rows_sql"
        )
    return list(rows)


def _named(rows: Any) -> Any:
    """Return the file in place of what another table's task has returned."""
    return rows["table_uri"] if isinstance(rows, Mapping) and isinstance(rows.get("table_uri"), str) else rows


def _is_file(rows: Any) -> bool:
    if isinstance(rows, str):
        return not rows.strip().startswith("[")
    return hasattr(rows, "__fspath__") or hasattr(rows, "protocol")


def do(found: ports.BulkNext, run: BulkRun, operator: BaseOperator, context: Context) -> dict[str, Any]:
    """Do what a table says until it finishes; return its summary. Pauses the task by raising, as Airflow wants it."""
    while True:
        match found:
            case ports.FinishedRows(summary):
                return dict(summary)
            case ports.WaitForRows(flight):
                _defer(flight, run, operator)
            case values.RunAgain(at):
                pause(at, operator)
            case values.AskApproval(subject, body):
                approval.ask(
                    operator,
                    context,
                    (subject, body),
                    method_name="execute_after_response",
                    timeout=run.options.run.response_timeout,
                    users=run.options.run.assigned_users,
                )
            case values.SkipTask(why):
                raise AirflowSkipException(why)
            case _:
                assert_never(found)


def _defer(flight: Sequence[values.WaitFor], run: BulkRun, operator: BaseOperator) -> NoReturn:
    from airflow_provider_grokvideo.triggers.bulk import GrokVideoBulkTrigger

    now, options = time.time(), run.options.run
    latest = max(each.deadline for each in flight)
    trigger = GrokVideoBulkTrigger.of_flight(
        [InFlight(each.request_id, each.since, each.deadline, each.kind, each.uploads) for each in flight],
        owner=run.journal_owner,
        patience=options.patience,
        latest=latest,
        grokvideo_conn_id=options.grokvideo_conn_id,
        not_before=now + decisions.FIRST_POLL,
        poll_interval=options.poll_interval,
    )
    timeout = timedelta(seconds=latest - now + DEFER_GRACE)
    operator.defer(trigger=trigger, method_name="execute_complete", timeout=timeout)
