"""Import of a DAG file as in the DAG processor, without running tasks."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

from airflow_provider_grokvideo.core.errors import GrokVideoError


class NotLoaded(GrokVideoError):
    """A DAG file cannot be imported."""


def load(path: str) -> Mapping[str, Any]:
    """Return the DAGs of a file by their ids.

    Args:
        path: A Python file, or a zip file with DAGs.

    Raises:
        NotLoaded: It is not a file, or the import failed.
    """
    try:
        file = Path(path).expanduser()
        found = file.is_file()
    except (RuntimeError, OSError, ValueError) as error:
        raise NotLoaded(f"{path} cannot be read: {error}") from error
    if not found:
        raise NotLoaded(f"{path} is not a file")
    with _importable(file.parent), _quiet(), redirect_stdout(sys.stderr):
        bag = _dag_bag()(dag_folder=str(file.parent), collect_dags=False)
        bag.process_file(str(file.resolve()), safe_mode=False)
    if bag.import_errors:
        raise NotLoaded("\n".join(f"{where}: {problem}".strip() for where, problem in bag.import_errors.items()))
    return dict(bag.dags)


def _dag_bag() -> Any:
    try:
        from airflow.dag_processing.dagbag import DagBag
    except ImportError:
        from airflow.models.dagbag import DagBag  # type: ignore[attr-defined,no-redef,unused-ignore]
    return DagBag


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence Airflow's log of import errors, which become exceptions here."""
    logger = logging.getLogger("airflow.dag_processing")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Let the file import its neighbours, as Airflow does at the top of the DAGs folder."""
    name = str(folder.resolve())
    sys.path.append(name)
    try:
        yield
    finally:
        sys.path.remove(name)
