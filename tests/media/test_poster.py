"""The picture beside a delivered video."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import pytest
from delivery_kit import WITHOUT_AV, body
from PIL import Image

from airflow_provider_grokvideo.core.errors import DeliveryFailed
from airflow_provider_grokvideo.core.purchases.records import Owner
from airflow_provider_grokvideo.core.requests import TextToVideo
from airflow_provider_grokvideo.delivery import uploads
from airflow_provider_grokvideo.delivery.deliver import Expectation, deliver
from airflow_provider_grokvideo.delivery.store import earlier_poster, still_there, store
from airflow_provider_grokvideo.emulator.recipe import Recipe
from airflow_provider_grokvideo.emulator.render import render
from airflow_provider_grokvideo.execution.handover import described, redeliver
from airflow_provider_grokvideo.media import poster
from airflow_provider_grokvideo.storage.destination import local_path, target

ME = {"dag_id": "d", "run_id": "r1", "task_id": "t", "map_index": 0}
NEIGHBOUR = {**ME, "map_index": 1}
LATER = {**ME, "run_id": "r2"}
MINE = described(TextToVideo(prompt="A lighthouse"))
BLACK, RED, BLUE = (16, 128, 128), (81, 90, 240), (41, 240, 110)
"""Y, Cb, Cr of BT.601."""


@pytest.fixture(scope="session")
def film(tmp_path_factory):
    """Return a clip as the service makes them: two seconds of 720p with sound."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    recipe = Recipe("text-to-video", "A lighthouse on a cliff", "grok-imagine-video", 1280, 720, 48)
    path.write_bytes(render(recipe))
    return path


@pytest.fixture
def video(tmp_path):
    """Return a function that makes a clip of plain pictures, one colour a frame, 10 frames a second."""

    def make(*colours, size=(320, 180), left=None, **stream):
        path = tmp_path / "plain.mp4"
        with av.open(str(path), "w") as container:
            picture = container.add_stream("libx264", rate=10)
            picture.width, picture.height = size
            picture.pix_fmt = "yuv420p"
            if "rotation" in stream:
                picture.set_display_rotation(stream["rotation"])
            if "aspect" in stream:
                picture.codec_context.sample_aspect_ratio = stream["aspect"]
            for number, colour in enumerate(colours):
                frame = av.VideoFrame(*size, "yuv420p")
                for plane, value, at_left in zip(frame.planes, colour, left or colour, strict=True):
                    half = plane.width // 2
                    row = bytes([at_left]) * half + bytes([value]) * (plane.line_size - half)
                    plane.update(row * plane.height)
                frame.pts, frame.time_base = number, Fraction(1, 10)
                container.mux(picture.encode(frame))
            container.mux(picture.encode())
        return path

    return make


@pytest.fixture(params=["local", "s3", "memory"])
def storage(request, tmp_path):
    """Return a destination directory of each kind of storage, and a function that lists what is in it."""
    if request.param == "local":
        folder = tmp_path / "out"
        return f"{folder}/", lambda: {path.name: path.read_bytes() for path in folder.iterdir()}
    bucket = request.getfixturevalue(request.param)
    return f"{bucket.url}/out/", lambda: {name.rpartition("/")[2]: bucket.read(name) for name in bucket.names()}


@pytest.fixture
def clip(tmp_path):
    """Return a local file to store."""
    file = tmp_path / "temporary"
    file.write_bytes(os.urandom(1000))
    return file


@pytest.fixture
def picture(film):
    """Return a poster that belongs to nobody yet."""
    return poster.make(film)


def put(clip, destination, picture, request_id="q1", owner=ME):
    """Store a clip with a poster for a task instance; return where it is."""
    to = target(f"{destination}latest.mp4", default_name="x")
    return store(clip, to, sidecar={"request_id": request_id}, owner=owner, poster=picture)


def bring(source):
    """Return what `deliver` fetches the video with."""
    from airflow_provider_grokvideo.delivery.download import Fetched

    def copy(into: Path) -> Fetched:
        data = source.read_bytes()
        into.write_bytes(data)
        return Fetched(hashlib.sha256(data).hexdigest(), len(data), content_type=None)

    return copy


