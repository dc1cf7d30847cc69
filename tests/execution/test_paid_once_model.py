"""The stateful model of a task: sequences that nobody thought of."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from mishaps import Mishaps, let_time_fly
from paid_once_model import EXAMPLES, STEPS, PaidOnce


@pytest.fixture
def mishaps() -> Iterator[Mishaps]:
    """Wrap what can go wrong, and take the pauses out."""
    with pytest.MonkeyPatch.context() as patch:
        planned = Mishaps()
        planned.install(patch)
        let_time_fly(patch)
        yield planned


@pytest.mark.deep
@pytest.mark.usefixtures("grokvideo_connection")
def test_whatever_happens_nothing_is_paid_twice_and_nothing_paid_is_lost(grokvideo_emulator, mishaps, ti):
    """No sequence of crashes, faults, retries, clears and edits buys what nobody asked for or loses what was bought."""
    run_state_machine_as_test(
        lambda: PaidOnce(grokvideo_emulator, mishaps, ti),
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
