"""As much of Airflow's REST API as the journal's command line uses, with doors that can be closed.

``test_command_line.py`` holds the calls against Airflow's own description of its API; ``tests/e2e`` makes them to a
real one.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from airflow_provider_grokvideo.core.purchases.records import Owner, Record
from airflow_provider_grokvideo.journal.backends import STATE_KEY

TOKEN = "secret-token-of-the-test"
PAGE = 2

_STATE = re.compile(r"/api/v2/dags/([^/]+)/dagRuns/([^/]+)/taskInstances/([^/]+)/state-store/([^/]+)")


class PretendedAirflow:
    """Task instances and their state.

    Attributes:
        url: Its address.
        version: What it says it is.
        all_admins: Whether it lets anybody in.
        users: Names and passwords.
        tasks: The task instances there are, with the class name of their operator.
        states: The value of each key.
        expiries: The ``expires_at`` of the last write of each.
        calls: Method and path of each call.
        answers: Answers to paths that begin so, instead of its own.
        meanwhile: What somebody else does right after a write.
    """

    def __init__(self) -> None:
        self.url = ""
        self.version = "3.3.2"
        self.all_admins = True
        self.users: dict[str, str] = {}
        self.tasks: dict[Owner, str] = {}
        self.states: dict[tuple[Owner, str], Any] = {}
        self.expiries: dict[Owner, Any] = {}
        self.calls: list[tuple[str, str]] = []
        self.answers: dict[str, tuple[int, bytes]] = {}
        self.meanwhile: Callable[[], None] = lambda: None

    def hold(self, *records: Record, operator: str = "GrokVideoGenerateOperator") -> None:
        """Keep the records of one task instance."""
        owner = records[0].owner
        self.tasks[owner] = operator
        value = {"schema": 1, "purchases": [each.to_json() for each in records]}
        self.states[owner, STATE_KEY] = value

    def answer(self, method: str, target: str, headers: Mapping[str, str], body: Any) -> tuple[int, Any]:
        """Answer one call."""
        address = urlsplit(target)
        path, query = address.path, parse_qs(address.query)
        self.calls.append((method, path))
        for start, (status, content) in self.answers.items():
            if path.startswith(start):
                return status, content
        if path == "/api/v2/version":
            return 200, {"version": self.version, "git_version": None}
        if path == "/auth/token":
            return self._token(method, body)
        if headers.get("Authorization") != f"Bearer {TOKEN}":
            return 401, {"detail": "Invalid JWT token"}
        if path == "/api/v2/dags/~/dagRuns/~/taskInstances":
            return 200, self._task_instances(query)
        if (found := _STATE.fullmatch(path)) is not None:
            dag_id, run_id, task_id, key = map(unquote, found.groups())
            return self._state(method, Owner(dag_id, run_id, task_id, int(query["map_index"][0])), key, body)
        return 404, {"error": "API route not found"}

    def _token(self, method: str, body: Any) -> tuple[int, Any]:
        known = method == "POST" and self.users.get(body["username"]) == body["password"]
        if known or (method == "GET" and self.all_admins):
            return 201, {"access_token": TOKEN}
        return (401, {"detail": "Invalid credentials"}) if method == "POST" else (403, {"detail": "Not all admins"})

    def _task_instances(self, query: Mapping[str, list[str]]) -> Any:
        rows = [
            {
                "dag_id": owner.dag_id,
                "dag_run_id": owner.run_id,
                "task_id": owner.task_id,
                "map_index": owner.map_index,
                "operator": operator,
            }
            for owner, operator in self.tasks.items()
            if operator in query["operator"]
            and owner.dag_id.startswith(query.get("dag_id_prefix_pattern", [""])[0])
            and owner.run_id.startswith(query.get("run_id_prefix_pattern", [""])[0])
            and query.get("task_id", [owner.task_id]) == [owner.task_id]
        ]
        start = int(query["offset"][0])
        return {"task_instances": rows[start : start + PAGE], "total_entries": len(rows)}

    def _state(self, method: str, owner: Owner, key: str, body: Any) -> tuple[int, Any]:
        if method == "GET":
            if (owner, key) not in self.states:
                return 404, {"detail": f"Task state store key {key!r} not found"}
            return 200, {"key": key, "value": self.states[owner, key], "updated_at": "", "expires_at": None}
        if owner not in self.tasks:
            return 404, {"detail": f"Task instance not found for dag_id={owner.dag_id!r}"}
        self.states[owner, key] = body["value"]
        self.expiries[owner] = body["expires_at"]
        self.meanwhile()
        return 204, None


@contextmanager
def pretended_airflow() -> Iterator[PretendedAirflow]:
    """Serve one on a free port of this machine."""
    airflow = PretendedAirflow()

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            status, answer = airflow.answer(self.command, self.path, self.headers, body)
            content = answer if isinstance(answer, bytes) else b"" if answer is None else json.dumps(answer).encode()
            self.send_response(status)
            if status != 204:
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def __getattr__(self, name: str) -> Any:
            """Serve every method of HTTP alike."""
            if name.startswith("do_"):
                return self._serve
            raise AttributeError(name)

        def log_message(self, *arguments: Any) -> None:
            """Be quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    airflow.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield airflow
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
