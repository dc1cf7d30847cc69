"""Where a video goes, and whether one may write there."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from airflow_provider_grokvideo.core.errors import DeliveryFailed, InvalidInput
from airflow_provider_grokvideo.storage.destination import check_writable, local_path, target


@pytest.mark.parametrize(
    ("destination", "uri"),
    [
        ("/data/a.mp4", "file:///data/a.mp4"),
        ("/data/a.MP4", "file:///data/a.MP4"),
        ("/data/", "file:///data/request.mp4"),
        ("/data", "file:///data/request.mp4"),
        ("/", "file:///request.mp4"),
        (Path("/data/a.mp4"), "file:///data/a.mp4"),
        ("  /data/a.mp4\t", "file:///data/a.mp4"),
        ("/data/a b%20#c?d é🎬.mp4", "file:///data/a b%20#c?d é🎬.mp4"),
        ("/data/clip.mov/", "file:///data/clip.mov/request.mp4"),
        ("/data/2026.01", "file:///data/2026.01/request.mp4"),
        (
            "/data/scheduled__2026-01-01T00:00:00.123+00:00",
            "file:///data/scheduled__2026-01-01T00:00:00.123+00:00/request.mp4",
        ),
        ("file:///data/a b.mp4", "file:///data/a b.mp4"),
        ("file://localhost/data/a.mp4", "file:///data/a.mp4"),
        ("file://conn@/data/", "file:///data/request.mp4"),
        ("s3://bucket", "s3://bucket/request.mp4"),
        ("s3://bucket/", "s3://bucket/request.mp4"),
        ("s3://bucket/a/b.mp4", "s3://bucket/a/b.mp4"),
        ("s3://conn@bucket/a/", "s3://conn@bucket/a/request.mp4"),
        ("S3://bucket/a?b#c.mp4", "s3://bucket/a?b#c.mp4"),
        ("s3://bucket.mp4/a", "s3://bucket.mp4/a/request.mp4"),
        ("gs://bucket/x y/", "gs://bucket/x y/request.mp4"),
        ("abfs://conn@container/a.mp4", "abfs://conn@container/a.mp4"),
    ],
    ids=str,
)
def test_a_destination_is_a_file_or_a_directory(destination, uri):
    """A name ending in .mp4 is the file; anything without a suffix is a directory for it."""
    found = target(destination, default_name="request")

    assert uri == found.uri
    assert f"{uri[:-4]}.json" == found.sidecar_uri


def test_relative_paths_start_at_the_current_directory(tmp_path, monkeypatch):
    """A relative destination becomes an absolute one, and ~ the home directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/somebody")

    assert f"file://{tmp_path}/out/a.mp4" == target("out/a.mp4", default_name="x").uri
    assert f"file://{tmp_path}/a.mp4" == target("a.mp4", default_name="x").uri
    assert "file:///home/somebody/v/x.mp4" == target("~/v", default_name="x").uri


@pytest.mark.parametrize(
    ("destination", "says"),
    [
        ("", "rendered to nothing"),
        ("  ", "rendered to nothing"),
        ("None", "rendered to nothing"),
        (None, "rendered to nothing"),
        ("/data/.mp4", "a file name before .mp4"),
        ("s3://bucket/.mp4", "a file name before .mp4"),
        ("/data/a.mov", "add a '/' if 'a.mov' is a directory"),
        ("s3://bucket/a.json", "a file ending in .mp4"),
        ("s3:///a.mp4", "the bucket is missing"),
        ("s3://conn@/a.mp4", "the bucket is missing"),
        ("s3:/bucket/a.mp4", "two slashes after the scheme (s3://)"),
        ("file://host/a.mp4", "file:/// with three slashes"),
        ("https://example.com/a.mp4", "not a web address"),
        ("/data/a\nb.mp4", "without line breaks"),
        ("~nobody-of-that-name/a.mp4", "exists on this worker"),
    ],
)
def test_what_is_no_destination_is_said_before_money_is_spent(destination, says):
    """The message names the argument, the value and what is allowed."""
    with pytest.raises(InvalidInput) as error:
        target(destination, default_name="x")

    assert ("destination", True) == (error.value.field, says in str(error.value))


def test_a_default_name_cannot_leave_its_directory():
    """Slashes in a name are no directories."""

    assert "file:///data/.._etc_x.mp4" == target("/data/", default_name="../etc/x").uri


@pytest.mark.parametrize(
    ("uri", "path"), [("file:///a b", Path("/a b")), ("/a", Path("/a")), ("s3://b/a", None)], ids=str
)
def test_local_uris_have_a_path(uri, path):
    """A file:// URI or a plain path is local, other URLs are not."""

    assert path == local_path(uri)


def test_a_writable_directory_is_made_and_left_empty(tmp_path):
    """The check makes missing directories and leaves nothing in them."""
    check_writable(f"{tmp_path}/a/b/c.mp4")

    assert [] == list((tmp_path / "a/b").iterdir())


