"""Chain of a clip on the page: what it was made from, and what was made from it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from airflow_provider_grokvideo.links.urls import page, query
from airflow_provider_grokvideo.plugins.values import file_name, is_path, web_link
from airflow_provider_grokvideo.plugins.view import Shown, video


def before(shown: Shown, others: Iterable[Shown]) -> dict[str, Any] | None:
    """Return the source of an edit, an extension or an animated image; None for text-to-video.

    Args:
        shown: The card.
        others: Cards that may include the task which made the source.
    """
    source = shown.card.made_from
    if source is None:
        return None
    told: dict[str, Any] = {
        "label": file_name(source.address) or source.field,
        "page": None,
        "video": None,
        "image": None,
        "prompt": None,
        "request_id": source.request_id,
    }
    maker = next((each for each in others if _made(each, source.request_id)), None)
    if maker is not None:
        known = {"label": maker.label, "page": page(maker.owner), "prompt": maker.card.prompt}
        return {**told, **known, "video": video(maker)}
    link = web_link(source.address)
    address = link or (f"media/source?{query(shown.owner)}" if is_path(source.address) else None)
    if address is None:
        return told
    if source.field == "image":
        return {**told, "image": address}
    kind = "link" if link else "file"
    return {**told, "video": {"href": address, "kind": kind, "download": None, "poster": None}}


def chain(shown: Shown, others: Sequence[Shown]) -> list[dict[str, Any]]:
    """Return a clip with its sources before it and its results after it."""
    found = [shown]
    while (maker := _maker(found[0], others)) is not None and maker not in found:
        found.insert(0, maker)
    waiting = [shown]
    while waiting:
        made_of = waiting.pop(0)
        for each in others:
            source = each.card.made_from
            if source is not None and each not in found and _made(made_of, source.request_id):
                found.append(each)
                waiting.append(each)
    return [_link(each, this=each is shown) for each in found]


def _made(shown: Shown, request_id: str | None) -> bool:
    return request_id is not None and shown.card.request_id == request_id


def _maker(shown: Shown, others: Iterable[Shown]) -> Shown | None:
    source = shown.card.made_from
    wanted = None if source is None else source.request_id
    return next((each for each in others if each is not shown and _made(each, wanted)), None)


def _link(shown: Shown, *, this: bool) -> dict[str, Any]:
    found = video(shown) or {}
    return {
        "label": shown.label,
        "page": page(shown.owner),
        "outcome": shown.card.outcome,
        "prompt": shown.card.prompt,
        "mode": shown.card.mode,
        "poster": found.get("poster"),
        "href": found.get("href"),
        "this": this,
    }
