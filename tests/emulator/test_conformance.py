"""Every row of the contract's conformance table (§13.1 to §13.4) over a real socket; ids and names carry the row.

What a client should make of a poll answer is asserted beside it, so that both witnesses are held against each row.
"""

from __future__ import annotations

import re
import uuid

import httpx
import pytest
from emulator_kit import (
    CLASSIC,
    EDITS,
    EXTENSIONS,
    GENERATIONS,
    LITE,
    MP4_URL,
    NEW,
    PNG_URL,
    Api,
    bucket,
    data_uri,
    look_into,
    picture,
)

from airflow_provider_grokvideo.core.wire import decode, decode_submit
from airflow_provider_grokvideo.emulator import Emulator

U = "9b1f0c3e-5d64-4c0e-9b0e-3f3a1d2b4c5d"
PNG = {"url": PNG_URL}
MP4 = {"url": MP4_URL}


def frames(*moments: float) -> list[dict[str, object]]:
    """Return keyframes at these seconds."""
    return [{"image": PNG, "timestamp_s": moment} for moment in moments]


def meaning(answer: httpx.Response, uploads: bool = False) -> str:
    """Name what the client's core makes of a poll answer."""
    return type(decode(answer.status_code, answer.headers, answer.content, request_id=U, uploads=uploads)).__name__


def submit_meaning(answer: httpx.Response) -> str:
    """Name what the client's core makes of the answer to a submit."""
    return type(decode_submit(answer.status_code, answer.headers, answer.content)).__name__


def code_of(answer: httpx.Response) -> str:
    """Return the code of an error in JSON, or ``plain`` for one in plain text."""
    kind = answer.headers.get("content-type", "")
    return "plain" if kind.startswith("text/plain") else answer.json()["code"]


# 13.1 Auth and discovery


@pytest.mark.parametrize(
    ("method", "path"),
    [
        pytest.param("POST", GENERATIONS, id="A1 generation"),
        pytest.param("POST", EDITS, id="A1 edit"),
        pytest.param("POST", EXTENSIONS, id="A1 extension"),
        pytest.param("GET", f"/videos/{U}", id="A1 poll"),
        pytest.param("GET", "/api-key", id="A1 key"),
        pytest.param("GET", "/me", id="A1 me"),
        pytest.param("GET", "/models", id="A1 models"),
        pytest.param("GET", "/video-generation-models", id="A1 video models"),
        pytest.param("GET", "/files", id="A1 files"),
        pytest.param("POST", "/files", id="A1 upload"),
    ],
)
def test_a_request_without_a_key_is_told_so_first(api, method, path):
    """Authorization is looked at before anything else in the request."""
    answer = api.ask(method, path, key=None)

    assert (401, "unauthenticated:no-credentials") == (answer.status_code, code_of(answer))
    assert uuid.UUID(answer.headers["x-request-id"])


@pytest.mark.parametrize(
    ("quirk", "key", "status", "code", "words"),
    [
        pytest.param("400", "xai-nobody", 400, "invalid-argument", "API key", id="A2"),
        pytest.param("401", "xai-nobody", 401, "unauthenticated:bad-credentials", "API key", id="A2 switch"),
        pytest.param("400", "xai-emulator-blocked", 403, "permission-denied", "blocked", id="A3"),
        pytest.param("400", "xai-emulator-no-credit", 403, "permission-denied", "credits", id="A4"),
    ],
)
def test_a_key_that_does_not_work_is_refused(api, quirk, key, status, code, words):
    """A wrong key is HTTP 400 and missing credits are HTTP 403; nothing is accepted."""
    api.order(quirks={"wrong_key": quirk})
    answer = api.submit(key=key)

    assert (status, code) == (answer.status_code, code_of(answer))
    assert words in answer.json()["error"]
    assert [] == api.emulator.starts


@pytest.mark.parametrize(
    ("status", "code"),
    [
        pytest.param("402", "personal-team-blocked:spending-limit", id="A4 402"),
        pytest.param("429", "resource-exhausted", id="A4 429"),
    ],
)
def test_missing_credits_have_other_shapes(api, status, code):
    """The switch says how a team without credits is refused; the client sees the same cause."""
    api.order(quirks={"no_credit": status})
    answer = api.submit(key="xai-emulator-no-credit")

    assert (int(status), code) == (answer.status_code, code_of(answer))
    assert "OutOfCredits" == submit_meaning(answer)
    assert [] == api.emulator.starts


def test_a11_a_capability_may_be_missing(api):
    """A key that works and may not do this is told so, without a word about the key."""
    api.emulator.script("no_capability", on="submit")
    answer = api.submit()

    assert (403, "permission-denied") == (answer.status_code, code_of(answer))
    assert "AuthenticationFailed" == submit_meaning(answer)


def test_a5_a_good_key_gets_its_twelve_facts(api):
    """The facts of a healthy key are complete and its three booleans false."""
    facts = api.ask("GET", "/api-key").json()

    names = "redacted_api_key user_id name create_time modify_time modified_by team_id acls api_key_id"
    switches = ["team_blocked", "api_key_blocked", "api_key_disabled"]
    assert sorted([*names.split(), *switches]) == sorted(facts)
    assert [False] * 3 == [facts[name] for name in switches]
    assert api.emulator.api_key not in str(facts)


