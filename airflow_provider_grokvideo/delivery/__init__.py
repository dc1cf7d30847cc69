"""Delivery of finished videos to storage, and input files of requests."""
