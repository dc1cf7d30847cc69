"""Where the journal of purchases lives: in Airflow's task state store, or as files in object storage."""
