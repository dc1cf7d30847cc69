"""Cache with a bounded number and size of values."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")

_NODE = 100
"""Approximate overhead of a JSON value in bytes."""


def weight(value: object) -> int:
    """Return the approximate size of a JSON value in memory in bytes."""
    total, todo = 0, [value]
    while todo:
        each = todo.pop()
        total += _NODE
        if isinstance(each, str):
            total += 2 * len(each)
        elif isinstance(each, Mapping):
            todo += each.keys()
            todo += each.values()
        elif isinstance(each, list | tuple):
            todo += each
    return total


class Kept(Generic[K, V]):
    """Least-recently-used cache.

    Args:
        most: Maximum number of values.
        heaviest: Maximum size in bytes, by :func:`weight`.
    """

    def __init__(self, most: int, heaviest: int) -> None:
        self._most, self._heaviest = most, heaviest
        self._values: OrderedDict[K, tuple[int, V]] = OrderedDict()
        self._total = 0

    def get(self, key: K) -> V | None:
        """Return a value and mark it as used."""
        found = self._values.get(key)
        if found is None:
            return None
        self._values.move_to_end(key)
        return found[1]

    def put(self, key: K, value: V, weight: int) -> None:
        """Store a value with its size."""
        before = self._values.pop(key, None)
        self._total += weight - (0 if before is None else before[0])
        self._values[key] = (weight, value)
        while len(self._values) > self._most or (self._total > self._heaviest and self._values):
            _, (forgotten, _) = self._values.popitem(last=False)
            self._total -= forgotten

    def __len__(self) -> int:
        return len(self._values)
