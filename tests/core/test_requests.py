"""Every request builds exactly the body of the contract (§3) and refuses what the contract refuses (§4, §13.2)."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_grokvideo.core import models
from airflow_provider_grokvideo.core.billing import pricing
from airflow_provider_grokvideo.core.errors import InvalidInput
from airflow_provider_grokvideo.core.jobs import TICKS_PER_USD
from airflow_provider_grokvideo.core.media import Media
from airflow_provider_grokvideo.core.requests import (
    EditVideo,
    ExtendVideo,
    ImageToVideo,
    Keyframe,
    ReferenceToVideo,
    TextToVideo,
    edit,
    extension,
    generation,
)

GOLDEN = sorted((Path(__file__).parent.parent / "contract" / "bodies").glob("*.json"))
BUILD = {"/videos/generations": generation, "/videos/edits": edit, "/videos/extensions": extension}

CLASSIC = "grok-imagine-video"
NEW = "grok-imagine-video-1.5"
LITE = "grok-imagine-video-1.5-lite"
PNG = "https://a.example/b.png"
MP4 = "https://a.example/b.mp4"
PIXELS = "iVBORw0KGgoSECRETPIXELS"


def frame(at: Any, image: Any = PNG) -> dict[str, Any]:
    """Return a keyframe as a task writes it."""
    return {"image": image, "timestamp_s": at}


@pytest.mark.parametrize("path", [pytest.param(path, id=path.stem) for path in GOLDEN])
def test_a_golden_body_is_built_word_for_word(path):
    """The words of a golden body give that body, endpoint and mode back."""
    golden = json.loads(path.read_text())
    request = BUILD[golden["endpoint"]](**golden["body"])

    assert (golden["endpoint"], golden["mode"]) == (request.endpoint, request.mode)
    assert golden["body"] == request.body()


@pytest.mark.parametrize("path", [pytest.param(path, id=path.stem) for path in GOLDEN])
def test_a_golden_body_costs_what_the_emulator_bills(path):
    """Our price equals the second witness's bill, and bounds it where the source's length is unknown."""
    golden = json.loads(path.read_text())
    estimate = pricing.estimate(BUILD[golden["endpoint"]](**golden["body"]))

    assert estimate.usd is not None
    ticks = estimate.usd * TICKS_PER_USD
    assert golden["ticks"] <= ticks if estimate.at_most else golden["ticks"] == ticks


def test_both_witnesses_hold_every_mode():
    """The golden bodies cover each way to make a video."""
    modes = {kind.mode for kind in (TextToVideo, ImageToVideo, ReferenceToVideo, EditVideo, ExtendVideo)}
    assert modes == {json.loads(path.read_text())["mode"] for path in GOLDEN}


@pytest.mark.parametrize(
    ("request_", "endpoint", "body"),
    [
        pytest.param(
            TextToVideo(prompt="A ball"),
            "/videos/generations",
            {"model": CLASSIC, "prompt": "A ball"},
            id="text, minimal",
        ),
        pytest.param(
            TextToVideo(
                prompt="A ball",
                model=NEW,
                duration="5",
                aspect_ratio="9:16",
                resolution="1080p",
                generate_audio=False,
                user="u-1",
                storage_options={"filename": "ball.mp4", "expires_after": 3600, "public_url": True},
                output={"upload_url": "https://bucket.example/put?sig=1"},
            ),
            "/videos/generations",
            {
                "model": NEW,
                "prompt": "A ball",
                "duration": 5,
                "aspect_ratio": "9:16",
                "resolution": "1080p",
                "generate_audio": False,
                "user": "u-1",
                "storage_options": {"filename": "ball.mp4", "expires_after": 3600, "public_url": True},
                "output": {"upload_url": "https://bucket.example/put?sig=1"},
            },
            id="text, full",
        ),
        pytest.param(
            TextToVideo(prompt="A ball", generate_audio=True),
            "/videos/generations",
            {"model": CLASSIC, "prompt": "A ball"},
            id="sound is the default and not sent",
        ),
        pytest.param(
            ImageToVideo(prompt="It moves", image=PNG, aspect_ratio="1:1", duration=3),
            "/videos/generations",
            {"model": CLASSIC, "prompt": "It moves", "duration": 3, "image": {"url": PNG}},
            id="image, its ratio is not sent",
        ),
        pytest.param(
            ImageToVideo(prompt="It moves", image="file_1", resolution="720p"),
            "/videos/generations",
            {"model": CLASSIC, "prompt": "It moves", "resolution": "720p", "image": {"file_id": "file_1"}},
            id="image, file id",
        ),
        pytest.param(
            ReferenceToVideo(prompt="They meet", reference_images=[PNG, {"file_id": "file_1"}], aspect_ratio="1:1"),
            "/videos/generations",
            {
                "model": CLASSIC,
                "prompt": "They meet",
                "aspect_ratio": "1:1",
                "reference_images": [{"url": PNG}, {"file_id": "file_1"}],
            },
            id="references",
        ),
        pytest.param(
            ReferenceToVideo(
                prompt="They meet",
                model=NEW,
                duration=6,
                image=PNG,
                reference_images=[PNG],
                reference_audios=["eve", {"url": "https://a.example/b.mp3"}],
                last_frame=PNG,
                keyframes=[frame(1), frame("2.5", "file_2")],
            ),
            "/videos/generations",
            {
                "model": NEW,
                "prompt": "They meet",
                "duration": 6,
                "image": {"url": PNG},
                "reference_images": [{"url": PNG}],
                "reference_audios": [{"voice_id": "eve"}, {"url": "https://a.example/b.mp3"}],
                "last_frame": {"url": PNG},
                "keyframes": [
                    {"image": {"url": PNG}, "timestamp_s": 1.0},
                    {"image": {"file_id": "file_2"}, "timestamp_s": 2.5},
                ],
            },
            id="references, full",
        ),
        pytest.param(
            EditVideo(prompt="Make it snow", video=MP4, user="u-1"),
            "/videos/edits",
            {"model": CLASSIC, "prompt": "Make it snow", "video": {"url": MP4}, "user": "u-1"},
            id="edit",
        ),
        pytest.param(
            ExtendVideo(prompt="It goes on", video={"file_id": "file_1"}),
            "/videos/extensions",
            {"model": CLASSIC, "prompt": "It goes on", "video": {"file_id": "file_1"}},
            id="extend, minimal",
        ),
        pytest.param(
            ExtendVideo(prompt="It goes on", video=MP4, duration=10),
            "/videos/extensions",
            {"model": CLASSIC, "prompt": "It goes on", "video": {"url": MP4}, "duration": 10},
            id="extend, seconds",
        ),
    ],
)
def test_a_request_builds_its_body(request_, endpoint, body):
    """A request builds exactly the contract's body and leaves the defaults to the service."""
    assert (endpoint, body) == (request_.endpoint, request_.body())


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        pytest.param({}, TextToVideo, id="words only"),
        pytest.param({"image": None, "reference_images": None}, TextToVideo, id="None is not given"),
        pytest.param({"image": PNG}, ImageToVideo, id="image"),
        pytest.param({"image": PNG, "reference_images": [], "keyframes": ()}, ImageToVideo, id="empty lists"),
        pytest.param({"reference_images": [PNG]}, ReferenceToVideo, id="references"),
        pytest.param({"model": NEW, "reference_audios": ["eve"]}, ReferenceToVideo, id="voices"),
        pytest.param({"model": NEW, "last_frame": PNG}, ReferenceToVideo, id="last frame"),
        pytest.param({"model": NEW, "image": PNG, "last_frame": PNG}, ReferenceToVideo, id="first and last frame"),
        pytest.param({"model": NEW, "keyframes": [frame(1)]}, ReferenceToVideo, id="keyframes"),
    ],
)
def test_words_choose_the_mode(words, kind):
    """The mode follows from the words as the service itself tells modes apart (§3.1)."""
    assert kind is type(generation(prompt="A ball", **words))


