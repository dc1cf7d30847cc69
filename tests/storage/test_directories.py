"""The files of a journal: created exclusively, replaced whole, and never read as nothing without proof."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from fsspec.implementations.local import LocalFileSystem

from airflow_provider_grokvideo.core.errors import InvalidInput, JournalUnavailable
from airflow_provider_grokvideo.storage.directories import LocalTree, ObjectTree, open_tree

NAME = "films/manual__1/make/-1/0001.json"
FOLDER = "films/manual__1/make/-1"


def test_a_file_is_created_once(tree):
    """Who comes second is told so and changes nothing."""
    created = [tree.create(NAME, b"first"), tree.create(NAME, b"second")]

    assert [True, False] == created
    assert b"first" == tree.read(NAME)


def test_nothing_is_read_as_nothing(tree):
    """Before the first record a journal is empty, and reading it makes nothing."""
    assert tree.read(NAME) is None
    assert [] == tree.folder(FOLDER)
    assert tree.create(NAME, b"first")


def test_a_file_is_replaced_whole(tree):
    """A shorter content leaves nothing of a longer one."""
    tree.create(NAME, b"a long content")
    tree.replace(NAME, b"short")

    assert b"short" == tree.read(NAME)
    assert [NAME] == tree.folder(FOLDER)


def test_files_are_listed_in_order_and_by_their_directory(tree):
    """A directory lists its own files, sorted; the whole tree lists all."""
    names = [f"films/manual__1/make/{place}" for place in ("-1/0002.json", "-1/0001.json", "0/0001.json")]
    for name in names:
        tree.create(name, b"{}")

    assert [f"{FOLDER}/0001.json", f"{FOLDER}/0002.json"] == tree.folder(FOLDER)
    assert sorted(names) == tree.everything()


def test_what_was_just_written_elsewhere_is_seen(s3, tree):
    """A listing or a miss of a moment ago is not believed: another worker may have written since."""
    path = "s3://bucket/seen"
    ours, theirs = open_tree(path), ObjectTree(type(s3.fs)(**s3.fs.storage_options), "bucket/seen", path)
    ours.create(f"{FOLDER}/0001.json", b"1")
    assert [f"{FOLDER}/0001.json"] == ours.folder(FOLDER)
    theirs.create(f"{FOLDER}/0002.json", b"2")

    assert b"2" == ours.read(f"{FOLDER}/0002.json")
    assert 2 == len(ours.folder(FOLDER)) == len(ours.everything())


def test_a_name_that_ends_like_a_record_may_be_a_directory(tree):
    """A DAG may be called films.json."""
    tree.create("films.json/manual__1/make/-1/0001.json", b"{}")

    assert ["films.json/manual__1/make/-1/0001.json"] == tree.everything()


def test_files_that_are_no_records_are_passed_over(tree):
    """Hidden part files of a worker that died, and what people leave, are not read as records."""
    tree.create(NAME, b"{}")
    for name in (".0002.json.12ab34cd", ".0002.json", "notes.txt"):
        tree.create(f"{FOLDER}/{name}", b"half a rec")

    assert [NAME] == tree.folder(FOLDER)
    assert [NAME] == tree.everything()


@pytest.mark.parametrize("count", [32])
def test_one_of_many_creates(exclusive_tree, at_once, count):
    """Of 32 threads at the same moment exactly one creates, and its content stays."""
    created = at_once(count, lambda number: exclusive_tree.create(NAME, f"thread {number}".encode()))

    assert 1 == created.count(True)
    assert count - 1 == created.count(False)
    assert f"thread {created.index(True)}".encode() == exclusive_tree.read(NAME)
    assert [NAME] == exclusive_tree.folder(FOLDER)


def test_readers_see_a_record_whole_or_not_at_all(tmp_path, at_once):
    """While one thread replaces, the others read the old or the new content."""
    tree = LocalTree(tmp_path)
    contents = [b"a" * 10_000, b"b" * 20_000]
    tree.create(NAME, contents[0])

    def work(number: int) -> set[bytes]:
        if number:
            return {tree.read(NAME) for _ in range(200)}
        for turn in range(100):
            tree.replace(NAME, contents[turn % 2])
        return set()

    assert set().union(*at_once(4, work)) <= set(contents)


def test_no_part_file_stays(tmp_path, monkeypatch):
    """Neither a success nor a full disk leaves part files, and a full disk leaves no record."""
    tree = LocalTree(tmp_path)
    tree.create(NAME, b"1")
    tree.replace(NAME, b"2")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(JournalUnavailable, match="No space left"):
        tree.replace(NAME, b"3")
    with pytest.raises(JournalUnavailable, match="No space left"):
        tree.create(f"{FOLDER}/0002.json", b"1")

    assert ["0001.json"] == [path.name for path in (tmp_path / FOLDER).iterdir()]
    assert b"2" == tree.read(NAME)


def test_a_full_disk_without_hard_links_leaves_no_half_record(tmp_path, monkeypatch):
    """Where a record is written in place, one that could not be finished is taken away."""
    tree = LocalTree(tmp_path)
    (tmp_path / FOLDER).mkdir(parents=True)
    monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError(errno.EPERM, "no links")))
    real, calls = os.fsync, []

    def full_the_second_time(handle: int) -> None:
        calls.append(handle)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(handle)

    monkeypatch.setattr(os, "fsync", full_the_second_time)
    with pytest.raises(JournalUnavailable, match="No space left"):
        tree.create(NAME, b"1")

    assert [] == list((tmp_path / FOLDER).iterdir())


def test_a_link_whose_answer_was_lost_counts_as_ours(tmp_path, monkeypatch):
    """A network filesystem that sends a link twice answers that it is there: it is ours if it is our file."""
    real = os.link

    def sent_twice(source: Path, target: Path) -> None:
        real(source, target)
        real(source, target)

    monkeypatch.setattr(os, "link", sent_twice)
    tree = LocalTree(tmp_path)

    assert tree.create(NAME, b"ours")
    assert not tree.create(NAME, b"ours")


def test_a_conditional_write_whose_answer_was_lost_counts_as_ours(gate):
    """The library sends the write again and hears that the object is there: it is ours if it holds our bytes."""
    tree = open_tree("s3://bucket/journal")
    gate.loses = 1

    assert tree.create(NAME, b"ours")
    assert 0 == gate.loses
    assert not tree.create(NAME, b"theirs")


def test_without_conditional_writes_what_is_there_is_kept(s3, gate):
    """A storage that knows no conditional write is looked at anew before the write."""
    gate.knows_conditions = False
    tree = open_tree("s3://bucket/journal")
    assert tree.create(f"{FOLDER}/0001.json", b"1")
    assert 1 == len(tree.folder(FOLDER))
    s3.fs.pipe_file(f"bucket/journal/{FOLDER}/0002.json", b"theirs")

    assert not tree.create(f"{FOLDER}/0002.json", b"ours")
    assert b"theirs" == s3.read(f"journal/{FOLDER}/0002.json")


def test_without_conditional_writes_no_bucket_is_made(s3, gate):
    """A mistyped bucket is reported and not created."""
    gate.knows_conditions = False
    with pytest.raises(JournalUnavailable, match="bucket does not exist"):
        open_tree("s3://buckett/journal").create(NAME, b"1")

    assert not s3.fs.exists("buckett")


VERBS = {
    "create": lambda tree: tree.create(NAME, b"1"),
    "replace": lambda tree: tree.replace(NAME, b"1"),
    "read": lambda tree: tree.read(NAME),
    "folder": lambda tree: tree.folder(FOLDER),
    "everything": lambda tree: tree.everything(),
}


@pytest.fixture(params=["nobody serves", "forbidden", "no such bucket", "a file in the way", "a loop of links"])
def broken_tree(request, tmp_path):
    """Return a journal directory that does not work."""
    match request.param:
        case "nobody serves":
            return open_tree(f"{request.getfixturevalue('dead_s3')}/journal")
        case "forbidden":
            request.getfixturevalue("gate").refuses = True
            return open_tree("s3://bucket/journal")
        case "no such bucket":
            request.getfixturevalue("s3")
            return open_tree("s3://buckett/journal")
        case "a file in the way":
            (tmp_path / "journal").write_text("a file")
    if request.param == "a loop of links":
        (tmp_path / "journal").symlink_to(tmp_path / "journal")
    return LocalTree(tmp_path / "journal")


@pytest.mark.parametrize("verb", VERBS)
def test_a_place_that_does_not_work_is_never_empty(broken_tree, verb):
    """Whatever is wrong with the place, it is said; a retry helps once it passes."""
    with pytest.raises(JournalUnavailable) as caught:
        VERBS[verb](broken_tree)

    assert broken_tree.where in str(caught.value)
    assert caught.value.retry_helps


@pytest.mark.parametrize("verb", ["read", "folder", "everything"])
def test_a_directory_that_may_not_be_read_is_not_empty(tmp_path, monkeypatch, verb):
    """Permission denied is not nothing."""
    tree = LocalTree(tmp_path)
    tree.create(NAME, b"1")

    def denied(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    for name in ("read_bytes", "iterdir"):
        monkeypatch.setattr(Path, name, denied)
    real = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: denied() if str(path).endswith("-1") else real(path))
    with pytest.raises(JournalUnavailable, match="Permission denied"):
        VERBS[verb](tree)


def test_a_listing_that_fails_half_way_is_no_shorter_listing(tmp_path, monkeypatch):
    """A storage listed directory by directory is listed in full or not at all."""
    fs = LocalFileSystem(auto_mkdir=False, skip_instance_cache=True)
    tree = ObjectTree(fs, str(tmp_path), "sftp://host/journal")
    tree.create(NAME, b"1")
    real = fs.ls

    def broken(path: str, *words: object, **more: object) -> object:
        if path.endswith("make"):
            raise OSError("connection lost")
        return real(path, *words, **more)

    monkeypatch.setattr(fs, "ls", broken)
    with pytest.raises(JournalUnavailable, match="connection lost"):
        tree.everything()


def test_a_journal_that_was_never_written_lists_nothing_only_where_it_can_be_known(s3, tmp_path):
    """A bucket without the prefix is an empty journal; a local directory that is not there is a wrong path."""
    assert [] == open_tree("s3://bucket/journal").everything()
    with pytest.raises(JournalUnavailable, match="no such directory"):
        open_tree(str(tmp_path / "journal")).everything()


def test_a_storage_nobody_brings_is_refused():
    """An unknown scheme is a mistake in the settings and says so."""
    with pytest.raises(InvalidInput, match="journal_path"):
        open_tree("nosuch://bucket/journal")


def test_a_file_url_and_a_path_are_the_same_place(tmp_path):
    """The two ways to write a local directory meet."""
    open_tree(str(tmp_path)).create(NAME, b"1")

    assert b"1" == open_tree(tmp_path.as_uri()).read(NAME)


@pytest.mark.parametrize(
    "path", ["journal", "./journal", "file://journal", "file:journal", "local://journal", "~nobody-here/j"]
)
def test_a_relative_path_is_refused(path):
    """It would be another directory for each process; so would that of a user who is not on this machine."""
    with pytest.raises(InvalidInput) as refused:
        open_tree(path)

    assert "[grokvideo] journal_path" == refused.value.field


@pytest.mark.parametrize("home", [".", "home"])
def test_a_relative_home_directory_is_refused(monkeypatch, home):
    """`~` has to lead to the same place for all processes."""
    monkeypatch.setenv("HOME", home)
    with pytest.raises(InvalidInput):
        open_tree("~/journal")
