"""A few short tasks at once: they make the executor start all of its workers."""

from __future__ import annotations

import time

from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG

with DAG("warm_up", schedule=None):
    PythonOperator.partial(task_id="nap", python_callable=time.sleep).expand(op_args=[[2.0]] * 8)
