"""``python -m airflow_provider_grokvideo``: what there is to do with this provider outside of DAGs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from airflow_provider_grokvideo import __version__
from airflow_provider_grokvideo.journal import cli as journal
from airflow_provider_grokvideo.ledger import cli as ledger
from airflow_provider_grokvideo.planning import cli as plan
from airflow_provider_grokvideo.terminal import use_any_terminal


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    use_any_terminal()
    parser = argparse.ArgumentParser(
        prog="python -m airflow_provider_grokvideo",
        description="What there is to do with this provider outside of DAGs.",
        epilog="python -m airflow_provider_grokvideo.emulator runs the service's emulator.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    journal.add(commands)
    ledger.add(commands)
    plan.add(commands)
    options = parser.parse_args(arguments)
    if "run" not in options:
        parser.print_help()
        return 0
    return int(options.run(options))


if __name__ == "__main__":
    sys.exit(main())
