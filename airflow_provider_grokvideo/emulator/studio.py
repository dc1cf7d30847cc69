"""The place where clips are made when somebody asks for them: worker threads and a cache by content."""

from __future__ import annotations

import threading
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor

from airflow_provider_grokvideo.emulator.recipe import Footage, Recipe

CACHE_BYTES = 256 * 2**20


class Studio:
    """Makes each clip once. A clip that fell out of the cache is made again, with the same bytes."""

    def __init__(self, workers: int = 2, cache_bytes: int = CACHE_BYTES) -> None:
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="emulator-studio")
        self._lock = threading.Lock()
        self._cache: OrderedDict[str, bytes] = OrderedDict()
        self._making: dict[str, Future[bytes]] = {}
        self._limit = cache_bytes

    def clip(self, recipe: Recipe) -> Future[bytes]:
        """Return the MP4 of a recipe as a future."""
        with self._lock:
            ready = self._cache.get(recipe.key)
            if ready is not None:
                self._cache.move_to_end(recipe.key)
                future: Future[bytes] = Future()
                future.set_result(ready)
                return future
            making = self._making.get(recipe.key)
            if making is None:
                making = self._pool.submit(self._make, recipe)
                self._making[recipe.key] = making
            return making

    def _make(self, recipe: Recipe) -> bytes:
        from airflow_provider_grokvideo.emulator.render import render

        try:
            data = render(recipe, self._source(recipe.source))
            with self._lock:
                self._keep(recipe.key, data)
            return data
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
        from airflow_provider_grokvideo.emulator.render import render

        data = render(footage.recipe, self._source(footage.recipe.source))
        with self._lock:
            self._keep(footage.key, data)
        return data

    def _keep(self, key: str, data: bytes) -> None:
        self._cache[key] = data
        total = sum(map(len, self._cache.values()))
        while total > self._limit and len(self._cache) > 1:
            _, dropped = self._cache.popitem(last=False)
            total -= len(dropped)

    def close(self) -> None:
        """Drop what waits; a clip being made is finished first."""
        self._pool.shutdown(wait=True, cancel_futures=True)
