"""The way of a finished video, from its link to its destination."""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
from dataclasses import asdict

import pytest
from delivery_kit import body

from airflow_provider_grokvideo.core.errors import DeliveryFailed, InvalidInput
from airflow_provider_grokvideo.core.redaction import MARK
from airflow_provider_grokvideo.delivery.deliver import Expectation, deliver, shareable
from airflow_provider_grokvideo.media.probe import probe
from airflow_provider_grokvideo.provider_info import __version__

OWNER = {"dag_id": "d", "run_id": "r", "task_id": "t", "map_index": -1}


@pytest.fixture
def run(server, tmp_path, pauses, monkeypatch):
    """Return a function that delivers what the server has at a path, and counts what is left on this machine."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))

    def go(path="/clip.mp4", **words):
        words = {
            "fresh_link": lambda: None,
            "destination": f"{tmp_path}/out/clip.mp4",
            "expected": Expectation(duration=2, width=64, height=36),
            "manifest": {"request_id": "req-1", "url": server.url(path), "cost_usd": "0.40"},
            "request": {"prompt": "a fox"},
            **words,
        }
        try:
            return deliver(
                link=server.url(path),
                request_id="req-1",
                owner=OWNER,
                allow_loopback=True,
                pause=pauses.append,
                **words,
            )
        finally:
            assert [] == list(scratch.iterdir())

    return go


def files(tmp_path):
    """Return the names of what was delivered."""
    out = tmp_path / "out"
    return sorted(path.name for path in out.iterdir()) if out.exists() else []


def test_a_video_is_delivered_with_what_was_measured(server, run, media, tmp_path):
    """The result tells where it is and what it is; the file is the server's, byte for byte."""
    data = media.clip.read_bytes()
    server.routes["/clip.mp4"] = body(data)
    delivered = run()

    assert {
        "uri": f"file://{tmp_path}/out/clip.mp4",
        "sidecar_uri": f"file://{tmp_path}/out/clip.json",
        "poster_uri": f"file://{tmp_path}/out/clip.poster.jpg",
        "sha256": hashlib.sha256(data).hexdigest(),
        "bytes": len(data),
        "duration": probe(media.clip).duration,
        "width": 64,
        "height": 36,
        "has_audio": True,
        "checked": "decoded",
        "warnings": [],
    } == asdict(delivered)
    assert data == (tmp_path / "out/clip.mp4").read_bytes()


def test_the_sidecar_tells_all_but_the_secrets(server, run, media, tmp_path):
    """Manifest, request, owner and check are kept; signatures, data and keys are not."""
    server.routes["/clip.mp4"] = body(media.clip.read_bytes())
    delivered = run(
        "/clip.mp4?X-Amz-Signature=s3cr3t",
        request={
            "prompt": "a fox, see https://example.com/?q=1 for style",
            "image": {"url": "data:image/png;base64," + "A" * 5000},
            "video": {"url": "https://u:p@example.com/v.mp4?sig=s3cr3t"},
            "output": {"upload_url": "https://bucket.example/put?sig=s3cr3t#x"},
            "api_key": "s3cr3t",
            "note": "Bearer s3cr3ts3cr3ts3cr3t and xai-s3cr3ts3cr3ts3cr3t",
            "keyframes": [{"timestamp_s": 1.5}],
        },
    )
    text = (tmp_path / "out/clip.json").read_text(encoding="utf-8")
    sidecar = json.loads(text)

    assert "s3cr3t" not in text
    assert {
        "prompt": "a fox, see https://example.com/?q=1 for style",
        "image": {"url": "data:image/png;base64,… (5000 characters)"},
        "video": {"url": "https://example.com/v.mp4?…"},
        "output": {"upload_url": "https://bucket.example/put?…"},
        "api_key": MARK,
        "note": f"Bearer {MARK} and {MARK}",
        "keyframes": [{"timestamp_s": 1.5}],
    } == sidecar.pop("request")
    assert {
        "schema": 1,
        "request_id": "req-1",
        "url": f"{server.url('/clip.mp4')}?…",
        "cost_usd": "0.40",
        "owner": OWNER,
        "provider_version": __version__,
        **asdict(delivered),
    } == sidecar


def test_a_directory_gets_the_request_id(server, run, media, tmp_path):
    """A destination without a name is filled with the request's."""
    server.routes["/clip.mp4"] = body(media.clip.read_bytes())
    run(destination=f"{tmp_path}/out/")

    assert ["req-1.json", "req-1.mp4", "req-1.poster.jpg"] == files(tmp_path)


def test_a_dead_link_is_asked_for_once_more(server, run, media, tmp_path):
    """An expired link is replaced by the fresh one of the same request."""
    server.routes |= {"/clip.mp4": body(b"", status=403), "/fresh.mp4": body(media.clip.read_bytes())}
    run(fresh_link=lambda: server.url("/fresh.mp4"))

    assert ["clip.json", "clip.mp4", "clip.poster.jpg"] == files(tmp_path)