@pytest.mark.parametrize(
    ("key", "zdr"),
    [pytest.param("", "no_zdr", id="A6"), pytest.param("xai-emulator-zdr", "zdr", id="A6 team with ZDR")],
)
def test_me_tells_whether_data_are_retained(api, key, zdr):
    """``/me`` says whose key it is and whether the team keeps data."""
    facts = api.ask("GET", "/me", key=key).json()

    assert {"user_id", "team_id", "zdr_status", "team_blocked", "api_key"} == set(facts)
    assert (zdr, False) == (facts["zdr_status"], facts["team_blocked"])
    assert {"redacted_api_key", "api_key_id", "blocked", "disabled"} == set(facts["api_key"])


def test_a7_three_video_models_with_nine_facts_each(api):
    """The video models are listed with modalities and aliases, without prices."""
    models = api.ask("GET", "/video-generation-models").json()["models"]

    assert [CLASSIC, NEW, LITE] == [model["id"] for model in models]
    nine = "id fingerprint created object owned_by version input_modalities output_modalities aliases"
    assert [sorted(nine.split())] * 3 == [sorted(model) for model in models]
    alias = api.ask("GET", f"/video-generation-models/{NEW}-preview")
    assert NEW == alias.json()["id"]


@pytest.mark.parametrize(
    "path",
    [pytest.param("/video-generation-models/nope", id="A8"), pytest.param("/models/nope", id="A8 of all models")],
)
def test_an_unknown_model_is_not_found(api, path):
    """Asking for a model that does not exist is a 404."""
    assert 404 == api.ask("GET", path).status_code


def test_a9_the_plain_list_of_models(api):
    """The list in the shape of another API names the same models."""
    listed = api.ask("GET", "/models").json()

    assert ("list", [CLASSIC, NEW, LITE]) == (listed["object"], [model["id"] for model in listed["data"]])


@pytest.mark.parametrize(
    ("method", "path"),
    [
        pytest.param("DELETE", f"/videos/{U}", id="A10 delete"),
        pytest.param("POST", f"/videos/{U}", id="A10 post"),
        pytest.param("GET", "/videos", id="A10 list"),
        pytest.param("GET", "/videos/", id="A10 list with slash"),
        pytest.param("POST", f"/videos/{U}/cancel", id="A10 cancel"),
        pytest.param("GET", f"/videos/{U}/content", id="A10 content"),
    ],
)
def test_what_the_service_does_not_offer_is_refused(api, method, path):
    """There is no list, no cancelling, no deleting."""
    assert api.ask(method, path).status_code in (404, 405)


# 13.2 Submit


@pytest.mark.parametrize(
    ("endpoint", "body", "mode"),
    [
        pytest.param(GENERATIONS, {}, "text-to-video", id="S1"),
        *(pytest.param(GENERATIONS, {"duration": n}, "text-to-video", id=f"S2 {n} s") for n in (1, 2, 14, 15)),
        pytest.param(GENERATIONS, {"duration": "8"}, "text-to-video", id="S2 text"),
        pytest.param(GENERATIONS, {"seconds": 3}, "text-to-video", id="S2 seconds"),
        pytest.param(GENERATIONS, {"image": PNG}, "image-to-video", id="S6 url"),
        pytest.param(GENERATIONS, {"image": {"url": data_uri(picture())}}, "image-to-video", id="S6 data"),
        pytest.param(GENERATIONS, {"input_reference": PNG}, "image-to-video", id="S6 alias"),
        pytest.param(GENERATIONS, {"reference_images": [PNG] * 7, "duration": 10}, "reference-to-video", id="S12 10 s"),
        pytest.param(
            GENERATIONS,
            {
                "model": NEW,
                "duration": 15,
                "image": PNG,
                "reference_images": [PNG] * 14,
                "reference_audios": [{"voice_id": "eve"}, {"url": "https://media.example/a.mp3"}, {"voice_id": "rex"}],
            },
            "reference-to-video",
            id="S13 at the limits",
        ),
        pytest.param(
            GENERATIONS,
            {"model": NEW, "duration": 4, "keyframes": frames(1 / 3, 2 / 3, 1, 3.9), "last_frame": PNG},
            "reference-to-video",
            id="S14 at the limits",
        ),
        pytest.param(GENERATIONS, {"model": f"{NEW}-preview"}, "text-to-video", id="S16 alias"),
        pytest.param(EDITS, {"video": MP4}, "edit", id="S17"),
        pytest.param(EXTENSIONS, {"video": MP4}, "extend", id="S21 default"),
        *(pytest.param(EXTENSIONS, {"video": MP4, "duration": n}, "extend", id=f"S21 {n} s") for n in (2, 10)),
        pytest.param(GENERATIONS, {"seed": 7, "fps": 60, "n": 3}, "text-to-video", id="S29"),
    ],
)
def test_a_good_body_is_accepted_with_a_request_id_and_nothing_else(api, endpoint, body, mode):
    """The answer to a start is HTTP 200 and the request id alone; the ledger knows the mode."""
    answer = api.submit(endpoint, **body)

    assert (200, ["request_id"]) == (answer.status_code, list(answer.json()))
    start = api.emulator.starts[0]
    assert (answer.json()["request_id"], mode) == (start.request_id, start.mode)
    assert str(uuid.UUID(start.request_id)) == start.request_id


