"""Sensors that wait for a request submitted elsewhere."""
