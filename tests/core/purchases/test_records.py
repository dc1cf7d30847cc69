"""What follows from what was bought: every phase, policy and history, and records that cannot be trusted."""

from __future__ import annotations

import argparse
import itertools
import json
import re
import shlex
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_grokvideo.core.errors import JournalCorrupt
from airflow_provider_grokvideo.core.purchases.records import (
    ADOPTED,
    ANY_INPUTS,
    OUTCOMES,
    SCHEMA,
    Ambiguous,
    Attach,
    Owner,
    Policy,
    Record,
    Report,
    Reuse,
    Submit,
    latest,
    left_behind,
    may_replace,
    next_step,
    upload_token,
)
from airflow_provider_grokvideo.core.purchases.stored import parse
from airflow_provider_grokvideo.journal import cli as journal_commands
from airflow_provider_grokvideo.journal.sql import owner_key

OWNER = Owner("films", "manual__1", "make")
SAME, OTHER = "a" * 64, "b" * 64
GOLDEN = Path(__file__).parents[2] / "contract" / "journal" / "record_v1.json"

HISTORIES = {
    "retry": (1, []),
    "retry, resubmit_on cleared": (1, ["cleared"]),
    "clear": (2, []),
    "clear, resubmit_on cleared": (2, ["cleared"]),
}
"""Airflow's max_tries now (1 when the record was made; a clear raises it) and what the user allows."""

STEPS = {
    ("intent", ""): (Ambiguous, Ambiguous, Ambiguous, Ambiguous),
    ("intent", "unconfirmed"): (Submit, Submit, Submit, Submit),
    ("submitted", ""): (Attach, Attach, Attach, Attach),
    ("submitted", "unconfirmed"): (Attach, Attach, Attach, Attach),
    ("delivered", ""): (Reuse, Reuse, Reuse, Submit),
    ("delivered", "unconfirmed"): (Reuse, Reuse, Reuse, Submit),
    ("ended", ""): (Report, Report, Report, Submit),
    ("ended", "unconfirmed"): (Report, Report, Report, Submit),
    ("withdrawn", ""): (Submit, Submit, Submit, Submit),
    ("withdrawn", "unconfirmed"): (Submit, Submit, Submit, Submit),
}
TABLE = [
    pytest.param(phase, Policy([*again, word], tries=tries), step, id=f"{phase}, {word}, {history}")
    for (phase, word), steps in STEPS.items()
    for (history, (tries, again)), step in zip(HISTORIES.items(), steps, strict=True)
]


def bought(phase="submitted", **facts):
    """Return a purchase of the same inputs."""
    ids = {"request_id": "r-1"} if phase in ("submitted", "delivered", "ended") else {}
    return Record(
        **{
            "owner": OWNER,
            "number": 1,
            "token": "t-1",
            "phase": phase,
            "fingerprint": SAME,
            "asked": SAME,
            "intended_at": 1_800_000_000.0,
            "tries": 1,
            **ids,
            **facts,
        }
    )


@pytest.mark.parametrize(("phase", "policy", "step"), TABLE)
def test_what_follows_from_a_purchase(phase, policy, step):
    """The phase, the user's words and whether the task was cleared decide what a try does."""
    record = bought(phase)
    expected = Submit() if step is Submit else step(record)

    assert expected == next_step(record, SAME, policy)


@pytest.mark.parametrize(("phase", "policy", "step"), TABLE)
def test_other_inputs_are_another_request(phase, policy, step):
    """Whatever became of other inputs, these are bought."""
    assert Submit() == next_step(bought(phase, fingerprint=OTHER), SAME, policy)


@pytest.mark.parametrize(("phase", "policy", "step"), TABLE)
def test_a_record_made_by_hand_counts_for_any_inputs(phase, policy, step):
    """Who adopts a request by hand need not know its fingerprint."""
    record = bought(phase, fingerprint=ANY_INPUTS)
    expected = Submit() if step is Submit else step(record)

    assert expected == next_step(record, SAME, policy)


