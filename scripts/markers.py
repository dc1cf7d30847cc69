"""Parts of a document that a script writes: what stands between two markers, which are HTML comments."""

from __future__ import annotations


class NoMarkers(ValueError):
    """The document does not have the two markers, once each and in their order; the message names them."""


def replaced(text: str, section: str, between: str, name: str) -> str:
    """Return a document with other text in one of its sections.

    Args:
        text: The document.
        section: Its name: the markers are ``<!-- section: begin -->`` and ``<!-- section: end -->``.
        between: What stands there afterwards.
        name: What messages call the document.

    Raises:
        NoMarkers: The markers are not there, once each and in this order.
    """
    begin, end = f"<!-- {section}: begin -->", f"<!-- {section}: end -->"
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed) or text.count(begin) != 1 or text.count(end) != 1:
        raise NoMarkers(f"{name} does not have {begin} and then {end}, once each")
    return f"{before}{begin}\n{between.strip()}\n{end}{after}"
