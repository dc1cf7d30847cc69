"""Private words in texts that users see: which there are, and where they stand.

A text is a string or public docstring of the package, a string of the page's scripts, the text of its HTML, the
documentation, or an example with its code and comments.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

PACKAGE = "airflow_provider_grokvideo"

_BLANKS = r"\s+"
_NOUN = r"(?:paid|accepted|further|second|lost|other|unconfirmed|sent)"
_SEND = r"(?:send|sends|sent|sending|repeat|repeats|repeated|refuse|refuses|refused)"
_ONE = r"(?:a|an|the|its|no|one|each|every|another|this|that|first|last|next|per)"
_MANY = r"(?:the|its|their|all|more|fewer|few|many|no|any|other|these|those|of|two|three|\d+)"
_KIND = r"(?:first|last|next|extra|failed|planned|single|free|further|due)"


@dataclass(frozen=True)
class Word:
    """A private word.

    Args:
        name: What it is called where it is found.
        pattern: A regular expression, whose blanks match any white space; case does not count.
        instead: What to write.
    """

    name: str
    pattern: str
    instead: str

    @property
    def regex(self) -> re.Pattern[str]:
        """Return the compiled pattern, which matches no part of a name, a path or an address."""
        return re.compile(rf"(?<![\w./|-])(?:{self.pattern.replace(' ', _BLANKS)})(?![\w/|]|[.\\-]\w)", re.IGNORECASE)


WORDS = (
    Word("look", rf"{_ONE} (?:{_KIND} )?look(?! at)|(?:first|next) look|look (?:costs|is due)", "poll"),
    Word("looks", rf"{_MANY} (?:{_KIND} )?looks|between looks|{_KIND} looks|looks (?:that|are|come|go|of)", "polls"),
    Word(
        "looks a second", r"looks (?:a|an|per|each) (?:second|minute|hour|video)|looks_per_second", "polls per second"
    ),
    Word("look once", r"look(?:s|ed|ing)? once", "poll once"),
    Word("home", r"homes?", "backend"),
    Word("shelf", r"shel(?:f|ves)", "backend"),
    Word("in doubt", r"in doubt", "unconfirmed"),
    Word("nobody", r"nobody|no one knows", "name the subject, or use the passive"),
    Word("somebody", r"somebody", "you"),
    Word("whoever", r"whoever", "the user who, or everyone who"),
    Word("goes on", r"(?:goes|went|gone) on(?! with)", "continues, keeps running"),
    Word("go on with", r"(?:go|going|goes|gone|went) on with", "resume"),
    Word("is told", r"(?:is|are|was|were|being) told(?! apart)", "say who shows or reports it"),
    Word("a person", r"(?:a|that|this|the) person", "you, or the user"),
    Word(
        "people",
        r"people (?:who|and|that|may|can|with|see|watch|read)|(?:some|many|most|other|of|for|by) people",
        "users",
    ),
    Word("buy again", r"b(?:uy|uys|uying|ought) (?:\w+ )?(?:again|anew|another (?:one|take))", "submit again"),
    Word("dearer", r"dearer|dearest|too dear", "more expensive, worst case"),
    Word(
        "start",
        rf"{_NOUN} starts?|starts? (?:accepted|not accepted|in doubt|whose|without an id|of (?:a )?\w+-to-video)"
        rf"|{_SEND} (?:a|the|its|no|another|each) start|answer to (?:a|the|its|one) start|paid starts?"
        r"|starts? (?:is|are|was|were) (?:sent|under way|accepted|lost|refused|settled)"
        r"|(?:before|after|with|refuses|refused) (?:the|a|their|each|its|all) starts?(?! of| time| date| page)"
        r"|(?:the|these|those|all|more|fewer|many|of|two|three|four|\d+|one) starts"
        r"(?! (?:with|at|on|when|in)\b)"
        r"|(?:for|of) (?:one|two|three|\d+) starts?|each start (?:carries|has|is)|every start",
        "submission",
    ),
    Word(
        "words",
        r"(?:check|set|give|pass|passes|know|knows|take|takes) (?:the |these |on |your )*words(?! of)|words about"
        r"|several words|these words|words (?:on to|of the (?:operator|task)|it does not know)"
        r"|words (?:of|for) (?:another|the next|a) take|words in the form",
        "arguments, or prompt",
    ),
    Word("makes no sense", r"(?:makes?|made) no sense", "is invalid"),
    Word("on such ground", r"on such grounds?", "say what was not done, and why"),
    Word("leaves it away", r"(?:leave|leaves|leaving|left) (?:[^\s.;:]+ ){0,6}?away", "disable, omit"),
    Word("for tasks that do not say", r"tasks? that (?:do|does) not say", "default for tasks that do not set it"),
)
"""The list. A pattern that hits good English is made narrower; only whole phrases go into ``ALLOWED``."""

_NAME = re.compile(r"[a-z0-9_]+")
"""A text that is a single name, such as a key of JSON, says nothing to a reader."""

ALLOWED = ("home directory", "home page")
"""Phrases with a private word that are right as they are."""


def private_words(text: str) -> Iterator[tuple[int, Word, str]]:
    """Yield the offset of each private word in a text, the word, and what stands there."""
    for phrase in ALLOWED:
        text = re.sub(phrase, lambda match: "_" * len(match[0]), text, flags=re.IGNORECASE)
    for word in WORDS:
        for match in word.regex.finditer(text):
            yield match.start(), word, " ".join(match[0].split())


def findings(repository: Path) -> Iterator[str]:
    """Yield a line for each private word in what the users of a repository see."""
    for path in sorted(_files(repository)):
        for start, text in texts_of(path):
            if _NAME.fullmatch(text):
                continue
            for offset, word, found in private_words(text):
                line = start + text.count("\n", 0, offset)
                name = path.relative_to(repository)
                yield f"{name}:{line}: {found!r} is private ({word.name}): {word.instead}"


def _files(repository: Path) -> Iterator[Path]:
    yield from repository.glob("docs/**/*.md")
    yield from (path for path in (repository / "README.md", repository / "CHANGELOG.md") if path.exists())
    yield from (repository / "dags_examples").glob("*.py")
    for kind in ("py", "js", "html"):
        yield from (repository / PACKAGE).rglob(f"*.{kind}")


def texts_of(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the texts of a file that users see, each with its first line."""
    source = path.read_text(encoding="utf-8")
    if path.parent.name == "dags_examples":
        yield 1, source
    elif path.suffix == ".py":
        yield from python_texts(source)
    elif path.suffix == ".js":
        yield from script_texts(source)
    elif path.suffix == ".html":
        yield from page_texts(source)
    else:
        yield 1, source


