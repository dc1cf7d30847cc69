"""Removal of secrets from texts: API keys, queries of URLs, payloads of data URIs."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from html import escape
from typing import Any
from urllib.parse import quote

MARK = "[key removed]"
"""Replaces a key. No text of a user has it by chance."""

SHORTEST_KEY = 8
"""Characters of a key that is cut wherever it stands; a shorter one only where it is a word of its own."""

LONGEST_TEXT = 500
"""Characters of a foreign text that are kept."""

_KEY = re.compile(
    # A key has a digit or a capital; file names such as xai-logo and xai-video-... do not have 16 such characters.
    r"\bxai-(?=[A-Za-z0-9_]*[0-9A-Z])[A-Za-z0-9_]{16,}|\bxai-[A-Za-z0-9]{24,}"
    # A token is long, has a digit and no blank; "Bearer" is also a word.
    r"|(?<=\b[Bb]earer )(?=[^\s\"']*[0-9])[A-Za-z0-9._~+/=-]{16,}"
)
_WHOLE_KEY = re.compile(r"\bxai-[A-Za-z0-9]{40,}\b")
"""A key as xAI gives it out; no word of a prompt looks like it."""

_PARTLY_SHOWN = re.compile(r"\bxai-[A-Za-z0-9_.-]*\*+[A-Za-z0-9_*.-]*")
_USER = re.compile(r"(?<=://)[^\s/?#@\"'<>]+@")
_QUERY = re.compile(r"(\S[^\s?#\"'<>]*)[?](?=[\w.~%\[\]-]+=)[^\s\"'<>]*")
_FRAGMENT = re.compile(r"(\w+://[^\s#\"'<>]+)#[^\s\"'<>]+")
_DATA = re.compile(r"(\bdata:(?:[\w.+-]+/[\w.+-]+)?(?:;[^,;\s\"'<>]*)*),[^\s\"'<>]+", re.IGNORECASE)
_SECRET_NAME = re.compile(r"(api[_-]?key|authorization|password|secret|access[_-]?token)", re.IGNORECASE)
_TEXTS_OF_THE_USER = frozenset({"prompt"})


def without_key(text: str, key: str) -> str:
    """Return a text without an API key, even if it is quoted for a URL, for JSON or for HTML."""
    for form in forms_of(key):
        if form not in text:
            continue
        if len(key) < SHORTEST_KEY:
            text = re.sub(rf"(?<![\w-]){re.escape(form)}(?![\w-])", MARK, text)
        else:
            text = text.replace(form, MARK)
    return text


def forms_of(key: str) -> list[str]:
    """Return the forms that a key may have in a response, the longest first."""
    in_json = json.dumps(key)[1:-1]
    forms = {key, quote(key, safe=""), quote(key), in_json, in_json.replace("/", "\\/"), escape(key)}
    return sorted(filter(None, forms), key=len, reverse=True)


def foreign(text: str, longest: int = LONGEST_TEXT) -> str:
    """Return a text from outside without secrets: for errors, logs, XCom, cards and the journal.

    Keys are masked; URLs lose query, fragment and user, ``data:`` URIs their data. Characters that do not print become
    blanks.
    """
    text = without_tokens(text)
    text = _DATA.sub(r"\1,…", text)
    text = _USER.sub("", text)
    text = _QUERY.sub(r"\1?…", text)
    text = _FRAGMENT.sub(r"\1#…", text)
    return "".join(char if char.isprintable() else " " for char in text)[:longest]


def without_tokens(text: str) -> str:
    """Return a text without keys and tokens; every other word stays."""
    return _KEY.sub(MARK, _PARTLY_SHOWN.sub(MARK, text))


def shareable(value: Any, name: str = "") -> Any:
    """Return a value of a request or manifest without secrets: URLs without query, data URIs without data.

    A prompt stays as it was sent, except for a whole xAI key.

    Args:
        value: Plain JSON.
        name: Its key in the object.
    """
    if isinstance(value, Mapping):
        return {str(key): _part(str(key), part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [shareable(part, name) for part in value]
    if not isinstance(value, str):
        return value
    if name in _TEXTS_OF_THE_USER:
        return _WHOLE_KEY.sub(MARK, value)
    if re.match(r"data:[^\s,]*,", value, re.IGNORECASE):
        head, _, data = value.partition(",")
        return f"{head},… ({len(data)} characters)"
    if re.match(r"https?://\S+$", value, re.IGNORECASE):
        address = _USER.sub("", re.split(r"[?#]", value, maxsplit=1)[0])
        # The mark says that something was left out, so that nobody takes the rest for the address.
        return f"{address}?…" if "?" in value or "#" in value else address
    return without_tokens(value)


def _part(name: str, value: Any) -> Any:
    return MARK if _SECRET_NAME.search(name) else shareable(value, name)
