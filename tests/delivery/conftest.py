"""Real media files and a real server."""

from media_fixtures import media, pauses, server

__all__ = ["media", "pauses", "server"]
