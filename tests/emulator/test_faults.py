"""Each fault word does what it says, in a script, at the control endpoint and in a prompt; others are refused."""

from __future__ import annotations

import threading
import time

import httpx
import pytest
from emulator_kit import GENERATIONS, Api, bucket, look_into, picture

from airflow_provider_grokvideo.emulator import Emulator
from airflow_provider_grokvideo.emulator.faults import KINDS, read_fault
from airflow_provider_grokvideo.emulator.quirks import CHOICES
from airflow_provider_grokvideo.emulator.tempo import Tempo

ENDINGS = {
    "moderated:a": (200, "moderated", True),
    "moderated:b": (400, "moderated", True),
    "moderated:c": (200, "moderated", True),
    "moderated:d": (403, "moderated", True),
    "moderated:e": (400, "moderated", True),
    "failed:out_of_luck": (200, "failed", False),
    "failed_string": (200, "failed", False),
    "expired": (200, "expired", True),
    "gone": (404, "gone", True),
    "old_done": (200, "done", True),
    "flat_done": (200, "done", True),
    "openai_done": (200, "done", True),
    "done_without_url": (200, "done", True),
    "nested_response": (200, "done", True),
    "storage_error": (200, "done", True),
}
ODD_POLLS = {
    "unknown_word:throttled": (200, '{"status":"throttled"}'),
    "no_status": (200, '{"request_id":"'),
    "html_202": (202, "<!doctype html>"),
    "html_200": (200, "<!doctype html>"),
    "text_200": (200, "one moment"),
    "revoked": (400, '{"code":"invalid-argument"'),
}
SUBMITS = {"lost_answer", "accept_then_502", "refused", "zdr"}
DOWNLOADS = {"slow_drip", "truncated", "wrong_bytes", "expired_link", "redirect"}
ANYWHERE = {"http", "no_credits", "no_capability", "cut_before", "hang", "timeout"}


def test_every_word_is_tested():
    """The tables of this file hold all the words there are."""
    kinds = {word.partition(":")[0] for word in (*ENDINGS, *ODD_POLLS)}

    assert set(KINDS) == kinds | SUBMITS | DOWNLOADS | ANYWHERE


@pytest.mark.parametrize("way", ["script", "control", "prompt"])
@pytest.mark.parametrize(("word", "seen"), ENDINGS.items(), ids=list(ENDINGS))
def test_an_ending_is_seen_at_the_look_and_in_the_ledger(api, way, word, seen):
    """A way to end has its HTTP status, its word in the ledger, and is billed or not."""
    prompt = "A red ball"
    if way == "script":
        api.emulator.script(word)
    elif way == "control":
        api.order(faults=[{"fault": word}])
    else:
        prompt = f"A red ball [[emulator: fault={word}]]"
    answer = api.poll(api.start(prompt=prompt))
    start = api.emulator.starts[0]

    status, state, billed = seen
    assert (status, state) == (answer.status_code, start.state)
    assert (4_000_000_000 if billed else 0) == start.billed_ticks


@pytest.mark.parametrize("way", ["script", "prompt"])
@pytest.mark.parametrize(("word", "seen"), ODD_POLLS.items(), ids=list(ODD_POLLS))
def test_an_odd_look_passes(api, way, word, seen):
    """One look gets the odd answer, the next the video."""
    prompt = "A red ball"
    if way == "script":
        api.emulator.script(word)
    else:
        prompt = f"A red ball [[emulator: fault={word}]]"
    request_id = api.start(prompt=prompt)
    odd, ordinary = api.poll(request_id), api.poll(request_id)

    assert seen[0] == odd.status_code
    assert odd.text.startswith(seen[1])
    assert "done" == ordinary.json()["status"]


def test_a_lost_answer_in_a_prompt_is_lost_once_and_paid_twice(api):
    """A client that posts again pays again; the ledger shows it."""
    prompt = "A red ball [[emulator: fault=lost_answer]]"
    with pytest.raises(httpx.TransportError):
        api.submit(prompt=prompt)

    assert 200 == api.submit(prompt=prompt).status_code
    assert 2 == len(api.emulator.starts)


