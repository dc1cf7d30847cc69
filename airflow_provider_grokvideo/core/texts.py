"""Texts: rendered data, characters that cannot be encoded, numbers of things."""

from __future__ import annotations

import re

USE_THE_OUTPUT = (
    "or the manifest itself: pass the upstream task's .output, or set render_template_as_native_obj=True on the DAG"
)
"""The end of a message about another task's result that a template rendered to text."""

_DATA_TEXT = re.compile(
    r"\s*(?:[\[({].*(?:['\"]\w+['\"]\s*:|\{)|LazyXComSequence\(|<[A-Za-z_.]+ object at )", re.DOTALL
)


def is_rendered_data(text: str) -> bool:
    """Return whether a text is a manifest, or a list of manifests, that a template rendered to text."""
    return bool(_DATA_TEXT.match(text[:10_000]))


def can_be_sent(text: str) -> bool:
    """Return whether UTF-8 can encode a text; it cannot encode a lone surrogate (half an emoji)."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def counted(number: int, thing: str) -> str:
    """Return a number of things: ``1 row``, ``2 rows``."""
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"