def hand_in(source, destination, request_id="q1", **words):
    """Deliver a local clip to a destination."""
    return deliver(
        link="",
        fresh_link=lambda: None,
        bring=bring(source),
        destination=destination,
        request_id=request_id,
        expected=Expectation(),
        manifest={"request_id": request_id, "poster_uri": None},
        request={},
        owner=ME,
        allow_loopback=False,
        **words,
    )


def opened(jpeg):
    """Return a decoded picture."""
    image = Image.open(io.BytesIO(jpeg))
    image.load()
    return image


def colour_of(jpeg, x=0.5, y=0.5):
    """Return which of red, blue and black a picture is at a place."""
    image = opened(jpeg).convert("RGB")
    red, _, blue = image.getpixel((int(x * image.width), int(y * image.height)))
    return "red" if red > 150 else "blue" if blue > 150 else "black"


def test_a_delivered_video_has_a_poster_beside_it(film, storage):
    """Result and sidecar name it; it is a JPEG of the video's size, and nothing else is left."""
    destination, files = storage
    delivered = hand_in(film, destination)
    there = files()

    assert {"q1.mp4", "q1.json", "q1.poster.jpg"} == there.keys()
    assert delivered.uri.replace(".mp4", ".poster.jpg") == delivered.poster_uri
    assert delivered.poster_uri == json.loads(there["q1.json"])["poster_uri"]
    assert ("JPEG", (1280, 720)) == (opened(there["q1.poster.jpg"]).format, opened(there["q1.poster.jpg"]).size)


def test_the_poster_shows_the_video(film):
    """It is the first frame, give or take what a JPEG loses."""
    from PIL import ImageChops, ImageStat

    with av.open(str(film)) as container:
        first = next(container.decode(video=0)).to_image()
    lost = ImageStat.Stat(ImageChops.difference(opened(poster.make(film)).convert("L"), first.convert("L")))

    assert [0] == [round(mean / 10) for mean in lost.mean]


def test_a_poster_of_720p_is_small(picture):
    """A gallery of dozens loads at once."""

    assert 20_000 < len(picture) <= poster.LARGEST


@pytest.mark.parametrize(
    ("frames", "shown"),
    [
        pytest.param([RED, BLUE], "red", id="first"),
        pytest.param([BLACK, BLACK, BLUE, RED], "blue", id="first that is not black"),
        pytest.param([BLACK] * 12 + [RED], "black", id="black for longer than a second"),
        pytest.param([BLACK], "black", id="nothing else"),
    ],
)
def test_a_black_beginning_is_passed_over(video, frames, shown):
    """The first frame of the first second that is not nearly black is shown, or else the first."""

    assert shown == colour_of(poster.make(video(*frames)))


@pytest.mark.parametrize(
    ("size", "fits"),
    [
        ((320, 180), (320, 180)),
        ((1920, 1080), (1280, 720)),
        ((1080, 1920), (720, 1280)),
        ((854, 480), (854, 480)),
        ((1440, 1438), (1280, 1278)),
        ((2000, 20), (1280, 12)),
    ],
    ids=str,
)
def test_a_poster_fits_the_page(video, size, fits):
    """Its longer side has 1280 pixels at most, both are even, and its shape is the video's."""

    assert fits == opened(poster.make(video(RED, size=size))).size


def test_pixels_that_are_not_square_are_heeded(video):
    """A picture stored narrower than it is shown is as wide as it is shown."""

    assert (640, 180) == opened(poster.make(video(RED, aspect=Fraction(2)))).size


@pytest.mark.parametrize(
    ("rotation", "size", "red_at"),
    [
        pytest.param(90, (180, 320), (0.5, 0.75), id="to the left"),
        pytest.param(-90, (180, 320), (0.5, 0.25), id="to the right"),
        pytest.param(180, (320, 180), (0.75, 0.5), id="upside down"),
    ],
)
def test_a_video_that_lies_on_its_side_is_turned(video, rotation, size, red_at):
    """What a player turns is turned in the poster."""
    jpeg = poster.make(video(BLUE, left=RED, rotation=rotation))

    assert size == opened(jpeg).size
    assert "red" == colour_of(jpeg, *red_at)


