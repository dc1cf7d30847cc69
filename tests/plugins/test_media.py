"""Bytes of delivered videos from every storage: the part that is asked for, and nothing that is not ours."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from fastapi import HTTPException
from starlette.requests import Request

from airflow_provider_grokvideo.core.cards import Card
from airflow_provider_grokvideo.media import poster as posters
from airflow_provider_grokvideo.plugins import media

VIDEO = b"\0\0\0\x18ftypisom\0\0\2\0isomiso2" + bytes(range(256)) * 20_000
SIDECAR = {
    "schema": 1,
    "request_id": "r-1",
    "owner": {"dag_id": "films", "run_id": "run", "task_id": "make", "map_index": -1},
    "uri": "s3://team@bucket/films/a.mp4",
    "prompt": "A ball",
    "request": {"video": {"uri": "s3://team@bucket/films/b.mp4"}, "reference_images": [{"path": "s3://bucket/c.png"}]},
}


class User:
    """Somebody who may see some DAGs."""

    def __init__(self, *dags: str) -> None:
        self.dags = dags

    async def may_see(self, dag_id: str) -> bool:
        """Say so."""
        return dag_id in self.dags


def card(uri: str, request_id: str = "r-1") -> Card:
    """Return the card of a delivered video."""
    return Card(outcome="delivered", at=1.0, request_id=request_id, manifest={"uri": uri})


def asking(method: str = "GET", **headers: str) -> Request:
    """Return a browser's request."""
    told = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": method, "headers": told})


async def body(found: media.Found, request: Request) -> bytes:
    """Return the bytes of an answer."""
    answer = media.respond(found, request)
    return b"".join([chunk async for chunk in answer.body_iterator])


@pytest.fixture(params=["local", "s3", "memory"])
def delivered(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return where a video and its sidecar are, once in each kind of storage."""
    if request.param == "local":
        (tmp_path / "a.mp4").write_bytes(VIDEO)
        (tmp_path / "a.json").write_text(json.dumps(SIDECAR))
        return (tmp_path / "a.mp4").as_uri()
    bucket = request.getfixturevalue(request.param)
    bucket.fs.pipe_file(f"{bucket.root}/films/a.mp4", VIDEO)
    bucket.fs.pipe_file(f"{bucket.root}/films/a.json", json.dumps(SIDECAR).encode())
    return f"{bucket.url}/films/a.mp4"


async def test_a_part_is_read_from_where_the_video_is(delivered):
    """Seeking works the same on a disk and in a bucket."""
    found = await media.video(media.MediaCache(), User("films"), card(delivered))

    assert ("video/mp4", len(VIDEO)) == (found.mime, found.size)
    assert VIDEO[2_000_000:2_000_100] == await body(found, asking(range="bytes=2000000-2000099"))
    assert VIDEO == await body(found, asking())


async def test_only_what_is_watched_is_fetched(s3):
    """A viewer who turns away has cost no more than the chunk that was under way."""
    s3.fs.pipe_file("bucket/a.mp4", VIDEO)
    s3.fs.pipe_file("bucket/a.json", json.dumps(SIDECAR).encode())
    found = await media.video(media.MediaCache(), User("films"), card("s3://bucket/a.mp4"))
    answer = media.respond(found, asking(range="bytes=0-"))
    chunks = answer.body_iterator
    first = await anext(chunks)
    await chunks.aclose()

    assert VIDEO[: media.CHUNK] == first
    assert (206, str(len(VIDEO))) == (answer.status_code, answer.headers["content-length"])


async def test_a_look_at_the_headers_fetches_nothing(delivered):
    """Players ask for the length first."""
    found = await media.video(media.MediaCache(), User("films"), card(delivered))
    answer = media.respond(found, asking("HEAD"))

    assert (str(len(VIDEO)), b"") == (answer.headers["content-length"], answer.body)


async def test_who_may_not_see_the_dag_of_the_sidecar_gets_nothing(delivered):
    """Whatever the card says."""
    with pytest.raises(HTTPException) as refused:
        await media.video(media.MediaCache(), User("others"), card(delivered))

    assert 403 == refused.value.status_code


async def test_a_video_that_was_replaced_is_not_shown_as_the_old_one(delivered):
    """A name such as latest.mp4 belongs to the run that wrote it last."""
    with pytest.raises(HTTPException) as refused:
        await media.video(media.MediaCache(), User("films"), card(delivered, "r-0"))

    assert (404, True) == (refused.value.status_code, "request r-1 of run run" in refused.value.detail)


@pytest.mark.parametrize(
    "uri",
    [
        "http://127.0.0.1:1/a.mp4",
        "https://example.com/a.mp4",
        "a.mp4",
        "data/a.mp4",
        "file:///",
        "s3://bucket/",
        "s3://bucket/a.mp4?versionId=1",
        "s3://bucket/a.mp4?versionId=1/2",
        "nosuch://bucket/a.mp4",
        "file://host/a.mp4",
    ],
)
async def test_an_address_that_is_no_file_of_a_storage_is_refused(uri):
    """The api-server fetches nothing from the web for anybody, and reads no relative path."""
    with pytest.raises(HTTPException) as refused:
        await media.video(media.MediaCache(), User("films"), card(uri))

    assert (404, media.NOT_HERE) == (refused.value.status_code, refused.value.detail)


async def test_a_storage_that_fails_tells_no_address(dead_s3):
    """The bucket is nobody's business here."""
    with pytest.raises(HTTPException) as failed:
        await media.video(media.MediaCache(), User("films"), card(f"{dead_s3}/films/a.mp4"))

    assert 404 == failed.value.status_code
    assert "bucket" not in failed.value.detail


@pytest.mark.parametrize(
    "beside",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"schema": 1, "request_id": "r-1"}',
        b'{"schema": 1, "owner": {"dag_id": 7}}',
        b"x" * 2_000_000,
    ],
    ids=["empty", "cut", "list", "object", "no owner", "no name", "huge"],
)
async def test_a_json_file_that_is_no_sidecar_proves_nothing(tmp_path, beside):
    """Such as a key file that happens to lie beside a video."""
    (tmp_path / "a.mp4").write_bytes(VIDEO)
    (tmp_path / "a.json").write_bytes(beside)
    with pytest.raises(HTTPException) as refused:
        await media.video(media.MediaCache(), User("films"), card((tmp_path / "a.mp4").as_uri()))

    assert 404 == refused.value.status_code


