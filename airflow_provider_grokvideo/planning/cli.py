"""``grokvideo plan``: worst-case cost of the DAGs in a file, without running them.

Exit codes: 0 success, 1 nothing found, 2 failure, 3 a total is not an upper bound.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from typing import TYPE_CHECKING, Any

from airflow_provider_grokvideo.core.billing.upper_bound import ARGUMENTS
from airflow_provider_grokvideo.terminal import DONE, INCOMPLETE, NOTHING, complain, guarded, say

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_grokvideo.core.billing.pricing import Prices
    from airflow_provider_grokvideo.planning.mapping import Sample
    from airflow_provider_grokvideo.planning.report import Plan

_HOW = """\
The file is imported, but no task runs, no connection is used and no database is read. An argument that is only known
at run time is priced at its maximum and marked; an unknown number of mapped items is shown as n.
Exit codes: 0 success, 1 nothing found, 2 failure, 3 a total is not an upper bound.
"""


def add(commands: Any) -> None:
    """Add the command ``plan``.

    Args:
        commands: From ``argparse.ArgumentParser.add_subparsers``; options get a ``run`` that takes them and returns the
            exit code.
    """
    parser = commands.add_parser(
        "plan",
        help="estimate the worst-case cost of the DAGs in a file: of one run and of a month on schedule",
        description="Estimate the worst-case cost of the DAGs in a file: of one run and of a month on schedule.",
        epilog=_HOW,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("dag_file", metavar="DAG_FILE", help="a Python file, or a zip file with DAGs")
    parser.add_argument("--dag-id", metavar="D", help="only this DAG of the file")
    parser.add_argument("--month", metavar="YYYY-MM", type=_month, help="the month to plan; default: next month")
    parser.add_argument(
        "--n", metavar="N", type=_count, help="price lists that are only known at run time as N items each"
    )
    parser.add_argument(
        "--like",
        metavar="NAME=VALUE",
        type=_argument,
        action="append",
        help="an argument besides the prompt that the items of such lists set, such as duration=4; repeatable",
    )
    parser.add_argument("--format", choices=("table", "csv", "json"), default="table", help="default: table")
    parser.set_defaults(run=lambda options: guarded(plan, options))


def plan(options: argparse.Namespace) -> int:
    """Print the worst-case cost of the DAGs in a file."""
    from airflow_provider_grokvideo.planning import report
    from airflow_provider_grokvideo.planning.loading import load
    from airflow_provider_grokvideo.planning.mapping import Sample

    prices = _prices()
    dags = load(options.dag_file)
    if options.dag_id is not None:
        if options.dag_id not in dags:
            return _nothing(f"{options.dag_file} has no DAG {options.dag_id}; it has {_names(dags)}")
        dags = {options.dag_id: dags[options.dag_id]}
    if not dags:
        return _nothing(f"{options.dag_file} has no DAG")
    sample = Sample(options.n, None if options.like is None else dict(options.like))
    plans = [_plan_of(dags[dag_id], options.month, prices, sample) for dag_id in sorted(dags)]
    if not any(each.lines for each in plans):
        return _nothing(f"no purchasing task of this provider in {_names(dags)}")
    if options.format == "json":
        say(json.dumps(report.as_json(plans, prices, options.dag_file, _said(options)), indent=2))
    elif options.format == "csv":
        sys.stdout.write(report.as_csv(plans))
    else:
        say(*report.table(plans, prices, _said(options)))
    return DONE if all(each.is_bound for each in plans) else INCOMPLETE


def _plan_of(dag: Any, month: str | None, prices: Prices, sample: Sample) -> Plan:
    import pendulum

    from airflow_provider_grokvideo.planning.dags import DagReader, have_journal
    from airflow_provider_grokvideo.planning.report import Plan
    from airflow_provider_grokvideo.planning.schedule import runs_in

    lines = DagReader(dag, prices, remembers=have_journal(), sample=sample).lines
    return Plan(dag.dag_id, lines, runs_in(dag, month, pendulum.now("UTC")))


def _prices() -> Prices:
    from airflow_provider_grokvideo.ledger import settings

    return settings.prices()


def _month(text: str) -> str:
    if not re.fullmatch(r"[1-9]\d{3}-(0[1-9]|1[0-2])", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a month such as 2027-02")
    return text


def _count(text: str) -> int:
    if not re.fullmatch(r"[1-9]\d{0,4}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of items from 1 to 99999")
    return int(text)


def _argument(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or name not in ARGUMENTS["generate"]:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE with one of {', '.join(ARGUMENTS['generate'])}")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _said(options: argparse.Namespace) -> list[str]:
    """Return the assumptions of the command line."""
    found = [] if options.n is None else [f"a list that is only known at run time has {options.n} items (--n)"]
    if options.like is not None:
        set_ = ", ".join(f"{name}={value}" for name, value in options.like)
        found.append(f"the items of such a list set {set_}, a prompt and nothing else (--like)")
    return found


def _names(dags: Mapping[str, Any]) -> str:
    return ", ".join(sorted(dags)) or "none"


def _nothing(what: str) -> int:
    complain(what)
    return NOTHING
