"""``make figures``: what can be counted of the package's structure, one line each."""

from __future__ import annotations

import ast
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGE = "airflow_provider_grokvideo"
LONG = 400


def main() -> int:
    """Print the figures."""
    sources = {path: path.read_text(encoding="utf-8") for path in sorted((REPOSITORY / PACKAGE).rglob("*.py"))}
    trees = {path: ast.parse(text) for path, text in sources.items()}
    lines = {path: text.count("\n") for path, text in sources.items()}
    longest = max(lines, key=lambda path: lines[path])
    above = [path for path, many in lines.items() if many > LONG]
    methods = operator_methods(trees[REPOSITORY / PACKAGE / "operators" / "base.py"])
    twice = {name: places for name, places in public_classes(trees).items() if len(places) > 1}
    loops = import_loops(trees)
    print(f"package lines                      {sum(lines.values())} in {len(lines)} files")
    print(f"longest file                       {lines[longest]} ({longest.relative_to(REPOSITORY)})")
    print(f"files above {LONG} lines              {len(above)}")
    for path in above:
        print(f"  {lines[path]:>5} {path.relative_to(REPOSITORY)}")
    print(f"methods of the base operator       {methods}")
    print(f"import loops, lazy imports counted {len(loops)}")
    for loop in loops:
        print(f"  {' -> '.join(loop)}")
    print(f"public class names used twice      {len(twice)}")
    for name, places in sorted(twice.items()):
        print(f"  {name}: {', '.join(places)}")
    return 0


def operator_methods(tree: ast.Module) -> int:
    """Return how many methods the base operator has."""
    kind = next(node for node in tree.body if isinstance(node, ast.ClassDef))
    return sum(isinstance(node, ast.FunctionDef) for node in kind.body)


def public_classes(trees: dict[Path, ast.Module]) -> dict[str, list[str]]:
    """Return the modules of each public class name."""
    found = defaultdict(list)
    for path, tree in trees.items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[node.name].append(module_of(path))
    return found


def import_loops(trees: dict[Path, ast.Module]) -> list[list[str]]:
    """Return the groups of modules that import each other, imports for types left out."""
    names = {module_of(path) for path in trees}
    arrows = {module_of(path): set(imported(tree, names)) - {module_of(path)} for path, tree in trees.items()}
    return [sorted(group) for group in strongly_connected(arrows) if len(group) > 1]


def imported(tree: ast.Module, names: set[str]) -> Iterator[str]:
    """Yield the modules of `names` that a module imports, wherever, but for its types."""
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in names)
        elif isinstance(node, ast.ImportFrom) and node.module in names:
            inner_modules = {f"{node.module}.{alias.name}" for alias in node.names} & names
            # A package is only what its modules lie in, unless a name of its own is wanted.
            yield from inner_modules
            if len(inner_modules) < len(node.names):
                yield node.module


def module_of(path: Path) -> str:
    """Return a file's module."""
    dotted = ".".join(path.relative_to(REPOSITORY).with_suffix("").parts)
    return re.sub(r"\.__init__$", "", dotted)


def strongly_connected(arrows: dict[str, set[str]]) -> list[list[str]]:
    """Return the groups of nodes that reach each other (Tarjan)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    groups: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for to in sorted(arrows[node]):
            if to not in index:
                visit(to)
                low[node] = min(low[node], low[to])
            elif to in stack:
                low[node] = min(low[node], index[to])
        if low[node] == index[node]:
            at = stack.index(node)
            groups.append(stack[at:])
            del stack[at:]

    for node in sorted(arrows):
        if node not in index:
            visit(node)
    return groups


if __name__ == "__main__":
    sys.exit(main())
