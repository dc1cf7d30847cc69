"""The page as people see it: in Airflow's UI, in a real browser."""

from __future__ import annotations

import os
import re
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import Page, expect

pytestmark = [pytest.mark.e2e, pytest.mark.ui]

SHOTS = os.environ.get("GROKVIDEO_SCREENSHOTS")


@pytest.fixture(autouse=True)
def _patience() -> None:
    """Airflow's UI takes some seconds to come up on a busy machine."""
    expect.set_options(timeout=20_000)


def shot(page: Page, name: str) -> None:
    """Keep a picture of what is seen, where one is wanted."""
    if SHOTS:
        page.screenshot(path=Path(SHOTS) / f"{name}.png")


def framed(page: Page):
    """Return our page in Airflow's."""
    return page.frame_locator("iframe[src*='/grokvideo/']")


READY = """each => new Promise(done => {
    const idle = () => each.readyState >= 3 && each.networkState === HTMLMediaElement.NETWORK_IDLE;
    const painted = () => requestAnimationFrame(() => requestAnimationFrame(done));
    const check = () => idle() ? painted() : requestAnimationFrame(check);
    check();
})"""
SOUGHT = """each => new Promise(done => {
    if (each.seeking) each.onseeked = () => done(each.currentTime);
    else done(each.currentTime);
})"""
PLAYS = """each => new Promise((done, failed) => {
    setTimeout(() => failed(new Error(`stuck at ${each.currentTime}, state ${each.readyState}`)), 15000);
    const check = () => each.readyState >= 2 && each.currentTime > 0.3 ? done() : requestAnimationFrame(check);
    check();
})"""


def playing(video) -> None:
    """Start a video, and wait until it really plays: its data is there, and its time moves."""
    video.evaluate("each => { each.muted = true; return each.play() }")
    video.evaluate(PLAYS)


def test_the_tab_plays_the_video_and_seeks_in_it(studio, open_page):
    """In Airflow's own page, with Airflow's own login."""
    page = open_page(studio.tab("films", "lighthouse"))
    inside = framed(page)
    video = inside.get_by_test_id("player")
    expect(inside.get_by_test_id("prompt")).to_have_text("A lighthouse on a cliff at dawn, waves below")
    playing(video)
    video.evaluate("each => { each.pause(); each.currentTime = 2 }")
    at = video.evaluate(SOUGHT)

    assert 2 == pytest.approx(at, abs=0.1)
    assert 3 == pytest.approx(video.evaluate("each => each.duration"), abs=0.2)
    assert video.evaluate("each => each.videoWidth") == 848


def test_the_tab_tells_what_a_person_wants_to_know(studio, open_page):
    """Cost, model, size, length and the request."""
    page = open_page(studio.page("films", "lighthouse"))

    expect(page.get_by_test_id("outcome")).to_have_text("Delivered")
    expect(page.get_by_test_id("cost")).to_contain_text("$0.15")
    expect(page.get_by_test_id("cost")).to_contain_text("as estimated")
    facts = page.locator("aside.facts")
    for words in (
        "grok-imagine-video",
        "848 × 480",
        "3 s",
        "grokvideo_default",
        "1 of 1, success",
        "all frames decoded",
    ):
        expect(facts).to_contain_text(words)
    request_id = page.get_by_test_id("request-id").inner_text()
    assert request_id in {start.request_id for start in studio.emulator.starts}


def test_an_edit_stands_beside_what_it_was_made_from(studio, open_page):
    """Both play together, and the chain leads to the others."""
    page = open_page(studio.tab("films", "snow"), width=1440, height=950)
    inside = framed(page)
    before, after = inside.get_by_test_id("before"), inside.get_by_test_id("after")
    expect(before).to_be_visible()
    for video in (before, after):
        video.evaluate(READY)
    shot(page, "ui-video-light")
    after.evaluate("each => each.muted = true")
    inside.get_by_test_id("play-both").click()
    for video in (before, after):
        video.evaluate(PLAYS)
    apart = abs(before.evaluate("each => each.currentTime") - after.evaluate("each => each.currentTime"))
    links = inside.get_by_test_id("chain").locator("a")

    assert apart < 0.5
    expect(links).to_have_count(3)
    expect(inside.locator("[aria-current=step]")).to_contain_text("snow")
    links.nth(2).click()
    expect(inside.get_by_test_id("prompt")).to_have_text("Turn the day into night")


