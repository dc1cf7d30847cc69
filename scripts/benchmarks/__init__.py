"""What `make bench` is made of: the work, the service that finishes it, the ways to wait for it, and the report."""
