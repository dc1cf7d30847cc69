"""Worst-case purchases of one DAG run: one line for each task of this provider and price."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from types import SimpleNamespace
from typing import Any

from airflow_provider_grokvideo.compat import NEVER_EXPIRE, conf
from airflow_provider_grokvideo.core.billing import upper_bound
from airflow_provider_grokvideo.core.billing.money import amount
from airflow_provider_grokvideo.core.billing.pricing import Prices
from airflow_provider_grokvideo.core.billing.upper_bound import (
    UNKNOWN,
    BoundLine,
    ClipBound,
    Kind,
    PlannedRequest,
    Worst,
)
from airflow_provider_grokvideo.core.errors import InvalidInput
from airflow_provider_grokvideo.decorators.grokvideo import GrokVideoDecoratedOperator
from airflow_provider_grokvideo.operators.grokvideo import (
    GrokVideoBaseOperator,
    GrokVideoBulkOperator,
    GrokVideoEditOperator,
    GrokVideoExtendOperator,
    GrokVideoGenerateOperator,
    GrokVideoPaidOperator,
    GrokVideoReviewOperator,
)
from airflow_provider_grokvideo.planning import bulk
from airflow_provider_grokvideo.planning.arguments import Known, Made, Templates, is_mapped
from airflow_provider_grokvideo.planning.mapping import NOTHING_SAID, Item, MappedItems, Sample, items_of, joined

_KINDS: Mapping[Kind, type[GrokVideoBaseOperator]] = {
    "generate": GrokVideoGenerateOperator,
    "edit": GrokVideoEditOperator,
    "extend": GrokVideoExtendOperator,
}


_ONE = MappedItems([{}])


@dataclass(frozen=True)
class Instances:
    """The task instances of one task.

    Attributes:
        each: Item of the task itself, and items of the task groups around it, by the id of their expand input.
        per_item: Name of the list with an unknown number of items; empty if these are all instances.
    """

    each: Sequence[tuple[Item, Mapping[int, Item]]]
    per_item: str = ""


class DagReader:
    """Prices the tasks of one DAG without executing them.

    A mapped task is constructed once for each of its items, as Airflow does before it runs.

    Args:
        dag: The DAG.
        prices: The price list.
        remembers: Whether tasks have a journal. Without one a retry after a crash may submit again.
        sample: The user's assumptions about lists that are only known at run time.
    """

    def __init__(self, dag: Any, prices: Prices, *, remembers: bool = True, sample: Sample = NOTHING_SAID) -> None:
        self.dag = dag
        self._prices = prices
        self._remembers = remembers
        self._sample = sample
        self._templates = Templates(dag)
        self._instances: dict[str, Instances] = {}
        self._worsts: dict[str, list[Worst]] = {}
        self._priced: dict[str, Worst] = {}

    @cached_property
    def lines(self) -> list[BoundLine]:
        """Worst-case prices of the tasks of this provider, in topological order."""
        ours = [task for task in self.dag.topological_sort() if is_ours(task)]
        return [line for task in ours for line in self._lines(task)]

    def _lines(self, task: Any) -> list[BoundLine]:
        counted = Counter(self._worsts_of(task))
        if not counted:
            return [BoundLine(task.task_id, Worst(upper_bound.NOTHING, notes=("nothing to map over",)), count=0)]
        per_item = self._instances_of(task).per_item
        return [BoundLine(task.task_id, worst, count, per_item) for worst, count in counted.items()]

    def _worsts_of(self, task: Any) -> list[Worst]:
        if task.task_id not in self._worsts:
            each = self._instances_of(task).each
            self._worsts[task.task_id] = [self._worst(task, index, *instance) for index, instance in enumerate(each)]
        return self._worsts[task.task_id]

    def _instances_of(self, task: Any) -> Instances:
        if task.task_id not in self._instances:
            self._instances[task.task_id] = self._expanded(task)
        return self._instances[task.task_id]

    def _expanded(self, task: Any) -> Instances:
        groups = [(group._expand_input, group.group_id) for group in task.iter_mapped_task_groups()]
        around = [items_of(expand_input, name, self._counted, self._sample) for expand_input, name in reversed(groups)]
        own = items_of(_expand_input(task), task.task_id, self._counted, self._sample) if is_mapped(task) else _ONE
        keys = [id(expand_input) for expand_input, _ in reversed(groups)]
        each = [
            (item, dict(zip(keys, outer, strict=True)))
            for *outer, item in product(*(items.each for items in around), own.each)
        ]
        return Instances(each, joined(*(items.per_item for items in (*around, own))))

    def _counted(self, task: Any) -> tuple[int, str] | None:
        if not is_mapped(task) and next(task.iter_mapped_task_groups(), None) is None:
            return None
        instances = self._instances_of(task)
        return len(instances.each), instances.per_item

    def _worst(self, task: Any, index: int, item: Item, groups: Mapping[int, Item]) -> Worst:
        if issubclass(_class_of(task), GrokVideoReviewOperator):
            return self._reviewed(task, index, item, groups)
        if issubclass(_class_of(task), GrokVideoDecoratedOperator):
            order, notes = self._limits(SimpleNamespace(**_said(task)), _said(task)["max_cost_usd"])
            return _with(bulk.unknown(order, bulk.BY_FUNCTION), notes)
        if issubclass(_class_of(task), GrokVideoBulkOperator):
            return self._table(task, item, groups)
        kind = _kind_of(task)
        if kind is None:
            return Worst(None, notes=("a subclass builds its own requests",))
        try:
            known = Known(_unmapped(task, item, kind, self._sample), self._templates, groups)
        except Exception as error:  # noqa: BLE001 - the constructor may be the user's
            return Worst(None, notes=(f"the operator cannot be constructed ({type(error).__name__}: {error})",))
        order, notes = self._order(known, kind, index)
        if item is None and is_mapped(task) and self._sample.like is None:
            notes = (*notes, "the arguments of its items are unknown; set them with --like NAME=VALUE")
        # Many items of a list only differ in their prompt.
        arguments = {name: value for name, value in order.arguments.items() if name != "prompt"}
        key = json.dumps([repr(order.source), str(order.limit), order.asks, order.tries, kind, arguments], default=repr)
        if not _is_prompt(order.arguments["prompt"]):
            return _with(upper_bound.worst(order, self._prices), notes)
        if key not in self._priced:
            self._priced[key] = upper_bound.worst(order, self._prices)
        return _with(self._priced[key], notes)

    def _table(self, task: Any, item: Item, groups: Mapping[int, Item]) -> Worst:
        if item is None:
            return Worst(None, notes=("the arguments of its items are unknown",))
        try:
            known = Known(_unmapped(task, item, "generate", self._sample), self._templates, groups)
        except Exception as error:  # noqa: BLE001 - the constructor may be the user's
            return Worst(None, notes=(f"the operator cannot be constructed ({type(error).__name__}: {error})",))
        order, notes = self._limits(known.task, known.value("max_cost_usd"))
        return _with(bulk.worst(known, order, self._prices), notes)

    def _limits(self, task: Any, limit: Any) -> tuple[PlannedRequest, tuple[str, ...]]:
        """Return limit and tries of a task whose requests are not known by its arguments."""
        tries, notes = _tries(task, remembers=self._remembers)
        order = PlannedRequest("generate", {}, limit=_dollars(limit), asks=task.on_limit == "ask", tries=tries)
        if limit is not None and order.limit is None:
            notes = (*notes, "max_cost_usd is unknown and ignored")
        return order, notes

    def _reviewed(self, task: Any, index: int, item: Item, groups: Mapping[int, Item]) -> Worst:
        """Return the price of further takes, if the review requests all of them."""
        try:
            known = Known(_unmapped(task, item, "edit", self._sample), self._templates, groups)
            most = int(known.value("max_takes"))
        except Exception as error:  # noqa: BLE001 - the constructor may be the user's, and so is the number
            return Worst(None, notes=(f"max_takes is unknown ({type(error).__name__})",))
        if most <= 1:
            return Worst(upper_bound.NOTHING, notes=("no further takes: max_takes=1",))
        video = known.value("video")
        made = self._made_by(video, known.task, index) if isinstance(video, Made) else []
        note = f"up to {most - 1} further takes, each only if you request it in the review"
        if not made or any(worst.usd is None for worst in made):
            return Worst(None, notes=(note, "the reviewed video has no known price"))
        worst_case = max(made, key=lambda worst: worst.usd or 0)
        return replace(worst_case, tries=most - 1, notes=(note,))

    def _order(self, known: Known, kind: Kind, index: int) -> tuple[PlannedRequest, tuple[str, ...]]:
        video = UNKNOWN if kind == "generate" else known.value("video")
        source = self._clip(video, known.task, index) if isinstance(video, Made) else ClipBound()
        tries, notes = _tries(known.task, remembers=self._remembers)
        limit = known.value("max_cost_usd")
        order = PlannedRequest(
            kind,
            {name: _plain(known.value(name)) for name in upper_bound.ARGUMENTS[kind]},
            source=source,
            limit=_dollars(limit),
            asks=known.task.on_limit == "ask",
            tries=tries,
        )
        if limit is not None and order.limit is None:
            notes = (*notes, "max_cost_usd is unknown and ignored")
        return order, notes

    def _made_by(self, made: Made, by: Any, index: int) -> list[Worst]:
        """Return the possible purchases behind a value from another task."""
        found = self._worsts_of(made.task) if is_ours(made.task) else []
        if made.index is not None:
            return found[made.index : made.index + 1]
        same_groups = list(by.iter_mapped_task_groups()) == list(made.task.iter_mapped_task_groups())
        return found[index : index + 1] if same_groups else found

    def _clip(self, made: Made, by: Any, index: int) -> ClipBound:
        """Return the known facts of a clip from another task."""
        clips = [worst.clip for worst in self._made_by(made, by, index)]
        seconds = [clip.seconds for clip in clips]
        resolutions = {clip.resolution for clip in clips}
        longest = max((each for each in seconds if each is not None), default=None)
        return ClipBound(None if None in seconds else longest, resolutions.pop() if len(resolutions) == 1 else None)


def is_ours(task: Any) -> bool:
    """Return whether a task, mapped or not, is of an operator of this provider or derived from one."""
    return issubclass(_class_of(task), GrokVideoPaidOperator)


def _class_of(task: Any) -> type[Any]:
    found: type[Any] = task.operator_class if is_mapped(task) else type(task)
    return found


def _expand_input(task: Any) -> Any:
    """Return what a mapped task is expanded by: of a decorated function, its arguments."""
    return getattr(task, "op_kwargs_expand_input", task.expand_input)


def _said(task: Any) -> dict[str, Any]:
    """Return what a decorated task, mapped or not, says of its limits."""
    names = {"max_cost_usd": None, "on_limit": "fail", "resubmit_on": ()}
    given = task.partial_kwargs if is_mapped(task) else vars(task)
    return {"retries": task.retries, **{name: given.get(name, default) for name, default in names.items()}}


def _kind_of(task: Any) -> Kind | None:
    """Return the kind of a task's request; None if a subclass builds its own."""
    operator = _class_of(task)
    for kind, known in _KINDS.items():
        if issubclass(operator, known) and operator.build_request is known.build_request:
            return kind
    return None


