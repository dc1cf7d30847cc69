"""Client of Airflow's REST API for the journal: task state stores and task instances.

The endpoint is Airflow 3.3's ``/api/v2/dags/{dag}/dagRuns/{run}/taskInstances/{task}/state-store/{key}``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any
from urllib.parse import quote

import httpx
from typing_extensions import Self

from airflow_provider_grokvideo.client.account import is_loopback
from airflow_provider_grokvideo.core.errors import InvalidInput, JournalCorrupt, JournalUnavailable
from airflow_provider_grokvideo.core.purchases.records import Owner

OPERATORS = (
    "GrokVideoGenerateOperator",
    "GrokVideoEditOperator",
    "GrokVideoExtendOperator",
    "GrokVideoReviewOperator",
    "GrokVideoBulkOperator",
    "GrokVideoDecoratedOperator",
)
"""Operator classes whose tasks have a journal, as task instances in Airflow name them."""

FIRST_WITH_STORE = (3, 3)

TOKEN, USERNAME, PASSWORD = "AIRFLOW_API_TOKEN", "AIRFLOW_API_USERNAME", "AIRFLOW_API_PASSWORD"
_LOG_IN = f"set {TOKEN}, or {USERNAME} and {PASSWORD}"

_PAGE = 100
"""Airflow's default for the longest page."""

_KEPT_ELSEWHERE = "__airflow_state_ref__"
"""Key that replaces a value which a [workers] state_store_backend stores."""


class AirflowApi:
    """Logged-in client of an Airflow API server.

    Args:
        url: Address of the API server, as in ``[api] base_url``.
        environ: Environment variables: ``AIRFLOW_API_TOKEN``; or ``AIRFLOW_API_USERNAME`` and
            ``AIRFLOW_API_PASSWORD``, for which the API server issues a token; or none, if all users are admins.

    Attributes:
        url: The address without user information, for messages.
        version: The API server's version of Airflow.

    Raises:
        InvalidInput: The address is not an http or https URL.
        JournalUnavailable: The API server does not respond, refuses the login, or has no task state store.
    """

    def __init__(self, url: str, environ: Mapping[str, str]) -> None:
        try:
            address = httpx.URL(url.rstrip("/"))
        except httpx.InvalidURL as error:
            raise InvalidInput("--api-url", url, f"a URL such as http://localhost:8080 ({error})") from None
        if address.scheme not in ("http", "https") or not address.host:
            raise InvalidInput("--api-url", url, "a URL such as http://localhost:8080")
        self.url = str(address.copy_with(userinfo=b""))
        # A proxy cannot reach this machine's loopback.
        self._http = httpx.Client(timeout=30, trust_env=not is_loopback(address.host))
        try:
            self.version = self._version()
            self._http.headers["Authorization"] = f"Bearer {environ.get(TOKEN) or self._token(environ)}"
        except BaseException:
            self._http.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def store(self, owner: Owner) -> RestStore:
        """Return the task state store of a task instance."""
        return RestStore(self, owner)

    def owners(
        self,
        dag_id: str | None = None,
        run_id: str | None = None,
        task_id: str | None = None,
        *,
        also: tuple[str, ...] = (),
    ) -> Iterator[Owner]:
        """Yield the task instances that may have a journal, oldest first.

        Args:
            dag_id: Only this DAG, even a deleted one.
            run_id: Only this DAG run.
            task_id: Only this task.
            also: Further operator classes; Airflow does not know base classes.
        """
        operators = [*OPERATORS, *also]
        # Prefixes also find deleted DAGs and runs, which a path could not name.
        asked: dict[str, Any] = {"operator": operators, "order_by": "id", "limit": _PAGE}
        narrowed = {"dag_id_prefix_pattern": dag_id, "run_id_prefix_pattern": run_id, "task_id": task_id}
        asked.update({name: value for name, value in narrowed.items() if value})
        offset = 0
        while True:
            answer = self.call("GET", "/api/v2/dags/~/dagRuns/~/taskInstances", params={**asked, "offset": offset})
            page, total = answer["task_instances"], answer["total_entries"]
            for each in page:
                owner = Owner(each["dag_id"], each["dag_run_id"], each["task_id"], each["map_index"])
                wanted = ((dag_id, owner.dag_id), (run_id, owner.run_id), (task_id, owner.task_id))
                if each["operator"] in operators and all(word in (None, has) for word, has in wanted):
                    yield owner
            offset += len(page)
            if not page or offset >= total:
                return

    def call(self, method: str, path: str, *, none_at_404: bool = False, **kwargs: Any) -> Any:
        """Send one call and return its JSON; None for an empty response.

        Args:
            method: HTTP method.
            path: Quoted path below the API server's address.
            none_at_404: Return None for "not found" instead of an error.
            kwargs: For httpx: ``params``, ``json``.

        Raises:
            JournalUnavailable: There was no response, or an error.
        """
        answer = self._send(method, path, **kwargs)
        if none_at_404 and answer.status_code == httpx.codes.NOT_FOUND:
            return None
        if answer.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            raise self._trouble(f"refused {method} {path} ({_detail(answer)}); {_LOG_IN}")
        if not answer.is_success:
            raise self._trouble(f"returned {answer.status_code} for {method} {path}: {_detail(answer)}")
        if not answer.content:
            return None
        return self._json(answer, path)

    def _version(self) -> str:
        path = "/api/v2/version"
        answer = self._send("GET", path)
        if not answer.is_success:
            raise self._trouble(f"returned {answer.status_code} for GET {path}; is it the API server of Airflow 3?")
        version = str(self._json(answer, path).get("version"))
        found = re.match(r"(\d+)\.(\d+)", version)
        if found is None:
            raise self._trouble(f"returned an invalid Airflow version ({version!r})")
        if (int(found[1]), int(found[2])) < FIRST_WITH_STORE:
            raise self._trouble(
                f"is Airflow {version}, which has no task state store (added in 3.3). Its tasks have a journal only "
                f"with [grokvideo] journal_path: pass that path as --journal-path"
            )
        return version

    def _token(self, environ: Mapping[str, str]) -> str:
        username, password = environ.get(USERNAME), environ.get(PASSWORD)
        if username and password:
            answer = self._send("POST", "/auth/token", json={"username": username, "password": password})
            refused = f"returned no token for {USERNAME} and {PASSWORD}"
        else:
            answer = self._send("GET", "/auth/token")
            refused = f"requires a login: {_LOG_IN}"
        token = _parsed(answer).get("access_token") if answer.is_success else None
        if not isinstance(token, str) or not token:
            raise self._trouble(f"{refused} (GET or POST /auth/token: {answer.status_code})")
        return token

    def _send(self, method: str, path: str, **kwargs: Any) -> httpx.Response:
        try:
            return self._http.request(method, f"{self.url}{path}", **kwargs)
        except httpx.HTTPError as error:
            raise self._trouble(f"does not respond ({type(error).__name__}: {error})") from error

    def _json(self, answer: httpx.Response, path: str) -> dict[str, Any]:
        found = _parsed(answer)
        if not found:
            raise self._trouble(f"returned no JSON object for {path}; is it the API server of Airflow 3?")
        return found

    def _trouble(self, what: str) -> JournalUnavailable:
        return JournalUnavailable(f"{self.url} {what}", advice="")


