"""Worker threads that render clips on request, and a cache by content."""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor

from airflow_provider_grokvideo.emulator.recipe import Footage, Recipe
from airflow_provider_grokvideo.emulator.render import RenderingStopped, render

CACHE_BYTES = 256 * 2**20


class Studio:
    """Makes each clip once. A clip that fell out of the cache is made again, with the same bytes."""

    def __init__(self, workers: int = 2, cache_bytes: int = CACHE_BYTES) -> None:
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="emulator-studio")
        self._lock = threading.Lock()
        self._cache: OrderedDict[str, bytes] = OrderedDict()
        self._making: dict[str, Future[bytes]] = {}
        self._limit = cache_bytes
        self._closed = threading.Event()

    async def clip(self, recipe: Recipe) -> bytes:
        """Return the MP4 of a recipe.

        Raises:
            RenderingStopped: The studio was closed first.
        """
        try:
            return await asyncio.wrap_future(self._ordered(recipe))
        except asyncio.CancelledError:
            if self._closed.is_set():
                raise RenderingStopped from None
            raise

    def _ordered(self, recipe: Recipe) -> Future[bytes]:
        with self._lock:
            ready = self._cache.get(recipe.key)
            if ready is not None:
                self._cache.move_to_end(recipe.key)
                future: Future[bytes] = Future()
                future.set_result(ready)
                return future
            if self._closed.is_set():
                raise RenderingStopped
            making = self._making.get(recipe.key)
            if making is None:
                making = self._pool.submit(self._make, recipe)
                self._making[recipe.key] = making
            return making

    def _make(self, recipe: Recipe) -> bytes:
        try:
            return self._draw(recipe)
        finally:
            with self._lock:
                self._making.pop(recipe.key, None)

    def _source(self, footage: Footage | None) -> bytes | None:
        """Return the bytes of a source, made in this same thread so that chains cannot wait for each other."""
        if footage is None or footage.recipe is None:
            return footage.data if footage else None
        with self._lock:
            ready = self._cache.get(footage.key)
        if ready is not None:
            return ready
        return self._draw(footage.recipe)

    def _draw(self, recipe: Recipe) -> bytes:
        data = render(recipe, self._source(recipe.source), self._closed.is_set)
        with self._lock:
            self._keep(recipe.key, data)
        return data

    def _keep(self, key: str, data: bytes) -> None:
        self._cache[key] = data
        total = sum(map(len, self._cache.values()))
        while total > self._limit and len(self._cache) > 1:
            _, dropped = self._cache.popitem(last=False)
            total -= len(dropped)

    def close(self) -> None:
        """Stop the clips being made at their next frame, drop those that wait, and end the threads."""
        with self._lock:
            self._closed.set()
            self._pool.shutdown(wait=False, cancel_futures=True)
        self._pool.shutdown(wait=True)
