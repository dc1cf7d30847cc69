"""Operator that makes a table of videos in one task."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow_provider_grokvideo.compat import AirflowTaskTimeout, TaskDeferralError, TaskDeferralTimeout
from airflow_provider_grokvideo.core.errors import GrokVideoError
from airflow_provider_grokvideo.execution import airflow_errors, asset_events
from airflow_provider_grokvideo.hooks.grokvideo import GrokVideoHook
from airflow_provider_grokvideo.links.grokvideo import GrokVideoLink
from airflow_provider_grokvideo.operators.base import GrokVideoPaidOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_grokvideo.execution.bulk.ports import BulkNext
    from airflow_provider_grokvideo.execution.bulk.run import BulkRun


class GrokVideoBulkOperator(GrokVideoPaidOperator):
    """Make a table of videos: all rows are checked and priced before the first is paid.

    The columns of a row are arguments of :class:`GrokVideoGenerateOperator`, :class:`GrokVideoEditOperator` or
    :class:`GrokVideoExtendOperator`, by their names, and optionally `id`, `mode` (``generate`` by default, ``edit`` or
    ``extend``) and `destination`. Other columns are copied to the result table. An empty cell is an argument that is
    not given. Each row is a purchase of its own: a retry or clear submits only rows that were not paid.

    The task returns counts, cost and the place of the result table, which has a line for every row.

    :param rows: A list of mappings, or a path or URL of a ``.csv``, ``.tsv``, ``.jsonl`` or ``.parquet`` file; all but
        Parquet also with ``.gz``. The result of another bulk task stands for its result table.
    :param rows_sql: An SQL query instead of `rows`.
    :param sql_conn_id: Airflow connection of the database that `rows_sql` is run in.
    :param id_column: The column with the unique id of a row. The id of a row in a table without such a column is a hash
        of its cells.
    :param defaults: Arguments for rows that do not have them.
    :param destination: Where each video goes, with columns of the row in braces: ``s3://bucket/clips/{id}.mp4``. A
        directory gets ``{id}.mp4``. Required, unless each row has a `destination` of its own.
    :param table: Where the result table goes: a ``.jsonl`` or ``.parquet`` file. None puts ``<task id>.jsonl`` into the
        directory of the first video. It is written several times while the task runs.
    :param max_in_flight: Requests that run at xAI at once, 1 to 1000. Default 20: few accounts may run more.
    :param min_success_ratio: The task succeeds if at least this share of the rows has its video. Rows that
        `on_bad_rows` leaves out do not count. Default 1.0.
    :param on_row_error: ``"collect"`` submits the other rows all the same. ``"stop"`` submits no more after the first
        row that fails; videos that are paid are still stored.
    :param on_bad_rows: ``"fail"`` buys nothing if a row has a mistake. ``"skip"`` leaves such rows out.

    `max_cost_usd`, and the approval of ``on_limit="ask"``, apply to the whole table. `timeout` applies to each row.
    With ``on_moderated="skip"`` moderated rows do not count in `min_success_ratio`.
    """

    template_fields: Sequence[str] = (
        "rows", "rows_sql", "sql_conn_id", "id_column", "defaults", "table", "max_in_flight", "min_success_ratio",
        *GrokVideoPaidOperator.template_fields,
    )  # fmt: skip
    template_fields_renderers: ClassVar[dict[str, str]] = {
        **GrokVideoPaidOperator.template_fields_renderers,
        "rows": "json",
        "rows_sql": "sql",
        "defaults": "json",
    }
    operator_extra_links = (GrokVideoLink(),)

    _run: BulkRun | None = None
    """The run of this leg, for :meth:`on_kill`, to which Airflow passes no arguments."""

    def __init__(
        self,
        *,
        rows: Any = None,
        rows_sql: str | None = None,
        sql_conn_id: str | None = None,
        id_column: str = "id",
        defaults: Mapping[str, Any] | None = None,
        table: str | None = None,
        max_in_flight: int | str = 20,
        min_success_ratio: float | str = 1.0,
        on_row_error: Literal["collect", "stop"] = "collect",
        on_bad_rows: Literal["fail", "skip"] = "fail",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.rows = rows
        self.rows_sql = rows_sql
        self.sql_conn_id = sql_conn_id
        self.id_column = id_column
        self.defaults = defaults
        self.table = table
        self.max_in_flight = max_in_flight
        self.min_success_ratio = min_success_ratio
        self.on_row_error = on_row_error
        self.on_bad_rows = on_bad_rows

    def execute(self, context: Context) -> Any:
        """Check, price and reserve the whole table, then submit; return counts, cost and the result table's URL."""
        return self.start(context)

    def start(self, context: Context) -> Any:
        """Do what :meth:`execute` does, for a task that another operator carries out."""
        return self._carry_out(context, lambda run: run.begin())

    def execute_again(self, context: Context, event: Any = None) -> Any:
        """Go on after a pause."""
        return self._carry_out(context, lambda run: run.resume(None))

    def execute_complete(self, context: Context, event: Any = None) -> Any:
        """Deliver what has ended, and submit more."""
        return self._carry_out(context, lambda run: run.resume(event))

    def execute_after_response(self, context: Context, event: Any = None) -> Any:
        """Submit what was approved, if it is still what the question showed."""
        return self._carry_out(context, lambda run: run.respond(event))

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume; where the trigger was lost or never ran every request is polled once."""
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except (TaskDeferralTimeout, TaskDeferralError) as problem:
            return self._carry_out(context, lambda run, why=problem: run.lost(why))  # type: ignore[misc]

    def on_kill(self) -> None:
        """Say what killing the task cannot stop."""
        if self._run is not None and (running := self._run.under_way):
            self.log.warning(
                "%d requests keep running at xAI and will be billed; the API has no cancel. Retry or clear this task "
                "to store their videos.",
                running,
            )

    def _carry_out(self, context: Context, leg: Callable[[BulkRun], BulkNext]) -> dict[str, Any]:
        """Carry out a leg of the task; return the summary, and put it into the outlets' events."""
        from airflow_provider_grokvideo.execution.bulk import task
        from airflow_provider_grokvideo.execution.bulk.options import BulkOptions
        from airflow_provider_grokvideo.execution.bulk.ports import BulkServices
        from airflow_provider_grokvideo.execution.bulk.run import BulkRun
        from airflow_provider_grokvideo.execution.task import open_items

        own = [name for name in BulkOptions.__dataclass_fields__ if name != "run"]
        options = BulkOptions(self.options(), **{name: getattr(self, name) for name in own})
        source = task.RowSource(**{name: getattr(self, name) for name in task.RowSource.__dataclass_fields__})
        services = BulkServices(
            host=task.TableTask(context, self.grokvideo_conn_id),
            hook=self.hook,
            source=source.read,
            open_items=lambda: open_items(context),
            new_hook=lambda: GrokVideoHook(self.grokvideo_conn_id),
            read_from=source.file,
        )
        self._run = run = BulkRun(options, services, task.table_name(context))
        try:
            made = task.do(leg(run), run, self, context)
        except AirflowTaskTimeout:
            run.interrupted()
            raise
        except GrokVideoError as error:
            raise airflow_errors.for_airflow(error) from error.__cause__
        finally:
            run.close()
        asset_events.tell_table(self.outlets, made, context)
        return made
