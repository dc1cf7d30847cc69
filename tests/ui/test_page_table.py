"""A table of videos as people see it: in the Video tab and the gallery, with ten rows and with 5,000."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal

import pytest
from playwright.sync_api import Page, expect
from test_page import framed, playing, shot

from airflow_provider_grokvideo.core.bulk.lines import COLUMNS
from airflow_provider_grokvideo.core.purchases.records import Owner
from airflow_provider_grokvideo.storage.table_files import read_lines, write_table

pytestmark = [pytest.mark.e2e, pytest.mark.ui]

MANY = 5_000
COUNTS = {"delivered": 4_800, "moderated": 40, "failed": 60, "submitted": 20, "not_sent": 80}


@pytest.fixture(autouse=True)
def _patience() -> None:
    """Airflow's UI takes some seconds to come up on a busy machine."""
    expect.set_options(timeout=20_000)


@dataclass
class Large:
    """A table of 5,000 rows in place of the task's own.

    Attributes:
        write: Writes another card.
        lines: The lines of the table.
    """

    write: object
    lines: list[dict] = field(default_factory=list)


@pytest.fixture
def large(studio) -> Iterator[Large]:
    """Let the task have a table of 5,000 rows; each delivered one is one of its own videos."""
    place = studio.out / "postcards" / "postcards.jsonl"
    owner = Owner("tables", studio.runs["tables"], "postcards")
    before, _ = read_lines(place)
    made = [line for line in before if line["status"] == "delivered"]
    bad = {line["status"]: line for line in before if line["status"] in ("moderated", "failed")}
    lines = []
    for status, many in COUNTS.items():
        for number in range(many):
            like = made[number % len(made)] if status == "delivered" else bad.get(status, {})
            lines.append({**typed(like), "id": f"{status}-{number:04}", "status": status})
    write_table(place, lines, [], owner=owner)
    with studio.edited("tables", "postcards") as write:
        rows = {"total": MANY, "counts": COUNTS, "in_flight": 20, "table_uri": str(place)}
        write({"outcome": "delivered", "rows": rows, "cost_usd": "481.5", "estimated_usd": "490"})
        yield Large(write, lines)
    write_table(place, map(typed, before), [], owner=owner)


def typed(line: dict) -> dict:
    """Return a line as a task writes it."""
    kinds = {name: kind for name, kind in COLUMNS.items() if line.get(name) is not None}
    return {
        **line,
        **{name: Decimal(line[name]) for name, kind in kinds.items() if kind == "decimal"},
        **{name: 1_800_000_000.0 for name, kind in kinds.items() if kind == "timestamp"},
    }


def posters(page: Page) -> list[str]:
    """Return the requests for posters, which grow."""
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/media/poster" in request.url else None)
    return asked


def test_the_tab_shows_the_table_of_the_task(studio, open_page):
    """Counts as text, the cost, and each row with its poster or with what to do."""
    page = open_page(studio.tab("tables", "postcards"), width=1440, height=950)
    inside = framed(page)
    rows = inside.get_by_test_id("row")
    expect(rows).to_have_count(10)
    expect(inside.get_by_test_id("headline")).to_contain_text("7 of 10 rows have their video")
    bar = inside.get_by_test_id("segments")
    expect(bar).to_have_attribute("aria-label", "10 rows: 7 delivered, 1 blocked, 1 failed, 1 refused")
    expect(inside.get_by_test_id("cost")).to_contain_text("billed")
    for image in inside.locator(".row-frame img").all():
        image.evaluate("each => each.decode()")
    shot(page, "ui-table")
    blocked = rows.filter(has_text="A fight that nobody should see")
    expect(blocked.get_by_test_id("outcome")).to_have_text("Blocked")
    expect(blocked.get_by_test_id("row-advice")).to_contain_text("Change the prompt or the input media")
    refused = rows.filter(has_text="A river from its source")

    expect(refused.get_by_test_id("row-error")).to_contain_text("99")


