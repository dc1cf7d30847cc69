"""How many instances a mapped task or task group has, and with which arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from airflow_provider_grokvideo.core.planning import UNKNOWN
from airflow_provider_grokvideo.planning.arguments import Made, made_by

Item = Mapping[str, Any] | None
"""Arguments of one map index; None where not even their names are known."""


@dataclass(frozen=True)
class Items:
    """The map indexes of a mapped task or task group.

    Attributes:
        each: Their arguments.
        per_item: What there is an unknown number of, each with all of `each`; empty where they are all there are.
    """

    each: Sequence[Item]
    per_item: str = ""


@dataclass(frozen=True)
class Sample:
    """What the user says of lists that are known only when a DAG runs.

    Attributes:
        count: How many items each of them has; None if that stays unknown.
        like: What their items set besides the prompt; None if that stays unknown.
    """

    count: int | None = None
    like: Mapping[str, Any] | None = None

    def filled(self, item: Item) -> Item:
        """Return an item with what the user says of its unknown arguments."""
        if self.like is None or item is None:
            return item
        return {name: self.like.get(name, value) if value is UNKNOWN else value for name, value in item.items()}


NOTHING_SAID = Sample()

Counted = Callable[[Any], tuple[int, str] | None]
"""Returns how many instances a task has, per item of what; None for a task that is not mapped."""


def items_of(expand_input: Any, name: str, counted: Counted, sample: Sample = NOTHING_SAID) -> Items:
    """Return the map indexes that ``expand`` or ``expand_kwargs`` make.

    Args:
        expand_input: What Airflow keeps of the call.
        name: Of the task or group, to name an unknown number.
        counted: Tells how many results another task has.
        sample: What the user says of unknown lists.
    """
    value = expand_input.value
    if isinstance(value, Mapping):
        return _combined(value, name, counted, sample)
    if isinstance(value, Sequence):
        return Items([each if isinstance(each, Mapping) else None for each in value])
    axis = _axis(value, name, counted, sample)
    return Items([None] * len(axis.each), axis.per_item)


def joined(*names: str) -> str:
    """Return the name of the product of unknown numbers."""
    return " x ".join(dict.fromkeys(name for name in names if name))


@dataclass(frozen=True)
class _Axis:
    each: Sequence[Any]
    per_item: str = ""


def _combined(arguments: Mapping[str, Any], name: str, counted: Counted, sample: Sample) -> Items:
    axes = [_axis(value, name, counted, sample) for value in arguments.values()]
    each = [
        sample.filled(dict(zip(arguments, values, strict=True))) for values in product(*(axis.each for axis in axes))
    ]
    return Items(each, joined(*(axis.per_item for axis in axes)))


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
