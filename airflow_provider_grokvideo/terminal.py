"""Terminal output and exit codes of the command line."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Callable

from airflow_provider_grokvideo.core.errors import GrokVideoError

DONE, NOTHING, FAILED, INCOMPLETE = 0, 1, 2, 3
"""Exit codes: success; nothing found or changed; failure; incomplete result."""


def use_any_terminal() -> None:
    """Print characters that the terminal's encoding lacks as escapes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def guarded(run: Callable[[argparse.Namespace], int], options: argparse.Namespace) -> int:
    """Run a command; an error of this provider becomes a line on standard error and an exit code."""
    try:
        return int(run(options))
    except GrokVideoError as error:
        # The advice of these errors is for tasks, so a terminal only shows the fact.
        complain(error.what)
        return FAILED


def say(*lines: str) -> None:
    """Print lines of the result; text from outside must be :func:`printable`."""
    sys.stdout.write("".join(f"{line}\n" for line in lines))


def tell(text: str) -> None:
    """Print a message on standard error."""
    sys.stderr.write("".join(f"{printable(line)}\n" for line in text.splitlines()))


def complain(what: str) -> None:
    """Print an error on standard error."""
    tell(f"error: {what}")


def printable(text: str) -> str:
    """Replace control characters, which could move a terminal's cursor."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