@pytest.mark.parametrize(
    ("build", "words", "named"),
    [
        pytest.param(generation, {"duration": 0}, ("duration", "0", "1 to 15"), id="S3 duration 0"),
        pytest.param(generation, {"duration": 16}, ("duration", "16", "1 to 15"), id="S3 duration 16"),
        pytest.param(generation, {"duration": "16"}, ("duration", "16", "1 to 15"), id="S3 duration 16 as text"),
        pytest.param(generation, {"duration": "abc"}, ("duration", "abc", "whole number"), id="S4 duration word"),
        pytest.param(generation, {"duration": 3.5}, ("duration", "3.5", "whole number"), id="S4 duration fraction"),
        pytest.param(generation, {"aspect_ratio": "21:9"}, ("aspect_ratio", "21:9", "16:9"), id="S5 ratio"),
        pytest.param(generation, {"resolution": "4k"}, ("resolution", "4k", "720p"), id="S5 resolution"),
        pytest.param(generation, {"image": {}}, ("image", "[]", "exactly one"), id="S8 empty image"),
        pytest.param(
            generation, {"image": {"url": PNG, "file_id": "file_1"}}, ("image", "file_id", "exactly one"), id="S8 both"
        ),
        pytest.param(generation, {"prompt": ""}, ("prompt", "''", "non-empty text"), id="S9 empty prompt"),
        pytest.param(generation, {"prompt": None}, ("prompt", "missing"), id="S9 no prompt"),
        pytest.param(
            generation,
            {"resolution": "1080p"},
            ("resolution", "1080p", "480p, 720p", CLASSIC),
            id="S10 1080p on classic",
        ),
        pytest.param(
            generation,
            {"image": PNG, "resolution": "1080p"},
            ("resolution", "1080p", "480p, 720p", CLASSIC),
            id="S10 1080p image on classic",
        ),
        pytest.param(
            generation,
            {"reference_images": [PNG], "model": NEW, "resolution": "1080p"},
            ("resolution", "1080p", "480p, 720p"),
            id="S10 1080p references on 1.5",
        ),
        pytest.param(
            generation,
            {"image": PNG, "reference_images": [PNG]},
            ("image", CLASSIC, NEW),
            id="S11 image and references",
        ),
        pytest.param(
            generation,
            {"reference_images": [PNG], "duration": 11},
            ("duration", "11", "1 to 10"),
            id="S12 long references on classic",
        ),
        pytest.param(
            generation, {"reference_images": [PNG] * 8}, ("reference_images", "8", "at most 7"), id="S13 references"
        ),
        pytest.param(
            generation,
            {"model": NEW, "reference_images": [PNG] * 15},
            ("reference_images", "15", "at most 14"),
            id="S13 references on 1.5",
        ),
        pytest.param(
            generation,
            {"model": NEW, "reference_audios": ["eve"] * 4},
            ("reference_audios", "4", "at most 3"),
            id="S13 voices",
        ),
        pytest.param(
            generation,
            {"model": NEW, "keyframes": [frame(n) for n in range(1, 6)]},
            ("keyframes", "5", "at most 4"),
            id="S13 keyframes",
        ),
        pytest.param(
            generation,
            {"model": NEW, "keyframes": [frame(0)]},
            ("timestamp_s", "0", "more than 0"),
            id="S14 at the start",
        ),
        pytest.param(
            generation,
            {"model": NEW, "keyframes": [frame(-1)]},
            ("timestamp_s", "-1", "more than 0"),
            id="S14 before it",
        ),
        pytest.param(
            generation,
            {"model": NEW, "duration": 4, "keyframes": [frame(4)]},
            ("timestamp_s", "4", "less than 4 s"),
            id="S14 at the end",
        ),
        pytest.param(
            generation,
            {"model": NEW, "keyframes": [frame(8)]},
            ("timestamp_s", "8", "less than 8 s"),
            id="S14 at the end of the default length",
        ),
        pytest.param(
            generation,
            {"model": NEW, "keyframes": [frame(1), frame(1.1)]},
            ("keyframes[1].timestamp_s", "1.1", "third of a second"),
            id="S14 one slot",
        ),
        pytest.param(
            generation, {"model": NEW, "keyframes": [frame("soon")]}, ("timestamp_s", "soon", "seconds"), id="S14 word"
        ),
        pytest.param(generation, {"last_frame": PNG}, ("last_frame", CLASSIC, NEW), id="S15 last frame on classic"),
        pytest.param(generation, {"keyframes": [frame(1)]}, ("keyframes", CLASSIC, NEW), id="S15 keyframes on classic"),
        pytest.param(
            generation, {"reference_audios": ["eve"]}, ("reference_audios", CLASSIC, "0"), id="S15 voices on classic"
        ),
        pytest.param(generation, {"model": LITE, "last_frame": PNG}, ("model", LITE, NEW), id="S15 last frame on lite"),
        pytest.param(
            generation, {"model": LITE, "reference_images": [PNG]}, ("model", LITE, NEW), id="S15 references on lite"
        ),
        pytest.param(
            generation, {"reference_images": "a.png"}, ("reference_images", "a.png", "a list"), id="references as text"
        ),
        pytest.param(edit, {"video": None}, ("video", "missing"), id="S18 edit without video"),
        pytest.param(
            edit, {"prompt": " ", "video": MP4}, ("prompt", "' '", "non-empty text"), id="S18 edit without prompt"
        ),
        pytest.param(edit, {"video": MP4, "model": NEW}, ("model", NEW, CLASSIC), id="S20 edit with 1.5"),
        pytest.param(edit, {"video": MP4, "model": LITE}, ("model", LITE, CLASSIC), id="S20 edit with lite"),
        pytest.param(extension, {"video": MP4, "model": NEW}, ("model", NEW, CLASSIC), id="S20 extend with 1.5"),
        pytest.param(
            edit, {"video": MP4, "duration": 5}, ("duration", "5", "expected one of"), id="edit has no length"
        ),
        pytest.param(
            extension, {"video": MP4, "user": "u"}, ("user", "'u'", "expected one of"), id="extension has no user"
        ),
        pytest.param(extension, {"video": MP4, "duration": 1}, ("duration", "1", "2 to 10"), id="S22 extend by 1"),
        pytest.param(extension, {"video": MP4, "duration": 11}, ("duration", "11", "2 to 10"), id="S22 extend by 11"),
        pytest.param(generation, {"seed": 7}, ("seed", "7", "expected one of"), id="S29 seed"),
        pytest.param(generation, {"video": MP4}, ("video", "expected one of"), id="generation takes no video"),
        pytest.param(generation, {"generate_audio": "maybe"}, ("generate_audio", "maybe", "True or False"), id="flag"),
        pytest.param(generation, {"user": 5}, ("user", "5", "string"), id="user"),
        pytest.param(
            generation,
            {"output": {"upload_url": "ftp://a/b"}},
            ("output", "upload_url", "https"),
            id="upload elsewhere",
        ),
        pytest.param(generation, {"output": {"url": PNG}}, ("output", "url", "upload_url"), id="upload misspelt"),
        pytest.param(generation, {"storage_options": {}}, ("storage_options", "[]", "filename"), id="storage unnamed"),
        pytest.param(
            generation,
            {"storage_options": {"filename": "a", "expires_after": 60}},
            ("storage_options.expires_after", "60", "3600 to 2592000"),
            id="storage too short",
        ),
        pytest.param(
            generation,
            {"storage_options": {"filename": "a", "folder": "b"}},
            ("storage_options", "folder", "public_url"),
            id="storage unknown word",
        ),
    ],
)
def test_what_the_contract_refuses_is_refused_before_it_is_sent(build, words, named):
    """A complaint names the field, its value and what is allowed, and says that nothing was billed."""
    with pytest.raises(InvalidInput) as refused:
        build(**{"prompt": "A ball", **words})

    said = str(refused.value)
    assert [] == [part for part in (*named, "Nothing was sent or billed.") if part not in said]


