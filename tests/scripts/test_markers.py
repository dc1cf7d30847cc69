"""Parts of documents that scripts write."""

from __future__ import annotations

import pytest
from markers import NoMarkers, replaced

BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"


def test_the_page_keeps_its_own_text() -> None:
    """Only what is between the markers of the section changes."""
    page = f"# Title\n\n{BEGIN}\nold\n{END}\n\nThe end.\n"

    assert f"# Title\n\n{BEGIN}\nnew\n{END}\n\nThe end.\n" == replaced(page, "table", "new\n", "page.md")


@pytest.mark.parametrize("page", ["# Title\n", f"{END}{BEGIN}", f"{BEGIN}{END}{BEGIN}{END}"])
def test_a_page_without_its_markers_is_an_error(page: str) -> None:
    """Nothing is put in a place that nobody chose."""
    with pytest.raises(NoMarkers, match="page"):
        replaced(page, "table", "new", "page.md")
