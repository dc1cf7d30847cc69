"""Operators that submit a video request and hand over a durable video."""
