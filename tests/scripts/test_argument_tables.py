"""The tables of arguments in the documentation are the docstrings."""

from __future__ import annotations

from pathlib import Path

import argument_tables
import check_docs
import pytest


class Base:
    """A base.

    :param where: Where to
        store, as in ``a | b``.
    """

    template_fields = ("where", "text")

    def __init__(self, *, where: str | None = None, **kwargs: object) -> None: ...


class Maker(Base):
    """Make it.

    :param text: What to make, as in :class:`~package.module.Base`.
    :param size: How large.
    :param where: Where a maker stores.

    More about it.

    :raises ValueError: never.
    """

    def __init__(self, *, text: str, size: float = 900.0, kind: str = "new", **kwargs: object) -> None: ...


TABLE = """\
| argument | default | templated | meaning |
|---|---|---|---|
| `text` | required | yes | What to make, as in `Base`. |
| `size` | `900` | no | How large. |
| `where` | `None` | yes | Where a maker stores. |"""

DOCUMENT = "# Reference\n\n<!-- arguments of Maker: begin -->\n<!-- arguments of Maker: end -->\n"


@pytest.fixture
def document(tmp_path: Path) -> Path:
    path = tmp_path / "reference.md"
    path.write_text(DOCUMENT)
    return path


def test_table_has_a_line_for_each_argument() -> None:
    """Name, default and whether it is rendered come from the class, the meaning from its docstring."""
    assert TABLE == argument_tables.table(Maker)


def test_pipe_ends_no_cell() -> None:
    """A pipe in a description is escaped."""
    assert "Where to store, as in `a \\| b`." == argument_tables.descriptions(Base)["where"]


def test_argument_without_a_line_is_named() -> None:
    """An argument that no docstring describes is named."""
    assert ["Maker: no `:param kind:`"] == list(argument_tables.undescribed(Maker))


def test_line_without_an_argument_is_named() -> None:
    """A line about an argument that is gone is named."""

    class Old(Base):
        """Old.

        :param gone: It was here.
        """

    assert ["Old: there is no argument gone"] == list(argument_tables.undescribed(Old))


def test_written_table_is_current(document: Path) -> None:
    """What `--write` writes is what the check wants, and a second time changes nothing."""
    text = argument_tables.with_tables(DOCUMENT, {"Maker": Maker}, "reference.md")
    document.write_text(text)

    assert f"\n{TABLE}\n" in text
    assert text == argument_tables.with_tables(text, {"Maker": Maker}, "reference.md")
    assert ["Maker: no `:param kind:`"] == list(check_docs.stale_tables(document, {"Maker": Maker}))


@pytest.mark.parametrize(("text", "problem"), [(DOCUMENT, "differs"), ("# Reference\n", "does not have")])
def test_stale_table_is_noticed(document: Path, text: str, problem: str) -> None:
    """A table that differs from the docstrings, or has no place, is noticed."""
    document.write_text(text)
    (found,) = check_docs.stale_tables(document, {"Base": Base} if problem == "does not have" else {"Maker": Base})

    assert found.startswith("reference.md")
    assert problem in found
