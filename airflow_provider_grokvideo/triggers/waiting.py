"""Wait for one request on the shared poller, as each trigger does it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_provider_grokvideo.compat import AirflowNotFoundException
from airflow_provider_grokvideo.core.errors import AuthenticationFailed, GrokVideoError, ServiceUnavailable
from airflow_provider_grokvideo.core.polling import decisions
from airflow_provider_grokvideo.triggers.accounts import account_of
from airflow_provider_grokvideo.triggers.poller import Heard, shared

if TYPE_CHECKING:
    from airflow_provider_grokvideo.client.account import Account

MISSING_FOR = 15.0
"""Seconds for which the look-up of a missing connection is repeated: a short failure of Airflow's API looks the same,
but the task had the connection a moment ago."""


@dataclass(frozen=True)
class Waiter:
    """What the waits of one trigger have in common.

    Attributes:
        conn_id: Airflow connection of type ``grokvideo``.
        deadline: Epoch seconds after which a failed look-up of the connection is not repeated.
        begun: Called at the beginning of a wait, with the seconds until its first poll; again if the key has changed.
        warn: Called with the reason before a look-up of the connection is repeated.
        missing_for: Seconds for which the look-up of a missing connection is repeated.
    """

    conn_id: str
    deadline: float
    begun: Callable[[decisions.Watch, float], None]
    warn: Callable[[str], None]
    missing_for: float = MISSING_FOR

    async def wait(
        self, begin: Callable[[Account], tuple[decisions.Watch, Heard]]
    ) -> decisions.Settled | decisions.Abandoned:
        """Wait until a request ends, its deadline passes, or its polls are refused; a changed key is used.

        Args:
            begin: Returns the wait with an account, and the callback of its polls.

        Raises:
            GrokVideoError: There is no account.
        """
        account, known_since = await self.account(), time.time()
        while True:
            ended = await self._poll(account, begin)
            known = account
            if isinstance(ended, decisions.Abandoned) and isinstance(ended.error, AuthenticationFailed):
                # The key may have been changed. One look-up serves all waits with the same old key.
                account, known_since = await self.account(newer_than=known_since), time.time()
            if account == known:
                return ended

    async def _poll(
        self, account: Account, begin: Callable[[Account], tuple[decisions.Watch, Heard]]
    ) -> decisions.Settled | decisions.Abandoned:
        now = time.time()
        watch, heard = begin(account)
        async with shared(account, self.conn_id) as poller:
            self.begun(watch, max(0.0, poller.first_poll(watch) - now))
            return await poller.wait(watch, heard)

    async def account(self, newer_than: float = 0.0) -> Account:
        """Return the account; a short failure of Airflow must not end a wait for a paid video.

        Args:
            newer_than: Epoch seconds; older look-ups are not reused.

        Raises:
            GrokVideoError: There is no account.
        """
        give_up_at = min(time.time() + self.missing_for, self.deadline)
        while True:
            try:
                return await account_of(self.conn_id, newer_than=newer_than)
            except GrokVideoError as error:
                if not isinstance(error.__context__, AirflowNotFoundException) or time.time() >= give_up_at:
                    raise
                what = error.what
            except Exception as problem:
                what = f"Airflow did not return the connection ({type(problem).__name__}: {problem})"
                if time.time() >= self.deadline:
                    raise ServiceUnavailable(what, conn_id=self.conn_id) from problem
            self.warn(what)
            await asyncio.sleep(decisions.DEFAULT_INTERVAL)
