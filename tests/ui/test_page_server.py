"""The page's routes on a real api-server: who may see what, and which bytes they get."""

from __future__ import annotations

import hashlib
import json
import shutil

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.ui]

ROUTES = [
    "",
    "video",
    "request",
    "api/videos",
    "api/video",
    "api/request",
    *(f"media/{x}" for x in ("video", "poster", "source", "sidecar")),
]


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route or "gallery")
def test_nothing_is_shown_without_a_login(studio, route):
    """Pages, their data and the bytes are for those who are logged in."""

    assert 401 == studio.get(route, None, **studio.query("films", "lighthouse")).status_code


@pytest.mark.parametrize(
    "route", ["api/video", "api/request", "media/video", "media/poster", "media/source", "media/sidecar"]
)
def test_another_dags_video_is_forbidden(studio, route):
    """A user sees of a DAG what Airflow lets them see, and no more."""

    assert 403 == studio.get(route, "guest", **studio.query("secret_films", "hidden")).status_code


def test_the_gallery_lists_only_what_a_user_may_see(studio):
    """Videos and spend alike."""
    guest, admin = (studio.get("api/videos", user).json() for user in ("guest", "admin"))

    assert {"patience"} == {view["key"]["dag_id"] for view in guest["videos"]}
    assert ["patience"] == [line["dag_id"] for line in guest["spend"]["by_dag"]]
    assert {"films", "troubles", "patience", "secret_films", "reviewed", "tables"} == {
        view["key"]["dag_id"] for view in admin["videos"]
    }


def test_every_outcome_is_told(studio):
    """Each task instance has its card, and a request that was handed on is shown once."""
    views = studio.get("api/videos", limit=100).json()["videos"]
    told = {view["label"]: view["outcome"] for view in views if view["key"]["dag_id"] in ("troubles", "patience")}
    expected = {
        "moderated": "moderated",
        "failed": "failed",
        "expired": "expired",
        "doubtful": "unconfirmed",
        "too_dear": "refused",
        "asking": "asking",
        "late": "trouble",
        "not_stored": "trouble",
        "sensed": "waiting",
        "waiting": "waiting",
    }

    assert expected == told


def test_the_spend_is_what_the_emulator_billed(studio):
    """To the last digit, by the ledger that the tasks keep."""
    spend = studio.get("api/videos").json()["spend"]

    assert "ledger" == spend["source"]
    billed = sum(start.billed_ticks for start in studio.emulator.starts if start.state in ("done", "moderated"))
    assert billed <= round(float(spend["billed_usd"]) * 10**10) + round(float(spend["possible_usd"]) * 10**10)
    assert len(studio.emulator.starts) == spend["purchases"]


def test_a_video_comes_as_it_was_delivered(studio):
    """Whole, or the part that a player asks for."""
    file = (studio.out / "lighthouse.mp4").read_bytes()
    query = studio.query("films", "lighthouse")
    whole = studio.get("media/video", **query)
    part = studio.get("media/video", headers={"Range": "bytes=1000-1999"}, **query)

    assert hashlib.sha256(file).digest() == hashlib.sha256(whole.content).digest()
    assert (200, "video/mp4") == (whole.status_code, whole.headers["content-type"])
    assert (206, file[1000:2000]) == (part.status_code, part.content)
    assert f"bytes 1000-1999/{len(file)}" == part.headers["content-range"]
    assert 416 == studio.get("media/video", headers={"Range": f"bytes={len(file)}-"}, **query).status_code


def test_a_browser_that_has_the_video_does_not_get_it_again(studio):
    """What was loaded before is asked for by its tag."""
    query = studio.query("films", "lighthouse")
    tag = studio.get("media/video", **query).headers["etag"]

    assert 304 == studio.get("media/video", headers={"If-None-Match": tag}, **query).status_code
    assert 200 == studio.get("media/video", headers={"Range": "bytes=0-9", "If-Range": '"x"'}, **query).status_code


def test_a_download_has_the_files_name(studio):
    """Not that of the route."""
    answer = studio.get("media/video", download=1, **studio.query("films", "lighthouse"))

    assert 'attachment; filename="lighthouse.mp4"' in answer.headers["content-disposition"]


