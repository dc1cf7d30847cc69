"""Removal of secrets from texts: API keys, queries of URLs, payloads of data URIs."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from functools import lru_cache
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

_PARTLY_SHOWN = re.compile(r"\bxai-[A-Za-z0-9_.-]{0,100}\*+[A-Za-z0-9_*.-]*")
_READ = 16_000
"""Characters of a foreign text that are looked at, at least: pages may be long, and what is kept is short."""

_LONGEST_SECRET = 400
"""Characters at the end of what is looked at that are left out where more follows: a secret may be cut there."""


def _written(char: str, name: str) -> str:
    """Return a pattern of a character as it stands in texts, addresses (also quoted twice), JSON and HTML."""
    code = f"{ord(char):x}"
    return rf"(?:{re.escape(char)}|%(?:25)*{code}|\\{{1,4}}u00{code}|&\#0*{ord(char)};|&\#x0*{code};|&{name};)"


_MARK, _IS, _COMMA, _AND = (
    _written(char, name) for char, name in (("?", "quest"), ("=", "equals"), (",", "comma"), ("&", "amp"))
)
_VALUE = r"[^\s\"'<>]"

_USER = re.compile(r"(?<=://)[^\s/?#@\"'<>]+@")
_ADDRESS = re.compile(rf"(://{_VALUE}{{1,500}}?){_MARK}(?:\s*[\w.~-]{{1,100}}\s*{_IS}\s*)?{_VALUE}+", re.IGNORECASE)
"""An address with a query, whatever the query looks like."""

_QUERY = re.compile(
    rf"(?<=[^\s]){_MARK}(?={_VALUE}{{0,200}}?\s{{0,3}}{_IS}){_VALUE}*(?:\s{{1,3}}{_IS}\s*{_VALUE}*)?", re.IGNORECASE
)
"""A query behind anything that may be the end of an address."""

_PARAMETER = re.compile(
    rf"((?<![a-z0-9])(?:x-(?:amz|goog|oss|cos|ms)-[\w-]{{1,60}}|(?:[\w-]{{1,30}}[_-])?(?:signature|sig|token|api[_-]?key|secret"
    rf"|password|credential)|awsaccesskeyid|googleaccessid|key-pair-id))[\"']?\s?{_IS}\s?[\"']?"
    rf"(?!…)(?:(?!{_AND}){_VALUE})+",
    re.IGNORECASE,
)
"""A parameter whose name says that its value is a secret, without the address that it belongs to."""

_FRAGMENT = re.compile(r"(://[^\s#\"'<>]+)#[^\s\"'<>]+")
_DATA = re.compile(
    rf"(\bdata:(?:[^<>]{{0,300}}?;\s*base64|(?:[\w.+-]+/[\w.+-]+)?(?:;[^,;\s\"'<>]*)*))\s*{_COMMA}\s?{_VALUE}+"
    r"(?:[\r\n]+[A-Za-z0-9+/=_-]{20,})*",
    re.IGNORECASE,
)
_DATA_VALUE = re.compile(r"data:(?:[^\s,]*|[^<>]{0,300}?;\s*base64\s*),", re.IGNORECASE)
_HAS_ADDRESS = re.compile(r"https?:|data:|%3a", re.IGNORECASE)
_SECRET_NAME = re.compile(r"(api[_-]?key|authorization|password|secret|access[_-]?token)", re.IGNORECASE)
_TEXTS_OF_THE_USER = frozenset({"prompt"})


def without_key(text: str, key: str) -> str:
    """Return a text without an API key, also where it was quoted for a URL, for JSON or for HTML, or in base64."""
    if not key:
        return text
    if len(key) < SHORTEST_KEY:
        return _without_short_key(text, key)
    for form in forms_of(key):
        text = text.replace(form, MARK)
    # Only what quotes has such characters, and the search costs more than all the rest.
    return _any_way(key).sub(MARK, text) if re.search(r"%|\\|&#?\w", text) else text


def _without_short_key(text: str, key: str) -> str:
    for form in _quoted(key):
        text = re.sub(rf"(?<![\w-]){re.escape(form)}(?![\w-])", MARK, text)
    return text


@lru_cache(maxsize=8)
def forms_of(key: str) -> tuple[str, ...]:
    """Return the ways in which an answer may write a key as a whole, the longest first."""
    raw = key.encode()
    forms = {*_quoted(key), raw.hex(), raw.hex().upper()}
    for packed in (base64.b64encode(raw), base64.urlsafe_b64encode(raw)):
        forms |= {packed.decode(), quote(packed.decode(), safe=""), packed.decode().rstrip("=")}
    # Behind "Bearer " or a user's name a key is packed at another offset.
    forms |= {_middle(raw, offset, sign) for offset in range(3) for sign in (b"+/", b"-_")}
    return tuple(sorted(forms, key=len, reverse=True))


def _middle(raw: bytes, offset: int, signs: bytes) -> str:
    """Return what the base64 of any text has where a key stands so many bytes behind a multiple of three."""
    packed = base64.b64encode(bytes(offset) + raw, altchars=signs).decode()
    return packed[-(-offset * 8 // 6) : (offset + len(raw)) * 8 // 6]


def _quoted(key: str) -> list[str]:
    in_json = json.dumps(key)[1:-1]
    forms = {key, quote(key, safe=""), quote(key), in_json, in_json.replace("/", "\\/"), escape(key)}
    return sorted(forms, key=len, reverse=True)


@lru_cache(maxsize=8)
def _any_way(key: str) -> re.Pattern[str]:
    """Return a pattern of a key whose characters are quoted in any way, each in its own."""
    return re.compile("".join(_any_character(char) for char in key))


def _any_character(char: str) -> str:
    code = "".join(f"[{digit}{digit.upper()}]" if digit.isalpha() else digit for digit in f"{ord(char):x}")
    named = [name for name, meant in _NAMED.items() if meant == char]
    ways = [
        rf"\\{{0,4}}{re.escape(char)}",
        rf"%(?:25)*{code}",
        rf"\\{{1,4}}(?:u00|x){code}",
        rf"&(?:amp;)?\#(?:0*{ord(char)}|[xX]0*{code});",
        *(rf"&(?:amp;)?{name};" for name in named),
    ]
    return f"(?:{'|'.join(reversed(ways))})"


_NAMED = {"amp": "&", "quot": '"', "apos": "'", "lt": "<", "gt": ">", "sol": "/", "plus": "+", "equals": "="}


def foreign(text: str, longest: int = LONGEST_TEXT) -> str:
    """Return a text from outside without secrets: for errors, logs, XCom, cards and the journal.

    Keys are masked; URLs lose query, fragment and user, ``data:`` URIs their data. Characters that do not print become
    blanks.
    """
    most = max(_READ, 2 * longest)
    if len(text) > most:
        text = text[: most - _LONGEST_SECRET]
    return "".join(char if char.isprintable() else " " for char in _cut(text))[:longest]


def _cut(text: str) -> str:
    text = _DATA.sub(r"\1,…", without_tokens(text))
    text = _USER.sub("", text)
    text = _ADDRESS.sub(r"\1?…", text)
    text = _QUERY.sub("?…", text)
    text = _FRAGMENT.sub(r"\1#…", text)
    return _PARAMETER.sub(r"\1=…", text)


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
    if found := _DATA_VALUE.match(value.strip()):
        return f"{found[0]}… ({len(value.strip()) - found.end()} characters)"
    if re.match(r"\s*https?://", value, re.IGNORECASE):
        return _address(value)
    return _cut(value) if _HAS_ADDRESS.search(value) else without_tokens(value)


def _address(value: str) -> str:
    plain = _USER.sub("", re.split(r"[?#]", value.strip(), maxsplit=1)[0])
    # The mark says that something was left out, so that nobody takes the rest for the address.
    return _cut(f"{plain}?…" if "?" in value or "#" in value else plain)


def _part(name: str, value: Any) -> Any:
    return MARK if _SECRET_NAME.search(name) else shareable(value, name)
