"""Check the documentation against the code: links, code blocks, the quickstart, names that users set, private words.

Usage: ``python scripts/check_docs.py [--write]``. Prints what is wrong, one line each, and exits with 1 if anything is.
With ``--write`` it only rewrites the tables of arguments in docs/reference.md from the docstrings.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import unquote

from argument_tables import undescribed, with_tables
from markers import NoMarkers
from plain_words import findings

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGE = "airflow_provider_grokvideo"
USER_MODULES = ("operators.grokvideo", "sensors.grokvideo")

_FENCE = re.compile(r"^( *)(```+|~~~+)(\w*)[^\n]*\n(.*?)^ *\2 *$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"!?\[[^\]]*\]\(<?([^)>\s]+)>?(?:\s+\"[^\"]*\")?\)|(?:src|href)=\"([^\"]+)\"")
_CODE_SPAN = re.compile(r"`[^`\n]*`")
_HEADING = re.compile(r"^#{1,6} +(.+?) *#*$", re.MULTILINE)
_SECTION = re.compile(r"^#{2,3} (\d+(?:\.\d+)?)\.? ", re.MULTILINE)
_ROW = re.compile(r"^\| ([A-Z]\d+) \|", re.MULTILINE)
_CITED_SECTION = re.compile(r"§(\d+(?:\.\d+)?)")
_CITED_ROW = re.compile(r"\b([ASPD]\d{1,2})\b")
_MARKED = re.compile(r"^ *# \[START \w+\]\n(.*?)^ *# \[END \w+\]", re.MULTILINE | re.DOTALL)


def main(arguments: Sequence[str]) -> int:
    """Check the repository, or write the tables of arguments; return the exit code."""
    sys.path.insert(0, str(REPOSITORY))  # this package, whatever is installed
    reference, classes = REPOSITORY / "docs" / "reference.md", user_classes()
    if list(arguments) == ["--write"]:
        text = reference.read_text(encoding="utf-8")
        reference.write_text(with_tables(text, classes, reference.name), encoding="utf-8")
        return 0
    if arguments:
        print(__doc__, file=sys.stderr)
        return 2
    wrong = [*problems(REPOSITORY, parameters()), *stale_tables(reference, classes), *findings(REPOSITORY)]
    for line in wrong:
        print(line, file=sys.stderr)
    if not wrong:
        print(f"{len(documents(REPOSITORY))} documents agree with the code.")
    return 1 if wrong else 0


def problems(repository: Path, user_names: dict[str, list[str]]) -> Iterator[str]:
    """Yield one line for everything that is wrong.

    Args:
        repository: Its root folder.
        user_names: What the documentation has to mention in backticks, by what it is.
    """
    texts = {path: path.read_text(encoding="utf-8") for path in documents(repository)}
    for path, text in texts.items():
        name = path.relative_to(repository)
        yield from (f"{name}: {fault}" for fault in (*broken_links(path, text), *broken_code(text)))
    yield from quickstart_differs(repository)
    yield from broken_citations(repository)
    yield from map_differs(repository)
    known = "\n".join(text for path, text in texts.items() if path.name == "README.md" or "docs" in path.parts)
    yield from missing_names(known, user_names)


def documents(repository: Path) -> list[Path]:
    """Return the Markdown files that are part of the project."""
    return sorted([*repository.glob("*.md"), *repository.glob("docs/**/*.md")])


def broken_links(path: Path, text: str) -> Iterator[str]:
    """Yield relative links whose file or heading does not exist."""
    prose = _CODE_SPAN.sub("", _FENCE.sub("", text))
    for match in _LINK.finditer(prose):
        link = match[1] or match[2]
        if re.match(r"[a-z][a-z0-9+.-]*:", link):
            continue
        file, _, anchor = link.partition("#")
        target = (path.parent / unquote(file)).resolve() if file else path
        if not target.exists():
            yield f"link to {link}: no such file"
        elif anchor and target.suffix == ".md" and anchor not in anchors(target.read_text(encoding="utf-8")):
            yield f"link to {link}: no such heading"


def anchors(text: str) -> set[str]:
    """Return the anchors of a document's headings, as code hosts make them; a repeated heading gets a number."""
    found: set[str] = set()
    for title in _HEADING.findall(_FENCE.sub("", text)):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title)
        slug = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        number = 0
        while (anchor := f"{slug}-{number}" if number else slug) in found:
            number += 1
        found.add(anchor)
    return found


def python_blocks(text: str) -> Iterator[tuple[int, str]]:
    """Yield the line number and text of each Python code block."""
    for match in _FENCE.finditer(text):
        if match[3] in {"python", "py"}:
            indent = match[1]
            code = "".join(line.removeprefix(indent) for line in match[4].splitlines(keepends=True))
            yield text.count("\n", 0, match.start()) + 1, code


def broken_code(text: str) -> Iterator[str]:
    """Yield Python blocks that do not compile."""
    for line, code in python_blocks(text):
        try:
            compile(code, "block", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT | ast.PyCF_ONLY_AST)
        except SyntaxError as fault:
            yield f"Python block in line {line}: {fault.msg} (its line {fault.lineno})"