def test_s1_the_defaults_are_8_seconds_of_480p_in_16_to_9(api):
    """A body of model and prompt gets the published defaults."""
    clip = look_into(api.film())

    assert ((848, 480), 8.0) == (clip.size, clip.seconds)


def test_s6_an_uploaded_image_is_accepted_and_the_ratio_is_its_own(api):
    """With an image the asked aspect ratio is ignored."""
    file_id = api.upload(picture((300, 400)), "a.png")
    clip = look_into(api.film(image={"file_id": file_id}, aspect_ratio="16:9", duration=1))

    assert (480, 640) == clip.size


@pytest.mark.parametrize(
    ("endpoint", "body", "status", "code"),
    [
        pytest.param(GENERATIONS, {"duration": 0}, 400, "invalid-argument", id="S3 0 s"),
        pytest.param(GENERATIONS, {"duration": 16}, 400, "invalid-argument", id="S3 16 s"),
        pytest.param(GENERATIONS, {"duration": "16"}, 400, "invalid-argument", id="S3 text"),
        pytest.param(GENERATIONS, {"duration": "abc"}, 422, "plain", id="S4 abc"),
        pytest.param(GENERATIONS, {"duration": 3.5}, 422, "plain", id="S4 3.5"),
        pytest.param(GENERATIONS, {"duration": True}, 422, "plain", id="S4 true"),
        pytest.param(GENERATIONS, {"seconds": 5, "size": "848x480"}, 422, "plain", id="S4 seconds and size"),
        pytest.param(GENERATIONS, {"aspect_ratio": "21:9"}, 422, "plain", id="S5 ratio"),
        pytest.param(GENERATIONS, {"resolution": "4k"}, 422, "plain", id="S5 resolution"),
        pytest.param(GENERATIONS, {"image": PNG_URL}, 422, "plain", id="S7"),
        pytest.param(GENERATIONS, {"reference_images": [PNG_URL]}, 422, "plain", id="S7 reference"),
        pytest.param(GENERATIONS, {"image": {}}, 400, "invalid-argument", id="S8 neither"),
        pytest.param(GENERATIONS, {"image": {**PNG, "file_id": "f"}}, 400, "invalid-argument", id="S8 both"),
        pytest.param(GENERATIONS, {"resolution": "1080p"}, 400, "invalid-argument", id="S10"),
        pytest.param(GENERATIONS, {"image": PNG, "reference_images": [PNG]}, 400, "invalid-argument", id="S11"),
        pytest.param(GENERATIONS, {"duration": 11, "reference_images": [PNG]}, 400, "invalid-argument", id="S12 11 s"),
        pytest.param(GENERATIONS, {"duration": 15, "reference_images": [PNG]}, 400, "invalid-argument", id="S12 15 s"),
        *(
            pytest.param(
                GENERATIONS,
                {"model": model, "reference_images": [PNG] * count},
                400,
                "invalid-argument",
                id=f"S13 {count} references on {model}",
            )
            for model, count in ((CLASSIC, 8), (NEW, 15), (LITE, 1))
        ),
        pytest.param(
            GENERATIONS,
            {"model": NEW, "reference_audios": [{"voice_id": "eve"}] * 4},
            400,
            "invalid-argument",
            id="S13 audios",
        ),
        pytest.param(
            GENERATIONS,
            {"model": NEW, "keyframes": frames(1, 2, 3, 4, 5)},
            400,
            "invalid-argument",
            id="S13 keyframes",
        ),
        *(
            pytest.param(
                GENERATIONS, {"model": NEW, "duration": 4, "keyframes": pinned}, 400, "invalid-argument", id=id_
            )
            for id_, pinned in {
                "S14 at 0": frames(0),
                "S14 before 0": frames(-1),
                "S14 at the end": frames(4),
                "S14 after the end": frames(4.5),
                "S14 one slot": frames(1.0, 1.1),
            }.items()
        ),
        *(
            pytest.param(GENERATIONS, {"model": model, **extra}, 400, "invalid-argument", id=f"S15 {name} on {model}")
            for model in (CLASSIC, LITE)
            for name, extra in {
                "last frame": {"last_frame": PNG},
                "keyframes": {"keyframes": frames(1)},
                "audios": {"reference_audios": [{"voice_id": "eve"}]},
            }.items()
        ),
        pytest.param(GENERATIONS, {"model": "grok-9"}, 404, "not-found", id="S16"),
        pytest.param(EDITS, {"video": None}, 422, "plain", id="S18 no video"),
        pytest.param(EDITS, {"video": MP4, "prompt": None}, 422, "plain", id="S18 no prompt"),
        pytest.param(EXTENSIONS, {"video": None}, 422, "plain", id="S18 extension"),
        pytest.param(EDITS, {"video": MP4, "model": NEW}, 400, "invalid-argument", id="S20 edit"),
        pytest.param(EXTENSIONS, {"video": MP4, "model": NEW}, 400, "invalid-argument", id="S20 extension"),
        pytest.param(EDITS, {"video": MP4, "model": LITE}, 400, "invalid-argument", id="S20 lite"),
        pytest.param(EXTENSIONS, {"video": MP4, "duration": 1}, 400, "invalid-argument", id="S22 1 s"),
        pytest.param(EXTENSIONS, {"video": MP4, "duration": 11}, 400, "invalid-argument", id="S22 11 s"),
    ],
)
def test_a_bad_body_is_refused_and_not_billed(api, endpoint, body, status, code):
    """Status and code are those of the table; a body that cannot be read is refused in plain text."""
    answer = api.submit(endpoint, **body)

    assert (status, code) == (answer.status_code, code_of(answer))
    assert [] == api.emulator.starts


