"""The page for people who do not see it, or not well: what axe-core can tell of that."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

pytestmark = [pytest.mark.e2e, pytest.mark.ui]

STANDARD = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}


def shown(studio, what: str) -> tuple[str, str]:
    """Return the address of a page, and a part of it that is there when it is whole."""
    return {
        "gallery": ("/grokvideo/", ".card"),
        "no videos": ("/grokvideo/?day=2020-02-02", ".teach"),
        "an edit": (studio.page("films", "snow"), ".compare"),
        "a video": (studio.page("films", "lighthouse"), ".player"),
        "waiting": (studio.page("patience", "waiting"), ".waiting"),
        "moderated": (studio.page("troubles", "moderated"), ".panel"),
        "unconfirmed": (studio.page("troubles", "doubtful"), ".panel"),
        "a table": (studio.page("tables", "postcards"), ".row-card"),
    }[what]


@pytest.mark.parametrize(("dark", "width"), [(False, 1280), (True, 400)], ids=["light", "dark and narrow"])
@pytest.mark.parametrize(
    "what", ["gallery", "no videos", "an edit", "a video", "waiting", "moderated", "unconfirmed", "a table"]
)
def test_everything_has_a_name_a_role_and_enough_contrast(studio, open_page, what, dark, width):
    """In both themes: WCAG 2.2 AA as far as a machine can judge it."""
    address, part = shown(studio, what)
    page = open_page(address, dark=dark, width=width)
    expect(page.locator(part).first).to_be_visible(timeout=20_000)
    found = Axe().run(page, options=STANDARD).response["violations"]

    assert [] == [
        (each["id"], each["help"], node["html"], node["failureSummary"]) for each in found for node in each["nodes"]
    ]
