"""Airflow as it is scaled out: PostgreSQL, Celery on Redis, two workers and two triggerers, all on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped, unused-ignore]
from postgres import Postgres
from redis_server import RedisServer
from stack import COMPONENTS, AirflowStack

WORKERS = ("worker-1", "worker-2")
TRIGGERERS = ("triggerer-1", "triggerer-2")


def _worker(name: str) -> tuple[str, ...]:
    # Both run on one host and in one AIRFLOW_HOME: each needs a name and a pid file of its own.
    return ("celery", "worker", "--celery-hostname", f"{name}@localhost", "--pid", f"{name}.pid", "--skip-serve-logs")


class Cluster(AirflowStack):
    """api-server, scheduler, dag-processor, two Celery workers and two triggerers, ended on exit.

    Args:
        home: Becomes AIRFLOW_HOME of all of them, so that they share the folder of the logs.
        dags_folder: Where the DAG files are.
        database: Holds Airflow's metadata; must be running.
        broker: Holds Celery's queue; must be running.
        env: Further environment of the components.
        slots: Tasks that one worker runs at once.
        dead_after: Seconds without a heartbeat after which a triggerer counts as dead. Airflow's default is 30.
        on_progress: Called with a short line at each step of the start.

    Raises:
        ProcessFailed: A component ended or was not alive in time; the message has the end of its log.
    """

    components: Mapping[str, tuple[str, ...]] = {
        **{name: COMPONENTS[name] for name in ("api-server", "scheduler", "dag-processor")},
        **{name: _worker(name) for name in WORKERS},
        **dict.fromkeys(TRIGGERERS, COMPONENTS["triggerer"]),
    }

    def __init__(
        self,
        home: Path,
        dags_folder: Path,
        database: Postgres,
        broker: RedisServer,
        env: Mapping[str, str],
        *,
        slots: int,
        dead_after: int,
        on_progress: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._database = database
        self._broker = broker
        settings = {
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database.url("psycopg2"),
            "AIRFLOW__CELERY__BROKER_URL": broker.url(),
            "AIRFLOW__CELERY__RESULT_BACKEND": f"db+{database.url('psycopg2')}",
            "AIRFLOW__CELERY__WORKER_CONCURRENCY": str(slots),
            "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "2",
            "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": str(dead_after),
        }
        super().__init__(
            home,
            dags_folder,
            {**settings, **env},
            parallelism=slots * len(WORKERS) * 2,  # twice the slots: as many again may stand in the queue
            executor="CeleryExecutor",
            on_progress=on_progress,
        )

    @contextmanager
    def cursor(self) -> Iterator[Any]:
        """Give a cursor on the metadata database that sees each committed change."""
        import psycopg2  # type: ignore[import-untyped, import-not-found, unused-ignore]

        connection = psycopg2.connect(self._database.dsn)
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                yield cursor
        finally:
            connection.close()

    def silent(self, names: Sequence[str]) -> list[str]:
        """Return which of these components have not shown a sign of life; a worker answers through the broker."""
        found = super().silent(names)
        if found:
            return found
        if self._living_triggerers() < len(TRIGGERERS):
            return list(TRIGGERERS)
        answers = self._celery.control.inspect(timeout=1.0).ping() or {}
        return [name for name in WORKERS if f"{name}@localhost" not in answers]

    def _living_triggerers(self) -> int:
        with self.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM job WHERE job_type = 'TriggererJob' AND state = 'running'")
            return int(cursor.fetchone()[0])

    @cached_property
    def _celery(self) -> Any:
        from celery import Celery  # type: ignore[import-untyped, import-not-found, unused-ignore]

        return Celery(broker=self._broker.url())

    def kill_with_children(self, name: str) -> None:
        """End a component and all its descendants at once by SIGKILL, as when its machine dies."""
        parent = psutil.Process(self.pid(name))
        family = [parent, *parent.children(recursive=True)]
        for process in family:
            process.kill()
        psutil.wait_procs(family[1:], timeout=10)
        self.family.members[name].wait(10)

    def listening_elsewhere(self) -> list[str]:
        """Return each socket on which a component listens elsewhere than on the loopback interface."""
        found = []
        for process in self.family.leftovers():
            for each in process.net_connections(kind="inet"):
                if each.status == psutil.CONN_LISTEN and each.laddr.ip not in {"127.0.0.1", "::1"}:
                    found.append(f"{process.name()} at {each.laddr.ip}:{each.laddr.port}")
        return found
