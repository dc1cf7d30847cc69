"""The price table of the documentation is the one that the package counts with."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path

from airflow_provider_grokvideo.core.billing.pricing import DEFAULT_PRICES
from airflow_provider_grokvideo.core.models import RESOLUTIONS

TABLE = (Path(__file__).resolve().parent.parent / "docs" / "models.md").read_text(encoding="utf-8")


def cells(label: str) -> list[str]:
    """Return what stands in a row of the table, one text for each model."""
    (row,) = re.findall(rf"^\| {re.escape(label)}[^|]*\|(.*)\|$", TABLE, re.MULTILINE)
    return [cell.strip() for cell in row.split("|")]


def amount(text: str) -> Decimal | None:
    """Return what a cell says; a dash is no price."""
    return None if text == "-" else Decimal(text)


def test_the_readme_has_the_prices_that_estimates_are_made_with():
    """Every rate of every model, with the day they were read."""
    names = re.findall(r"`(grok-[^`]+)`", next(line for line in TABLE.splitlines() if line.startswith("| | `grok-")))
    models = [DEFAULT_PRICES.models[name] for name in names]
    seconds = [[amount(part.strip()) for part in cell.split("/")] for cell in cells("USD per second of output")]

    assert set(DEFAULT_PRICES.models) == set(names)
    assert [[model.output_second.get(name) for name in RESOLUTIONS] for model in models] == seconds
    assert [model.input_image for model in models] == [amount(cell) for cell in cells("USD per input image")]
    assert [model.input_video_second or None for model in models] == [
        amount(cell) for cell in cells("USD per second of input video")
    ]
    assert f"Read on {DEFAULT_PRICES.as_of}" in TABLE
