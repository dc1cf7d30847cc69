"""How inputs may be written, and what of them may be shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_grokvideo.core.errors import InvalidInput
from airflow_provider_grokvideo.core.media import Media, is_storage_url, parse_audio, parse_media

PIXELS = "iVBORw0KGgoSECRETPIXELS"
INLINE = f"data:image/png;base64,{PIXELS}"


class Bucket:
    """As much of an ``ObjectStoragePath`` as tells it apart."""

    protocol = "s3"

    def __str__(self) -> str:
        return "s3://bucket/clip.mp4"


@pytest.mark.parametrize(
    ("given", "media"),
    [
        pytest.param("https://a.example/b.png", Media(url="https://a.example/b.png"), id="https"),
        pytest.param("HTTPS://a.example/b.png", Media(url="HTTPS://a.example/b.png"), id="https in capitals"),
        pytest.param("http://a.example/b.png", Media(url="http://a.example/b.png"), id="http"),
        pytest.param(" https://a.example/b.png\n", Media(url="https://a.example/b.png"), id="with blanks around"),
        pytest.param(INLINE, Media(url=INLINE), id="data"),
        pytest.param("file_0123-ab", Media(file_id="file_0123-ab"), id="file id"),
        pytest.param("file-0123", Media(file_id="file-0123"), id="file id with a hyphen"),
        pytest.param("clips/in.mp4", Media(path="clips/in.mp4"), id="relative path"),
        pytest.param("/data/in.mp4", Media(path="/data/in.mp4"), id="absolute path"),
        pytest.param("file:///data/in.mp4", Media(path="file:///data/in.mp4"), id="file URL"),
        pytest.param("file_in.mp4", Media(path="file_in.mp4"), id="path that begins like a file id"),
        pytest.param("s3://bucket/in.mp4", Media(path="s3://bucket/in.mp4"), id="object storage"),
        pytest.param(Path("/data/in.mp4"), Media(path="/data/in.mp4"), id="pathlib"),
        pytest.param(Bucket(), Media(path="s3://bucket/clip.mp4"), id="ObjectStoragePath"),
        pytest.param({"url": INLINE}, Media(url=INLINE), id="object with url"),
        pytest.param({"url": " https://a.example/b "}, Media(url="https://a.example/b"), id="object with blanks"),
        pytest.param({"file_id": "file_1"}, Media(file_id="file_1"), id="object with file_id"),
        pytest.param({"url": None, "file_id": "file_1"}, Media(file_id="file_1"), id="None counts as not given"),
        pytest.param(Media(path="a"), Media(path="a"), id="media"),
    ],
)
def test_an_input_may_be_written_in_many_ways(given, media):
    """A string, a path or the API's own object name the same input."""
    assert media == parse_media(given, field="image")


@pytest.mark.parametrize(
    ("given", "allowed"),
    [
        pytest.param("", "rendered to nothing", id="empty"),
        pytest.param("  ", "rendered to nothing", id="blank"),
        pytest.param("None", "rendered to nothing", id="None from a template"),
        pytest.param(None, "an https URL", id="None"),
        pytest.param(5, "an https URL", id="number"),
        pytest.param(True, "an https URL", id="bool"),
        pytest.param([], "an https URL", id="list"),
        pytest.param(["https://a.example/b.png"], "an https URL", id="list of one"),
        pytest.param(b"\x89PNG", "an https URL", id="bytes"),
        pytest.param({}, "exactly one of url and file_id", id="empty object"),
        pytest.param({"url": None}, "exactly one of url and file_id", id="object of None"),
        pytest.param({"url": "https://a.example/b", "file_id": "file_1"}, "exactly one of", id="both"),
        pytest.param({"image_url": "https://a.example/b"}, "exactly one of", id="wrong key"),
        pytest.param({"b64_json": PIXELS}, "exactly one of", id="key of another API"),
        pytest.param({"url": ""}, "non-empty string", id="empty url"),
        pytest.param({"url": 5}, "non-empty string", id="url of a wrong type"),
        pytest.param({"url": {"url": "https://a.example/b"}}, "non-empty string", id="nested object"),
        pytest.param({"url": "/data/in.png"}, "https URL", id="path as url"),
        pytest.param({"url": "ftp://a.example/b"}, "https URL", id="ftp"),
        pytest.param("https:///b.png", "https URL", id="no host"),
        pytest.param("https://a.example/b c.png", "https URL", id="blank inside"),
        pytest.param("https://[a.example/b.png", "https URL", id="broken brackets"),
        pytest.param("https://me:pw@a.example/b.png", "without user name", id="user and password"),
        pytest.param("data:image/png,abc", "data:<type>;base64,<data>", id="data that is not base64"),
        pytest.param("data:image/png;base64,", "data:<type>;base64,<data>", id="data without data"),
        pytest.param("data:;base64,abc", "data:<type>;base64,<data>", id="data without type"),
    ],
)
def test_a_wrong_shape_is_refused(given, allowed):
    """A shape that the service might ignore silently is refused, naming the field and what is allowed."""
    with pytest.raises(InvalidInput) as refused:
        parse_media(given, field="image")

    assert "image" == refused.value.field.partition(".")[0]
    assert allowed in str(refused.value)


def test_a_data_uri_in_capitals_is_still_one():
    """The scheme of a data: URI does not care for case, so it is not taken for a path."""
    media = parse_media("DATA:image/png;base64,AAAA", field="image")

    assert media.path is None
    assert media.url is not None


@pytest.mark.parametrize(
    ("given", "media"),
    [
        pytest.param("eve", Media(voice_id="eve"), id="voice"),
        pytest.param({"voice_id": "eve"}, Media(voice_id="eve"), id="object with voice_id"),
        pytest.param({"url": "https://a.example/b.mp3"}, Media(url="https://a.example/b.mp3"), id="object with url"),
        pytest.param("https://a.example/b.mp3", Media(url="https://a.example/b.mp3"), id="https"),
        pytest.param("data:audio/mpeg;base64,AAAA", Media(url="data:audio/mpeg;base64,AAAA"), id="data"),
        pytest.param("sounds/bell.wav", Media(path="sounds/bell.wav"), id="path"),
    ],
)
def test_a_sound_is_a_voice_a_link_or_a_file(given, media):
    """A plain word is a voice, everything else is what it looks like."""
    assert media == parse_audio(given, field="reference_audios")


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({"file_id": "file_1"}, id="file id"),
        pytest.param({"voice_id": "eve", "url": "https://a.example/b.mp3"}, id="both"),
        pytest.param("None", id="None from a template"),
        pytest.param("", id="empty"),
        pytest.param(None, id="None"),
        pytest.param("notes.txt", id="path of another kind"),
        pytest.param("{'voice_id': 'eve'}", id="object rendered to text"),
    ],
)
def test_a_wrong_sound_is_refused(given):
    """A sound the endpoint cannot take is refused, naming the field."""
    with pytest.raises(InvalidInput, match="reference_audios"):
        parse_audio(given, field="reference_audios")


@pytest.mark.parametrize(
    ("given", "advised"),
    [
        pytest.param(None, "a voice id", id="None"),
        pytest.param("file_abc", "not a file id", id="a file id as a string"),
    ],
)
def test_a_refused_sound_is_told_what_a_sound_may_be(given, advised):
    """The message for a sound does not offer a file id, which the endpoint does not take."""
    with pytest.raises(InvalidInput) as refused:
        parse_audio(given, field="reference_audios")

    assert advised in str(refused.value)


@pytest.mark.parametrize(
    "media",
    [
        pytest.param(Media(url=INLINE), id="data"),
        pytest.param(Media(url=INLINE, sha256="a" * 64), id="data with digest"),
        pytest.param(Media(url="https://a.example/b.png?sig=SECRETPIXELS"), id="signed link"),
    ],
)
def test_a_representation_keeps_payload_and_signature_to_itself(media):
    """Neither repr nor str of an input shows its data or its query string."""
    assert "SECRETPIXELS" not in f"{media!r} {media}"


@pytest.mark.parametrize(
    "given",
    [
        pytest.param("https:///b.png?sig=SECRETPIXELS", id="link without host"),
        pytest.param("https://a.example/b c.png?sig=SECRETPIXELS", id="link with a blank"),
        pytest.param("https://me:SECRETPIXELS@a.example/b.png", id="password"),
        pytest.param({"url": "ftp://a.example/b?sig=SECRETPIXELS"}, id="link of another kind"),
        pytest.param(f"data:image/png,{PIXELS}", id="data without base64"),
        pytest.param(f"data:image/png;base64{PIXELS * 100}", id="data without comma"),
        pytest.param([INLINE], id="list of data"),
        pytest.param({"url": {"url": INLINE}}, id="nested object of data"),
    ],
)
def test_a_complaint_keeps_payload_and_signature_to_itself(given):
    """The message about a wrong input shows neither its data nor its query string."""
    with pytest.raises(InvalidInput) as refused:
        parse_media(given, field="image")

    assert "SECRETPIXELS" not in str(refused.value)


def test_a_path_has_to_be_made_sendable_first():
    """A path never reaches the service as if it were an address."""
    with pytest.raises(InvalidInput, match="inlined or uploaded"):
        Media(path="/data/in.png").body("image")


@pytest.mark.parametrize(
    ("media", "identity"),
    [
        pytest.param(Media(url=INLINE, sha256="ab"), "ab", id="inlined bytes"),
        pytest.param(Media(file_id="file_9", sha256="ab"), "ab", id="uploaded bytes"),
        pytest.param(Media(path="/data/in.png"), "/data/in.png", id="path"),
        pytest.param(Media(file_id="file_9"), "file_9", id="file id"),
        pytest.param(Media(voice_id="eve"), "eve", id="voice"),
    ],
)
def test_bytes_decide_what_is_the_same_input(media, identity):
    """Where the bytes are known they are the identity, else the name is."""
    assert identity == media.identity()


@pytest.mark.parametrize(
    ("path", "is_url"),
    [
        ("s3://bucket/a", True),
        ("file:///a", True),
        ("gs+x://a", True),
        ("/a/b", False),
        ("a:b", False),
        ("C:\\a", False),
    ],
)
def test_a_path_may_name_its_storage(path, is_url):
    """Only a scheme with two slashes names a storage."""
    assert is_url == is_storage_url(path)


@given(value=st.one_of(st.text(), st.integers(), st.none(), st.lists(st.text()), st.dictionaries(st.text(), st.text())))
def test_any_input_is_understood_or_refused(value):
    """Whatever a template renders ends as an input or as a complaint, never as another error."""
    for parse in (parse_media, parse_audio):
        try:
            media = parse(value, field="image")
        except InvalidInput:
            continue

        assert media.identity()


@given(rest=st.text(alphabet="[]@:/?#%.a1 ", max_size=12))
def test_any_link_is_understood_or_refused(rest):
    """However broken an address is, the complaint is ours."""
    try:
        media = parse_media(f"https://{rest}", field="image")
    except InvalidInput:
        return

    assert media.url is not None
