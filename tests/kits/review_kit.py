"""Airflow's side of a review: the questions that are asked, and the legs of a task between them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from airflow_kit import TaskInstance, fire

from airflow_provider_grokvideo.compat import TaskAwaitingInput, TaskDeferred

PERSON = {"id": "7", "name": "Ada"}

PAUSES = (TaskDeferred,) if TaskAwaitingInput is None else (TaskDeferred, TaskAwaitingInput)
"""How a task pauses; before Airflow 3.3 one that waits for a person is deferred."""

_MOMENTS = itertools.count()


TI_ID = UUID("0199d5b0-0000-7000-8000-000000000001")


class Event:
    """What a task says about one outlet."""

    def __init__(self) -> None:
        self.extra: dict[str, object] = {}


class Events(dict[Any, Event]):
    """As Airflow's outlet events: what a task says about its outlets."""

    def __missing__(self, outlet: Any) -> Event:
        event = self[outlet] = Event()
        return event


@dataclass
class Desk:
    """Where questions arrive: as Airflow's API server keeps them, the first one of a try."""

    questions: list[dict[str, Any]] = field(default_factory=list)

    def send(self, msg: Any) -> None:
        """Take what a task tells its supervisor."""
        if msg.type == "CreateHITLDetailPayload":
            self.questions.append(json.loads(msg.model_dump_json()))


def said(choice: str, **filled_in: Any) -> dict[str, Any]:
    """Return the answer of a person, as Airflow hands it on."""
    return {
        "chosen_options": [choice],
        "params_input": filled_in,
        "responded_by_user": PERSON,
        "responded_at": f"2026-11-23T07:00:00.{next(_MOMENTS):06}Z",
        "timedout": False,
    }


class Review:
    """A review task as Airflow drives it: each leg is a new operator, whatever crosses is JSON.

    Attributes:
        paused: The method that is called with what the task waits for; None where it ended.
        result: What the task returned.
    """

    def __init__(self, make: Callable[..., Any], store: Any, task_id: str = "review") -> None:
        self._make, self.store = make, store
        self._words: dict[str, Any] = {}
        self.ti = TaskInstance(task_id=task_id)
        self.ti.id = TI_ID  # type: ignore[attr-defined]
        self.outlet_events = Events()
        self._loses = False
        self.paused: str | None = None
        self.result: dict[str, Any] | None = None

    @property
    def _context(self) -> dict[str, Any]:
        return {"ti": self.ti, "task_state_store": self.store, "outlet_events": self.outlet_events}

    @property
    def card(self) -> dict[str, Any]:
        """What the Video tab shows."""
        return self.ti.xcoms["grokvideo_card"]

    def words(self, **words: Any) -> None:
        """Edit the DAG."""
        self._words |= words

    def begin(self, max_tries: int = 1) -> Review:
        """Run a try up to its first question; XCom begins empty, as in Airflow."""
        self.ti.xcoms.clear()
        self.ti.max_tries = max_tries
        return self._leg(lambda operator: operator.execute(self._context))

    def answer(self, choice: str, *, lose_trigger: bool = False, **filled_in: Any) -> Review:
        """Answer, and let the task go on up to its next question or its end; or lose its next trigger."""
        self._loses = lose_trigger
        return self.resume(said(choice, **filled_in))

    def resume(self, event: dict[str, Any]) -> Review:
        """Hand an event to the task."""
        method = self.paused or "execute_after_review"
        return self._leg(lambda operator: operator.resume_execution(method, {"event": event}, self._context))

    def fail(self, why: str) -> Review:
        """Tell the task that its trigger failed."""
        return self._leg(lambda operator: operator.resume_execution("__fail__", {"error": why}, self._context))

    def _leg(self, run: Callable[[Any], Any]) -> Review:
        self.paused = None
        try:
            self.result = run(self._make(**self._words))
        except PAUSES as pause:
            self.paused = pause.method_name
            trigger = getattr(pause, "trigger", None)
        if self.paused in (None, "execute_after_review"):
            return self
        if self._loses:
            return self.fail("Trigger failure")
        (event,) = fire(*trigger.serialize())
        return self.resume(event)
