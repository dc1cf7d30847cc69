"""The suite's lanes divide the tests, whatever is asked for, and a failing one fails all."""

from __future__ import annotations

import subprocess
import sys

import pytest
import suite


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ([], ["-m", "ui"]),
        (["-m", "not e2e"], ["-m", "(ui) and (not e2e)"]),
        (["-mdeep", "-k", "name", "tests/core"], ["-m", "(ui) and (deep)", "-k", "name", "tests/core"]),
    ],
)
def test_marks_narrow_a_lane(asked: list[str], expected: list[str]) -> None:
    """Marks of the command line narrow a lane and do not replace its own."""
    assert expected == suite.narrowed("ui", asked)


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        ({"unit": 0, "e2e": 0, "ui": 0}, 0),
        ({"unit": 0, "e2e": 5, "ui": 5}, 0),
        ({"unit": 5, "e2e": 5, "ui": 5}, 5),
        ({"unit": 0, "e2e": 1, "ui": 0}, 1),
        ({"unit": 5, "e2e": 2, "ui": 1}, 2),
    ],
)
def test_a_failing_lane_fails_the_suite(codes: dict[str, int], expected: int) -> None:
    """The suite passes if every lane does; a lane without tests counts only if no lane has any."""
    assert expected == suite.verdict(codes)


def test_an_interrupted_lane_tears_down() -> None:
    """A lane is ended as by Ctrl-C, so that what its fixtures started ends, too."""
    program = (
        "import signal, time\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "try:\n    print('up', flush=True); time.sleep(60)\n"
        "except KeyboardInterrupt:\n    raise SystemExit(7)"
    )
    lane = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, start_new_session=True)
    assert lane.stdout is not None
    with lane.stdout:
        assert b"up\n" == lane.stdout.readline()
        suite.stop([lane])

    assert 7 == lane.returncode
