"""What an outlet's asset event says of a video, so that others can read cost and hash without our code."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)

FACTS = (
    "request_id", "status", "uri", "sidecar_uri", "sha256", "bytes", "duration", "width", "height", "mode", "model",
    "cost_usd", "estimated_cost_usd", "submitted_at", "finished_at", "reused",
)  # fmt: skip


def extra_of(made: Mapping[str, Any]) -> dict[str, Any]:
    """Return the extra of an asset event, from a manifest.

    ``cost_usd`` is what the video cost whenever it was bought; ``spent_usd`` what this run of the task spent on it,
    which is nothing where it was bought before. The temporary link stays out: events are kept, and it dies.
    """
    spent = 0.0 if made.get("reused") else made.get("cost_usd")
    return {**{name: made.get(name) for name in FACTS}, "spent_usd": spent}


def tell(outlets: Sequence[Any], made: Mapping[str, Any], context: Context) -> None:
    """Put the facts of a stored video, or of a request that another task waits for, into the events of the outlets.

    An ``Asset`` gets them as they are; an ``AssetAlias`` gets the stored file as its asset, once there is one. A video
    that is paid and stored is not given up for a word about it that Airflow does not take.
    """
    from airflow.sdk import Asset, AssetAlias

    events = context.get("outlet_events")
    if events is None or (made.get("uri") is None and made.get("status") != "submitted"):
        return
    for outlet in outlets:
        try:
            if isinstance(outlet, AssetAlias):
                if made.get("uri") is None:
                    continue
                events[outlet].add(Asset(uri=_as_uri(made["uri"])), extra=extra_of(made))
            elif isinstance(outlet, Asset):
                events[outlet].extra.update(extra_of(made))
        except Exception:
            log.warning("The asset event of %s goes without cost and hash", outlet, exc_info=True)


def tell_table(outlets: Sequence[Any], summary: Mapping[str, Any], context: Context) -> None:
    """Put the summary of a table into the events of the outlets; an ``AssetAlias`` gets the result table as its asset.

    The rows stay in the table.
    """
    from airflow.sdk import Asset, AssetAlias

    events, place = context.get("outlet_events"), summary.get("table_uri")
    if events is None or place is None:
        return
    extra = {name: summary[name] for name in ("rows", "counts", "cost_usd", "estimated_cost_usd", "table_uri")}
    for outlet in outlets:
        try:
            if isinstance(outlet, AssetAlias):
                events[outlet].add(Asset(uri=_as_uri(place)), extra=extra)
            elif isinstance(outlet, Asset):
                events[outlet].extra.update(extra)
        except Exception:
            log.warning("The asset event of %s goes without the counts of the table", outlet, exc_info=True)


def _as_uri(place: str) -> str:
    return place if "://" in place else Path(place).absolute().as_uri()
