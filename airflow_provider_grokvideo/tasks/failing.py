"""How our errors reach Airflow: as what they are, and without a retry where a retry cannot help or would buy again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_grokvideo.compat import AirflowFailException, conf
from airflow_provider_grokvideo.core.errors import AmbiguousSubmit, GrokVideoError
from airflow_provider_grokvideo.core.journal import HOW_TO_CLEAR, Record
from airflow_provider_grokvideo.tasks.manifest import as_time
from airflow_provider_grokvideo.tasks.memory import outcome_of

NO_JOURNAL = (
    "This task has no journal, so a worker that dies after the submit lets a retry buy again. Set [grokvideo] "
    "journal_path, or run Airflow 3.3 or newer."
)


def for_airflow(error: GrokVideoError) -> GrokVideoError:
    """Return the error to raise from a task: the same, and fail-without-retry where a retry cannot help."""
    return error if error.retry_helps else final(error)


def final(error: GrokVideoError) -> GrokVideoError:
    """Return the error as one that Airflow does not retry, whatever it is."""
    if isinstance(error, AirflowFailException):
        return error
    twin = rebuilt(type(error), error.args, error.__dict__)
    twin.__cause__ = error.__cause__
    return twin


def final_after_purchase(error: GrokVideoError) -> GrokVideoError:
    """Return an error that came up after a video was bought: Airflow's retry would buy a second one.

    The advice names the way to the video that costs nothing.
    """
    rescue = (
        "This task does not retry, because a retry would buy a second video. "
        f"GrokVideoSensor(request_id={error.request_id!r}) with a destination fetches this one for free."
    )
    if outcome_of(error) is None and rescue not in error.what_to_do:
        error.what_to_do = f"{error.what_to_do} {rescue}"
    return final(error)


def after_purchase(error: GrokVideoError) -> GrokVideoError:
    """Return an error that came up after a purchase which the journal remembers: a retry goes on with that one."""
    kept = "The request is in the journal: a retry or a clear of this task goes on with it and buys nothing."
    if outcome_of(error) is None and kept not in error.what_to_do:
        error.what_to_do = f"{error.what_to_do} {kept}".lstrip()
    return for_airflow(error)


def unconfirmed(error: AmbiguousSubmit, record: Record) -> GrokVideoError:
    """Return the final error of a start that may have been accepted, with everything a person can do about it."""
    owner = record.owner
    stored = f", or for the file {record.stored_as} there" if record.stored_as else ""
    error.what_to_do = (
        "It may have been accepted and billed, so nothing is sent again. Look for it in the xAI console and in the "
        f"task's logs ('was accepted'){stored}.\n"
        f"  Found:      {owner.command('adopt', '<request id>')}\n"
        f"  Not found:  {owner.command('forget')}\n"
        f"{_needed()}"
        "Then clear the task: it fetches the adopted video, or submits again. With resubmit_on=['unconfirmed'] a retry "
        "submits again whenever this happens."
    )
    return final(error)


def _needed() -> str:
    """Return what the printed commands need besides a shell."""
    if (conf.get("grokvideo", "journal_path", fallback="") or "").strip():
        return "The commands read [grokvideo] journal_path; elsewhere add --journal-path.\n"
    return (
        "The commands ask Airflow's API: set AIRFLOW_API_TOKEN, or AIRFLOW_API_USERNAME and AIRFLOW_API_PASSWORD, "
        f"unless all users are admins; elsewhere add --api-url. {HOW_TO_CLEAR}\n"
    )


def doubt(record: Record) -> str:
    """Return what is known of a start whose request id nobody knows."""
    why = record.note or "its worker died before it wrote down the id"
    return (
        f"try {record.try_number or '?'} sent a start of {record.mode} at {as_time(record.intended_at)}, or was about "
        f"to, and its answer is not known: {why}"
    )


def left_behind(record: Record) -> str:
    """Return a warning about a purchase that the task's inputs, changed or unusable by now, leave behind."""
    if record.request_id is None:
        return f"With other inputs, {doubt(record)}"
    return (
        f"Request {record.request_id}, bought earlier at {as_time(record.submitted_at)}, was never delivered. "
        f"GrokVideoSensor(request_id={record.request_id!r}) with a destination fetches it for free."
    )


_FINAL: dict[type[GrokVideoError], type[GrokVideoError]] = {}


def rebuilt(kind: type[GrokVideoError], args: tuple[Any, ...], state: Mapping[str, Any]) -> GrokVideoError:
    """Make an error that is both `kind` and Airflow's fail-without-retry exception; pickles name this function."""
    if kind not in _FINAL:

        def reduce(self: GrokVideoError) -> tuple[Any, ...]:
            return rebuilt, (kind, self.args, self.__dict__)

        words = {"__doc__": kind.__doc__, "__module__": kind.__module__, "__reduce__": reduce}
        _FINAL[kind] = type(kind.__name__, (kind, AirflowFailException), words)
    # Constructors differ within the family, so the state is carried over instead of the arguments.
    twin = _FINAL[kind].__new__(_FINAL[kind], *args)
    twin.__dict__.update(state)
    return twin
