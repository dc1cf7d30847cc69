"""The emulator bills what the service charges (contract §4 and §13.5), to the tick; nothing here renders a clip."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from emulator_kit import CLASSIC, EDITS, EXTENSIONS, GENERATIONS, LITE, MP4_URL, NEW, PNG_URL, Api, picture

BODIES = sorted((Path(__file__).parent.parent / "contract" / "bodies").glob("*.json"))
PNG = {"url": PNG_URL}


@pytest.mark.parametrize(
    ("body", "ticks"),
    [
        pytest.param({}, 4_000_000_000, id="classic 480p 8 s"),
        pytest.param({"resolution": "720p", "image": PNG}, 5_620_000_000, id="classic 720p 8 s image"),
        pytest.param(
            {"model": NEW, "resolution": "720p", "duration": 6, "reference_images": [PNG] * 2},
            8_600_000_000,
            id="1.5 720p 6 s 2 references",
        ),
        pytest.param({"model": NEW, "resolution": "1080p", "duration": 15}, 37_500_000_000, id="1.5 1080p 15 s"),
        pytest.param({"model": LITE, "duration": 5, "image": PNG}, 1_100_000_000, id="lite 480p 5 s image"),
        pytest.param({"model": LITE, "resolution": "720p", "duration": 1}, 300_000_000, id="lite 720p 1 s"),
        pytest.param({"model": LITE, "resolution": "1080p", "duration": 1}, 1_400_000_000, id="lite 1080p 1 s"),
        pytest.param({"model": NEW, "duration": 1}, 800_000_000, id="measured: 1.5 480p 1 s"),
        pytest.param({"model": NEW, "duration": 1, "image": PNG}, 900_000_000, id="measured: with image"),
        pytest.param(
            {"model": NEW, "duration": 1, "reference_images": [PNG] * 2}, 1_000_000_000, id="measured: 2 references"
        ),
        pytest.param({"model": f"{NEW}-preview", "image": PNG}, 6_500_000_000, id="measured: 8 s image on the preview"),
        pytest.param(
            {
                "model": NEW,
                "duration": 2,
                "image": PNG,
                "last_frame": PNG,
                "reference_images": [PNG],
                "reference_audios": [{"voice_id": "eve"}],
                "keyframes": [{"image": PNG, "timestamp_s": 1}],
            },
            2_000_000_000,
            id="every image counts, a voice does not",
        ),
        pytest.param({"generate_audio": False}, 4_000_000_000, id="silence is no cheaper"),
    ],
)
def test_a_generation_is_billed_by_seconds_and_images(api, body, ticks):
    """The bill stands in the ledger and in the answer."""
    request_id = api.start(**body)

    assert ticks == api.emulator.billed_ticks
    assert ticks == api.poll(request_id).json()["usage"]["cost_in_usd_ticks"]


@pytest.mark.parametrize(
    ("endpoint", "source", "body", "ticks"),
    [
        pytest.param(EDITS, {"duration": 6}, {}, 3_600_000_000, id="edit 480p of 6 s"),
        pytest.param(EDITS, {"duration": 6, "resolution": "720p"}, {}, 4_800_000_000, id="edit 720p of 6 s"),
        pytest.param(
            EDITS,
            {"model": NEW, "duration": 3, "resolution": "1080p"},
            {},
            2_400_000_000,
            id="edit of 1080p comes out in 720p",
        ),
        pytest.param(
            EXTENSIONS, {"duration": 8, "resolution": "720p"}, {"duration": 6}, 5_000_000_000, id="extend 720p by 6 s"
        ),
        pytest.param(EXTENSIONS, {"duration": 2}, {"duration": 10}, 5_200_000_000, id="extend 480p by 10 s"),
        pytest.param(EXTENSIONS, {"duration": 8}, {}, 3_800_000_000, id="extend by the default of 6 s"),
    ],
)
def test_a_clip_that_is_worked_on_is_billed_by_its_length(api, endpoint, source, body, ticks):
    """An edit pays for the source's seconds in and out, an extension for the source and the added part."""
    video = {"url": api.link(**source)}
    before = api.emulator.billed_ticks
    api.start(endpoint, video=video, **body)

    assert ticks == api.emulator.billed_ticks - before


@pytest.mark.parametrize("path", [pytest.param(path, id=path.stem) for path in BODIES])
def test_a_golden_body_is_accepted_and_billed(api, path):
    """The emulator takes the golden body as the mode it is, for the golden price."""
    golden = json.loads(path.read_text())
    body = at_home(api, golden)
    before = api.emulator.billed_ticks
    answer = api.ask("POST", golden["endpoint"], json=body)

    assert 200 == answer.status_code
    start = api.emulator.starts[-1]
    assert (golden["mode"], golden["ticks"]) == (start.mode, start.billed_ticks)
    assert golden["ticks"] == api.emulator.billed_ticks - before


def test_the_golden_bodies_are_there():
    """Each endpoint and each model that can serve it has a golden body."""
    golden = [json.loads(path.read_text()) for path in BODIES]

    assert {(GENERATIONS, model) for model in (CLASSIC, NEW, LITE)} | {(EDITS, CLASSIC), (EXTENSIONS, CLASSIC)} == {
        (body["endpoint"], body["body"]["model"]) for body in golden
    }


def at_home(api: Api, golden: dict[str, Any]) -> dict[str, Any]:
    """Return a golden body with file ids the emulator has, and a source of the length that is priced."""
    body: dict[str, Any] = copy.deepcopy(golden["body"])
    if "file_id" in body.get("image", {}):
        body["image"] = {"file_id": api.upload(picture(), "robot.png")}
    if body.get("video", {}).get("url") == MP4_URL:
        source = {"duration": golden["source_seconds"], "resolution": golden["source_resolution"]}
        body["video"] = {"url": api.link(**source)}
    return body
