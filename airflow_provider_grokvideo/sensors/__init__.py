"""Sensors that wait for requests of other tasks."""
