"""Each example does what its docstring says, for the price it says."""

from __future__ import annotations

import ast
import json
import socket
from decimal import Decimal

import pytest
from example_dags import EXAMPLES, load

from airflow_provider_grokvideo.core.billing.pricing import estimate
from airflow_provider_grokvideo.core.polling import decisions
from airflow_provider_grokvideo.core.requests import generation

DELAY = decisions.FIRST_POLL
FILES = sorted(path.name for path in EXAMPLES.glob("*.py"))


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse every connection."""

    def refuse(*_: object) -> None:
        raise AssertionError("parsing opened a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.mark.parametrize("name", FILES)
def test_example_parses_without_network(name, no_network):
    """A scheduler can read each file anywhere; the ids tell where they belong, and nothing runs by itself."""
    dag = load(name)

    assert f"grokvideo_{name.removesuffix('.py')}" == dag.dag_id
    assert None is dag.schedule
    assert {"grokvideo"} == set(dag.tags)


@pytest.mark.parametrize("name", FILES)
def test_example_says_what_it_costs_and_what_to_change(name):
    """Each file opens with what it does, what it costs and what to change."""
    text = ast.get_docstring(ast.parse((EXAMPLES / name).read_text()))

    assert "Cost" in text
    assert "Change: " in text


def test_first_video(run, grokvideo_emulator, s3):
    """The DAG of the README stores one clip in the bucket, for one submission."""
    done = run("first_video.py")

    assert "success" == done.state
    assert "s3://bucket/videos/ball.mp4" == done.results["generate"]["uri"]
    assert "videos/ball.mp4" in s3.names()
    assert_price("first_video.py", 0.25, grokvideo_emulator)


def test_quickstart_with_the_wait_as_in_production(run, grokvideo_emulator, monkeypatch):
    """The DAG of the demo generates, edits and delivers two clips, for two submissions."""
    monkeypatch.setattr(decisions, "FIRST_POLL", DELAY)
    done = run("quickstart.py")

    assert "success" == done.state
    assert {"ball.mp4": 5.0, "ball-in-winter.mp4": 5.0} == done.clips
    assert ["text-to-video", "edit"] == [start.mode for start in grokvideo_emulator.starts]
    assert 0 == grokvideo_emulator.leaks
    assert_price("quickstart.py", 0.55, grokvideo_emulator)


def test_image_to_video(run, grokvideo_emulator):
    """A local image is sent along and becomes a clip of its shape."""
    done = run("image_to_video.py")

    assert "success" == done.state
    assert {"lighthouse.mp4": 5.0} == done.clips
    assert (848, 480) == (done.results["animate"]["width"], done.results["animate"]["height"])
    assert ["image-to-video"] == [start.mode for start in grokvideo_emulator.starts]
    assert_price("image_to_video.py", 0.252, grokvideo_emulator)


def test_layered_edits(run, grokvideo_emulator):
    """Seven edits build upon each other by the service's own links: nothing is uploaded."""
    done = run("layered_edits.py")

    assert "success" == done.state
    assert {5.0} == set(done.clips.values())
    assert 8 == len(done.clips)
    assert ["text-to-video", *["edit"] * 7] == [start.mode for start in grokvideo_emulator.starts]
    assert not [seen for seen in grokvideo_emulator.requests if seen.path.endswith("/files")]
    assert_price("layered_edits.py", 2.35, grokvideo_emulator)


def test_extend_to_longer_clip(run, grokvideo_emulator):
    """Two extensions make 20 s of 6."""
    done = run("extend_to_longer_clip.py")

    assert "success" == done.state
    assert {"boat-06s.mp4": 6.0, "boat-12s.mp4": 12.0, "boat-20s.mp4": 20.0} == done.clips
    assert 3 == len(grokvideo_emulator.starts)
    assert_price("extend_to_longer_clip.py", 1.18, grokvideo_emulator)


def test_many_prompts(run, grokvideo_emulator):
    """One clip per prompt and per row of settings, and their sum."""
    done = run("many_prompts.py")

    assert "success" == done.state
    assert 5 == len(done.clips)
    assert 5 == len(grokvideo_emulator.starts)
    assert 0.90 == done.results["total_cost"]
    assert_price("many_prompts.py", 0.90, grokvideo_emulator)


