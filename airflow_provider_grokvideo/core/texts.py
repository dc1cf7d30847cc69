"""Recognise texts that no user meant: what a template made of data, and what cannot be encoded."""

from __future__ import annotations

import re

USE_THE_OUTPUT = (
    "or the manifest itself: pass the upstream task's .output, or set render_template_as_native_obj=True on the DAG"
)
"""What to write where a template made a text of another task's result."""

_DATA_TEXT = re.compile(
    r"\s*(?:[\[({].*(?:['\"]\w+['\"]\s*:|\{)|LazyXComSequence\(|<[A-Za-z_.]+ object at )", re.DOTALL
)


def is_rendered_data(text: str) -> bool:
    """Say whether a text is what a template makes of a manifest or of a list of them, instead of a name."""
    return bool(_DATA_TEXT.match(text[:10_000]))


def can_be_sent(text: str) -> bool:
    """Say whether UTF-8 has a form for a text; half an emoji, as a cut in JavaScript leaves it, has none."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
