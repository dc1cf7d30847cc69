"""Flight of a bulk task, read from the journal of its rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_grokvideo.compat import conf
from airflow_provider_grokvideo.core.bulk import rounds
from airflow_provider_grokvideo.core.errors import GrokVideoError

if TYPE_CHECKING:
    from airflow_provider_grokvideo.core.bulk.rounds import InFlight
    from airflow_provider_grokvideo.core.purchases.records import Owner
    from airflow_provider_grokvideo.journal.items import (  # type: ignore[import-not-found,unused-ignore]
        Items,
    )


def read_flight(owner: Owner, *, patience: float, latest: float | None, most: int | None = None) -> list[InFlight]:
    """Return the requests of a task instance that are in flight, the oldest first. It blocks.

    Args:
        owner: The task instance.
        patience: Seconds from a submit to the deadline of its request.
        latest: Epoch seconds of the last deadline; None if there is none.
        most: Return at most so many; None returns all.

    Raises:
        JournalUnavailable: The backend does not answer.
        JournalCorrupt: A record cannot be read.
        GrokVideoError: The triggerer's settings name no journal, or no place Airflow can open.
    """
    return rounds.flight_of(_open(owner).records(), patience=patience, latest=latest, most=most)


def _open(owner: Owner) -> Items:
    from airflow_provider_grokvideo.journal.items import FileItems, SqlItems
    from airflow_provider_grokvideo.ledger.settings import open_sql_journal
    from airflow_provider_grokvideo.storage.directories import open_tree

    path = (conf.get("grokvideo", "journal_path", fallback="") or "").strip()
    if path:
        return FileItems(open_tree(path), owner)
    journal = open_sql_journal()
    if journal is None:
        raise GrokVideoError(
            f"the triggerer's settings name no journal in files or SQL for {owner}",
            advice="Set [grokvideo] journal_path or ledger_conn_id for the triggerer as for the workers.",
        )
    return SqlItems(journal, owner)