def test_bulk_from_csv(run, grokvideo_emulator):
    """One clip per row of the file that is shipped, and the second task finds each in the result table."""
    done = run("bulk_from_csv.py")

    assert "success" == done.state
    assert {"kettle": 4.0, "bicycle": 4.0, "watch": 4.0, "lamp": 6.0, "kite": 6.0} == {
        name.split("/")[-1][:-4]: seconds for name, seconds in done.clips.items()
    }
    assert {"delivered": 5} == done.results["clips"]["counts"]
    assert 5 == len(done.results["publish"])
    assert f"file://{done.folder}/products/kite.mp4" == done.results["publish"]["Kite"]
    assert_price("bulk_from_csv.py", 1.20, grokvideo_emulator)


def test_bulk_from_sql(run, grokvideo_emulator, shop_db):
    """One clip per row of the query, and a Parquet table with the columns of the database and their types."""
    import pyarrow.parquet as pq

    done = run("bulk_from_sql.py")
    table = pq.read_table(done.folder / "shop" / "clips.parquet").to_pylist()

    assert "success" == done.state
    assert {"shop/7.mp4": 4.0, "shop/9.mp4": 4.0} == done.clips
    assert [("7", "kettle", Decimal("29.9")), ("9", "kite", Decimal(12))] == [
        (row["id"], row["name"], row["price"]) for row in table
    ]
    assert 2 == len(grokvideo_emulator.starts)
    assert_price("bulk_from_sql.py", 0.40, grokvideo_emulator, said=("0.20",))


def test_decorated_functions(run, grokvideo_emulator, tmp_path, monkeypatch):
    """Functions decide on one clip, its extension and a table of clips."""
    monkeypatch.setenv("AIRFLOW__GROKVIDEO__LEDGER_PATH", str(tmp_path / "ledger.db"))
    done = run("decorated_functions.py")
    names = {path.split("/")[-1]: seconds for path, seconds in done.clips.items()}

    assert "success" == done.state
    assert {"today.mp4": 4.0, "today-longer.mp4": 8.0, "cup-1.mp4": 2.0, "pan-7.mp4": 2.0, "jug-3.mp4": 2.0} == names
    assert {"delivered": 3} == done.results["turntables"]["counts"]
    assert done.results["report"].startswith("3 of 3 clips")
    assert_price("decorated_functions.py", 0.74, grokvideo_emulator)


def test_submit_now_sense_later_and_fetch_again(run, grokvideo_emulator):
    """The sensors deliver what another task bought, and buy nothing."""
    done = run("submit_now_sense_later.py")
    (start,) = grokvideo_emulator.starts
    again = run("fetch_by_request_id.py", request_id=start.request_id)

    assert ("success", "success") == (done.state, again.state)
    assert {"potter.mp4": 5.0, f"{start.request_id}.mp4": 5.0} == again.clips
    assert 1 == len(grokvideo_emulator.starts)
    assert_price("submit_now_sense_later.py", 0.25, grokvideo_emulator)


def test_references_and_frames(run, grokvideo_emulator):
    """References, a voice, a keyframe and two pinned frames reach the service."""
    done = run("references_and_frames.py")

    assert "success" == done.state
    assert {"robot.mp4": 6.0, "flower.mp4": 6.0} == done.clips
    assert ["reference-to-video"] * 2 == [start.mode for start in grokvideo_emulator.starts]
    assert_price("references_and_frames.py", 0.50 + 0.51, grokvideo_emulator, said=("0.50", "0.51"))


def test_paid_once(run, grokvideo_emulator):
    """The clips are bought once although the response to one submission is lost and another request fails."""
    grokvideo_emulator.script("http:503", on="submit", prompt="sweeps")
    grokvideo_emulator.script("failed:internal_error", prompt="sweeps")
    done = run("paid_once.py")

    assert "success" == done.state
    assert {"clip": 5.0, "take": 2.0, "cheap": 1.0} == {name.split("/")[-1][:-4]: s for name, s in done.clips.items()}
    assert 4 == len(grokvideo_emulator.starts)
    # The request that failed is not billed.
    assert_price("paid_once.py", 0.40, grokvideo_emulator, said=("0.25", "0.10", "0.05"))