@pytest.mark.parametrize("what", ["text", "directory", "pipe", "nothing", "no sidecar"])
async def test_all_that_is_no_video_of_ours_has_one_answer(tmp_path, what):
    """Others would tell whoever may edit a card what else there is on the API server; and a pipe holds nobody."""
    path = tmp_path / "a.mp4"
    makes = {"text": lambda: path.write_text("secret"), "directory": path.mkdir, "pipe": lambda: os.mkfifo(path)}
    makes.get(what, lambda: None)()
    if what == "no sidecar":
        path.write_bytes(VIDEO)
    with pytest.raises(HTTPException) as refused:
        await media.video(media.MediaCache(), User("films"), card(path.as_uri()))

    assert (404, media.NOT_HERE) == (refused.value.status_code, refused.value.detail)


async def test_a_player_that_asks_often_is_answered_from_what_is_known(tmp_path):
    """The sidecar is not read again for each part of one video, and a new one is seen after half a minute."""
    (tmp_path / "a.mp4").write_bytes(VIDEO)
    (tmp_path / "a.json").write_text(json.dumps(SIDECAR))
    shelf = media.MediaCache()
    uri = (tmp_path / "a.mp4").as_uri()
    first = await media.video(shelf, User("films"), card(uri))
    (tmp_path / "a.json").unlink()

    assert first is await media.video(shelf, User("films"), card(uri))


@pytest.mark.parametrize(("of", "expected"), [("r-1", 200), ("r-2", 404), (None, 404)])
async def test_only_the_poster_of_the_video_is_its_poster(tmp_path, of, expected):
    """Not that of a video that was there before, and not a picture of the user's own."""
    picture = b"\xff\xd8\xff\xd9" + b"\0" * 100
    (tmp_path / "a.mp4").write_bytes(VIDEO)
    (tmp_path / "a.json").write_text(json.dumps(SIDECAR))
    (tmp_path / "a.poster.jpg").write_bytes(posters.marked(picture, of) if of else picture)
    try:
        found = await media.poster(media.MediaCache(), User("films"), card((tmp_path / "a.mp4").as_uri()))
        status = media.respond(found, asking()).status_code
    except HTTPException as refused:
        status = refused.status_code

    assert expected == status


async def test_the_sidecar_is_told_without_addresses(tmp_path):
    """Of a place in the storage only the file's name."""
    (tmp_path / "a.mp4").write_bytes(VIDEO)
    (tmp_path / "a.json").write_text(json.dumps(SIDECAR))
    found = await media.video(media.MediaCache(), User("films"), card((tmp_path / "a.mp4").as_uri()))

    told = media.sidecar(found)

    assert ("a.mp4", "A ball") == (told["uri"], told["prompt"])
    assert {"video": {"uri": "b.mp4"}, "reference_images": [{"path": "c.png"}]} == told["request"]


@pytest.mark.parametrize("name", ['a"b.mp4', "ä.mp4", "a\\b.mp4", "a%0d%0ab.mp4"])
async def test_a_download_has_its_name_whatever_the_name_is(tmp_path, name):
    """Quotes and letters of all languages break no header."""
    (tmp_path / name).write_bytes(VIDEO)
    (tmp_path / f"{name[:-4]}.json").write_text(json.dumps(SIDECAR))
    found = await media.video(media.MediaCache(), User("films"), card(f"file://{tmp_path}/{name}"))
    told = media.respond(found, asking(), attachment=True).headers["content-disposition"]

    assert told.isascii()
    assert told.count('"') == 2