def _unmapped(task: Any, item: Item, kind: Kind, sample: Sample) -> Any:
    if not is_mapped(task):
        return task
    if item is None:
        arguments = upper_bound.ARGUMENTS[kind]
        given = arguments if kind == "generate" else ("video", *arguments)
        if sample.like is not None:
            # Arguments that the user does not set have their defaults.
            given = tuple(name for name in given if name in ("prompt", "video"))
            item = {name: value for name, value in sample.like.items() if name in arguments}
        item = {**dict.fromkeys(given, UNKNOWN), **(item or {})}
        item = {name: value for name, value in item.items() if name not in task.partial_kwargs}
    return task.unmap(item)


def _is_prompt(value: Any) -> bool:
    return value is UNKNOWN or (isinstance(value, str) and value.strip() not in ("", "None"))


def _tries(task: Any, *, remembers: bool) -> tuple[int, tuple[str, ...]]:
    """Return the maximum number of purchases of a task instance, and the reason."""
    reasons = []
    if again := sorted(str(each) for each in task.resubmit_on or () if each != "cleared"):
        reasons.append(f"resubmit_on={again}")
    if not remembers:
        reasons.append("no journal")
    tries = int(task.retries or 0) + 1
    if not reasons or tries == 1:
        return 1, ()
    return tries, (f"up to {tries} purchases each: retries={tries - 1} with {', '.join(reasons)}",)


def have_journal() -> bool:
    """Return whether tasks have a journal: in the configured path, or in Airflow's task state store (3.3+)."""
    path = (conf.get("grokvideo", "journal_path", fallback="") or "").strip()
    return bool(path) or NEVER_EXPIRE is not None


def _dollars(value: Any) -> Any:
    try:
        return None if value is None or value is UNKNOWN else amount(value, "max_cost_usd")
    except InvalidInput:
        return None


def _plain(value: Any) -> Any:
    """Return a value for a request, with unknown values from other tasks."""
    if isinstance(value, Made):
        return UNKNOWN
    if isinstance(value, list):
        return [_plain(part) for part in value]
    return {key: _plain(part) for key, part in value.items()} if isinstance(value, dict) else value


def _with(worst: Worst, notes: tuple[str, ...]) -> Worst:
    return replace(worst, notes=(*worst.notes, *notes))
