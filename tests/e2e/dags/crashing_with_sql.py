"""A DAG whose workers die, with the journal where it is without a setting: in the SQLite file of the ledger."""

from crash_points import crashing

crashing("crashing_with_sql")
