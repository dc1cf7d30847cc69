"""A DAG whose workers die, with the journal in Airflow's task state store: there is no ledger, so no SQL journal."""

import os

os.environ["AIRFLOW__GROKVIDEO__LEDGER_PATH"] = "none"

from crash_points import crashing

crashing("crashing")
