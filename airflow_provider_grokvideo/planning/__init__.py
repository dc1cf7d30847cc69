"""Worst-case cost of a DAG, without running it."""
