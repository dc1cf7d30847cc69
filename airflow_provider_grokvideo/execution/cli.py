"""``grokvideo generate``: one paid video from a shell, with the journal and the ledger that tasks use.

Exit codes: 0 delivered, 1 not submitted because the price was refused, 2 failed; the same command resumes.
"""

from __future__ import annotations

import argparse
import getpass
import hashlib
import json
import logging
import os
import re
import sys
from typing import TYPE_CHECKING, Any, cast

from airflow_provider_grokvideo.core import requests
from airflow_provider_grokvideo.core.errors import AmbiguousSubmit, GrokVideoError, InvalidInput, JournalUnavailable
from airflow_provider_grokvideo.core.jobs import Pending
from airflow_provider_grokvideo.core.polling import decisions
from airflow_provider_grokvideo.core.purchases.records import Owner
from airflow_provider_grokvideo.core.texts import can_be_sent
from airflow_provider_grokvideo.terminal import DONE, FAILED, NOTHING, complain, say, tell

if TYPE_CHECKING:
    from airflow_provider_grokvideo.core.requests import VideoRequest
    from airflow_provider_grokvideo.execution.manifest import Source
    from airflow_provider_grokvideo.execution.ports import Next
    from airflow_provider_grokvideo.execution.run import PaidRun
    from airflow_provider_grokvideo.hooks.grokvideo import GrokVideoHook

DAG_ID, TASK_ID = "grokvideo", "generate"
"""The names under which the journal and the ledger have what the command bought."""

_SCHEME = re.compile("[A-Za-z][A-Za-z0-9+.-]*:")

_ARGUMENTS = ("prompt", "model", "duration", "aspect_ratio", "resolution", "image")


def add(commands: Any) -> None:
    """Add the command ``generate``; options get a ``run`` that takes them and returns the exit code."""
    parser = commands.add_parser(
        "generate",
        help="make one video, with the journal and the ledger of the tasks",
        description=(
            "Make one video. The command shows the price and asks before it submits. If it is interrupted, run it "
            "again: it resumes the same request at no new charge."
        ),
        epilog="The API key comes from XAI_API_KEY, or from the Airflow connection that --conn-id names.",
    )
    parser.add_argument("--prompt", required=True, metavar="TEXT")
    parser.add_argument(
        "--destination", required=True, metavar="URL", help="MP4 file or directory, local or an object URL"
    )
    for name in _ARGUMENTS[1:]:
        parser.add_argument(f"--{name.replace('_', '-')}", metavar=name.upper(), help="as in GrokVideoGenerateOperator")
    parser.add_argument("--name", metavar="NAME", help="another name makes another video of the same prompt")
    parser.add_argument(
        "--conn-id", metavar="ID", help="Airflow connection; default XAI_API_KEY, else grokvideo_default"
    )
    parser.add_argument(
        "--timeout", type=float, default=decisions.DEFAULT_TIMEOUT, metavar="S", help="default %(default)s"
    )
    parser.add_argument("--max-cost-usd", metavar="USD", help="submit without a question up to this price")
    parser.add_argument("--yes", action="store_true", help="submit without a question at any price")
    parser.set_defaults(run=generate)


class Command:
    """The order and the host of one command.

    Args:
        options: Of the command line.

    Attributes:
        destination: The same text for the same place, in whatever directory the command runs.

    Raises:
        InvalidInput: The destination or the name is no text.
    """

    interruptions: tuple[type[BaseException], ...] = (KeyboardInterrupt, Exception)

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._kept: dict[str, Any] = {}
        self.destination = _whole("--destination", options.destination)
        name = options.name or hashlib.sha256(self.destination.encode()).hexdigest()[:16]
        if not can_be_sent(name):
            raise InvalidInput("--name", name, "a name that UTF-8 can encode")
        self.owner = Owner(DAG_ID, name, TASK_ID)

    def build_request(self) -> VideoRequest:
        """Return the request that the options describe."""
        given = {name: getattr(self._options, name) for name in _ARGUMENTS}
        return requests.generation(**{name: value for name, value in given.items() if value is not None})

    def known_source(self) -> Source:
        """Return nothing: no clip is edited."""
        from airflow_provider_grokvideo.execution.manifest import Source

        return Source()

    def made_from(self) -> tuple[str, Any] | None:
        """Return the first frame, where there is one."""
        return None if self._options.image is None else ("image", self._options.image)

    def keep(self, key: str, value: Any) -> None:
        """Keep a value for this command."""
        self._kept[key] = value

    def recall(self, key: str) -> Any:
        """Return a value that was kept."""
        return self._kept.get(key)

    def show(self, outcome: str | None, **facts: Any) -> None:
        """Print how far the run is."""
        record = facts.get("record")
        if outcome == "submitting":
            usd = facts["estimated_usd"]
            tell(f"submitting; estimated cost {'unknown' if usd is None else f'{usd} USD'}")
        elif outcome == "waiting" and record is not None and facts.get("made") is None:
            tell(f"waiting for request {record.request_id}")