def test_nothing_bought_is_bought():
    """Without a record a try buys."""
    assert Submit() == next_step(None, SAME, Policy())


@pytest.mark.parametrize("phase", ["intent", "submitted", "delivered", "ended"])
@pytest.mark.parametrize(("then", "now"), [(None, 1), (1, None), (None, None)])
def test_an_unknown_number_of_tries_is_no_clear(phase, then, now):
    """Where nobody knows whether the task was cleared, nothing is bought again."""
    record = bought(phase, tries=then)

    assert Submit() != next_step(record, SAME, Policy(["cleared"], tries=now))


@pytest.mark.parametrize(
    ("word", "tries", "handed_on", "step"),
    [
        pytest.param([], 2, True, Attach, id="clear"),
        pytest.param(["cleared"], 1, True, Attach, id="retry, resubmit_on cleared"),
        pytest.param(["cleared"], 2, True, Submit, id="clear, resubmit_on cleared"),
        pytest.param(["cleared"], 2, False, Attach, id="clear, resubmit_on cleared, never handed on"),
    ],
)
def test_a_task_that_only_submits_is_done_once_it_handed_its_request_on(word, tries, handed_on, step):
    """What a sensor waits for is done with as far as its task goes, so a clear may buy anew."""
    record = bought(waits_elsewhere=True, manifest={"status": "submitted"} if handed_on else None)

    assert step is type(next_step(record, SAME, Policy(word, tries=tries)))


@pytest.mark.parametrize("outcome", OUTCOMES)
@pytest.mark.parametrize("word", OUTCOMES)
def test_only_a_named_end_is_bought_again(outcome, word):
    """resubmit_on is about the outcomes it names and no others."""
    phase = "submitted" if outcome == "expired" else "ended"
    step = next_step(bought(phase, outcome=outcome), SAME, Policy(resubmit_on=[word]))

    assert (word == outcome) == isinstance(step, Submit)


@pytest.mark.parametrize("phase", ["intent", "submitted", "delivered", "ended"])
def test_a_purchase_without_an_end_is_not_bought_again(phase):
    """resubmit_on does not buy while a request is unconfirmed, under way or delivered."""
    step = next_step(bought(phase), SAME, Policy(resubmit_on=OUTCOMES))

    assert Submit() != step


def test_the_last_purchase_of_the_same_inputs_counts():
    """Other inputs and withdrawn starts are passed over, records made by hand are not."""
    first = bought("delivered")
    by_hand = bought(number=2, fingerprint=ANY_INPUTS)
    other = bought(number=3, fingerprint=OTHER)
    gone = bought("withdrawn", number=4)

    assert by_hand == latest([first, by_hand, other, gone], SAME)
    assert first == latest([first, other, gone], SAME)
    assert other == latest([first, other, gone], OTHER)
    assert latest([gone], SAME) is None
    assert latest([], SAME) is None


def test_a_doubtful_start_is_not_hidden_by_a_request_that_was_handed_on():
    """A clear that was to buy another and died in the start left a doubt that no older request settles."""
    handed_on = bought(waits_elsewhere=True, manifest={"status": "submitted"})
    never_handed_on = bought(waits_elsewhere=True)
    doubt = bought("intent", number=2, token="t-2")

    assert doubt == latest([handed_on, doubt], SAME)
    assert never_handed_on == latest([never_handed_on, doubt], SAME)


def test_what_other_inputs_left_behind():
    """Doubts and requests that nobody fetched are named; what is settled, the same, or waited for elsewhere is not."""
    doubt = bought("intent", fingerprint=OTHER)
    waiting = bought(number=2, fingerprint=OTHER)
    settled = [bought(phase, fingerprint=OTHER) for phase in ("delivered", "ended", "withdrawn")]
    elsewhere = bought(fingerprint=OTHER, waits_elsewhere=True)
    same = [bought(), bought("intent"), bought(fingerprint=ANY_INPUTS)]

    assert [doubt, waiting] == left_behind([doubt, *settled, waiting, elsewhere, *same], SAME)


