"""The ledger says what was accepted, billed, looked at and leaked, and never holds a key."""

from __future__ import annotations

import dataclasses
import threading
import time

import pytest
from emulator_kit import EDITS, MP4_URL, Api, data_uri, picture

from airflow_provider_grokvideo.emulator import Emulator


def test_a_start_has_everything_and_cannot_be_changed(api):
    """An accepted start is a frozen record of the order, its time and its bill."""
    begun = time.time()
    request_id = api.start(prompt="A red ball", duration=3)
    start = api.emulator.starts[0]

    assert (request_id, "text-to-video", "grok-imagine-video", "A red ball") == (
        start.request_id,
        start.mode,
        start.model,
        start.prompt,
    )
    assert {"model": "grok-imagine-video", "prompt": "A red ball", "duration": 3} == start.body
    assert (1_500_000_000, "pending", ()) == (start.billed_ticks, start.state, start.notes)
    assert begun <= start.accepted_at <= time.time()
    with pytest.raises(dataclasses.FrozenInstanceError):
        start.state = "done"


def test_starts_stand_in_their_order_and_bills_add_up(api):
    """Two starts are two records, and their bills have a sum."""
    ids = [api.start(duration=1), api.start(EDITS, video={"url": MP4_URL})]

    assert ids == [start.request_id for start in api.emulator.starts]
    assert 500_000_000 + 3_600_000_000 == api.emulator.billed_ticks


def test_a_refused_start_is_not_in_the_ledger(api):
    """Only what was accepted counts, but every request is in the record."""
    api.submit(duration=99)

    assert ([], 0) == (api.emulator.starts, api.emulator.billed_ticks)
    assert [400] == [seen.status for seen in api.emulator.requests]


def test_a_long_data_uri_is_shortened(api):
    """The ledger keeps the beginning of a picture and its length, not the picture."""
    uri = data_uri(picture((640, 480)))
    api.start(image={"url": uri})
    kept = api.emulator.starts[0].body["image"]["url"]

    assert kept.startswith("data:image/png;base64,")
    assert len(kept) < 100
    assert str(len(uri)) in kept


def test_looks_are_counted_for_each_request(api):
    """Each poll of a known request counts, also one that was answered with a fault; others do not."""
    api.emulator.script("http:500", on="poll")
    first, second = api.start(), api.start()
    for request_id in (first, first, first, second):
        api.poll(request_id)
    api.poll("9b1f0c3e-5d64-4c0e-9b0e-3f3a1d2b4c5d")

    assert {first: 3, second: 1} == api.emulator.polls


@pytest.mark.parametrize(
    ("headers", "leaks"),
    [
        pytest.param({}, 0, id="clean"),
        pytest.param({"authorization": "Bearer x"}, 1, id="authorization"),
        pytest.param({"cookie": "xai-emulator-key"}, 1, id="key"),
        pytest.param({"cookie": "xai-emulator-zdr"}, 1, id="another known key"),
    ],
)
def test_leaks_are_counted(api, headers, leaks):
    """An Authorization header or a known key at the download origin is a leak; a clean download is none."""
    api.download(api.link(duration=1), **headers)

    assert leaks == api.emulator.leaks


def test_requests_are_recorded_at_both_origins_without_keys(api):
    """Method, path, status and a few headers of each request are kept; no key is."""
    request_id = api.start(duration=1)
    api.ask("GET", f"/videos/{request_id}?key={api.emulator.api_key}", headers={"user-agent": "a-test/1"})
    url = api.video(request_id)["url"]
    api.download(url, authorization=f"Bearer {api.emulator.api_key}")
    seen = api.emulator.requests

    assert [("api", "POST", 200), ("api", "GET", 200), ("api", "GET", 200), ("download", "GET", 403)] == [
        (one.origin, one.method, one.status) for one in seen
    ]
    assert "/v1/videos/generations" == seen[0].path
    assert "a-test/1" == seen[1].headers["user-agent"]
    assert "xai-emulator" not in repr(seen)