def test_s5_the_refusal_of_a_word_lists_the_right_ones(api):
    """An unknown enum value is answered in the wording of the service's deserialiser."""
    answer = api.submit(resolution="4k")

    assert "unknown variant `4k`, expected one of `480p`, `720p`, `1080p`" in answer.text


@pytest.mark.parametrize(
    ("endpoint", "body", "quirk", "code"),
    [
        pytest.param(GENERATIONS, {"prompt": ""}, {}, "invalid_argument", id="S9 empty"),
        pytest.param(GENERATIONS, {"prompt": None}, {}, "invalid_argument", id="S9 missing"),
        pytest.param(
            GENERATIONS, {"resolution": "1080p"}, {"classic_1080p": "async"}, "failed_precondition", id="S10 switch"
        ),
        pytest.param(
            EDITS, {"video": MP4, "model": NEW}, {"edit_model": "async"}, "failed_precondition", id="S20 switch"
        ),
    ],
)
def test_what_is_accepted_and_fails_later(api, endpoint, body, quirk, code):
    """Some bad orders are taken and fail at a poll; they are not billed."""
    api.order(quirks=quirk)
    answer = api.poll(api.start(endpoint, **body))

    assert (200, "failed", code) == (answer.status_code, answer.json()["status"], answer.json()["error"]["code"])
    assert "Failed" == meaning(answer)
    assert [0] == [start.billed_ticks for start in api.emulator.starts]


def test_s9_switch_refuses_an_empty_prompt_at_once(api):
    """With the switch an empty prompt is refused at the submit."""
    api.order(quirks={"empty_prompt": "sync"})

    assert 400 == api.submit(prompt="").status_code


def test_s19_an_edit_of_a_long_clip_fails(api):
    """A source above 8.7 s is accepted and fails, or is refused under the switch."""
    source = {"url": api.link(duration=9)}
    answer = api.poll(api.start(EDITS, video=source))
    api.order(quirks={"edit_too_long": "sync"})
    refused = api.submit(EDITS, video=source)

    assert ("failed", "invalid_argument") == (answer.json()["status"], answer.json()["error"]["code"])
    assert (400, "invalid-argument") == (refused.status_code, code_of(refused))


@pytest.mark.parametrize(
    ("seconds", "status"),
    [
        pytest.param(1, 400, id="S22 source of 1 s"),
        pytest.param(2, 200, id="S22 source of 2 s"),
        pytest.param(15, 200, id="S22 source of 15 s"),
    ],
)
def test_an_extension_takes_2_to_15_seconds(api, seconds, status):
    """The source of an extension has its own limits."""
    assert status == api.submit(EXTENSIONS, video={"url": api.link(duration=seconds)}).status_code


def test_s22_a_source_that_has_been_extended_beyond_15_seconds_is_refused(api):
    """The whole clip counts, not the part that was generated first."""
    grown = api.video(api.start(EXTENSIONS, video={"url": api.link(duration=10)}, duration=6))

    assert 16 == grown["duration"]
    assert 400 == api.submit(EXTENSIONS, video={"url": grown["url"]}).status_code


def test_s23_a_team_without_data_retention_must_say_where_to_put_the_video(api):
    """Without ``output.upload_url`` such a team is refused, and the refusal names the field."""
    refused = api.submit(key="xai-emulator-zdr")
    accepted = api.submit(key="xai-emulator-zdr", output={"upload_url": "https://bucket.example/a.mp4"})

    assert (400, "invalid-argument") == (refused.status_code, code_of(refused))
    assert "output.upload_url" in refused.json()["error"]
    assert 200 == accepted.status_code


def test_s24_a_body_above_20_mib_is_too_large(api):
    """The body has a limit; the refusal is plain text."""
    answer = api.submit(prompt="x" * (20 * 2**20))

    assert (413, "plain") == (answer.status_code, code_of(answer))


def test_s25_a_form_is_not_json(api):
    """The submit endpoints take JSON only."""
    answer = api.ask("POST", GENERATIONS, files={"prompt": b"A ball"})

    assert 415 == answer.status_code


def test_s26_above_the_rate_limit_both_kinds_of_429_are_seen(api):
    """The refusals take turns: with ``Retry-After: 2`` and without."""
    api.order(quirks={"rate_limit": "1"})
    answers = [api.submit() for _ in range(3)]

    assert [200, 429, 429] == [answer.status_code for answer in answers]
    assert ["2", None] == [answer.headers.get("retry-after") for answer in answers[1:]]
    assert "resource-exhausted" == code_of(answers[2])
    assert 1 == len(api.emulator.starts)


@pytest.mark.parametrize("status", [pytest.param(400, id="S30 400"), pytest.param(403, id="S30 403")])
def test_content_may_be_refused_at_the_submit(api, status):
    """The refusal names the id of a key and is no word about the key; nothing is accepted."""
    api.emulator.script(f"refused:{status}")
    answer = api.submit()

    assert status == answer.status_code
    assert "API key ID" in answer.json()["error"]
    assert "VideoModerated" == submit_meaning(answer)
    assert [] == api.emulator.starts


