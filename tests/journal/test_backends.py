"""A task instance's journal in its two backends: what is written is found, and what cannot be read is never nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_grokvideo.core.errors import JournalCorrupt, JournalUnavailable
from airflow_provider_grokvideo.core.purchases.records import Owner, Record
from airflow_provider_grokvideo.journal.backends import (
    STATE_KEY,
    FileBackend,
    TaskStateBackend,
    numbered,
    task_folder,
)
from airflow_provider_grokvideo.storage.directories import LocalTree, open_tree

OWNER = Owner("films", "manual__1", "make")


class Store:
    """As ``context["task_state_store"]``: JSON values under keys, and what happens to a try on its way to them.

    Attributes:
        values: What the API server keeps, as JSON.
        known: Whether the API server knows the try; it answers a `get` of others as if nothing were there.
        lost: Whether a worker-side backend has lost what the kept values point to.
        before: Called once, before the call with this number (from 0).
    """

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.known = True
        self.lost = False
        self.before: dict[int, object] = {}
        self.calls: list[str] = []

    def get(self, key, default=None):
        self._arrive("get")
        if not self.known or key not in self.values:
            return default
        return None if self.lost else json.loads(self.values[key])

    def set(self, key, value, *, retention=None):
        self._arrive("set")
        self._refuse_strangers()
        self.values[key] = json.dumps(value)

    def delete(self, key):
        self._arrive("delete")
        self._refuse_strangers()
        self.values.pop(key, None)

    def _arrive(self, verb):
        self.calls.append(verb)
        self.before.pop(len(self.calls) - 1, lambda: None)()

    def _refuse_strangers(self):
        if not self.known:
            raise RuntimeError("API_SERVER_ERROR: 404 task instance not found")


def bought(number=1, token="t-1", phase="intent", **facts):
    """Return a purchase."""
    return Record(
        **{
            "owner": OWNER,
            "number": number,
            "token": token,
            "phase": phase,
            "fingerprint": "a" * 64,
            "asked": "b" * 64,
            "intended_at": 1_800_000_000.0 + number,
            **facts,
        }
    )


@pytest.fixture
def store():
    """Return an empty task state store."""
    return Store()


@pytest.fixture(params=["task_state_store", "journal_path", "s3"])
def open_backend(request, tmp_path, store):
    """Return how to open the journal of a task instance, as each of its tries does."""
    match request.param:
        case "task_state_store":
            return lambda owner=OWNER: TaskStateBackend(store, owner)
        case "journal_path":
            return lambda owner=OWNER: FileBackend(LocalTree(tmp_path / "journal"), owner)
    request.getfixturevalue("s3")
    return lambda owner=OWNER: FileBackend(open_tree("s3://bucket/journal"), owner)


def test_what_is_written_is_found_in_order(open_backend):
    """Records outlive the try that wrote them, oldest first, and change in place."""
    first, second = bought(1, "t-1"), bought(2, "t-2")
    one, two = open_backend(), open_backend()
    one.create(first)
    one.update(accepted := replace(first, phase="submitted", request_id="r-1"))
    two.create(second)
    two.update(withdrawn := replace(second, phase="withdrawn", note='größer als "erlaubt" \ud83d'))

    assert [accepted, withdrawn] == open_backend().records()


def test_an_empty_home_is_empty(open_backend):
    """Before the first purchase there is none."""
    assert [] == open_backend().records()


def test_a_taken_number_is_not_given_twice(open_backend):
    """A try that did not see the other one's record is refused and sends nothing; the record stays."""
    late, early = open_backend(), open_backend()
    seen = late.records()
    early.create(bought(1, "early"))
    with pytest.raises(JournalUnavailable, match=r"another try of films\.make of manual__1 is submitting") as caught:
        late.create(numbered(bought(token="late"), seen))

    assert caught.value.retry_helps
    assert ["early"] == [record.token for record in open_backend().records()]