def test_before_and_after_can_be_wiped_by_keyboard(studio, open_page):
    """The divider is a slider that arrow keys move."""
    page = open_page(studio.page("films", "snow"))
    page.get_by_test_id("way-wipe").focus()
    page.keyboard.press("Enter")
    wipe = page.get_by_test_id("wipe")
    expect(wipe).to_be_visible()
    wipe.focus()
    before = page.locator("[data-side=after] .player").evaluate("each => getComputedStyle(each).clipPath")
    for _ in range(10):
        page.keyboard.press("ArrowRight")
    after = page.locator("[data-side=after] .player").evaluate("each => getComputedStyle(each).clipPath")

    assert "60" == wipe.input_value()
    assert before != after


def test_an_animated_picture_stands_beside_its_video(studio, open_page):
    """The image that the task was given."""
    page = open_page(studio.page("films", "animated"))
    image = page.get_by_test_id("before")

    expect(image).to_be_visible()
    assert 640 == image.evaluate("each => each.decode().then(() => each.naturalWidth)")


def test_the_source_of_an_edit_leads_to_its_page(studio, open_page):
    """And from there to all videos."""
    page = open_page(studio.page("films", "snow"))
    page.locator("[data-side=before] a").click()
    expect(page.get_by_test_id("prompt")).to_have_text("A lighthouse on a cliff at dawn, waves below")
    page.get_by_test_id("all").click()

    expect(page.get_by_test_id("grid")).to_be_visible()


def test_the_download_is_the_file(studio, open_page, tmp_path):
    """With its own name, also from within Airflow's frame."""
    page = open_page(studio.tab("films", "lighthouse"))
    button = framed(page).get_by_test_id("download")
    expect(button).to_be_visible()
    with page.expect_download() as downloaded:
        button.click()
    downloaded.value.save_as(tmp_path / "a.mp4")

    assert "lighthouse.mp4" == downloaded.value.suggested_filename
    assert (studio.out / "lighthouse.mp4").read_bytes() == (tmp_path / "a.mp4").read_bytes()


def test_the_sidecar_opens_on_the_page(studio, open_page):
    """Without a pop-up, which Airflow's frame does not allow."""
    page = open_page(studio.tab("films", "lighthouse"))
    inside = framed(page)
    inside.get_by_test_id("sidecar").click()
    dialog = inside.get_by_test_id("sidecar-dialog")
    expect(dialog).to_contain_text('"request_id"')
    page.keyboard.press("Escape")

    expect(dialog).to_have_count(0)


def test_the_link_that_is_copied_leads_to_the_tab(studio, open_page):
    """Whoever gets it needs a login."""
    page = open_page(studio.tab("films", "lighthouse"))
    page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=studio.url)
    framed(page).get_by_test_id("copy-link").click()
    expect(framed(page).get_by_test_id("copy-link")).to_contain_text("Copied")
    copied = page.evaluate("navigator.clipboard.readText()")
    page.goto(copied)

    expect(framed(page).get_by_test_id("player")).to_be_visible()


@pytest.mark.parametrize(
    ("task_id", "outcome", "words"),
    [
        ("moderated", "Blocked", ["VideoModerated", "billed $0.10"]),
        ("failed", "Failed", ["VideoFailed", "internal_error", "no cost was billed"]),
        ("expired", "Expired", ["VideoExpired", "may have been billed $0.10"]),
        ("doubtful", "Unconfirmed", ["AmbiguousSubmit", "grokvideo journal adopt", "grokvideo journal forget"]),
        ("too_dear", "Refused", ["SpendLimitExceeded"]),
        ("late", "Stopped", ["WaitTimeout"]),
        ("not_stored", "Stopped", ["DeliveryFailed"]),
    ],
)
def test_where_there_is_no_video_the_tab_says_why_and_what_to_do(studio, open_page, task_id, outcome, words):
    """The advice of the log, the service's word, and what was billed."""
    page = open_page(studio.page("patience" if task_id == "late" else "troubles", task_id))
    if task_id == "not_stored":
        page.get_by_test_id("player").evaluate("each => each.remove()")  # its link has wrong bytes on purpose
    problem = page.get_by_test_id("problem")

    expect(page.get_by_test_id("outcome")).to_have_text(outcome)
    for each in words:
        expect(problem).to_contain_text(each)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_link_that_dies_is_played_and_said_to_die(studio, open_page):
    """Without a destination there is nothing else."""
    page = open_page(studio.page("films", "link_only"))
    expect(page.get_by_test_id("dies")).to_contain_text("expires within hours")

    playing(page.get_by_test_id("player"))


