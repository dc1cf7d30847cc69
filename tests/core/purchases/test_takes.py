"""Which take a review asks about, and when an answer buys one: by a table, and for any sequence of what can happen."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_grokvideo.core.purchases.records import ANY_INPUTS, Owner, Record
from airflow_provider_grokvideo.core.purchases.takes import (
    Approve,
    Ask,
    Buy,
    GoOn,
    Question,
    Reject,
    TakeResponse,
    Unconfirmed,
    clip_of,
    fingerprint,
    next_step,
    parse,
    question,
    takes,
)

CLIP = "request-1"
OWNER = Owner("films", "manual__1", "review")


def record(number: int, phase: str, **words: Any) -> Record:
    """Return the record of a take."""
    known = None if phase in ("intent", "withdrawn") else f"request-{number}"
    made = {"uri": f"file:///take-{number}.mp4"} if phase == "delivered" else None
    print_ = words.pop("fingerprint", fingerprint(words.pop("clip", CLIP), number))
    return Record(
        owner=OWNER, number=number, token=f"token-{number}", phase=phase, fingerprint=print_, asked="asked",
        intended_at=1.0, request_id=known, manifest=made, **words,
    )  # fmt: skip


DELIVERED = record(2, "delivered")
UNDER_WAY = record(2, "submitted")
UNCONFIRMED = record(2, "intent")
BLOCKED = record(2, "ended", outcome="moderated")
FORGOTTEN = record(2, "submitted", outcome="expired")
WITHDRAWN = record(2, "withdrawn")
OTHER_CLIPS = record(2, "delivered", clip="request-of-another-clip")
BY_HAND = record(2, "delivered", fingerprint=ANY_INPUTS)


def said(choice: str, take: int, following: int, approved: int | None = None) -> TakeResponse:
    """Return an answer to a question."""
    return TakeResponse(choice, Question(take, following), approved)


@pytest.mark.parametrize(
    ("records", "answer", "step"),
    [
        pytest.param([], None, Ask(Question(1, 2)), id="nothing bought: ask about the clip"),
        pytest.param([], said("approve", 1, 2), Approve(1), id="approve the clip"),
        pytest.param([], said("reject", 1, 2), Reject(1), id="reject the clip"),
        pytest.param([], said("another", 1, 2), Buy(2), id="another: buy take 2"),
        pytest.param([UNDER_WAY], None, GoOn(2, UNDER_WAY), id="under way: go on"),
        pytest.param([UNDER_WAY], said("another", 1, 2), GoOn(2, UNDER_WAY), id="the answer that bought it, again"),
        pytest.param([UNDER_WAY], said("approve", 1, 2), GoOn(2, UNDER_WAY), id="approve to an earlier question"),
        pytest.param([UNDER_WAY], said("another", 1, 3), GoOn(2, UNDER_WAY), id="never two at once"),
        pytest.param([DELIVERED], None, Ask(Question(2, 3)), id="delivered: ask about it"),
        pytest.param([DELIVERED], said("approve", 2, 3), Approve(2), id="approve the other take"),
        pytest.param([DELIVERED], said("approve", 2, 3, 1), Approve(1), id="approve the first after all"),
        pytest.param([DELIVERED], said("another", 2, 3), Buy(3), id="another again"),
        pytest.param([DELIVERED, record(3, "delivered")], said("approve", 3, 4, 2), Approve(2), id="the one between"),
        pytest.param([UNCONFIRMED], None, Unconfirmed(2, UNCONFIRMED), id="unconfirmed: stop"),
        pytest.param(
            [UNCONFIRMED], said("another", 1, 3), Unconfirmed(2, UNCONFIRMED), id="unconfirmed: no answer buys"
        ),
        pytest.param([BLOCKED], None, Ask(Question(1, 3)), id="blocked: ask about the one before"),
        pytest.param([BLOCKED], said("another", 1, 3), Buy(3), id="blocked: another is take 3"),
        pytest.param([DELIVERED, record(3, "ended")], None, Ask(Question(2, 4)), id="failed: ask about take 2"),
        pytest.param([FORGOTTEN], None, GoOn(2, FORGOTTEN), id="forgotten by the service: look once in each try"),
        pytest.param([FORGOTTEN], said("approve", 1, 3), Approve(1), id="forgotten: in no answer's way"),
        pytest.param([FORGOTTEN], said("another", 1, 3), Buy(3), id="forgotten: another is take 3"),
        pytest.param([WITHDRAWN], said("another", 1, 2), Buy(2), id="not accepted: it is take 2 still"),
        pytest.param([OTHER_CLIPS], None, Ask(Question(1, 2)), id="another clip's takes are none of this one"),
        pytest.param([BY_HAND], None, Ask(Question(2, 3)), id="written by hand: the next take"),
        pytest.param([BY_HAND, record(3, "submitted")], None, GoOn(3, record(3, "submitted")), id="and one after it"),
    ],
)
def test_what_follows_from_takes_and_answer(records, answer, step):
    """The rule of the review."""
    assert step == next_step(records, CLIP, answer=answer, max_takes=9)


@pytest.mark.parametrize(
    ("records", "answer", "why"),
    [
        pytest.param([DELIVERED], said("another", 1, 2), "earlier question", id="was acted on"),
        pytest.param([DELIVERED], said("approve", 1, 2), "earlier question", id="about an earlier take"),
        pytest.param([], TakeResponse("another", None), "earlier question", id="nobody knows what was asked"),
        pytest.param([DELIVERED], said("another", 2, 3), "max_takes=2 is reached", id="no more takes"),
        pytest.param([BLOCKED], said("another", 1, 3), "max_takes=2 is reached", id="a blocked one counts"),
        pytest.param(
            [BLOCKED], said("approve", 1, 3, 2), "take 2 cannot be approved", id="a blocked one is none to approve"
        ),
        pytest.param([], said("approve", 1, 2, 7), "take 7 cannot be approved", id="there is no such take"),
    ],
)
def test_an_answer_that_is_not_followed_is_asked_for_again(records, answer, why):
    """The person is asked again about what there is, and the log can say why."""
    step = next_step(records, CLIP, answer=answer, max_takes=2)

    assert isinstance(step, Ask)
    assert question(records, CLIP) == step.question
    assert why in step.why


def test_a_start_in_doubt_counts_and_stops_nothing_where_it_may_be_sent_again():
    """resubmit_on has 'unconfirmed': it may have been bought, so it is one of the takes; the person is asked."""
    words = {"max_takes": 3, "resubmit": True}

    assert Ask(Question(1, 3)) == next_step([UNCONFIRMED], CLIP, **words)
    assert Buy(3) == next_step([UNCONFIRMED], CLIP, answer=said("another", 1, 3), **words)


def test_a_take_is_told_by_its_number_and_its_clip():
    """Two takes of one clip, and the same take of two clips, are different purchases."""
    prints = {fingerprint(clip, number) for clip in ("a", "b") for number in (2, 3)}

    assert 4 == len(prints)


@pytest.mark.parametrize(
    ("manifest", "name"),
    [
        ({"request_id": "r", "sha256": "s", "uri": "u"}, "r"),
        ({"request_id": None, "sha256": "s", "uri": "u"}, "s"),
        ({"request_id": None, "sha256": None, "uri": "u"}, "u"),
    ],
    ids=["request", "content", "place"],
)
def test_a_clip_is_known_by_its_request(manifest, name):
    """The same clip is the same to every try; one that was made anew is another."""
    assert name == clip_of(manifest)


@pytest.mark.parametrize(
    ("value", "found"),
    [({"take": 2, "next": 3, "words": "x"}, Question(2, 3)), ({"take": 2}, None), (None, None), ("2", None)],
    ids=["whole", "half", "nothing", "text"],
)
def test_a_question_is_read_back(value, found):
    """What XCom kept of it, or nothing."""
    assert found == parse(value)


CHOICES = st.sampled_from(["approve", "reject", "another"])
ENDS = st.sampled_from(["delivered", "ended", "submitted", "expired", "withdrawn", "intent"])


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(CHOICES, ENDS, st.booleans()), max_size=12), st.integers(1, 4))
def test_each_answer_buys_at_most_one_take_and_no_more_than_there_may_be(course, max_takes):
    """Whatever becomes of the starts, and whichever answers come twice, none buys twice, nor beyond max_takes."""
    records: list[Record] = []
    bought_for: set[int] = set()
    for turn, (choice, end, twice) in enumerate(course):
        answer = TakeResponse(choice, question(records, CLIP))
        for _ in range(1 + twice):
            step = next_step(records, CLIP, answer=answer, max_takes=max_takes)
            if not isinstance(step, Buy):
                continue
            if end == "withdrawn":
                # Nothing was accepted, so the same answer may be tried again.
                records.append(replace(record(step.number, end), number=len(records) + 1))
                continue
            assert turn not in bought_for
            bought_for.add(turn)
            words = {"outcome": "expired"} if end == "expired" else {}
            phase = "submitted" if end == "expired" else end
            made = record(step.number, phase, **words)
            records.append(replace(made, number=len(records) + 1))
        step = next_step(records, CLIP, max_takes=max_takes)
        if isinstance(step, GoOn) and step.record.outcome is None:
            done = replace(step.record, phase="delivered", manifest={"uri": "file:///x.mp4"})
            records = [done if each.token == done.token else each for each in records]

    assert len(takes(records, CLIP)) <= max_takes - 1
    assert len(bought_for) == len(takes(records, CLIP))