def test_a_row_is_a_video_with_a_way_back(studio, open_page):
    """Its page plays it, and leads to the rows as they were shown."""
    page = open_page(studio.page("tables", "postcards"))
    page.locator(".chip[data-status=delivered]").click()
    expect(page.get_by_test_id("row")).to_have_count(7)
    page.get_by_role("link", name="harbour").click()
    expect(page.get_by_test_id("headline")).to_contain_text("postcards · harbour")
    expect(page.get_by_test_id("prompt")).to_have_text("A harbour at sunrise, gulls above the masts")
    playing(page.get_by_test_id("player"))
    page.get_by_test_id("whole-table").click()

    expect(page.get_by_test_id("row")).to_have_count(7)
    expect(page.locator(".chip[data-status=delivered]")).to_have_attribute("aria-pressed", "true")


def test_the_result_table_can_be_downloaded(studio, open_page, tmp_path):
    """It is the task's file, also from within Airflow's frame."""
    page = open_page(studio.tab("tables", "postcards"))
    button = framed(page).get_by_test_id("download-table")
    expect(button).to_be_visible()
    with page.expect_download() as downloaded:
        button.click()
    downloaded.value.save_as(tmp_path / "a.jsonl")

    assert "postcards.jsonl" == downloaded.value.suggested_filename
    assert 10 == len((tmp_path / "a.jsonl").read_text().splitlines())


@pytest.mark.parametrize("inside_airflow", [True, False], ids=["tab", "page"])
def test_of_5000_rows_only_the_posters_in_view_are_loaded(studio, open_page, large, inside_airflow):
    """One page of rows is in the document, and scrolling loads what comes into view."""
    page = open_page("/grokvideo/?day=2020-02-02")
    asked = posters(page)
    page.goto(studio.tab("tables", "postcards") if inside_airflow else studio.page("tables", "postcards"))
    inside = framed(page) if inside_airflow else page
    rows = inside.get_by_test_id("row")
    expect(rows).to_have_count(60)
    expect(inside.get_by_test_id("range")).to_have_text("Rows 1 to 60 of 5,000")
    expect(inside.locator(".row-frame img").first).to_be_visible()
    page.wait_for_load_state("networkidle")
    in_view = inside.locator(".row-frame").evaluate_all(
        """all => all.filter(each => {
            const frame = window.frameElement?.getBoundingClientRect() ?? { top: 0 };
            const at = each.getBoundingClientRect();
            return at.top + frame.top < window.parent.innerHeight && at.bottom + frame.top > 0;
        }).length"""
    )
    loaded = len(set(asked))
    rows.last.scroll_into_view_if_needed()
    expect(rows.last.locator("img")).to_be_visible()

    assert 0 < loaded <= in_view < 30
    assert len(set(asked)) < 60


def test_chips_filter_and_pages_turn(studio, open_page, large):
    """The address keeps both, and a filter begins at its first row."""
    page = open_page(studio.page("tables", "postcards"))
    rows = page.get_by_test_id("row")
    expect(rows).to_have_count(60)
    page.get_by_test_id("next").click()
    expect(page.get_by_test_id("range")).to_have_text("Rows 61 to 120 of 5,000")
    expect(rows.first).to_have_attribute("data-id", "delivered-0060")
    page.get_by_test_id("last").click()
    expect(rows.last).to_have_attribute("data-id", "not_sent-0079")
    expect(page.get_by_test_id("next")).to_be_disabled()
    page.locator(".chip[data-status=moderated]").click()
    expect(page.get_by_test_id("range")).to_have_text("Rows 1 to 40 of 40")
    assert {"moderated"} == set(rows.evaluate_all("all => all.map(each => each.dataset.outcome)"))
    page.reload()

    expect(rows).to_have_count(40)
    expect(page.locator(".chip[aria-pressed=true]")).to_contain_text("Blocked 40")
    expect(rows.first.get_by_test_id("row-advice")).to_be_visible()