def test_a_last_frame_without_references_is_not_told_about_references():
    """The complaint about a pinned frame speaks of what was given."""
    with pytest.raises(InvalidInput) as refused:
        generation(prompt="A ball", last_frame=PNG)

    assert "together with references" not in str(refused.value)


@pytest.mark.parametrize(
    ("model", "mode", "longest"),
    [
        pytest.param(CLASSIC, {}, 15, id="classic text"),
        pytest.param(CLASSIC, {"image": PNG}, 15, id="classic image"),
        pytest.param(CLASSIC, {"reference_images": [PNG] * 7}, 10, id="classic references"),
        pytest.param(NEW, {}, 15, id="1.5 text"),
        pytest.param(
            NEW, {"image": PNG, "reference_images": [PNG] * 14, "reference_audios": ["eve"] * 3}, 15, id="1.5"
        ),
        pytest.param(NEW, {"keyframes": [frame(n / 3) for n in (1, 2, 3, 4)]}, 15, id="1.5 keyframes"),
        pytest.param(f"{NEW}-preview", {"last_frame": PNG}, 15, id="alias"),
        pytest.param(LITE, {}, 15, id="lite text"),
        pytest.param(LITE, {"image": PNG}, 15, id="lite image"),
    ],
)
def test_what_a_model_offers_passes_at_its_limits(model, mode, longest):
    """The shortest and the longest clip of each mode a model offers are allowed."""
    shortest = 2 if "keyframes" in mode else 1

    assert [shortest, longest] == [
        generation(prompt="A ball", model=model, duration=seconds, **mode).duration for seconds in (shortest, longest)
    ]


