"""Airflow hook of Grok video connections."""
