"""Fixtures that drive operators as Airflow does."""

from airflow_fixtures import _no_ledger, backend, drive, logs, ti

__all__ = ["_no_ledger", "backend", "drive", "logs", "ti"]
