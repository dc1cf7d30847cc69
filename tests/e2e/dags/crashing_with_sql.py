"""An Airflow DAG whose workers die, with the journal where it is without a setting: in the ledger's SQLite file."""

from crash_points import crashing

crashing("crashing_with_sql")
