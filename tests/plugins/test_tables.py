"""A table of videos on the page: its rows page by page, for who may see its task, from its own result table only."""

from __future__ import annotations

import hashlib
import json
import os
import tracemalloc
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

import pytest
from airflow_double import Double, iso

from airflow_provider_grokvideo.core.purchases.records import Owner
from airflow_provider_grokvideo.media import poster as posters
from airflow_provider_grokvideo.plugins import app as page_app
from airflow_provider_grokvideo.plugins import tables
from airflow_provider_grokvideo.plugins.lanes import Lanes
from airflow_provider_grokvideo.storage.table_files import write_table
from airflow_provider_grokvideo.storage.table_records import record_name

NOW = 1_800_000_000.0
OWNER = Owner("films", "run", "make")
QUERY = {"dag_id": "films", "run_id": "run", "task_id": "make"}
VIDEO = b"\0\0\0\x18ftypisom\0\0\2\0isomiso2" + bytes(range(256)) * 100
ADVICE = "Change the prompt or the input media of the row and clear the task."


@pytest.fixture(autouse=True)
def _fresh(monkeypatch):
    """Let each test begin with a process that has read nothing, and without a ledger."""
    monkeypatch.setenv("AIRFLOW__GROKVIDEO__LEDGER_PATH", "none")
    page_app.application.cache_clear()
    yield
    page_app.application.cache_clear()


def delivered(directory, number, **facts):
    """Return the line of a delivered row."""
    return {
        "id": f"a{number}", "status": "delivered", "uri": f"{directory}/a{number}.mp4", "bytes": 900_000,
        "duration": 6.0, "width": 848, "height": 480, "has_audio": True, "mode": "text-to-video",
        "model": "grok-imagine-video", "prompt": f"Clip {number}", "request_id": f"r-{number}",
        "estimated_cost_usd": Decimal("0.3"), "cost_usd": Decimal("0.3"), "attempts": 1,
        "submitted_at": NOW - 100, "finished_at": NOW - 50 + number, **facts,
    }  # fmt: skip


def moderated(number):
    """Return the line of a row that the content rules have blocked."""
    return {
        "id": f"b{number}", "status": "moderated", "mode": "text-to-video", "prompt": "Blocked", "attempts": 1,
        "request_id": f"m-{number}", "error": "the content rules blocked it", "advice": ADVICE,
    }  # fmt: skip


def table_of(double, uri, lines, owner=OWNER, **rows):
    """Leave a result table and the card of its task."""
    counts = {status: sum(line["status"] == status for line in lines) for status in {line["status"] for line in lines}}
    write_table(uri, lines, [], owner=owner)
    told = {"total": len(lines), "counts": counts, "in_flight": 0, "table_uri": str(uri), **rows}
    return double.add("make", NOW, request_id=None, rows=told, cost_usd="0.6", estimated_usd="0.9", conn_id="c")


@asynccontextmanager
async def asking(double, user="admin"):
    """Yield how to ask a route of the page about the task."""
    async with double.page(user) as client:

        async def ask(path="/api/rows", **words):
            return await client.get(path, params={**QUERY, **words})

        yield ask


async def listed(double, user="admin", **words):
    """Return the answer of the rows' route."""
    async with asking(double, user) as ask:
        return (await ask(**words)).json()


@pytest.fixture(params=["t.jsonl", "t.parquet"])
def place(request, tmp_path):
    """Return where a result table is, once in each format."""
    return tmp_path / request.param


async def test_rows_come_in_pages_and_by_status(place):
    """A filter counts its rows, and a status that no row has gives none."""
    double = Double()
    table_of(double, place, [*(delivered(place.parent, number) for number in range(130)), moderated(0), moderated(1)])
    first, last, blocked, none = [
        await listed(double, **words)
        for words in (
            {},
            {"offset": 100, "limit": 100},
            {"status": "moderated"},
            {"offset": 132, "status": ""[:0] or "failed"},
        )
    ]

    assert [f"a{number}" for number in range(60)] == [row["id"] for row in first["rows"]]
    assert (132, 32, {"delivered": 130, "moderated": 2}) == (first["number"], len(last["rows"]), last["counts"])
    assert (["b0", "b1"], 2) == ([row["id"] for row in blocked["rows"]], blocked["number"])
    assert ([], 0, None) == (none["rows"], none["number"], none["notice"])


