"""Argument types that accept values of DAG files and of rendered templates, or raise :class:`InvalidInput`."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationError, ValidationInfo

from airflow_provider_grokvideo.core import models
from airflow_provider_grokvideo.core.errors import InvalidInput
from airflow_provider_grokvideo.core.numbers import number_in
from airflow_provider_grokvideo.core.texts import can_be_sent

_WHOLE = re.compile(r"([+-]?[0-9]{1,9})(?:\.0*)?")


def _text(value: object, info: ValidationInfo) -> str:
    field = info.field_name or "prompt"
    if not isinstance(value, str):
        hint = "" if value is None else "; native template rendering may have changed its type"
        raise InvalidInput(field, value, f"text{hint}")
    if not can_be_sent(value):
        raise InvalidInput(field, value, "text without a lone surrogate (half an emoji), which cannot be sent")
    if not value.strip() or value.strip() == "None":
        raise InvalidInput(field, value, "non-empty text; a template may have rendered to nothing")
    return value


def _whole_seconds(value: object, info: ValidationInfo) -> int | None:
    if value is None:
        return None
    whole: int | None = None
    if isinstance(value, str):
        found = _WHOLE.fullmatch(value.strip())
        whole = int(found[1]) if found else None
    elif isinstance(value, int) and not isinstance(value, bool):
        whole = value
    elif isinstance(value, float) and value.is_integer():
        whole = int(value)
    if whole is None:
        hint = "; a template may have rendered to nothing" if value in ("", "None") else ""
        raise InvalidInput(
            info.field_name or "duration", value, f"a whole number of seconds, or None for the default{hint}"
        )
    return whole


def _moment(value: object, info: ValidationInfo) -> float:
    try:
        read = number_in(value) if isinstance(value, str) else value
        number = float(read) if isinstance(read, int | float) and not isinstance(read, bool) else math.nan
    except (ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise InvalidInput(info.field_name or "timestamp_s", value, "a number of seconds")
    return number


def _flag(value: object, info: ValidationInfo) -> bool | None:
    words = {"true": True, "false": False}
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in words:
        return words[value.strip().lower()]
    raise InvalidInput(info.field_name or "generate_audio", value, "True or False")


def _one_of(*allowed: str) -> BeforeValidator:
    def check(value: object, info: ValidationInfo) -> object:
        if value is None or value in allowed:
            return value
        raise InvalidInput(info.field_name or "value", value, f"one of {', '.join(allowed)}, or None for the default")

    return BeforeValidator(check)


def sequence(value: object, info: ValidationInfo) -> Sequence[Any]:
    """Return a list, and refuse text: a template may have rendered a list to text."""
    # Airflow hands over the results of a mapped task as a lazy sequence.
    if isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray | memoryview):
        return list(value)
    raise InvalidInput(
        info.field_name or "list",
        value,
        "a list; pass the upstream task's .output, or set render_template_as_native_obj=True on the DAG",
    )


Text = Annotated[str, BeforeValidator(_text)]
Name = Annotated[str, BeforeValidator(_text), AfterValidator(str.strip)]
Seconds = Annotated[int | None, BeforeValidator(_whole_seconds)]
AspectRatio = Annotated[str | None, _one_of(*models.ASPECT_RATIOS)]
Resolution = Annotated[str | None, _one_of(*models.RESOLUTIONS)]
Flag = Annotated[bool | None, BeforeValidator(_flag)]
Moment = Annotated[float, BeforeValidator(_moment)]


class Value(BaseModel):
    """A frozen model that raises :class:`InvalidInput` instead of pydantic's errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    def __init__(self, **words: Any) -> None:
        try:
            super().__init__(**words)
        except ValidationError as problem:
            raise _readable(problem, type(self)) from None

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """Leave out unset fields and signed URLs, so that a request can be logged."""
        for name, value in super().__repr_args__():
            if value not in (None, ()):
                yield name, "..." if name == "output" else value


def _readable(problem: ValidationError, kind: type[BaseModel]) -> InvalidInput:
    """Turn pydantic's first error into an :class:`InvalidInput`."""
    first = problem.errors(include_url=False)[0]
    field = ".".join(str(part) for part in first["loc"]) or "request"
    if first["type"] == "missing":
        return InvalidInput(field, None, f"a value; {kind.__name__} requires it")
    if first["type"] == "extra_forbidden":
        allowed = ", ".join(kind.model_fields)
        return InvalidInput(field, first["input"], f"one of the arguments of {kind.__name__} ({allowed})")
    return InvalidInput(field, first["input"], first["msg"].removeprefix("Input should be "))
