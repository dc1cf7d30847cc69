"""Triggers that wait for requests without a worker slot."""