def test_s27_503_before_accepting_bills_nothing(api):
    """A scripted 503 at the submit leaves no job behind."""
    api.emulator.script("http:503", on="submit")
    answer = api.submit()

    assert (503, "unavailable") == (answer.status_code, code_of(answer))
    assert [] == api.emulator.starts


def test_s27_cut_after_accepting_bills_and_says_nothing(api):
    """The job exists and is billed although the client never hears of it."""
    api.emulator.script("lost_answer")
    with pytest.raises(httpx.TransportError):
        api.submit()

    assert [4_000_000_000] == [start.billed_ticks for start in api.emulator.starts]
    assert 200 == api.poll(api.emulator.starts[0].request_id).status_code


def test_s28_an_idempotency_key_saves_nobody(api):
    """The same key twice makes two jobs and two bills."""
    body = {"model": CLASSIC, "prompt": "A red ball"}
    twice = [
        api.ask("POST", GENERATIONS, json=body, headers={"x-idempotency-key": U}).json()["request_id"] for _ in range(2)
    ]

    assert 2 == len(set(twice)) == len(api.emulator.starts)


# 13.3 Poll


def test_p1_p2_pending_answers_take_turns_with_and_without_a_body(api):
    """The first poll gets an empty 202 without content type, the next a JSON body with progress."""
    api.emulator.set_tempo("polls:4")
    request_id = api.start(model=NEW)
    polls = [api.poll(request_id) for _ in range(5)]

    assert [202] * 4 + [200] == [poll.status_code for poll in polls]
    assert [b"", b""] == [poll.content for poll in polls[:3:2]]
    assert [None, None] == [poll.headers.get("content-type") for poll in polls[:3:2]]
    bodies = [poll.json() for poll in polls[1:4:2]]
    assert [("pending", NEW)] * 2 == [(body["status"], body["model"]) for body in bodies]
    progress = [body["progress"] for body in bodies]
    assert 0 <= progress[0] <= progress[1] <= 99
    assert ["Pending"] * 4 + ["Done"] == [meaning(poll) for poll in polls]


@pytest.mark.parametrize(
    ("quirk", "body"),
    [
        pytest.param("200", {"status": "pending"}, id="P3 status"),
        pytest.param("no-status", {"request_id": U}, id="P3 no status"),
    ],
)
def test_pending_may_come_as_http_200(api, quirk, body):
    """Under the switch a job that runs is answered with HTTP 200."""
    api.order(quirks={"pending_shape": quirk}, tempo="polls:1")
    request_id = api.start()
    answer = api.poll(request_id)

    assert (200, list(body)) == (answer.status_code, list(answer.json()))
    assert "Pending" == meaning(answer)


def test_p4_done_has_everything(api):
    """A finished job answers with link, length, progress, the billed model and the cost."""
    request_id = api.start(model=f"{NEW}-preview", duration=6)
    answer = api.poll(request_id)
    body = answer.json()
    url = body["video"].pop("url")

    assert {
        "status": "done",
        "progress": 100,
        "model": NEW,
        "video": {"duration": 6, "respect_moderation": True},
        "usage": {"cost_in_usd_ticks": 4_800_000_000},
    } == body
    assert url.startswith(f"{api.emulator.download_origin}/")
    assert f"xai-video-{request_id}.mp4" in url
    assert "Done" == meaning(answer)


@pytest.mark.parametrize(
    ("order", "keys"),
    [
        pytest.param({"quirks": {"done_shape": "old"}}, ["model", "video"], id="P5"),
        pytest.param({"quirks": {"done_shape": "flat"}}, ["duration", "url"], id="P6 flat"),
        pytest.param({"quirks": {"done_shape": "openai"}}, ["data", "id", "status"], id="P6 another API"),
        pytest.param({"quirks": {"done_shape": "nested"}}, ["response", "status"], id="P6 nested"),
        pytest.param({"faults": [{"fault": "old_done"}]}, ["model", "video"], id="P5 fault"),
        pytest.param({"faults": [{"fault": "flat_done"}]}, ["duration", "url"], id="P6 flat, fault"),
        pytest.param({"faults": [{"fault": "openai_done"}]}, ["data", "id", "status"], id="P6 another API, fault"),
        pytest.param({"faults": [{"fault": "nested_response"}]}, ["response", "status"], id="P6 nested, fault"),
    ],
)
def test_done_has_other_shapes(api, order, keys):
    """Each known shape of a finished job holds a link, and the client finds it."""
    api.order(**order)
    answer = api.poll(api.start())

    assert keys == sorted(answer.json())
    job = decode(200, answer.headers, answer.content)
    assert job.url.startswith(api.emulator.download_origin)


def test_p7_a_stored_video_comes_with_its_file(api):
    """With ``storage_options`` the answer names a file that the Files API and the public URL give out."""
    wish = {"filename": "ball.mp4", "expires_after": 3600, "public_url": True}
    video = api.video(api.start(duration=1, storage_options=wish))
    file = video["file_output"]
    content = api.ask("GET", f"/files/{file['file_id']}/content").content

    assert {"file_id", "filename", "expires_at", "public_url", "public_url_expires_at"} == set(file)
    assert "ball.mp4" == file["filename"]
    assert content == api.fetch(file["public_url"]) == api.fetch(video["url"])
    assert len(content) == api.ask("GET", f"/files/{file['file_id']}").json()["bytes"]