class RestStore:
    """The task state store of one task instance, like ``context["task_state_store"]``.

    Args:
        api: Client of the API server.
        owner: The task instance.
    """

    def __init__(self, api: AirflowApi, owner: Owner) -> None:
        self._api = api
        self._owner = owner
        parts = [quote(part, safe="") for part in (owner.dag_id, owner.run_id, owner.task_id)]
        self._path = "/api/v2/dags/{}/dagRuns/{}/taskInstances/{}/state-store/".format(*parts)

    def get(self, key: str) -> Any:
        """Return a value; None if the key does not exist.

        Raises:
            JournalUnavailable: Airflow does not respond.
            JournalCorrupt: The value is in a state store backend, which the API cannot read.
        """
        answer = self._api.call("GET", self._address(key), none_at_404=True, params=self._params())
        value = None if answer is None else answer.get("value")
        if isinstance(value, Mapping) and _KEPT_ELSEWHERE in value:
            raise JournalCorrupt(
                f"the task state of {self._owner} is stored in [workers] state_store_backend, which Airflow's API "
                f"cannot read"
            )
        return value

    def set(self, key: str, value: Any) -> None:
        """Store a value without expiry, whatever ``[state_store] default_retention_days`` is.

        Raises:
            JournalUnavailable: Airflow does not respond, or the task instance does not exist.
        """
        body = {"value": value, "expires_at": None}
        self._api.call("PUT", self._address(key), params=self._params(), json=body)

    def _address(self, key: str) -> str:
        return self._path + quote(key, safe="")

    def _params(self) -> dict[str, int]:
        return {"map_index": self._owner.map_index}


def _parsed(answer: httpx.Response) -> dict[str, Any]:
    try:
        found = answer.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _detail(answer: httpx.Response) -> str:
    detail = _parsed(answer).get("detail") or answer.reason_phrase or answer.status_code
    return str(detail)[:300]
