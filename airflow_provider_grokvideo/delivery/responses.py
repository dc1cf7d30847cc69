"""Responses of download servers, and the retry policy of downloads.

Data in, data out; ``hops.py`` sends the requests.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urljoin

from airflow_provider_grokvideo.client.addresses import without_query
from airflow_provider_grokvideo.core.retrying import retry_after

TRIES = 5
"""Tries of a download. A download is free; a failure costs a run of the task."""

LONGEST_PAUSE = 30.0
"""Longest pause between tries, in seconds; a longer ``Retry-After`` is left to Airflow's retry."""

_EXPIRED = frozenset({400, 401, 403, 404, 410})
_TRANSIENT = frozenset({408, 416, 425, 429})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_WITHOUT_A_FILE = frozenset({202, 204, 205})
"""Any other success brings a file: a proxy that changed something says 203."""

_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)", re.IGNORECASE)
_NO_VIDEO = re.compile(r"(text/html|text/xml|application/(json|xml|xhtml\+xml)|[^;]+\+(json|xml))\s*(;|$)", re.I)


@dataclass(frozen=True)
class Body:
    """The file follows.

    Attributes:
        start: The byte it starts with; 0, or where the earlier part ended.
        total: Bytes of the whole file, if the server says.
        etag: Its strong entity tag, if it has one.
        content_type: As sent, or None.
        odd: A warning, as part of a sentence.
    """

    start: int
    total: int | None
    etag: str | None
    content_type: str | None
    odd: str | None = None


@dataclass(frozen=True)
class Redirect:
    """The server redirects."""

    url: str


@dataclass(frozen=True)
class DeadLink:
    """The link has expired; xAI may return a new one."""

    status: int


@dataclass(frozen=True)
class Transient:
    """A temporary failure.

    Attributes:
        what: The reason, as part of a sentence.
        restart: The downloaded part cannot be continued.
        retry_after: The seconds of the ``Retry-After`` header.
    """

    what: str
    restart: bool = False
    retry_after: float | None = None


@dataclass(frozen=True)
class Hopeless:
    """A permanent failure.

    Attributes:
        what: The reason, as part of a sentence.
        show_body: The beginning of the body explains it.
    """

    what: str
    show_body: bool = False


Meaning = Body | Redirect | DeadLink | Transient | Hopeless


@dataclass(frozen=True)
class Part:
    """The downloaded part of the file: its length, and the identity of the file."""

    bytes: int = 0
    total: int | None = None
    etag: str | None = None
    weak: bool = False

    @property
    def resumable(self) -> bool:
        """Whether the download can be continued: by a strong entity tag, or else by the total length."""
        return self.bytes > 0 and (self.etag is not None or (self.total is not None and not self.weak))

    def headers(self) -> dict[str, str]:
        """Return the headers that request the rest of the file."""
        if not self.resumable:
            return {}
        condition = {"If-Range": self.etag} if self.etag else {}
        return {"Range": f"bytes={self.bytes}-", **condition}


def meaning(
    status: int,
    headers: Mapping[str, str],
    *,
    url: str,
    part: Part,
    now: float | None = None,
    is_last: bool = False,
) -> Meaning:
    """Decide what an answer is, given what was fetched before.

    400 and 401 count as expired like the contract's 403, 404 and 410 (§5.4): object stores use them for expired
    signatures, and a new link is free.

    Args:
        status: The HTTP status.
        headers: The headers, with lower-case names.
        url: The requested URL, for relative redirects.
        part: The downloaded part; ``Range`` was sent if it is resumable.
        now: Epoch seconds, to read a ``Retry-After`` date.
        is_last: No other try follows, so that a file that may lack something is better than none.
    """
    if status in _REDIRECTS:
        # A blank has no place in an address; some servers leave those of a file name.
        where = headers.get("location", "").strip().replace(" ", "%20")
        try:
            return Redirect(urljoin(url, where)) if where else Hopeless(f"HTTP {status} without a Location")
        except ValueError:
            return Hopeless(f"HTTP {status} with an invalid Location")
    if status in _EXPIRED:
        return DeadLink(status)
    if status in _TRANSIENT or status >= 500:
        return Transient(f"HTTP {status}", restart=status == 416, retry_after=retry_after(headers, now))
    if status == 206:
        return _rest(headers, part) if part.resumable else _unasked(headers, is_last=is_last)
    if not 200 <= status < 300 or status in _WITHOUT_A_FILE:
        return Hopeless(f"HTTP {status}", show_body=True)
    kind = headers.get("content-type")
    odd = f"the server called it {kind.partition(';')[0].strip()}" if kind and _NO_VIDEO.match(kind.strip()) else None
    odd = f"the server answered HTTP {status}" if odd is None and status != 200 else odd
    return Body(0, _number(headers.get("content-length")), _strong(headers.get("etag")), kind, odd)


def pause_before(attempt: int, fault: Transient) -> float | None:
    """Return the seconds to wait after try number `attempt` (from 1), or None after the last one."""
    if attempt >= TRIES:
        return None
    if fault.retry_after is not None:
        return fault.retry_after if fault.retry_after <= LONGEST_PAUSE else None
    return min(LONGEST_PAUSE, 0.5 * 2.0 ** (attempt - 1))


def excerpt(body: bytes, limit: int = 200) -> str:
    """Return the beginning of an error page for a log: one line without markup, control characters and queries."""
    text = re.sub(r"(?is)<(script|style)\b.*?(</\1>|$)|<[^>]*>", " ", body.decode("utf-8", "replace"))
    text = re.sub(r"https?://[^\s\"'<>]+", lambda found: without_query(found[0]), text)
    text = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def _unasked(headers: Mapping[str, str], *, is_last: bool) -> Body | Transient:
    """Take a 206 that nobody asked for as the file, unless it says that something is missing.

    Some servers count wrongly: what still claims to lack its end at the last try is taken, and its bytes are judged.
    """
    found = _RANGE.fullmatch(headers.get("content-range", "").strip())
    start, missing = _gaps(found)
    if start or (missing and not is_last):
        return Transient("a part of the file although all of it was asked for", restart=True)
    odd = "the server called it a part (206)" + (f" that lacks {missing} bytes" if missing else "")
    kind = headers.get("content-type")
    return Body(0, _number(headers.get("content-length")), _strong(headers.get("etag")), kind, odd)


def _gaps(found: re.Match[str] | None) -> tuple[int, int]:
    """Return the bytes that a range leaves out before and behind it."""
    if found is None:
        return 0, 0
    return int(found[1]), 0 if found[3] == "*" else int(found[3]) - int(found[2]) - 1


def _rest(headers: Mapping[str, str], part: Part) -> Body | Transient:
    found = _RANGE.fullmatch(headers.get("content-range", "").strip())
    odd = Transient("an answer that does not continue what was fetched", restart=True)
    if not found or not part.resumable:
        return odd
    start, last = int(found[1]), int(found[2])
    total = part.total if found[3] == "*" else int(found[3])
    etag = _strong(headers.get("etag"))
    same_file = (part.total is None or total == part.total) and (part.etag is None or etag in (None, part.etag))
    if start != part.bytes or not same_file or (total is not None and last != total - 1):
        return odd
    return Body(start, total, part.etag, headers.get("content-type"))


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and re.fullmatch(r"[0-9]{1,18}", text.strip()) else None


def _strong(etag: str | None) -> str | None:
    return etag.strip() if etag and re.fullmatch(r'"[^"]*"', etag.strip()) else None