def test_numbers_go_on_after_the_last():
    """A record that was taken away by hand does not free a number before others."""
    assert 1 == numbered(bought(0), []).number
    assert 8 == numbered(bought(0), [bought(2), bought(7)]).number


@pytest.mark.parametrize("word", ["journal_path", "s3"])
def test_one_of_many_tries_writes_its_intent(word, request, tmp_path, at_once):
    """However many tries find an empty journal at the same moment, one of them may send."""
    path = f"{request.getfixturevalue('s3').url}/j" if word == "s3" else str(tmp_path / "j")
    backends = [FileBackend(open_tree(path), OWNER) for _ in range(16)]
    found = at_once(16, lambda number: backends[number].create(bought(token=f"t-{number}")))

    assert 1 == found.count(None)
    assert 15 == sum(isinstance(error, JournalUnavailable) for error in found)
    assert [f"t-{found.index(None)}"] == [record.token for record in backends[0].records()]


def test_a_write_that_came_in_between_is_seen(store):
    """In the state store a try reads back what it wrote: another's value there stops it."""
    ours, theirs = TaskStateBackend(store, OWNER), {"schema": 1, "purchases": [bought(token="theirs").to_json()]}
    store.before = {3: lambda: store.values.update({STATE_KEY: json.dumps(theirs)})}
    with pytest.raises(JournalUnavailable, match="another try"):
        ours.create(bought(token="ours"))

    assert ["get", "delete", "set", "get"] == store.calls


def test_a_write_that_came_after_the_last_look_is_not_seen(store):
    """The store has no conditional write: where Airflow lets two tries write, the later value covers the earlier.

    Both believe they may send. Airflow closes this by refusing every call of a try that was replaced.
    """
    late, early = TaskStateBackend(store, OWNER), TaskStateBackend(store, OWNER)
    store.before = {2: lambda: early.create(bought(token="early"))}
    late.create(bought(token="late"))

    assert ["late"] == [record.token for record in late.records()]


def test_the_purchase_of_an_overwritten_try_is_added(store):
    """A try whose intent was covered by another's adds its record when its request is known: no id is dropped."""
    early, late = bought(token="early"), bought(token="late")
    TaskStateBackend(store, OWNER).create(late)
    TaskStateBackend(store, OWNER).update(replace(early, phase="submitted", request_id="r-1"))

    found = TaskStateBackend(store, OWNER).records()
    assert [("late", None), ("early", "r-1")] == [(record.token, record.request_id) for record in found]


@pytest.mark.parametrize(
    "verb",
    [
        pytest.param(lambda backend: backend.records(), id="records"),
        pytest.param(lambda backend: backend.create(bought(2, "t-2")), id="create"),
        pytest.param(lambda backend: backend.update(bought()), id="update"),
    ],
)
def test_a_try_that_was_replaced_neither_reads_nor_writes(store, verb):
    """Airflow answers it as if nothing were there; that is not taken for nothing, and nothing is overwritten."""
    backend = TaskStateBackend(store, OWNER)
    backend.create(bought())
    kept = dict(store.values)
    store.known, store.calls = False, []
    with pytest.raises(JournalUnavailable, match="task instance not found"):
        verb(backend)

    assert kept == store.values
    assert "set" not in store.calls


@pytest.mark.parametrize("moment", [1, 2, 3], ids=["before the proof", "before the write", "before the poll back"])
def test_a_try_that_is_replaced_while_it_writes_sends_nothing(store, moment):
    """At whatever moment the successor takes over, the intent is not confirmed."""
    store.before = {moment: lambda: setattr(store, "known", False)}
    with pytest.raises(JournalUnavailable):
        TaskStateBackend(store, OWNER).create(bought())


def test_a_value_that_the_workers_lost_is_not_nothing(store):
    """A state store backend that lost a value gives None for it; that stops the task."""
    backend = TaskStateBackend(store, OWNER)
    backend.create(bought())
    store.lost = True
    with pytest.raises(JournalCorrupt, match="grokvideo_journal"):
        backend.records()