def generate(options: argparse.Namespace) -> int:
    """Make the video; print its manifest."""
    from airflow_provider_grokvideo.execution.options import RunOptions
    from airflow_provider_grokvideo.execution.ports import Services
    from airflow_provider_grokvideo.execution.run import PaidRun

    try:
        command = Command(options)
    except GrokVideoError as error:
        complain(error.what)
        return FAILED
    ours = logging.getLogger("airflow_provider_grokvideo")
    before = ours.level
    # The command prints its own progress.
    ours.setLevel(logging.WARNING)
    try:
        hook = _hook(options.conn_id)
        asks = not options.yes and options.max_cost_usd is None
        given = RunOptions(
            grokvideo_conn_id=hook.grokvideo_conn_id,
            destination=command.destination,
            deferrable=False,
            timeout=options.timeout,
            max_cost_usd=0 if asks else options.max_cost_usd,
            on_limit="ask" if asks else "fail",
        )
        run = PaidRun(command, given, Services(command, hook, lambda: _journal(command.owner)))
        return _carry_out(run.run(), run)
    except GrokVideoError as error:
        complain(f"{error.what}\n{_advice(error, command.owner)}")
    except KeyboardInterrupt:
        complain("interrupted; the same command continues where it stopped")
    finally:
        ours.setLevel(before)
    return FAILED


def _advice(error: GrokVideoError, owner: Owner) -> str:
    """Return what to do, for a command instead of a task."""
    if isinstance(error, AmbiguousSubmit):
        return (
            "xAI may have accepted and billed it, so nothing is sent again. Look for it in the xAI console.\n"
            f"  Found:      {owner.command('adopt', '<request id>')}\n"
            f"  Not found:  {owner.command('forget')}\n"
            "Then run the same command again."
        )
    if error.request_id:
        return f"Run the same command again to resume request {error.request_id} at no new charge."
    return error.what_to_do


def _carry_out(found: Next, run: PaidRun) -> int:
    from airflow_provider_grokvideo.execution import ports

    while True:
        match found:
            case ports.Finished(manifest):
                say(json.dumps(manifest, indent=2))
                return DONE
            case ports.WaitFor():
                found = run.wait(found, _progress)
            case ports.RunAgain(at):
                found = run.run_at(at)
            case ports.AskApproval(subject, body):
                tell(f"{body.partition(chr(10))[0].replace('**', '')}\n{subject} [y/N]")
                yes = sys.stdin.readline().strip().lower() in ("y", "yes")
                found = run.respond(_response(yes))
            case ports.SkipTask(why):
                complain(why)
                return NOTHING


def _response(yes: bool) -> dict[str, Any]:
    """Return what Airflow would hand over for the same response."""
    from airflow_provider_grokvideo.execution.approval import BUY, REFUSE

    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        # In a container the user may have a number and no name.
        name = ""
    return {"chosen_options": [BUY if yes else REFUSE], "responded_by_user": {"name": name}}


def _whole(option: str, destination: str) -> str:
    """Return a destination with its whole path, where it is a local one."""
    if not can_be_sent(destination) or "\0" in destination:
        raise InvalidInput(option, destination, "a path or URL that UTF-8 can encode")
    if not destination.strip() or _SCHEME.match(destination):
        return destination
    try:
        path = os.path.abspath(os.path.expanduser(destination))  # noqa: PTH100, PTH111 - pathlib keeps '..'
    except OSError as error:
        raise InvalidInput(option, destination, f"a path from the root ({error})") from error
    return f"{path}/" if destination.endswith("/") else path


def _progress(watch: decisions.Watch, seen: object, now: float) -> None:
    """Draw a progress bar."""
    percent = seen.progress or 0 if isinstance(seen, Pending) else 100
    bar = "#" * (percent // 4)
    sys.stderr.write(f"\r[{bar:<25}] {percent:3} %  {now - watch.since:4.0f} s")
    sys.stderr.write("" if isinstance(seen, Pending) else "\n")
    sys.stderr.flush()


def _journal(owner: Owner) -> Any:
    from airflow_provider_grokvideo.execution.journal import TaskJournal
    from airflow_provider_grokvideo.execution.task import backend_of

    backend = backend_of(owner, None)
    if backend is None:
        raise JournalUnavailable(
            "this command needs a journal", advice="Set [grokvideo] journal_path, ledger_conn_id or ledger_path."
        )
    return TaskJournal(backend, owner, try_number=2, interruptions=Command.interruptions)


def _hook(conn_id: str | None) -> GrokVideoHook:
    from airflow_provider_grokvideo.client.account import ENV_KEY, account_from_env
    from airflow_provider_grokvideo.hooks.grokvideo import GrokVideoHook

    hook = GrokVideoHook(conn_id or GrokVideoHook.default_conn_name)
    if conn_id is None and os.environ.get(ENV_KEY):
        hook.use(cast("Any", account_from_env()))
    return hook
