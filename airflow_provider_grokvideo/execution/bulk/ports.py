"""What a table needs and what it says: its host, its services, what is kept between legs, what to do next."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, Protocol

from airflow_provider_grokvideo.execution.ledger import TaskLedger
from airflow_provider_grokvideo.execution.ports import AskApproval, RunAgain, SkipTask, WaitFor

if TYPE_CHECKING:
    from airflow_provider_grokvideo.core.bulk.rows import Table
    from airflow_provider_grokvideo.core.purchases.records import Owner
    from airflow_provider_grokvideo.hooks.grokvideo import GrokVideoHook
    from airflow_provider_grokvideo.journal.items import Items


class TableHost(Protocol):
    """Where a table is carried out."""

    @property
    def interruptions(self) -> tuple[type[BaseException], ...]:
        """What may end a step besides the death of the process."""

    @property
    def owner(self) -> Owner:
        """The task instance."""

    @property
    def try_number(self) -> int | None:
        """This try."""

    @property
    def tries(self) -> int | None:
        """Airflow's ``max_tries``."""

    @property
    def clears(self) -> int | None:
        """How often Airflow has cleared the run."""

    def keep(self, key: str, value: Any) -> None:
        """Keep a value for a later leg of this try."""

    def recall(self, key: str) -> Any:
        """Return a value that was kept; None without one."""

    def show_table(self, facts: Mapping[str, Any], error: BaseException | None = None) -> None:
        """Show how far the table is; never fails."""


@dataclass(frozen=True)
class BulkServices:
    """What a table works with.

    Attributes:
        host: Where it is carried out.
        hook: The API with the key of the connection.
        source: Reads the table.
        open_items: Opens the journals of all rows; None where there is no backend.
        new_hook: Returns a hook of the same connection for a thread of its own.
        read_from: The file of the table; None where it is no file.
        ledger: The ledger.
        clock: Returns epoch seconds.
    """

    host: TableHost
    hook: GrokVideoHook
    source: Callable[[], Table]
    open_items: Callable[[], Items | None]
    new_hook: Callable[[], GrokVideoHook]
    read_from: str | None = None
    ledger: TaskLedger = field(default_factory=TaskLedger)
    clock: Callable[[], float] = time.time


@dataclass(frozen=True)
class KeptNumbers:
    """Numbers that a try keeps between its legs, where the journal does not have them.

    Attributes:
        started: Epoch seconds of the begin of this try.
        began_with: Rows that had their video then.
        pauses: Pauses in a row without an accepted submit.
        pause_until: Epoch seconds before which nothing is submitted.
        stopped: Why nothing more is submitted in this try; empty where that is not so.
        stuck: Requests whose video could not be stored in this try.
        written_at: Epoch seconds when the result table was last written.
        content: Hash of the table that this try has checked and priced.
    """

    started: float
    began_with: int = 0
    pauses: int = 0
    pause_until: float = 0.0
    stopped: str = ""
    stuck: tuple[str, ...] = ()
    written_at: float = 0.0
    content: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the numbers as plain JSON."""
        return {**asdict(self), "stuck": [*self.stuck]}


def kept_from(value: object) -> KeptNumbers | None:
    """Return what an earlier leg kept; None where that is lost or of another version."""
    if not isinstance(value, Mapping):
        return None
    known = {each.name: value[each.name] for each in fields(KeptNumbers) if each.name in value}
    try:
        return KeptNumbers(**{**known, "stuck": tuple(map(str, known.get("stuck", ())))})
    except TypeError:
        return None


@dataclass(frozen=True)
class WaitForRows:
    """Wait for these requests, then resume with the trigger's event."""

    flight: tuple[WaitFor, ...]


@dataclass(frozen=True)
class FinishedRows:
    """Hand the summary on."""

    summary: Mapping[str, Any]


BulkNext = FinishedRows | WaitForRows | RunAgain | AskApproval | SkipTask
