"""Decorator ``@task.grokvideo``: a function that says which video, or which table of videos, its task makes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from os import PathLike
from typing import TYPE_CHECKING, Any, ClassVar, Literal, overload

from airflow.sdk.bases.decorator import DecoratedOperator, task_decorator_factory

from airflow_provider_grokvideo.compat import wanted
from airflow_provider_grokvideo.core.bulk import columns
from airflow_provider_grokvideo.core.errors import GrokVideoError, InvalidInput, JournalUnavailable
from airflow_provider_grokvideo.execution import airflow_errors, task
from airflow_provider_grokvideo.links.grokvideo import GrokVideoLink, XAIRequestLink
from airflow_provider_grokvideo.operators.base import GrokVideoBaseOperator, GrokVideoPaidOperator
from airflow_provider_grokvideo.operators.grokvideo import (
    GrokVideoBulkOperator,
    GrokVideoEditOperator,
    GrokVideoExtendOperator,
    GrokVideoGenerateOperator,
)

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.bases.decorator import FParams, FReturn, Task, TaskDecorator

    from airflow_provider_grokvideo.core.bulk.returned import Returned, Rows, Video

__all__ = ["GrokVideoDecoratedOperator", "grokvideo_task"]

KEPT = "grokvideo_returned"
"""XCom key of what the function has returned in this try."""

_OPERATORS: dict[str, type[GrokVideoBaseOperator]] = {
    "generate": GrokVideoGenerateOperator,
    "edit": GrokVideoEditOperator,
    "extend": GrokVideoExtendOperator,
}
_OF_TABLES = (
    "id_column", "table", "max_in_flight", "min_success_ratio", "on_row_error", "on_bad_rows",
)  # fmt: skip
_OF_ALL = (
    "destination", "deliver_via", "grokvideo_conn_id", "deferrable", "timeout", "poll_interval", "on_moderated",
    "resubmit_on", "max_cost_usd", "budgets", "on_limit", "response_timeout", "assigned_users",
)  # fmt: skip
_OF_ONE = (*_OF_ALL, "wait_for_completion")
_RETRY = "A retry calls the function again and finds in the journal what was submitted."
_NO_RETRY = (
    "There is no journal, so a retry would submit again. The request id is in the log; GrokVideoSensor fetches its "
    "video."
)


class GrokVideoDecoratedOperator(DecoratedOperator, GrokVideoPaidOperator):
    """Call a function, and make the video or the table of videos that it returns.

    The function returns a prompt, a mapping of arguments, or an iterable of mappings. A prompt or a mapping makes one
    video, as :class:`GrokVideoGenerateOperator`, :class:`GrokVideoEditOperator` or :class:`GrokVideoExtendOperator`
    does; an iterable makes a table, as :class:`GrokVideoBulkOperator` does, and so does the path of a ``.csv``,
    ``.jsonl`` or ``.parquet`` file. The arguments of the decorator are those of these operators; what the function
    returns wins over them.

    A prompt or a mapping that the function returns is rendered, as the command of ``@task.bash`` is. Rows of a table
    are data, as those of a file are, and are not.

    The function is called once per try: what it returned is kept in XCom for the legs after a deferral.

    :param mode: ``generate``, ``edit`` or ``extend``. None lets the arguments decide: a clip with a duration is
        extended, one without is edited, and without a clip a video is generated. Rows without one are generated.
    """

    template_fields: Sequence[str] = (
        *DecoratedOperator.template_fields, "mode", *columns.ALL_ARGUMENTS, "id_column", "defaults", "table",
        "max_in_flight", "min_success_ratio", *GrokVideoPaidOperator.template_fields,
    )  # fmt: skip
    template_fields_renderers: ClassVar[dict[str, str]] = {
        **GrokVideoGenerateOperator.template_fields_renderers,
        **DecoratedOperator.template_fields_renderers,
        "defaults": "json",
    }
    operator_extra_links = (GrokVideoLink(), XAIRequestLink())
    custom_operator_name = "@task.grokvideo"
    overwrite_rtif_after_execution = True
    """Airflow shows the arguments of one video among the rendered fields."""

    _inner: GrokVideoBaseOperator | GrokVideoBulkOperator | None = None
    """The operator that carries out this leg, for :meth:`on_kill`."""

    def __init__(
        self,
        *,
        mode: Literal["generate", "edit", "extend"] | None = None,
        prompt: str | None = None,
        model: str | None = None,
        duration: int | str | None = None,
        aspect_ratio: str | None = None,
        resolution: str | None = None,
        image: Any = None,
        reference_images: Sequence[Any] | None = None,
        reference_audios: Sequence[Any] | None = None,
        last_frame: Any = None,
        keyframes: Sequence[dict[str, Any]] | None = None,
        generate_audio: bool | None = None,
        storage_options: dict[str, Any] | None = None,
        video: Any = None,
        wait_for_completion: bool = True,
        id_column: str = "id",
        defaults: Mapping[str, Any] | None = None,
        table: str | None = None,
        max_in_flight: int | str = 20,
        min_success_ratio: float | str = 1.0,
        on_row_error: Literal["collect", "stop"] = "collect",
        on_bad_rows: Literal["fail", "skip"] = "fail",
        python_callable: Callable[..., Any],
        op_args: Collection[Any] | None = None,
        op_kwargs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(python_callable=python_callable, op_args=op_args, op_kwargs=op_kwargs, **kwargs)
        self.mode = mode
        self.prompt = prompt
        self.model = model
        self.duration = duration
        self.aspect_ratio = aspect_ratio
        self.resolution = resolution
        self.image = image
        self.reference_images = reference_images
        self.reference_audios = reference_audios
        self.last_frame = last_frame
        self.keyframes = keyframes
        self.generate_audio = generate_audio
        self.storage_options = storage_options
        self.video = video
        self.wait_for_completion = wait_for_completion
        self.id_column = id_column
        self.defaults = defaults
        self.table = table
        self.max_in_flight = max_in_flight
        self.min_success_ratio = min_success_ratio
        self.on_row_error = on_row_error
        self.on_bad_rows = on_bad_rows

    def execute(self, context: Context) -> Any:
        """Call the function, keep what it returned, and make that."""
        from airflow_provider_grokvideo.core.bulk import returned

        value = self._call(context)
        with _as_airflow_takes_it():
            found = returned.read(value, function=self._name, given=self._given(), options=_OF_ONE)
            inner = self._operator(found)
        context["ti"].xcom_push(key=KEPT, value=returned.to_kept(found))
        return inner.start(context)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume with what the function returned at the start of this try."""
        with _as_airflow_takes_it():
            inner = self._operator(self._kept(context))
        return inner.resume_execution(next_method, next_kwargs, context)

    def on_kill(self) -> None:
        """Say what killing the task cannot stop."""
        if self._inner is not None:
            self._inner.on_kill()

    @property
    def _name(self) -> str:
        return getattr(self.python_callable, "__name__", self.task_id)

    def _call(self, context: Context) -> Any:
        offered = {**context, **self.op_kwargs}
        value = self.python_callable(*self.op_args, **wanted(self.python_callable, self.op_args, offered))
        return self.render_template(_without_paths(value), context) if isinstance(value, str | Mapping) else value

    def _kept(self, context: Context) -> Returned:
        """Return what the function returned at the start of this try.

        Raises:
            JournalUnavailable: It is not there. The function is not called again: it may return something else.
        """
        from airflow_provider_grokvideo.core.bulk import returned

        ti: Any = context["ti"]
        cause: Exception | None = None
        try:
            found = returned.from_kept(ti.xcom_pull(task_ids=ti.task_id, key=KEPT, map_indexes=ti.map_index))
        except Exception as problem:  # noqa: BLE001 - whatever XCom raises, the request may be paid
            found, cause = None, problem
        if found is not None:
            return found
        why = f": {type(cause).__name__}: {cause}" if cause else ""
        has_journal = _has_journal(context)
        error = JournalUnavailable(
            f"what {self._name}() returned cannot be read from XCom (key {KEPT}){why}",
            advice=_RETRY if has_journal else _NO_RETRY,
        )
        error.retry_helps = has_journal
        raise error from cause

    def _given(self) -> dict[str, Any]:
        """Return the arguments of a request that the decorator has."""
        given = {name: getattr(self, name) for name in (*columns.ALL_ARGUMENTS, "mode")}
        return {name: value for name, value in given.items() if value is not None}

    def _operator(self, found: Returned) -> GrokVideoBaseOperator | GrokVideoBulkOperator:
        from airflow_provider_grokvideo.core.bulk.returned import Rows

        self._inner = self._of_table(found) if isinstance(found, Rows) else self._of_one(found)
        return self._inner

    def _of_one(self, found: Video) -> GrokVideoBaseOperator:
        for name, value in (*found.arguments.items(), ("mode", found.mode)):
            setattr(self, name, value)
        given = self._given()
        arguments = {name: given[name] for name in columns.ARGUMENTS[found.mode] if name in given}
        return _OPERATORS[found.mode](**arguments, **self._shared(_OF_ONE))

    def _of_table(self, found: Rows) -> GrokVideoBulkOperator:
        if self.wait_for_completion is not True:
            raise InvalidInput("wait_for_completion", self.wait_for_completion, "True for the rows of a table")
        defaults = self.defaults
        if defaults is None or isinstance(defaults, Mapping):
            defaults = {**self._given(), **(defaults or {})}
        return GrokVideoBulkOperator(rows=found.rows, defaults=defaults, **self._shared((*_OF_TABLES, *_OF_ALL)))

    def _shared(self, names: Sequence[str]) -> dict[str, Any]:
        """Return the arguments of the operator that makes the video, besides those of the request."""
        own = {name: getattr(self, name) for name in names}
        return {"task_id": self.task_id, "outlets": self.outlets, "execution_timeout": self.execution_timeout, **own}


