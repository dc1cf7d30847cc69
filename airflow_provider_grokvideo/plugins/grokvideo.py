"""Airflow plugin of the Video tab and the Grok videos page.

Airflow imports this module in every process that loads plugins, so the page itself is only imported by its first
request.
"""

from __future__ import annotations

from typing import Any

from airflow.plugins_manager import AirflowPlugin

from airflow_provider_grokvideo.compat import conf
from airflow_provider_grokvideo.links.urls import base_path

PREFIX = "/grokvideo"

TASK_TYPES = (
    "GrokVideoGenerateOperator",
    "GrokVideoEditOperator",
    "GrokVideoExtendOperator",
    "GrokVideoReviewOperator",
    "GrokVideoBulkOperator",
    "GrokVideoDecoratedOperator",
    "GrokVideoSensor",
)
"""Names only: importing the classes would slow down each process that loads plugins. A test compares them."""


async def page(scope: Any, receive: Any, send: Any) -> None:
    """Serve the page: an ASGI application, built by its first request."""
    from airflow_provider_grokvideo.plugins.app import application

    await application()(scope, receive, send)


class KnowsAirflow:
    """Middleware that gives the page access to its own API server's REST API without a network."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Handle a request."""
        if scope["type"] == "http":
            scope["grokvideo.airflow"] = (self.app, scope["app"])
        await self.app(scope, receive, send)


def _views() -> list[dict[str, Any]]:
    here = f"{base_path()}{PREFIX}"
    icons = {"icon": f"{here}/static/icon.svg", "icon_dark_mode": f"{here}/static/icon-dark.svg"}
    place = "dag_id={DAG_ID}&run_id={RUN_ID}&task_id={TASK_ID}&map_index={MAP_INDEX}"
    return [
        {
            "name": "Video",
            "href": f"{here}/video?{place}",
            "destination": "task_instance",
            "url_route": "grokvideo",
            # Airflow 3.4 shows the tab on these tasks only; older versions ignore the key.
            "applies_to": {"task_instance.operator": [*TASK_TYPES]},
            **icons,
        },
        {
            "name": "Grok videos",
            "href": f"{here}/",
            "destination": "nav",
            "category": "browse",
            "url_route": "grokvideos",
            **icons,
        },
    ]


_ON = conf.getboolean("grokvideo", "ui", fallback=True)


class GrokVideoPlugin(AirflowPlugin):
    """The page, the tab on task instances, and the entry in the navigation."""

    name = "grokvideo"
    fastapi_apps = [{"app": page, "url_prefix": PREFIX, "name": "Grok videos"}] if _ON else []
    fastapi_root_middlewares = (
        [{"name": "Grok videos", "middleware": KnowsAirflow, "args": [], "kwargs": {}}] if _ON else []
    )
    external_views = _views() if _ON else []
