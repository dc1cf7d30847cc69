"""Journal of one task instance as one try reads and writes it."""

from __future__ import annotations

import logging
import secrets
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow_provider_grokvideo.core.errors import GrokVideoError, VideoExpired, VideoFailed, VideoModerated
from airflow_provider_grokvideo.core.purchases.records import (
    ANY_INPUTS,
    NOT_WRITTEN,
    Outcome,
    Owner,
    Record,
    elsewhere,
    latest,
    unwritten,
)
from airflow_provider_grokvideo.journal.backends import Backend, Joint, numbered

if TYPE_CHECKING:
    from airflow_provider_grokvideo.core.requests import VideoRequest

if TYPE_CHECKING:
    _Adapter = logging.LoggerAdapter[logging.Logger]
else:
    # It takes no parameter before Python 3.11.
    _Adapter = logging.LoggerAdapter

SAVING_TRIES = 4
"""How often a request id is written down before the task goes on without: it is the one fact that must not be lost."""

BETWEEN_TRIES = 0.5
"""Seconds before the second of these tries; each further one waits twice as long."""

log = logging.getLogger(__name__)


class TaskJournal:
    """The journal of a task instance as one try sees it.

    Without a backend everything is still tracked for this try, and `remembers` is False: a retry would know nothing.

    Args:
        backend: Where the journal is stored, or None.
        owner: The task instance.
        try_number: This try.
        tries: Airflow's ``max_tries``.
        clears: How often Airflow has cleared the run; None if that is not known.
        interruptions: What may interrupt a write besides errors, such as Airflow's ``execution_timeout``; an intent is
            withdrawn then.
        away: There is a backend and it could not be read; nothing is written.
        records: What the backend holds, where that has been read already.

    Attributes:
        records: All purchases of the task instance, oldest first.
        current: The purchase this try is about.
        remembers: Whether the next try will know the request of `current`.
    """

    def __init__(
        self,
        backend: Backend | None,
        owner: Owner,
        *,
        try_number: int | None = None,
        tries: int | None = None,
        clears: int | None = None,
        interruptions: tuple[type[BaseException], ...] = (Exception,),
        away: bool = False,
        records: list[Record] | None = None,
    ) -> None:
        self.backend = backend
        self.owner = owner
        self.try_number = try_number
        self.tries = tries
        self.clears = clears
        self.interruptions = interruptions
        self.away = away
        self.log = log_of(log, owner)
        if records is None:
            records = backend.records() if backend else []
        self.records = list(records)
        self.current: Record | None = None
        self.remembers = False

    @property
    def lets_retry(self) -> bool:
        """Whether a retry cannot submit a second time: it finds the request of `current`, or has to read first."""
        return self.away or self.remembers

    def read_again(self) -> None:
        """Read all purchases again: another try may have bought since."""
        if self.backend is not None:
            self.records = self.backend.records()

    def last(self, fingerprint: str) -> Record | None:
        """Return the last purchase of these inputs that counts."""
        return latest(self.records, fingerprint)

    def last_asked(self, asked: str) -> Record | None:
        """Return the last purchase of the same arguments, whatever their files held."""
        same = [r for r in self.records if r.asked == asked or r.fingerprint == ANY_INPUTS]
        return same[-1] if same else None

    def hold(self, record: Record) -> None:
        """Make a purchase of an earlier try the one this try is about."""
        self.current = record
        self.remembers = self.backend is not None

    def hold_unknown(
        self, request_id: str | None, submitted_at: float | None, conn_id: str, estimated_usd: str | None
    ) -> None:
        """Make a request the one this try is about that the journal does not hold, from what else is known of it."""
        self.current = unwritten(
            self.owner, request_id, submitted_at, conn_id=conn_id, estimated_usd=estimated_usd,
        )  # fmt: skip

    def hold_request(self, request_id: str, submitted_at: float | None, conn_id: str) -> bool:
        """Make the purchase of a request the one this try is about; say whether the journal knows it.

        It can be missing because it could not be saved after the submit, or because a late write of a try that was
        replaced has covered it. Then it is written again: into the intent of this try, or else as a purchase of the
        inputs that the journal saw last.
        """
        found = next((r for r in reversed(self.records) if r.request_id == request_id), None)
        if found is None and self.records and self.backend is not None:
            last, since = self.records[-1], submitted_at or time.time()
            try:
                if last.phase == "intent" and last.try_number == self.try_number:
                    self.current = last
                    self._save(phase="submitted", request_id=request_id, submitted_at=since, note=None)
                    found = self.current
                else:
                    found = self._add(request_id, last.fingerprint, last.asked, conn_id, since, "found on resuming")
            except GrokVideoError as error:
                self.log.warning("Request %s could not be written into the journal: %s", request_id, error.what)
        if found is not None:
            self.hold(found)
        return found is not None

    def new_intent(self, request: VideoRequest, fingerprint: str, asked: str, *, token: str, **facts: Any) -> Record:
        """Return the record of a submission that is about to be sent; `token` is its name, here and in the ledger."""
        record = Record(
            owner=self.owner,
            number=0,
            token=token,
            phase="intent",
            fingerprint=fingerprint,
            asked=asked,
            intended_at=time.time(),
            try_number=self.try_number,
            tries=self.tries,
            clears=self.clears,
            mode=request.mode,
            model=request.model,
            **facts,
        )
        return numbered(record, self.records)

    def intend(self, record: Record, *, written: bool = False) -> None:
        """Write an intent, and make it the purchase this try is about.

        Args:
            record: From :meth:`new_intent`.
            written: The ledger's transaction has written it already, see :meth:`joint`.

        Raises:
            JournalUnavailable: It could not be written, or another try is faster; nothing may be sent.
            JournalCorrupt: What is there cannot be read; nothing may be sent.
        """
        if self.backend is not None and not written:
            try:
                self.backend.create(record)
            except self.interruptions:
                self._take_back(record)
                raise
        self.records.append(record)
        self.current = record
        self.remembers = self.backend is not None

    def joint(self, record: Record) -> Joint | None:
        """Return how an intent is written in a transaction of the ledger; None where the journal is no database."""
        return None if self.backend is None else self.backend.joint(record)

    def of_another_index(self, fingerprint: str) -> Record | None:
        """Make the purchase of another map index this one's, too, where a mapped list has changed.

        The task state store shows a task instance only its own records. The other index keeps its record: both deliver
        the same video. An ``intent`` is returned as it is and stays with its own index.

        Raises:
            JournalUnavailable: The backend does not answer.
            JournalCorrupt: A record of another map index cannot be read.
        """
        if self.backend is None or self.owner.map_index < 0:
            return None
        found = elsewhere(self.records, self.backend.elsewhere(fingerprint), fingerprint, clears=self.clears)
        if not found or found[0].phase == "intent":
            return found[0] if found else None
        settled = [record for record in found if record.phase != "intent"]
        # Each index gets a purchase of its own as long as there is one.
        chosen = next((record for record in settled if self.backend.claim(record)), settled[0])
        note = f"bought by map index {chosen.owner.map_index}"
        mine = numbered(replace(chosen, owner=self.owner, note=note), self.records)
        self.backend.create(mine)
        self.records.append(mine)
        return mine

    def take_back(self, intent: Record) -> None:
        """Withdraw an intent of this try for which nothing was sent."""
        if self.current is not None and self.current.token == intent.token:
            self.note(phase="withdrawn", note="interrupted before it was sent")
        else:
            # The ledger's transaction may have written it, and its answer was lost.
            self._take_back(intent)

    def keep_id(self, request_id: str) -> None:
        """Write the id of the current purchase down once more, where that was interrupted or has failed."""
        record = self.current
        if record is None or self.backend is None or (self.remembers and record.request_id is not None):
            return
        since = record.submitted_at or time.time()
        phase = "submitted" if record.phase == "intent" else record.phase
        self.remembers = self.note(attempts=1, phase=phase, request_id=request_id, submitted_at=since)

    def note(self, *, attempts: int = SAVING_TRIES, **changes: Any) -> bool:
        """Write down what became of the current purchase; a backend that fails is reported and does not stop the task.

        What is noted is either in the service's hands already or can be found out again by a poll.

        Returns:
            Whether the journal says so now.
        """
        if "manifest" in changes or changes.get("phase") == "ended":
            # From here on a clear is one of a task that has its result.
            changes["tries"] = self.tries
        if changes.get("phase") == "ended" or changes.get("outcome") == "expired":
            changes["closed_in"] = self.try_number
        elif changes.get("phase") == "delivered":
            changes["closed_in"] = None
        for attempt in range(1, attempts + 1):
            try:
                return self._save(**changes)
            except GrokVideoError as error:
                last = attempt == attempts
                self.log.log(
                    logging.ERROR if last else logging.WARNING,
                    "Could not note %s for request %s: %s",
                    changes.get("phase", "a change"),
                    self.current.request_id if self.current else None,
                    error.what,
                )
                if last:
                    self.remembers = self.remembers and "request_id" not in changes
                    break
                time.sleep(BETWEEN_TRIES * 2**attempt)
        return False

    def _add(
        self, request_id: str, fingerprint: str, asked: str, conn_id: str, submitted_at: float, note: str
    ) -> Record:
        """Write down a request whose start was not noted by this journal."""
        record = Record(
            owner=self.owner,
            number=0,
            token=new_token(),
            phase="submitted",
            fingerprint=fingerprint,
            asked=asked,
            intended_at=submitted_at,
            try_number=self.try_number,
            tries=self.tries,
            conn_id=conn_id,
            request_id=request_id,
            submitted_at=submitted_at,
            note=note,
        )
        record = numbered(record, self.records)
        if self.backend is not None:
            self.backend.create(record)
        self.records.append(record)
        return record

    def _take_back(self, record: Record) -> None:
        """Withdraw an intent that may have been written although its backend failed: nothing was sent for it."""
        try:
            # What another try has written, or what became of it, stays.
            if self.backend is not None and record in self.backend.records():
                self.backend.update(replace(record, phase="withdrawn", note="the journal failed; nothing was sent"))
        except GrokVideoError as error:
            self.log.warning("The intent may be in the journal although nothing was sent: %s", error.what)

    def _save(self, **changes: Any) -> bool:
        if self.current is None:
            return False
        record = replace(self.current, **changes)
        # Known to this try from here on, whether the backend takes it or not.
        self.records = [record if each.token == record.token else each for each in self.records]
        self.current = record
        if record.number == NOT_WRITTEN:
            return False
        if self.backend is None or self.backend.update(record):
            return True
        self.log.warning("The journal knows more of purchase %d by now; what it has stays as it is", record.number)
        return False


class _RowLog(_Adapter):
    """Begins each line with the row that it is about."""

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        self.logger.log(level, f"Row %r: {msg}", (self.extra or {}).get("item"), *args, **kwargs)


def log_of(logger: logging.Logger, owner: Owner) -> logging.Logger | _RowLog:
    """Return the log for what happens to a purchase: a table has lines of many rows."""
    return logger if owner.item is None else _RowLog(logger, {"item": owner.item})


def new_token() -> str:
    """Return a name for a purchase that no other has."""
    return secrets.token_hex(8)


def outcome_of(error: GrokVideoError) -> Outcome | None:
    """Return how a request ended that raised this; None where it is still running or was never accepted."""
    match error:
        case VideoModerated():
            return "moderated"
        case VideoFailed():
            return "failed"
        case VideoExpired():
            return "expired"
    return None