def test_the_colours_are_those_of_a_browser(video):
    """A picture without a word about its colours is of BT.709 from 720 lines on, and the poster is of BT.601."""
    small, large = (opened(poster.make(video(RED, size=size))) for size in ((640, 480), (1280, 720)))

    assert (254, 0, 0) == pytest.approx(small.convert("RGB").getpixel((9, 9)), abs=4)
    assert (255, 24, 0) == pytest.approx(large.convert("RGB").getpixel((9, 9)), abs=4)


@pytest.mark.parametrize("content", [b"", b"no video", b"\0" * 5000], ids=["empty", "text", "zeros"])
def test_what_shows_nothing_gets_no_poster(tmp_path, caplog, content):
    """It is said in one line of the log and raised by nobody."""
    file = tmp_path / "file.mp4"
    file.write_bytes(content)
    with caplog.at_level(logging.INFO):
        made = poster.make(file)

    assert made is None
    assert ["The video gets no poster"] == [record.getMessage().partition(":")[0] for record in caplog.records]


def test_a_video_elsewhere_is_read_as_far_as_its_first_picture(film):
    """The rest of an open file is not read for a poster, wherever the index is."""
    large = io.BytesIO(film.read_bytes() + (50_000_000).to_bytes(4, "big") + b"free" + bytes(50_000_000 - 8))
    read = []

    class Counting(io.BufferedIOBase):
        def read(self, size=-1):
            data = large.read(size)
            read.append(len(data))
            return data

        def seek(self, offset, whence=0):
            return large.seek(offset, whence)

        def tell(self):
            return large.tell()

    large.seek(0, os.SEEK_END)
    made = poster.make(Counting())

    assert poster.make(film) == made
    assert sum(read) < film.stat().st_size


def test_a_video_whose_picture_is_far_away_gets_none(tmp_path, caplog, video, monkeypatch):
    """What is read of a file elsewhere is bounded."""
    monkeypatch.setattr(poster, "MOST_READ", 1000)
    with caplog.at_level(logging.INFO), video(RED, RED).open("rb") as file:
        made = poster.make(file)

    assert made is None
    assert "not within the 1000 bytes" in caplog.text


def test_without_pyav_there_is_no_poster(film, tmp_path):
    """The delivery is as ever, and nobody is told off."""
    code = f"""{WITHOUT_AV}
import logging, pathlib, shutil
logging.basicConfig(level=logging.INFO)
from airflow_provider_grokvideo.delivery.deliver import Expectation, deliver
from airflow_provider_grokvideo.delivery.download import Fetched
def bring(into):
    shutil.copy(sys.argv[1], into)
    return Fetched("ab", into.stat().st_size, None)
made = deliver(link="", fresh_link=lambda: None, bring=bring, destination=sys.argv[2], request_id="q1",
    expected=Expectation(), manifest={{}}, request={{}}, owner={{}}, allow_loopback=False, poster_uri=None)
assert made.poster_uri is None and "av" not in sys.modules
"""
    run = subprocess.run(
        [sys.executable, "-c", code, str(film), f"{tmp_path}/out/"], capture_output=True, text=True, check=False
    )

    assert (0, False) == (run.returncode, "poster" in run.stderr), run.stderr
    assert ["q1.json", "q1.mp4"] == sorted(path.name for path in (tmp_path / "out").iterdir())
    assert json.loads((tmp_path / "out/q1.json").read_bytes())["poster_uri"] is None


def test_delivering_again_changes_nothing(film, storage):
    """The same video has the same poster, byte for byte, under the same name."""
    destination, files = storage
    first = hand_in(film, destination)
    before = files()

    assert first == hand_in(film, destination)
    assert before == files()


