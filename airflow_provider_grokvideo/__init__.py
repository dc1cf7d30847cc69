"""Apache Airflow provider for xAI's Grok Imagine video API."""

from airflow_provider_grokvideo.provider_info import __version__

__all__ = ["__version__"]