def test_a_502_after_accepting_is_a_page_and_a_bill(api):
    """The job exists although the gateway says otherwise."""
    api.emulator.script("accept_then_502")
    answer = api.submit()

    assert (502, "text/html; charset=utf-8") == (answer.status_code, answer.headers["content-type"])
    assert 4_000_000_000 == api.emulator.billed_ticks


def test_zdr_treats_one_submit_as_that_of_a_team_without_retention(api):
    """The submit is refused for want of an upload URL; the next one is not."""
    api.emulator.script("zdr")
    refused, accepted = api.submit(), api.submit()

    assert (400, 200) == (refused.status_code, accepted.status_code)
    assert "ZDR" in refused.json()["error"]


@pytest.mark.parametrize("operation", ["submit", "poll", "download", "files"])
def test_http_strikes_where_it_is_sent(api, operation):
    """A status for one operation leaves the others alone, and comes as often as was said."""
    request_id = api.start(duration=1)
    url = api.video(request_id)["url"]
    calls = {
        "submit": api.submit,
        "poll": lambda: api.poll(request_id),
        "download": lambda: api.download(url),
        "files": lambda: api.ask("GET", "/files"),
    }
    api.emulator.script("http:503", on=operation, times=2)
    seen = {name: [call().status_code for _ in range(3)] for name, call in calls.items()}

    assert {name: [503, 503, 200] if name == operation else [200] * 3 for name in calls} == seen


def test_any_strikes_at_whatever_comes_first(api):
    """A fault on ``any`` waits for the next operation."""
    api.emulator.script("http:500", on="any")

    assert [500, 200] == [api.ask("GET", "/files").status_code, api.submit().status_code]


@pytest.mark.parametrize(
    ("body", "kind", "begin"),
    [
        pytest.param("json", "application/json", '{"code":"resource-exhausted"', id="json"),
        pytest.param("html", "text/html; charset=utf-8", "<!doctype html>", id="html"),
        pytest.param("text", "text/plain; charset=utf-8", "emulated answer 429", id="text"),
        pytest.param("gateway", "application/json", '{"message":', id="gateway"),
        pytest.param("empty", None, "", id="empty"),
    ],
)
def test_http_has_kinds_of_body_and_a_retry_after(api, body, kind, begin):
    """Status, body and Retry-After are those that were ordered; a date may contain spaces."""
    date = "Sun, 22 Nov 2026 10:00:00 GMT"
    api.emulator.script("http:429", on="submit", body=body, retry_after=date)
    answer = api.submit()

    assert (429, date, kind) == (answer.status_code, answer.headers["retry-after"], answer.headers.get("content-type"))
    assert answer.text.startswith(begin)


@pytest.mark.parametrize("operation", ["submit", "poll", "download", "files"])
def test_a_connection_is_cut_before_anything_happens(api, operation):
    """The client gets no answer, and nothing is accepted."""
    request_id = api.start(duration=1)
    url = api.video(request_id)["url"]
    api.emulator.script("cut_before", on=operation)
    with pytest.raises(httpx.TransportError):
        {
            "submit": api.submit,
            "poll": lambda: api.poll(request_id),
            "download": lambda: api.download(url),
            "files": lambda: api.ask("GET", "/files"),
        }[operation]()

    assert 1 == len(api.emulator.starts)
    assert [None] == [seen.status for seen in api.emulator.requests if seen.status is None]


@pytest.mark.parametrize("operation", ["submit", "poll", "download", "files"])
def test_a_hang_ends_after_its_seconds_with_the_ordinary_answer(api, operation):
    """A short hang only delays."""
    request_id = api.start(duration=1)
    url = api.video(request_id)["url"]
    api.emulator.script("hang:0.2", on=operation)
    begun = time.monotonic()
    answer = {
        "submit": api.submit,
        "poll": lambda: api.poll(request_id),
        "download": lambda: api.download(url),
        "files": lambda: api.ask("GET", "/files"),
    }[operation]()

    assert 200 == answer.status_code
    assert time.monotonic() - begun >= 0.19


