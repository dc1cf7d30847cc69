"""Places of a journal."""

from journal_fixtures import at_once, exclusive_tree, gate, tree

__all__ = ["at_once", "exclusive_tree", "gate", "tree"]
