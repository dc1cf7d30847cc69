"""A small client of Airflow's public REST API (v2): trigger a run, follow it, read what it left behind."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

import httpx

FINISHED_RUN = frozenset({"success", "failed"})


class AirflowApiError(RuntimeError):
    """The API answered with an error, or something did not happen in time."""


class AirflowApi:
    """Talk to an api-server whose users are all admins (simple auth manager).

    Args:
        base_url: Address of the api-server, without a path.
    """

    def __init__(self, base_url: str, login: tuple[str, str] | None = None) -> None:
        self.base_url = base_url
        self._login = login
        # trust_env: a proxy of the user has no business on loopback.
        self._http = httpx.Client(base_url=base_url, timeout=30, trust_env=False)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def health(self) -> dict[str, dict[str, str | None]] | None:
        """Return each component's status and latest heartbeat, or None while the api-server does not answer."""
        try:
            answer = self._http.get("/api/v2/monitor/health", timeout=5)
        except httpx.TransportError:
            return None
        return answer.json() if answer.is_success else None

    def call(self, method: str, path: str, **kwargs: Any) -> Any:
        """Send one call under ``/api/v2`` and return its JSON; any status but 2xx is an error."""
        answer = self._send(method, path, kwargs)
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            self._log_in()
            answer = self._send(method, path, kwargs)
        if not answer.is_success:
            raise AirflowApiError(f"{method} {path}: {answer.status_code} {answer.text[:500]}")
        return answer.json() if answer.content else None

    def _send(self, method: str, path: str, kwargs: Mapping[str, Any]) -> httpx.Response:
        try:
            return self._http.request(method, f"/api/v2{path}", **kwargs)
        except httpx.TransportError as fault:
            raise AirflowApiError(f"{method} {path}: {fault!r}") from fault

    def _log_in(self) -> None:
        if self._login is None:
            answer = self._http.get("/auth/token")
        else:
            name, password = self._login
            answer = self._http.post("/auth/token", json={"username": name, "password": password})
        if not answer.is_success:
            raise AirflowApiError(f"No token from the api-server: {answer.status_code} {answer.text[:200]}")
        self._http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def wait_dag(self, dag_id: str, timeout: float = 60.0) -> None:
        """Wait until the dag-processor has parsed a DAG.

        The wait ends early when some file cannot be imported and the DAG does not show up within ten seconds of that.
        """
        deadline = time.monotonic() + timeout
        while dag_id not in self._dag_ids():
            errors = self.import_errors()
            if errors:
                deadline = min(deadline, time.monotonic() + 10)
            if time.monotonic() > deadline:
                listed = "\n".join(f"{file} cannot be imported:\n{trace}" for file, trace in errors.items())
                raise AirflowApiError(f"No DAG {dag_id!r}; known: {sorted(self._dag_ids())}. {listed}".strip())
            time.sleep(0.3)

    def _dag_ids(self) -> set[str]:
        found = self.call("GET", "/dags", params={"limit": 100, "exclude_stale": True})
        return {dag["dag_id"] for dag in found["dags"]}

    def import_errors(self) -> dict[str, str]:
        """Return the traceback of each DAG file that cannot be imported."""
        found = self.call("GET", "/importErrors")["import_errors"]
        return {each["filename"]: each["stack_trace"] for each in found}

    def trigger(self, dag_id: str, conf: Mapping[str, Any] | None = None, run_id: str | None = None) -> str:
        """Unpause a DAG, start a run of it and return the run id; the DAG may still be unparsed."""
        self.wait_dag(dag_id)
        self.call("PATCH", f"/dags/{quote(dag_id)}", json={"is_paused": False})
        body: dict[str, Any] = {"logical_date": None, "conf": dict(conf or {})}
        if run_id:
            body["dag_run_id"] = run_id
        answer = self.call("POST", f"/dags/{quote(dag_id)}/dagRuns", json=body)
        return str(answer["dag_run_id"])

    def run_state(self, dag_id: str, run_id: str) -> str:
        """Return the state of a run, such as ``running`` or ``success``."""
        return str(self.call("GET", _run(dag_id, run_id))["state"])

    def wait_run(
        self,
        dag_id: str,
        run_id: str,
        timeout: float = 120.0,
        on_tick: Callable[[list[dict[str, Any]]], None] | None = None,
    ) -> str:
        """Wait for a run to finish and return its state.

        Args:
            dag_id: The DAG.
            run_id: Its run.
            timeout: Seconds after which waiting is an error that lists the tasks' states.
            on_tick: Called about twice a second with the task instances, to show progress or look for trouble.
        """
        deadline = time.monotonic() + timeout
        while (state := self.run_state(dag_id, run_id)) not in FINISHED_RUN:
            if on_tick is not None:
                on_tick(self.task_instances(dag_id, run_id))
            if time.monotonic() > deadline:
                states = {label(each): each["state"] for each in self.task_instances(dag_id, run_id)}
                raise AirflowApiError(f"{dag_id} {run_id} is {state} after {timeout:.0f} s: {states}")
            time.sleep(0.5)
        return state

    def task_instances(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """Return the run's task instances as the API shows them (``task_id``, ``map_index``, ``state``, ...)."""
        found = self.call("GET", f"{_run(dag_id, run_id)}/taskInstances", params={"limit": 100})
        return list(found["task_instances"])

    def xcom(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1, key: str = "return_value") -> Any:
        """Return one XCom value as plain JSON."""
        path = f"{_run(dag_id, run_id)}/taskInstances/{quote(task_id)}/xcomEntries/{quote(key, safe='')}"
        params: dict[str, Any] = {"map_index": map_index, "stringify": False}
        return self.call("GET", path, params=params)["value"]

    def log(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1, try_number: int = 1) -> str:
        """Return a task's log, one line per event."""
        path = f"{_run(dag_id, run_id)}/taskInstances/{quote(task_id)}/logs/{try_number}"
        params: dict[str, Any] = {"map_index": map_index, "full_content": True}
        answer = self.call("GET", path, params=params, headers={"Accept": "application/json"})
        return "\n".join(_log_line(event) for event in answer["content"])


def _run(dag_id: str, run_id: str) -> str:
    return f"/dags/{quote(dag_id)}/dagRuns/{quote(run_id, safe='')}"


def label(ti: Mapping[str, Any]) -> str:
    """Return the name of a task instance as Airflow's UI writes it: ``task`` or ``task[map index]``."""
    return ti["task_id"] if ti["map_index"] < 0 else f"{ti['task_id']}[{ti['map_index']}]"


def _log_line(event: Mapping[str, Any] | str) -> str:
    if isinstance(event, str):
        return event
    head = " ".join(str(event[name]) for name in ("timestamp", "level") if event.get(name))
    line = f"{head} {event.get('event', '')}".strip()
    errors = [f"  {each.get('exc_type')}: {each.get('exc_value')}" for each in event.get("error_detail") or []]
    return "\n".join([line, *errors])