def python_texts(source: str) -> Iterator[tuple[int, str]]:
    """Yield the strings of a Python file, but docstrings of private things."""
    yield from _strings(ast.parse(source))


def _strings(node: ast.AST) -> Iterator[tuple[int, str]]:
    if isinstance(node, ast.JoinedStr):
        yield node.lineno, "".join(_piece(value) for value in node.values)
        for value in node.values:
            if isinstance(value, ast.FormattedValue):
                yield from _strings(value.value)
        return
    if isinstance(node, ast.Constant):
        if isinstance(node.value, str):
            yield node.lineno, node.value
        return
    private = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and _is_private(node.name)
    previous: ast.AST | None = node if private else None
    for child in ast.iter_child_nodes(node):
        if not (_is_docstring(child) and _belongs_to_private(previous)):
            yield from _strings(child)
        if isinstance(child, ast.stmt):
            previous = child


def _piece(value: ast.expr) -> str:
    return value.value if isinstance(value, ast.Constant) and isinstance(value.value, str) else "{}"


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _belongs_to_private(owner: ast.AST | None) -> bool:
    """Return whether the thing that a docstring follows is private: its function or class, or the constant above it."""
    if isinstance(owner, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return _is_private(owner.name)
    targets = owner.targets if isinstance(owner, ast.Assign) else []
    if isinstance(owner, ast.AnnAssign):
        targets = [owner.target]
    return any(isinstance(target, ast.Name) and _is_private(target.id) for target in targets)


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


_SCRIPT = re.compile(
    r"//[^\n]*|/\*.*?\*/"
    r'|"(?P<double>(?:[^"\\\n]|\\.)*)"'
    r"|'(?P<single>(?:[^'\\\n]|\\.)*)'"
    r"|`(?P<template>(?:[^`\\]|\\.)*)`",
    re.DOTALL,
)


_EXPRESSION = re.compile(r"\$\{([^{}]*)\}")


def script_texts(source: str) -> Iterator[tuple[int, str]]:
    """Yield the strings of a JavaScript file, also those inside of an expression of a template."""
    for match in _SCRIPT.finditer(source):
        if match.lastgroup is None:
            continue
        line, text = source.count("\n", 0, match.start()) + 1, match[match.lastgroup]
        if match.lastgroup == "template":
            for expression in _EXPRESSION.finditer(text):
                before = text.count("\n", 0, expression.start())
                yield from ((line + before + number - 1, inner) for number, inner in script_texts(expression[1]))
            text = _EXPRESSION.sub(lambda found: "{}" + "\n" * found[0].count("\n"), text)
        yield line, text


class _Page(HTMLParser):
    SHOWN = frozenset({"title", "alt", "placeholder", "aria-label", "aria-description", "value", "content"})

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[tuple[int, str]] = []

    def handle_data(self, data: str) -> None:
        self.texts.append((self.getpos()[0], data))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del tag
        self.texts += [(self.getpos()[0], value) for name, value in attrs if name in self.SHOWN and value]


def page_texts(source: str) -> Iterator[tuple[int, str]]:
    """Yield the text of an HTML page, and of the attributes that a browser shows or reads out."""
    page = _Page()
    page.feed(source)
    page.close()
    yield from page.texts
