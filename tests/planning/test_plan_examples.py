"""What the examples cost, by their plans and by what they say themselves."""

from __future__ import annotations

import ast
from decimal import Decimal
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "dags_examples"

FIXED = {
    "quickstart.py": "0.55",
    "image_to_video.py": "0.252",
    "layered_edits.py": "2.35",
    "extend_to_longer_clip.py": "1.18",
    "submit_now_sense_later.py": "0.25",
    "upload_to_s3.py": "0.25",
    "ask_above_five_dollars.py": "11.25",
    "review_before_publishing.py": "1.26",
}
"""What a run costs at most, as the docstring says it."""

SUMS = {
    "references_and_frames.py": ("0.50", "0.51"),
    "stop_at_twenty_a_day.py": ("0.40", "0.40", "0.40"),
    # One of its tasks may buy four times.
    "paid_once.py": ("0.25", "0.10", "0.05", "0.05", "0.05", "0.05"),
}
"""The prices in the docstring that a run adds up."""


def says(name: str) -> str:
    return ast.get_docstring(ast.parse((EXAMPLES / name).read_text())) or ""


@pytest.mark.parametrize(("name", "usd"), FIXED.items())
def test_example_of_one_price(planned, name, usd):
    """The plan is what the docstring says."""
    (dag,) = planned(EXAMPLES / name).values()

    assert Decimal(usd) == Decimal(dag["run"]["usd"])
    assert dag["run"]["complete"]
    assert f"{usd} USD" in says(name)


@pytest.mark.parametrize(("name", "usd"), SUMS.items())
def test_example_of_several_prices(planned, name, usd):
    """The plan is the sum of what the docstring says."""
    (dag,) = planned(EXAMPLES / name).values()

    assert sum(map(Decimal, usd)) == Decimal(dag["run"]["usd"])
    assert [] == [each for each in usd if f"{each} USD" not in says(name)]


def test_example_of_unknown_length(planned):
    """With its default prompts the plan comes to what the docstring says."""
    (dag,) = planned(EXAMPLES / "many_prompts.py").values()
    run = dag["run"]

    assert not run["complete"]
    assert "0.90 USD" in says("many_prompts.py")
    assert Decimal("0.90") == Decimal(run["usd"]) + 3 * Decimal(run["per_item"]["clips"])


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.glob("*.py")))
def test_every_example_can_be_planned(plan, name):
    """There is a plan for every example, except where nothing is bought."""
    expected = {"fetch_by_request_id.py": 1, "many_prompts.py": 3, "bulk_from_sql.py": 3, "decorated_functions.py": 3}

    assert expected.get(name, 0) == plan(EXAMPLES / name).code
