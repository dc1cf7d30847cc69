"""Errors as Airflow takes them: without a retry where a retry cannot help or would submit again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_grokvideo.compat import AirflowFailException
from airflow_provider_grokvideo.core.errors import GrokVideoError


def for_airflow(error: GrokVideoError) -> GrokVideoError:
    """Return the error to raise from a task: the same, and fail-without-retry where a retry cannot help."""
    return error if error.retry_helps or error.resubmits else final(error)


def final(error: GrokVideoError) -> GrokVideoError:
    """Return the error as one that Airflow does not retry, whatever it is."""
    if isinstance(error, AirflowFailException):
        return error
    twin = rebuilt(type(error), error.args, error.__dict__)
    twin.__cause__ = error.__cause__
    return twin


_FINAL: dict[type[GrokVideoError], type[GrokVideoError]] = {}


def rebuilt(kind: type[GrokVideoError], args: tuple[Any, ...], state: Mapping[str, Any]) -> GrokVideoError:
    """Make an error that is both `kind` and Airflow's fail-without-retry exception; pickles name this function."""
    if kind not in _FINAL:

        def reduce(self: GrokVideoError) -> tuple[Any, ...]:
            return rebuilt, (kind, self.args, self.__dict__)

        members = {"__doc__": kind.__doc__, "__module__": kind.__module__, "__reduce__": reduce}
        _FINAL[kind] = type(kind.__name__, (kind, AirflowFailException), members)
    # Constructors differ within the family, so the state is carried over instead of the arguments.
    twin = _FINAL[kind].__new__(_FINAL[kind], *args)
    twin.__dict__.update(state)
    return twin
