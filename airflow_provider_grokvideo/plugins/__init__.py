"""The Video tab and the Grok videos page in Airflow's UI."""