def named(api, **words):
    """Return the names on one page of files, and the token of the next."""
    answer = api.ask("GET", "/files", params=words).json()
    return [each["filename"] for each in answer["data"]], answer.get("pagination_token")


def test_f1_files_are_listed_in_pages_and_found_by_like_names(api):
    """The newest first; a page that has files has a token, the last one, too; a filter hits like names."""
    for number in range(5):
        api.ask("POST", "/files", files={"file": (f"ball-{number:016x}.mp4", b"x")})
    api.ask("POST", "/files", files={"file": ("Zürich", b"x")})
    names, token = named(api, filter=f"ball-{3:016x}.mp4", limit=4)
    rest, last = named(api, filter=f"ball-{3:016x}.mp4", limit=4, pagination_token=token)

    assert sorted(f"ball-{number:016x}.mp4" for number in range(5)) == sorted([*names, *rest])
    assert ([], None) == named(api, filter=f"ball-{3:016x}.mp4", limit=4, pagination_token=last)
    assert 6 == len(named(api)[0])
    assert named(api, order="asc")[0] == named(api)[0][::-1]


@pytest.mark.parametrize(
    "words", [{"limit": 0}, {"limit": 101}, {"limit": "x"}, {"order": "up"}, {"pagination_token": "x"}]
)
def test_f1_a_page_that_cannot_be_is_refused(api, words):
    """As other wrong arguments are."""

    assert 400 == api.ask("GET", "/files", params=words).status_code


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("A ball [[emulator: tempo=at-once]]", ["ball.mp4"]),
        ("A ball [[emulator: tempo=seconds:3600]]", []),
        ("A ball [[emulator: tempo=at-once fault=moderated:b]]", []),
        ("A ball [[emulator: tempo=at-once fault=failed:internal_error]]", []),
        ("A ball [[emulator: tempo=at-once fault=storage_error]]", []),
    ],
    ids=["done", "pending", "moderated", "failed", "storage error"],
)
def test_f2_a_stored_output_is_listed_once_the_video_is_done(api, prompt, expected):
    """Also where nobody has polled."""
    api.start(prompt=prompt, duration=1, storage_options={"filename": "ball.mp4"})

    assert expected == named(api, filter="ball.mp4")[0]


def test_p7_storing_may_fail_while_the_link_is_good(api):
    """A storage error comes beside a working link."""
    api.emulator.script("storage_error")
    video = api.video(api.start(duration=1, storage_options={"filename": "ball.mp4"}))

    assert "file_output" not in video
    assert video["storage_error"]
    assert b"ftyp" == api.fetch(video["url"])[4:8]


@pytest.mark.parametrize(
    ("quirk", "linked"), [pytest.param("url", True, id="P8 url"), pytest.param("null", False, id="P8 null")]
)
def test_the_video_is_put_to_the_upload_url(api, quirk, linked):
    """The MP4 arrives once at the address of the order, before the job is said to be done."""
    api.order(quirks={"upload_result": quirk})
    with bucket() as place:
        request_id = api.start(duration=1, output={"upload_url": place.url})
        answers = [api.poll(request_id) for _ in range(2)]

    assert [place.url if linked else None] * 2 == [answer.json()["video"]["url"] for answer in answers]
    assert ["video/mp4"] == [kind for kind, _ in place.got]
    assert 1.0 == look_into(place.got[0][1]).seconds
    assert "Done" == meaning(answers[0], uploads=True)


@pytest.mark.parametrize(
    ("fault", "status", "body", "outcome"),
    [
        pytest.param("moderated:a", 200, {"status": "done", "url": None}, "Moderated", id="P9"),
        pytest.param("moderated:b", 400, {"code": "imagine:content-moderated"}, "Moderated", id="P10"),
        pytest.param("moderated:c", 200, {"status": "failed"}, "Moderated", id="P11"),
        pytest.param("moderated:d", 403, {"code": "permission-denied"}, "Moderated", id="P23"),
        pytest.param("moderated:e", 400, {"code": "Client specified an invalid argument"}, "Moderated", id="P24"),
        pytest.param("failed:invalid_argument", 200, {"code": "invalid_argument"}, "Failed", id="P12 argument"),
        pytest.param("failed:permission_denied", 200, {"code": "permission_denied"}, "Failed", id="P12 permission"),
        pytest.param("failed:failed_precondition", 200, {"code": "failed_precondition"}, "Failed", id="P12 condition"),
        pytest.param("failed:service_unavailable", 200, {"code": "service_unavailable"}, "Failed", id="P12 overload"),
        pytest.param("failed:internal_error", 200, {"code": "internal_error"}, "Failed", id="P12 internal"),
        pytest.param("failed_string", 200, {"status": "failed"}, "Failed", id="P13 string"),
        pytest.param("failed:UNKNOWN_X", 200, {"code": "UNKNOWN_X"}, "Failed", id="P13 unknown code"),
        pytest.param("expired", 200, {"status": "expired"}, "Expired", id="P14"),
        pytest.param("gone", 404, {"code": "not-found"}, "Expired", id="P15 vanished"),
        pytest.param("done_without_url", 200, {"status": "done", "url": ""}, "Failed", id="P19"),
    ],
)
def test_a_job_ends_in_many_ways(api, fault, status, body, outcome):
    """Each ending has its status and its words, stays as it is, and the client understands it."""
    api.emulator.script(fault)
    request_id = api.start()
    answers = [api.poll(request_id) for _ in range(2)]

    assert [status] * 2 == [answer.status_code for answer in answers]
    found = answers[0].json()
    error = found.get("error")
    flat = {**found, **found.get("video", {}), **(error if isinstance(error, dict) else {})}
    assert body == {name: flat[name] for name in body}
    assert answers[0].json() == answers[1].json()
    assert outcome == meaning(answers[0])


