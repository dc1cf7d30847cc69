"""The floor: the least that looking every five seconds can cost in Python.

One session of aiohttp, one task per wait, no Airflow, and the polls spread over the interval so that they never come
all at once. Nothing here survives a failing call, a rate limit or a restart.
"""

from __future__ import annotations

import asyncio

import aiohttp

LANES = 8
"""Connections; on loopback one would nearly do."""


def session(key: str) -> aiohttp.ClientSession:
    """Return the session that all waits share."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=LANES), headers={"Authorization": f"Bearer {key}"}
    )


async def wait(shared: aiohttp.ClientSession, address: str, first: float, interval: float) -> bool:
    """Look until the video is finished; say whether it has a link.

    Args:
        shared: The session.
        address: Where to look.
        first: Seconds until the first poll.
        interval: Seconds between two polls.
    """
    await asyncio.sleep(first)
    while True:
        async with shared.get(address) as answer:
            if answer.status == 200:
                return bool((await answer.json())["video"]["url"])
            await answer.read()
        await asyncio.sleep(interval)
