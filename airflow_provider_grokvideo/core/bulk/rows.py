"""A table of video requests: each row checked, with its id, its arguments and its destination.

All rows are read before anything is bought, and all bad ones are listed at once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_grokvideo.core.bulk import cells as values
from airflow_provider_grokvideo.core.bulk import columns as names
from airflow_provider_grokvideo.core.bulk import destinations
from airflow_provider_grokvideo.core.bulk.cells import BadCell
from airflow_provider_grokvideo.core.bulk.columns import Columns
from airflow_provider_grokvideo.core.bulk.destinations import BadPlace, Template
from airflow_provider_grokvideo.core.errors import InvalidInput, shorten

MOST_ROWS = 100_000

FILE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
"""Ends of the names of files that are tables; all but Parquet also with ``.gz``."""

_FIELD = "rows"


@dataclass(frozen=True)
class Row:
    """One request of a table.

    Attributes:
        id: Unique text.
        number: Position in the table from 1, for messages only.
        mode: ``generate``, ``edit`` or ``extend``.
        arguments: The given arguments, with the defaults, by the names of the mode's operator.
        destination: The file of the video; None if it is not stored.
        carried: The free columns; an empty cell of pandas is None.
    """

    id: str
    number: int
    mode: str
    arguments: Mapping[str, Any]
    destination: str | None
    carried: Mapping[str, Any]


@dataclass(frozen=True)
class BadRow:
    """A row that cannot be bought.

    Attributes:
        number: Position in the table from 1.
        id: Its id, if it has a usable one.
        field: The column, if it is one.
        problem: One line: what is wrong, and what is expected.
        prompt: Its prompt, if it has one.
        mode: Its mode, if it has a known one.
        model: Its model, if it or the defaults say one.
        carried: The free columns.
    """

    number: int
    id: str | None
    field: str | None
    problem: str
    prompt: str | None
    mode: str | None
    model: str | None
    carried: Mapping[str, Any]

    def __str__(self) -> str:
        row_id = "" if self.id is None else f" (id {json.dumps(self.id, ensure_ascii=False)})"
        column = "" if self.field is None else f", column {self.field}"
        return f"row {self.number}{row_id}{column}: {self.problem}"


@dataclass(frozen=True)
class Table:
    """A table that was read.

    Attributes:
        rows: The good rows, in order.
        bad: One for each bad row, with the first problem that it has.
        carried: Names of the free columns, in order.
    """

    rows: tuple[Row, ...]
    bad: tuple[BadRow, ...]
    carried: tuple[str, ...]


@dataclass
class _Draft:
    """A row while it is read."""

    number: int
    id: str | None = None
    mode: str | None = None
    arguments: dict[str, Any] = field(default_factory=dict)
    carried: dict[str, Any] = field(default_factory=dict)
    own_place: Any = None
    place: str | None = None
    problem: tuple[str | None, str] | None = None

    def fault(self, column: str | None, problem: str) -> None:
        """Keep the first problem."""
        self.problem = self.problem or (column, problem)

    def row(self) -> Row:
        return Row(self.id or "", self.number, self.mode or "", self.arguments, self.place, self.carried)

    def bad_row(self, column: str | None, problem: str) -> BadRow:
        prompt, model = (_text(self.arguments.get(name)) for name in ("prompt", "model"))
        return BadRow(self.number, self.id, column, problem, prompt, self.mode, model, self.carried)


def read(
    cells: Sequence[Mapping[str, Any]],
    *,
    defaults: Mapping[str, Any] | None,
    id_column: str,
    destination: str | None,
) -> Table:
    """Read and check a table.

    A row without an id column gets the hash of its cells as id; the second of two equal rows gets ``-2`` behind it.

    Args:
        cells: The rows, by column; empty cells (None, blank text, NaN, NA, NaT) are not given.
        defaults: Arguments of rows that do not say; those of another mode are ignored.
        id_column: The column with the ids.
        destination: A path with ``{column}`` for cells, or a directory; None if nothing is stored. A row's own
            ``destination`` is used instead.

    Raises:
        InvalidInput: The table as a whole is wrong: its columns, its size, the defaults, the destination.
    """
    _check_size(cells)
    given = _checked_defaults(defaults)
    names.checked_id_column(id_column)
    # The results of a mapped task are a lazy sequence, which asks Airflow for each item each time.
    cells = list(cells)
    if not cells:
        return Table((), (), ())
    found = dict.fromkeys(name for keys in _layouts(cells) for name in keys if isinstance(name, str))
    columns = names.sorted_out(found, id_column)
    if "prompt" not in columns.known and "prompt" not in given:
        error = InvalidInput(_FIELD, sorted(map(str, found)), "a column prompt")
        error.what = f"the table has no column 'prompt'; its columns are {', '.join(map(repr, found))}"
        raise error
    template = None if destination is None else _template(destination, columns, given)
    by_mode = {mode: {name: given[name] for name in names.ARGUMENTS[mode] if name in given} for mode in names.MODES}
    drafts = [_draft(number, row, columns, by_mode, given) for number, row in enumerate(cells, 1)]
    _name(drafts, columns)
    _place(drafts, template, columns)
    good = tuple(draft.row() for draft in drafts if draft.problem is None)
    bad = tuple(draft.bad_row(*draft.problem) for draft in drafts if draft.problem is not None)
    return Table(good, bad, columns.carried)


def bad_row(row: Row, field: str | None, problem: str) -> BadRow:
    """Return a row as a bad one, for what was found after the table was read."""
    prompt, model = (_text(row.arguments.get(name)) for name in ("prompt", "model"))
    return BadRow(row.number, row.id, field, problem, prompt, row.mode, model, row.carried)


def content_of(rows: Iterable[Row]) -> str:
    """Return a hash of what rows ask for, in whatever order; free columns do not count."""
    return hashlib.sha256("\n".join(sorted(map(_asked, rows))).encode(errors="backslashreplace")).hexdigest()


def _asked(row: Row) -> str:
    facts = [row.id, row.mode, row.destination, row.arguments]
    try:
        return json.dumps(facts, sort_keys=True, default=str)
    except (TypeError, ValueError, RecursionError):
        # No request can be made of it.
        return json.dumps(row.id)


def summary_of_bad(bad: Sequence[BadRow], most: int = 20) -> str:
    """Return the bad rows as text, one per line, and how many more there are."""
    shown = [str(each) for each in bad[:most]]
    return "\n".join([*shown, f"and {len(bad) - most} more"] if len(bad) > most else shown)


def check_number(number: int) -> None:
    """Check the number of rows.

    Raises:
        InvalidInput: There are more than :data:`MOST_ROWS`.
    """
    if number > MOST_ROWS:
        raise InvalidInput(_FIELD, number, f"at most {MOST_ROWS:,} rows; split the table")


def _check_size(cells: Sequence[Mapping[str, Any]]) -> None:
    if isinstance(cells, str | bytes | Mapping) or not isinstance(cells, Sequence):
        raise InvalidInput(_FIELD, cells, "a list of mappings, one per row")
    check_number(len(cells))


def _layouts(cells: Sequence[Mapping[str, Any]]) -> dict[tuple[Any, ...], None]:
    """Return the different lists of columns that rows have."""
    return dict.fromkeys(tuple(row) for row in cells if isinstance(row, Mapping))


def _checked_defaults(defaults: Mapping[str, Any] | None) -> dict[str, Any]:
    if defaults is not None and not isinstance(defaults, Mapping):
        raise InvalidInput("defaults", defaults, "a mapping of arguments")
    given: dict[str, Any] = {}
    for name, raw in (defaults or {}).items():
        if name not in names.ALL_ARGUMENTS and name != "mode":
            allowed = ", ".join((*names.ALL_ARGUMENTS, "mode"))
            raise InvalidInput("defaults", name, f"arguments of a request ({allowed})")
        value = values.plain(raw)
        if not values.is_given(value):
            continue
        try:
            given[name] = _mode(value) if name == "mode" else values.argument(name, value)
        except BadCell as error:
            raise InvalidInput("defaults", {name: value}, f"another value: {error.problem}") from None
    return given


def _template(destination: str, columns: Columns, given: Mapping[str, Any]) -> Template:
    own_id = () if columns.id is None else (columns.id,)
    known = dict.fromkeys(("id", *own_id, *columns.known, *given, "mode", *columns.carried))
    return destinations.parsed(destination, [name for name in known if name != "destination"])


def _draft(
    number: int,
    row: object,
    columns: Columns,
    by_mode: Mapping[str, Mapping[str, Any]],
    given: Mapping[str, Any],
) -> _Draft:
    draft = _Draft(number)
    if not isinstance(row, Mapping):
        draft.fault(None, f"{shorten(row)} is no row; expected a mapping of columns to cells")
        return draft
    cell = {name: values.plain(raw) for name, raw in row.items()}
    if columns.id is not None:
        with _faults_of(draft, columns.id):
            draft.id = values.row_id(cell.get(columns.id))
    mode, needs = names.mode_of_result(cell.get("mode")) if columns.dropped else (cell.get("mode"), ())
    with _faults_of(draft, "mode"):
        draft.mode = _mode(mode if values.is_given(mode) else given.get("mode", names.DEFAULT_MODE))
        draft.arguments.update(by_mode[draft.mode])
    for name, value in cell.items():
        try:
            _take(draft, name, value, columns)
        except BadCell as error:
            draft.fault(name if isinstance(name, str) else None, error.problem)
    if needs and not draft.arguments.keys() & set(needs):
        draft.fault("mode", f"is {cell['mode']}, and the row has no {needs[0]}; a result table does not keep inputs")
    for name in names.REQUIRED.get(draft.mode or "", ()):
        if name not in draft.arguments:
            draft.fault(name, f"is empty; mode {draft.mode} needs it")
    return draft


@contextmanager
def _faults_of(draft: _Draft, column: str) -> Iterator[None]:
    try:
        yield
    except BadCell as error:
        draft.fault(column, error.problem)


def _mode(value: Any) -> str:
    text = value.strip().lower() if isinstance(value, str) else value
    if text not in names.MODES:
        raise BadCell(f"{shorten(value)} is no mode; expected {', '.join(names.MODES)}")
    return str(text)


def _take(draft: _Draft, name: object, value: Any, columns: Columns) -> None:
    """Put a cell where it belongs."""
    if not isinstance(name, str):
        raise BadCell(f"has a column {shorten(name)}; expected text as the name of each column")
    if name in (columns.id, "mode") or name in columns.dropped:
        return
    if name not in columns.known:
        draft.carried[name] = value
        values.check_carried(value)
    elif not values.is_given(value):
        return
    elif name == "destination":
        draft.own_place = value
    elif draft.mode is None or name in names.ARGUMENTS[draft.mode]:
        draft.arguments[name] = value
        draft.arguments[name] = values.argument(name, value)
    else:
        raise BadCell(f"is no argument of mode {draft.mode}, which this row has; expected an empty cell")


def _name(drafts: Sequence[_Draft], columns: Columns) -> None:
    """Check that ids are unique, or make them."""
    if columns.id is None:
        _make_ids(drafts)
        return
    first: dict[str, _Draft] = {}
    for draft in drafts:
        if draft.id is None:
            continue
        other = first.setdefault(draft.id, draft)
        if other is not draft:
            draft.fault(columns.id, f"is also the id of row {other.number}; expected another one in each row")
            other.fault(columns.id, f"is also the id of row {draft.number}; expected another one in each row")


def _make_ids(drafts: Sequence[_Draft]) -> None:
    seen: dict[str, int] = {}
    for draft in drafts:
        if draft.problem is not None:
            continue
        try:
            digest = _digest(draft)
        except (ValueError, RecursionError):
            draft.fault(None, "has a cell that is nested too deep, or a number that is too long")
            continue
        seen[digest] = seen.get(digest, 0) + 1
        draft.id = digest if seen[digest] == 1 else f"{digest}-{seen[digest]}"


def _digest(draft: _Draft) -> str:
    free = {name: value for name, value in draft.carried.items() if values.is_given(value)}
    facts = [draft.mode, draft.arguments, draft.own_place, free]
    text = json.dumps(values.canonical(facts), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _place(drafts: Sequence[_Draft], template: Template | None, columns: Columns) -> None:
    """Give each row its file."""
    if template is not None and template.is_one_file and sum(draft.own_place is None for draft in drafts) > 1:
        raise InvalidInput(
            destinations.FIELD, template.text, "another file for each row; add {id}, for example {id}.mp4"
        )
    for draft in drafts:
        if draft.problem is None:
            try:
                draft.place = _file(draft, template, columns)
            except BadPlace as error:
                draft.fault(error.field, error.problem)
    same = destinations.same_places(draft.place if draft.problem is None else None for draft in drafts)
    for at, other in same.items():
        place = shorten(drafts[at].place)
        drafts[at].fault(
            destinations.FIELD, f"{place} is also the file of row {drafts[other].number}; add {{id}} to destination"
        )


def _file(draft: _Draft, template: Template | None, columns: Columns) -> str | None:
    row_id = draft.id or ""
    if draft.own_place is not None:
        return destinations.own(draft.own_place, row_id)
    if template is None:
        return None
    named = {"id": row_id, columns.id or "id": row_id, "mode": draft.mode}
    return template.rendered({**draft.carried, **draft.arguments, **named}, row_id)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