@pytest.mark.parametrize(
    "variant",
    [
        pytest.param("a", id="P9"),
        pytest.param("b", id="P10"),
        pytest.param("c", id="P11"),
        pytest.param("d", id="P23"),
        pytest.param("e", id="P24"),
    ],
)
def test_a_moderated_job_is_billed_in_full(api, variant):
    """A blocked clip costs what a good one costs, and the answer says so."""
    api.emulator.script(f"moderated:{variant}")
    answer = api.poll(api.start(model=NEW, duration=15, image=PNG))

    assert {"cost_in_usd_ticks": 12_100_000_000} == answer.json()["usage"]
    assert 12_100_000_000 == api.emulator.billed_ticks


def test_p12_a_failed_job_has_no_video_and_costs_nothing(api):
    """Model, progress and video are left out of a failure, and the ledger books nothing."""
    api.emulator.script("failed:internal_error")
    answer = api.poll(api.start())

    assert {"status", "error"} == set(answer.json())
    assert 0 == api.emulator.billed_ticks


def test_p13_the_error_may_be_a_string(api):
    """A gateway's failure has a plain string where an object should be."""
    api.emulator.script("failed_string")

    assert isinstance(api.poll(api.start()).json()["error"], str)


@pytest.mark.parametrize(
    ("request_id", "status", "code", "outcome"),
    [
        pytest.param(U, 404, "not-found", "Expired", id="P15 unknown"),
        pytest.param("video_gen_abc", 400, "invalid-argument", "Failed", id="P16"),
    ],
)
def test_an_id_that_means_nothing(api, request_id, status, code, outcome):
    """An unknown id is not found, a malformed one refused."""
    answer = api.poll(request_id)

    assert (status, code) == (answer.status_code, code_of(answer))
    assert outcome == meaning(answer)


@pytest.mark.parametrize(
    ("fault", "options", "status", "outcome"),
    [
        pytest.param("http:429", {"on": "poll"}, 429, "RateLimited", id="P17 429"),
        pytest.param("http:500", {"on": "poll"}, 500, "ServiceUnavailable", id="P17 500"),
        pytest.param("http:503", {"on": "poll"}, 503, "ServiceUnavailable", id="P17 503"),
        pytest.param("revoked", {}, 400, "AuthenticationFailed", id="P18"),
        pytest.param("unknown_word:throttled", {}, 200, "Pending", id="P20"),
        pytest.param("html_202", {}, 202, "Pending", id="P21 202"),
        pytest.param("http:502", {"on": "poll", "body": "html"}, 502, "ServiceUnavailable", id="P21 502"),
        pytest.param("html_200", {}, 200, "ServiceUnavailable", id="P21 HTML 200"),
        pytest.param("text_200", {}, 200, "ServiceUnavailable", id="P21 text 200"),
        pytest.param("no_status", {}, 200, "Pending", id="P3 once"),
        pytest.param("http:403", {"on": "poll", "body": "html"}, 403, "ServiceUnavailable", id="P25 page 403"),
        pytest.param("http:404", {"on": "poll", "body": "text"}, 404, "ServiceUnavailable", id="P25 text 404"),
        pytest.param("http:401", {"on": "poll", "body": "gateway"}, 401, "ServiceUnavailable", id="P25 JSON 401"),
        pytest.param("http:200", {"on": "poll", "body": "gateway"}, 200, "ServiceUnavailable", id="P25 JSON 200"),
        pytest.param("no_credits", {"on": "poll"}, 403, "OutOfCredits", id="A4 poll"),
        pytest.param("no_capability", {"on": "poll"}, 403, "AuthenticationFailed", id="A11 poll"),
    ],
)
def test_a_look_may_fail_while_the_job_goes_on(api, fault, options, status, outcome):
    """One odd answer changes nothing: the next poll finds the video."""
    api.emulator.script(fault, **options)
    request_id = api.start()
    odd, ordinary = api.poll(request_id), api.poll(request_id)

    assert (status, outcome) == (odd.status_code, meaning(odd))
    assert (200, "done") == (ordinary.status_code, ordinary.json()["status"])


def test_p18_switch_a_revoked_key_may_be_a_401(api):
    """A key that is revoked is refused in the way the switch for wrong keys says."""
    api.order(quirks={"wrong_key": "401"}, faults=[{"fault": "revoked"}])

    assert 401 == api.poll(api.start()).status_code


def test_p22_looking_again_costs_nothing(api):
    """The same answer comes again, and one charge stands in the ledger."""
    request_id = api.start()
    first, second = api.poll(request_id).json(), api.poll(request_id).json()

    assert first == second
    assert first["usage"]["cost_in_usd_ticks"] == api.emulator.billed_ticks


# 13.4 Download


