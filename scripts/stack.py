"""Four real Airflow components on this machine, as a context manager.

>>> with AirflowStack(home=home, dags_folder=dags) as stack:
...     run_id = stack.api.trigger("quickstart")
...     stack.api.wait_run("quickstart", run_id)
'success'

SQLite and everything else live in ``home``; each port is a free one on 127.0.0.1; the log servers of scheduler and
triggerer, which would listen on every interface, stay off because the api-server reads the same files.
"""

from __future__ import annotations

import base64
import os
import secrets
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType

from airflow_api import AirflowApi
from processes import ChildProcess, Family, ProcessFailed, clean_environment, free_ports, tail

COMPONENTS: dict[str, tuple[str, ...]] = {
    "api-server": ("api-server",),
    "scheduler": ("scheduler", "--skip-serve-logs"),
    "dag-processor": ("dag-processor",),
    "triggerer": ("triggerer", "--skip-serve-logs"),
}
_HEARTBEATS = {
    "scheduler": ("scheduler", "latest_scheduler_heartbeat"),
    "dag-processor": ("dag_processor", "latest_dag_processor_heartbeat"),
    "triggerer": ("triggerer", "latest_triggerer_heartbeat"),
}


class AirflowStack:
    """Airflow's api-server, scheduler, dag-processor and triggerer, started on entry and ended on exit.

    Args:
        home: Becomes AIRFLOW_HOME; made if missing. The components' own output is in ``home/logs-stack/<name>.log``.
        dags_folder: Where the DAG files are; new files are seen within two seconds or so.
        env: Further environment of the components, such as ``AIRFLOW_CONN_...``; wins over the stack's own settings.
        parallelism: How many tasks run at once.
        executor: Airflow's name of an executor that needs no broker.
        start_timeout: Seconds for each of the two steps, making the database and all components being alive.
            About 30 s are usual on two cores; a laptop busy with an installation takes longer.
        login: User and password of the stack's own client, where not everybody is an admin.
        on_progress: Called with a short line at each step of the start.

    Raises:
        ProcessFailed: A component ended or was not alive in time; the message has the end of its log.
    """

    components: Mapping[str, tuple[str, ...]] = COMPONENTS
    """What is started, in this order: a name and the arguments of ``airflow``. Another Airflow is a subclass."""

    def __init__(
        self,
        home: Path,
        dags_folder: Path,
        env: Mapping[str, str] | None = None,
        *,
        parallelism: int = 4,
        executor: str = "LocalExecutor",
        start_timeout: float = 180.0,
        login: tuple[str, str] | None = None,
        on_progress: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.home = home.resolve()
        self.dags_folder = dags_folder.resolve()
        self.start_timeout = start_timeout
        self.family = Family()
        self._say = on_progress
        port, self._worker_log_port, self._triggerer_log_port = free_ports(3)
        self.url = f"http://127.0.0.1:{port}"
        self.api = AirflowApi(self.url, login)
        self.env = clean_environment(**self._settings(port, parallelism, executor)) | dict(env or {})
        self._started_at: dict[str, datetime] = {}

    def _settings(self, port: int, parallelism: int, executor: str) -> dict[str, str]:
        return {
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{self.home / 'airflow.db'}",
            "AIRFLOW__CORE__DAGS_FOLDER": str(self.dags_folder),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(self.home / "plugins"),
            "AIRFLOW__CORE__EXECUTOR": executor,
            "AIRFLOW__CORE__PARALLELISM": str(parallelism),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            # Only a DAG that is triggered on purpose runs: an example with a schedule must not start by itself.
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "True",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "AIRFLOW__CORE__FERNET_KEY": base64.urlsafe_b64encode(os.urandom(32)).decode(),
            # The default asks DNS for this machine's full name, which can take seconds where there is none.
            "AIRFLOW__CORE__HOSTNAME_CALLABLE": "socket.gethostname",
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(port),
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__API__BASE_URL": self.url,
            "AIRFLOW__API__SECRET_KEY": secrets.token_hex(32),
            "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(64),
            "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "2",
            # New and changed files are parsed at once; the others need not be parsed again every few seconds.
            "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "60",
            "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(self.home / "logs"),
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(self._worker_log_port),
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(self._triggerer_log_port),
            "PYTHONUNBUFFERED": "1",
            # macOS otherwise ends a forked task that touches some of its system libraries.
            "OBJC_DISABLE_INITIALIZE_FORK_SAFETY": "YES",
        }

    def __enter__(self) -> AirflowStack:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Make the database, start the components and wait until each has shown a sign of life."""
        self.home.mkdir(parents=True, exist_ok=True)
        self._say("making the database")
        migrate = self._airflow("db-migrate", "db", "migrate")
        migrate.start()
        if migrate.wait(self.start_timeout) != 0:
            raise ProcessFailed(f"airflow db migrate failed. Its last lines:\n{tail(migrate.log)}")
        self._say(f"starting {', '.join(self.components)}")
        for name, arguments in self.components.items():
            self._airflow(name, *arguments)
            self._start(name)
        self.wait_alive(*self.components, timeout=self.start_timeout)

    def stop(self) -> None:
        """End every process of the stack; safe to call more than once."""
        self.family.stop()
        self.api.close()

    def _airflow(self, name: str, *arguments: str) -> ChildProcess:
        return self.family.add(
            name,
            [sys.executable, "-m", "airflow", *arguments],
            env=self.env,
            log=self.home / "logs-stack" / f"{name}.log",
            cwd=self.home,
        )

    def _start(self, name: str) -> None:
        self._started_at[name] = datetime.now(timezone.utc)
        self.family.members[name].start()

    def pid(self, name: str) -> int:
        """Return the process id of a component."""
        return self.family.members[name].pid

    def kill(self, name: str, sig: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to one component's main process; after SIGKILL, wait until it is gone.

        Its children are left as a real crash would leave them; :meth:`stop` ends them.
        """
        child = self.family.members[name]
        child.signal(sig)
        if sig == signal.SIGKILL:
            child.wait(10)

    def restart(self, name: str, timeout: float = 90.0) -> None:
        """Start a component again that has ended, and wait until the new one is alive."""
        self._start(name)
        self.wait_alive(name, timeout=timeout)

    def kill_all(self) -> None:
        """End every process of the stack at once by SIGKILL, as a power cut does; :meth:`restart_all` is the way on."""
        self.family.kill()

    def restart_all(self, timeout: float = 180.0) -> None:
        """Start all components again on the same database, and wait until they are alive."""
        for name in self.components:
            self._start(name)
        self.wait_alive(*self.components, timeout=timeout)

    def wait_alive(self, *names: str, timeout: float) -> None:
        """Wait until each component has answered or had a heartbeat since its own start."""
        deadline = time.monotonic() + timeout
        while waiting := self.silent(names):
            for name in names:
                self.family.members[name].check()
            if time.monotonic() > deadline:
                logs = "\n".join(f"--- {name}\n{tail(self.log_file(name))}" for name in waiting)
                raise ProcessFailed(f"No sign of life after {timeout:.0f} s from {', '.join(waiting)}.\n{logs}")
            time.sleep(0.3)

    def silent(self, names: Sequence[str]) -> list[str]:
        """Return which of these components have not shown a sign of life since their start."""
        health = self.api.health()
        if health is None:
            return list(names)
        return [name for name in names if name in _HEARTBEATS and not self._beat_since_start(name, health)]

    def _beat_since_start(self, name: str, health: Mapping[str, Mapping[str, str | None]]) -> bool:
        section, field = _HEARTBEATS[name]
        beat = (health.get(section) or {}).get(field)
        return beat is not None and datetime.fromisoformat(beat) >= self._started_at[name]

    def log_file(self, name: str) -> Path:
        """Return the file with a component's own output; the tasks' logs are under ``home/logs``."""
        return self.family.members[name].log
