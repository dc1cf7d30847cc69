"""A DAG file that cannot be imported."""

from airflow.sdk import DAG

DAG("never", schedule=[1 / 0])
