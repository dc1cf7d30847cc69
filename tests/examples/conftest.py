"""Example DAGs run by ``dag.test()`` against the emulator, over a real socket."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from example_dags import Run, load
from postgres_fixtures import connection_uri, needs_postgres, postgres_server

__all__ = ["needs_postgres", "postgres_server"]


@pytest.fixture
def run(airflow_db, grokvideo_emulator, grokvideo_connection, tmp_path: Path) -> Callable[..., Run]:
    """Return how to run an example by its file name; words are params of the run."""
    grokvideo_emulator.set_tempo("at-once")

    def run_example(name: str, **params: Any) -> Run:
        folder = tmp_path / "my videos"
        dag = load(name)
        for task in dag.tasks:
            # The wait before a retry is for a service that needs time; the emulator needs none.
            task.retry_delay = timedelta(0)
        dag_run = dag.test(run_conf={"output": str(folder), **params})
        tis = dag_run.get_task_instances()
        names = {ti: ti.task_id if ti.map_index < 0 else (ti.task_id, ti.map_index) for ti in tis}
        return Run(
            state=str(dag_run.state),
            states={names[ti]: str(ti.state) for ti in tis},
            results={names[ti]: ti.xcom_pull(task_ids=ti.task_id, map_indexes=ti.map_index) for ti in tis},
            folder=folder,
        )

    return run_example


@pytest.fixture
def shop_db(postgres_server, monkeypatch) -> None:
    """Make a database with three products, one of which has a clip, and the Airflow connection ``shop_db`` to it."""
    engine = sa.create_engine(postgres_server.url("psycopg2"), poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE IF EXISTS products")
        connection.exec_driver_sql("CREATE TABLE products (sku INTEGER, name TEXT, price NUMERIC, has_clip INTEGER)")
        connection.exec_driver_sql(
            "INSERT INTO products VALUES (7, 'kettle', 29.9, 0), (8, 'lamp', 55, 1), (9, 'kite', 12, 0)"
        )
    monkeypatch.setenv("AIRFLOW_CONN_SHOP_DB", connection_uri(postgres_server))
