"""Retry policies for tasks of this provider; Airflow 3.3 and newer."""

from __future__ import annotations

from airflow_provider_grokvideo.policies.grokvideo import GrokVideoRetryPolicy

__all__ = ["GrokVideoRetryPolicy"]