def quickstart_differs(repository: Path) -> Iterator[str]:
    """Yield a line unless a README block is ``dags_examples/first_video.py``, or the part of it between its marks."""
    file = repository / "dags_examples" / "first_video.py"
    if not file.exists():
        yield "dags_examples/first_video.py does not exist"
        return
    source = file.read_text(encoding="utf-8")
    marked = _MARKED.search(source)
    promised = (marked[1] if marked else source).strip()
    readme = repository / "README.md"
    if promised not in {code.strip() for _, code in python_blocks(readme.read_text(encoding="utf-8"))}:
        part = "the marked part of " if marked else ""
        yield f"README.md: no Python block is {part}dags_examples/first_video.py"


def map_differs(repository: Path) -> Iterator[str]:
    """Yield what CONTRIBUTING's map of the package lacks, and what it names that is not there."""
    text = (repository / "CONTRIBUTING.md").read_text(encoding="utf-8")
    start = text.index(f"```\n{PACKAGE}/\n")
    drawn = set(
        re.findall(r"^  (?:  )?([\w./]+?)/? {2,}\S", text[start : text.index("\n```\n", start + 4)], re.MULTILINE)
    )
    folder = repository / PACKAGE
    there = {each.parent.name for each in (*folder.glob("*/__init__.py"), *folder.glob("core/*/__init__.py"))}
    there |= {each.name for each in folder.glob("*.py") if not each.name.startswith("__")}
    yield from (f"CONTRIBUTING.md: the map lacks {name}" for name in sorted(there - drawn))
    yield from (f"CONTRIBUTING.md: the map has {name}, which is not there" for name in sorted(drawn - there))


def broken_citations(repository: Path) -> Iterator[str]:
    """Yield citations of the contract in Python files that name a section, or a row of the emulator, that is not there.

    Rows are looked for in the emulator and its tests only: elsewhere "S3" is a storage.
    """
    document = repository / "docs" / "contract.md"
    text = document.read_text(encoding="utf-8") if document.exists() else ""
    sections, rows = set(_SECTION.findall(text)), set(_ROW.findall(text))
    for folder in (PACKAGE, "benchmarks", "dags_examples", "scripts", "tests"):
        for path in sorted((repository / folder).rglob("*.py")):
            name = path.relative_to(repository)
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
                missing = [f"§{each}" for each in _CITED_SECTION.findall(line) if each not in sections]
                if "emulator" in name.parts:
                    missing += [each for each in _CITED_ROW.findall(line) if each not in rows]
                yield from (f"{name}:{number}: docs/contract.md has no {each}" for each in missing)


def missing_names(text: str, user_names: dict[str, list[str]]) -> Iterator[str]:
    """Yield names that stand in no code span of the documentation, each once."""
    mentioned = set(re.findall(r"\w+", " ".join(_CODE_SPAN.findall(_FENCE.sub("", text)))))
    for kind, names in user_names.items():
        for name in names:
            if name not in mentioned:
                mentioned.add(name)
                yield f"README.md and docs/: {kind} `{name}` is not described"


def stale_tables(document: Path, classes: dict[str, type]) -> Iterator[str]:
    """Yield a line if a table of arguments differs from the docstrings, and one for each argument without a line."""
    for cls in classes.values():
        yield from undescribed(cls)
    text = document.read_text(encoding="utf-8")
    try:
        if text != with_tables(text, classes, document.name):
            yield f"{document.name}: a table of arguments differs from the docstrings; `make format` writes it"
    except NoMarkers as problem:
        yield str(problem)


def user_classes() -> dict[str, type]:
    """Return the operators and the sensor, by name."""
    modules = [importlib.import_module(f"{PACKAGE}.{name}") for name in USER_MODULES]
    return {
        name: value
        for module in modules
        for name, value in vars(module).items()
        if name.startswith("GrokVideo") and name.endswith(("Operator", "Sensor"))
    }


def parameters() -> dict[str, list[str]]:
    """Return what a user can set: config options, connection fields, and parameters of operators and sensors."""
    info: dict[str, Any] = importlib.import_module(f"{PACKAGE}.provider_info").get_provider_info()
    names = {
        f"option of [{section}]": sorted(content["options"]) for section, content in info.get("config", {}).items()
    }
    for kind in info["connection-types"]:
        names[f"connection field of {kind['connection-type']}"] = sorted(kind.get("conn-fields", {}))
    for module_name in USER_MODULES:
        module = importlib.import_module(f"{PACKAGE}.{module_name}")
        for cls in public_classes(module):
            names[f"parameter of {cls.__name__}"] = own_parameters(cls)
    return names


def public_classes(module: ModuleType) -> list[type]:
    """Return the public classes a module defines itself."""
    return [
        value
        for name, value in vars(module).items()
        if inspect.isclass(value) and value.__module__ == module.__name__ and not name.startswith("_")
    ]


def own_parameters(cls: type) -> list[str]:
    """Return the constructor parameters that this package gives a class, inherited ones of Airflow left out."""
    found: set[str] = set()
    for base in cls.__mro__:
        if base.__module__.startswith(PACKAGE) and "__init__" in vars(base):
            for name, parameter in inspect.signature(vars(base)["__init__"]).parameters.items():
                if name != "self" and parameter.kind not in {parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL}:
                    found.add(name)
    return sorted(found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