@pytest.mark.parametrize("word", ["timeout", "hang:600"])
def test_a_hanging_submit_is_accepted_and_ends_when_the_emulator_stops(word):
    """A client that gives up has paid; stopping ends what hangs within seconds."""
    with Emulator(tempo="at-once") as emulator, Api(emulator) as api:
        emulator.script(word, on="submit", times=2)
        with pytest.raises(httpx.ReadTimeout):
            api.ask("POST", GENERATIONS, json={"prompt": "A red ball"}, timeout=0.2)
        accepted = len(emulator.starts)
        hanging = threading.Thread(target=lambda: _swallow(api))
        hanging.start()
        _until(lambda: len(emulator.starts) == 2)
        begun = time.monotonic()
        emulator.stop()
        stopped = time.monotonic() - begun
        hanging.join(10)

    assert 1 == accepted
    assert stopped < 4
    assert not hanging.is_alive()


def test_stopping_drops_a_clip_that_is_being_made():
    """A long clip in the making does not hold the emulator up, and its download ends."""
    with Emulator(tempo="at-once") as emulator, Api(emulator) as api:
        url = api.link(model="grok-imagine-video-1.5", resolution="1080p", duration=15)
        ended: list[object] = []
        downloading = threading.Thread(target=lambda: ended.append(_swallow(api, url)))
        downloading.start()
        _until(lambda: any(seen.origin == "download" for seen in emulator.requests))
        begun = time.monotonic()
        emulator.stop()
        stopped = time.monotonic() - begun
        downloading.join(10)

    assert stopped < 4
    assert not downloading.is_alive()
    assert [b""] != ended


def test_a_slow_body_trickles(api):
    """The whole body comes, over the seconds that were ordered."""
    api.emulator.script("slow_drip:0.4")
    url = api.link(duration=1)
    begun = time.monotonic()
    data = api.fetch(url)

    assert 24 == look_into(data).frames
    assert time.monotonic() - begun >= 0.35


def test_a_download_is_redirected(api):
    """The answer is a 302 to the ordered address, which is not followed here."""
    api.emulator.script("redirect:http://127.0.0.1:9/elsewhere.mp4")
    answer = api.download(api.link(duration=1))

    assert (302, "http://127.0.0.1:9/elsewhere.mp4") == (answer.status_code, answer.headers["location"])


def test_an_expired_link_is_replaced_at_the_next_look(api):
    """The link is dead for good, and a poll gives another one for the same bytes."""
    api.emulator.script("expired_link")
    request_id = api.start(duration=1)
    old = api.video(request_id)["url"]
    dead = [api.download(old).status_code for _ in range(2)]
    new = api.video(request_id)["url"]

    assert [403, 403] == dead
    assert old != new
    assert 24 == look_into(api.fetch(new)).frames


def test_a_fault_may_be_addressed_to_words_of_a_prompt_or_to_a_request(api):
    """Only the job that was meant is struck."""
    api.emulator.script("failed:internal_error", prompt="green")
    red, green = api.start(prompt="A red ball"), api.start(prompt="A green ball")
    api.emulator.script("http:500", on="poll", request_id=red)

    assert "failed" == api.poll(green).json()["status"]
    assert [500, 200] == [api.poll(red).status_code for _ in range(2)]


def test_a_job_may_vanish_after_it_was_done(api):
    """A fault addressed to a finished request changes its end."""
    request_id = api.start()
    before = api.poll(request_id).status_code
    api.emulator.script("gone", request_id=request_id)

    assert (200, 404) == (before, api.poll(request_id).status_code)


def test_an_upload_that_fails_is_noted(api):
    """A bucket that refuses, or is not there, does not upset the job; the ledger tells."""
    with bucket(status=403) as place:
        api.poll(api.start(duration=1, output={"upload_url": place.url}))
    api.poll(api.start(duration=1, output={"upload_url": place.url}))
    api.poll(api.start(duration=1, output={"upload_url": "https://bucket.example/a.mp4"}))

    notes = [start.notes[0] for start in api.emulator.starts]
    assert "output.upload_url answered HTTP 403" == notes[0]
    assert notes[1].startswith("output.upload_url could not be reached")
    assert "output.upload_url is not on this machine: nothing was uploaded" == notes[2]


# Directives