def test_a_request_under_way_shows_its_progress_and_its_end(studio, open_page):
    """The service's word, when it may be done, and until when the task waits; never all of it."""
    page = open_page(studio.tab("patience", "waiting"))
    waiting = framed(page).get_by_test_id("waiting")
    expect(waiting).to_contain_text("reported by xAI", timeout=40_000)
    share = int(waiting.get_by_role("progressbar").get_attribute("aria-valuenow"))

    assert 0 <= share < 100
    expect(waiting).to_contain_text(re.compile(r"Submitted at .* ago"))
    expect(waiting).to_contain_text("waits until")


def test_a_person_who_is_asked_is_shown_the_way_to_the_answer(studio, open_page):
    """The question is under Required Actions; the link leaves the frame."""
    page = open_page(studio.tab("troubles", "asking"))
    framed(page).get_by_test_id("asking").get_by_role("link").click()
    page.wait_for_url("**/required_actions*")

    expect(page.get_by_role("button", name="Buy", exact=True)).to_be_visible()


def test_a_review_shows_the_video_to_the_person_who_decides(studio, open_page):
    """Poster, prompt, cost and a link, under Required Actions; the Video tab of the review shows the take."""
    page = open_page(studio.tab("reviewed", "review"), width=1440, height=950)
    inside = framed(page)
    expect(inside.get_by_test_id("outcome")).to_have_text("Response required")
    playing(inside.get_by_test_id("player"))
    inside.get_by_test_id("asking").get_by_role("link").click()
    page.wait_for_url("**/required_actions*")
    picture = page.get_by_alt_text("Poster of the latest take")
    expect(picture).to_be_visible()
    width = picture.evaluate("each => each.decode().then(() => each.naturalWidth)")
    shot(page, "ui-review")

    assert 848 == width
    for words in ("A paper boat sails down a stream", "cost 0.15 USD", "Another take"):
        expect(page.get_by_text(words).first).to_be_visible()
    page.get_by_role("button", name="Approve", exact=True).click()
    studio.wait("reviewed", lambda found: {"success"} == {ti["state"] for ti in found})


def test_a_task_of_others_has_a_quiet_tab(studio, open_page, tolerated):
    """One line, and the way to those that have one."""
    tolerated("404")
    page = open_page(studio.tab("films", "without_video"))

    expect(framed(page).get_by_test_id("instead")).to_contain_text("This task does not make a Grok video.")


def test_the_gallery_shows_everything_and_what_it_cost(studio, open_page):
    """From Airflow's navigation."""
    page = open_page(f"{studio.url}/plugin/grokvideos", width=1440, height=950)
    inside = framed(page)
    expect(inside.get_by_test_id("card").first).to_be_visible()
    billed = inside.get_by_test_id("spend-billed").inner_text()
    inside.get_by_test_id("card").filter(has_text="Turn the day into night").locator("img").evaluate(
        "each => each.decode()"
    )
    shot(page, "ui-gallery-light")

    assert float(billed.removeprefix("$")) > 1
    assert str(len(studio.emulator.starts)) == inside.get_by_test_id("spend-purchases").inner_text()


def test_the_gallery_is_in_airflows_menu(studio, open_page):
    """Under Browse."""
    page = open_page(studio.url)
    page.get_by_role("button", name="Browse").click()
    page.get_by_role("menuitem", name="Grok videos").click()

    expect(framed(page).get_by_test_id("grid")).to_be_visible()


