"""What can be wrong before money is spent: one clear error each, and nothing sent."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest

from airflow_provider_grokvideo.compat import AirflowFailException
from airflow_provider_grokvideo.core.errors import GrokVideoError
from airflow_provider_grokvideo.operators.grokvideo import (
    GrokVideoEditOperator,
    GrokVideoExtendOperator,
    GrokVideoGenerateOperator,
)

pytestmark = pytest.mark.usefixtures("grokvideo_connection")

PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x02\x00\x00\x00"

GENERATE = functools.partial(GrokVideoGenerateOperator, task_id="make", prompt="A ball")
EDIT = functools.partial(GrokVideoEditOperator, task_id="edit", prompt="Make it snow")
EXTEND = functools.partial(GrokVideoExtendOperator, task_id="extend", prompt="It goes on")


@pytest.mark.parametrize(
    ("make", "words", "said"),
    [
        pytest.param(GENERATE, {"prompt": ""}, "prompt=''", id="empty prompt"),
        pytest.param(GENERATE, {"prompt": "   "}, "prompt='   '", id="blank prompt"),
        pytest.param(GENERATE, {"prompt": None}, "missing prompt", id="no prompt"),
        pytest.param(GENERATE, {"prompt": "None"}, "rendered to nothing", id="prompt from an empty template"),
        pytest.param(GENERATE, {"duration": 0}, "1 to 15 seconds", id="too short"),
        pytest.param(GENERATE, {"duration": "16"}, "1 to 15 seconds", id="too long, from a template"),
        pytest.param(GENERATE, {"duration": ""}, "rendered to nothing", id="duration from an empty template"),
        pytest.param(GENERATE, {"duration": 3.5}, "whole number of seconds", id="half seconds"),
        pytest.param(GENERATE, {"aspect_ratio": "21:9"}, "16:9", id="ratio"),
        pytest.param(GENERATE, {"resolution": "1080p"}, "480p, 720p", id="resolution of another model"),
        pytest.param(
            GENERATE,
            {"image": {"url": "https://a.example/b.png", "file_id": "file_1"}},
            "exactly one",
            id="two sources",
        ),
        pytest.param(GENERATE, {"image": ""}, "image=''", id="empty image"),
        pytest.param(GENERATE, {"image": "/no/such/file.png"}, "/no/such/file.png", id="no such image"),
        pytest.param(GENERATE, {"image": "http://127.0.0.1.nip.example /x"}, "image=", id="malformed image URL"),
        pytest.param(GENERATE, {"reference_images": "a.png"}, "a list", id="references as text"),
        pytest.param(GENERATE, {"last_frame": "https://a.example/b.png"}, "1.5", id="last frame on classic"),
        pytest.param(GENERATE, {"on_moderated": "ignore"}, "fail, skip", id="policy"),
        pytest.param(GENERATE, {"timeout": 0}, "more than 0", id="timeout"),
        pytest.param(GENERATE, {"poll_interval": -1}, "poll_interval", id="poll interval"),
        pytest.param(GENERATE, {"poll_interval": "5"}, "poll_interval", id="poll interval as text"),
        pytest.param(GENERATE, {"max_cost_usd": "cheap"}, "USD", id="limit"),
        pytest.param(GENERATE, {"destination": ""}, "rendered to nothing", id="empty destination"),
        pytest.param(GENERATE, {"destination": "/proc/nowhere/clip.mp4"}, "/proc/nowhere", id="unwritable destination"),
        pytest.param(GENERATE, {"destination": "clips/clip.gif"}, ".mp4", id="destination of another kind"),
        pytest.param(GENERATE, {"grokvideo_conn_id": "nobody_home"}, "nobody_home", id="unknown connection"),
        pytest.param(EDIT, {"video": None}, "missing video", id="no video"),
        pytest.param(EDIT, {"video": "clip.mp4"}, "current directory", id="relative path that is not there"),
        pytest.param(
            EDIT, {"video": "https://a.example/b.mp4", "model": "grok-imagine-video-1.5"}, "model=", id="model"
        ),
        pytest.param(EXTEND, {"video": "https://a.example/b.mp4", "duration": 11}, "2 to 10", id="extension too long"),
    ],
)
def test_bad_input_is_told_before_money_is_spent(ti, grokvideo_emulator, make, words, said):
    """Wrong input fails the task for good, names what is wrong, and nothing was sent."""
    with pytest.raises(GrokVideoError) as caught:
        make(**words).execute({"ti": ti})

    assert said in str(caught.value)
    assert isinstance(caught.value, AirflowFailException)
    assert [] == grokvideo_emulator.starts


def test_a_picture_called_mp4_is_told(ti, grokvideo_emulator, tmp_path: Path):
    """A PNG with the name of a video is told by its content."""
    (tmp_path / "clip.mp4").write_bytes(PNG + bytes(100))

    with pytest.raises(GrokVideoError, match="PNG"):
        EDIT(video=str(tmp_path / "clip.mp4")).execute({"ti": ti})

    assert [] == grokvideo_emulator.starts


def test_a_video_too_large_is_told(ti, grokvideo_emulator, tmp_path: Path):
    """A 60 MB video is refused by its size, before it is read or uploaded."""
    with (tmp_path / "clip.mp4").open("wb") as file:
        file.write(b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom")
        file.truncate(60 * 1024 * 1024)

    with pytest.raises(GrokVideoError, match="50"):
        EDIT(video=str(tmp_path / "clip.mp4")).execute({"ti": ti})

    assert [] == [seen for seen in grokvideo_emulator.requests if seen.method == "POST"]


def test_a_file_as_destination_folder_is_told(ti, grokvideo_emulator, tmp_path: Path):
    """A destination below something that is a file is refused before the submit."""
    (tmp_path / "taken").write_text("x")

    with pytest.raises(GrokVideoError, match="taken"):
        GENERATE(destination=str(tmp_path / "taken" / "clip.mp4")).execute({"ti": ti})

    assert [] == grokvideo_emulator.starts
