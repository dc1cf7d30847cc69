"""Options of a table: how many requests at once, when the task succeeds, where the result goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from typing import Any

from airflow_provider_grokvideo.core.errors import InvalidInput
from airflow_provider_grokvideo.core.numbers import checked_number
from airflow_provider_grokvideo.execution.options import RunOptions

MOST_IN_FLIGHT = 1000
"""Requests that one task may have at xAI at once; a trigger polls thousands, and a worker has to deliver them."""


@dataclass(frozen=True)
class BulkOptions:
    """Everything about a table but its rows; the operator's arguments of the same names say what each means.

    Attributes:
        run: What holds for each row.
    """

    run: RunOptions
    id_column: str = "id"
    defaults: Mapping[str, Any] | None = None
    table: Any = None
    max_in_flight: Any = 20
    min_success_ratio: Any = 1.0
    on_row_error: str = "collect"
    on_bad_rows: str = "fail"

    def check(self) -> BulkOptions:
        """Return the options with numbers in place of rendered text.

        Raises:
            InvalidInput: It names the field.
        """
        replace(self.run, destination=None, deliver_via="download").check()
        for field, allowed in (("on_row_error", ("collect", "stop")), ("on_bad_rows", ("fail", "skip"))):
            if getattr(self, field) not in allowed:
                raise InvalidInput(field, getattr(self, field), f"one of {', '.join(allowed)}")
        if self.run.deliver_via not in ("download", "upload"):
            raise InvalidInput("deliver_via", self.run.deliver_via, "one of download, upload")
        if not isinstance(self.id_column, str) or not self.id_column.strip():
            raise InvalidInput("id_column", self.id_column, "the name of a column")
        if self.table is not None and not isinstance(self.table, str | PathLike):
            raise InvalidInput("table", self.table, "a path or URL that ends in .jsonl or .parquet")
        expected = f"a whole number from 1 to {MOST_IN_FLIGHT}"
        flight = checked_number(
            self.max_in_flight, "max_in_flight", least=1, most=MOST_IN_FLIGHT, expected=expected, may_be_text=True
        )
        if flight != int(flight):
            raise InvalidInput("max_in_flight", self.max_in_flight, expected)
        ratio = _ratio(self.min_success_ratio)
        return replace(self, max_in_flight=int(flight), min_success_ratio=ratio)

    def row_options(self, destination: str | None) -> RunOptions:
        """Return the options of one row: its limits were decided for the whole table."""
        return replace(
            self.run, destination=destination, max_cost_usd=None, on_limit="fail", on_moderated="fail",
            wait_for_completion=True,
        )  # fmt: skip

    def table_place(self, destinations: Sequence[str], name: str) -> str | None:
        """Return where the result table goes: `table`, or a file of this name in the directory of the first video."""
        if self.table is not None:
            return str(self.table)
        first = destinations[0] if destinations else self._place_without_rows()
        if not first:
            return None
        head, slash, _ = first.rpartition("/")
        return f"{head}{slash}{name}.jsonl"

    def _place_without_rows(self) -> str:
        """Return the destination up to the first column that it names; a directory ends in a slash."""
        text = str(self.run.destination or "")
        is_directory = "{" not in text and not text.lower().endswith((".mp4", "/"))
        return f"{text}/" if text and is_directory else text.partition("{")[0]


def _ratio(value: object) -> float:
    if value in (0, "0", "0.0"):
        return 0.0
    return checked_number(
        value, "min_success_ratio", least=0, most=1, expected="a number from 0 to 1", may_be_text=True
    )
