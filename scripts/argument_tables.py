"""Tables of the arguments of operators and sensors, from their docstrings and signatures."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

from markers import replaced

_PARAM = re.compile(r"^:param (\w+):(.*?)(?=^:|^\S|\Z)", re.MULTILINE | re.DOTALL)
_ROLE = re.compile(r":\w+:`~?(?:[^`<]*\.)?([^`.<]+)`")


def with_tables(text: str, classes: dict[str, type], name: str) -> str:
    """Return a document with the table of each class between its two markers.

    Args:
        text: The document.
        classes: The classes, by their names.
        name: What messages call the document.

    Raises:
        NoMarkers: The document has no place for one of the tables.
    """
    for title, cls in classes.items():
        text = replaced(text, f"arguments of {title}", "\n" + table(cls) + "\n", name)
    return text


def table(cls: type) -> str:
    """Return the arguments that a class describes itself, as a Markdown table with one line for each."""
    lines = ["| argument | default | templated | meaning |", "|---|---|---|---|"]
    templated = getattr(cls, "template_fields", ())
    for argument, meaning in descriptions(cls).items():
        template = "yes" if argument in templated else "no"
        lines.append(f"| `{argument}` | {default(cls, argument)} | {template} | {meaning} |")
    return "\n".join(lines)


def descriptions(cls: type) -> dict[str, str]:
    """Return what the docstring of a class says about each argument, as one line of Markdown."""
    found = _PARAM.findall(inspect.cleandoc(cls.__doc__ or "") + "\n")
    return {argument: _markdown(text) for argument, text in found}


def undescribed(cls: type) -> Iterator[str]:
    """Yield the arguments that a class adds and does not describe, and those that it describes and does not have."""
    described, own = descriptions(cls), set(_own(cls))
    yield from (f"{cls.__name__}: no `:param {name}:`" for name in sorted(own - set(described)))
    known = {name for base in cls.__mro__ for name in _own(base)}
    yield from (f"{cls.__name__}: there is no argument {name}" for name in described if name not in known)


def default(cls: type, argument: str) -> str:
    """Return the default of an argument as Markdown, or that there is none."""
    for base in cls.__mro__:
        parameter = _own(base).get(argument)
        if parameter is None:
            continue
        value = parameter.default
        if value is parameter.empty:
            return "required"
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        return f'`"{value}"`' if isinstance(value, str) else f"`{value!r}`"
    return ""


def _own(cls: type) -> dict[str, inspect.Parameter]:
    if "__init__" not in vars(cls) or cls is object:
        return {}
    parameters = inspect.signature(vars(cls)["__init__"]).parameters
    hidden = {inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL}
    return {name: each for name, each in parameters.items() if name != "self" and each.kind not in hidden}


def _markdown(text: str) -> str:
    line = " ".join(text.split())
    line = _ROLE.sub(r"`\1`", line).replace("``", "`")
    return line.replace("|", r"\|")
