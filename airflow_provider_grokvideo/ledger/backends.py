"""Ledger backends.

===============  =======================================================  ==============================================
backend          location                                                 guarantee
===============  =======================================================  ==============================================
`SqlLedger`      ``[grokvideo] ledger_conn_id``: PostgreSQL in            no two clients reserve the same money, on
                 production                                               whatever machines they run
`SqlLedger`      an SQLite file: ``[grokvideo] ledger_path``, or          the same among the processes of one machine
                 embedded with the LocalExecutor
`NoLedger`       none                                                     no purchase is recorded; a budget is refused,
                                                                          because nothing could enforce it
===============  =======================================================  ==============================================
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, Protocol

from airflow_provider_grokvideo.core.billing.budgets import Overrun, Scope
from airflow_provider_grokvideo.core.billing.entries import Entry
from airflow_provider_grokvideo.core.errors import InvalidInput
from airflow_provider_grokvideo.core.purchases.records import Owner


class Ledger(Protocol):
    """Ledger of purchases. All methods raise :class:`LedgerUnavailable` if it cannot be reached."""

    told: str

    def reserve(
        self,
        entry: Entry,
        scopes: Sequence[Scope],
        *,
        anyway: bool = False,
        also: Callable[[Any], None] | None = None,
    ) -> list[Overrun]:
        """Write a reservation if no budget is exceeded; return the exceeded budgets."""

    def reserve_all(
        self, entries: Sequence[Entry], scopes: Sequence[Scope], *, anyway: bool = False, release: Sequence[str] = ()
    ) -> list[Overrun]:
        """Write the reservations of a table if no budget is exceeded by their sum; return the exceeded budgets."""

    def release_all(self, tokens: Sequence[str]) -> None:
        """Release the reservations with these tokens for which nothing was sent."""

    def shares(self, engine: Any) -> bool:
        """Say whether a transaction of this ledger can write what `engine` reads."""

    def change(self, token: str, change: Callable[[Entry | None], Entry | None]) -> Entry | None:
        """Replace an entry, or None, by the result of `change`; return the new entry."""

    def find(self, request_id: str) -> Entry | None:
        """Return the purchase of a request; None if it is unknown."""

    def of_owner(self, owner: Owner) -> list[Entry]:
        """Return the purchases of a task instance, or of one row of it, oldest first."""

    def of_task(self, owner: Owner) -> list[Entry]:
        """Return the purchases of a task instance and of all its rows, oldest first."""

    def entries(self, start: float | None = None, end: float | None = None) -> list[Entry]:
        """Return the purchases reserved at or after `start` and before `end`, oldest first."""

    def used(self, scope: Scope, *, without: Collection[str] = ()) -> int:
        """Return the ticks that count against a budget, besides the purchases with these tokens."""


class NoLedger:
    """No ledger: purchases are not recorded.

    Args:
        told: The reason, and the setting that changes it.
    """

    def __init__(self, told: str) -> None:
        self.told = told

    def reserve(
        self,
        entry: Entry,
        scopes: Sequence[Scope],
        *,
        anyway: bool = False,
        also: Callable[[Any], None] | None = None,
    ) -> list[Overrun]:
        """Refuse a purchase if a budget applies: nothing could enforce it.

        Raises:
            InvalidInput: A budget applies.
        """
        self._refuse(scopes)
        return []

    def reserve_all(
        self, entries: Sequence[Entry], scopes: Sequence[Scope], *, anyway: bool = False, release: Sequence[str] = ()
    ) -> list[Overrun]:
        """Refuse the purchases if a budget applies: nothing could enforce it.

        Raises:
            InvalidInput: A budget applies.
        """
        self._refuse(scopes)
        return []

    def release_all(self, tokens: Sequence[str]) -> None:
        """Do nothing."""

    def _refuse(self, scopes: Sequence[Scope]) -> None:
        if scopes:
            budget = scopes[0].budget
            raise InvalidInput(budget.where, str(budget), f"no budget, because there is no ledger: {self.told}")

    def shares(self, engine: Any) -> bool:
        """Say no."""
        return False

    def change(self, token: str, change: Callable[[Entry | None], Entry | None]) -> Entry | None:
        """Do nothing."""
        return None

    def find(self, request_id: str) -> Entry | None:
        """Return None."""
        return None

    def of_owner(self, owner: Owner) -> list[Entry]:
        """Return an empty list."""
        return []

    def of_task(self, owner: Owner) -> list[Entry]:
        """Return an empty list."""
        return []

    def entries(self, start: float | None = None, end: float | None = None) -> list[Entry]:
        """Return an empty list."""
        return []

    def used(self, scope: Scope, *, without: Collection[str] = ()) -> int:
        """Return 0."""
        return 0