def test_a_video_that_is_replaced_takes_its_poster_with_it(clip, picture, video, storage):
    """Another run's poster comes with its video."""
    destination, files = storage
    put(clip, destination, picture)
    put(clip, destination, poster.make(video(RED)), "q2", LATER)

    assert {"latest.mp4", "latest.json", "latest.poster.jpg"} == files().keys()
    assert "red" == colour_of(files()["latest.poster.jpg"])


def test_a_video_that_is_replaced_by_one_without_a_poster_takes_its_own_with_it(clip, picture, storage):
    """Nobody is shown the picture of another video."""
    destination, files = storage
    put(clip, destination, picture)
    stored = put(clip, destination, None, "q2", LATER)

    assert stored.poster_uri is None
    assert {"latest.mp4", "latest.json"} == files().keys()


def test_a_poster_of_the_same_request_stays(clip, picture, storage):
    """Where the next try cannot make one, the last one's is good."""
    destination, files = storage
    first = put(clip, destination, picture)

    assert first == put(clip, destination, None)
    assert first.poster_uri == json.loads(files()["latest.json"])["poster_uri"]


def test_neighbours_have_their_own_posters(clip, picture, video, storage):
    """The poster follows its video to the name beside another task instance's."""
    destination, files = storage
    put(clip, destination, picture)
    stored = put(clip, destination, poster.make(video(RED)), "q2", NEIGHBOUR)
    there = files()

    assert stored.poster_uri.endswith("/latest-q2.poster.jpg")
    assert ("black", "red") != (colour_of(there["latest.poster.jpg"]), colour_of(there["latest-q2.poster.jpg"]))
    assert poster.marked(picture, "q1") == there["latest.poster.jpg"]


@pytest.mark.parametrize("with_poster", [True, False], ids=["poster", "none"])
@pytest.mark.parametrize("own", ["picture", "text"])
def test_a_file_of_the_users_is_left_alone(clip, picture, storage, caplog, own, with_poster):
    """What has a poster's name and is none of ours is neither replaced nor removed nor named."""
    destination, files = storage
    content = picture if own == "picture" else b"notes"
    place = target(f"{destination}latest.mp4", default_name="x").place()
    place.prepare()
    place.write("latest.poster.jpg", content)
    with caplog.at_level(logging.INFO):
        stored = put(clip, destination, poster.marked(picture, "q1") if with_poster else None)

    assert stored.poster_uri is None
    assert content == files()["latest.poster.jpg"]
    assert "is not a poster of this provider" in caplog.text


def test_a_poster_left_by_a_killed_try_is_taken_over(clip, picture, storage):
    """A crash between poster and sidecar does not keep the next try from naming it."""
    destination, files = storage
    place = target(f"{destination}latest.mp4", default_name="x").place()
    place.prepare()
    place.write("latest.poster.jpg", poster.marked(picture, "q0"))

    assert put(clip, destination, picture).poster_uri.endswith("latest.poster.jpg")
    assert poster.marked(picture, "q1") == files()["latest.poster.jpg"]


def test_a_poster_that_cannot_be_stored_costs_one_line(clip, picture, tmp_path, caplog):
    """The video and its sidecar are there, and the sidecar says that there is no poster."""
    (tmp_path / "out/latest.poster.jpg").mkdir(parents=True)
    with caplog.at_level(logging.INFO):
        stored = put(clip, f"{tmp_path}/out/", picture)

    assert stored.poster_uri is None
    assert clip.read_bytes() == (tmp_path / "out/latest.mp4").read_bytes()
    assert json.loads((tmp_path / "out/latest.json").read_bytes())["poster_uri"] is None
    assert ["WARNING"] == [record.levelname for record in caplog.records]