@pytest.mark.parametrize("resolution", models.RESOLUTIONS)
@pytest.mark.parametrize("model", [NEW, LITE])
def test_the_newer_models_make_every_resolution(model, resolution):
    """Text- and image-to-video go up to 1080p on both newer models (§4)."""
    for mode in ({}, {"image": PNG}):
        made = generation(prompt="A ball", model=model, resolution=resolution, **mode)

        assert resolution == made.body()["resolution"]


def test_an_unknown_model_passes_with_a_warning():
    """A model newer than this package is sent as it is, and the log says that its limits are unchecked."""
    request = generation(
        prompt="A ball", model="grok-imagine-video-9", duration=15, resolution="1080p", last_frame=PNG, image=PNG
    )

    assert "grok-imagine-video-9" == request.body()["model"]
    assert ["grok-imagine-video-9" in line and CLASSIC in line for line in request.warnings()] == [True]


def test_a_known_model_gives_no_warning():
    """An ordinary request is quiet."""
    assert [] == generation(prompt="A ball").warnings()


def test_a_long_prompt_passes_with_a_warning():
    """The limit of a prompt is not published, so a long one is sent with a word about it."""
    (warning,) = generation(prompt="x" * 4001).warnings()

    assert "4001" in warning


def test_a_ratio_beside_an_image_is_left_out_aloud():
    """The clip takes the image's ratio, and the log says that the given one was left out."""
    (warning,) = generation(prompt="A ball", image=PNG, aspect_ratio="1:1").warnings()

    assert "aspect_ratio='1:1'" in warning


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        pytest.param("8", 8, id="text"),
        pytest.param(" 8 ", 8, id="text with blanks"),
        pytest.param("8.0", 8, id="text of a float"),
        pytest.param(8.0, 8, id="float"),
        pytest.param(8, 8, id="int"),
        pytest.param(None, None, id="None"),
    ],
)
def test_seconds_may_come_from_a_template(value, seconds):
    """A whole number is one however a template renders it, and the body carries an int."""
    made = TextToVideo(prompt="A ball", duration=value).body().get("duration")

    assert (seconds, type(seconds)) == (made, type(made))


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        pytest.param("", "rendered to nothing", id="empty"),
        pytest.param("None", "rendered to nothing", id="None as text"),
        pytest.param(True, "whole number", id="bool"),
        pytest.param(8.5, "whole number", id="float"),
        pytest.param("8.5", "whole number", id="float as text"),
        pytest.param("abc", "whole number", id="word"),
        pytest.param("8s", "whole number", id="with unit"),
        pytest.param("²", "whole number", id="superscript"),
        pytest.param("9" * 400, "whole number", id="endless text"),
        pytest.param(10**400, "1 to 15", id="endless number"),
        pytest.param(float("nan"), "whole number", id="nan"),
        pytest.param(float("inf"), "whole number", id="inf"),
        pytest.param([], "whole number", id="list"),
        pytest.param({}, "whole number", id="object"),
        pytest.param(b"8", "whole number", id="bytes"),
    ],
)
def test_seconds_that_are_none_are_refused(value, hint):
    """What is not a whole number of seconds is refused with a word about where it may come from."""
    with pytest.raises(InvalidInput) as refused:
        TextToVideo(prompt="A ball", duration=value)

    assert "duration" == refused.value.field
    assert hint in str(refused.value)


