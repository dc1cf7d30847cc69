"""Faults of the emulator: their names, where they happen, and how often.

The same names are used by :meth:`Emulator.script`, by ``POST /_emulator/script`` and by directives in a prompt.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

OPERATIONS = ("submit", "poll", "download", "files")

_FATES = {
    "moderated": "how a job is blocked: a = done without a link, b = HTTP 400, c = failed, d = HTTP 403 and e = HTTP "
    "400 in the words of the usage guidelines (contract §5.2, §7)",
    "failed": "the job fails with this code; any code is allowed",
    "failed_string": "the job fails and its error is a plain string",
    "expired": "the job ends as expired",
    "gone": "the job is not found (404)",
    "old_done": "done in the February 2026 shape, without a status",
    "flat_done": "done as a flat url and duration",
    "openai_done": "done as id, status completed and data[0].url",
    "done_without_url": "done with an empty url, although not moderated",
    "nested_response": "done inside a response object",
    "storage_error": "the video is made, storing it failed",
}
_SUBMIT = {
    "lost_answer": "accept and bill, then cut the connection",
    "accept_then_502": "accept and bill, then answer 502 with HTML",
    "refused": "the content rules refuse the submit with this status, 400 or 403; nothing is accepted; "
    "refused:billed is a 403 that names a bill of 0.05 USD",
    "zdr": "answer as to a zero-data-retention team",
}
_POLL = {
    "unknown_word": "a status word that the API does not have",
    "no_status": "200 with the request id and no status",
    "html_202": "202 with an HTML page",
    "html_200": "200 with an HTML page",
    "text_200": "200 with plain text",
    "revoked": "the key is refused; the job stays as it is",
}
_DOWNLOAD = {
    "slow_drip": "the body trickles over so many seconds (default 5)",
    "truncated": "cut half-way through a correct Content-Length; truncated:short is a complete but halved body",
    "wrong_bytes": "200 video/mp4 with something else inside: html (default) or png",
    "expired_link": "the link expires at this moment (403)",
    "redirect": "302 to the address after the colon",
}
_ANYWHERE = {
    "http": "answer with this status, before anything is accepted",
    "no_credits": "answer as to a team without credits; the quirk no_credit says how",
    "no_capability": "403, the key lacks a permission",
    "cut_before": "cut the connection, accepting nothing",
    "hang": "wait so many seconds before answering; a submit is accepted and billed first",
    "timeout": "hang for an hour, or until the emulator stops",
}

KINDS: dict[str, str] = {**_FATES, **_SUBMIT, **_POLL, **_DOWNLOAD, **_ANYWHERE}
"""Every fault word and what it does."""

_NEEDS = {"http", "hang", "moderated", "refused", "failed", "unknown_word", "redirect"}
_MAY_HAVE = {"slow_drip", "truncated", "wrong_bytes"}
BODIES = ("json", "html", "text", "empty", "gateway")
"""Kinds of body: the API's, a page, text, none, and the JSON of something in between."""


@dataclass(frozen=True)
class Fault:
    """One fault and its address.

    Args:
        kind: a word of :data:`KINDS`.
        argument: what stood after the colon, ``"503"`` in ``http:503``.
        on: ``submit``, ``poll``, ``download``, ``files`` or ``any``; ``job`` for the way a job ends.
        times: how often it strikes; ``None`` means every time.
        prompt: only jobs whose prompt contains this text.
        request_id: only this job.
        retry_after: for ``http``: the value of Retry-After, seconds or an HTTP date.
        body: for ``http``: ``json``, ``html``, ``text``, ``empty`` or ``gateway``.
    """

    kind: str
    argument: str = ""
    on: str = "job"
    times: int | None = 1
    prompt: str | None = None
    request_id: str | None = None
    retry_after: str | None = None
    body: str = "json"

    @property
    def word(self) -> str:
        """The fault as it is written: kind, and argument after a colon."""
        return f"{self.kind}:{self.argument}" if self.argument else self.kind

    @property
    def is_fate(self) -> bool:
        """Whether this is the way a job ends, rather than a single odd answer."""
        return self.on == "job"

    def strikes(self, operation: str, request_id: str | None, prompt: str | None) -> bool:
        """Tell whether the fault is addressed to this operation on this job."""
        if self.on != operation and not (self.on == "any" and operation in OPERATIONS):
            return False
        if self.request_id is not None and self.request_id != request_id:
            return False
        return self.prompt is None or (prompt is not None and self.prompt in prompt)


