"""Example DAGs, and what a run of one left behind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).resolve().parents[2] / "dags_examples"


@dataclass(frozen=True)
class Run:
    """What became of one run.

    Attributes:
        state: Of the run.
        states: Of each task; of a mapped task, one per map index.
        results: What each task returned, by task id or by (task id, map index).
        folder: Where it delivered to.
    """

    state: str
    states: Mapping[Any, str]
    results: Mapping[Any, Any]
    folder: Path

    @property
    def clips(self) -> dict[str, float]:
        """Return the delivered clips, by path below the folder, with their decoded length in whole seconds."""
        return {path.relative_to(self.folder).as_posix(): decoded_seconds(path) for path in self.folder.rglob("*.mp4")}


def decoded_seconds(path: Path) -> float:
    """Decode every frame of a clip and return how long it plays, to a tenth of a second."""
    import av

    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = sum(1 for _ in container.decode(stream))
        return round(float(frames / stream.average_rate), 1)


def load(name: str) -> Any:
    """Return the only DAG of an example."""
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(dag_folder=str(EXAMPLES / name))
    assert {} == bag.import_errors
    (dag,) = bag.dags.values()
    return dag