async def test_a_row_says_what_the_page_shows(place):
    """A delivered row has its addresses on this page, a failed one what to do; neither has one of the storage."""
    double = Double()
    table_of(double, place, [delivered(place.parent, 7), moderated(0)])
    answer = await listed(double)
    good, bad = answer["rows"]

    address = "dag_id=films&run_id=run&task_id=make&map_index=-1&item=a7"
    expected = {"href": f"media/video?{address}", "kind": "file", "download": f"media/video?{address}&download=1",
                "poster": f"media/poster?{address}"}  # fmt: skip
    assert expected == good["video"]
    assert (f"video?{address}", "delivered", 1, {"usd": "0.3", "kind": "billed"}) == (
        good["page"], good["status"], good["attempts"], good["cost"],
    )  # fmt: skip
    assert (None, None, "the content rules blocked it", ADVICE, "m-0") == tuple(
        bad[name] for name in ("video", "page", "error", "advice", "request_id")
    )
    assert str(place.parent) not in json.dumps(answer)


@pytest.mark.parametrize(
    "words", [{"limit": 101}, {"limit": 0}, {"offset": -1}, {"offset": 10**9}, {"status": "sold"}, {"status": "x' --"}]
)
async def test_what_is_no_page_of_rows_is_refused(tmp_path, words):
    """A page has at most 100 rows, and a status is one of the table's."""
    double = Double()
    table_of(double, tmp_path / "t.jsonl", [moderated(0)])
    async with asking(double) as ask:
        assert 422 == (await ask(**words)).status_code


@pytest.mark.parametrize(("user", "expected"), [(None, 401), ("guest", 403), ("admin", 200)])
@pytest.mark.parametrize("path", ["/api/rows", "/media/table", "/media/video", "/api/video"])
async def test_only_who_may_see_the_task_sees_its_rows(tmp_path, user, expected, path):
    """Rows, the table itself and their videos have the permissions of the task's XCom."""
    double = Double()
    place_video(tmp_path, 1)
    table_of(double, tmp_path / "t.jsonl", [delivered(tmp_path, 1)])
    async with asking(double, user) as ask:
        words = {} if path in ("/api/rows", "/media/table") else {"item": "a1"}

        assert expected == (await ask(path, **words)).status_code


OTHERS = {
    "another dag": Owner("secret", "run", "make"),
    "another run": Owner("films", "other", "make"),
    "another task": Owner("films", "run", "cut"),
    "another map index": Owner("films", "run", "make", 3),
}


@pytest.mark.parametrize("who", OTHERS)
async def test_a_card_opens_no_table_of_another_task(place, who):
    """Users may edit cards; the record beside a table says whose it is."""
    double = Double()
    table_of(double, place, [delivered(place.parent, 1)], OTHERS[who])
    async with asking(double) as ask:
        rows, file, video = await ask(), await ask("/media/table"), await ask("/media/video", item="a1")

    assert ([], 404, 404) == (rows.json()["rows"], file.status_code, video.status_code)
    assert (tables.NOT_HERE == rows.json()["notice"]) == (who == "another dag")
    assert ("run other" in rows.json()["notice"]) == (who == "another run")


