"""Bulk tasks: a table of requests in one task."""
