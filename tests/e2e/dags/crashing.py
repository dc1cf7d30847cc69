"""A DAG whose workers die, with the journal in Airflow's task state store."""

from crash_points import crashing

crashing("crashing")
