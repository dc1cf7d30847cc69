"""Setting up from nothing fails with one clear line when it cannot work."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "venv.sh"
TOO_OLD = '[ "$1" = --version ] && echo "Python 3.8.18" && exit; exit 1'
WITHOUT_VENV = 'case "$2" in *ensurepip*) exit 1;; esac; [ "$1" != --version ] || echo "Python 3.12.1"'

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run the script in an empty project, where the only python3 is a shell script with the given text."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in ("sh", "cat", "chmod", "cksum", "cp", "mkdir", "rm", "sleep", "tail"):
        (tools / tool).symlink_to(str(shutil.which(tool)))
    project = tmp_path / "pro ject"
    project.mkdir()

    def run(python: str | None, **env: str) -> subprocess.CompletedProcess[str]:
        if python is not None:
            fake = tools / "python3"
            fake.write_text(f"#!/bin/sh\n{python}\n")
            fake.chmod(0o755)
        kept = {name: value for name, value in os.environ.items() if name not in {"PYTHON", "PATH"}}
        return subprocess.run(
            ["/bin/sh", str(SCRIPT)],
            cwd=project,
            env={**kept, "PATH": str(tools), **env},
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )

    return run


@pytest.mark.parametrize(
    ("python", "env", "expected"),
    [
        pytest.param(TOO_OLD, {}, "Python 3.11 or newer (up to 3.14) is needed; python3 is Python 3.8.18.", id="old"),
        pytest.param(None, {}, "Python 3.11 or newer (up to 3.14) is needed; python3 is not there.", id="none"),
        pytest.param(WITHOUT_VENV, {}, "python3 cannot make virtual environments.", id="without-venv"),
        pytest.param(None, {"PYTHON": "snake"}, "PYTHON=snake is not a Python from 3.11 to 3.14", id="named"),
    ],
)
def test_unsuitable_python_is_said_in_one_line(
    run: Run, python: str | None, env: dict[str, str], expected: str
) -> None:
    """An interpreter that is too old, missing or incomplete is named, with what to do."""
    seen = run(python, **env)

    assert 1 == seen.returncode
    assert expected in seen.stderr
    assert 1 == len(seen.stderr.splitlines())


PRETENDED = """
case "$*" in
    --version) echo "Python 3.12.1" ;;
    "-m venv "*) mkdir -p "$3/bin"; cp "$0" "$3/bin/python" ;;
    "-m pip install"*" uv") echo uv >>calls; {fetched} ;;
    "-m pip install"*) echo pip >>calls ;;
esac
"""
UV = 'printf "#!/bin/sh\\necho uv \\$1 >>calls; {end}" >.venv/bin/uv; chmod +x .venv/bin/uv'


@pytest.mark.parametrize(
    ("fetched", "env", "expected"),
    [
        pytest.param(UV.format(end="exit 0"), {}, ["uv", "uv --version", "uv pip"], id="uv comes by pip"),
        pytest.param("exit 1", {}, ["uv", "pip"], id="uv cannot be had"),
        pytest.param(
            UV.format(end="[ \\$1 = --version ]"), {}, ["uv", "uv --version", "uv pip", "pip"], id="uv fails to install"
        ),
        pytest.param("exit 1", {"GROKVIDEO_PIP": "1"}, ["pip"], id="pip is asked for"),
    ],
)
def test_pip_installs_where_uv_cannot(
    run: Run, tmp_path: Path, fetched: str, env: dict[str, str], expected: list[str]
) -> None:
    """uv installs if pip can fetch it; where it cannot be had, fails, or is not wanted, pip installs."""
    project = tmp_path / "pro ject"
    for name in ("pyproject.toml", "constraints.txt"):
        (project / name).write_text("")
    seen = run(PRETENDED.format(fetched=fetched), **env)

    assert (0, expected) == (seen.returncode, (project / "calls").read_text().splitlines())
    assert (project / ".venv" / ".installed").exists()
