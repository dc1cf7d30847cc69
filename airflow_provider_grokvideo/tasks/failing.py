"""How our errors reach Airflow: as what they are, and without a retry where a retry cannot help or would buy again."""

from __future__ import annotations

from airflow_provider_grokvideo.compat import AirflowFailException
from airflow_provider_grokvideo.core.errors import GrokVideoError


def for_airflow(error: GrokVideoError) -> GrokVideoError:
    """Return the error to raise from a task: the same, and fail-without-retry where a retry cannot help."""
    return error if error.retry_helps else final(error)


def final(error: GrokVideoError) -> GrokVideoError:
    """Return the error as one that Airflow does not retry, whatever it is."""
    if isinstance(error, AirflowFailException):
        return error
    kind = _final_kind(type(error))
    # Constructors differ within the family, so the state is carried over instead of the arguments.
    twin = kind.__new__(kind, *error.args)
    twin.__dict__.update(error.__dict__)
    return twin


def final_after_purchase(error: GrokVideoError) -> GrokVideoError:
    """Return an error that came up after a video was bought: Airflow's retry would buy a second one.

    The advice names the way to the video that costs nothing.
    """
    rescue = (
        "This task does not retry, because a retry would buy a second video. "
        f"GrokVideoSensor(request_id={error.request_id!r}) with a destination fetches this one for free."
    )
    if error.retry_helps:
        error.what_to_do = f"{error.what_to_do} {rescue}"
    return final(error)


_FINAL: dict[type[GrokVideoError], type[GrokVideoError]] = {}


def _final_kind(kind: type[GrokVideoError]) -> type[GrokVideoError]:
    """Return the class that is both `kind` and Airflow's fail-without-retry exception; always the same one."""
    if kind not in _FINAL:
        words = {"__doc__": kind.__doc__, "__module__": kind.__module__}
        _FINAL[kind] = type(kind.__name__, (kind, AirflowFailException), words)
    return _FINAL[kind]
