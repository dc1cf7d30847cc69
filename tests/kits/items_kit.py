"""Rows of a table for tests: their records, and clients that work on one row in processes of their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from airflow_provider_grokvideo.core.errors import JournalUnavailable
from airflow_provider_grokvideo.core.purchases.records import Owner, Record
from airflow_provider_grokvideo.database import sqlite_engine
from airflow_provider_grokvideo.journal.items import FileItems, Items, SqlItems
from airflow_provider_grokvideo.journal.sql import SqlJournal
from airflow_provider_grokvideo.storage.directories import open_tree

TABLE = Owner("films", "manual__1", "make_all", 3)


def row(item: str, number: int = 1, token: str | None = None, **facts: Any) -> Record:
    """Return an unconfirmed submission of a row."""
    given = {
        "owner": replace(TABLE, item=item),
        "number": number,
        "token": token or f"t-{item}-{number}",
        "phase": "intent",
        "fingerprint": "a" * 64,
        "asked": "b" * 64,
        "intended_at": 1_800_000_000.0 + number,
    }
    return Record(**{**given, **facts})


def delivered(item: str) -> Record:
    """Return a delivered row as it is in practice, with long addresses."""
    uri = f"s3://a-bucket-of-the-company/campaigns/2027/spring/products/clips/{item}.mp4"
    prompt = "A slow dolly shot around the product on a wooden table in morning light, " * 4
    manifest = {
        "request_id": "59607e49-72e0-4cda-902b-0ebf4d2ad037", "mode": "image-to-video", "status": "done",
        "model": "grok-imagine-video-1.5", "prompt": prompt, "url": None, "uri": uri,
        "sidecar_uri": f"{uri}.json", "poster_uri": uri.replace(".mp4", ".jpg"), "sha256": "c" * 64,
        "bytes": 12_345_678, "duration": 8.041667, "width": 1280, "height": 720, "has_audio": True, "checked": True,
        "cost_usd": 1.13, "estimated_cost_usd": 1.13, "submitted_at": "2027-01-15T12:00:00.123456+00:00",
        "finished_at": "2027-01-15T12:00:42.123456+00:00", "reused": False, "warnings": [],
    }  # fmt: skip
    return row(
        item, phase="delivered", token="0123456789abcdef", try_number=1, tries=3, clears=0, mode="image-to-video",
        model="grok-imagine-video-1.5", conn_id="grokvideo_default", estimated_usd="1.13", destination=uri,
        stored_as="airflow-0123456789abcdef.mp4", request_id="59607e49-72e0-4cda-902b-0ebf4d2ad037",
        submitted_at=1_800_000_001.5, manifest=manifest,
    )  # fmt: skip


def open_items(kind: str, where: str) -> Items:
    """Open the journal of the table in a database file or in a directory."""
    if kind == "sql":
        return SqlItems(SqlJournal(sqlite_engine(where), where), TABLE)
    return FileItems(open_tree(where), TABLE)


def create_row(ledger: Any, tell: Callable[[Any], None], kind: str, where: str, token: str) -> str | None:
    """Write the intent of a row; return the token where that was allowed."""
    try:
        open_items(kind, where).of("a").create(row("a", token=token))
    except JournalUnavailable:
        return None
    return token
