"""What a request carries, checked before money is spent."""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess
import sys

import pytest
from delivery_kit import WITHOUT_AV, make_video

from airflow_provider_grokvideo.core.errors import DeliveryFailed, InvalidInput
from airflow_provider_grokvideo.media.inputs import (
    AUDIO,
    EDIT_VIDEO,
    EXTEND_VIDEO,
    IMAGE,
    MIB,
    Limits,
    check_given,
    classify,
    inline_bytes,
    load,
    to_reference,
)


def data_uri(path, mime):
    """Return a file as a data: URI."""
    return f"data:{mime};base64,{base64.b64encode(path.read_bytes()).decode()}"


@pytest.mark.parametrize(
    ("value", "source"),
    [
        ("https://example.com/a.png", "url"),
        ("HTTP://example.com/a.png", "url"),
        ("data:image/png;base64,AAAA", "data"),
        ("file_abc123", "file_id"),
        ("file-abc123", "file_id"),
        ("s3://bucket/a.png", "path"),
        ("gs://bucket/a.png", "path"),
        ("file:///a.png", "path"),
        ("/data/a.png", "path"),
        ("rel/a.png", "path"),
        ("file_names/a.png", "path"),
    ],
)
def test_a_string_says_what_it_is(value, source):
    """A link, data, a file id, or else a path."""

    assert source == classify(value)


@pytest.mark.parametrize(
    ("name", "want", "limits", "mime"),
    [
        ("png", "image", IMAGE, "image/png"),
        ("jpeg", "image", IMAGE, "image/jpeg"),
        ("webp", "image", IMAGE, "image/webp"),
        ("clip", "video", EDIT_VIDEO, "video/mp4"),
        ("hevc", "video", EDIT_VIDEO, "video/mp4"),
        ("clip", "video", EXTEND_VIDEO, "video/mp4"),
        ("wav", "audio", AUDIO, "audio/wav"),
        ("mp3", "audio", AUDIO, "audio/mpeg"),
        ("m4a", "audio", AUDIO, "audio/mp4"),
    ],
)
def test_a_good_file_is_loaded(media, name, want, limits, mime):
    """Type, length and hash are those of the content; a local file is used where it is."""
    path = getattr(media, name)
    with load(path, field=want, want=want, limits=limits) as loaded:
        assert (mime, path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest(), path, path.name) == (
            loaded.mime,
            loaded.bytes,
            loaded.sha256,
            loaded.local,
            loaded.name,
        )


@pytest.mark.parametrize(
    ("name", "want", "limits", "says"),
    [
        ("clip", "image", IMAGE, "a JPEG, PNG or WebP image, .* an MP4 video"),
        ("gif", "image", IMAGE, "a GIF image"),
        ("png", "video", EDIT_VIDEO, "an MP4 video, .* a PNG image"),
        ("quicktime", "video", EDIT_VIDEO, "a QuickTime video"),
        ("webm", "video", EDIT_VIDEO, "a WebM or Matroska video"),
        ("m4a", "video", EDIT_VIDEO, "sound only"),
        ("mpeg4", "video", EDIT_VIDEO, "H.264, H.265 or AV1, .* mpeg4"),
        ("vp9", "video", EDIT_VIDEO, "H.264, H.265 or AV1, .* vp9"),
        ("long", "video", EDIT_VIDEO, r"at most 8\.7 s, .* 16\.\d\d s"),
        ("long", "video", EXTEND_VIDEO, r"at most 15 s, .* 16\.\d\d s"),
        ("short", "video", EXTEND_VIDEO, r"at least 2 s, .* 1\.\d\d s"),
        ("clip", "audio", AUDIO, "an audio file, .* an MP4 video"),
        ("wav", "audio", Limits(MIB, (None, 2.0)), "at most 2 s, .* 3.00 s"),
    ],
)
def test_a_wrong_file_is_refused_with_its_field(media, name, want, limits, says):
    """The message names the argument, the value and what is allowed."""
    with (
        pytest.raises(InvalidInput, match=says) as error,
        load(str(getattr(media, name)), field="the_field", want=want, limits=limits),
    ):
        pass

    assert "the_field" == error.value.field
    assert "Nothing was sent or billed" in str(error.value)


def test_a_large_file_is_refused_without_being_read(tmp_path, media):
    """A file over the limit is refused by its size: 60 MB, of which only the beginning exists."""
    large = tmp_path / "large.mp4"
    large.write_bytes(media.clip.read_bytes())
    os.truncate(large, 60_000_000)
    with (
        pytest.raises(InvalidInput, match=r"at most 50\.0 MiB, .* 57\.2 MiB"),
        load(large, field="video", want="video", limits=EDIT_VIDEO),
    ):
        pass