def test_a_storage_that_refuses_posters_gets_the_video(clip, picture, memory, caplog):
    """A rule of the bucket against pictures, say, is a warning."""
    from airflow.sdk.io import attach
    from airflow.sdk.io.store import _STORE_CACHE
    from fsspec.implementations.memory import MemoryFileSystem

    class Picky(MemoryFileSystem):
        def pipe_file(self, path, value, **words):
            if ".jpg" in path:
                raise PermissionError(13, "Permission denied")
            super().pipe_file(path, value, **words)

    memory.fs = Picky(skip_instance_cache=True)
    _STORE_CACHE.pop("memory", None)
    attach("memory", fs=memory.fs)
    stored = put(clip, f"{memory.url}/", picture)

    assert stored.poster_uri is None
    assert ["latest.json", "latest.mp4"] == sorted(memory.names())
    assert "Could not store the poster" in caplog.text


def test_a_poster_says_whose_it_is(picture):
    """A mark does not change the picture, is not set twice, and holds no address."""
    once = poster.marked(picture, "s3://bucket/.a.upload.mp4")

    assert opened(picture).tobytes() == opened(once).tobytes()
    assert once == poster.marked(once, "s3://bucket/.a.upload.mp4")
    assert b"bucket" not in once
    assert [False, True, True, False] == [
        poster.is_poster(picture),
        poster.is_poster(once),
        poster.is_poster(once[: poster.HEAD_BYTES], "s3://bucket/.a.upload.mp4"),
        poster.is_poster(once, "q1"),
    ]


def test_a_copied_video_gets_its_poster_at_the_new_place(film, storage, tmp_path):
    """Another destination, another poster; the earlier one stays with the earlier copy."""
    destination, files = storage
    first = hand_in(film, f"{tmp_path}/first/")
    made = {"request_id": "q1", "uri": first.uri, "poster_uri": first.poster_uri, "duration": first.duration}
    again = redeliver(made, MINE, destination=destination, owner=Owner(**ME))

    assert again["uri"].replace(".mp4", ".poster.jpg") == again["poster_uri"]
    assert local_path(first.poster_uri).read_bytes() == files()["q1.poster.jpg"]


def test_a_copied_video_keeps_its_poster_where_none_can_be_made(film, storage, tmp_path, monkeypatch):
    """A worker without PyAV copies what another one made."""
    destination, files = storage
    first = hand_in(film, f"{tmp_path}/first/")
    monkeypatch.setattr("airflow_provider_grokvideo.media.decoding.available", lambda: False)
    made = {"request_id": "q1", "uri": first.uri, "poster_uri": first.poster_uri, "duration": first.duration}
    again = redeliver(made, MINE, destination=destination, owner=Owner(**ME))

    assert "structure" == again["checked"]
    assert again["poster_uri"].endswith("out/q1.poster.jpg")
    assert local_path(first.poster_uri).read_bytes() == files()["q1.poster.jpg"]


@pytest.mark.parametrize("known", ["lost", "never told", "another scheme", "another request's", "no address"])
def test_a_copied_video_without_a_poster_is_copied_all_the_same(film, tmp_path, monkeypatch, known):
    """Also a video of a journal that was written before there were posters."""
    first = hand_in(film, f"{tmp_path}/first/")
    other = hand_in(film, f"{tmp_path}/first/", "q2")
    monkeypatch.setattr("airflow_provider_grokvideo.media.decoding.available", lambda: False)
    if known == "lost":
        local_path(first.poster_uri).unlink()
    told = {
        "lost": {"poster_uri": first.poster_uri},
        "never told": {},
        "another scheme": {"poster_uri": "nowhere://x/a.poster.jpg"},
        "another request's": {"poster_uri": other.poster_uri},
        "no address": {"poster_uri": "a.jpg"},
    }[known]
    made = {"request_id": "q1", "uri": first.uri, "duration": first.duration, **told}
    again = redeliver(made, MINE, destination=f"{tmp_path}/second/", owner=Owner(**ME))

    assert again["poster_uri"] is None
    assert ["q1.json", "q1.mp4"] == sorted(path.name for path in (tmp_path / "second").iterdir())


def test_a_lost_poster_does_not_make_a_video_gone(film, tmp_path):
    """What counts is the video."""
    delivered = hand_in(film, f"{tmp_path}/out/")
    local_path(delivered.poster_uri).unlink()

    assert still_there(delivered.uri, delivered.bytes)
    assert earlier_poster(delivered.poster_uri, "q1") is None


