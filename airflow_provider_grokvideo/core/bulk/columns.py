"""Columns of a table of requests: arguments, id, mode, destination, free columns; misspelt names."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from airflow_provider_grokvideo.core.bulk import lines
from airflow_provider_grokvideo.core.errors import InvalidInput

ARGUMENTS: dict[str, tuple[str, ...]] = {
    "generate": (
        "prompt",
        "model",
        "duration",
        "aspect_ratio",
        "resolution",
        "image",
        "reference_images",
        "reference_audios",
        "last_frame",
        "keyframes",
        "generate_audio",
        "storage_options",
    ),
    "edit": ("prompt", "video", "model", "storage_options"),
    "extend": ("prompt", "video", "duration", "model", "storage_options"),
}
"""Arguments of each mode, as the operator of that mode names them."""

REQUIRED: dict[str, tuple[str, ...]] = {
    "generate": ("prompt",),
    "edit": ("prompt", "video"),
    "extend": ("prompt", "video"),
}

MODES = tuple(ARGUMENTS)
DEFAULT_MODE = "generate"

RESULT_MODES: dict[str, tuple[str, ...]] = {
    "text-to-video": (),
    "image-to-video": ("image",),
    "reference-to-video": ("reference_images", "reference_audios", "last_frame", "keyframes"),
}
"""Modes in a result table that are ``generate`` in a table of requests, and the inputs of which each has one."""

ALL_ARGUMENTS = tuple(dict.fromkeys(name for names in ARGUMENTS.values() for name in names))
"""Arguments of any mode."""

KEPT = frozenset({"id", "mode", "model", "prompt"})
"""Columns of a result table that are columns of a request, too."""

_FIELD = "rows"
_ADDRESSES = re.compile(r"(image|video|last_frame)[ _-]?(?:url|uri|path|file|link)", re.IGNORECASE)


@dataclass(frozen=True)
class Columns:
    """Meaning of a table's columns.

    Attributes:
        id: The column with the ids; None if the table has none.
        known: The arguments, with ``mode`` and ``destination`` among them, that the table has.
        carried: The free columns, in their order.
        dropped: Columns of an earlier result, which are not read.
    """

    id: str | None
    known: frozenset[str]
    carried: tuple[str, ...]
    dropped: frozenset[str]


def checked_id_column(id_column: str) -> str:
    """Return the name of the column with the ids.

    Raises:
        InvalidInput: It is no text, or the name of an argument.
    """
    if not isinstance(id_column, str) or not id_column.strip():
        raise InvalidInput("id_column", id_column, "the name of a column")
    if id_column in (*ALL_ARGUMENTS, "mode", "destination"):
        raise InvalidInput("id_column", id_column, "a column that is no argument of the request")
    return id_column


def sorted_out(names: Collection[str], id_column: str) -> Columns:
    """Return the meaning of each column.

    A result table of an earlier run is read as a table of requests: of its own columns, only :data:`KEPT` are read.

    Raises:
        InvalidInput: A name is empty, looks like a misspelt argument, or is that of a column of the result table; or
            there is no column `id_column`. A table without a column ``id`` is fine.
    """
    dropped = frozenset(lines.COLUMNS) - KEPT if lines.MARKS.issubset(names) else frozenset()
    own_id = id_column if id_column in names else "id" if dropped and "id" in names else None
    arguments = {*ALL_ARGUMENTS, "mode", "destination"} - dropped
    free = tuple(name for name in names if name not in arguments and name not in dropped and name != own_id)
    for name in free:
        _check_free(name, names, id_column)
    if own_id is None and id_column != "id":
        raise InvalidInput("id_column", id_column, f"a column of the table ({', '.join(names)})")
    # The result table calls the ids `id`; who gave them another name finds that, too.
    copied = tuple(name for name in names if name in free or (name == own_id and name not in lines.COLUMNS))
    return Columns(own_id, frozenset(arguments & set(names)), copied, dropped)


def mode_of_result(value: object) -> tuple[object, tuple[str, ...]]:
    """Return the mode of a request for a mode in a result table, and the inputs of which the row needs one."""
    needs = RESULT_MODES.get(value) if isinstance(value, str) else None
    return (value, ()) if needs is None else (DEFAULT_MODE, needs)


def _check_free(name: str, names: Collection[str], id_column: str) -> None:
    if not name.strip():
        raise InvalidInput(_FIELD, name, "a name for each column (pandas: to_csv(index=False))")
    if not name.isprintable():
        raise InvalidInput(_FIELD, name, f"printable names of columns; column {name!r} must be renamed")
    if meant := _meant(name, names, id_column):
        raise _bad_name(
            name, f"is not an argument; did you mean {meant!r}? Rename the column, also if it is one of your own"
        )
    if name in lines.COLUMNS:
        raise _bad_name(name, "has the name of a column of the result table; rename it")


def _bad_name(name: str, problem: str) -> InvalidInput:
    error = InvalidInput(_FIELD, name, "another name of the column")
    error.what = f"column {name!r} {problem}"
    return error


def _meant(name: str, names: Collection[str], id_column: str) -> str | None:
    """Return the argument that a free column's name probably means; None if it is far from all of them."""
    if name in lines.COLUMNS:
        return None
    found = _ADDRESSES.fullmatch(name)
    if found and found[1].lower() not in names:
        return found[1].lower()
    own = _letters(name)
    for known in dict.fromkeys((id_column, *ALL_ARGUMENTS, "mode", "destination")):
        if own == _letters(known) or _is_slip(own, _letters(known)):
            return known
    return None


def _letters(name: str) -> str:
    return re.sub(r"[\W_]", "", name).lower()


def _is_slip(name: str, meant: str) -> bool:
    """Return whether a name is one slip of the keyboard away; two for long names.

    Another letter counts only in longer names, and not as the first: ``code`` is no misspelt ``mode``, ``location``
    no ``duration``. Neither is ``prompt2`` a misspelt ``prompt``.
    """
    if len(meant) < 4 or any(char.isdigit() for char in name):
        return False
    if len(meant) < 6 and len(name) == len(meant):
        return sorted(name) == sorted(meant) and _distance(name, meant) == 1
    if name == meant[1:]:
        return True
    return name[:1] == meant[:1] and _distance(name, meant) <= (2 if len(meant) >= 12 else 1)


def _distance(one: str, other: str) -> int:
    """Return the number of letters that are missing, added, other or swapped with their neighbour; 3 if many."""
    if abs(len(one) - len(other)) > 2:
        return 3
    before: list[int] = []
    last = list(range(len(other) + 1))
    for i, char in enumerate(one, 1):
        row = [i]
        for j, against in enumerate(other, 1):
            cost = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (char != against))
            if i > 1 and j > 1 and char == other[j - 2] and one[i - 2] == against:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        before, last = last, row
    return last[-1]