@pytest.mark.parametrize("name", ["clip", "png", "jpeg"])
def test_a_cut_file_is_refused(tmp_path, media, name):
    """A file that is not whole would be paid for and fail."""
    cut = tmp_path / "cut"
    cut.write_bytes(getattr(media, name).read_bytes()[:-100])
    want, limits = ("video", EDIT_VIDEO) if name == "clip" else ("image", IMAGE)
    with (
        pytest.raises(InvalidInput, match="a complete file, but it is cut off"),
        load(cut, field="x", want=want, limits=limits),
    ):
        pass


def test_a_missing_relative_path_says_where_it_was_looked_for(tmp_path, monkeypatch):
    """The absolute path and what relative paths start from are in the message."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidInput) as error, load("in/a.png", field="image", want="image", limits=IMAGE):
        pass

    assert f"{tmp_path}/in/a.png" in str(error.value)
    assert "relative paths start at the worker's current directory" in str(error.value)


@pytest.mark.parametrize(("kind", "says"), [("directory", "a directory"), ("empty", "is empty"), ("pipe", "regular")])
def test_what_is_no_file_is_refused(tmp_path, kind, says):
    """Directories, empty files and pipes are named; a pipe is not waited for."""
    path = tmp_path / "x.png"
    {"directory": path.mkdir, "empty": path.touch, "pipe": lambda: os.mkfifo(path)}[kind]()
    with pytest.raises(InvalidInput, match=says), load(path, field="image", want="image", limits=IMAGE):
        pass


@pytest.mark.parametrize("name", ["png", "clip"])
def test_a_file_is_loaded_from_a_bucket(s3, media, name):
    """An object is copied to this machine for the time of its use."""
    path = getattr(media, name)
    want, limits = ("video", EDIT_VIDEO) if name == "clip" else ("image", IMAGE)
    s3.fs.put_file(str(path), "bucket/in/a #1.bin")
    with load("s3://bucket/in/a #1.bin", field="x", want=want, limits=limits) as loaded:
        local = loaded.local

        assert ("a #1.bin", path.read_bytes()) == (loaded.name, local.read_bytes())
    assert not local.exists()


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("s3://bucket/none.png", "an existing object"),
        ("s3://no-such-bucket/none.png", "an existing object"),
        ("s3://bucket/in", "this is a directory"),
        ("s3://bucket/in/large.png", "at most 10.0 MiB"),
        ("s3://bucket/in/clip.png", "an MP4 video"),
        ("gs://bucket/a.png", "install apache-airflow-providers-google"),
    ],
)
def test_a_wrong_object_is_refused(s3, media, url, says):
    """What is in the way is said before anything large is copied."""
    s3.fs.pipe_file("bucket/in/large.png", media.png.read_bytes() + bytes(11 * MIB))
    s3.fs.put_file(str(media.clip), "bucket/in/clip.png")
    with pytest.raises(InvalidInput, match=says), load(url, field="image", want="image", limits=IMAGE):
        pass


def test_storage_that_does_not_answer_may_answer_later(dead_s3):
    """An unreachable storage is no input error, and nothing was bought."""
    with (
        pytest.raises(DeliveryFailed, match="Nothing was sent or billed"),
        load(f"{dead_s3}/a.png", field="image", want="image", limits=IMAGE),
    ):
        pass


def test_a_small_file_becomes_part_of_the_request(media):
    """What fits is inlined, exactly as long as announced."""
    with load(media.png, field="image", want="image", limits=IMAGE) as loaded:
        reference = to_reference(loaded, room_bytes=inline_bytes(loaded), upload=None)

    assert {"url": data_uri(media.png, "image/png")} == reference
    assert inline_bytes(loaded) == len(reference["url"])


def test_a_large_file_is_uploaded(media):
    """What does not fit goes to the caller's upload with its name and type."""
    seen = []

    def upload(path, name, mime):
        seen.append((path.read_bytes(), name, mime))
        return "file_1"

    with load(media.clip, field="video", want="video", limits=EDIT_VIDEO) as loaded:
        reference = to_reference(loaded, room_bytes=inline_bytes(loaded) - 1, upload=upload)

    assert {"file_id": "file_1"} == reference
    assert [(media.clip.read_bytes(), "clip.mp4", "video/mp4")] == seen


def test_a_sound_that_does_not_fit_is_refused(media):
    """Sounds take no file ids, so there is no other way for a large one."""
    with (
        load(media.wav, field="reference_audios", want="audio", limits=AUDIO) as loaded,
        pytest.raises(InvalidInput, match="fits into the request"),
    ):
        to_reference(loaded, room_bytes=100, upload=lambda *_: "file_1")