@pytest.mark.parametrize("fault", [None, "lost_answer"])
def test_upload_to_s3(run, grokvideo_emulator, s3, fault, monkeypatch):
    """xAI uploads the clip to the bucket; the upload settles a lost response, without a second submission."""
    monkeypatch.setattr("airflow_provider_grokvideo.execution.witness.BETWEEN_CHECKS", 1.0)
    if fault is not None:
        grokvideo_emulator.script(fault, on="submit")
    done = run("upload_to_s3.py", output="s3://bucket/films")

    assert "success" == done.state
    assert ["films/train.json", "films/train.mp4", "films/train.poster.jpg"] == s3.names()
    assert "s3://bucket/films/train.mp4" == done.results["clip"]["uri"]
    assert [] == [seen for seen in grokvideo_emulator.requests if seen.origin == "download"]
    assert_price("upload_to_s3.py", 0.25, grokvideo_emulator)


def test_error_handling(run, grokvideo_emulator, monkeypatch, capfd):
    """Every error is handled as its author wanted, the callback sees each error by its type, and the run is green."""
    connection = {"conn_type": "grokvideo", "host": grokvideo_emulator.base_url, "password": "xai-emulator-no-credit"}
    monkeypatch.setenv("AIRFLOW_CONN_GROKVIDEO_OUT_OF_CREDITS", json.dumps(connection))
    expected = {
        "timeout": "WaitTimeout",
        "failed": "VideoFailed",
        "expired": "VideoExpired",
        "too_expensive": "SpendLimitExceeded",
        "invalid_url": "InvalidInput",
        "video_too_long": "InvalidInput",
        "refused": "RequestRejected",
        "no_connection": "AuthenticationFailed",
        "out_of_credits": "OutOfCredits",
        "ambiguous": "AmbiguousSubmit",
    }
    done = run("error_handling.py")
    told = [
        line.split()[0] for line in capfd.readouterr().out.splitlines() if line.startswith(tuple(expected.values()))
    ]

    assert "success" == done.state
    assert set(expected) == {name for name, state in done.states.items() if state == "failed"}
    assert {"moderated"} == {name for name, state in done.states.items() if state == "skipped"}
    assert sorted(expected.values()) == sorted(told)
    assert 12 == len(grokvideo_emulator.starts)
    assert 0 == grokvideo_emulator.leaks


def test_error_handling_stays_away_from_the_real_service(run, grokvideo_emulator, monkeypatch):
    """With a connection to xAI the DAG that causes errors skips itself."""
    monkeypatch.setenv("AIRFLOW_CONN_GROKVIDEO_DEFAULT", '{"conn_type": "grokvideo", "password": "xai-not-a-key"}')
    done = run("error_handling.py")

    assert {"success", "skipped"} == set(done.states.values())
    assert "success" == done.states["only_at_the_emulator"]
    assert [] == grokvideo_emulator.starts


def test_ask_above_five_dollars_within_its_budget(run, grokvideo_emulator):
    """Takes that the run's budget has room for are bought without approval, for the price the docstring says."""
    done = run("ask_above_five_dollars.py", seconds=1, resolution="480p", ask_above=0.24)
    full = estimate(generation(prompt="A ship", model="grok-imagine-video-1.5", duration=15, resolution="1080p"))

    assert ["success"] * 3 == list(done.states.values())
    assert 3 * 800_000_000 == grokvideo_emulator.billed_ticks
    assert "3.75 USD" == str(full)
    assert_says("ask_above_five_dollars.py", "3.75 USD", "11.25 USD", "5 USD")


def test_stop_at_twenty_a_day(run, grokvideo_emulator):
    """The clip that the day's budget has no room for is skipped, and so is everything in a second run."""
    done = run("stop_at_twenty_a_day.py", seconds=1, usd_per_day=0.12)
    again = run("stop_at_twenty_a_day.py", seconds=1, usd_per_day=0.12)

    assert ["skipped", "success", "success"] == sorted(done.states.values())
    assert ["skipped"] * 3 == list(again.states.values())
    assert 2 * 500_000_000 == grokvideo_emulator.billed_ticks
    assert "0.4 USD" == str(estimate(generation(prompt="A kettle", duration=8)))
    assert_says("stop_at_twenty_a_day.py", "0.40 USD", "20 USD")


def assert_says(name, *prices):
    """Check that the docstring names the prices."""
    text = ast.get_docstring(ast.parse((EXAMPLES / name).read_text()))

    assert [] == [price for price in prices if price not in text]


def assert_price(name, usd, emulator, said=None):
    """Check what was billed against the docstring."""
    text = ast.get_docstring(ast.parse((EXAMPLES / name).read_text()))

    assert usd == pytest.approx(emulator.billed_ticks / 10**10)
    for number in said or (f"{usd:.3f}".rstrip("0") if usd * 1000 % 10 else f"{usd:.2f}",):
        assert f"{number} USD" in text
