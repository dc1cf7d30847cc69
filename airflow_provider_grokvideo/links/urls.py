"""Addresses of the page, of Airflow's UI, and their path prefix."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode, urlsplit

from airflow_provider_grokvideo.compat import conf

if TYPE_CHECKING:
    from airflow_provider_grokvideo.core.purchases.records import Owner


def query(owner: Owner) -> str:
    """Return a task instance, or a row of its table, as a URL query."""
    return urlencode(owner.words(), quote_via=quote)


def page(owner: Owner) -> str:
    """Return the address of a task instance's page."""
    return f"video?{query(owner)}"


def tab(owner: Owner, root: str = "") -> str:
    """Return the address of a task instance's Video tab in Airflow's UI."""
    dag_id, run_id, task_id = (quote(each, safe="") for each in (owner.dag_id, owner.run_id, owner.task_id))
    mapped = "" if owner.map_index < 0 else f"/mapped/{owner.map_index}"
    return f"{root}/dags/{dag_id}/runs/{run_id}/tasks/{task_id}{mapped}/plugin/grokvideo"


def run(owner: Owner, root: str = "") -> str:
    """Return the address of a DAG run in Airflow's UI."""
    return f"{root}/dags/{quote(owner.dag_id, safe='')}/runs/{quote(owner.run_id, safe='')}"


def base_path() -> str:
    """Return the path prefix of Airflow, without a slash at its end."""
    return urlsplit(base()).path


def base() -> str:
    """Return Airflow's base URL or its path, without a slash at its end."""
    address = (conf.get("api", "base_url", fallback="") or "").strip().rstrip("/")
    parts = urlsplit(address)
    if parts.scheme in ("http", "https") and parts.netloc:
        return address
    return parts.path if parts.path.startswith("/") else ""
