"""An auth manager that lets a user called ``guest`` see one DAG only, as those of real deployments do."""

from __future__ import annotations

from typing import Any

from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager

GUESTS_SEE = "patience"


class PerDagAuthManager(SimpleAuthManager):
    """Airflow's simple auth manager, with one user of few rights."""

    def is_authorized_dag(self, *, method: Any, user: Any, access_entity: Any = None, details: Any = None) -> bool:
        """Say whether a user may do something with a DAG; without details, with any."""
        dag_id = getattr(details, "id", None)
        if user.username == "guest" and dag_id not in (None, GUESTS_SEE):
            return False
        return super().is_authorized_dag(method=method, user=user, access_entity=access_entity, details=details)
