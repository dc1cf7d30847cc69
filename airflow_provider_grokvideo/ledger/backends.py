"""What a ledger does, whatever keeps it.

===============  =======================================================  ==============================================
backend          where                                                    what it guarantees
===============  =======================================================  ==============================================
`SqlLedger`      ``[grokvideo] ledger_conn_id``: PostgreSQL in            no two clients reserve the same money, on
                 production                                               whatever machines they run
`SqlLedger`      an SQLite file: ``[grokvideo] ledger_path``, or          the same among the processes of one machine
                 embedded with the LocalExecutor
`NoLedger`       nowhere                                                  nothing is booked, and a budget is refused,
                                                                          because nothing could keep it
===============  =======================================================  ==============================================
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from airflow_provider_grokvideo.core.budgets import Overrun, Scope
from airflow_provider_grokvideo.core.errors import InvalidInput
from airflow_provider_grokvideo.core.journal import Owner
from airflow_provider_grokvideo.core.spending import Entry


class Ledger(Protocol):
    """Where purchases are booked. All methods raise :class:`LedgerUnavailable` where it does not answer."""

    told: str

    def reserve(self, entry: Entry, scopes: Sequence[Scope], *, anyway: bool = False) -> list[Overrun]:
        """Write a reservation if every budget has room for it; return those that have none."""

    def change(self, token: str, change: Callable[[Entry | None], Entry | None]) -> Entry | None:
        """Write what `change` makes of an entry, None of none; return what is there then."""

    def find(self, request_id: str) -> Entry | None:
        """Return the purchase of a request, if it is booked."""

    def of_owner(self, owner: Owner) -> list[Entry]:
        """Return the purchases of a task instance, oldest first."""

    def entries(self, start: float | None = None, end: float | None = None) -> list[Entry]:
        """Return the purchases reserved at or after `start` and before `end`, oldest first."""

    def used(self, scope: Scope) -> int:
        """Return the ticks that count against a budget."""


class NoLedger:
    """TaskLedger nothing, so that prices are only estimated.

    Args:
        told: Why there is none, and what to set.
    """

    def __init__(self, told: str) -> None:
        self.told = told

    def reserve(self, entry: Entry, scopes: Sequence[Scope], *, anyway: bool = False) -> list[Overrun]:
        """Refuse where a budget applies: a limit that nothing keeps is no limit.

        Raises:
            InvalidInput: A budget applies.
        """
        if scopes:
            budget = scopes[0].budget
            raise InvalidInput(budget.where, str(budget), f"without a ledger no budget can be kept: {self.told}")
        return []

    def change(self, token: str, change: Callable[[Entry | None], Entry | None]) -> Entry | None:
        """Keep nothing."""
        return None

    def find(self, request_id: str) -> Entry | None:
        """Know nothing."""
        return None

    def of_owner(self, owner: Owner) -> list[Entry]:
        """Know nothing."""
        return []

    def entries(self, start: float | None = None, end: float | None = None) -> list[Entry]:
        """Know nothing."""
        return []

    def used(self, scope: Scope) -> int:
        """Know nothing."""
        return 0
