"""One task that makes a table of videos."""
