"""What the operators and the sensor have in common once Airflow has called them."""