@pytest.mark.parametrize("value", [10**400, float("nan"), "inf", True, None, [], ""], ids=lambda v: repr(v)[:6])
def test_a_moment_that_is_none_is_refused(value):
    """A keyframe's moment is a finite number, or the complaint is ours."""
    with pytest.raises(InvalidInput, match=r"timestamp_s.*number of seconds"):
        Keyframe(image=PNG, timestamp_s=value)


@pytest.mark.parametrize("value", [None, 5, True, [], {}, "", " ", "None", "None\n"], ids=repr)
def test_a_prompt_has_words(value):
    """A prompt that is empty, rendered to nothing or no text is refused."""
    with pytest.raises(InvalidInput, match="prompt"):
        TextToVideo(prompt=value)


@pytest.mark.parametrize(
    ("value", "sent"), [("true", None), ("False", False), (" false ", False), (True, None), (None, None)], ids=repr
)
def test_a_flag_may_come_from_a_template(value, sent):
    """True and False are understood as text, and only silence is sent."""
    assert sent is TextToVideo(prompt="A ball", generate_audio=value).body().get("generate_audio")


@pytest.mark.parametrize(
    "item",
    [
        pytest.param(PNG, id="text"),
        pytest.param({"image": PNG}, id="no moment"),
        pytest.param({"image_url": PNG, "timestamp": 1}, id="words of the Python SDK"),
        pytest.param(frame("soon"), id="moment"),
        pytest.param(frame(1, image=None), id="no image"),
    ],
)
def test_a_wrong_keyframe_says_that_it_is_a_keyframe(item):
    """A complaint about one keyframe names the argument of the operator, not only a part of it."""
    with pytest.raises(InvalidInput, match="keyframes"):
        generation(prompt="A ball", model=NEW, keyframes=[item])