def test_a_store_that_only_gets_and_sets_is_believed(store):
    """The REST API tells a missing key from a missing task instance by itself."""

    class RestStore:
        def get(self, key):
            return store.get(key)

        def set(self, key, value):
            store.set(key, value)

    TaskStateBackend(RestStore(), OWNER).create(bought())

    assert [bought()] == TaskStateBackend(RestStore(), OWNER).records()


@pytest.mark.parametrize("moment", range(4), ids=["get", "proof", "set", "look back"])
def test_a_store_that_does_not_answer_stops_the_try(store, moment):
    """Whichever call fails, nothing is sent and the cause is told."""

    def broken():
        raise ConnectionError("api-server is gone")

    store.before = {moment: broken}
    with pytest.raises(JournalUnavailable, match=r"ConnectionError: api-server is gone") as caught:
        TaskStateBackend(store, OWNER).create(bought())

    assert caught.value.retry_helps


def test_the_options_of_the_store_are_passed_on(store):
    """A retention reaches the store."""
    seen = []
    store.set = lambda key, value, **options: seen.append(options)
    TaskStateBackend(store, OWNER, {"retention": "never"}).update(bought())

    assert [{"retention": "never"}] == seen


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("text", id="text"),
        pytest.param([], id="list"),
        pytest.param({}, id="empty"),
        pytest.param({"schema": 1}, id="no purchases"),
        pytest.param({"schema": 1, "purchases": {}}, id="purchases that are no list"),
        pytest.param({"schema": 1, "purchases": [None]}, id="a purchase that is none"),
        pytest.param({"schema": 2, "purchases": []}, id="future schema"),
        pytest.param({"schema": True, "purchases": []}, id="schema of truth"),
        pytest.param({"schema": 1, "purchases": [{**bought().to_json(), "schema": 2}]}, id="future record"),
        pytest.param({"schema": 1, "purchases": [{**bought().to_json(), "run_id": "x"}]}, id="somebody else's"),
        pytest.param(False, id="false"),
        pytest.param(0, id="zero"),
        pytest.param("", id="empty text"),
    ],
)
def test_a_value_that_is_no_journal_stops_the_task(store, value):
    """What is in the store and cannot be read is never taken for nothing, by no verb."""
    store.values[STATE_KEY] = json.dumps(value)
    backend = TaskStateBackend(store, OWNER)
    for verb in (backend.records, lambda: backend.create(bought(2)), lambda: backend.update(bought())):
        with pytest.raises(JournalCorrupt):
            verb()

    assert json.dumps(value) == store.values[STATE_KEY]


def damaged(tmp_path: Path, content: bytes) -> FileBackend:
    """Return a journal whose only file has this content."""
    backend = FileBackend(LocalTree(tmp_path), OWNER)
    backend.create(bought())
    (path,) = tmp_path.rglob("*.json")
    path.write_bytes(content)
    return backend


GOOD = json.dumps(bought().to_json()).encode()


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(GOOD[:-20], id="truncated"),
        pytest.param(GOOD[:-20] + b"\0" * 20, id="zeros at the end"),
        pytest.param(b"\0" * len(GOOD), id="zeros"),
        pytest.param(GOOD + GOOD, id="twice"),
        pytest.param(b"null", id="null"),
        pytest.param(b"[]", id="list"),
        pytest.param(b"\xff\xfe\xfa", id="no text"),
        pytest.param(b"[" * 200_000, id="too deep"),
        pytest.param(b'{"schema": 1, "number": ' + b"9" * 10_000 + b"}", id="too long a number"),
        pytest.param(GOOD.replace(b'"schema": 1', b'"schema": 2'), id="future schema"),
        pytest.param(GOOD.replace(b'"manual__1"', b'"manual__2"'), id="somebody else's"),
    ],
)
def test_a_file_that_is_no_record_stops_the_task(tmp_path, content):
    """A damaged file is an error that names it."""
    backend = damaged(tmp_path, content)
    with pytest.raises(JournalCorrupt, match=r"0001\.json") as caught:
        backend.records()

    assert not caught.value.retry_helps


