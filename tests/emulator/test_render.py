"""The MP4s are real: PyAV decodes every frame, and size, length, rate and sound are those of the order."""

from __future__ import annotations

import threading

import pytest
from emulator_kit import EDITS, EXTENSIONS, MP4_URL, NEW, data_uri, frame_at, look_into, picture
from PIL import ImageStat

from airflow_provider_grokvideo.emulator.recipe import Footage, Recipe, Still, frame_size
from airflow_provider_grokvideo.emulator.render import RenderingStopped, render
from airflow_provider_grokvideo.emulator.studio import Studio

RED, GREEN, BLUE = (220, 30, 30), (30, 200, 60), (30, 60, 220)


def recipe(prompt: str = "A red ball", frames: int = 24, size: tuple[int, int] = (160, 90), **words: object) -> Recipe:
    """Return a small recipe."""
    return Recipe("text-to-video", prompt, NEW, *size, frames, **words)  # type: ignore[arg-type]


def still(role: str, colour: tuple[int, int, int], at: float = 0.0) -> Still:
    """Return a picture of one colour in a role."""
    data = picture((160, 90), colour)
    return Still(role, Footage("image", f"{role}{colour}", "test", 160, 90, data=data), at)


def colour_at(data: bytes, index: int, middle: float = 0.5) -> tuple[float, ...]:
    """Return the mean colour of the upper half of one frame, away from captions."""
    frame = frame_at(data, index)
    width, height = frame.size
    part = frame.crop((0, int(height * 0.15), width, int(height * middle)))
    return tuple(ImageStat.Stat(part).mean)


