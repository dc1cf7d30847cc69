"""Tables in Parquet, by pyarrow: rows of requests, and result tables."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import IO, Any

from airflow_provider_grokvideo.core.bulk.cells import storable
from airflow_provider_grokvideo.core.bulk.lines import COLUMNS, Kind
from airflow_provider_grokvideo.core.bulk.rows import check_number
from airflow_provider_grokvideo.core.errors import GrokVideoError
from airflow_provider_grokvideo.core.redaction import foreign
from airflow_provider_grokvideo.storage.places import reason

LARGEST_TABLE = 1024**3
"""Bytes of a table, and of what a compressed one holds."""

_SMALLEST = Decimal("1E-10")
"""One tick, the smallest part of a dollar that xAI bills (contract §4)."""


_NESTED = "nested"
"""Kind of a cell that is written as JSON text, because rows are not read from nested columns."""


class WrongTable(Exception):
    """A table that cannot be read or written; the text says what is expected."""


def checked_size(size: int) -> int:
    """Return a number of bytes.

    Raises:
        WrongTable: It is more than :data:`LARGEST_TABLE`.
    """
    if size > LARGEST_TABLE:
        raise WrongTable(f"at most {LARGEST_TABLE // 1024**2:,} MiB; split the table")
    return size


def check_names(names: Sequence[str]) -> None:
    """Check that all columns have names, and different ones.

    Raises:
        WrongTable: They do not.
    """
    if "" in names:
        raise WrongTable(f"a name for each column, but column {names.index('') + 1} has none (pandas: index=False)")
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise WrongTable(f"another name for each column, but there are two columns {twice!r}")


def check_installed() -> None:
    """Check that pyarrow is there.

    Raises:
        WrongTable: It is not; the text says how to install it.
    """
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError:
        raise WrongTable("pyarrow for Parquet; pip install 'airflow-provider-grokvideo[table]'") from None


def cells(file: IO[bytes]) -> list[dict[str, Any]]:
    """Return the rows of a table as plain Python values, by column.

    Raises:
        WrongTable: It is damaged or too large, has nested columns, or pyarrow is missing.
        InvalidInput: It has too many rows.
    """
    check_installed()
    import pyarrow.parquet as pq

    try:
        source = pq.ParquetFile(file)
        check_number(source.metadata.num_rows)
        schema = _readable_schema(source.schema_arrow)
        rows: list[dict[str, Any]] = []
        size = 0
        for batch in source.iter_batches(batch_size=1000):
            plain = batch.cast(schema, safe=False)
            size = checked_size(size + plain.nbytes)
            rows += plain.to_pylist()
    except (GrokVideoError, WrongTable):
        raise
    except Exception as error:
        # pyarrow has no one class of errors for a damaged file.
        raise WrongTable(f"a Parquet file that pyarrow can read ({reason(error)})") from error
    return rows


def write(file: Path, lines: Iterable[Mapping[str, Any]], carried: Sequence[str]) -> None:
    """Write a result table with its types; a free column has the type of its values, or else is JSON text.

    Raises:
        WrongTable: pyarrow is missing.
    """
    check_installed()
    import pyarrow as pa
    import pyarrow.parquet as pq

    found: dict[str, list[Any]] = {name: [] for name in (*COLUMNS, *carried)}
    for line in lines:
        for name, column in found.items():
            column.append(line.get(name))
    arrays = {
        name: _typed(column, COLUMNS[name]) if name in COLUMNS else _free(column) for name, column in found.items()
    }
    pq.write_table(pa.table(arrays), file, compression="zstd")


def page(file: IO[bytes], status: str | None, start: int, end: int | None) -> tuple[list[dict[str, Any]], int]:
    """Return lines of a result table, and how many there are with a status.

    Raises:
        WrongTable: pyarrow is missing.
    """
    check_installed()
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    table = pq.read_table(file)
    if status is not None:
        table = table.filter(pc.equal(table["status"], status))
    length = None if end is None else max(0, end - start)
    return table.slice(start, length).to_pylist(), table.num_rows


def own_lines(file: IO[bytes]) -> Iterator[dict[str, Any]]:
    """Yield the lines of a result table, with our own columns only, in little memory.

    Raises:
        WrongTable: pyarrow is missing, or the table is too large.
    """
    check_installed()
    import pyarrow.parquet as pq

    source = pq.ParquetFile(file)
    names = [name for name in COLUMNS if name in source.schema_arrow.names]
    size = 0
    for batch in source.iter_batches(batch_size=1000, columns=names):
        size = checked_size(size + batch.nbytes)
        yield from batch.to_pylist()


def _typed(column: list[Any], kind: Kind) -> Any:
    """Return a column of our own as an array."""
    import pyarrow as pa

    types = {
        "text": pa.string(),
        "integer": pa.int64(),
        "number": pa.float64(),
        "boolean": pa.bool_(),
        "decimal": pa.decimal128(18, 10),
        "timestamp": pa.timestamp("us", "UTC"),
    }
    if kind == "text":
        column = [None if value is None else encodable(str(value)) for value in column]
    elif kind == "decimal":
        column = [None if value is None else value.quantize(_SMALLEST) for value in column]
    elif kind == "timestamp":
        column = [None if value is None else round(value * 1_000_000) for value in column]
    return pa.array(column, types[kind])


def encodable(text: str) -> str:
    """Return a text that UTF-8 can encode: half an emoji becomes a question mark."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _free(column: list[Any]) -> Any:
    """Return a free column as an array."""
    import pyarrow as pa

    column = [storable(value) for value in column]
    kinds = {_kind(value) for value in column if value is not None}
    if not kinds:
        return pa.array(column, pa.string())
    if _NESTED not in kinds and (len(kinds) == 1 or kinds == {int, float}):
        try:
            # Of empty lists alone pyarrow cannot tell the type.
            return pa.array(column, pa.list_(pa.string()) if kinds == {list} else None)
        except (pa.ArrowException, OverflowError, ValueError, TypeError):
            pass
    return pa.array([None if value is None else to_json(value) for value in column], pa.string())


