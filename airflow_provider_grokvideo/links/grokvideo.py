"""Links from a task instance to its video and its request.

Airflow creates links on the worker, when a try ends or is deferred, and stores them in XCom; the UI shows them as
buttons under Details. So the worker needs ``[api] base_url`` if Airflow is served under a path.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperatorLink

from airflow_provider_grokvideo.links import urls

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey

    from airflow_provider_grokvideo.core.purchases.records import Owner

log = logging.getLogger(__name__)


def video_page(dag_id: str, run_id: str, task_id: str, map_index: int | None = -1) -> str:
    """Return the URL of a task instance's Video tab in Airflow's UI.

    It starts with ``[api] base_url``, or with a slash if that is not set.
    """
    return urls.tab(_owner(dag_id, run_id, task_id, map_index), urls.base())


def request_page(dag_id: str, run_id: str, task_id: str, map_index: int | None = -1) -> str:
    """Return the URL of the page with the live status of a task instance's request."""
    return f"{urls.base()}/grokvideo/request?{urls.query(_owner(dag_id, run_id, task_id, map_index))}"


class GrokVideoLink(BaseOperatorLink):
    """The button *Video*: opens the task instance's Video tab."""

    name = "Video"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the URL; empty, which shows no button, if it cannot be created."""
        try:
            return video_page(ti_key.dag_id, ti_key.run_id, ti_key.task_id, ti_key.map_index)
        except Exception as error:  # noqa: BLE001 - no link is worth a video
            return _none(self, error)


class XAIRequestLink(BaseOperatorLink):
    """The button *xAI request*: opens the live status of the task instance's request."""

    name = "xAI request"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the URL; empty, which shows no button, if there is no request yet."""
        try:
            if not _request_id(ti_key):
                return ""
            return request_page(ti_key.dag_id, ti_key.run_id, ti_key.task_id, ti_key.map_index)
        except Exception as error:  # noqa: BLE001 - no link is worth a video
            return _none(self, error)


def _request_id(ti_key: TaskInstanceKey) -> Any:
    """Return the request id of the task instance's card, as the page does, else that of the XCom ``request_id``."""
    from airflow.sdk.execution_time.xcom import XCom

    from airflow_provider_grokvideo.core.cards import KEY

    card = XCom.get_value(ti_key=ti_key, key=KEY)
    if isinstance(card, Mapping):
        return card.get("request_id")
    return XCom.get_value(ti_key=ti_key, key="request_id")


def _owner(dag_id: str, run_id: str, task_id: str, map_index: int | None) -> Owner:
    from airflow_provider_grokvideo.core.purchases.records import Owner

    return Owner(dag_id, run_id, task_id, -1 if map_index is None else map_index)


def _none(link: BaseOperatorLink, error: Exception) -> str:
    log.info("Could not create the link %r: %s: %s", link.name, type(error).__name__, error)
    return ""