def test_d1_a_link_gives_a_real_mp4_without_a_key(api):
    """The download is H.264 and AAC in MP4, of the length and shape that was asked for."""
    answer = api.download(api.link(duration=1, aspect_ratio="1:1"))
    clip = look_into(answer.content)

    assert (200, "video/mp4") == (answer.status_code, answer.headers["content-type"])
    assert len(answer.content) == int(answer.headers["content-length"])
    assert ((480, 480), 1.0, ("h264", "aac")) == (clip.size, clip.seconds, clip.codecs)
    assert 0 == api.emulator.leaks


@pytest.mark.parametrize(
    ("suffix", "headers"),
    [
        pytest.param("", {"authorization": "Bearer {key}"}, id="D2 header"),
        pytest.param("", {"authorization": "Bearer another"}, id="D2 another key"),
        pytest.param("", {"x-api-key": "{key}"}, id="D2 key in another header"),
        pytest.param("&key={key}", {}, id="D2 key in the address"),
    ],
)
def test_a_key_at_the_download_origin_is_a_leak(api, suffix, headers):
    """Credentials sent to the download origin are refused and counted."""
    key = api.emulator.api_key
    url = api.link(duration=1) + suffix.format(key=key)
    answer = api.download(url, **{name: value.format(key=key) for name, value in headers.items()})

    assert 403 == answer.status_code
    assert 1 == api.emulator.leaks


@pytest.mark.parametrize("status", [pytest.param(403, id="D3 403"), pytest.param(404, id="D3 404")])
def test_a_link_dies_and_a_look_renews_it(status):
    """After its time a link gives 403 or 404; the next poll has a fresh one for the same video."""
    now = [1_800_000_000.0]
    quirks = {"expired_status": str(status)}
    server = Emulator(tempo="at-once", link_ttl=60, clock=lambda: now[0], quirks=quirks)
    with server, Api(server) as api:
        request_id = api.start(duration=1)
        old = api.video(request_id)["url"]
        now[0] += 60
        dead = api.download(old)
        new = api.video(request_id)["url"]
        found = api.download(new)

    assert (status, 200) == (dead.status_code, found.status_code)
    assert old != new


def test_d3_switch_a_dead_link_may_stay_dead(api):
    """Under the switch a poll after the death of a link gives the same dead link."""
    api.order(quirks={"expired_link": "same"}, faults=[{"fault": "expired_link"}])
    request_id = api.start(duration=1)
    url = api.video(request_id)["url"]

    assert 403 == api.download(url).status_code
    assert url == api.video(request_id)["url"]


def test_d4_a_truncated_download_breaks_off(api):
    """The length that was announced does not arrive."""
    api.emulator.script("truncated")
    with pytest.raises(httpx.RemoteProtocolError):
        api.download(api.link(duration=1))


@pytest.mark.parametrize(
    ("fault", "begin"),
    [
        pytest.param("wrong_bytes", b"<!doctype html>", id="D4 HTML"),
        pytest.param("wrong_bytes:png", b"\x89PNG", id="D4 PNG"),
        pytest.param("truncated:short", b"\0\0\0", id="D4 half a file"),
    ],
)
def test_a_download_may_hold_something_else(api, fault, begin):
    """HTTP 200 and the right type promise nothing about the bytes; the next download is whole."""
    api.emulator.script(fault)
    url = api.link(duration=1)
    wrong, right = api.download(url), api.download(url)

    assert (200, "video/mp4") == (wrong.status_code, wrong.headers["content-type"])
    assert wrong.content.startswith(begin)
    assert len(wrong.content) < len(right.content)
    assert 1.0 == look_into(right.content).seconds


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        pytest.param("bytes=0-99", 0, 99, id="D5 beginning"),
        pytest.param("bytes=100-", 100, None, id="D5 rest"),
        pytest.param("bytes=10-99999999", 10, None, id="D5 beyond the end"),
    ],
)
def test_a_part_can_be_asked_for(api, asked, first, last):
    """A range is answered with 206 and the bytes that were asked for."""
    url = api.link(duration=1)
    whole = api.fetch(url)
    part = api.download(url, range=asked)
    end = len(whole) if last is None else last + 1

    assert (206, whole[first:end]) == (part.status_code, part.content)
    assert f"bytes {first}-{end - 1}/{len(whole)}" == part.headers["content-range"]


def test_d5_switch_a_range_may_be_ignored(api):
    """Under the switch the whole file comes, with 200."""
    api.order(quirks={"range": "ignore"})
    answer = api.download(api.link(duration=1), range="bytes=0-99")

    assert 200 == answer.status_code
    assert len(answer.content) == int(answer.headers["content-length"]) > 100


def test_every_row_of_the_table_is_here():
    """No row is forgotten: ids and names of the tests above hold all of them."""
    named: set[str] = set()
    for name, function in list(globals().items()):
        if name.startswith("test_"):
            named |= {row.upper() for row in re.findall(r"(?<=_)[aspd]\d+(?=_)", name)}
            for mark in getattr(function, "pytestmark", []):
                named |= {case.id.split()[0] for case in mark.args[1] if getattr(case, "id", None)}

    sizes = {"A": 11, "S": 30, "P": 25, "D": 5}
    rows = {f"{part}{number}" for part, size in sizes.items() for number in range(1, size + 1)}
    assert rows == named
