"""What the command lines share: exit codes, and how to speak to a person at a terminal."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Callable

from airflow_provider_grokvideo.core.errors import GrokVideoError

DONE, NOTHING, FAILED, INCOMPLETE = 0, 1, 2, 3
"""Exit codes: done; nothing was found or changed; it could not be done; something was left out."""


def use_any_terminal() -> None:
    """Let the terminal show what its encoding has no letter for as an escape, instead of ending the command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def guarded(run: Callable[[argparse.Namespace], int], options: argparse.Namespace) -> int:
    """Run a command; an error of ours becomes a line on standard error and an exit code."""
    try:
        return int(run(options))
    except GrokVideoError as error:
        # The advice of these errors is for tasks; a person at a terminal needs the fact.
        complain(error.what)
        return FAILED


def say(*lines: str) -> None:
    """Print lines of the answer; what comes from outside has to be :func:`printable`."""
    sys.stdout.write("".join(f"{line}\n" for line in lines))


def tell(text: str) -> None:
    """Print what is not the answer on standard error."""
    sys.stderr.write("".join(f"{printable(line)}\n" for line in text.splitlines()))


def complain(what: str) -> None:
    """Print what went wrong."""
    tell(f"error: {what}")


def printable(text: str) -> str:
    """Return a text that cannot move a terminal's cursor."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