def test_the_keyboard_filters_and_turns_pages(studio, open_page, large):
    """Chips are buttons that keep the focus, and so does the button of the next page."""
    page = open_page(studio.page("tables", "postcards"))
    expect(page.get_by_test_id("row")).to_have_count(60)
    page.locator(".chip").first.focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("range")).to_have_text("Rows 1 to 60 of 4,800")
    assert "delivered" == page.evaluate("document.activeElement.dataset.status")
    page.get_by_test_id("next").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("range")).to_have_text("Rows 61 to 120 of 4,800")

    assert "next" == page.evaluate("document.activeElement.dataset.testid")


def test_a_table_under_way_is_refreshed(studio, open_page, large):
    """The numbers and the rows change without a reload, and the filter stays."""
    with_counts = {**COUNTS, "delivered": 4_820, "submitted": 0}
    place = studio.out / "postcards" / "postcards.jsonl"
    rows = {"total": MANY, "in_flight": 20, "table_uri": str(place)}
    large.write({"outcome": "submitted", "rows": {**rows, "counts": COUNTS}})
    page = open_page(studio.page("tables", "postcards"))
    page.locator(".chip[data-status=submitted]").click()
    expect(page.get_by_test_id("range")).to_have_text("Rows 1 to 20 of 20")
    write_table(
        place,
        [{**line, "status": "delivered"} if line["status"] == "submitted" else line for line in large.lines],
        [],
        owner=Owner("tables", studio.runs["tables"], "postcards"),
    )
    large.write({"outcome": "submitted", "rows": {**rows, "counts": with_counts, "in_flight": 0}})

    expect(page.locator(".chip[data-status=delivered]")).to_contain_text("4,820")
    expect(page.get_by_test_id("no-rows")).to_be_visible()


def test_a_table_that_is_not_there_leaves_its_counts(studio, open_page, large):
    """The page says what it cannot read, and shows the rest."""
    place = studio.out / "postcards" / "elsewhere.jsonl"
    rows = {"total": MANY, "counts": COUNTS, "table_uri": str(place)}
    large.write({"outcome": "delivered", "rows": rows})
    page = open_page(studio.page("tables", "postcards"))

    expect(page.get_by_test_id("rows-notice")).to_contain_text("The result table is not at its address")
    expect(page.get_by_test_id("segments")).to_be_visible()


def test_the_gallery_shows_rows_as_videos(studio, open_page, large):
    """The table and a few of its newest videos, each of which leads to its page."""
    page = open_page(f"{studio.url}/grokvideo/?dag=tables")
    cards = page.get_by_test_id("card")
    expect(cards).to_have_count(13)
    expect(cards.first).to_contain_text("Table of 5,000 videos")
    cards.nth(1).click()

    expect(page.get_by_test_id("headline")).to_contain_text("postcards · delivered-")


@pytest.mark.parametrize("width", [400, 768, 1900])
def test_every_width_shows_the_table(studio, open_page, large, width):
    """Nothing has to be scrolled sideways."""
    page = open_page(studio.page("tables", "postcards"), width=width)
    expect(page.get_by_test_id("row")).to_have_count(60)

    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_markup_in_a_row_is_text(studio, open_page, large):
    """It is shown, not run."""
    nasty = "<img src=x onerror=\"document.title='run'\">"
    place = studio.out / "postcards" / "postcards.jsonl"
    lines = [{"id": nasty, "status": "failed", "prompt": nasty, "error": nasty, "advice": nasty}]
    write_table(place, lines, [], owner=Owner("tables", studio.runs["tables"], "postcards"))
    page = open_page(studio.page("tables", "postcards"))

    expect(page.get_by_test_id("row-error")).to_have_text(nasty)
    assert "postcards · Video" == page.title()
    assert json.loads(page.get_by_test_id("row").first.evaluate("each => JSON.stringify(each.dataset.id)")) == nasty
