"""Mapped lists that change between clears: any lists, any order of the indexes, some of which do not run at all."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_grokvideo.core.purchases.records import Owner, Record, elsewhere
from airflow_provider_grokvideo.core.requests import generation
from airflow_provider_grokvideo.execution.journal import TaskJournal, new_token
from airflow_provider_grokvideo.journal.backends import FileBackend
from airflow_provider_grokvideo.storage.directories import LocalTree

EXAMPLES = int(os.environ.get("GROKVIDEO_MODEL_EXAMPLES", "60"))

LISTS = st.lists(st.sampled_from("ABCDE"), unique=True, min_size=1, max_size=5)
"""The prompts of one list; each is wanted once."""


@st.composite
def runs(draw) -> list[list[tuple[int, str]]]:
    """Return, for each clear, which indexes run, in which order, and with which prompt."""
    lists = draw(st.lists(LISTS, min_size=1, max_size=4))
    orders = [draw(st.permutations(list(enumerate(prompts)))) for prompts in lists]
    return [order[: draw(st.integers(0, len(order)))] for order in orders]


def attempt(tree: LocalTree, index: int, prompt: str, clears: int | None, bought: Counter[str]) -> str:
    """Run one index as far as the journal goes, and return the request that it has then."""
    owner = Owner("films", "run", "make", index)
    memory = TaskJournal(FileBackend(tree, owner), owner, try_number=1, tries=1, clears=clears)
    fingerprint = prompt * 64
    known = memory.last(fingerprint) or memory.of_another_index(fingerprint)
    if known is None:
        memory.intend(memory.new_intent(generation(prompt=prompt), fingerprint, fingerprint, token=new_token()))
        bought[prompt] += 1
        memory.note(phase="submitted", request_id=f"{prompt}-{bought[prompt]}", submitted_at=1.0)
        known = memory.current
    assert known is not None
    return str(known.request_id)


@settings(max_examples=EXAMPLES, deadline=None, derandomize="GROKVIDEO_MODEL_EXAMPLES" not in os.environ, database=None)
@given(clears=runs(), counted=st.booleans())
def test_each_prompt_is_bought_once(clears, counted):
    """Whichever index asks first, and whether or not Airflow tells how often the run was cleared."""
    bought: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        tree = LocalTree(Path(folder))
        for number, order in enumerate(clears):
            for index, prompt in order:
                assert f"{prompt}-1" == attempt(tree, index, prompt, number if counted else None, bought)

    assert {prompt: 1 for order in clears for _, prompt in order} == dict(bought)


@settings(max_examples=EXAMPLES, deadline=None, derandomize="GROKVIDEO_MODEL_EXAMPLES" not in os.environ, database=None)
@given(prompts=st.lists(st.sampled_from("AB"), min_size=1, max_size=6), again=st.permutations(range(6)))
def test_equal_prompts_of_one_list_are_purchases_of_their_own(prompts, again):
    """And they stay so when the list moves as a whole: each index has a purchase that no other one has."""
    bought: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        tree = LocalTree(Path(folder))
        first = [attempt(tree, index, prompt, 0, bought) for index, prompt in enumerate(prompts)]
        moved = [index for index in again if index < len(prompts)]
        second = [attempt(tree, 10 + index, prompts[index], 1, bought) for index in moved]

    assert Counter(prompts) == bought
    assert len(prompts) == len(set(first))
    assert sorted(first) == sorted(second)


def test_what_was_forgotten_is_not_found_at_another_index():
    """A person gave the request up; an index that shared it buys anew."""
    owner = Owner("films", "run", "make", 0)
    mine = Record(owner, 1, "t", "withdrawn", "red", "red", 1.0, request_id="r", note="forgotten by hand")
    other = Record(Owner("films", "run", "make", 1), 1, "t", "submitted", "red", "red", 1.0, request_id="r")
    blue = Record(other.owner, 2, "u", "submitted", "blue", "blue", 2.0, request_id="s")

    assert [] == elsewhere([mine], [[other, blue]], "red")
    assert [other] == elsewhere([], [[other, blue]], "red")
