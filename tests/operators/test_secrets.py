"""The API key goes to the API and nowhere else."""

from __future__ import annotations

import functools
import json

import pytest

from airflow_provider_grokvideo.core.errors import GrokVideoError
from airflow_provider_grokvideo.operators.grokvideo import GrokVideoGenerateOperator

FAULTS = {
    "good": ("tempo=polls:2", None, None),
    "moderated": ("tempo=polls:1 fault=moderated:b", None, None),
    "lost answer": ("tempo=polls:1", "lost_answer", "submit"),
    "unavailable": ("tempo=polls:1", "http:503", "submit"),
    "broken download": ("tempo=polls:1", "wrong_bytes", "download"),
    "refused key": ("tempo=polls:1", "revoked", "poll"),
}


@pytest.mark.usefixtures("grokvideo_connection")
@pytest.mark.parametrize("case", FAULTS, ids=str)
def test_the_key_leaves_no_trace(drive, grokvideo_emulator, tmp_path, logs, case):
    """Neither logs, XComs, trigger arguments, events, errors, rendered fields nor the download know the key."""
    words, fault, place = FAULTS[case]
    if fault:
        grokvideo_emulator.script(fault, on=place, times=None)
    make = functools.partial(
        GrokVideoGenerateOperator,
        task_id="make",
        prompt=f"A ball [[emulator: {words}]]",
        duration=1,
        poll_interval=0.05,
        destination=f"{tmp_path}/",
    )
    said = []

    try:
        course = drive(make)
        said += [repr(course), json.dumps(course.result), json.dumps(course.events)]
    except GrokVideoError as error:
        said += [repr(error), str(error), repr(error.__dict__), repr(error.__cause__)]
    task = make()
    said += [repr({name: getattr(task, name) for name in task.template_fields}), repr(vars(task.hook)), logs()]
    said += [path.read_text(errors="replace") for path in tmp_path.iterdir() if path.suffix == ".json"]

    assert "A ball" in "".join(said)
    assert grokvideo_emulator.api_key not in "".join(said)
    assert 0 == grokvideo_emulator.leaks
