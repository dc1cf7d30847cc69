"""What the client does, asked of both colours against the emulator over a real socket."""

from __future__ import annotations

import socket
import time
from email.utils import formatdate
from pathlib import Path

import pytest

from airflow_provider_grokvideo import __version__
from airflow_provider_grokvideo.client import flow
from airflow_provider_grokvideo.client.account import Account
from airflow_provider_grokvideo.core.errors import (
    AmbiguousSubmit,
    AuthenticationFailed,
    OutOfCredits,
    RateLimited,
    RequestRejected,
    ServiceUnavailable,
)
from airflow_provider_grokvideo.core.jobs import Done, Expired, Pending
from airflow_provider_grokvideo.core.requests import TextToVideo

CLIP = TextToVideo(prompt="A red ball rolls over a table", duration=1)


def posts(emulator) -> int:
    """Count the starts that were sent, accepted or not."""
    return sum(1 for seen in emulator.requests if seen.method == "POST" and "/videos/" in seen.path)


def test_a_start_gives_the_id_the_service_booked(drive, account_of, grokvideo_emulator):
    """A start returns the request id, and the service booked exactly one."""
    request_id = drive(account_of(grokvideo_emulator), flow.submit(CLIP))

    assert [request_id] == [start.request_id for start in grokvideo_emulator.starts]


def test_calls_name_this_package_and_version(drive, account_of, grokvideo_emulator):
    """The user agent tells xAI's support which package and version is calling."""
    drive(account_of(grokvideo_emulator), flow.submit(CLIP))

    agent = grokvideo_emulator.requests[-1].headers["user-agent"]
    assert agent.startswith(f"airflow-provider-grokvideo/{__version__} ")


@pytest.mark.parametrize(
    "fault",
    ["lost_answer", "accept_then_502", "cut_before", "http:500", "http:502", "http:503", "http:504"],
)
def test_a_start_in_doubt_is_sent_once(drive, account_of, grokvideo_emulator, fault):
    """Where the service may have accepted a start, it is not sent again and the error says so."""
    grokvideo_emulator.script(fault, on="submit")

    with pytest.raises(AmbiguousSubmit, match="may have accepted"):
        drive(account_of(grokvideo_emulator), flow.submit(CLIP))

    assert 1 == posts(grokvideo_emulator)
    assert [] == drive.pauses


def test_a_start_without_answer_in_time_is_in_doubt(drive, account_of, grokvideo_emulator):
    """A start whose answer does not come in time may have been accepted, and here it was."""
    grokvideo_emulator.script("timeout", on="submit")

    with pytest.raises(AmbiguousSubmit, match="timed out"):
        drive(account_of(grokvideo_emulator, submit_timeout=0.3), flow.submit(CLIP))

    assert 1 == len(grokvideo_emulator.starts)


@pytest.mark.parametrize(
    ("retry_after", "expected"),
    [
        pytest.param("2", (2.0, 2.5), id="seconds"),
        pytest.param(None, (1.0, 1.25), id="not told"),
        pytest.param("date", (8.0, 12.5), id="date"),
    ],
)
def test_a_refused_start_is_sent_again_after_the_pause_asked_for(
    drive, account_of, grokvideo_emulator, retry_after, expected
):
    """HTTP 429 proves that nothing was accepted, so the start goes again after the pause asked for or a bit later."""
    asked = formatdate(time.time() + 10, usegmt=True) if retry_after == "date" else retry_after
    grokvideo_emulator.script("http:429", on="submit", retry_after=asked)

    drive(account_of(grokvideo_emulator), flow.submit(CLIP))

    low, high = expected
    assert 1 == len(grokvideo_emulator.starts)
    assert 1 == len(drive.pauses)
    assert low <= drive.pauses[0] <= high


def test_a_rate_limit_that_stays_is_left_to_airflow(drive, account_of, grokvideo_emulator):
    """After two repetitions the rate limit is raised with the pause that was asked for."""
    grokvideo_emulator.script("http:429", on="submit", times=None, retry_after="7")

    with pytest.raises(RateLimited) as caught:
        drive(account_of(grokvideo_emulator), flow.submit(CLIP))

    assert 7.0 == caught.value.retry_after
    assert 2 == len(drive.pauses)
    assert all(7.0 <= pause <= 8.75 for pause in drive.pauses)
    assert [] == grokvideo_emulator.starts


def test_a_pause_too_long_to_sit_out_is_left_to_airflow(drive, account_of, grokvideo_emulator):
    """A worker does not sleep for an hour because the service asked for it."""
    grokvideo_emulator.script("http:429", on="submit", retry_after="3600")

    with pytest.raises(RateLimited):
        drive(account_of(grokvideo_emulator), flow.submit(CLIP))

    assert [] == drive.pauses


def test_a_start_that_never_left_is_sent_again_and_costs_nothing(drive):
    """Where nobody listens nothing was accepted, so the call is repeated and the error says that nothing was billed."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        nobody = Account(f"http://127.0.0.1:{taken.getsockname()[1]}/v1", "xai-emulator-key", timeout=2.0)

        with pytest.raises(ServiceUnavailable, match="Nothing was accepted or billed"):
            drive(nobody, flow.submit(CLIP))

    assert 2 == len(drive.pauses)


@pytest.mark.parametrize(
    ("key", "error"),
    [
        pytest.param("xai-wrong", AuthenticationFailed, id="wrong"),
        pytest.param("xai-emulator-blocked", AuthenticationFailed, id="blocked"),
        pytest.param("xai-emulator-no-credit", OutOfCredits, id="no credit"),
        pytest.param("xai-emulator-zdr", RequestRejected, id="zero data retention"),
    ],
)
def test_a_refused_key_is_an_error_of_its_own(drive, account_of, grokvideo_emulator, key, error):
    """A key the service refuses ends in the error that says what to change, without repetition."""
    with pytest.raises(error) as caught:
        drive(account_of(grokvideo_emulator, api_key=key), flow.submit(CLIP))

    assert [] == drive.pauses
    assert caught.value.service_id is not None
    assert key not in str(caught.value)


def test_a_redirect_is_not_followed(drive, account_of, grokvideo_emulator):
    """A redirect would lose the key or hand it to another host, so it is an error that names the setting."""
    grokvideo_emulator.script("http:307", on="submit")

    with pytest.raises(RequestRejected, match="redirects"):
        drive(account_of(grokvideo_emulator), flow.submit(CLIP))

    assert 1 == posts(grokvideo_emulator)


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504, 529])
def test_a_look_that_failed_is_repeated(drive, account_of, grokvideo_emulator, status):
    """A look costs nothing, so it is repeated after each passing refusal."""
    request_id = drive(account_of(grokvideo_emulator), flow.submit(CLIP))
    grokvideo_emulator.script(f"http:{status}", on="poll")

    found = drive(account_of(grokvideo_emulator), flow.poll(request_id))

    assert isinstance(found, Pending | Done)
    assert 1 == len(drive.pauses)


def test_a_look_on_a_cut_connection_is_repeated(drive, account_of, grokvideo_emulator):
    """A connection that breaks during a poll is tried again."""
    request_id = drive(account_of(grokvideo_emulator), flow.submit(CLIP))
    grokvideo_emulator.script("cut_before", on="poll")

    found = drive(account_of(grokvideo_emulator), flow.poll(request_id))

    assert isinstance(found, Pending | Done)


def test_a_look_of_a_wait_is_not_repeated(drive, account_of, grokvideo_emulator):
    """A wait looks again anyway, so its polls do not repeat themselves."""
    request_id = drive(account_of(grokvideo_emulator), flow.submit(CLIP))
    grokvideo_emulator.script("http:503", on="poll")

    found = drive(account_of(grokvideo_emulator), flow.poll(request_id, retry=False))

    assert isinstance(found, ServiceUnavailable)
    assert request_id == found.request_id
    assert [] == drive.pauses


def test_a_request_id_is_quoted(drive, account_of, grokvideo_emulator):
    """A request id is any text and never becomes a path of its own."""
    drive(account_of(grokvideo_emulator), flow.poll("../files?x=1", retry=False))

    assert "/v1/videos/..%2Ffiles%3Fx%3D1" == grokvideo_emulator.requests[-1].path


def test_an_unknown_request_is_expired(drive, account_of, grokvideo_emulator):
    """A request the service does not know is expired, not an error of the call."""
    found = drive(account_of(grokvideo_emulator), flow.poll("00000000-0000-4000-8000-000000000000"))

    assert isinstance(found, Expired)


def test_an_upload_names_its_life_before_its_bytes(drive, account_of, grokvideo_emulator, tmp_path: Path):
    """An uploaded input gets a file id and an end of life, which the service reads only in front of the file."""
    picture = tmp_path / "a.png"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(64))

    file_id = drive(
        account_of(grokvideo_emulator), flow.upload(flow.Upload(picture, "a.png", "image/png"), expires_after=3600)
    )

    kept = drive(account_of(grokvideo_emulator), flow.document(f"/files/{file_id}"))
    assert 72 == kept["bytes"]
    assert kept["expires_at"] - kept["created_at"] == pytest.approx(3600, abs=2)


STORED = {"filename": "ball-00000000000000aa.mp4"}


def store(drive, account, filename):
    """Have a video made that is stored under a name."""
    prompt = "A ball [[emulator: tempo=at-once]]"
    drive(account, flow.submit(TextToVideo(prompt=prompt, duration=1, storage_options={"filename": filename})))


def test_a_stored_file_is_found_by_exactly_its_name(drive, account_of, grokvideo_emulator):
    """Names that are only like it are others' files."""
    account = account_of(grokvideo_emulator)
    for name in ("ball-00000000000000ab.mp4", "ball-00000000000000aa.mp4.mp4", "Ball-00000000000000aa.mp4"):
        store(drive, account, name)

    assert drive(account, flow.find_file(STORED["filename"])) is None
    store(drive, account, STORED["filename"])
    assert drive(account, flow.find_file(STORED["filename"])).file_id.startswith("file_")


def test_a_stored_file_is_found_on_a_later_page(drive, account_of, grokvideo_emulator, monkeypatch):
    """All pages of hits are looked through, by the token of each."""
    monkeypatch.setattr("airflow_provider_grokvideo.core.files.PAGE", 2)
    account = account_of(grokvideo_emulator)
    store(drive, account, STORED["filename"])
    for number in range(4):
        store(drive, account, f"ball-{number:016x}.mp4")
    pages = [seen for seen in grokvideo_emulator.requests if seen.method == "GET" and seen.path.startswith("/v1/files")]
    found = drive(account, flow.find_file(STORED["filename"]))
    further = [
        seen for seen in grokvideo_emulator.requests if seen.method == "GET" and seen.path.startswith("/v1/files")
    ]

    assert found is not None
    assert 3 == len(further) - len(pages)
