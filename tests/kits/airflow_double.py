"""Airflow's REST API as far as the page asks it, with as many cards as a test wants."""

from __future__ import annotations

from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Annotated, Any

import httpx
from fastapi import Body, FastAPI, Header, HTTPException

from airflow_provider_grokvideo.core.purchases.records import Owner
from airflow_provider_grokvideo.plugins.app import application

PREFIX = "/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances"


def iso(epoch: float) -> str:
    """Return a moment as Airflow writes it."""
    return datetime.fromtimestamp(epoch, timezone.utc).isoformat().replace("+00:00", "Z")


@dataclass
class Double:
    """What there is: cards by task instance with the moment they were written, and who may see which DAG.

    Attributes:
        cards: Value and epoch seconds of each card.
        states: State of a task instance; ``deferred`` where nothing is said.
        seen: How often each kind of question was asked.
        gone: Task instances whose card disappears between the list and the reading.
        newest_first: Whether the list can be sorted, as from Airflow 3.2 on.
    """

    cards: dict[Owner, tuple[Any, float]] = field(default_factory=dict)
    states: dict[Owner, str] = field(default_factory=dict)
    seen: Counter[str] = field(default_factory=Counter)
    gone: set[Owner] = field(default_factory=set)
    newest_first: bool = True
    users: dict[str, set[str]] = field(default_factory=lambda: {"admin": {"films", "others"}, "guest": {"others"}})

    def add(self, task_id: str, at: float, *, dag_id: str = "films", map_index: int = -1, **card: Any) -> Owner:
        """Leave a card."""
        owner = Owner(dag_id, "run", task_id, map_index)
        value = {"schema": 1, "outcome": "delivered", "at": at, "request_id": f"r-{task_id}-{map_index}", **card}
        self.cards[owner] = (value, at)
        return owner

    def may(self, user: str | None, dag_id: str) -> None:
        """Refuse as Airflow does."""
        if user is None:
            raise HTTPException(401, "Not authenticated")
        if dag_id != "~" and dag_id not in self.users[user]:
            raise HTTPException(403, "Forbidden")

    def app(self) -> FastAPI:
        """Return the API."""
        app = FastAPI()

        @app.get(f"{PREFIX}/{{task_id}}/xcomEntries")
        def entries(
            dag_id: str,
            run_id: str,
            limit: int = 50,
            offset: int = 0,
            order_by: str = "",
            authorization: str | None = Header(None),
        ) -> Any:
            self.seen["list"] += 1
            self.may(authorization, dag_id)
            found = [
                (owner, at)
                for owner, (_, at) in self.cards.items()
                if owner.dag_id in self.users[str(authorization)] and dag_id in ("~", owner.dag_id)
            ]
            if order_by and self.newest_first:
                found.sort(key=lambda each: -each[1])
            listed = [
                {"key": "grokvideo_card", "dag_id": o.dag_id, "run_id": o.run_id, "task_id": o.task_id,
                 "map_index": o.map_index, "timestamp": iso(at)}
                for o, at in found[offset : offset + min(limit, 100)]
            ]  # fmt: skip
            return {"xcom_entries": listed, "total_entries": len(found)}

        @app.get(f"{PREFIX}/{{task_id}}/xcomEntries/grokvideo_card")
        def card(
            dag_id: str, run_id: str, task_id: str, map_index: int = -1, authorization: str | None = Header(None)
        ) -> Any:
            self.seen["card"] += 1
            self.may(authorization, dag_id)
            owner = Owner(dag_id, run_id, task_id, map_index)
            if owner not in self.cards or owner in self.gone:
                raise HTTPException(404, "XCom entry not found")
            return {"value": self.cards[owner][0]}

        @app.post(f"{PREFIX}/list")
        def tasks(body: Annotated[dict[str, Any], Body()], authorization: str | None = Header(None)) -> Any:
            self.seen["tasks"] += 1
            found = [
                {"dag_id": o.dag_id, "dag_run_id": o.run_id, "task_id": o.task_id, "map_index": o.map_index,
                 "state": self.states.get(o, "deferred"), "try_number": 1, "max_tries": 0}
                for o in self.cards
                if o.task_id in body["task_ids"]
            ]  # fmt: skip
            at = body["page_offset"]
            return {"task_instances": found[at : at + body["page_limit"]]}

        @app.get(f"{PREFIX}/{{task_id}}")
        @app.get(f"{PREFIX}/{{task_id}}/{{map_index}}")
        def task(
            dag_id: str, run_id: str, task_id: str, map_index: int = -1, authorization: str | None = Header(None)
        ) -> Any:
            self.may(authorization, dag_id)
            owner = Owner(dag_id, run_id, task_id, map_index)
            state = self.states.get(owner, "deferred")
            return {"state": state, "try_number": 1, "max_tries": 0, "operator_name": "GrokVideoGenerateOperator"}

        @app.get("/api/v2/dags")
        def dags(authorization: str | None = Header(None)) -> Any:
            self.may(authorization, "~")
            return {"dags": []}

        return app

    @asynccontextmanager
    async def page(self, user: str | None = "admin") -> Any:
        """Yield a client of the page as a user."""
        airflow, ours = self.app(), application()

        async def inside(scope: Any, receive: Any, send: Any) -> None:
            await ours({**scope, "grokvideo.airflow": (airflow, airflow)}, receive, send)

        headers = {} if user is None else {"Authorization": user}
        transport = httpx.ASGITransport(app=inside)
        async with httpx.AsyncClient(transport=transport, base_url="http://page", headers=headers) as client:
            yield client