@pytest.mark.parametrize("fresh", ["same", "none", "dead"])
def test_a_link_that_stays_dead_says_what_to_do(server, run, tmp_path, fresh):
    """Without a better link the delivery fails, asks once only, and tells what a retry can do."""
    server.routes |= {"/clip.mp4": body(b"", status=404), "/dead.mp4": body(b"", status=410)}
    asked = []

    def poll():
        asked.append(1)
        return {"same": server.url("/clip.mp4"), "none": None, "dead": server.url("/dead.mp4")}[fresh]

    with pytest.raises(DeliveryFailed, match=r"no newer link .*req-1.* at no charge"):
        run(fresh_link=poll)

    assert [1] == asked
    assert [] == files(tmp_path)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("png", "is a PNG image, not an MP4 video"),
        ("webm", "is a WebM or Matroska video, not an MP4 video"),
        ("quicktime", "is a QuickTime video, not an MP4 video"),
        ("m4a", "is an MP4 file with sound only, not an MP4 video"),
    ],
)
def test_what_is_no_mp4_never_reaches_the_destination(server, run, media, tmp_path, name, says):
    """The content decides, whatever the server calls it."""
    server.routes["/clip.mp4"] = body(getattr(media, name).read_bytes())
    with pytest.raises(DeliveryFailed, match=says):
        run()

    assert [] == files(tmp_path)


def test_a_cut_video_never_reaches_the_destination(server, run, media, tmp_path):
    """A file that ends early with a matching Content-Length is found by its content."""
    server.routes["/clip.mp4"] = body(media.clip.read_bytes()[:-500])
    with pytest.raises(DeliveryFailed, match="is damaged: it is cut off"):
        run()

    assert [] == files(tmp_path)


@pytest.mark.parametrize(
    ("expected", "fine"),
    [
        (Expectation(), True),
        (Expectation(duration=2), True),
        (Expectation(duration=2.4), True),
        (Expectation(duration=3), False),
        (Expectation(duration=8), False),
        (Expectation(duration=2, asked=15), True),
        (Expectation(asked=15), True),
        (Expectation(at_least=1), True),
        (Expectation(at_least=5), False),
    ],
    ids=str,
)
def test_a_short_video_is_not_what_was_bought(server, run, media, tmp_path, expected, fine):
    """Half a second or a tenth less than reported is tolerated, more is a cut file; other than requested warns."""
    server.routes["/clip.mp4"] = body(media.clip.read_bytes())
    if fine:
        run(expected=expected)
    else:
        with pytest.raises(DeliveryFailed, match=r" 2\.\d\d s instead of \d s"):
            run(expected=expected)

    assert fine == bool(files(tmp_path))


def test_what_is_only_odd_is_delivered_with_a_warning(server, run, media, tmp_path, caplog):
    """A longer or differently sized video is still the user's."""
    server.routes["/clip.mp4"] = body(media.clip.read_bytes())
    with caplog.at_level(logging.WARNING):
        run(expected=Expectation(duration=1, width=1280, height=720))

    assert ["clip.json", "clip.mp4", "clip.poster.jpg"] == files(tmp_path)
    assert ["reported 1 s", "wide", "high"] == [
        word for record in caplog.records for word in ("reported 1 s", "wide", "high") if word in record.getMessage()
    ]


def test_an_earlier_video_survives_a_failed_delivery(server, run, tmp_path):
    """Nothing under the final name changes unless a good video is there to replace it."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out/clip.mp4").write_bytes(b"earlier")
    server.routes["/clip.mp4"] = body(b"<html>", "text/html")
    with pytest.raises(DeliveryFailed):
        run()

    assert b"earlier" == (tmp_path / "out/clip.mp4").read_bytes()
    assert ["clip.mp4"] == files(tmp_path)


def test_a_bad_destination_is_refused_before_the_download(server, run):
    """Nothing is fetched for a destination that is none."""
    with pytest.raises(InvalidInput):
        run(destination="None")

    assert [] == server.asked


def test_a_video_is_delivered_to_a_bucket(server, run, media, s3):
    """The whole way ends in object storage, too."""
    server.routes["/clip.mp4"] = body(media.clip.read_bytes())
    delivered = run(destination=f"{s3.url}/ds=2026-01-01/")

    assert "s3://bucket/ds=2026-01-01/req-1.mp4" == delivered.uri
    assert media.clip.read_bytes() == s3.read("ds=2026-01-01/req-1.mp4")
    assert "decoded" == json.loads(s3.read("ds=2026-01-01/req-1.json"))["checked"]


def test_other_values_are_kept_as_they_are():
    """Numbers, lists and plain texts pass unchanged into a record."""

    assert {"a": [1, 2.5, None, True], "b": "text"} == shareable({"a": (1, 2.5, None, True), "b": "text"})