text = st.text(max_size=20)
dollars = st.decimals(0, 10_000, places=4).map(str)
seconds = st.floats(0, 4e9) | st.integers(0, 4_000_000_000)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=5,
)
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=5,
)
owners = st.builds(Owner, text, text, text, st.integers(-1, 1000))
records = st.builds(
    Record,
    owner=owners,
    number=st.integers(1, 10_000),
    token=text,
    phase=st.sampled_from(["intent", "submitted", "delivered", "ended", "withdrawn"]),
    fingerprint=text,
    asked=text,
    intended_at=seconds,
    try_number=st.none() | st.integers(),
    tries=st.none() | st.integers(),
    mode=st.none() | text,
    model=st.none() | text,
    conn_id=st.none() | text,
    estimated_usd=st.none() | dollars,
    destination=st.none() | text,
    upload_uri=st.none() | text,
    waits_elsewhere=st.booleans(),
    request_id=st.text(min_size=1, max_size=20),
    submitted_at=st.none() | seconds,
    outcome=st.none() | st.sampled_from(OUTCOMES),
    code=st.none() | text,
    cost_usd=st.none() | dollars,
    note=st.none() | text,
    manifest=st.none() | st.dictionaries(text, plain, max_size=3),
)


@given(records)
def test_a_record_comes_back_as_it_was(record):
    """Through JSON and back nothing is lost."""
    assert record == parse(json.loads(json.dumps(record.to_json())), record.owner)


@given(records, st.data())
def test_a_broken_record_is_read_in_full_or_refused(record, data):
    """Whatever is changed in a record, it means exactly what it says, or it is refused."""
    broken = record.to_json()
    for _ in range(data.draw(st.integers(1, 3))):
        name = data.draw(st.sampled_from([*sorted(broken), *vars(record), "unknown"]))
        if data.draw(st.booleans()):
            broken[name] = data.draw(values)
        else:
            broken.pop(name, None)
    try:
        found = parse(broken)
    except JournalCorrupt:
        return

    known = {"schema", "map_index", "dag_id", "run_id", "task_id", *vars(record)}
    said = {name: value for name, value in broken.items() if name in known - {"owner"} and value is not None}
    assert {"waits_elsewhere": False, **said} == found.to_json()
    assert found.estimate is None or found.estimate.is_finite()


@given(values)
def test_what_is_no_record_is_refused(value):
    """No other JSON value is taken for a record, nor for nothing."""
    with pytest.raises(JournalCorrupt):
        parse(value)


BAD = {
    "schema of text": {"schema": "1"},
    "schema of truth": {"schema": True},
    "schema as a fraction": {"schema": 1.0},
    "no schema": {"schema": None},
    "older schema": {"schema": 0},
    "unknown phase": {"phase": "paused"},
    "no phase": {"phase": None},
    "unknown outcome": {"outcome": "lost"},
    "id that is a number": {"request_id": 7},
    "submitted without an id": {"request_id": None},
    "submitted with an empty id": {"request_id": ""},
    "no fingerprint": {"fingerprint": None},
    "no token": {"token": None},
    "no owner": {"dag_id": None},
    "owner that is a number": {"task_id": 1},
    "map index of text": {"map_index": "0"},
    "map index below -1": {"map_index": -2},
    "number zero": {"number": 0},
    "number that is true": {"number": True},
    "time of text": {"intended_at": "2026-11-22"},
    "no time": {"intended_at": None},
    "time that is no number": {"intended_at": float("nan")},
    "time without end": {"submitted_at": float("inf")},
    "time too large for a float": {"submitted_at": 10**400},
    "time before 1970": {"intended_at": -1},
    "price of text": {"estimated_usd": "a lot"},
    "empty price": {"estimated_usd": ""},
    "price that is no number": {"estimated_usd": "NaN"},
    "price without end": {"cost_usd": "Infinity"},
    "price as a number": {"estimated_usd": 0.05},
    "manifest of text": {"manifest": "{}"},
    "word of text": {"waits_elsewhere": "no"},
}


