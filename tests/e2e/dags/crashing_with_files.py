"""A DAG whose workers die, with the journal in files, as if its workers had ``[grokvideo] journal_path`` set."""

import os

os.environ["AIRFLOW__GROKVIDEO__JOURNAL_PATH"] = os.environ.get("GROKVIDEO_TEST_JOURNAL", "journal")

from crash_points import crashing

crashing("crashing_with_files")
