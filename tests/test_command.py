"""The console script ``grokvideo``."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

from airflow_provider_grokvideo.__main__ import main

tomllib = pytest.importorskip("tomllib", reason="Python 3.11 and newer read pyproject.toml")

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"


def test_the_installed_script_prints_its_help(capsys: pytest.CaptureFixture[str]):
    """The entry point of the script resolves, and without arguments it lists its commands."""
    module, _, name = tomllib.loads(PYPROJECT.read_text())["project"]["scripts"]["grokvideo"].partition(":")

    assert 0 == getattr(import_module(module), name)([])
    printed = capsys.readouterr().out
    assert printed.startswith("usage: grokvideo ")
    assert {"journal", "spend", "reconcile", "plan", "emulator"} <= set(printed.split())


@pytest.mark.parametrize("command", ["journal", "journal adopt", "spend", "reconcile", "plan", "emulator"])
def test_each_command_prints_help_with_its_name(command: str, capsys: pytest.CaptureFixture[str]):
    """The usage line of each command is what you type."""
    with pytest.raises(SystemExit) as ended:
        main([*command.split(), "--help"])

    assert 0 == ended.value.code
    assert capsys.readouterr().out.startswith(f"usage: grokvideo {command} ")