def break_(what: str, place: Path) -> str:
    """Put something else where a result table was, and return its address."""
    record = place.parent / record_name(place.name)
    told = json.loads(record.read_text())
    if what == "no record":
        record.unlink()
    elif what == "edited":
        place.write_bytes(place.read_bytes().replace(b"Clip", b"Clap"))
    elif what == "gone":
        place.unlink()
    elif what == "pipe":
        place.unlink()
        os.mkfifo(place)
    elif what in ("text", "list", "half", "odd status", "no status"):
        texts = {"text": b"secret\n", "list": b"[1]\n", "half": place.read_bytes()[:-9],
                 "odd status": b'{"status": "sold"}\n', "no status": b"{}\n"}  # fmt: skip
        write_table(place, [], [], owner=OWNER)
        place.write_bytes(texts[what])
        sha256 = hashlib.sha256(texts[what]).hexdigest()
        record.write_text(json.dumps({**told, "sha256": sha256, "bytes": len(texts[what])}))
    return {
        "web": "https://example.com/t.jsonl", "relative": "t.jsonl", "scheme": "nosuch://b/t.jsonl",
        "key": "/etc/passwd", "version": "s3://bucket/t.jsonl?versionId=1",
    }.get(what, str(place))  # fmt: skip


BROKEN = {
    "no record": tables.NOT_HERE, "edited": tables.CHANGED, "gone": tables.NOT_HERE, "pipe": tables.NOT_HERE,
    "text": tables.DAMAGED, "list": tables.DAMAGED, "half": tables.DAMAGED, "odd status": tables.DAMAGED,
    "no status": tables.DAMAGED, "web": tables.NOT_HERE, "relative": tables.NOT_HERE, "scheme": tables.NOT_HERE,
    "key": tables.NOT_HERE, "version": tables.NOT_HERE, "none": tables.NO_TABLE,
}  # fmt: skip


@pytest.mark.parametrize("what", BROKEN)
async def test_a_table_that_cannot_be_shown_is_a_message(tmp_path, what):
    """The counts of the card are shown all the same, and nothing of the file is told."""
    double = Double()
    place = tmp_path / "t.jsonl"
    table_of(double, place, [delivered(tmp_path, 1)])
    uri = None if what == "none" else break_(what, place)
    value, _ = double.cards[OWNER]
    value["rows"]["table_uri"] = uri
    async with asking(double) as ask:
        rows, page = await ask(), await ask("/api/video")

    assert (200, [], BROKEN[what]) == (rows.status_code, rows.json()["rows"], rows.json()["notice"])
    assert {"delivered": 1} == page.json()["rows"]["counts"]
    assert "secret" not in rows.text


async def test_a_damaged_parquet_table_is_a_message(tmp_path):
    """As one of JSON lines is."""
    double = Double()
    place = tmp_path / "t.parquet"
    table_of(double, place, [delivered(tmp_path, 1)])
    content = place.read_bytes()[:-4] + b"\0\0\0\0"
    place.write_bytes(content)
    record = tmp_path / record_name(place.name)
    told = {**json.loads(record.read_text()), "sha256": hashlib.sha256(content).hexdigest()}
    record.write_text(json.dumps(told))

    assert tables.DAMAGED == (await listed(double))["notice"]


async def test_a_table_is_read_once_for_each_content(tmp_path):
    """Other pages of it come from memory; what the task writes next is seen at once."""
    double = Double()
    place = tmp_path / "t.jsonl"
    table_of(double, place, [delivered(tmp_path, number) for number in range(300)])
    async with asking(double) as ask:
        await ask()
        place.write_text("not read again")
        pages = [(await ask(offset=offset)).json() for offset in range(0, 300, 60)]
        table_of(double, place, [delivered(tmp_path, number) for number in range(301)])
        answer = (await ask()).json()

    assert [60] * 5 == [len(page["rows"]) for page in pages]
    assert 301 == answer["number"]


async def test_while_a_table_is_being_written_the_one_before_is_shown(tmp_path):
    """The file is replaced before its record is."""
    double = Double()
    place = tmp_path / "t.jsonl"
    table_of(double, place, [delivered(tmp_path, 1)])
    async with asking(double) as ask:
        await ask()
        record = (tmp_path / record_name(place.name)).read_bytes()
        table_of(double, place, [delivered(tmp_path, 1), delivered(tmp_path, 2)])
        content = place.read_bytes()
        write_table(place, [], [], owner=OWNER)
        place.write_bytes(content)
        between = (await ask()).json()
        (tmp_path / record_name(place.name)).write_bytes(record)

    assert (["a1"], None) == ([row["id"] for row in between["rows"]], between["notice"])


