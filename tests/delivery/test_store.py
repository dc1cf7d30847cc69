"""From a local file to its destination."""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from airflow_provider_grokvideo.core.errors import DeliveryFailed, InvalidInput
from airflow_provider_grokvideo.delivery.store import _taken_over, store, to_json, whose
from airflow_provider_grokvideo.storage import names
from airflow_provider_grokvideo.storage.destination import check_writable, local_path, target
from airflow_provider_grokvideo.storage.local import LocalPlace

ME = {"dag_id": "d", "run_id": "r1", "task_id": "t", "map_index": 0}
NEIGHBOUR = {**ME, "map_index": 1}
LATER = {**ME, "run_id": "r2", "map_index": 5}
DATA = os.urandom(300_000)


@pytest.fixture(params=["local", "s3", "memory"])
def storage(request, tmp_path):
    """Return a destination directory of each kind of storage, and a function that lists what is in it."""
    if request.param == "local":
        folder = tmp_path / "a b#c?d%20é"
        return f"{folder}/", lambda: {path.name: path.read_bytes() for path in folder.iterdir()}
    s3 = request.getfixturevalue(request.param)
    return f"{s3.url}/a b#c?d%20é/", lambda: {name.rpartition("/")[2]: s3.read(name) for name in s3.names()}


@pytest.fixture
def clip(tmp_path):
    """Return a local file to store."""
    file = tmp_path / "temporary"
    file.write_bytes(DATA)
    return file


def put(clip, destination, request_id="q1", owner=ME, **words):
    """Store a clip for a task instance."""
    return store(
        clip,
        target(f"{destination}latest.mp4", default_name="x"),
        sidecar={"request_id": request_id, "prompt": "Füchse"},
        owner=owner,
        **words,
    )


def test_a_video_and_its_sidecar_are_stored(clip, storage):
    """Both are whole, and nothing else is left."""
    destination, files = storage
    stored = put(clip, destination)
    there = files()

    assert {"latest.mp4", "latest.json"} == there.keys()
    assert DATA == there["latest.mp4"]
    assert stored.uri.endswith("/a b#c?d%20é/latest.mp4")
    assert {
        "request_id": "q1",
        "prompt": "Füchse",
        "owner": ME,
        "uri": stored.uri,
        "sidecar_uri": stored.sidecar_uri,
        "poster_uri": None,
    } == json.loads(there["latest.json"])


def test_the_sidecar_is_made_for_people(clip, storage):
    """It is indented, sorted UTF-8 with a newline at its end."""
    destination, files = storage
    put(clip, destination)
    text = files()["latest.json"].decode()
    keys = [line.split('"')[1] for line in text.splitlines() if line.startswith('  "')]

    assert keys == sorted(keys)
    assert '"prompt": "Füchse"' in text
    assert text.endswith("}\n")


def test_the_same_request_is_delivered_to_the_same_name(clip, storage):
    """Delivering again, also by a sensor in the same run, changes nothing."""
    destination, files = storage
    first = put(clip, destination)

    assert first == put(clip, destination) == put(clip, destination, owner={**ME, "task_id": "sensor"})
    assert {"latest.mp4", "latest.json"} == files().keys()


def test_a_neighbours_video_is_not_overwritten(clip, storage, caplog):
    """Another task instance of the same run gets a name of its own, and a hint; so does its retry."""
    destination, files = storage
    first = put(clip, destination)
    clip.write_bytes(b"other")
    with caplog.at_level(logging.WARNING):
        second = put(clip, destination, "q2", NEIGHBOUR)

    assert second == put(clip, destination, "q2", NEIGHBOUR)
    assert first.uri.replace("latest.mp4", "latest-q2.mp4") == second.uri
    assert "{{ ti.map_index }}" in caplog.text
    there = files()
    assert {"latest.mp4", "latest.json", "latest-q2.mp4", "latest-q2.json"} == there.keys()
    assert (DATA, b"other") == (there["latest.mp4"], there["latest-q2.mp4"])


