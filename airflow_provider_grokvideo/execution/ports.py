"""What a run needs and what it says: its order, its host, its services, its state, and what to do next."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from airflow_provider_grokvideo.execution.ledger import Approval, TaskLedger
from airflow_provider_grokvideo.execution.manifest import Manifest, Source

if TYPE_CHECKING:
    from airflow_provider_grokvideo.core.billing.entries import Entry
    from airflow_provider_grokvideo.core.cards import Outcome as Shown
    from airflow_provider_grokvideo.core.errors import GrokVideoError
    from airflow_provider_grokvideo.core.purchases.records import Owner, Record
    from airflow_provider_grokvideo.core.requests import VideoRequest
    from airflow_provider_grokvideo.execution.journal import TaskJournal
    from airflow_provider_grokvideo.hooks.grokvideo import GrokVideoHook

Phase = Literal["checking", "paid", "delivered"]


class Order(Protocol):
    """What is asked for."""

    def build_request(self) -> VideoRequest:
        """Return the request; raises :class:`InvalidInput` where an argument is wrong."""

    def known_source(self) -> Source:
        """Return what is known about the clip that is edited or extended."""

    def made_from(self) -> tuple[str, Any] | None:
        """Return the argument that holds the clip or image that the video starts from, and its value."""


class Host(Protocol):
    """Where a run is carried out."""

    @property
    def interruptions(self) -> tuple[type[BaseException], ...]:
        """What may end a step besides the death of the process; more than ``Exception`` in Airflow."""

    @property
    def owner(self) -> Owner:
        """Whose purchases these are."""

    def keep(self, key: str, value: Any) -> None:
        """Keep a value for a later leg of this try and for the UI."""

    def recall(self, key: str) -> Any:
        """Return a value that was kept; None without one."""

    def show(
        self,
        outcome: Shown | None,
        *,
        request: VideoRequest | None = None,
        record: Record | None = None,
        error: GrokVideoError | None = None,
        records: Sequence[Record] = (),
        **facts: Any,
    ) -> None:
        """Show how far the run is; never fails. `records` are all purchases of the owner."""


@dataclass(frozen=True)
class Services:
    """What a run works with.

    Attributes:
        host: Where it is carried out.
        hook: The API with the key of the run's connection.
        open_journal: Opens the journal; called once, in the first step that needs it.
        ledger: The ledger.
        clock: Returns epoch seconds.
        reserved: The reservation of this run, already made for a whole table; None lets the run reserve by itself.
        is_known_place: A moment ago another run has checked the directory of the destination and the way to xAI's
            files; only the names of this run's files are checked.
    """

    host: Host
    hook: GrokVideoHook
    open_journal: Callable[[], TaskJournal]
    ledger: TaskLedger = field(default_factory=TaskLedger)
    clock: Callable[[], float] = time.time
    reserved: Entry | None = None
    is_known_place: bool = False


@dataclass(frozen=True)
class State:
    """How far a run is; replaced as a whole.

    Attributes:
        phase: ``checking``: this run has bought nothing and found nothing that is under way. ``paid``: a request is
            running or finished at xAI, so an error must lead back to it. ``delivered``: its video is stored and the
            journal says so.
        request_id: The request, once it is known.
        request: What was asked for, once it is known.
        journal: The journal, once it is open.
        allowed: The approval of a purchase above its limits, once there is one.
    """

    phase: Phase = "checking"
    request_id: str | None = None
    request: VideoRequest | None = None
    journal: TaskJournal | None = None
    allowed: Approval | None = None

    @property
    def is_paid(self) -> bool:
        """Whether an error comes after a purchase."""
        return self.phase != "checking"

    @property
    def under_way(self) -> str | None:
        """The request that a kill of the task would leave running."""
        return self.request_id if self.phase == "paid" else None


@dataclass(frozen=True)
class Finished:
    """Hand the manifest on."""

    manifest: Manifest


@dataclass(frozen=True)
class WaitFor:
    """Wait for a request: in a trigger, then complete the run with its event; or in this process.

    Attributes:
        request_id: The request.
        since: Epoch seconds of its submit.
        deadline: Epoch seconds at which to give up.
        kind: What its latency has in common with that of others.
        uploads: xAI uploads the video itself, so that done without a link is success.
    """

    request_id: str
    since: float
    deadline: float
    kind: str | None
    uploads: bool


@dataclass(frozen=True)
class RunAgain:
    """Run again at `at`, in epoch seconds."""

    at: float


@dataclass(frozen=True)
class AskApproval:
    """Ask whether a purchase may exceed its limits, then hand the response to the run."""

    subject: str
    body: str


@dataclass(frozen=True)
class SkipTask:
    """Do nothing more, and say why."""

    why: str


Next = Finished | WaitFor | RunAgain | AskApproval | SkipTask