def _without_paths(value: Any) -> Any:
    """Return a value with text in place of paths: Airflow 3.1 calls the `resolve` of whatever it renders."""
    if isinstance(value, Mapping):
        return {name: _without_paths(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_without_paths(part) for part in value]
    return str(value) if isinstance(value, PathLike) or hasattr(value, "protocol") else value


def _has_journal(context: Context) -> bool:
    """Return whether a retry cannot submit a second time: it finds the request, or has to read the journal first."""
    try:
        return task.backend_of(task.owner_in(context), context.get("task_state_store")) is not None
    except GrokVideoError:
        return True


@contextmanager
def _as_airflow_takes_it() -> Iterator[None]:
    """Turn errors into those that Airflow does not retry where a retry cannot help."""
    try:
        yield
    except GrokVideoError as error:
        raise airflow_errors.for_airflow(error) from error.__cause__


@overload
def grokvideo_task(python_callable: Callable[FParams, FReturn]) -> Task[FParams, FReturn]: ...


@overload
def grokvideo_task(**kwargs: Any) -> TaskDecorator: ...


def grokvideo_task(python_callable: Callable[..., Any] | None = None, **kwargs: Any) -> Any:
    """Turn a function into a task that makes the video, or the table of videos, that it returns.

    Args:
        python_callable: The function, where the decorator has no arguments.
        kwargs: Arguments of :class:`GrokVideoDecoratedOperator`.
    """
    return task_decorator_factory(
        python_callable=python_callable,
        multiple_outputs=False,
        decorated_operator_class=GrokVideoDecoratedOperator,
        **kwargs,
    )
