"""Journal of purchases: in Airflow's task state store, or in files in object storage."""
