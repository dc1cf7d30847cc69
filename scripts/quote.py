"""What a DAG will cost at the real service: ``python scripts/quote.py dags_examples/quickstart.py``.

Prints JSON: a line of text per task, and the sum. Runs in a process of its own, because reading a DAG file loads
Airflow, which has to find a temporary AIRFLOW_HOME in its environment.
"""

from __future__ import annotations

import json
import logging
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any


def quote(dag_file: Path) -> dict[str, object]:
    """Return ``{"lines": [...], "usd": "0.75"}`` for the file's only DAG; ``usd`` is None if a price is unknown.

    A clip that is edited or extended is as long as the task that makes it was told; where the file does not say, the
    longest allowed is assumed.
    """
    from airflow.dag_processing.dagbag import DagBag

    from airflow_provider_grokvideo.core.billing.pricing import DEFAULT_PRICES, estimate
    from airflow_provider_grokvideo.core.models import DEFAULT_RESOLUTION, DEFAULT_SECONDS
    from airflow_provider_grokvideo.operators.grokvideo import GrokVideoBaseOperator, GrokVideoGenerateOperator

    bag = DagBag(dag_folder=str(dag_file))
    if bag.import_errors:
        raise RuntimeError(f"{dag_file} cannot be imported: {bag.import_errors}")
    (dag,) = bag.dags.values()
    lines, total = [], Decimal(0)
    unknown = False
    for task in dag.tasks:
        if not isinstance(task, GrokVideoBaseOperator):
            continue
        known: dict[str, Any] = {}
        if hasattr(task, "video"):
            maker = getattr(task.video, "operator", None)
            if isinstance(maker, GrokVideoGenerateOperator):
                known["source_seconds"] = float(maker.duration or DEFAULT_SECONDS)
                known["source_resolution"] = maker.resolution or DEFAULT_RESOLUTION
            task.video = "https://example.com/not-made-yet.mp4"
        price = estimate(task.build_request(), **known)
        unknown = unknown or price.usd is None
        total += price.usd or Decimal(0)
        lines.append(f"{task.task_id}: {price}")
    lines.append(f"(price list of {DEFAULT_PRICES.as_of}; the bill is what the service says)")
    return {"lines": lines, "usd": None if unknown else f"{total.normalize():f}"}


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    out, sys.stdout = sys.stdout, sys.stderr  # Airflow writes to it while it loads
    print(json.dumps(quote(Path(sys.argv[1]).resolve())), file=out)