def distance(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    """Return how far two colours are apart: 0 to 255."""
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize(
    ("body", "size"),
    [
        pytest.param({}, (848, 480), id="480p 16:9"),
        pytest.param({"aspect_ratio": "9:16"}, (480, 848), id="480p 9:16"),
        pytest.param({"aspect_ratio": "4:3"}, (640, 480), id="480p 4:3"),
        pytest.param({"aspect_ratio": "3:2"}, (720, 480), id="480p 3:2"),
        pytest.param({"resolution": "720p"}, (1280, 720), id="720p 16:9"),
        pytest.param({"resolution": "1080p", "model": NEW, "aspect_ratio": "2:3"}, (1080, 1620), id="1080p 2:3"),
    ],
)
def test_a_clip_has_the_size_that_was_ordered(api, body, size):
    """Size, rate, length and codecs of a generated second are exact."""
    clip = look_into(api.film(duration=1, **body))

    assert (size, 24, 24.0, 1.0) == (clip.size, clip.frames, clip.fps, clip.seconds)
    assert (("h264", "aac"), "yuv420p") == (clip.codecs, clip.pixels)


@pytest.mark.parametrize("resolution", ["480p", "720p", "1080p"])
@pytest.mark.parametrize("aspect", ["1:1", "16:9", "9:16", "4:3", "3:4", "3:2", "2:3"])
def test_every_frame_size_is_even_and_of_its_ratio(aspect, resolution):
    """yuv420p needs even sides, and the ratio is kept within a percent."""
    width, height = frame_size(aspect, resolution)
    across, down = map(int, aspect.split(":"))

    assert (0, 0) == (width % 2, height % 2)
    assert int(resolution[:-1]) == min(width, height)
    assert width / height == pytest.approx(across / down, rel=0.01)


def test_sound_is_as_long_as_the_picture(api):
    """The tone ends with the picture, within one packet of AAC."""
    clip = look_into(api.film(duration=2))

    assert 2.0 == pytest.approx(clip.sound, abs=1024 / 48_000)


def test_a_silent_clip_has_no_sound(api):
    """``generate_audio`` false leaves the audio stream out."""
    assert ("h264",) == look_into(api.film(duration=1, generate_audio=False)).codecs


def test_the_index_stands_at_the_front(api):
    """A player can start before the download ends."""
    data = api.film(duration=1)

    assert 0 < data.index(b"moov") < data.index(b"mdat")


def test_equal_recipes_make_equal_bytes():
    """A clip that is made twice is the same to the byte, and other words make another clip."""
    first, again, other = (render(recipe(prompt)) for prompt in ("A red ball", "A red ball", "A blue ball"))

    assert first == again
    assert first != other


def test_the_picture_moves():
    """The frames of a clip differ."""
    data = render(recipe(size=(320, 180)))
    early, late = frame_at(data, 0), frame_at(data, 20)

    assert early.tobytes() != late.tobytes()


@pytest.mark.parametrize(
    ("size", "ordered"),
    [
        pytest.param((400, 400), (480, 480), id="square"),
        pytest.param((300, 400), (480, 640), id="portrait"),
        pytest.param((1000, 420), (848, 480), id="wider than offered"),
    ],
)
def test_a_clip_from_an_image_has_the_shape_of_the_image(api, size, ordered):
    """The nearest offered ratio is taken, whatever was asked for."""
    image = {"url": data_uri(picture(size))}

    assert ordered == look_into(api.film(duration=1, image=image, aspect_ratio="9:16")).size


def test_a_clip_from_an_image_begins_with_the_image():
    """The picture fills the first frame."""
    data = render(recipe(stills=(still("first", GREEN),)))

    assert distance(GREEN, colour_at(data, 0)) < 25


def test_pinned_pictures_are_seen_at_their_time():
    """A keyframe stands at its second, the last frame at the end, and in between neither."""
    stills = (still("first", RED), still("key", GREEN, 1.0), still("last", BLUE, 2.0))
    data = render(recipe(frames=48, stills=stills))

    assert distance(RED, colour_at(data, 0)) < 25
    assert distance(GREEN, colour_at(data, 24)) < 25
    assert distance(BLUE, colour_at(data, 47)) < 25
    assert distance(RED, colour_at(data, 12)) < 25


def test_references_are_seen():
    """The references lie in the picture as tiles."""
    plain = render(recipe())
    tiled = render(recipe(stills=(still("reference", RED), still("reference", BLUE))))

    assert distance(colour_at(plain, 5), colour_at(tiled, 5)) > 5


def test_an_edit_keeps_length_and_size_and_changes_the_picture(api):
    """An edit has the source's frames, size and sound, and polls different."""
    url = api.link(duration=1, aspect_ratio="3:4", prompt="A red ball")
    source, edited = api.fetch(url), api.film(EDITS, prompt="Make it night", video={"url": url})

    assert look_into(source) == look_into(edited)
    assert distance(colour_at(source, 12), colour_at(edited, 12)) > 20


def test_an_edit_of_1080p_is_made_in_720p(api):
    """The result of an edit has a short side of 720 at most."""
    url = api.link(model=NEW, duration=1, resolution="1080p")

    assert (1280, 720) == look_into(api.film(EDITS, video={"url": url})).size


def test_an_edit_of_a_silent_clip_is_silent(api):
    """The sound follows the source."""
    url = api.link(duration=1, generate_audio=False)

    assert 0.0 == look_into(api.film(EDITS, video={"url": url})).sound


@pytest.mark.parametrize("way", ["file_id", "data", "link"])
def test_a_clip_may_be_handed_in_in_each_way(api, way):
    """An uploaded file, a data: URI and a link of the service itself serve as the source of an edit."""
    url = api.link(duration=1, aspect_ratio="1:1")
    data = api.fetch(url)
    video = {
        "file_id": lambda: {"file_id": api.upload(data, "a.mp4")},
        "data": lambda: {"url": data_uri(data, "video/mp4")},
        "link": lambda: {"url": url},
    }[way]()
    clip = look_into(api.film(EDITS, video=video))

    assert ((480, 480), 24) == (clip.size, clip.frames)


def test_an_extension_is_the_source_and_the_tail(api):
    """The whole clip comes back: its first frame is the source's, its length the sum."""
    url = api.link(duration=2)
    request_id = api.start(EXTENSIONS, prompt="A blue star", duration=2, video={"url": url})
    video = api.video(request_id)
    source, grown = api.fetch(url), api.fetch(video["url"])
    clip = look_into(grown)

    assert (4, 96, 4.0, (848, 480)) == (video["duration"], clip.frames, clip.seconds, clip.size)
    assert distance(colour_at(source, 0), colour_at(grown, 0)) < 8
    assert distance(colour_at(source, 24), colour_at(grown, 24)) < 8


def test_an_edit_of_an_edit_goes_on_from_what_was_made(api):
    """Edits can be chained by their links without downloading in between."""
    first = api.link(duration=1)
    second = api.video(api.start(EDITS, prompt="Make it night", video={"url": first}))["url"]
    third = look_into(api.film(EDITS, prompt="Make it a sketch", video={"url": second}))

    assert (24, (848, 480)) == (third.frames, third.size)


@pytest.mark.parametrize(
    ("endpoint", "body"),
    [
        pytest.param(EDITS, {"video": {"url": data_uri(picture(), "video/mp4")}}, id="PNG as video"),
        pytest.param(EDITS, {"video": {"url": data_uri(b"hello", "video/mp4")}}, id="text as video"),
        pytest.param("/videos/generations", {"image": {"url": data_uri(b"hello")}}, id="text as image"),
        pytest.param("/videos/generations", {"image": {"url": data_uri(picture()[:60])}}, id="half a PNG"),
        pytest.param(EDITS, {"video": {"url": "http://127.0.0.1:9/clip.mp4"}}, id="nobody answers"),
    ],
)
def test_an_input_that_cannot_be_used_fails_the_job(api, endpoint, body):
    """The order is accepted, ends failed with ``invalid_argument``, and is not billed."""
    answer = api.poll(api.start(endpoint, **body)).json()

    assert ("failed", "invalid_argument") == (answer["status"], answer["error"]["code"])
    assert 0 == api.emulator.billed_ticks


def test_a_public_url_is_never_fetched(api):
    """A stand-in of 6 s takes the place of what is not on this machine, and the ledger says so."""
    request_id = api.start(EDITS, video={"url": MP4_URL})

    assert 6 == api.video(request_id)["duration"]
    assert (f"stand-in for {MP4_URL}",) == api.emulator.starts[0].notes


def test_a_closed_studio_drops_the_clip_it_is_making():
    """Stopping does not wait for a long clip: it ends at the next frame."""
    begun = threading.Event()

    def cancelled() -> bool:
        begun.set()
        return True

    with pytest.raises(RenderingStopped):
        render(recipe(frames=10_000), cancelled=cancelled)

    assert begun.is_set()


async def test_a_closed_studio_takes_no_orders():
    """After closing, an order ends at once."""
    studio = Studio()
    studio.close()

    with pytest.raises(RenderingStopped):
        await studio.clip(recipe())


async def test_a_clip_that_fell_out_of_the_cache_is_made_again():
    """A small cache keeps the newest clip and loses no bytes."""
    studio = Studio(cache_bytes=1)
    try:
        first = await studio.clip(recipe())
        await studio.clip(recipe("A blue ball"))
        again = await studio.clip(recipe())
    finally:
        studio.close()

    assert first == again