def test_the_gallery_filters_by_dag_outcome_model_day_and_words(studio, open_page):
    """And the address keeps the filters."""
    page = open_page(f"{studio.url}/grokvideo/")
    cards = page.get_by_test_id("card")
    expect(cards.first).to_be_visible()
    everything = cards.count()
    page.get_by_test_id("filter-dag").select_option("troubles")
    expect(cards).to_have_count(7)
    page.get_by_test_id("filter-outcome").select_option("moderated")
    expect(cards).to_have_count(1)
    assert "dag=troubles" in page.url
    page.reload()
    expect(cards).to_have_count(1)
    page.get_by_test_id("filter-search").fill("no such words")
    expect(page.get_by_test_id("nothing-fits")).to_be_visible()
    page.get_by_test_id("clear").click()
    expect(cards).to_have_count(everything)
    page.get_by_test_id("filter-model").select_option("grok-imagine-video")
    page.get_by_test_id("filter-search").fill("snow")
    expect(cards).to_have_count(1)
    cards.first.click()
    expect(page.get_by_test_id("prompt")).to_have_text("Make it snow")
    page.get_by_test_id("all").click()

    expect(page.get_by_test_id("filter-search")).to_have_value("snow")
    expect(cards).to_have_count(1)


@pytest.mark.parametrize(
    ("kept", "expected"),
    [('"Asia/Tokyo"', "Asia/Tokyo"), ('"America/New_York"', "America/New_York"), ('"Mars/Base"', "UTC"), ("{", "UTC")],
    ids=["east", "west", "unknown", "broken"],
)
def test_times_are_those_of_airflows_time_zone(studio, open_page, kept, expected):
    """The one that the reader chose there, else the browser's, which Airflow takes, too; each time names it."""
    page = open_page(studio.page("films", "lighthouse"))
    page.evaluate("kept => localStorage.setItem('timezone', kept)", kept)
    page.reload()
    shown = page.locator("dl.list div").filter(has=page.locator("dt", has_text=re.compile("^Submitted$"))).locator("dd")
    at = datetime.fromisoformat(studio.get("api/video", **studio.query("films", "lighthouse")).json()["submitted_at"])
    zone = ZoneInfo(expected)

    expect(shown).to_have_text(f"{at.astimezone(zone):%Y-%m-%d %H:%M:%S} {expected}")


def test_a_day_begins_where_it_begins_in_the_time_zone(studio, open_page):
    """Also on days on which the clocks change."""
    page = open_page(f"{studio.url}/grokvideo/")
    for zone in ("UTC", "Asia/Tokyo", "America/New_York", "Europe/Berlin", "Asia/Kolkata"):
        for day in ("2026-03-08", "2026-03-29", "2026-07-01", "2026-10-25", "2026-11-01", "2026-12-31"):
            asked = "async ([day, zone]) => (await import('/grokvideo/static/words.js')).dayBegins(day, zone).getTime()"
            expected = datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000

            assert expected == page.evaluate(asked, [day, zone]), (zone, day)


def test_the_gallery_says_that_it_loads_and_what_is_loaded(studio, open_page):
    """A list that is not there yet is no empty list, and the newest videos are not called all."""
    page = open_page(f"{studio.url}/grokvideo/")
    held = []

    def hold(route):
        held.append(route)

    page.route("**/api/videos*", hold)
    page.reload()
    expect(page.get_by_test_id("loading")).to_have_text("Loading videos…")

    def few(route):
        answer = route.fetch()
        told = answer.json()
        route.fulfill(json={**told, "videos": told["videos"][:3], "truncated": True, "shown": 3})

    few(held.pop(0))
    expect(page.get_by_test_id("count")).to_contain_text("The newest 3 videos")
    page.get_by_test_id("filter-search").fill("no such words")
    expect(page.get_by_test_id("nothing-fits")).to_contain_text("were not searched")
    button = page.get_by_test_id("more")
    button.click()
    expect(button).to_be_disabled()
    page.wait_for_timeout(200)
    assert 1 == len(held)
    few(held.pop(0))
    expect(page.get_by_test_id("more")).to_be_enabled()


def test_a_day_without_videos_teaches_how_to_make_one(studio, open_page):
    """A DAG to copy, and the emulator that needs no key."""
    page = open_page(f"{studio.url}/grokvideo/?day=2020-02-02")
    empty = page.get_by_test_id("empty")

    expect(empty).to_contain_text("GrokVideoGenerateOperator")
    expect(empty).to_contain_text("grokvideo emulator")
    page.get_by_test_id("filter-days").select_option("1")
    expect(page.get_by_test_id("card").first).to_be_visible()