@pytest.mark.parametrize("change", [pytest.param(change, id=name) for name, change in BAD.items()])
def test_a_corrupt_record_is_refused(change):
    """What cannot be believed stops the task; a retry would not help."""
    with pytest.raises(JournalCorrupt) as caught:
        parse({**bought().to_json(), **change}, OWNER)

    assert not caught.value.retry_helps


def test_a_record_of_a_newer_version_says_so():
    """A record of a future schema is not guessed at."""
    with pytest.raises(JournalCorrupt, match=r"schema 2, this version reads 1; it was written by a newer version"):
        parse({**bought().to_json(), "schema": SCHEMA + 1})


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(replace(OWNER, dag_id="trailers"), id="dag"),
        pytest.param(replace(OWNER, run_id="manual__2"), id="run"),
        pytest.param(replace(OWNER, task_id="edit"), id="task"),
        pytest.param(replace(OWNER, map_index=0), id="map index"),
    ],
)
def test_a_record_of_somebody_else_is_refused(other):
    """A copied record does not become another task's purchase."""
    with pytest.raises(JournalCorrupt, match=re.escape(str(other))):
        parse(bought().to_json(), other)


def test_a_record_of_schema_1_stays_readable():
    """The record that the first version wrote is read by every later one, and written the same."""
    golden = json.loads(GOLDEN.read_text())
    expected = Record(
        owner=Owner("films", "scheduled__2026-11-22T10:00:00+00:00", "make", 3),
        number=2,
        token="0123456789abcdef",
        phase="delivered",
        fingerprint=SAME,
        asked=OTHER,
        intended_at=1795341600.25,
        try_number=2,
        tries=3,
        mode="text-to-video",
        model="grok-imagine-video",
        conn_id="grokvideo_default",
        estimated_usd="0.05",
        destination="s3://bucket/films/ball.mp4",
        upload_uri="s3://bucket/uploads/ball.mp4",
        waits_elsewhere=True,
        request_id="59607e49-72e0-4cda-902b-0ebf4d2ad037",
        submitted_at=1795341601.5,
        outcome="expired",
        code="internal_error",
        cost_usd="0.05",
        note="adopted",
        manifest={"request_id": "59607e49-72e0-4cda-902b-0ebf4d2ad037", "uri": "s3://bucket/films/ball.mp4"},
    )

    assert expected == parse(golden)
    assert golden == expected.to_json()
    assert Decimal("0.05") == expected.estimate


def test_what_a_later_version_adds_is_passed_over():
    """A field this version does not know does not make a record of its schema unreadable."""
    record = bought()

    assert record == parse({**record.to_json(), "weather": "fine"})


HOSTILE = [
    "manual__2026-11-22T10:00:00+00:00 'x' $(y)",
    '"; rm -rf / #',
    "`id`",
    "<request id>",
    "a\nb",
    "*",
    "~",
    "",
    "\\",
    "größe",
]


@pytest.mark.parametrize(("run_id", "map_index"), list(itertools.product(HOSTILE, [-1, 12])), ids=repr)
def test_a_command_survives_the_shell(run_id, map_index):
    """What a person copies into a shell arrives as it was meant."""
    owner = Owner("films", run_id, "make", map_index)
    command = owner.command("forget", "--force", where=("--journal-path", "s3://b/my films"))
    mapped = [] if map_index < 0 else ["--map-index", "12"]

    said = ["forget", "films", run_id, "make", "--force", *mapped, "--journal-path", "s3://b/my films"]
    assert ["grokvideo", "journal", *said] == shlex.split(command)


@given(st.text(), st.text(), st.text())
def test_a_command_survives_the_shell_whatever_the_names(dag_id, run_id, task_id):
    """No name breaks out of its place."""
    said = shlex.split(Owner(dag_id, run_id, task_id).command("show"))
    dashes = ["--"] if any(name.startswith("-") for name in (dag_id, run_id, task_id)) else []

    assert ["journal", "show", *dashes, dag_id, run_id, task_id] == said[1:]