def test_a_complaint_about_an_unexpected_word_keeps_its_payload_to_itself():
    """Media given to the wrong argument is named without its data."""
    with pytest.raises(InvalidInput) as refused:
        TextToVideo(prompt="A ball", image={"url": f"data:image/png;base64,{PIXELS}"})

    assert "SECRETPIXELS" not in str(refused.value)


@pytest.mark.parametrize("address", ["http://127.0.0.1.evil.example/x", "http://localhost.evil.example/x", "https://"])
def test_an_upload_goes_over_https(address):
    """Plain http is for this machine only, and a name that merely begins like it is not this machine."""
    with pytest.raises(InvalidInput, match="https"):
        TextToVideo(prompt="A ball", output={"upload_url": address})


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(ImageToVideo(prompt="A", image=f"data:image/png;base64,{PIXELS}"), id="data"),
        pytest.param(EditVideo(prompt="A", video=f"{MP4}?sig=SECRETPIXELS"), id="signed link"),
        pytest.param(
            TextToVideo(prompt="A", output={"upload_url": "https://b.example/put?sig=SECRETPIXELS"}), id="signed upload"
        ),
        pytest.param(
            ReferenceToVideo(prompt="A", model=NEW, keyframes=[frame(1, f"data:image/png;base64,{PIXELS}")]),
            id="keyframe",
        ),
    ],
)
def test_a_request_can_be_logged(request_):
    """Neither repr nor str of a request shows data or signatures."""
    assert "SECRETPIXELS" not in f"{request_!r} {request_}"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(TextToVideo(prompt="A", duration="8.0"), TextToVideo(prompt="A", duration=8), id="rendered"),
        pytest.param(ImageToVideo(prompt="A", image=PNG), ImageToVideo(prompt="A", image={"url": PNG}), id="shape"),
        pytest.param(
            TextToVideo(prompt="A"), TextToVideo(prompt="A", output={"upload_url": "https://b.example/1"}), id="upload"
        ),
        pytest.param(
            TextToVideo(prompt="A", storage_options={"filename": "a", "public_url": True}),
            TextToVideo(prompt="A", storage_options={"public_url": True, "filename": "a"}),
            id="order of words",
        ),
        pytest.param(
            ImageToVideo(prompt="A", image=Media(file_id="file_1", sha256="ab")),
            ImageToVideo(prompt="A", image=Media(file_id="file_2", sha256="ab")),
            id="same bytes uploaded twice",
        ),
        pytest.param(
            ImageToVideo(prompt="A", image=PNG),
            ImageToVideo(prompt="A", image=PNG, aspect_ratio="1:1"),
            id="unsent ratio",
        ),
        pytest.param(TextToVideo(prompt="A"), TextToVideo(prompt="A", generate_audio=True), id="unsent flag"),
    ],
)
def test_the_same_purchase_has_the_same_fingerprint(one, other):
    """What buys the same clip is recognised whatever form it came in."""
    assert one.fingerprint() == other.fingerprint()


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(generation(prompt="B", duration=5), id="prompt"),
        pytest.param(generation(prompt="A", duration=6), id="seconds"),
        pytest.param(generation(prompt="A", duration=5, model=LITE), id="model"),
        pytest.param(generation(prompt="A", duration=5, resolution="720p"), id="resolution"),
        pytest.param(generation(prompt="A", duration=5, aspect_ratio="1:1"), id="ratio"),
        pytest.param(generation(prompt="A", duration=5, generate_audio=False), id="silence"),
        pytest.param(generation(prompt="A", duration=5, user="u"), id="user"),
        pytest.param(generation(prompt="A", duration=5, image=PNG), id="image"),
        pytest.param(generation(prompt="A", duration=5, reference_images=[PNG]), id="reference"),
        pytest.param(generation(prompt="A", duration=5, storage_options={"filename": "a"}), id="storage"),
        pytest.param(extension(prompt="A", duration=5, video=PNG), id="mode"),
    ],
)
def test_another_purchase_has_another_fingerprint(other):
    """Whatever changes the clip changes the fingerprint."""
    assert generation(prompt="A", duration=5).fingerprint() != other.fingerprint()


