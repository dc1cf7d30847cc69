"""Values of task arguments before the task runs."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Set
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from jinja2 import StrictUndefined, Undefined, meta, nodes
from jinja2.nativetypes import NativeEnvironment
from jinja2.sandbox import SandboxedEnvironment

from airflow_provider_grokvideo.core.billing.upper_bound import UNKNOWN, Unknown

_DELIMITERS = frozenset({
    "block_start_string", "block_end_string", "variable_start_string", "variable_end_string", "comment_start_string",
    "comment_end_string", "line_statement_prefix", "line_comment_prefix", "trim_blocks", "lstrip_blocks",
    "newline_sequence", "keep_trailing_newline",
})  # fmt: skip

_CERTAINLY_PLAIN = re.compile(r"[\w. -]+")
"""Text that is no template in any syntax."""

_NAMES = frozenset({"params", "range", "dict", "namespace"})
"""Names with the same meaning in every run."""


@dataclass(frozen=True)
class Made:
    """Placeholder for the manifest that another task of the DAG returns.

    Attributes:
        task: The task.
        index: Number of its instance, counted over all map indexes; None for its only instance in the same run or task
            group item.
    """

    task: Any
    index: int | None = None


class _SandboxedNative(SandboxedEnvironment, NativeEnvironment):
    pass


class Templates:
    """Renders templates that only need the params' defaults.

    The environment has the DAG's delimiters, but not its filters and macros, whose results are only known at run time.
    """

    def __init__(self, dag: Any) -> None:
        options = dict(dag.jinja_environment_kwargs or {})
        options.pop("undefined", None)
        self._plain = set(options) <= _DELIMITERS
        self._native = bool(dag.render_template_as_native_obj)
        self._options = options
        self._dag = dag

    def render(self, text: str, task: Any) -> Any:
        """Return the rendered template, or :data:`UNKNOWN`."""
        if text.endswith(tuple(task.template_ext or ())):
            return UNKNOWN
        if not self._plain:
            return text if _CERTAINLY_PLAIN.fullmatch(text) else UNKNOWN
        native = getattr(task, "render_template_as_native_obj", None)
        kind = _SandboxedNative if (self._native if native is None else native) else SandboxedEnvironment
        try:
            environment = kind(undefined=StrictUndefined, **self._options)
            for name in self._dag.user_defined_filters or ():
                environment.filters.pop(name, None)
            if not _is_known(environment.parse(text), _NAMES - set(self._dag.user_defined_macros or ())):
                return UNKNOWN
            rendered: Any = environment.from_string(text).render(params=self._params(task))
        except Exception:  # noqa: BLE001 - a template can fail in any way, and will when the task runs
            return UNKNOWN
        return UNKNOWN if isinstance(rendered, Undefined) else rendered

    def _params(self, task: Any) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for params in (self._dag.params, task.params):
            for name in params:
                try:
                    found[name] = copy.deepcopy(params[name])
                except Exception:  # noqa: BLE001 - a param without a value, or with one that its schema refuses
                    found.pop(name, None)
        return found


@dataclass(frozen=True)
class Known:
    """The arguments of one task instance.

    Attributes:
        task: The unmapped operator.
        templates: Templates of its DAG.
        groups: Arguments of each mapped task group around it, by the id of its expand input.
    """

    task: Any
    templates: Templates
    groups: Mapping[int, Mapping[str, Any] | None]

    def value(self, name: str) -> Any:
        """Return an argument, with :data:`UNKNOWN` in place of values that are only known at run time."""
        return self._resolved(getattr(self.task, name, UNKNOWN), templated=name in self.task.template_fields)

    def _resolved(self, value: Any, *, templated: bool) -> Any:
        if isinstance(value, str):
            return self.templates.render(value, self.task) if templated else value
        if isinstance(value, Unknown | Made | PurePath) or hasattr(value, "protocol"):
            return value
        if isinstance(value, Mapping):
            return {key: self._resolved(part, templated=templated) for key, part in value.items()}
        if isinstance(value, list | tuple):
            return [self._resolved(part, templated=templated) for part in value]
        return self._later(value)

    def _later(self, value: Any) -> Any:
        """Return a value that Airflow resolves at run time, if it is known before."""
        from airflow.sdk.definitions._internal.expandinput import MappedArgument

        if isinstance(value, MappedArgument):
            item = self.groups.get(id(value._input))
            found = UNKNOWN if item is None else item.get(value._key, UNKNOWN)
            return found if isinstance(found, Made) else self._resolved(found, templated=True)
        if (task := made_by(value)) is not None:
            return Made(task) if _groups_of(task) <= _groups_of(self.task) and not is_mapped(task) else UNKNOWN
        return UNKNOWN if callable(value) or hasattr(value, "resolve") else value


def made_by(value: Any) -> Any:
    """Return the task whose return value this is; None for anything else, including a part of one."""
    from airflow.sdk.definitions.xcom_arg import PlainXComArg

    return value.operator if isinstance(value, PlainXComArg) and value.key == "return_value" else None


def is_mapped(task: Any) -> bool:
    """Return whether a task is mapped itself, not just by a task group around it."""
    return hasattr(task, "operator_class") and hasattr(task, "expand_input")


def _groups_of(task: Any) -> set[int]:
    return {id(group) for group in task.iter_mapped_task_groups()}


def _is_known(tree: nodes.Template, names: Set[str]) -> bool:
    """Return whether a template renders equally in every run, given the names with the same meaning in every run."""
    of_other_files = next(meta.find_referenced_templates(tree), "") != ""
    if of_other_files or not meta.find_undeclared_variables(tree) <= names:
        return False
    return not any(each.name == "random" for each in tree.find_all(nodes.Filter))