def test_names_alone_are_checked_without_a_write(tmp_path):
    """Where the directory was checked for another video, it is not made again, and the names of this one still are."""
    (tmp_path / "a.json").write_text("[]")
    with pytest.raises(InvalidInput, match=r"a\.json"):
        check_writable(tmp_path / "a.mp4", only_names=True)
    with pytest.raises(InvalidInput, match="can write to"):
        check_writable(tmp_path / "gone" / "a.mp4", only_names=True)

    assert not (tmp_path / "gone").exists()


def test_a_file_in_the_way_is_named(tmp_path):
    """A directory that cannot be made, because its parent is a file, is an input error."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InvalidInput, match="can write to"):
        check_writable(f"{tmp_path}/file/sub/")


def test_a_directory_in_the_way_is_named(tmp_path):
    """A directory that has the video's name is an input error."""
    (tmp_path / "a.mp4").mkdir()
    with pytest.raises(InvalidInput, match=r"a\.mp4"):
        check_writable(tmp_path / "a.mp4")


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a directory that not even root can write to")
def test_an_unwritable_directory_is_named():
    """Where nothing can be written is an input error that says nothing was bought."""
    with pytest.raises(InvalidInput, match="Nothing was sent or billed"):
        check_writable("/proc/self/clip.mp4")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_forbidden_directory_is_named(tmp_path):
    """A directory without write permission is an input error."""
    tmp_path.chmod(0o500)
    with pytest.raises(InvalidInput, match="Permission denied"):
        check_writable(tmp_path / "a.mp4")


@pytest.mark.parametrize(
    ("destination", "says"),
    [
        ("abfs://container/a.mp4", "install apache-airflow-providers-microsoft-azure"),
        ("gs://bucket/a.mp4", "install apache-airflow-providers-google"),
        ("teleport://x/a.mp4", "no installed provider supports this storage"),
    ],
)
def test_missing_storage_names_its_package(destination, says):
    """A scheme without an installed provider is an input error that names the package to install."""
    with pytest.raises(InvalidInput, match=says):
        check_writable(destination)


def test_a_bucket_can_be_written_to(s3):
    """The check leaves nothing in the bucket."""
    check_writable(f"{s3.url}/a/b.mp4")

    assert [] == s3.names()


def test_a_missing_bucket_is_named(s3):
    """A bucket that does not exist is an input error, and is not made."""
    with pytest.raises(InvalidInput, match="bucket does not exist"):
        check_writable("s3://no-such-bucket/a.mp4")


def test_storage_that_does_not_answer_may_answer_later(dead_s3):
    """An unreachable storage is no input error, and nothing was bought."""
    with pytest.raises(DeliveryFailed, match="Nothing was sent or billed"):
        check_writable(f"{dead_s3}/a/b.mp4")


@pytest.mark.parametrize("destination", ["o/\ud83d.mp4", "\ud83d/", "s3://b/\ud83d.mp4"])
def test_half_an_emoji_is_no_name(destination):
    """A path that cannot be encoded is an input error."""
    with pytest.raises(InvalidInput):
        check_writable(destination)


@pytest.mark.parametrize("name", ["a.mp4", "a.json", "a.poster.jpg", ".a.mp4.claim"])
@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo], ids=["directory", "pipe"])
def test_each_name_that_is_written_is_free_or_a_file(tmp_path, name, make):
    """A pipe would be read for ever, and a directory cannot be replaced: both are found before the purchase."""
    make(tmp_path / name)
    with pytest.raises(InvalidInput) as caught:
        check_writable(tmp_path / "a.mp4")

    assert "destination" == caught.value.field


@pytest.mark.parametrize(
    "record",
    [
        {"owner": "me", "sha256": "0"},
        {"owner": {"name": "me"}, "sha256": "0", "uri": "x"},
        {"owner": {"dag_id": "d", "run_id": "r", "task_id": "t"}, "request_id": "r"},
    ],
)
def test_a_record_of_somebody_else_is_not_replaced(tmp_path, record):
    """A JSON file of the user's that has some of our keys is not written over."""
    (tmp_path / "a.json").write_text(json.dumps(record))
    with pytest.raises(InvalidInput):
        check_writable(tmp_path / "a.mp4")


def test_a_large_file_is_not_read_whole(tmp_path):
    """Of what has the sidecar's name no more is read than a sidecar has."""
    (tmp_path / "a.json").touch()
    os.truncate(tmp_path / "a.json", 8 << 30)
    with pytest.raises(InvalidInput):
        check_writable(tmp_path / "a.mp4")


@pytest.mark.parametrize("text", ["data:x/a.mp4", "DATA:video/mp4;base64,AAAA/a.mp4"])
def test_a_data_uri_is_no_path(text):
    """What is data is no place to write to."""
    with pytest.raises(InvalidInput):
        target(text, default_name="v")
