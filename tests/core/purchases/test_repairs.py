"""What adopting and forgetting do to the purchases of a task instance."""

from __future__ import annotations

from dataclasses import replace

import pytest

from airflow_provider_grokvideo.core.errors import InvalidInput
from airflow_provider_grokvideo.core.purchases.records import (
    ANY_INPUTS,
    Attach,
    Owner,
    Policy,
    Record,
    Submit,
    latest,
    next_step,
)
from airflow_provider_grokvideo.core.purchases.repairs import AsItIs, Change, Edit, RepairRefused, adopt, forget
from airflow_provider_grokvideo.core.purchases.stored import parse

OWNER = Owner("films", "manual__1", "make", 3)
INTENT = Record(OWNER, 1, "t1", "intent", "red", "red", 100.0, note="the answer was lost", estimated_usd="0.05")
SUBMITTED = replace(INTENT, phase="submitted", request_id="old", submitted_at=101.0, note=None)
DELIVERED = replace(SUBMITTED, phase="delivered", manifest={"uri": "file:///ball.mp4"})
ENDED = replace(SUBMITTED, phase="ended", outcome="moderated", code="blocked", cost_usd="0.05")
WITHDRAWN = replace(INTENT, phase="withdrawn", note="429")


def second(record: Record, fingerprint: str = "red") -> Record:
    """Return the same as the second purchase."""
    return replace(record, number=2, token="t2", fingerprint=fingerprint, intended_at=200.0)


def adopted(records: list[Record], request_id: str = "found", *, force: bool = False) -> Edit:
    """Adopt a request at time 300."""
    return adopt(records, OWNER, request_id, token="new", now=300.0, force=force)


def after(records: list[Record], edit: Edit) -> list[Record]:
    """Return the records once a change was written, as a home would give them back."""
    assert isinstance(edit, Change)
    if edit.is_new:
        changed = [*records, edit.record]
    else:
        assert edit.record.token in [each.token for each in records]
        changed = [edit.record if each.token == edit.record.token else each for each in records]
    return [parse(each.to_json(), OWNER) for each in changed]


def step(records: list[Record], fingerprint: str = "red") -> object:
    """Return what the next try of a careful task does."""
    return next_step(latest(records, fingerprint), fingerprint, Policy())


def test_the_unconfirmed_submission_gets_the_adopted_id():
    """The intent becomes the purchase that was found, submitted when it was intended; nothing else of it changes."""
    edit = adopted([INTENT])
    changed = after([INTENT], edit)

    expected = replace(
        INTENT, phase="submitted", request_id="found", submitted_at=INTENT.intended_at, note="adopted by hand"
    )
    assert [expected] == changed
    assert Attach(expected) == step(changed)


def test_the_last_of_several_unconfirmed_submissions_gets_the_id():
    """Where several are unconfirmed the last one is meant, because it is the one that the task goes on with."""
    records = [INTENT, second(INTENT)]
    changed = after(records, adopted(records))

    assert [None, "found"] == [each.request_id for each in changed]


def test_an_adopted_id_of_an_older_purchase_is_pointed_out():
    """Where a newer purchase of the same inputs leads, the sensor is named, because a clear goes on with the newer."""
    records = [INTENT, second(DELIVERED)]
    edit = adopted(records)

    assert "found" == after(records, edit)[0].request_id
    assert "GrokVideoSensor(request_id='found')" in edit.told


def test_an_id_is_adopted_where_nothing_was_written_down():
    """Without any record a new one is made that fits whatever inputs the task has."""
    edit = adopted([])
    (record,) = after([], edit)

    assert edit.is_new
    assert (1, ANY_INPUTS, "submitted", 300.0) == (
        record.number,
        record.fingerprint,
        record.phase,
        record.submitted_at,
    )
    assert Attach(record) == step([record], "whatever")


@pytest.mark.parametrize("record", [DELIVERED, ENDED, WITHDRAWN], ids=lambda record: record.phase)
def test_an_id_is_added_where_the_last_purchase_is_settled(record: Record):
    """Where no start is unconfirmed and none is under way the task goes on with the adopted request from now on."""
    changed = after([record], adopted([record]))

    assert [1, 2] == [each.number for each in changed]
    assert Attach(changed[1]) == step(changed)


def test_another_request_under_way_is_not_pushed_aside_by_mistake():
    """Where another request is under way adopting is refused, and force adds a purchase that leads."""
    refused = adopted([SUBMITTED])
    forced = after([SUBMITTED], adopted([SUBMITTED], force=True))

    assert isinstance(refused, RepairRefused)
    assert "old" in refused.why
    assert SUBMITTED == forced[0]
    assert Attach(forced[1]) == step(forced)