def test_a_place_to_fill_in_stays_readable():
    """The request id that a person has to find is not quoted away."""
    assert OWNER.command("adopt", "<request id>").endswith("adopt films manual__1 make <request id>")


INTENT = Record(OWNER, 1, "t", "intent", "red", "red", 1.0)
KNOWN = replace(INTENT, phase="submitted", request_id="r")
DONE = replace(KNOWN, phase="delivered")
GONE = replace(INTENT, phase="withdrawn")


@pytest.mark.parametrize(
    ("expected", "there", "read", "now"),
    [
        pytest.param(True, None, INTENT, GONE, id="nothing is there"),
        pytest.param(True, INTENT, INTENT, GONE, id="as it was read"),
        pytest.param(True, GONE, INTENT, GONE, id="written before, the answer was lost"),
        pytest.param(False, KNOWN, INTENT, GONE, id="withdrawn over an id that came meanwhile"),
        pytest.param(False, KNOWN, None, replace(KNOWN, phase="withdrawn"), id="withdrawn over what was never read"),
        pytest.param(False, KNOWN, INTENT, replace(INTENT, note="lost"), id="a doubt over an id"),
        pytest.param(False, DONE, INTENT, KNOWN, id="the same request, earlier"),
        pytest.param(True, KNOWN, INTENT, DONE, id="the same request, later"),
        pytest.param(True, GONE, INTENT, KNOWN, id="an id over a forgotten submission"),
        pytest.param(
            False, KNOWN, INTENT, replace(KNOWN, request_id="x", note=ADOPTED), id="a person over the service"
        ),
        pytest.param(True, replace(KNOWN, request_id="x", note=ADOPTED), INTENT, KNOWN, id="the service over a person"),
    ],
)
def test_nothing_covers_what_its_writer_has_not_read(expected, there, read, now):
    """A record gives way to more knowledge only, whoever comes late."""
    assert expected is may_replace(there, read, now)


ROW = Owner("films", "manual__1", "make", 3, "a")


def test_a_row_is_named_with_its_id():
    """Messages and commands name the row; an owner without one is named as before."""
    assert "films.make[3] row 'a' of manual__1" == str(ROW)
    assert "films.make[3] of manual__1" == str(ROW.whole)
    assert "grokvideo journal show films manual__1 make --map-index 3 --item a" == ROW.command("show")


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"])), st.sampled_from(["films", "-films"]))
def test_the_command_of_a_row_survives_the_shell(item, dag_id):
    """Whatever a row is called, its command names that row of that task."""
    owner = replace(ROW, item=item, dag_id=dag_id)
    words = shlex.split(owner.command("forget", "--force"))
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers()
    journal_commands.add(commands)
    found = parser.parse_args(words[1:])

    assert (item, dag_id, 3, True) == (found.item, found.dag_id, found.map_index, found.force)


def test_the_record_of_a_row_is_read_as_it_was_written():
    """The row and the try that saw the end are kept, and the row belongs to the identity."""
    record = Record(ROW, 1, "t", "ended", SAME, SAME, 1.0, request_id="r", outcome="failed", closed_in=2)
    written = json.loads(json.dumps(record.to_json()))

    assert ("a", 2) == (written["item"], written["closed_in"])
    assert record == parse(written) == parse(written, ROW)
    with pytest.raises(JournalCorrupt):
        parse(written, ROW.whole)


def test_a_record_without_a_row_is_written_as_before():
    """Neither the record, nor its key in the database, nor the name of its upload knows of rows."""
    owner = Owner("films", "manual__1", "make", 3)
    record = Record(owner, 1, "t", "intent", SAME, SAME, 1.0)

    assert not {"item", "closed_in"} & set(record.to_json())
    assert "e74a33c657010dbb" == upload_token(owner, SAME, 1)
    assert upload_token(owner, SAME, 1) != upload_token(ROW, SAME, 1)
    assert "0a3a204b87949991ebf2d1b13979dc5ad975e1695e8419c2b5e1774ecd303d05" == owner_key(owner)
    assert owner_key(owner) != owner_key(ROW)