def test_the_poster_is_a_picture(studio):
    """Written at delivery, beside the video."""
    answer = studio.get("media/poster", **studio.query("films", "lighthouse"))

    assert (200, "image/jpeg") == (answer.status_code, answer.headers["content-type"])
    assert (studio.out / "lighthouse.poster.jpg").read_bytes() == answer.content


def test_the_sidecar_is_shown_without_the_address_of_the_storage(studio):
    """Who may see the video need not know the bucket."""
    told = studio.get("media/sidecar", **studio.query("films", "lighthouse")).json()

    assert ("lighthouse.mp4", "A lighthouse on a cliff at dawn, waves below") == (
        told["uri"],
        told["request"]["prompt"],
    )
    assert str(studio.out) not in json.dumps(told)


def test_the_source_of_an_animated_image_is_shown(studio):
    """Because the DAG itself names the file."""
    answer = studio.get("media/source", **studio.query("films", "animated"))

    assert (studio.out / "picture.png").read_bytes() == answer.content


@pytest.fixture
def edited(studio):
    """Return how to edit the card of a request under way."""
    with studio.edited("patience", "waiting") as write:
        yield write


def test_an_edited_card_opens_no_other_dags_video(studio, edited):
    """The sidecar says whose a video is, and that DAG's permission counts."""
    edited({"outcome": "delivered", "manifest": {"uri": (studio.out / "hidden.mp4").as_uri()}})
    answer = studio.get("media/video", "guest", **studio.query("patience", "waiting"))

    assert 403 == answer.status_code


def test_an_edited_card_shows_no_other_request_as_its_own(studio, edited):
    """Also where one may see both."""
    edited({"outcome": "delivered", "manifest": {"uri": (studio.out / "lighthouse.mp4").as_uri()}})
    answer = studio.get("media/video", **studio.query("patience", "waiting"))

    assert 404 == answer.status_code
    assert "Another video has replaced it" in answer.text


@pytest.mark.parametrize("name", ["airflow.cfg", "no-sidecar.mp4", "text.mp4", "missing.mp4"])
def test_an_edited_card_reads_no_file_of_the_api_server(studio, edited, name):
    """What is no video, or has no sidecar of ours, stays where it is."""
    if name == "no-sidecar.mp4":
        shutil.copyfile(studio.out / "lighthouse.mp4", studio.out / name)
    elif name != "missing.mp4":
        (studio.out / name).write_text("[core]\nfernet_key = secret\n")
    edited({"outcome": "delivered", "manifest": {"uri": (studio.out / name).as_uri()}})
    answer = studio.get("media/video", **studio.query("patience", "waiting"))

    assert 404 == answer.status_code
    assert "secret" not in answer.text


def test_an_edited_card_names_no_source_that_the_dag_does_not_name(studio, edited):
    """A picture on the api-server's disk is shown only where the DAG uses it."""
    edited({"made_from": {"field": "image", "address": str(studio.out / "picture.png")}})

    assert 403 == studio.get("media/source", **studio.query("patience", "waiting")).status_code


@pytest.mark.parametrize(
    "value", ["text", {"schema": 99}, {"schema": 1, "outcome": "sold"}], ids=["text", "newer", "odd"]
)
def test_a_card_that_makes_no_sense_breaks_nothing(studio, edited, value):
    """The task says that it has left nothing, and the gallery goes on."""
    edited(value)
    one = studio.get("api/video", **studio.query("patience", "waiting"))
    all_ = studio.get("api/videos")

    assert 404 == one.status_code
    assert 200 == all_.status_code


def test_a_task_of_others_has_no_video_and_no_error(studio):
    """The tab is there on every task instance."""
    answer = studio.get("api/video", **studio.query("films", "without_video"))

    assert (404, "This task does not make a Grok video.") == (answer.status_code, answer.json()["detail"])


def test_the_literal_placeholder_of_an_unmapped_task_is_understood(studio):
    """Airflow leaves it in the address."""
    answer = studio.get("api/video", **{**studio.query("films", "lighthouse"), "map_index": "{MAP_INDEX}"})

    assert "lighthouse" == answer.json()["label"]


def test_a_waiting_request_tells_the_progress_of_the_service(studio):
    """The page asks for it, and buys nothing with that."""
    before = len(studio.emulator.starts)
    view = studio.get("api/video", poll=1, **studio.query("patience", "waiting")).json()

    assert view["waiting"]["polled_at"]
    assert before == len(studio.emulator.starts)
