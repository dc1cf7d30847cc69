"""Worst-case price of a table of requests, from its rows or its file."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from decimal import Decimal
from pathlib import PurePath
from typing import Any

from airflow_provider_grokvideo.core.billing import upper_bound
from airflow_provider_grokvideo.core.billing.pricing import Prices
from airflow_provider_grokvideo.core.billing.upper_bound import UNKNOWN, PlannedRequest, Unknown, Worst
from airflow_provider_grokvideo.core.bulk import rows as tables
from airflow_provider_grokvideo.core.bulk.rows import BadRow, Row
from airflow_provider_grokvideo.core.errors import GrokVideoError, InvalidInput
from airflow_provider_grokvideo.core.texts import counted
from airflow_provider_grokvideo.execution.bulk.options import BulkOptions
from airflow_provider_grokvideo.execution.bulk.task import cells_in
from airflow_provider_grokvideo.execution.options import RunOptions
from airflow_provider_grokvideo.hooks.grokvideo import GrokVideoHook
from airflow_provider_grokvideo.planning.arguments import Known, Made
from airflow_provider_grokvideo.storage.destination import local_path

SHOWN = 5
"""Bad rows, and different notes of rows, that a plan lists."""

BY_FUNCTION = "what it buys is decided by its function at run time"

_STAND_INS = {"prompt": "unknown", "video": "https://example.com/input"}
"""Known values in place of unknown ones that change no price."""

_NO_NAME: Mapping[str, str] = {}


def worst(known: Known, order: PlannedRequest, prices: Prices) -> Worst:
    """Return the price of all rows of a table together.

    Args:
        known: The arguments of the bulk task.
        order: Limit and tries of the task.
        prices: The price list.
    """
    rows, query = known.value("rows"), known.value("rows_sql")
    try:
        _check(known, rows, query)
    except InvalidInput as error:
        return _refused(error)
    if query is not None:
        return unknown(order, "rows_sql: the rows are unknown until the run")
    if isinstance(rows, Unknown | Made):
        return unknown(order, "the rows are unknown until the run")
    is_file = isinstance(rows, str | PurePath) or hasattr(rows, "protocol")
    if is_file and not str(rows).lstrip().startswith("[") and local_path(str(rows).strip()) is None:
        return unknown(order, "the rows are unknown until the run; only a local file is read before")
    try:
        cells = cells_in(rows)
    except GrokVideoError as error:
        if is_file and _is_missing(rows):
            return unknown(order, f"the rows are unknown until the run: {error.what}")
        return _refused(error, "the table cannot be read: " if is_file else "")
    return _of_cells(cells, known, order, prices)


def unknown(order: PlannedRequest, why: str) -> Worst:
    """Return the worst case of a task whose requests are unknown: its limit, if it has one.

    Args:
        order: Limit and tries of the task.
        why: The reason.
    """
    usd, limiting = upper_bound.limited(None, order, exact=False)
    return Worst(usd, notes=(why, *limiting), tries=order.tries)


def _refused(error: GrokVideoError, why: str = "") -> Worst:
    return Worst(upper_bound.NOTHING, notes=(f"refused before the submit: {why}{error.what}",))


def _check(known: Known, rows: Any, query: Any) -> None:
    """Check the options of the task as the task does; what is only known at run time is left out.

    Raises:
        InvalidInput: The task would refuse them.
    """
    task = known.task
    own = [name for name in BulkOptions.__dataclass_fields__ if name != "run"]
    run = replace(task.options(), **_given(known, task.options().__dataclass_fields__))
    BulkOptions(run, **_given(known, own)).check()
    if query is None:
        return
    if rows is not None:
        raise InvalidInput("rows_sql", task.rows_sql, "no rows beside it: a table has one source")
    if not known.value("sql_conn_id"):
        raise InvalidInput("sql_conn_id", task.sql_conn_id, "the Airflow connection of the database for rows_sql")


def _given(known: Known, names: Iterable[str]) -> dict[str, Any]:
    """Return the arguments of these names; of one that is unknown its default."""
    found = {name: known.value(name) for name in names if hasattr(known.task, name)}
    defaults = {each.name: each.default for kind in (BulkOptions, RunOptions) for each in fields(kind)}
    defaults["grokvideo_conn_id"] = GrokVideoHook.default_conn_name
    return {name: defaults[name] if _has_unknown(value) else value for name, value in found.items()}


def _has_unknown(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(map(_has_unknown, value.values()))
    return any(map(_has_unknown, value)) if isinstance(value, list) else isinstance(value, Unknown | Made)


def _is_missing(rows: Any) -> bool:
    """Return whether a file is not there yet; another task may write it."""
    place = local_path(str(rows).strip())
    return place is not None and not os.path.lexists(os.path.expanduser(place))  # noqa: PTH111 - never raises


def _of_cells(cells: Sequence[Any], known: Known, order: PlannedRequest, prices: Prices) -> Worst:
    given = known.value("defaults")
    if isinstance(given, Unknown | Made):
        return unknown(order, "the defaults of the rows are unknown until the run")
    defaults = _Cells(given if isinstance(given, Mapping) else {})
    id_column, destination = known.value("id_column"), known.value("destination")
    id_column = "id" if isinstance(id_column, Unknown) else id_column
    found = [_cells(row, str(id_column), number) for number, row in enumerate(cells, 1)]
    try:
        table = tables.read(
            [each.known if isinstance(each, _Cells) else each for each in found],
            defaults=defaults.known if isinstance(given, Mapping) else given,
            id_column=id_column,
            destination=None if destination is None or isinstance(destination, Unknown) else str(destination),
        )
    except InvalidInput as error:
        return _refused(error)
    hidden = [found[row.number - 1].unknown | defaults.unknown for row in table.rows if row.destination is None]
    if destination is None and any("destination" not in names for names in hidden):
        return _refused(InvalidInput("destination", None, "where the videos go, such as s3://bucket/clips/{id}.mp4"))
    total = _Sum(prices)
    for row in table.rows:
        total.add(row, found[row.number - 1].unknown | {*defaults.unknown - {*row.arguments}})
    bad = sorted([*table.bad, *total.bad], key=lambda each: each.number)
    usd, limiting = upper_bound.limited(total.usd, order, exact=total.is_exact)
    return Worst(
        usd,
        mode=total.modes.pop() if len(total.modes) == 1 else "",
        model=total.models.pop() if len(total.models) == 1 else "",
        priced_for=(_share(len(cells) - len(bad), len(cells)),),
        notes=(*total.noted(), *_told(bad, known.task.on_bad_rows), *limiting),
        tries=order.tries,
    )


class _Cells:
    """The cells of a row, or the defaults, as far as they are known.

    Args:
        row: The cells; some may be unknown.
        name: Column and value that stand for an unknown id.

    Attributes:
        known: The known cells, and stand-ins for those that a row needs.
        unknown: Names of unknown arguments that decide the price.
    """

    def __init__(self, row: Mapping[Any, Any], name: Mapping[str, str] = _NO_NAME) -> None:
        given = {name: _plain(cell) for name, cell in row.items()}
        hidden = [name for name, cell in given.items() if cell is UNKNOWN]
        stand_ins = {**_STAND_INS, **name}
        self.known = {name: stand_ins.get(name) if name in hidden else cell for name, cell in given.items()}
        self.unknown = {name for name in hidden if name not in stand_ins}


def _cells(row: Any, id_column: str, number: int) -> Any:
    """Return the cells of a row; what is no row as it is."""
    return _Cells(row, {id_column: f"unknown {number}"}) if isinstance(row, Mapping) else row


@dataclass
class _Sum:
    """Price of the rows that were added.

    Attributes:
        prices: The price list.
        usd: Dollars; None if a price is unknown.
        is_exact: Everything that decides the price is known.
        modes: Modes of the requests.
        models: Their models.
        notes: Number of rows with each assumption.
        bad: Rows that would be refused.
    """

    prices: Prices
    usd: Decimal | None = Decimal(0)
    is_exact: bool = True
    modes: set[str] = field(default_factory=set)
    models: set[str] = field(default_factory=set)
    notes: Counter[str] = field(default_factory=Counter)
    bad: list[BadRow] = field(default_factory=list)
    _priced: dict[str, Worst] = field(default_factory=dict)

    def add(self, row: Row, hidden: set[str]) -> None:
        """Add the worst case of a row; `hidden` are its unknown arguments."""
        if "mode" in hidden:
            self.usd = None
            self.notes["mode is unknown"] += 1
            return
        kind: Any = row.mode
        names = upper_bound.ARGUMENTS[kind]
        arguments = {name: row.arguments[name] for name in names if name in row.arguments}
        order = PlannedRequest(kind, {**arguments, **{name: UNKNOWN for name in names if name in hidden}})
        problems = []
        for each in upper_bound.possible(order, self.prices):
            if not isinstance(each, InvalidInput):
                break
            problems.append(each)
        else:
            self.bad.append(tables.bad_row(row, problems[0].field, problems[0].what))
            return
        price = self._price(order)
        self.usd = None if self.usd is None or price.usd is None else self.usd + price.usd
        self.is_exact = self.is_exact and upper_bound.is_exact(order)
        self.modes.add(price.mode)
        self.models.add(price.model)
        self.notes.update(price.notes)

    def noted(self) -> list[str]:
        """Return the assumptions of the rows."""
        found = [f"{note} ({counted(count, 'row')})" for note, count in self.notes.most_common(SHOWN)]
        more = len(self.notes) - len(found)
        return [*found, f"and {more} more assumptions"] if more else found

    def _price(self, order: PlannedRequest) -> Worst:
        # Many rows only differ in their prompt.
        order = replace(order, arguments={**order.arguments, "prompt": _STAND_INS["prompt"]})
        key = json.dumps([order.kind, order.arguments], default=repr, sort_keys=True)
        if key not in self._priced:
            self._priced[key] = upper_bound.worst(order, self.prices)
        return self._priced[key]


def _share(good: int, rows: int) -> str:
    return counted(rows, "row") if good == rows else f"{good:,} of {counted(rows, 'row')}"


def _told(bad: Sequence[BadRow], on_bad_rows: str) -> list[str]:
    """Return the number of bad rows, and the first of them."""
    if not bad:
        return []
    rows = counted(len(bad), "bad row")
    head = f"{rows}, left out" if on_bad_rows == "skip" else f"{rows}: nothing is bought until that is corrected"
    shown = [str(each) for each in bad[:SHOWN]]
    return [head, *shown, *([f"and {len(bad) - SHOWN:,} more"] if len(bad) > SHOWN else [])]


def _plain(value: Any) -> Any:
    """Return a cell with :data:`UNKNOWN` for what another task returns."""
    if isinstance(value, Made):
        return UNKNOWN
    if isinstance(value, list):
        return [_plain(part) for part in value]
    return {name: _plain(part) for name, part in value.items()} if isinstance(value, dict) else value
