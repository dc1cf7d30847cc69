"""Documentation that disagrees with the code is found."""

from __future__ import annotations

from pathlib import Path

import check_docs
import pytest

QUICKSTART = 'print("quickstart")\n'
README = f"""# Title

## The `grokvideo` connection, and more

```python
{QUICKSTART}```

[a file](docs/guide.md) and [a heading](#the-grokvideo-connection-and-more), set `prompt="..."`.
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    (tmp_path / "README.md").write_text(README)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "guide.md").write_text("# Guide\n\nsee [home](../README.md#title) or [x.ai](https://x.ai)\n")
    (tmp_path / "dags_examples").mkdir()
    (tmp_path / "dags_examples" / "first_video.py").write_text(QUICKSTART)
    (tmp_path / "CONTRIBUTING.md").write_text(
        "```\nairflow_provider_grokvideo/\n  compat.py   x\n  core/       x\n```\n"
    )
    package = tmp_path / "airflow_provider_grokvideo"
    (package / "core").mkdir(parents=True)
    for name in ("compat.py", "core/__init__.py"):
        (package / name).touch()
    return tmp_path


def test_agreement_is_silent(repository: Path) -> None:
    """Documentation that agrees with the code raises nothing."""
    assert [] == list(check_docs.problems(repository, {"parameter": ["prompt"]}))


@pytest.mark.parametrize(
    ("addition", "expected"),
    [
        pytest.param("[x](nowhere.md)", "README.md: link to nowhere.md: no such file", id="file"),
        pytest.param("[x](#nothing)", "README.md: link to #nothing: no such heading", id="heading"),
        pytest.param('<img src="no.png">', "README.md: link to no.png: no such file", id="picture"),
        pytest.param(
            "```python\nif:\n```", "README.md: Python block in line 11: invalid syntax (its line 1)", id="code"
        ),
    ],
)
def test_fault_is_named(repository: Path, addition: str, expected: str) -> None:
    """A broken link or code block is named with its document and place."""
    (repository / "README.md").write_text(f"{README}\n{addition}\n")

    assert [expected] == list(check_docs.problems(repository, {}))


def test_code_is_not_searched_for_links(repository: Path) -> None:
    """Something that looks like a link inside code is none."""
    (repository / "README.md").write_text(f"{README}\n```python\nx = d['a'](b)\n```\nand `[x](nowhere.md)`\n")

    assert [] == list(check_docs.problems(repository, {}))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param("journal/__init__.py", "CONTRIBUTING.md: the map lacks journal", id="a new folder"),
        pytest.param("terminal.py", "CONTRIBUTING.md: the map lacks terminal.py", id="a new module"),
        pytest.param(None, "CONTRIBUTING.md: the map has core, which is not there", id="a folder that is gone"),
    ],
)
def test_the_map_of_the_package_is_held_against_its_folders(
    repository: Path, change: str | None, expected: str
) -> None:
    """What the map lacks, or has too much, is named."""
    package = repository / "airflow_provider_grokvideo"
    if change is None:
        (package / "core" / "__init__.py").unlink()
    else:
        (package / change).parent.mkdir(exist_ok=True)
        (package / change).touch()

    assert [expected] == list(check_docs.problems(repository, {"parameter": ["prompt"]}))


def test_changed_quickstart_is_noticed(repository: Path) -> None:
    """The README's DAG is the file that the tests run."""
    (repository / "dags_examples" / "first_video.py").write_text("print('other')\n")

    assert ["README.md: no Python block is dags_examples/first_video.py"] == list(check_docs.problems(repository, {}))


def test_marked_part_is_enough(repository: Path) -> None:
    """Where the file marks a part for the README only that part has to be equal."""
    text = f"import this\n# [START readme]\n{QUICKSTART}# [END readme]\n"
    (repository / "dags_examples" / "first_video.py").write_text(text)

    assert [] == list(check_docs.problems(repository, {}))


def test_undescribed_name_is_noticed(repository: Path) -> None:
    """Each thing a user can set has to be mentioned."""
    expected = ["README.md and docs/: option `pace` is not described"]

    assert expected == list(check_docs.problems(repository, {"option": ["pace"]}))


def test_inherited_parameters_of_ours_count() -> None:
    """Parameters of our own base classes belong to an operator, those of foreign ones do not."""

    class Foreign:
        def __init__(self, task_id: str) -> None: ...

    class Base(Foreign):
        def __init__(self, conn_id: str, **kwargs: object) -> None: ...

    class Operator(Base):
        def __init__(self, *, prompt: str, **kwargs: object) -> None: ...

    Base.__module__ = Operator.__module__ = f"{check_docs.PACKAGE}.operators.x"

    assert ["conn_id", "prompt"] == check_docs.own_parameters(Operator)


@pytest.mark.parametrize(
    ("file", "line", "expected"),
    [
        ("core/wire.py", "# contract §5.4", []),
        ("core/wire.py", "# contract \u00a75.9", ["\u00a75.9"]),
        ("core/wire.py", "# stored in S3", []),
        ("emulator/shapes.py", "# P9", []),
        ("emulator/shapes.py", "# P9 to P99", ["P99"]),
    ],
)
def test_citation_of_a_missing_place_is_noticed(repository: Path, file: str, line: str, expected: list[str]) -> None:
    """Code cites only sections and rows of the contract that exist."""
    (repository / "docs" / "contract.md").write_text("## 5. Results\n\n### 5.4 Downloads\n\n| P9 | moderated | 200 |\n")
    path = repository / "airflow_provider_grokvideo" / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{line}\n")

    named = [f"airflow_provider_grokvideo/{file}:1: docs/contract.md has no {each}" for each in expected]
    assert named == list(check_docs.problems(repository, {}))