def _kind(value: Any) -> object:
    if isinstance(value, list | tuple | Mapping):
        return _NESTED if _is_nested(value) else list
    if isinstance(value, datetime):
        return datetime, value.tzinfo is None
    return next((kind for kind in (bool, int, float, str, Decimal, date, time) if isinstance(value, kind)), type(value))


def _is_nested(value: Any) -> bool:
    return isinstance(value, Mapping) or not all(isinstance(part, str) for part in value)


def to_json(value: Any) -> str:
    """Return a free cell as JSON: decimals are exact numbers, dates ISO texts."""
    if isinstance(value, Decimal):
        return f"{value:f}"
    return json.dumps(value, ensure_ascii=False, default=_other)


def _other(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    return value.isoformat() if isinstance(value, date | time) else str(value)


def _readable_schema(schema: Any) -> Any:
    """Return a schema whose values are plain in Python: no nested columns, no nanoseconds, no half floats."""
    import pyarrow as pa

    check_names(list(schema.names))
    return pa.schema([pa.field(each.name, _readable_type(each.name, each.type)) for each in schema])


def _readable_type(name: str, kind: Any) -> Any:
    import pyarrow as pa

    types = pa.types
    if types.is_dictionary(kind):
        return _readable_type(name, kind.value_type)
    if types.is_list(kind) or types.is_large_list(kind):
        if types.is_string(kind.value_type) or types.is_large_string(kind.value_type):
            return kind
    elif not types.is_nested(kind):
        if types.is_timestamp(kind):
            return pa.timestamp("us", kind.tz)
        if types.is_time(kind):
            return pa.time64("us")
        return pa.float32() if types.is_float16(kind) else kind
    raise WrongTable(f"columns of plain values or lists of text, but column {name!r} is {foreign(str(kind), 80)}")
