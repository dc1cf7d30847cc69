"""``grokvideo``: the command line of this provider, also as ``python -m airflow_provider_grokvideo``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from airflow_provider_grokvideo import __version__
from airflow_provider_grokvideo.execution import cli as generate
from airflow_provider_grokvideo.journal import cli as journal
from airflow_provider_grokvideo.ledger import cli as ledger
from airflow_provider_grokvideo.planning import cli as plan
from airflow_provider_grokvideo.terminal import use_any_terminal


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    use_any_terminal()
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["emulator"]:
        from airflow_provider_grokvideo.emulator.__main__ import main as emulate

        # Its options are its own: the emulator also runs where the rest of the provider is not imported.
        return emulate(given[1:])
    options = _parser().parse_args(given)
    return int(options.run(options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="grokvideo", description="Command line of the Grok video provider for Apache Airflow."
    )
    parser.add_argument("--version", action="version", version=__version__)
    parser.set_defaults(run=lambda _: _help(parser))
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    journal.add(commands, ledger.open_sql_journal)
    ledger.add(commands)
    plan.add(commands)
    generate.add(commands)
    commands.add_parser("emulator", help="run an emulator of xAI's video API on this machine", add_help=False)
    return parser


def _help(parser: argparse.ArgumentParser) -> int:
    parser.print_help()
    return 0


if __name__ == "__main__":
    sys.exit(main())
