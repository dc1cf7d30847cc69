"""What a function's return value means."""

from __future__ import annotations

import json
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_grokvideo.core.bulk.returned import LARGEST, Rows, Video, from_kept, read, to_kept
from airflow_provider_grokvideo.core.bulk.rows import MOST_ROWS
from airflow_provider_grokvideo.core.errors import InvalidInput

OPTIONS = ("destination", "timeout")


def meant(value: Any, **given: Any) -> Video | Rows:
    return read(value, function="clip", given=given, options=OPTIONS)


@pytest.mark.parametrize(
    ("text", "is_file"),
    [
        ("rows.csv", True),
        ("/data/my rows.jsonl", True),
        ("s3://bucket/my rows.parquet", True),
        (" ~/rows.tsv.gz\n", True),
        ("Rows.CSV", True),
        ("A screen shows rows.csv", False),
        ("A\nrows.csv", False),
        ("A cat", False),
        ("rows.csv in a window", False),
    ],
)
def test_a_text_is_a_prompt_or_the_path_of_a_table(text, is_file):
    """A text that ends like a table is its path, unless it has words in front."""
    expected = Rows(text.strip()) if is_file else Video("generate", {"prompt": text})

    assert expected == meant(text)


@pytest.mark.parametrize(
    ("arguments", "given", "mode"),
    [
        ({"prompt": "p"}, {}, "generate"),
        ({"prompt": "p", "image": "a.png"}, {}, "generate"),
        ({"prompt": "p", "video": "v"}, {}, "edit"),
        ({"prompt": "p", "video": "v"}, {"duration": 4}, "extend"),
        ({"prompt": "p", "video": "v", "duration": None}, {"duration": 4}, "edit"),
        ({"prompt": "p"}, {"video": "v", "mode": "extend"}, "extend"),
        ({"prompt": "p", "mode": "edit"}, {"video": "v", "mode": "extend", "duration": 3}, "edit"),
        ({"video": "v"}, {"prompt": "p"}, "edit"),
        ({"prompt": "p", "mode": None}, {}, "generate"),
    ],
)
def test_the_mode_is_said_or_follows_from_the_arguments(arguments, given, mode):
    """What the function says wins over the decorator; without a word the arguments of both decide."""
    found = meant(arguments, **given)

    assert isinstance(found, Video)
    assert mode == found.mode


def test_values_become_plain_json():
    """Paths, dates, time spans, decimals and NaN are kept in a form that XCom holds."""
    moment = datetime(2026, 1, 2, tzinfo=timezone.utc)
    row = {
        "path": Path("/a"), "day": date(2026, 1, 2), "at": moment, "price": Decimal("9.50"), "whole": Decimal(7),
        "empty": float("nan"), "tags": ("a", "b"), "deep": {"x": [timedelta(minutes=1)]},
    }  # fmt: skip
    found = meant([row])

    expected = {
        "path": "/a", "day": "2026-01-02", "at": "2026-01-02T00:00:00+00:00", "price": 9.5, "whole": 7,
        "empty": None, "tags": ["a", "b"], "deep": {"x": [60.0]},
    }  # fmt: skip
    assert Rows([expected]) == found
    assert expected == json.loads(json.dumps(expected))


@pytest.mark.parametrize("value", ["A cat", {"prompt": "p", "timeout": 5}, [{"prompt": "p"}], "rows.csv", []])
def test_what_is_kept_comes_back(value):
    """A later leg gets what the first one had, through JSON."""
    found = meant(value)

    assert found == from_kept(json.loads(json.dumps(to_kept(found))))


@pytest.mark.parametrize("kept", [None, "A cat", {}, {"rows": 3}, {"mode": "edit"}, {"mode": 1, "arguments": {}}])
def test_what_is_not_kept_by_us_is_nothing(kept):
    """Anything else under the key is no value."""
    assert from_kept(kept) is None


def nested(depth: int) -> Any:
    return [] if depth == 0 else [nested(depth - 1)]


@pytest.mark.parametrize(
    "value",
    [
        pytest.param([{"tags": nested(60)}], id="too deep"),
        pytest.param([{"number": 10**5000}], id="too long a number"),
        pytest.param([{1: "x"}], id="a name that is no text"),
        pytest.param([{"prompt": "x" * LARGEST}], id="too large a table"),
        pytest.param({"prompt": "p", "image": "data:image/png;base64," + "A" * LARGEST}, id="too large an argument"),
        pytest.param({"prompt": "p", "Duration": 3}, id="capitals"),
    ],
)
def test_what_cannot_be_kept_is_refused(value):
    """A value that XCom cannot hold, or that is no argument, names the function."""
    with pytest.raises(InvalidInput) as error:
        meant(value)

    assert "return value of clip()" == error.value.field


def test_an_endless_generator_is_stopped():
    """Rows are counted while they are taken."""

    def endless() -> Any:
        while True:
            yield {}

    with pytest.raises(InvalidInput) as error:
        meant(endless())

    assert ("rows", MOST_ROWS + 1) == (error.value.field, error.value.value)