def test_an_edit_and_an_extension_of_one_clip_are_two_purchases():
    """The same words to another endpoint buy another clip."""
    assert edit(prompt="A", video=MP4).fingerprint() != extension(prompt="A", video=MP4).fingerprint()


def test_changed_bytes_behind_one_path_are_another_purchase():
    """The content of a file decides, not its name."""
    prints = {
        ImageToVideo(prompt="A", image=Media(path="/data/in.png", sha256=digest)).fingerprint()
        for digest in ("ab", "cd")
    }

    assert 2 == len(prints)


def test_the_order_of_references_matters():
    """The prompt's tags count the references, so another order is another clip (§3.1)."""
    one, other = (generation(prompt="A", reference_images=images) for images in ([PNG, MP4], [MP4, PNG]))

    assert one.fingerprint() != other.fingerprint()


def test_uploaded_inputs_take_the_places_of_paths():
    """Each path is replaced by what it became, everything else stays."""
    request = ReferenceToVideo(
        prompt="A",
        model=NEW,
        image="/data/a.png",
        reference_images=["/data/b.png", PNG],
        reference_audios=["bell.wav"],
        last_frame="/data/a.png",
        keyframes=[frame(1, "/data/c.png")],
    )
    found = {
        Media(path="/data/a.png"): Media(file_id="file_a", sha256="a"),
        Media(path="/data/b.png"): Media(file_id="file_b", sha256="b"),
        Media(path="/data/c.png"): Media(file_id="file_c", sha256="c"),
        Media(path="bell.wav"): Media(url="data:audio/wav;base64,AAAA", sha256="d"),
    }

    assert {
        "model": NEW,
        "prompt": "A",
        "image": {"file_id": "file_a"},
        "reference_images": [{"file_id": "file_b"}, {"url": PNG}],
        "reference_audios": [{"url": "data:audio/wav;base64,AAAA"}],
        "last_frame": {"file_id": "file_a"},
        "keyframes": [{"image": {"file_id": "file_c"}, "timestamp_s": 1.0}],
    } == request.with_media(found).body()
    assert Media(path="/data/a.png") == request.image


