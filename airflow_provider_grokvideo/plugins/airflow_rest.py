"""Client of Airflow's REST API, inside the API server's process and with the permissions of the page's user.

Airflow's own code refuses what the user may not see; the database is never accessed directly.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from types import TracebackType
from typing import Any
from urllib.parse import quote

import httpx
from fastapi import HTTPException, Request
from typing_extensions import Self

from airflow_provider_grokvideo.core import cards
from airflow_provider_grokvideo.core.purchases.records import Owner
from airflow_provider_grokvideo.plugins.view import Task

PAGE = 100
"""Airflow's default for the longest page."""

LARGEST_CARD = 64 * 1024
"""Largest card in bytes; usual ones have a few thousand."""

MOST = 2_000
"""Maximum number of task instances for one page."""


class Airflow:
    """The REST API with the permissions of one user.

    Args:
        request: The user's request for the page; its credentials are passed on.
    """

    def __init__(self, request: Request) -> None:
        inner, app = request.scope["grokvideo.airflow"]
        state = request.scope.get("state")

        async def as_user(scope: Any, receive: Any, send: Any) -> None:
            # Airflow's middleware may have renewed the user's token; the user is in the state.
            await inner({**scope, "app": app, "state": dict(state or {})}, receive, send)

        names = ("authorization", "cookie")
        headers = {name: request.headers[name] for name in names if name in request.headers}
        transport = httpx.ASGITransport(app=as_user, raise_app_exceptions=False)
        self._http = httpx.AsyncClient(
            transport=transport, base_url="http://airflow", headers=headers, trust_env=False, timeout=60
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def get(self, path: str, **params: Any) -> Any:
        """Return the JSON of a path below ``/api/v2``.

        Raises:
            HTTPException: Airflow refuses the user (401, 403), does not find it (404), or fails (502).
        """
        return _told(await self._http.get(f"/api/v2{path}", params=params))

    async def card(self, owner: Owner) -> cards.Card | None:
        """Return the card of a task instance; None if the XCom value is not a card.

        Raises:
            HTTPException: As :meth:`get`; 404 if there is no XCom value.
        """
        path = f"/api/v2{_task(owner)}/xcomEntries/{cards.KEY}"
        answer = await self._http.get(path, params={"map_index": owner.map_index})
        if len(answer.content) > LARGEST_CARD:
            return None
        try:
            value = _told(answer)["value"]
        except RecursionError:
            return None
        # Airflow 3.1 encodes a value that was edited in its UI twice.
        for _ in range(2):
            if isinstance(value, str):
                try:
                    value = json.loads(value)
                except (ValueError, RecursionError):
                    return None
        return cards.parse(value)

    async def task_instance(self, owner: Owner) -> dict[str, Any]:
        """Return a task instance.

        Raises:
            HTTPException: As :meth:`get`.
        """
        mapped = "" if owner.map_index < 0 else f"/{owner.map_index}"
        found: dict[str, Any] = await self.get(f"{_task(owner)}{mapped}")
        return found

    async def tasks(self, owners: Sequence[Owner]) -> dict[Owner, Task]:
        """Return the states of up to :data:`MOST` task instances.

        Raises:
            HTTPException: As :meth:`get`.
        """
        wanted = set(owners)
        body = {
            "dag_ids": sorted({owner.dag_id for owner in wanted}),
            "dag_run_ids": sorted({owner.run_id for owner in wanted}),
            "task_ids": sorted({owner.task_id for owner in wanted}),
            "page_limit": PAGE,
        }
        known: dict[Owner, Task] = {}
        for offset in range(0, MOST, PAGE) if wanted else ():
            path = "/api/v2/dags/~/dagRuns/~/taskInstances/list"
            found = _told(await self._http.post(path, json={**body, "page_offset": offset}))["task_instances"]
            for each in found:
                owner = Owner(each["dag_id"], each["dag_run_id"], each["task_id"], each["map_index"])
                if owner in wanted:
                    known[owner] = task_of(each)
            if len(found) < PAGE or len(known) == len(wanted):
                break
        return known

    async def may_see(self, dag_id: str) -> bool:
        """Return whether the user may read the XCom values of a DAG."""
        try:
            await self.get(f"/dags/{quote(dag_id, safe='')}/dagRuns/~/taskInstances/~/xcomEntries", limit=1)
        except HTTPException as refused:
            if refused.status_code in (403, 404):
                return False
            raise
        return True


def task_of(found: dict[str, Any]) -> Task:
    """Return the page's data of a task instance."""
    retries = found.get("max_tries")
    tries = None if retries is None else retries + 1
    return Task(found.get("state"), found.get("try_number"), tries, found.get("rendered_map_index"))


def _task(owner: Owner) -> str:
    dag_id, run_id, task_id = (quote(each, safe="") for each in (owner.dag_id, owner.run_id, owner.task_id))
    return f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}"


def _told(answer: httpx.Response) -> Any:
    if answer.is_success:
        return answer.json()
    # For Airflow a bad request is an impossible task instance, such as an invalid name or map index.
    status = {400: 404, 401: 401, 403: 403, 404: 404, 422: 404}.get(answer.status_code, 502)
    raise HTTPException(status, _detail(answer))


def _detail(answer: httpx.Response) -> str:
    try:
        told = answer.json().get("detail")
    except ValueError:
        told = None
    return told if isinstance(told, str) else f"Airflow returned status {answer.status_code}"