@pytest.mark.parametrize("value", ["https://example.com/a.png?sig=1", "http://example.com/a.png", "file_abc"])
def test_links_and_ids_pass_after_a_look(value):
    """What the service is to fetch is not fetched here."""
    check_given(value, field="image", want="image", limits=IMAGE)


@pytest.mark.parametrize(
    "value",
    [
        "http://localhost/a.png",
        "https://127.0.0.1:8080/a.png",
        "https://10.0.0.5/a.png",
        "https://[::1]/a.png",
        "https://169.254.169.254/a.png",
        "https://nas.local/a.png",
    ],
)
def test_links_into_this_network_are_refused(value):
    """The service cannot reach them; against a local API it can."""
    with pytest.raises(InvalidInput, match="reach from the internet"):
        check_given(value, field="image", want="image", limits=IMAGE)
    check_given(value, field="image", want="image", limits=IMAGE, allow_loopback=True)


@pytest.mark.parametrize("value", ["https://", "https://u:pw@example.com/a", "https://example.com/a b"])
def test_broken_links_are_refused(value):
    """No host, user names and blanks are refused, without repeating a password."""
    with pytest.raises(InvalidInput) as error:
        check_given(value, field="image", want="image", limits=IMAGE, allow_loopback=True)

    assert "pw" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "mime", "want", "limits"),
    [
        ("png", "image/png", "image", IMAGE),
        ("jpeg", "image/jpg", "image", IMAGE),
        ("clip", "video/mp4", "video", EDIT_VIDEO),
        ("mp3", "audio/mp3", "audio", AUDIO),
    ],
)
def test_good_data_passes(media, name, mime, want, limits):
    """Data that is what it says passes."""
    check_given(data_uri(getattr(media, name), mime), field="x", want=want, limits=limits)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        pytest.param(lambda media: "data:image/png,abc", "of the form", id="not-base64"),
        pytest.param(lambda media: "data:image/png;base64,a*b=", "valid base64", id="bad-base64"),
        pytest.param(lambda media: "data:image/png;base64,", "is empty", id="empty"),
        pytest.param(lambda media: data_uri(media.gif, "image/gif"), "JPEG, PNG or WebP", id="type"),
        pytest.param(lambda media: data_uri(media.clip, "video/mp4"), "JPEG, PNG or WebP", id="video"),
        pytest.param(lambda media: data_uri(media.clip, "image/png"), "an MP4 video", id="disguised"),
        pytest.param(lambda media: data_uri(media.jpeg, "image/png"), "image/jpeg", id="wrong-type"),
        pytest.param(lambda media: "data:image/png;base64," + "A" * 15_000_000, "at most", id="large"),
    ],
)
def test_bad_data_is_refused(media, make, says):
    """Data of another kind, damaged or too large is refused; the message does not repeat it."""
    with pytest.raises(InvalidInput, match=says) as error:
        check_given(make(media), field="image", want="image", limits=IMAGE)

    assert len(str(error.value)) < 400


def test_data_is_measured_like_a_file(media):
    """The limits on length hold for data, too."""
    with pytest.raises(InvalidInput, match=r"at most 8\.7 s"):
        check_given(data_uri(media.long, "video/mp4"), field="video", want="video", limits=EDIT_VIDEO)


def test_the_longest_clip_an_edit_takes_is_taken(tmp_path):
    """A clip of 8.7 s passes although its container says a frame more."""
    clip = make_video(tmp_path / "edge.mp4", seconds=8.7, fps=20)
    with load(clip, field="video", want="video", limits=EDIT_VIDEO) as loaded:
        assert 8.7 == pytest.approx(loaded.duration, abs=0.05)


def test_without_pyav_a_length_nobody_can_read_is_left_to_the_service(media):
    """An MP3 passes with a warning; what boxes and headers tell is still checked."""
    code = """
import logging, sys
from airflow_provider_grokvideo.media.inputs import AUDIO, EDIT_VIDEO, load
logging.basicConfig(level=logging.WARNING)
with load(sys.argv[1], field="reference_audios", want="audio", limits=AUDIO) as loaded:
    print(loaded.mime, loaded.duration)
with load(sys.argv[2], field="video", want="video", limits=EDIT_VIDEO) as loaded:
    pass
"""
    run = subprocess.run(
        [sys.executable, "-c", WITHOUT_AV + code, str(media.mp3), str(media.long)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert "audio/mpeg None\n" == run.stdout
    assert "its length cannot be read here" in run.stderr
    assert "at most 8.7 s, but it has 16.0" in run.stderr