def test_the_keyboard_goes_from_the_filters_to_a_video(studio, open_page):
    """Every card is a link that the tab key reaches, with a visible ring."""
    page = open_page(f"{studio.url}/grokvideo/")
    expect(page.get_by_test_id("card").first).to_be_visible()
    page.get_by_test_id("filter-outcome").focus()
    page.keyboard.press("Tab")
    focused = page.evaluate(
        "[document.activeElement.dataset.testid, getComputedStyle(document.activeElement).outlineStyle]"
    )

    assert ["card", "solid"] == focused
    page.keyboard.press("Enter")
    page.wait_for_url("**/video?*")


@pytest.mark.parametrize("width", [400, 768, 1900])
@pytest.mark.parametrize("what", ["gallery", "snow", "doubtful"])
def test_every_width_shows_everything(studio, open_page, width, what):
    """Nothing has to be scrolled sideways."""
    dag_id = "troubles" if what == "doubtful" else "films"
    address = f"{studio.url}/grokvideo/" if what == "gallery" else studio.page(dag_id, what)
    page = open_page(address, width=width)
    expect(page.locator("main[aria-busy=false]")).to_be_visible()
    expect(page.get_by_test_id("outcome").first).to_be_visible()

    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_phone_shows_the_tab(studio, open_page):
    """Before above after."""
    page = open_page(studio.page("films", "snow"), width=400, height=860)
    before, after = (page.get_by_test_id(name).bounding_box() for name in ("before", "after"))
    for name in ("before", "after"):
        page.get_by_test_id(name).evaluate(READY)
    shot(page, "ui-video-narrow")

    assert before["y"] + before["height"] <= after["y"]


def test_the_page_is_dark_where_airflow_is(studio, open_page):
    """And follows when the reader changes it."""
    page = open_page(f"{studio.url}/plugin/grokvideos", dark=True, width=1440, height=950)
    inside = framed(page)
    expect(inside.get_by_test_id("card").first).to_be_visible()
    inside.get_by_test_id("card").filter(has_text="Turn the day into night").locator("img").evaluate(
        "each => each.decode()"
    )
    shot(page, "ui-gallery-dark")
    root = inside.locator("html")
    expect(root).to_have_attribute("data-theme", "dark")
    page.evaluate("document.documentElement.classList.replace('dark', 'light')")

    expect(root).to_have_attribute("data-theme", "light")


def test_without_a_login_there_is_a_way_to_it(studio, open_page, tolerated):
    """And nothing else."""
    tolerated("401")
    page = open_page(f"{studio.url}/grokvideo/", user=None)

    expect(page.get_by_role("link")).to_have_text("Log in to Airflow")
    assert "lighthouse" not in page.content()


def test_what_is_forbidden_is_said_so(studio, open_page, tolerated):
    """In words, not as an empty page."""
    tolerated("403")
    page = open_page(studio.page("secret_films", "hidden"), user="guest")

    expect(page.get_by_test_id("instead")).to_contain_text("You do not have permission")


def test_a_guest_sees_their_own_gallery(studio, open_page):
    """Only what they may see, without a word about the rest."""
    page = open_page(f"{studio.url}/grokvideo/", user="guest")

    expect(page.get_by_test_id("card")).to_have_count(3)
    assert "secret_films" not in page.content()


def test_a_prompt_is_text_whatever_it_holds(studio, open_page):
    """Markup in it is shown, not run."""
    nasty = "<img src=x onerror=\"document.title='run'\"><script>document.title='run'</script>"
    with studio.edited("patience", "waiting") as write:
        write({"prompt": nasty})
        page = open_page(studio.page("patience", "waiting"))
        expect(page.get_by_test_id("prompt")).to_have_text(nasty)

    assert page.title() == "waiting · Video"


def test_the_details_lead_to_the_tab(studio, open_page):
    """By the button Video; of a task that makes none there is no such button."""
    page = open_page(studio.tab("films", "lighthouse").replace("/plugin/grokvideo", "/details"))
    link = page.get_by_role("link", name="Video", exact=True).last
    expect(link).to_be_visible()
    page.goto(link.get_attribute("href"))

    expect(framed(page).get_by_test_id("player")).to_be_visible()


def test_what_the_service_says_has_a_page(studio, open_page):
    """Where the operator link leads."""
    path = studio.card("patience", "waiting").split("/xcomEntries")[0]
    links = studio.stack.api.call("GET", f"{path}/links")["extra_links"]
    page = open_page(links["xAI request"])

    expect(page.get_by_test_id("says")).to_contain_text("xAI is processing the request.", timeout=40_000)
