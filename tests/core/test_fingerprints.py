"""The fingerprints that are in journals: a version that computes others lets running tasks buy again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from airflow_provider_grokvideo.core.media import Media
from airflow_provider_grokvideo.core.requests import (
    EditVideo,
    ExtendVideo,
    ImageToVideo,
    ReferenceToVideo,
    TextToVideo,
    edit,
    extension,
    generation,
)

CONTRACT = Path(__file__).parent.parent / "contract"
BODIES = sorted((CONTRACT / "bodies").glob("*.json"))
BUILD = {"/videos/generations": generation, "/videos/edits": edit, "/videos/extensions": extension}
GOLDEN = json.loads((CONTRACT / "journal" / "fingerprints_v1.json").read_text())

PNG, MP4 = "https://a.example/b.png", "https://a.example/b.mp4"
REQUESTS = {
    "text": TextToVideo(prompt="A ball"),
    "text, silent": TextToVideo(prompt="A ball", model="grok-imagine-video-1.5", generate_audio=False),
    "text, größe": TextToVideo(prompt="Ein großer Ball"),
    "image": ImageToVideo(prompt="It moves", image=PNG),
    "image, file by its content": ImageToVideo(
        prompt="It moves", image=Media(path="/data/ball.png", sha256="0" * 64, known_as=None)
    ),
    "image, file by its path": ImageToVideo(prompt="It moves", image="/data/ball.png"),
    "references": ReferenceToVideo(prompt="They meet", reference_images=[PNG, {"file_id": "file_1"}]),
    "edit": EditVideo(prompt="Make it snow", video=MP4),
    "edit, a clip of several addresses": EditVideo(prompt="Make it snow", video=Media(url=MP4, known_as="r-1")),
    "extension": ExtendVideo(prompt="It goes on", video=MP4),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_a_fingerprint_stays(name):
    """An upgrade of the package recognises what the version before it bought, defaults included."""
    assert GOLDEN["requests"][name] == REQUESTS[name].fingerprint()


@pytest.mark.parametrize("path", [pytest.param(path, id=path.stem) for path in BODIES])
def test_the_fingerprint_of_a_golden_body_stays(path):
    """So for every golden body."""
    golden = json.loads(path.read_text())

    assert GOLDEN["bodies"][path.stem] == BUILD[golden["endpoint"]](**golden["body"]).fingerprint()


def test_different_requests_have_different_fingerprints():
    """No two of them are taken for one another."""
    found = [*GOLDEN["requests"].values(), *GOLDEN["bodies"].values()]

    assert len(found) == len(set(found))