async def test_a_huge_table_is_not_read(tmp_path):
    """The page says so, and needs no memory for it."""
    double = Double()
    place = tmp_path / "t.jsonl"
    table_of(double, place, [delivered(tmp_path, 1)])
    with place.open("ab") as file:
        file.truncate(tables.LARGEST + 1)
    tracemalloc.start()
    notice = (await listed(double))["notice"]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert tables.TOO_LARGE == notice
    assert peak < tables.LARGEST / 4


async def test_a_storage_that_does_not_answer_is_a_message(tmp_path, monkeypatch):
    """Other tasks and the counts are shown meanwhile."""
    monkeypatch.setattr(tables, "_LANES", Lanes(threads=1, lanes=0, limit=0.1))
    double = Double()
    table_of(double, tmp_path / "t.jsonl", [delivered(tmp_path, 1)])

    assert tables.NO_ANSWER == (await listed(double))["notice"]


async def test_a_task_with_one_video_has_no_rows():
    """The route is for tables."""
    double = Double()
    double.add("make", NOW)
    async with asking(double) as ask:
        assert 404 == (await ask()).status_code


def place_video(directory: Path, number: int, request_id: str | None = None, dag_id: str = "films") -> None:
    """Leave a delivered video with its sidecar and poster."""
    (directory / f"a{number}.mp4").write_bytes(VIDEO)
    owner = {**QUERY, "dag_id": dag_id, "map_index": -1, "item": f"a{number}"}
    request_id = request_id or f"r-{number}"
    (directory / f"a{number}.json").write_text(json.dumps({"schema": 1, "request_id": request_id, "owner": owner}))
    (directory / f"a{number}.poster.jpg").write_bytes(posters.marked(b"\xff\xd8\xff\xd9" + b"\0" * 100, request_id))


async def test_a_row_has_its_video_and_its_poster(tmp_path):
    """They are served by the routes of any video, by the id of the row."""
    double = Double()
    place_video(tmp_path, 1)
    table_of(double, tmp_path / "t.jsonl", [delivered(tmp_path, 1), moderated(0)])
    async with asking(double) as ask:
        video, poster = await ask("/media/video", item="a1"), await ask("/media/poster", item="a1")
        view = (await ask("/api/video", item="a1")).json()
        statuses = [(await ask(f"/media/{what}", item=item)).status_code
                    for what, item in (("video", "a9"), ("video", "b0"), ("poster", "b0"), ("video", ""))]  # fmt: skip

    assert (VIDEO, "image/jpeg") == (video.content, poster.headers["content-type"])
    assert ("delivered", "make · a1", "Clip 1", None, 848) == (
        view["outcome"], view["label"], view["prompt"], view["notice"], view["width"],
    )  # fmt: skip
    assert view["links"]["table"] == "video?dag_id=films&run_id=run&task_id=make&map_index=-1"
    assert [404, 404, 404, 404] == statuses


@pytest.mark.parametrize(("facts", "expected"), [({"dag_id": "secret"}, 403), ({"request_id": "r-9"}, 404)])
async def test_a_row_shows_no_video_of_others(tmp_path, facts, expected):
    """The sidecar of each video decides, as for a task with one video."""
    double = Double()
    place_video(tmp_path, 1, **facts)
    table_of(double, tmp_path / "t.jsonl", [delivered(tmp_path, 1)])
    async with asking(double) as ask:
        statuses = {(await ask(f"/media/{what}", item="a1")).status_code for what in ("video", "poster", "sidecar")}

    assert {expected} == statuses


async def test_the_table_can_be_downloaded(place):
    """It is the file as the task wrote it."""
    double = Double()
    table_of(double, place, [delivered(place.parent, 1)])
    async with asking(double) as ask:
        answer = await ask("/media/table")

    assert place.read_bytes() == answer.content
    assert f'attachment; filename="{place.name}"' in answer.headers["content-disposition"]