@pytest.mark.parametrize("record", [SUBMITTED, DELIVERED, ENDED], ids=lambda record: record.phase)
def test_an_id_that_is_there_stays_as_it_is(record: Record):
    """Adopting what the journal knows already changes nothing, also where a later start is unconfirmed."""
    alone, unconfirmed = adopted([record], "old"), adopted([record, second(INTENT)], "old")

    assert isinstance(alone, AsItIs)
    assert isinstance(unconfirmed, AsItIs)
    assert record.phase in alone.told
    assert "Purchase 2 is still unconfirmed" in unconfirmed.told


@pytest.mark.parametrize("record", [INTENT, SUBMITTED, ENDED], ids=lambda record: record.phase)
def test_forgetting_can_be_taken_back(record: Record):
    """What was forgotten by hand can be adopted after all, and the task goes on with it."""
    forgotten = after([record], forget([record], OWNER, force=True))
    back = after(forgotten, adopted(forgotten, record.request_id or "found"))

    assert Submit() == step(forgotten)
    assert Attach(back[0]) == step(back)
    assert 1 == len(back)
    assert next_step(back[0], "red", Policy(resubmit_on=["moderated"])) == Attach(back[0])


@pytest.mark.parametrize(
    "request_id",
    ["", "two words", "tab\t", "\x1b[2J", "...", "kl\u00f6tz", "x" * 513],
    ids=["empty", "blank", "tab", "escape", "dots", "no ASCII", "too long"],
)
def test_what_can_be_no_id_is_refused(request_id: str):
    """What cannot be a request id of xAI is a slip of the hand."""
    with pytest.raises(InvalidInput, match="REQUEST_ID"):
        adopted([INTENT], request_id)


def test_the_unconfirmed_submission_is_forgotten():
    """The intent is withdrawn and says by whom, and the next try buys."""
    edit = forget([INTENT], OWNER)
    changed = after([INTENT], edit)

    assert [replace(INTENT, phase="withdrawn", note="forgotten by hand")] == changed
    assert Submit() == step(changed)
    assert "submit again" in edit.told


def test_unconfirmed_submissions_are_forgotten_one_by_one():
    """Where an earlier start of the same inputs is unconfirmed too, forgetting the last one says that it stays."""
    records = [INTENT, second(INTENT)]
    edit = forget(records, OWNER)

    assert ["intent", "withdrawn"] == [each.phase for each in after(records, edit)]
    assert "Purchase 1 is still unconfirmed" in edit.told


def test_forgetting_leaves_the_purchase_the_task_goes_on_with():
    """Where another purchase of the same inputs counts, the text says that the task goes on with that one."""
    records = [DELIVERED, second(INTENT)]
    edit = forget(records, OWNER)

    assert "purchase 1, whose phase is delivered" in edit.told
    assert DELIVERED == after(records, edit)[0]


def test_a_paid_request_is_forgotten_only_by_force():
    """A request that is billed and not delivered is refused, naming the sensor; force withdraws it and keeps its id."""
    refused = forget([SUBMITTED], OWNER)
    (forced,) = after([SUBMITTED], forget([SUBMITTED], OWNER, force=True))

    assert isinstance(refused, RepairRefused)
    assert "GrokVideoSensor(request_id='old')" in refused.why
    assert ("withdrawn", "old") == (forced.phase, forced.request_id)


def test_a_request_that_ended_badly_is_forgotten_only_by_force():
    """A moderated request is refused without force, because the same input is usually billed again."""
    refused = forget([ENDED], OWNER)

    assert isinstance(refused, RepairRefused)
    assert "moderated" in refused.why
    assert Submit() == step(after([ENDED], forget([ENDED], OWNER, force=True)))


@pytest.mark.parametrize("force", [False, True], ids=["plain", "force"])
@pytest.mark.parametrize(
    ("records", "says"),
    [([], "no purchase"), ([WITHDRAWN], "unconfirmed"), ([DELIVERED], "resubmit_on=")],
    ids=["nothing", "withdrawn", "delivered"],
)
def test_where_nothing_is_unconfirmed_nothing_is_forgotten(records: list[Record], says: str, force: bool):
    """Without an unconfirmed submission nothing is withdrawn; a delivered video is never forgotten."""
    edit = forget(records, OWNER, force=force)

    assert isinstance(edit, RepairRefused)
    assert says in edit.why


def test_an_undelivered_request_of_other_inputs_is_not_overlooked():
    """A request of earlier inputs that nobody fetched is named although a later one was delivered."""
    refused = forget([SUBMITTED, second(DELIVERED, "green")], OWNER)

    assert isinstance(refused, RepairRefused)
    assert "purchase 1" in refused.why
