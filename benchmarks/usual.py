"""The usual trigger: what most deferrable operators wait with, here for a video.

A look is a coroutine of the hook that opens a client, sends one call and closes it. Each trigger sleeps between its own
polls and knows nothing of the others.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
from airflow.sdk import BaseHook
from airflow.sdk.definitions.connection import Connection
from airflow.triggers.base import BaseTrigger, TriggerEvent


class UsualTrigger(BaseTrigger):
    """Look at a video every few seconds until it is finished."""

    def __init__(self, request_id: str, conn_id: str, end_time: float, poll_interval: float = 5.0) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.request_id = request_id
        self.conn_id = conn_id
        self.end_time = end_time
        self.poll_interval = poll_interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments."""
        return (
            "benchmarks.usual.UsualTrigger",
            {
                "request_id": self.request_id,
                "conn_id": self.conn_id,
                "end_time": self.end_time,
                "poll_interval": self.poll_interval,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, then yield one event; a call that fails ends the wait."""
        connection = await BaseHook.aget_connection(self.conn_id)
        while time.time() < self.end_time:
            job = await self._poll(connection)
            if job["status"] == "done":
                yield _event("success", request_id=self.request_id, url=job["video"]["url"])
                return
            if job["status"] != "pending":
                yield _event("error", request_id=self.request_id, message=str(job))
                return
            await asyncio.sleep(self.poll_interval)
        yield _event("error", request_id=self.request_id, message="timeout")

    async def _poll(self, connection: Connection) -> dict[str, Any]:
        async with httpx.AsyncClient(
            base_url=connection.host or "",
            headers={"Authorization": f"Bearer {connection.password}"},
            timeout=30.0,
        ) as client:
            response = await client.get(f"/videos/{self.request_id}")
            response.raise_for_status()
            job: dict[str, Any] = response.json()
            return job


def _event(status: str, **more: str) -> TriggerEvent:
    return TriggerEvent({"status": status, **more})  # type: ignore[no-untyped-call]
