"""A table of video requests: its rows, their checks and destinations, the columns of the result table."""
