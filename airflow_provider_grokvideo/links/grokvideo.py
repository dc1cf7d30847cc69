"""Where a task instance's video and its request are shown.

Airflow asks for links on the worker, when a try ends or is deferred, and keeps them in XCom; the UI shows them as
buttons under Details. So the worker has to know ``[api] base_url`` where Airflow is served under a path.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow.sdk import BaseOperatorLink

from airflow_provider_grokvideo.compat import conf

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey

    from airflow_provider_grokvideo.core.journal import Owner

log = logging.getLogger(__name__)


def video_page(dag_id: str, run_id: str, task_id: str, map_index: int | None = -1) -> str:
    """Return the address of a task instance's Video tab in Airflow's UI.

    It starts with ``[api] base_url``, or with a slash where that is not set.
    """
    from airflow_provider_grokvideo.core.showing import tab

    return tab(_owner(dag_id, run_id, task_id, map_index), _base())


def request_page(dag_id: str, run_id: str, task_id: str, map_index: int | None = -1) -> str:
    """Return the address of the page that shows what the service says of a task instance's request now."""
    from airflow_provider_grokvideo.core.showing import query

    return f"{_base()}/grokvideo/request?{query(_owner(dag_id, run_id, task_id, map_index))}"


class GrokVideoLink(BaseOperatorLink):
    """The button *Video*: to the task instance's Video tab."""

    name = "Video"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the address; an empty text, which shows no button, where it cannot be made."""
        try:
            return video_page(ti_key.dag_id, ti_key.run_id, ti_key.task_id, ti_key.map_index)
        except Exception as error:  # noqa: BLE001 - no link is worth a video
            return _none(self, error)


class XAIRequestLink(BaseOperatorLink):
    """The button *xAI request*: to what the service says of the task instance's request now."""

    name = "xAI request"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the address; an empty text, which shows no button, where there is no request yet."""
        try:
            if not _request_id(ti_key):
                return ""
            return request_page(ti_key.dag_id, ti_key.run_id, ti_key.task_id, ti_key.map_index)
        except Exception as error:  # noqa: BLE001 - no link is worth a video
            return _none(self, error)


def _request_id(ti_key: TaskInstanceKey) -> Any:
    """Return the id in the task instance's card, which is what the page goes by, or else in the XCom of that name."""
    from airflow.sdk.execution_time.xcom import XCom

    from airflow_provider_grokvideo.core.cards import KEY

    card = XCom.get_value(ti_key=ti_key, key=KEY)
    if isinstance(card, Mapping):
        return card.get("request_id")
    return XCom.get_value(ti_key=ti_key, key="request_id")


def _owner(dag_id: str, run_id: str, task_id: str, map_index: int | None) -> Owner:
    from airflow_provider_grokvideo.core.journal import Owner

    return Owner(dag_id, run_id, task_id, -1 if map_index is None else map_index)


def base_path() -> str:
    """Return the path that Airflow is served under, without a slash at its end."""
    return urlsplit(_base()).path


def _base() -> str:
    """Return what an address in Airflow's UI starts with, without a slash at its end."""
    address = (conf.get("api", "base_url", fallback="") or "").strip().rstrip("/")
    parts = urlsplit(address)
    if parts.scheme in ("http", "https") and parts.netloc:
        return address
    return parts.path if parts.path.startswith("/") else ""


def _none(link: BaseOperatorLink, error: Exception) -> str:
    log.info("No link %r: %s: %s", link.name, type(error).__name__, error)
    return ""
