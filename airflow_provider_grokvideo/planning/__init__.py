"""What a DAG will cost, worked out without running it."""
