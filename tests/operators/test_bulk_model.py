"""The stateful model of a table: sequences that nobody thought of."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from bulk_mishaps import BulkMishaps
from bulk_model import EXAMPLES, STEPS, PaidTable
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test


@pytest.fixture
def mishaps() -> Iterator[BulkMishaps]:
    """Wrap what can go wrong, and take the pauses out."""
    with pytest.MonkeyPatch.context() as patch:
        planned = BulkMishaps()
        planned.install(patch)
        yield planned


@pytest.mark.deep
@pytest.mark.usefixtures("grokvideo_connection")
def test_whatever_happens_to_a_table_no_row_is_paid_twice_or_lost_and_the_ledger_is_the_bill(
    grokvideo_emulator, mishaps
):
    """No sequence of crashes, faults, clears and edits of a table buys what nobody asked for or loses what was bought.

    What is reserved never passes a budget, nothing is held for rows that were not sent, and in the end the ledger's sum
    is the emulator's bill.
    """
    run_state_machine_as_test(
        lambda: PaidTable(grokvideo_emulator, mishaps),
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            derandomize="GROKVIDEO_MODEL_EXAMPLES" not in os.environ,
            database=None,
            print_blob=True,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )
