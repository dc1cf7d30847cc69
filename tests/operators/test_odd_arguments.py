"""Every argument of operators and sensor, given what no argument can be: an error of ours, and nothing is paid."""

from __future__ import annotations

import datetime as dt
import functools
import inspect
from decimal import Decimal

import pytest

from airflow_provider_grokvideo.compat import AirflowSkipException, TaskDeferred
from airflow_provider_grokvideo.core.errors import GrokVideoError, InvalidInput
from airflow_provider_grokvideo.operators.base import GrokVideoBaseOperator
from airflow_provider_grokvideo.operators.grokvideo import (
    GrokVideoEditOperator,
    GrokVideoExtendOperator,
    GrokVideoGenerateOperator,
    GrokVideoReviewOperator,
)
from airflow_provider_grokvideo.sensors.grokvideo import GrokVideoSensor

pytestmark = pytest.mark.usefixtures("grokvideo_connection")


class Unprintable:
    """An object whose repr raises."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")


ODD = {
    "bytes": b"film",
    "true": True,
    "an object": {"colour": "red"},
    "nested": [{"a": [{"b": None}]}, [[]]],
    "nan": float("nan"),
    "inf": float("inf"),
    "minus inf": float("-inf"),
    "far": 1e12,
    "huge": 10**400,
    "too long to print": 10**5000,
    "negative": -1,
    "not a number": Decimal("sNaN"),
    "a thing": object(),
    "unprintable": Unprintable(),
    "half an emoji": "\udc00",
    "zero byte": "a\x00b",
    "a moment": dt.datetime(2026, 11, 29, tzinfo=dt.timezone.utc),
    "a long time": dt.timedelta.max,
    "no time": dt.timedelta(0),
    "negative time": dt.timedelta(seconds=-5),
    "a function": len,
    "a class": int,
    "a generator": (each for each in "ab"),
    "digits": "1" * 5000,
    "a long text of a list": "[" * 100_000,
    "text of nothing": "None",
    "blank": " ",
    "complex": 1j,
    "memory": memoryview(b"film"),
}

MAKE = {
    GrokVideoGenerateOperator: functools.partial(GrokVideoGenerateOperator, task_id="make", prompt="A ball"),
    GrokVideoEditOperator: functools.partial(
        GrokVideoEditOperator, task_id="edit", prompt="Snow", video="https://media.example/a.mp4"
    ),
    GrokVideoExtendOperator: functools.partial(
        GrokVideoExtendOperator, task_id="extend", prompt="On", video="https://media.example/a.mp4"
    ),
    GrokVideoReviewOperator: functools.partial(GrokVideoReviewOperator, task_id="review", video={"request_id": "r"}),
    GrokVideoSensor: functools.partial(GrokVideoSensor, task_id="sense", request_id="4d8fe884"),
}


def arguments(kind):
    """Return the names of an operator's own arguments and of those it shares with the others."""
    shared = inspect.signature(GrokVideoBaseOperator.__init__) if issubclass(kind, GrokVideoBaseOperator) else None
    named = [inspect.signature(kind.__init__), *([shared] if shared else [])]
    return sorted({name for each in named for name in each.parameters} - {"self", "kwargs"})


CASES = [pytest.param(kind, name, id=f"{kind.__name__[9:]} {name}") for kind in MAKE for name in arguments(kind)]


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_an_argument_without_sense_is_an_error_of_ours(kind, name, ti, grokvideo_emulator):
    """Whatever is wrong is told as one of our errors before anything is sent, and never as a bare Python error."""
    faults = []
    for what, value in ODD.items():
        before = len(grokvideo_emulator.starts)
        try:
            task = MAKE[kind](**{name: value})
        except (ValueError, OverflowError, TypeError):
            # Airflow's own check of its own argument of a sensor, when the DAG is parsed.
            assert name in ("timeout", "poke_interval")
            continue
        try:
            task.execute({"ti": ti})
        except (TaskDeferred, AirflowSkipException):
            continue
        except GrokVideoError as error:
            if isinstance(error, InvalidInput) and len(grokvideo_emulator.starts) > before:
                faults.append(f"{what}: paid, then {error.what[:100]}")
        except Exception as error:  # noqa: BLE001 - that is the question
            faults.append(f"{what}: {type(error).__name__}: {str(error)[:150]}")

    assert "" == "\n".join(faults)