def test_a_video_whose_request_nobody_knows_is_copied_with_its_poster(film, s3, tmp_path):
    """The manifest of a start whose answer was lost has no request id, and its video can go elsewhere, too."""
    made = {"request_id": None, "uri": f"{s3.url}/films/ball.mp4", "duration": 2.0}
    s3.fs.pipe_file("bucket/films/ball.mp4", film.read_bytes())
    bought = described(TextToVideo(prompt="A ball"))
    again = redeliver(made, bought, destination=f"{tmp_path}/out/", owner=Owner(**ME))

    assert again == redeliver(made, bought, destination=f"{tmp_path}/out/", owner=Owner(**ME))
    assert (None, f"file://{tmp_path}/out/video.poster.jpg") == (again["request_id"], again["poster_uri"])


@pytest.fixture
def take_over(s3, film):
    """Return a function that takes over what the service uploaded."""

    def go(content=None, request_id="q1", destination="s3://bucket/films/ball.mp4"):
        uri = uploads.upload_uri(destination, "0123")
        s3.fs.pipe_file(uri, film.read_bytes() if content is None else content)
        return uploads.take_over(
            uri,
            destination=destination,
            request_id=request_id,
            expected=Expectation(),
            manifest={"request_id": request_id},
            request={},
            owner=ME,
        )

    return go


@pytest.mark.parametrize("request_id", ["q1", None], ids=["known", "lost"])
def test_an_uploaded_video_has_a_poster(take_over, s3, film, request_id):
    """It is made from the object in the bucket, and is the same as one made from the file."""
    delivered = take_over(request_id=request_id)

    assert "s3://bucket/films/ball.poster.jpg" == delivered.poster_uri
    assert ["films/ball.json", "films/ball.mp4", "films/ball.poster.jpg"] == [
        n for n in s3.names() if "upload" not in n
    ]
    assert delivered.poster_uri == json.loads(s3.read("films/ball.json"))["poster_uri"]
    assert opened(poster.make(film)).tobytes() == opened(s3.read("films/ball.poster.jpg")).tobytes()


def test_an_uploaded_video_that_cannot_be_decoded_is_delivered(take_over, s3, film, caplog):
    """Only its structure is checked, and a picture that FFmpeg does not read is not asked for."""
    content = bytearray(film.read_bytes())
    at = content.index(b"mdat") + 4
    content[at : len(content) - 20_000] = os.urandom(len(content) - 20_000 - at)
    with caplog.at_level(logging.INFO):
        delivered = take_over(bytes(content))

    assert ("s3://bucket/films/ball.mp4", None) == (delivered.uri, delivered.poster_uri)
    assert ["films/ball.json", "films/ball.mp4"] == [name for name in s3.names() if "upload" not in name]
    assert "The video gets no poster" in caplog.text


def test_an_upload_that_is_no_video_leaves_neither_video_nor_poster(take_over, s3):
    """What is refused is refused before a poster is made."""
    with pytest.raises(DeliveryFailed):
        take_over(b"<html>" * 100)

    assert [] == [name for name in s3.names() if not name.startswith("films/.")]


def test_a_download_ends_with_a_poster(server, film, tmp_path, pauses):
    """The whole way, from the link on."""
    server.routes["/clip.mp4"] = body(film.read_bytes())
    delivered = deliver(
        link=server.url("/clip.mp4"),
        fresh_link=lambda: None,
        destination=f"{tmp_path}/out/film.mp4",
        request_id="q1",
        expected=Expectation(duration=2),
        manifest={"request_id": "q1"},
        request={},
        owner=ME,
        allow_loopback=True,
        pause=pauses.append,
    )

    assert f"file://{tmp_path}/out/film.poster.jpg" == delivered.poster_uri
    assert poster.marked(poster.make(film), "q1") == local_path(delivered.poster_uri).read_bytes()