@pytest.mark.parametrize("owner", [LATER, {**ME}], ids=["other-run", "same-task-again"])
def test_a_latest_video_is_replaced(clip, storage, owner):
    """Another run, or the same task instance with a new request, takes the name over."""
    destination, files = storage
    put(clip, destination)
    clip.write_bytes(b"new")
    put(clip, destination, "q2", owner)
    there = files()

    assert {"latest.mp4", "latest.json"} == there.keys()
    assert (b"new", "q2") == (there["latest.mp4"], json.loads(there["latest.json"])["request_id"])


def test_neighbours_that_finish_together_lose_nothing(clip, tmp_path, storage):
    """Eight task instances with one destination leave eight videos."""
    destination, files = storage
    gate = threading.Barrier(8)

    def one(number):
        own = tmp_path / f"own{number}"
        own.write_bytes(b"%d" % number * 50_000)
        gate.wait(10)
        return put(own, destination, f"q{number}", {**ME, "map_index": number}).uri

    with ThreadPoolExecutor(8) as pool:
        uris = set(pool.map(one, range(8)))
    there = files()

    assert 8 == len(uris)
    assert {b"%d" % number * 50_000 for number in range(8)} == {there[uri.rpartition("/")[2]] for uri in uris}
    assert 16 == len(there)


def test_a_claim_left_by_a_killed_try_is_taken_over(clip, storage):
    """A crash between claim and sidecar does not lock the task instance out of its own name."""
    destination, files = storage
    to = target(f"{destination}latest.mp4", default_name="x")
    place = to.place()
    place.prepare()
    place.write(".latest.mp4.claim", json.dumps({"request_id": "q0", "owner": ME}).encode())

    assert to.uri == put(clip, destination).uri
    assert {"latest.mp4", "latest.json"} == files().keys()


def test_a_neighbour_on_its_way_is_respected(clip, storage):
    """A claim of another task instance of the run is as good as its video."""
    destination, files = storage
    place = target(f"{destination}latest.mp4", default_name="x").place()
    place.prepare()
    place.write(".latest.mp4.claim", json.dumps({"request_id": "q0", "owner": NEIGHBOUR}).encode())

    assert put(clip, destination).uri.endswith("latest-q1.mp4")
    assert ".latest.mp4.claim" in files()


@pytest.mark.parametrize("content", [b"not json", b"[1]", b'{"owner": 3}', b"\xff\xfe", b'{"scene": 1}'])
def test_a_json_file_of_somebody_else_stays(clip, storage, content):
    """A JSON file of another origin under the sidecar's name is left alone: the video is stored beside it."""
    destination, _ = storage
    place = target(f"{destination}latest.mp4", default_name="x").place()
    place.prepare()
    place.write("latest.json", content)

    assert put(clip, destination).uri.endswith("latest-q1.mp4")
    assert content == place.read("latest.json")
    with pytest.raises(InvalidInput) as caught:
        check_writable(f"{destination}latest.mp4")
    assert "destination" == caught.value.field


@pytest.mark.parametrize(("size", "fits"), [(248, True), (249, False), (300, False)])
def test_the_longest_name_is_checked_before_the_purchase(clip, storage, size, fits):
    """A name whose companions fit is stored under it; a longer one is refused before money is spent."""
    destination, files = storage
    name = f"{'n' * (size - 4)}.mp4"
    if not fits:
        with pytest.raises(InvalidInput) as caught:
            check_writable(f"{destination}{name}")
        assert "destination" == caught.value.field
        return
    check_writable(f"{destination}{name}")
    store(clip, target(f"{destination}{name}", default_name="x"), sidecar={"request_id": "q1"}, owner=ME)

    assert {name, f"{name[:-4]}.json"} <= set(files())


