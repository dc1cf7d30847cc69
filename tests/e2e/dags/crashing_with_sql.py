"""A DAG whose workers die, with the journal in an SQLite file, as with ``[grokvideo] ledger_path``."""

import os

os.environ["AIRFLOW__GROKVIDEO__LEDGER_PATH"] = os.environ.get("GROKVIDEO_TEST_DATABASE", "ledger.db")

from crash_points import crashing

crashing("crashing_with_sql")
