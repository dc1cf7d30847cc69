"""Advice in errors of a run: what a retry does, and how to reach a paid video."""

from __future__ import annotations

from collections.abc import Collection

from airflow_provider_grokvideo.core.errors import AmbiguousSubmit, GrokVideoError
from airflow_provider_grokvideo.core.purchases.records import Record
from airflow_provider_grokvideo.execution.journal import TaskJournal, outcome_of
from airflow_provider_grokvideo.execution.manifest import as_time

NO_JOURNAL = (
    "This task has no journal: if its worker dies after the submit, a retry submits again. Set [grokvideo] "
    "journal_path, or run Airflow 3.3 or newer."
)

KEEPS_RUNNING = (
    "Request %s keeps running at xAI and will be billed; the API has no cancel. Retry or clear this task to resume it "
    "(needs a journal), or use GrokVideoSensor(request_id=...)."
)
"""A log line for a task that was killed."""


def before_purchase(
    error: GrokVideoError, journal: TaskJournal | None, resubmit_on: Collection[str] = ()
) -> GrokVideoError:
    """Say what a retry does where this try has bought nothing, as far as is known.

    Args:
        error: What went wrong.
        journal: The task instance's, if it could be opened.
        resubmit_on: When the author lets a retry submit again.
    """
    if not isinstance(error, AmbiguousSubmit):
        for record in journal.records if journal else ():
            if record.is_orphan and record.request_id:
                # Whatever keeps this try from its inputs must not hide the video of an earlier one.
                error.what_to_do = f"{error.what_to_do} {left_behind(record)}".lstrip()
        return error
    if "unconfirmed" in resubmit_on:
        return _resubmits(error, "unconfirmed")
    return _unconfirmed(error, journal)


def after_purchase(error: GrokVideoError, *, retry_resumes: bool, resubmit_on: Collection[str] = ()) -> GrokVideoError:
    """Say what a retry does after a request was accepted.

    Args:
        error: What went wrong since.
        retry_resumes: The next try finds the request in the journal; else it would submit a second one, so Airflow must
            not retry.
        resubmit_on: When the author lets a retry submit again.
    """
    end = outcome_of(error)
    if retry_resumes and end is not None and end in resubmit_on:
        return _resubmits(error, end)
    if retry_resumes:
        advice = "The request is in the journal: a retry or clear of this task resumes it at no new charge."
    else:
        advice = (
            "This task does not retry, because a retry would submit again. "
            f"GrokVideoSensor(request_id={error.request_id!r}) with a destination fetches this video at no new charge."
        )
        error.retry_helps = False
    if end is None and advice not in error.what_to_do:
        error.what_to_do = f"{error.what_to_do} {advice}".lstrip()
    return error


def _resubmits(error: GrokVideoError, end: str) -> GrokVideoError:
    error.what_to_do = f"resubmit_on has {end!r}: a retry of this task submits again."
    error.resubmits = True
    return error


def _unconfirmed(error: AmbiguousSubmit, journal: TaskJournal | None) -> GrokVideoError:
    """Return the error of an unconfirmed submission with the two commands that settle it; Airflow must not retry it."""
    error.retry_helps = False
    record = journal.current if journal else None
    if journal is None or journal.backend is None or record is None:
        return error
    stored = f", or for the file {record.stored_as} there" if record.stored_as else ""
    error.what_to_do = (
        "xAI may have accepted and billed it, so nothing is sent again. Look for it in the xAI console and in the "
        f"task's logs ('was accepted'){stored}.\n"
        f"  Found:      {record.owner.command('adopt', '<request id>')}\n"
        f"  Not found:  {record.owner.command('forget')}\n"
        f"{journal.backend.access}\n"
        "Then clear the task: it fetches the adopted video, or submits again. With resubmit_on=['unconfirmed'] a retry "
        "submits again whenever this happens."
    )
    return error


def submission(record: Record) -> str:
    """Return what is known of a submission without a request id."""
    why = record.note or "its worker died first"
    return (
        f"try {record.try_number or '?'} may have submitted a {record.mode} request at {as_time(record.intended_at)}; "
        f"no request id was recorded ({why})"
    )


def left_behind(record: Record) -> str:
    """Return a warning about a purchase of other inputs that was not delivered."""
    if record.request_id is None:
        return f"With other inputs, {submission(record)}"
    return (
        f"Request {record.request_id}, submitted at {as_time(record.submitted_at)} with other inputs, was never "
        f"delivered. GrokVideoSensor(request_id={record.request_id!r}) with a destination fetches it at no new charge."
    )
