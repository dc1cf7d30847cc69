"""Core logic of Grok video requests: no Airflow, no I/O, no clock."""
