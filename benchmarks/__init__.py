"""What `make bench` is made of: the work, the service that finishes it, the ways to wait for it, and the report."""

import sys
from pathlib import Path

# Processes and Airflow are started by the same means as those of the other verbs.
sys.path.append(str(Path(__file__).resolve().parent.parent / "scripts"))
