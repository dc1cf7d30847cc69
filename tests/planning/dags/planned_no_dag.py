"""No DAG, although it talks of Airflow."""