def test_another_run_waits_for_a_name(clip, storage):
    """While one run stores, another one of the same destination waits, and does not write between its files."""
    destination, files = storage
    to = target(f"{destination}latest.mp4", default_name="x")
    place = to.place()
    place.prepare()
    held = {"request_id": "q0", "owner": {**ME, "run_id": "other"}, "claim": "1", "at": time.time()}
    place.write(".latest.mp4.claim", json.dumps(held).encode())
    seen = []
    release = threading.Timer(0.3, lambda: (seen.extend(files()), place.remove(".latest.mp4.claim")))
    release.start()
    stored = put(clip, destination)
    release.join()

    assert "latest.mp4" not in seen
    assert stored.uri.endswith("/latest.mp4")


def test_a_claim_that_is_too_old_is_taken(clip, storage):
    """A claim that a dead worker left does not hold up other runs."""
    destination, _ = storage
    place = target(f"{destination}latest.mp4", default_name="x").place()
    place.prepare()
    held = {"request_id": "q0", "owner": {**ME, "run_id": "other"}, "claim": "1", "at": time.time() - 301}
    place.write(".latest.mp4.claim", json.dumps(held).encode())

    assert put(clip, destination).uri.endswith("/latest.mp4")


def test_names_with_wildcards_stand_for_themselves(clip, storage):
    """Brackets and stars in a name match nothing."""
    destination, files = storage
    to = target(f"{destination}a[1]*?.mp4", default_name="x")
    store(clip, to, sidecar={"request_id": "q"}, owner=ME)

    assert {"a[1]*?.mp4", "a[1]*?.json"} == files().keys()


def test_a_failed_store_leaves_nothing_under_the_name(clip, tmp_path):
    """When the local disk refuses, neither part nor video nor claim is left."""
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "latest.mp4").mkdir()
    with pytest.raises(DeliveryFailed, match="could not be stored at file://"):
        put(clip, f"{folder}/")

    assert ["latest.mp4"] == [path.name for path in folder.iterdir()]


def test_a_missing_bucket_is_a_sentence(clip, s3):
    """A bucket that is gone when the video is ready fails the delivery, which may be tried again."""
    with pytest.raises(DeliveryFailed, match="bucket does not exist"):
        put(clip, "s3://no-such-bucket/")


def test_large_videos_are_uploaded_in_parts_that_show_only_when_whole(tmp_path, s3):
    """A multipart upload arrives whole under its final name, without a temporary key."""
    clip = tmp_path / "large"
    clip.write_bytes(os.urandom(1024) * 60 * 1024)
    put(clip, f"{s3.url}/")

    assert ["latest.json", "latest.mp4"] == sorted(s3.names())
    assert clip.read_bytes() == s3.read("latest.mp4")


def test_stored_files_are_read_back_through_airflow(clip, storage):
    """The uri opens with ObjectStoragePath, as a downstream task would open it."""
    from airflow.sdk import ObjectStoragePath

    destination, _ = storage
    uri = put(clip, destination.replace("#c?d%20é", "")).uri
    with ObjectStoragePath(uri).open("rb") as file:
        assert DATA == file.read()


def test_local_files_follow_the_umask(clip, tmp_path):
    """A delivered file is as readable as any other the worker makes, unlike a temporary one."""
    clip.chmod(0o600)
    stored = put(clip, f"{tmp_path}/out/")
    (tmp_path / "plain").touch()

    assert (tmp_path / "plain").stat().st_mode == local_path(stored.uri).stat().st_mode


