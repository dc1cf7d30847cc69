"""Real media files, a real server, and places of a journal."""

from journal_fixtures import at_once, exclusive_tree, gate, tree
from media_fixtures import media, pauses, server

__all__ = ["at_once", "exclusive_tree", "gate", "media", "pauses", "server", "tree"]
