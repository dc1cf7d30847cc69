"""From a submit body to a job in the ledger: read, fetch the inputs, price, accept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from airflow_provider_grokvideo.emulator import fields, prices, sources, validation
from airflow_provider_grokvideo.emulator.directives import Directives
from airflow_provider_grokvideo.emulator.ledger import shorten
from airflow_provider_grokvideo.emulator.orders import Doom, JobOrder, Medium
from airflow_provider_grokvideo.emulator.recipe import (
    FPS,
    Footage,
    Recipe,
    Still,
    edited_size,
    frame_size,
    nearest_aspect,
    resolution_of,
)
from airflow_provider_grokvideo.emulator.world import Job, World


async def book(world: World, endpoint: str, body: Mapping[str, Any], directives: Directives) -> Job:
    """Accept a submit and bill it.

    Raises:
        Refused: with the answer of the service; nothing is booked.
    """
    order = validation.read_order(endpoint, body, directives.prompt, world.quirks)
    notes: list[str] = []
    try:
        stills, source = await _inputs(world, order, notes)
    except sources.MissingFile as missing:
        raise fields.invalid(f"file {missing} does not exist") from None
    except sources.UnusableSource as problem:
        order, stills, source = replace(order, doom=Doom("invalid_argument", str(problem))), (), None
    if source is not None:
        order = validation.judge_source(order, source.seconds, world.quirks)
    recipe = None if order.doom else _recipe(order, stills, source)
    return world.accept(
        order, recipe, _price(order, source), shorten(dict(body)), directives, str(body.get("prompt") or ""), notes
    )


async def _inputs(world: World, order: JobOrder, notes: list[str]) -> tuple[tuple[Still, ...], Footage | None]:
    async def find(medium: Medium, kind: str) -> Footage:
        footage = await sources.find(world, medium, kind)
        if footage.origin.startswith("stand-in"):
            notes.append(footage.origin)
        return footage

    stills = []
    if order.image:
        stills.append(Still("first", await find(order.image, "image")))
    stills += [Still("reference", await find(medium, "image")) for medium in order.references]
    stills += [Still("key", await find(medium, "image"), at) for at, medium in order.keyframes]
    if order.last_frame:
        stills.append(Still("last", await find(order.last_frame, "image"), float(order.seconds)))
    source = await find(order.video, "video") if order.video else None
    return tuple(stills), source


def _recipe(order: JobOrder, stills: tuple[Still, ...], source: Footage | None) -> Recipe:
    if source is not None:
        width, height = edited_size(source.width, source.height)
        added = order.seconds * FPS if order.mode == "extend" else 0
        return Recipe(
            mode=order.mode,
            prompt=order.prompt,
            model=order.model,
            width=width,
            height=height,
            frames=source.frames + added,
            audio=source.audio,
            source=source,
            depth=1 + (source.recipe.depth if source.recipe else 0),
        )
    aspect = order.aspect
    first = next((still.picture for still in stills if still.role == "first"), None)
    if order.mode == "image-to-video" and first is not None:
        aspect = nearest_aspect(first.width, first.height)
    width, height = frame_size(aspect, order.resolution)
    return Recipe(
        mode=order.mode,
        prompt=order.prompt,
        model=order.model,
        width=width,
        height=height,
        frames=order.seconds * FPS,
        audio=order.audio,
        stills=stills,
    )


def _price(order: JobOrder, source: Footage | None) -> int:
    if order.video is None:
        return prices.ticks(order.model, order.resolution, order.seconds, images=len(order.pictures))
    if source is None:
        return 0
    made = order.seconds if order.mode == "extend" else source.seconds
    tier = resolution_of(*edited_size(source.width, source.height))
    return prices.ticks(order.model, tier, made, input_seconds=source.seconds)
