"""Instances of mapped tasks and task groups, and their arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from airflow_provider_grokvideo.core.billing.upper_bound import UNKNOWN
from airflow_provider_grokvideo.planning.arguments import Made, made_by

Item = Mapping[str, Any] | None
"""Arguments of one map index; None if not even their names are known."""


@dataclass(frozen=True)
class MappedItems:
    """The map indexes of a mapped task or task group.

    Attributes:
        each: Their arguments.
        per_item: Name of the list with an unknown number of items, each with all of `each`; empty if these are all.
    """

    each: Sequence[Item]
    per_item: str = ""


@dataclass(frozen=True)
class Sample:
    """The user's assumptions about lists that are only known at run time.

    Attributes:
        count: Number of items of each list; None if unknown.
        like: Arguments of the items besides the prompt; None if unknown.
    """

    count: int | None = None
    like: Mapping[str, Any] | None = None

    def filled(self, item: Item) -> Item:
        """Return an item with the user's assumptions for its unknown arguments."""
        if self.like is None or item is None:
            return item
        return {name: self.like.get(name, value) if value is UNKNOWN else value for name, value in item.items()}


NOTHING_SAID = Sample()

Counted = Callable[[Any], tuple[int, str] | None]
"""Returns the number of instances of a task and the list it is per item of; None for an unmapped task."""


def items_of(expand_input: Any, name: str, counted: Counted, sample: Sample = NOTHING_SAID) -> MappedItems:
    """Return the map indexes of ``expand`` or ``expand_kwargs``.

    Args:
        expand_input: Airflow's object for the call.
        name: Name of the task or group, for an unknown number of items.
        counted: Returns the number of results of another task.
        sample: The user's assumptions about unknown lists.
    """
    value = expand_input.value
    if isinstance(value, Mapping):
        return _combined(value, name, counted, sample)
    if isinstance(value, Sequence):
        return MappedItems([each if isinstance(each, Mapping) else None for each in value])
    axis = _axis(value, name, counted, sample)
    return MappedItems([None] * len(axis.each), axis.per_item)


def joined(*names: str) -> str:
    """Return the name of the product of unknown numbers."""
    return " x ".join(dict.fromkeys(name for name in names if name))


@dataclass(frozen=True)
class _Axis:
    each: Sequence[Any]
    per_item: str = ""


def _combined(arguments: Mapping[str, Any], name: str, counted: Counted, sample: Sample) -> MappedItems:
    axes = [_axis(value, name, counted, sample) for value in arguments.values()]
    each = [
        sample.filled(dict(zip(arguments, values, strict=True))) for values in product(*(axis.each for axis in axes))
    ]
    return MappedItems(each, joined(*(axis.per_item for axis in axes)))


def _axis(value: Any, name: str, counted: Counted, sample: Sample) -> _Axis:
    """Return the values of one expanded argument."""
    if isinstance(value, Mapping):
        return _Axis(list(value.items()))
    if isinstance(value, Sequence):
        return _Axis(value)
    mapped = getattr(value, "arg", None)
    if mapped is not None and hasattr(value, "callables"):
        # A call of .map() keeps the number of items, or skips some.
        inner = _axis(mapped, name, counted, sample)
        return _Axis([UNKNOWN] * len(inner.each), inner.per_item)
    task = made_by(value)
    known = None if task is None else counted(task)
    if known is None:
        return _Axis([UNKNOWN], name) if sample.count is None else _Axis([UNKNOWN] * sample.count)
    count, per_item = known
    return _Axis([Made(task, index) for index in range(count)], per_item)
