"""Tables of requests: rows, states of rows, rounds of a task."""