def test_a_directive_sets_the_tempo_of_one_job(api):
    """The job takes its own looks, others keep the emulator's tempo."""
    slow = api.start(prompt="A red ball [[emulator: tempo=polls:2]]")
    fast = api.start()

    assert [202, 202, 200] == [api.poll(slow).status_code for _ in range(3)]
    assert 200 == api.poll(fast).status_code


def test_directives_stay_in_the_ledger_and_out_of_the_picture(api):
    """The ledger has the prompt as it was sent; the clip is that of the prompt without the directive."""
    prompt = "A red ball [[emulator: tempo=at-once]]"
    with_orders = api.film(prompt=prompt, duration=1)

    assert prompt == api.emulator.starts[0].prompt == api.emulator.starts[0].body["prompt"]
    assert api.film(prompt="A red ball", duration=1) == with_orders


def test_several_brackets_hold_several_faults(api):
    """Each pair of brackets brings one fault with its options."""
    request_id = api.start(
        prompt="A ball [[emulator: fault=http:503 on=poll times=2, retry_after=1]] [[emulator: fault=moderated:b]]"
    )
    polls = [api.poll(request_id) for _ in range(4)]

    assert [503, 503, 400, 400] == [poll.status_code for poll in polls]
    assert "1" == polls[0].headers["retry-after"]


@pytest.mark.parametrize(
    ("directive", "named"),
    [
        pytest.param("fualt=expired", "fualt", id="word"),
        pytest.param("fault=explode", "explode", id="fault"),
        pytest.param("fault=moderated", "moderated:b", id="argument missing"),
        pytest.param("fault=moderated:z", "a, b, c, d, e", id="argument unknown"),
        pytest.param("fault=gone:1", "without an argument", id="argument too many"),
        pytest.param("fault=http:503", "on=", id="no place"),
        pytest.param("fault=http:99 on=poll", "200 to 599", id="status"),
        pytest.param("fault=lost_answer on=poll", "'submit'", id="wrong place"),
        pytest.param("fault=http:503 on=moon", "submit, poll", id="unknown place"),
        pytest.param("fault=http:503 on=poll times=0", "times", id="times"),
        pytest.param("fault=http:503 on=poll body=xml", "html", id="body"),
        pytest.param("fault=hang:soon on=poll", "seconds", id="seconds"),
        pytest.param("fault=gone fault=gone", "twice", id="twice"),
        pytest.param("times=2", "fault=", id="option alone"),
        pytest.param("tempo=slow", "at-once", id="tempo"),
        pytest.param("tempo=polls:-1", "polls:N", id="polls"),
        pytest.param("tempo", "tempo=", id="no value"),
    ],
)
def test_a_typing_error_in_a_directive_is_refused_and_explained(api, directive, named):
    """An unknown directive is refused instead of becoming part of the prompt."""
    answer = api.submit(prompt=f"A red ball [[emulator: {directive}]]")

    assert 400 == answer.status_code
    assert named in answer.json()["error"]
    assert [] == api.emulator.starts


# The control endpoint and the script


@pytest.mark.parametrize(
    ("orders", "named"),
    [
        pytest.param({"faults": [{"fault": "explode"}]}, "explode", id="fault"),
        pytest.param({"faults": [{"on": "poll"}]}, "http:503", id="no word"),
        pytest.param({"faults": [{"fault": "gone", "when": 3}]}, "when", id="option"),
        pytest.param({"tempi": "at-once"}, "tempi", id="order"),
        pytest.param({"tempo": "allegro"}, "allegro", id="tempo"),
        pytest.param({"quirks": {"colour": "red"}}, "wrong_key", id="quirk"),
        pytest.param({"quirks": {"me": "maybe"}}, "yes, 404", id="setting"),
        pytest.param({"quirks": {"rate_limit": "0"}}, "number per minute", id="rate"),
        pytest.param({"tempo": "polls:9", "faults": [{"fault": "explode"}]}, "explode", id="half right"),
    ],
)
def test_an_unknown_order_is_refused_and_changes_nothing(api, orders, named):
    """The control endpoint says what it knows, and carries out all or nothing."""
    answer = api.control("POST", "script", json=orders)

    assert 400 == answer.status_code
    assert named in answer.json()["error"]
    assert "done" == api.poll(api.start()).json()["status"]


