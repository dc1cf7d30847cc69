"""Error answers: the text of an error wherever it stands, what it is about, and whether the API or a gateway wrote it.

Each form is one of the contract (contract §7); what an error means for a call is decided in ``wire.py``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_grokvideo.core.answers import excerpt, status_word, text_of, ticks_of
from airflow_provider_grokvideo.core.redaction import foreign

OF_ANYBODY = {"error", "success", "succeeded", "complete", "completed", "ok"}
"""A status word that every gateway uses ends a video only beside a part of the API's answer (contract §5.1)."""

_OF_THE_CALL = re.compile(
    r"(?:unauthenticated|resource[-_]exhausted|permission-denied|not-found|rate[-_]limit|unavailable$|internal$|[45]\d\d$)",
    re.I,
)
"""Codes of an error that is about a call (contract §7); those of a failed video are other words (contract §5.1)."""

_BESIDE_AN_ERROR = frozenset({"code", "error", "usage", "type", "param", "request_id", "model"})
"""Where `error` is a text without a `code`, other keys than these are those of a web framework or gateway."""

_PARTS_OF_AN_ERROR = frozenset({"code", "message", "type", "param"})
"""What a nested error of the API has (contract §7); Google's has ``status`` and ``details``, others ``errors``."""

_OF_A_FRAMEWORK = frozenset(
    {"message", "messages", "detail", "details", "title", "instance", "reason", "errors", "fault", "exception"}
    | {"error_description", "error_uri", "path", "timestamp", "trace", "traceid", "trace_id", "requestid"}
    | {"statuscode", "status_code", "statustext", "success", "ok"}
)
"""Keys beside an error or a status word, in lower case, that web frameworks and gateways use and the API does not."""

_STRONG_MODERATION = re.compile(
    r"imagine:content-moderated|violates? (?:\w+ ){0,3}usage guidelines|safety_check_type", re.I
)
_MODERATION = re.compile(r"moderat|content[ _-]polic|usage[ _-]guideline", re.I)
_MONEY = re.compile(r"\bcredits?\b|spending[ _-]?limit", re.I)
_BILLING = re.compile(r"\bbilling\b|\bpayment\b", re.I)
_KEY_ID = re.compile(r"api[ _-]?key[ _-]?id\b", re.I)
_KEY_NAME = r"\b(?:api[ _-]?keys?|bearer token)\b"
_BAD = (
    r"\b(?:incorrect|invalid|missing|expired|blocked|disabled|revoked|deleted|wrong|malformed|unknown|required|valid"
    r"|not (?:found|exist|active|recognized)|no)\b"
)
_FEW_WORDS = r"[^.;:\w]+(?:[\w'-]+[^.;:\w]+){0,4}"
_BAD_KEY = re.compile(f"{_BAD}{_FEW_WORDS}{_KEY_NAME}|{_KEY_NAME}{_FEW_WORDS}{_BAD}", re.I)
"""The key and what is wrong with it stand close together; elsewhere in a sentence the key is only named."""


@dataclass(frozen=True)
class ErrorAnswer:
    """The words of an error answer, wherever they stood."""

    code: str
    text: str
    cost_ticks: int | None

    is_the_apis: bool = True

    def speaks_of_key(self) -> bool:
        """Whether the key is what is wrong; "API key ID" only names it (contract §7)."""
        by_code = self.code.startswith("unauthenticated")
        return self.is_the_apis and (by_code or bool(_BAD_KEY.search(_KEY_ID.sub("ID", self.text))))

    def speaks_of_the_call(self) -> bool:
        """Whether the error is about the poll and not about the video."""
        return bool(_OF_THE_CALL.match(self.code)) or self.speaks_of_key()

    def speaks_of_money(self, status: int) -> bool:
        """Whether the team cannot pay; a rate limit may mention the billing page."""
        words = f"{self.code} {self.text}"
        return self.is_the_apis and bool(_MONEY.search(words) or (status != 429 and _BILLING.search(words)))

    def refuses_content(self) -> bool:
        """Whether the content rules speak, by marks that nothing else has (contract §7)."""
        return self.is_the_apis and bool(_STRONG_MODERATION.search(f"{self.code} {self.text}"))

    def speaks_of_moderation(self) -> bool:
        """Whether moderation or the content rules are mentioned at all."""
        return self.is_the_apis and bool(_MODERATION.search(f"{self.code} {self.text}"))

    def speaks_of_retention(self) -> bool:
        """Whether the team's zero data retention is the reason."""
        return bool(re.search(r"\bzdr\b|zero[ _-]data[ _-]retention|\bupload_url\b", self.text, re.IGNORECASE))

    def __str__(self) -> str:
        return ": ".join(part for part in (self.code, self.text) if part) or "no explanation"


def read_error(body: bytes | str, answer: dict[str, Any] | None) -> ErrorAnswer:
    """Read the error of a response; `answer` is its JSON object, if it has one."""
    if answer is None:
        return ErrorAnswer("", excerpt(body), None, is_the_apis=False)
    error = answer.get("error")
    nested = error if isinstance(error, dict) else {}
    code = text_of(nested.get("code")) or text_of(answer.get("code")) or text_of(nested.get("type")) or ""
    text = (
        text_of(nested.get("message"))
        or text_of(error)
        or text_of(answer.get("message"))
        or text_of(answer.get("detail"))
    )
    return ErrorAnswer(foreign(code, 200), foreign(text or ""), ticks_of(answer), is_the_apis=_is_an_error(answer))


def error_of_a_document(answer: Mapping[str, Any]) -> ErrorAnswer:
    """Read the error beside a status word; in an error answer the API has no such word."""
    return read_error(b"", {name: value for name, value in answer.items() if name != "status"})


def _is_an_error(answer: Mapping[str, Any]) -> bool:
    """Say whether an object is an error in one of the API's forms (contract §7), and not one of a gateway."""
    error = answer.get("error")
    if is_of_a_framework(answer) or status_word(answer) in OF_ANYBODY:
        return False
    if isinstance(error, dict):
        return text_of(error.get("message")) is not None and error.keys() <= _PARTS_OF_AN_ERROR
    if not isinstance(error, str):
        return False
    return isinstance(answer.get("code"), str) or answer.keys() <= _BESIDE_AN_ERROR


def is_of_a_framework(answer: Mapping[str, Any]) -> bool:
    """Say whether an object has a key that the API does not use; a ``status`` of the API is a word."""
    numbered = isinstance(answer.get("status"), int)
    return numbered or any(name.lower() in _OF_A_FRAMEWORK for name in answer)
