"""Next step and status of a row, from its records."""

from __future__ import annotations

import pytest

from airflow_provider_grokvideo.core.bulk import states
from airflow_provider_grokvideo.core.purchases import records as purchases
from airflow_provider_grokvideo.core.purchases.records import Owner, Policy, Record

OWNER = Owner("films", "manual__1", "make", item="a")
SAME, OTHER = "a" * 64, "b" * 64
ALL = Policy(("unconfirmed", "failed", "moderated", "expired", "cleared"), 9)


def record(phase: str, try_number: int = 1, fingerprint: str = SAME, **facts) -> Record:
    """Return a purchase of a row by a try."""
    if phase in ("submitted", "delivered", "ended"):
        facts.setdefault("request_id", "r-1")
    return Record(OWNER, 1, "t", phase, fingerprint, fingerprint, 1.0, try_number=try_number, tries=1, **facts)


@pytest.mark.parametrize(
    ("there", "expected"),
    [
        (record("intent"), purchases.Ambiguous),
        (record("submitted"), purchases.Attach),
        (record("delivered"), purchases.Reuse),
        (record("ended", outcome="failed", closed_in=1), purchases.Report),
        (record("submitted", outcome="expired", closed_in=1), purchases.Report),
        (record("withdrawn", closed_in=1), states.Refused),
    ],
    ids=lambda each: each.phase if isinstance(each, Record) else each.__name__,
)
def test_a_try_never_submits_a_row_twice(there, expected):
    """Whatever resubmit_on allows, a try that has bought a row, or seen its end, does not submit it again."""
    assert expected is type(states.next_step([there], SAME, ALL, 1))


@pytest.mark.parametrize(
    ("there", "expected"),
    [
        (record("intent"), purchases.Submit),
        (record("submitted"), purchases.Attach),
        (record("delivered"), purchases.Submit),
        (record("ended", outcome="failed", closed_in=1), purchases.Submit),
        (record("submitted", outcome="expired", closed_in=1), purchases.Submit),
        (record("withdrawn", closed_in=1), purchases.Submit),
    ],
    ids=lambda each: each.phase if isinstance(each, Record) else each.__name__,
)
def test_a_later_try_submits_what_is_allowed(there, expected):
    """What a policy allows is for a later try; a request that runs is resumed whatever it allows."""
    assert expected is type(states.next_step([there], SAME, ALL, 2))


def test_an_outage_does_not_count():
    """A submission of this try that was withdrawn because of an outage is sent again in the same try."""
    assert purchases.Submit() == states.next_step([record("withdrawn")], SAME, Policy(), 1)


def test_an_edited_row_is_another_request():
    """What this try has bought from other arguments of the row does not stand for the new ones."""
    assert purchases.Submit() == states.next_step([record("submitted", fingerprint=OTHER)], SAME, Policy(), 1)


def test_an_end_that_a_later_try_has_seen_is_its_own():
    """A request of an earlier try whose end this try has seen is not submitted again in it."""
    ended = record("ended", outcome="failed", closed_in=2)

    assert purchases.Report(ended) == states.next_step([ended], SAME, ALL, 2)


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (purchases.Submit(), "not_sent"),
        (states.Refused(record("withdrawn")), "refused"),
        (states.Refused(record("withdrawn", outcome="moderated")), "moderated"),
        (purchases.Ambiguous(record("intent")), "unconfirmed"),
        (purchases.Attach(record("submitted")), "submitted"),
        (purchases.Reuse(record("delivered", manifest={"uri": "/a.mp4"})), "delivered"),
        (purchases.Report(record("ended", outcome="failed")), "failed"),
        (purchases.Report(record("ended")), "failed"),
        (purchases.Report(record("submitted", outcome="expired")), "expired"),
    ],
)
def test_each_step_has_a_status(step, expected):
    """The status of a row in the result table follows from its next step."""
    assert expected == states.status_of(step)