@settings(max_examples=300, derandomize=True, database=None, deadline=None)
@given(place=st.integers(0, len(GOOD) - 1), length=st.integers(0, 12), put=st.binary(max_size=6))
def test_a_file_with_changed_bytes_is_read_or_refused(tmp_path_factory, place, length, put):
    """Whatever bytes are changed, there is one record or JournalCorrupt: never none, never another error."""
    backend = damaged(tmp_path_factory.mktemp("j"), GOOD[:place] + put + GOOD[place + length :])
    try:
        found = backend.records()
    except JournalCorrupt:
        return

    assert [OWNER] == [record.owner for record in found]


def test_a_file_that_a_person_removed_leaves_the_others(tmp_path):
    """The list and the read of a file are two steps; one that vanishes between them is passed over."""
    tree = LocalTree(tmp_path)
    backend = FileBackend(tree, OWNER)
    backend.create(bought(1, "t-1"))
    backend.create(bought(2, "t-2"))
    real = tree.folder
    tree.folder = lambda name: ["films/manual__1/make/-1/0000.json", *real(name)]

    assert ["t-1", "t-2"] == [record.token for record in backend.records()]


def test_the_files_lie_where_a_person_looks(tmp_path):
    """The directories are named after the task instance, the files numbered."""
    FileBackend(LocalTree(tmp_path), replace(OWNER, map_index=3)).create(bought())

    assert ["films/manual__1/make/3/0001.json"] == [
        path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.json")
    ]


NAMES = [
    "make",
    "Make",
    "make.",
    ".make",
    ".",
    "..",
    "...",
    "",
    " ",
    "make ",
    "a/b",
    "a%2Fb",
    "a\\b",
    "../x",
    "/etc",
    "~",
    "*",
    "?",
    "[ab]",
    "{a,b}",
    "a#b",
    "a?b=c",
    "a:b",
    "größe",
    "gro\u0308ße",
    "日本語",
    "日" * 250,
    "x" * 250,
    "x" * 249 + "y",
    "x" * 180,
    "%" * 100,
    "a\nb",
    "a\x00b",
    "make.json",
    "0001.json",
    "-1",
    "$HOME",
    "'; --",
]


def test_no_two_names_share_a_directory():
    """Different names stay different, whatever they are made of, and none is a path of several parts."""
    folders = [tuple(task_folder(Owner(name, name, name))) for name in NAMES]

    assert len(NAMES) == len(set(folders))
    for parts in folders:
        assert all(
            part and part.strip(".") and len(part) <= 180 and not set(part) & set("/\\*?[]#\0") for part in parts
        )


@given(st.text(), st.text())
def test_any_two_names_differ_as_directories(one, other):
    """So for all names."""
    same = task_folder(Owner(one, "", "")) == task_folder(Owner(other, "", ""))

    assert (one == other) == same


@pytest.mark.parametrize("place", ["local", "s3", "memory"])
def test_hostile_names_neither_collide_nor_leave_the_root(place, request, tmp_path):
    """Each name's records are found again under it and under no other, in every place, below the root."""
    if place == "local":
        root = str(tmp_path / "top" / "journal")
    else:
        root = f"{request.getfixturevalue(place).url}/top/journal"
    tree = open_tree(root)
    owners = [Owner("films", name, name) for name in NAMES]
    for owner in owners:
        FileBackend(tree, owner).create(bought(owner=owner))

    for owner in owners:
        assert [owner] == [record.owner for record in FileBackend(tree, owner).records()]
    assert len(NAMES) == len(tree.everything())
    if place == "local":
        assert [tmp_path / "top"] == list(tmp_path.iterdir())
    else:
        assert all(name.startswith("top/journal/") for name in map(_below, request.getfixturevalue(place).names()))


def _below(name: str) -> str:
    return name.lstrip("/")
