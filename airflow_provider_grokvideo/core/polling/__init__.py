"""When to poll, and what a poll settles."""