@pytest.mark.parametrize(
    ("record", "verdict"),
    [
        pytest.param(None, "free", id="nothing"),
        pytest.param({"request_id": "q1", "owner": NEIGHBOUR}, "free", id="same-request"),
        pytest.param({"request_id": "q0", "owner": NEIGHBOUR}, "taken", id="neighbour"),
        pytest.param({"request_id": "q0", "owner": {**ME, "task_id": "u"}}, "taken", id="other-task"),
        pytest.param({"request_id": "q0", "owner": ME}, "free", id="same-task"),
        pytest.param({"request_id": "q0", "owner": LATER}, "free", id="other-run"),
        pytest.param({"request_id": "q0"}, "free", id="no-owner"),
    ],
)
def test_names_are_taken_by_neighbours_only(record, verdict):
    """Another task instance of the same run keeps its name; everybody else gives it up."""

    assert verdict == whose(record, "q1", ME)


def test_part_names_are_hidden_and_unique():
    """Parts of two deliveries never meet."""
    first, second = (names.part_name("a.mp4") for _ in range(2))

    assert first != second
    assert first.startswith(".a.mp4.")
    assert first.endswith(".part")


@pytest.fixture
def stubborn(memory):
    """Return a storage that shows files while they grow, refuses to rename over one, and can lose its connection."""
    from airflow.sdk.io import attach
    from airflow.sdk.io.store import _STORE_CACHE
    from fsspec.implementations.memory import MemoryFileSystem

    class Stubborn(MemoryFileSystem):
        breaks = False

        def put_file(self, lpath, rpath, **words):
            if self.breaks:
                self.pipe_file(rpath, b"half")
                raise ConnectionResetError(104, "Connection reset by peer")
            super().put_file(lpath, rpath, **words)

        def mv(self, path1, path2, **words):
            if self.exists(path2):
                raise FileExistsError(path2)
            super().mv(path1, path2, **words)

    fs = Stubborn(skip_instance_cache=True)
    _STORE_CACHE.pop("memory", None)
    attach("memory", fs=fs)
    memory.fs = fs
    return memory


def test_a_storage_that_renames_over_nothing_is_helped(clip, stubborn):
    """A video that is in the way of its successor is removed, once the successor is there."""
    put(clip, f"{stubborn.url}/")
    clip.write_bytes(b"new")
    put(clip, f"{stubborn.url}/", "q2")

    assert ["latest.json", "latest.mp4"] == sorted(stubborn.names())
    assert b"new" == stubborn.read("latest.mp4")


def test_a_broken_upload_leaves_the_earlier_video(clip, stubborn):
    """What arrived half is removed, and the name still holds what it held."""
    put(clip, f"{stubborn.url}/")
    stubborn.fs.breaks = True
    with pytest.raises(DeliveryFailed, match="Connection reset by peer"):
        put(clip, f"{stubborn.url}/", "q2")

    assert ["latest.json", "latest.mp4"] == sorted(stubborn.names())
    assert DATA == stubborn.read("latest.mp4")


def test_an_upload_of_another_length_does_not_count(clip, memory, monkeypatch):
    """What the storage holds is measured after the upload; another length is removed and reported."""
    real = memory.fs.put_file
    monkeypatch.setattr(
        memory.fs, "put_file", lambda lpath, rpath: (real(lpath, rpath), memory.fs.pipe_file(rpath, b"x"))
    )
    with pytest.raises(DeliveryFailed, match="has 1 bytes after the upload instead of 300000"):
        put(clip, f"{memory.url}/")

    assert [] == memory.names()


def test_one_of_many_takes_a_claim_that_was_left(tmp_path):
    """However many wait for a claim of a dead worker, one of them has it."""
    place, name = LocalPlace(tmp_path), ".a.mp4.claim"
    left = {"request_id": "r0", "claim": "c0", "at": 0.0}
    for _ in range(20):
        place.write(name, to_json(left))
        start = threading.Barrier(4)

        def take(number, start=start):
            start.wait(5)
            mine = {"request_id": f"r{number}", "claim": f"c{number}"}
            return _taken_over(place, name, left, mine)

        with ThreadPoolExecutor(4) as pool:
            taken = list(pool.map(take, range(1, 5)))

        assert [True] == [each for each in taken if each]
        assert [name] == [each.name for each in tmp_path.iterdir()]