def read_fault(word: str, **options: Any) -> Fault:
    """Build a fault from its word and its options, or raise ValueError saying what would be right.

    Options are those of :class:`Fault`. ``on`` may be left out for every fault that belongs to one operation.
    """
    kind, _, argument = word.partition(":")
    if kind not in KINDS:
        raise ValueError(f"unknown fault {kind!r}; expected one of: {', '.join(sorted(KINDS))}")
    unknown = set(options) - {"on", "times", "prompt", "request_id", "retry_after", "body"}
    if unknown:
        raise ValueError(f"unknown fault option {', '.join(sorted(unknown))!s} for {kind!r}")
    _check_argument(kind, argument)
    fault = Fault(
        kind,
        argument,
        on=_place(kind, options.get("on")),
        times=_count(options.get("times", 1)),
        prompt=options.get("prompt"),
        request_id=options.get("request_id"),
        retry_after=None if options.get("retry_after") is None else str(options["retry_after"]),
        body=options.get("body") or "json",
    )
    if fault.body not in BODIES:
        raise ValueError(f"invalid body={fault.body!r}: expected one of {', '.join(BODIES)}")
    return fault


def _check_argument(kind: str, argument: str) -> None:
    if kind in _NEEDS and not argument:
        raise ValueError(f"invalid fault {kind!r}: expected an argument, as in {kind}:{_example(kind)}")
    if argument and kind not in _NEEDS | _MAY_HAVE:
        raise ValueError(f"invalid fault {kind}:{argument}: expected {kind} without an argument")
    allowed = {
        "moderated": tuple("abcde"),
        "refused": ("400", "403", "billed"),
        "truncated": ("", "short"),
        "wrong_bytes": ("", "html", "png"),
    }
    if kind in allowed and argument not in allowed[kind]:
        raise ValueError(f"invalid fault {kind}:{argument}: expected one of {', '.join(a for a in allowed[kind] if a)}")
    if kind == "http" and not (argument.isdigit() and 200 <= int(argument) <= 599):
        raise ValueError(f"invalid fault http:{argument}: expected a status from 200 to 599")
    if kind in ("hang", "slow_drip") and argument and not _is_seconds(argument):
        raise ValueError(f"invalid fault {kind}:{argument}: expected a number of seconds")


def _example(kind: str) -> str:
    examples = {"http": "503", "hang": "2", "moderated": "b", "failed": "internal_error", "refused": "403"}
    return examples.get(kind, "throttled" if kind == "unknown_word" else "http://127.0.0.1/")


def _is_seconds(text: str) -> bool:
    try:
        return 0 <= float(text) <= 3600
    except ValueError:
        return False


def _place(kind: str, on: str | None) -> str:
    operations = ((_FATES, "job"), (_SUBMIT, "submit"), (_POLL, "poll"), (_DOWNLOAD, "download"))
    for kinds, operation in operations:
        if kind in kinds:
            # A fate may be written with on=poll, because the poll is where it is seen.
            if on not in (None, operation) and not (operation == "job" and on in ("poll", "any")):
                raise ValueError(f"invalid on={on!r} of fault {kind!r}: expected {operation!r}, or no on=")
            return operation
    if on not in (*OPERATIONS, "any"):
        raise ValueError(f"invalid on={on!r} of fault {kind!r}: expected one of {', '.join(OPERATIONS)}, any")
    return on


def _count(times: Any) -> int | None:
    if times is None:
        return None
    try:
        count = int(times)
    except (TypeError, ValueError):
        count = 0
    if count < 1:
        raise ValueError(f"invalid times={times!r}: expected 1 or more, or null for every time")
    return count


class FaultQueue:
    """Faults waiting to strike, first in, first out. Not thread-safe: its owner holds the lock."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self._faults = list(faults)

    def add(self, fault: Fault) -> None:
        """Queue one more fault."""
        self._faults.append(fault)

    def take(self, operation: str, request_id: str | None = None, prompt: str | None = None) -> Fault | None:
        """Return the first fault addressed here, using up one of its times."""
        for index, fault in enumerate(self._faults):
            if fault.strikes(operation, request_id, prompt):
                self._use(index)
                return fault
        return None

    def take_addressed(self, operation: str, request_id: str) -> Fault | None:
        """Like :meth:`take`, but only a fault that names this very request."""
        for index, fault in enumerate(self._faults):
            if fault.request_id == request_id and fault.strikes(operation, request_id, fault.prompt):
                self._use(index)
                return fault
        return None

    def _use(self, index: int) -> None:
        fault = self._faults[index]
        if fault.times is None:
            return
        if fault.times == 1:
            del self._faults[index]
        else:
            self._faults[index] = replace(fault, times=fault.times - 1)


def read_script(entry: Mapping[str, Any]) -> Fault:
    """Build a fault from one JSON object of the control endpoint: ``{"fault": "http:503", "on": "submit"}``."""
    options = dict(entry)
    word = options.pop("fault", None)
    if not isinstance(word, str):
        raise ValueError(  # noqa: TRY004 - one kind of error for every word that is wrong
            'invalid entry: expected a "fault" such as "http:503"'
        )
    return read_fault(word, **options)