def test_the_controls_are_not_in_the_record(api):
    """Looking at the ledger leaves no trace in it."""
    api.control("GET", "ledger")

    assert [] == api.emulator.requests


def test_the_ledger_over_http_is_that_of_python(api):
    """Shells and other processes read the same ledger."""
    request_id = api.start(duration=1)
    api.poll(request_id)
    ledger = api.control("GET", "ledger").json()

    assert [request_id] == [start["request_id"] for start in ledger["starts"]]
    assert [dataclasses.asdict(start) | {"notes": list(start.notes)} for start in api.emulator.starts] == ledger[
        "starts"
    ]
    assert (api.emulator.billed_ticks, api.emulator.polls, 0) == (
        ledger["billed_ticks"],
        ledger["polls"],
        ledger["leaks"],
    )


@pytest.mark.parametrize("way", ["python", "control"])
def test_reset_forgets_everything_and_restores_the_settings(api, way):
    """Jobs, files, faults, records, tempo and quirks are as at the start."""
    url = api.link(duration=1)
    api.upload(picture())
    api.download(url, authorization="Bearer x")
    api.order(tempo="polls:5", quirks={"wrong_key": "401"}, faults=[{"fault": "http:500", "on": "submit"}])
    if way == "python":
        api.emulator.reset()
    else:
        api.control("POST", "reset").raise_for_status()
    emulator = api.emulator

    assert ([], 0, {}, 0, []) == (
        emulator.starts,
        emulator.billed_ticks,
        emulator.polls,
        emulator.leaks,
        emulator.requests,
    )
    assert [] == api.ask("GET", "/files").json()["data"]
    assert 404 == api.download(url).status_code
    assert 400 == api.submit(key="xai-nobody").status_code
    assert 200 == api.poll(api.start()).status_code


def test_many_starts_at_once_are_all_in_the_ledger(api):
    """Concurrent clients get ids of their own, and none is lost."""
    ids: list[str] = []

    def client() -> None:
        with Api(api.emulator) as own:
            ids.extend(own.start() for _ in range(5))

    threads = [threading.Thread(target=client) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)

    assert sorted(ids) == sorted(start.request_id for start in api.emulator.starts)
    assert 30 == len(set(ids))


def test_files_are_kept_listed_and_deleted(api):
    """An uploaded file has its facts and its bytes until it is deleted."""
    data = picture()
    file_id = api.upload(data, "ball.png")
    facts = api.ask("GET", f"/files/{file_id}").json()
    listed = api.ask("GET", "/files").json()["data"]
    content = api.ask("GET", f"/files/{file_id}/content").content
    deleted = api.ask("DELETE", f"/files/{file_id}").json()

    assert ("ball.png", len(data), "file") == (facts["filename"], facts["bytes"], facts["object"])
    assert [facts] == listed
    assert data == content
    assert deleted["deleted"]
    assert 404 == api.ask("GET", f"/files/{file_id}").status_code
    assert 400 == api.submit(image={"file_id": file_id}).status_code


@pytest.mark.parametrize(
    ("form", "status"),
    [
        pytest.param({"file": ("a", b"x" * (50 * 2**20 + 1))}, 413, id="too large"),
        pytest.param({"purpose": (None, "x")}, 400, id="no file"),
        pytest.param({"expires_after": (None, "60"), "file": ("a", b"x")}, 400, id="life too short"),
        pytest.param({"expires_after": (None, "soon"), "file": ("a", b"x")}, 400, id="life not a number"),
        pytest.param({"expires_after[seconds]": (None, "3600"), "file": ("a", b"x")}, 200, id="another API's form"),
    ],
)
def test_an_upload_has_its_rules(api, form, status):
    """Size and life of a file are checked."""
    assert status == api.ask("POST", "/files", files=form).status_code


def test_a_seed_makes_ids_repeatable():
    """Two emulators with one seed give the same ids, another seed gives others."""

    def first_id(seed: int) -> str:
        with Emulator(seed=seed) as emulator, Api(emulator) as api:
            return api.start()

    assert first_id(7) == first_id(7) != first_id(8)