def test_inputs_come_in_the_order_of_the_prompt_tags():
    """Tags count image, references, keyframes, last frame, then sounds (§3.1)."""
    request = generation(
        prompt="A",
        model=NEW,
        image=PNG,
        reference_images=[PNG, PNG],
        reference_audios=["eve"],
        last_frame=PNG,
        keyframes=[frame(1), frame(2)],
    )

    assert [
        "image",
        "reference_images[0]",
        "reference_images[1]",
        "keyframes[0].image",
        "keyframes[1].image",
        "last_frame",
        "reference_audios[0]",
    ] == [field for field, _ in request.media()]


def test_a_request_is_a_value():
    """A request cannot be changed after it was checked."""
    request = TextToVideo(prompt="A")

    with pytest.raises(ValueError, match="frozen"):
        request.prompt = ""  # type: ignore[misc]


JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.binary(max_size=8),
    st.lists(st.text(max_size=5), max_size=3),
    st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=3),
)
WORDS = ("prompt", "model", "storage_options", "output", "duration", "aspect_ratio", "resolution", "generate_audio")
MORE_WORDS = ("user", "image", "reference_images", "reference_audios", "last_frame", "keyframes", "video", "seed")


@given(words=st.dictionaries(st.sampled_from(WORDS + MORE_WORDS), JUNK))
def test_any_words_make_a_body_or_a_complaint(words):
    """Whatever templates render, a request either has a JSON body and a fingerprint or the complaint is ours."""
    for build in BUILD.values():
        try:
            request = build(**{"prompt": "A", **words})
        except InvalidInput:
            continue
        if not any(media.path for _, media in request.media()):
            assert json.dumps(request.body())
        assert 64 == len(request.fingerprint())


@given(seconds=st.integers(1, 15), resolution=st.sampled_from(["480p", "720p"]), references=st.integers(0, 7))
def test_a_price_is_seconds_times_rate_plus_images(seconds, resolution, references):
    """The measured formula of §4 holds for every generation with 1.5."""
    rate = {"480p": Decimal("0.08"), "720p": Decimal("0.14")}[resolution]
    request = generation(
        prompt="A", model=NEW, duration=seconds, resolution=resolution, reference_images=[PNG] * references
    )

    assert seconds * rate + references * Decimal("0.01") == pricing.estimate(request).usd