@pytest.mark.parametrize(
    "orders",
    [
        pytest.param({"fault": "expired"}, id="one fault"),
        pytest.param([{"fault": "expired"}], id="a list"),
        pytest.param({"faults": [{"fault": "expired"}]}, id="an object"),
    ],
)
def test_orders_may_be_written_in_three_ways(api, orders):
    """A fault, a list of faults, and an object with faults mean the same."""
    api.control("POST", "script", json=orders).raise_for_status()

    assert "expired" == api.poll(api.start()).json()["status"]


def test_a_script_with_an_unknown_word_is_a_value_error(emulator):
    """From Python the same refusal is an exception that lists the known words."""
    with pytest.raises(ValueError, match=r"unknown fault 'explode'.*wrong_bytes"):
        emulator.script("explode")


@pytest.mark.parametrize("name", list(CHOICES))
def test_every_quirk_takes_each_of_its_settings(name):
    """A switch accepts the values its documentation lists, and only those."""
    for value in CHOICES[name]:
        Emulator(quirks={name: value})
    with pytest.raises(ValueError, match=name):
        Emulator(quirks={name: "nonsense"})

    assert CHOICES[name]


def test_a_fault_is_written_as_it_is_read():
    """A word survives being read."""
    assert "http:503" == read_fault("http:503", on="poll").word


# Tempo


def test_seconds_are_those_of_the_clock():
    """A job of ``seconds:10`` is pending at 9 and done at 10, and its progress grows."""
    now = [1_800_000_000.0]
    server = Emulator(tempo="seconds:10", clock=lambda: now[0], quirks={"pending_body": "json"})
    with server, Api(server) as api:
        request_id = api.start()
        polls = []
        for _ in range(3):
            polls.append(api.poll(request_id))
            now[0] += 5

    assert [202, 202, 200] == [poll.status_code for poll in polls]
    assert [0, 50] == [poll.json()["progress"] for poll in polls[:2]]


def test_realistic_waits_lie_around_the_published_ones():
    """5 s of 480p take about 22 s, 8 s of 720p about 50 s, and nothing more than 240 s."""
    import random
    import statistics

    dice = random.Random(7)
    tempo = Tempo.parse("realistic")
    draw = lambda *order: [tempo.span(dice, *order, speed=1.0) for _ in range(400)]  # noqa: E731
    short, long = (
        draw("480p", 5.0, "grok-imagine-video"),
        draw("720p", 8.0, "grok-imagine-video"),
    )

    assert 22 == pytest.approx(statistics.median(short), rel=0.1)
    assert 50 == pytest.approx(statistics.median(long), rel=0.1)
    assert max(draw("1080p", 15.0, "grok-imagine-video-1.5")) <= 240


def test_a_picture_uploaded_with_a_life_expires(api):
    """A file lives as long as was asked for, and the order that needs it later is refused."""
    now = [1_800_000_000.0]
    with Emulator(tempo="at-once", clock=lambda: now[0]) as emulator, Api(emulator) as own:
        form = {"expires_after": (None, "3600"), "file": ("a.png", picture())}
        file = own.ask("POST", "/files", files=form).json()
        before = own.submit(image={"file_id": file["id"]}).status_code
        now[0] += 3600
        after = own.submit(image={"file_id": file["id"]}).status_code

    assert 1_800_003_600 == file["expires_at"]
    assert (200, 400) == (before, after)


def _swallow(api: Api, url: str | None = None) -> bytes:
    try:
        return api.fetch(url) if url else api.submit().content
    except httpx.HTTPError:
        return b"cut"


def _until(true: object) -> None:
    deadline = time.monotonic() + 10
    while not true():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_links_name_the_host_that_was_asked_where_every_address_is_bound(api):
    """From a container a link leads to the name the client knows, and not to 0.0.0.0."""
    world = api.emulator._world
    port, world.download_port = world.download_port, httpx.URL(api.emulator.download_origin).port
    try:
        request_id = api.start()
        found = api.ask("GET", f"/videos/{request_id}", headers={"host": "emulator:8900"}).json()
    finally:
        world.download_port, world.download_origin = port, api.emulator.download_origin

    assert found["video"]["url"].startswith(f"http://emulator:{httpx.URL(api.emulator.download_origin).port}/")
