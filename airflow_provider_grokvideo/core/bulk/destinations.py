"""Destinations of rows: templates with ``{column}``, values that are safe in a path, one place per row."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_grokvideo.core.bulk.cells import in_text, is_given
from airflow_provider_grokvideo.core.errors import InvalidInput, shorten
from airflow_provider_grokvideo.core.texts import can_be_sent

FIELD = "destination"
SUFFIX = ".mp4"

LONGEST_NAME = 248
"""Bytes of one part of a path: a file name has 255, and the poster's suffix is 7 longer than the video's."""

_PARTS = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_SUFFIX = re.compile(r"\.[a-z][a-z0-9]{1,4}$", re.IGNORECASE)
"""A suffix that makes the last part of a path a file name, as for the destination of one video."""

_UNSAFE = re.compile(r"[/\\?#*\x00-\x1f\x7f-\x9f\u2028\u2029]|\.\.|^\.")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class BadPlace(Exception):
    """A destination that one row cannot have.

    Args:
        field: The column.
        problem: What is wrong, and what is expected.
    """

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(problem)
        self.field = field
        self.problem = problem


@dataclass(frozen=True)
class Template:
    """A destination with placeholders.

    Attributes:
        text: As it was given.
        parts: Its literal texts, at even places, and the columns between them.
    """

    text: str
    parts: tuple[str, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that it names."""
        return self.parts[1::2]

    @property
    def is_one_file(self) -> bool:
        """Whether all rows get the same file."""
        return not self.columns and self.parts[0].strip().lower().endswith(SUFFIX)

    def rendered(self, values: Mapping[str, Any], row_id: str) -> str:
        """Return the file of a row.

        Raises:
            BadPlace: A column is empty or not safe in a path, or the result is no file.
        """
        texts = [part if at % 2 == 0 else _safe(part, values.get(part)) for at, part in enumerate(self.parts)]
        return file_in("".join(texts), row_id)


def parsed(template: str, columns: Collection[str]) -> Template:
    """Read a template.

    Args:
        template: ``{column}`` stands for a cell, ``{{`` and ``}}`` for braces.
        columns: The columns that there are.

    Raises:
        InvalidInput: It is empty, has a single brace, or names a column that does not exist.
    """
    if not isinstance(template, str) or not template.strip():
        raise InvalidInput(FIELD, template, "a file or a directory as text; a template may have rendered to nothing")
    parts, end = [""], 0
    for found in _PARTS.finditer(template):
        parts[-1] += template[end : found.start()]
        end = found.end()
        if found[1] is not None:
            parts += [found[1], ""]
        elif len(found[0]) == 2:
            parts[-1] += found[0][0]
        else:
            raise InvalidInput(FIELD, template, "each '{' with its '}'; write '{{' and '}}' for the braces themselves")
    parts[-1] += template[end:]
    for name in parts[1::2]:
        if name not in columns:
            raise InvalidInput(
                FIELD, template, f"columns of the table ({', '.join(columns)}), and {{{name}}} is none of them"
            )
    return Template(template, tuple(parts))


def own(cell: Any, row_id: str) -> str:
    """Return the file of a row that has a destination of its own, which has no placeholders.

    Raises:
        BadPlace: It is no path.
    """
    if not isinstance(cell, str):
        raise BadPlace(FIELD, f"{shorten(cell)} is no text; expected a path or an ObjectStorage URL")
    return file_in(cell, row_id)


def file_in(text: str, row_id: str) -> str:
    """Return a path that ends in ``.mp4``; in a directory the file is named after the row.

    Raises:
        BadPlace: It is no path, or a file with another suffix.
    """
    text = text.strip()
    if _CONTROL.search(text) or not can_be_sent(text):
        raise BadPlace(FIELD, f"{shorten(text)} has line breaks, control characters or half an emoji")
    if ".." in re.split(r"[/\\]", text):
        raise BadPlace(FIELD, f"{shorten(text)} has '..'; expected the directory itself")
    last = text.rpartition("/")[2]
    is_bucket = text.endswith(f"://{last}")
    if is_bucket or not last.lower().endswith(SUFFIX):
        if _SUFFIX.search(last) and not is_bucket:
            raise BadPlace(FIELD, f"{shorten(text)} is no file ending in .mp4 and no directory ending in '/'")
        text = f"{text.rstrip('/') if last else text[:-1]}/{_safe('id', row_id)}{SUFFIX}"
    elif not last[: -len(SUFFIX)].strip(" ."):
        raise BadPlace(FIELD, f"{shorten(text)} has no name before .mp4")
    if longest := next((part for part in text.split("/") if len(part.encode()) > LONGEST_NAME), None):
        raise BadPlace(FIELD, f"has a name of {len(longest.encode())} bytes; expected at most {LONGEST_NAME}")
    return text


def same_places(places: Iterable[str | None]) -> dict[int, int]:
    """Return which destinations are those of others: place in the list to that of the first, or of the second."""
    first: dict[str, int] = {}
    same: dict[int, int] = {}
    for at, place in enumerate(places):
        if place is None:
            continue
        other = first.setdefault(_folded(place), at)
        if other != at:
            same[at] = other
            same.setdefault(other, at)
    return same


def _folded(place: str) -> str:
    """Return a key that is equal where some file systems see the same file."""
    if not place.isascii():
        place = unicodedata.normalize("NFC", place)
    scheme, separator, path = place.partition("://")
    path = re.sub(r"/(?:\.?/)+", "/", path if separator else place).removeprefix("./")
    return f"{scheme}://{path}".casefold() if separator else path.casefold()


def _safe(column: str, value: Any) -> str:
    if not is_given(value):
        raise BadPlace(column, "is empty, and destination needs it")
    if isinstance(value, list | tuple | Mapping):
        raise BadPlace(column, f"{shorten(value)} cannot be a part of destination; expected text")
    try:
        text = in_text(value)
    except ValueError:
        raise BadPlace(column, "is too long a number for destination") from None
    if _UNSAFE.search(text) or not can_be_sent(text):
        raise BadPlace(
            column,
            f"{shorten(text)} cannot be a part of destination; expected text without / \\ ? # * '..', control "
            "characters and a dot at its beginning",
        )
    return text
