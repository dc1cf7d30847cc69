"""What Airflow's dag-processor spends on a DAG file: each time in a fork of a process that has Airflow, not ours.

``python -m benchmarks.parsing REPEATS FILE...`` prints one JSON list: for each file the seconds of each repetition.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path


def main(arguments: Sequence[str]) -> int:
    """Measure the files of the command line."""
    # What the dag-processor has loaded when it forks: its own modules, and Airflow's that DAG files import.
    from airflow.dag_processing import dagbag, processor  # noqa: F401
    from airflow.sdk import DAG, BaseHook, BaseOperator, BaseSensorOperator, dag, task  # noqa: F401

    for module in {name for file in arguments[1:] for name in _airflow_imports(file)}:
        __import__(module)
    # So does the dag-processor: else a fork that allocates enough pays for a look at all of Airflow's objects.
    gc.collect()
    gc.freeze()
    repeats = int(arguments[0])
    measured = []
    for file in arguments[1:]:
        _in_a_fork(partial(parse, file))  # writes its bytecode
        measured.append([_in_a_fork(partial(parse, file)) for _ in range(repeats)])
    print(json.dumps(measured))
    return 0


def parse(file: str) -> float:
    """Load a DAG file and serialize its DAGs, as the dag-processor does; return the seconds of CPU.

    Raises:
        RuntimeError: It has no DAG, or cannot be imported.
    """
    from airflow.dag_processing.dagbag import DagBag
    from airflow.serialization.serialized_objects import DagSerialization

    started = time.process_time()
    bag = DagBag(dag_folder=file, load_op_links=False)
    for dag in bag.dags.values():
        DagSerialization.to_dict(dag)
    seconds = time.process_time() - started
    if bag.import_errors or not bag.dags:
        raise RuntimeError(f"{Path(file).name} has no DAG: {bag.import_errors}")
    return seconds


def _airflow_imports(file: str) -> list[str]:
    from airflow.utils.file import iter_airflow_imports

    return list(iter_airflow_imports(file))


def _in_a_fork(work: Callable[[], float]) -> float:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        code = 1
        try:
            with os.fdopen(writing, "w") as answer:
                answer.write(repr(work()))
            code = 0
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading) as answer:
        said = answer.read()
    _, status = os.waitpid(child, 0)
    if status != 0:
        raise RuntimeError("a DAG file could not be parsed; its error is above")
    return float(said)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
