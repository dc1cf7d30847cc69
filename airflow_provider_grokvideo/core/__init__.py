"""What is known about Grok video requests: no Airflow, no I/O, no clock."""