async def test_odd_cells_break_no_page(tmp_path):
    """A table whose cells are of other types is shown without them."""
    double = Double()
    lines = [delivered(tmp_path, 1, prompt="x" * 10_000, error="half \ud83d", duration=float("nan"), width=None)]
    table_of(double, tmp_path / "t.jsonl", lines)
    row = (await listed(double))["rows"][0]

    assert (600, None, None, "half ?") == (len(row["prompt"]), row["duration"], row["width"], row["error"])


async def gallery(double, user="admin", **words):
    """Return the gallery's answer."""
    async with double.page(user) as client:
        return (await client.get("/api/videos", params={"since": iso(NOW - 9), "until": iso(NOW), **words})).json()


async def test_the_gallery_shows_a_table_and_its_newest_videos(tmp_path):
    """A few rows of each, however many there are; with more videos on the page there are more of them."""
    double = Double()
    double.add("other", NOW - 1)
    table_of(double, tmp_path / "t.jsonl", [*(delivered(tmp_path, number) for number in range(500)), moderated(0)])
    few, more = await gallery(double), await gallery(double, limit=500)

    labels = [view["label"] for view in few["videos"]]
    assert ["make", *(f"make · a{number}" for number in range(499, 487, -1)), "other"] == labels
    assert 102 == len(more["videos"])
    assert ("500 of 501 rows have their video", 501) == (
        few["videos"][0]["headline"], few["videos"][0]["rows"]["total"],
    )  # fmt: skip


async def test_without_a_ledger_a_table_costs_what_its_card_says(tmp_path):
    """Its rows in the gallery are not counted again."""
    double = Double()
    table_of(double, tmp_path / "t.jsonl", [delivered(tmp_path, 1), delivered(tmp_path, 2)])
    spend = (await gallery(double))["spend"]

    assert ("videos", "0.60", 1) == (spend["source"], spend["billed_usd"], spend["purchases"])


async def test_the_gallery_reads_few_tables(tmp_path):
    """Of older tables it shows the counts alone."""
    double = Double()
    for number in range(8):
        owner = Owner("films", "run", "make", number)
        place = tmp_path / f"t{number}.jsonl"
        write_table(place, [delivered(tmp_path, 1)], [], owner=owner)
        rows = {"total": 1, "counts": {"delivered": 1}, "table_uri": str(place)}
        double.add("make", NOW - number, map_index=number, request_id=None, rows=rows)
    labels = [view["label"] for view in (await gallery(double))["videos"]]

    assert 8 + tables.TABLES == len(labels)
    assert [f"make[{number}] · a1" for number in range(tables.TABLES)] == [name for name in labels if "·" in name]


async def test_a_table_that_cannot_be_read_leaves_the_gallery_as_it_is(tmp_path):
    """The table itself is shown."""
    double = Double()
    table_of(double, tmp_path / "t.jsonl", [delivered(tmp_path, 1)])
    (tmp_path / "t.jsonl").unlink()

    assert ["make"] == [view["label"] for view in (await gallery(double))["videos"]]


@pytest.mark.parametrize(
    ("state", "rows", "expected"),
    [
        ("deferred", {"in_flight": 3}, "waiting"),
        ("running", {}, "waiting"),
        ("success", {}, "delivered"),
        ("failed", {"in_flight": 3}, "trouble"),
        ("failed", {}, "trouble"),
        ("awaiting_input", {}, "asking"),
    ],
)
async def test_a_table_under_way_is_told_by_its_task(tmp_path, state, rows, expected):
    """Airflow may have ended the task since the card was written."""
    double = Double()
    owner = table_of(double, tmp_path / "t.jsonl", [delivered(tmp_path, 1), {"id": "c", "status": "not_sent"}], **rows)
    double.cards[owner][0]["outcome"] = "waiting"
    double.states[owner] = state
    async with asking(double) as ask:
        view = (await ask("/api/video")).json()

    assert (expected, None) == (view["outcome"], view["waiting"])
    assert (state == "failed") == (view["problem"] is not None)
    assert "t.jsonl" == view["rows"]["file"]
