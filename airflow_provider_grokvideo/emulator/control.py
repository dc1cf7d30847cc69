"""The emulator's own controls, below ``/_emulator``: read the ledger, script faults, reset. No key needed."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from airflow_provider_grokvideo.emulator.faults import read_script
from airflow_provider_grokvideo.emulator.quirks import check_quirk
from airflow_provider_grokvideo.emulator.tempo import Tempo
from airflow_provider_grokvideo.emulator.world import World


def control_routes(world: World) -> list[Route]:
    """Return the control routes."""

    async def health(request: Request) -> Response:
        return JSONResponse({"status": "ok", "jobs": len(world.jobs)})

    async def ledger(request: Request) -> Response:
        return JSONResponse(ledger_of(world))

    async def script(request: Request) -> Response:
        try:
            told = apply_script(world, await request.json())
        except (ValueError, TypeError, AttributeError) as problem:
            return JSONResponse({"error": str(problem)}, 400)
        return JSONResponse(told)

    async def reset(request: Request) -> Response:
        world.reset()
        return JSONResponse({"status": "reset"})

    return [
        Route("/_emulator/health", health, methods=["GET"]),
        Route("/_emulator/ledger", ledger, methods=["GET"]),
        Route("/_emulator/script", script, methods=["POST"]),
        Route("/_emulator/reset", reset, methods=["POST"]),
    ]


def ledger_of(world: World) -> dict[str, Any]:
    """Return submissions, bills, polls and leaks as plain JSON."""
    starts = world.starts()
    return {
        "starts": [asdict(start) for start in starts],
        "billed_ticks": sum(start.billed_ticks for start in starts),
        "polls": world.polls(),
        "leaks": world.leaks,
    }


def apply_script(world: World, orders: Any) -> dict[str, Any]:
    """Carry out ``{"faults": [...], "tempo": "...", "quirks": {...}}``, a list of faults, or a single fault.

    Raises:
        ValueError: A fault, tempo or quirk is unknown; nothing was changed.
    """
    if isinstance(orders, list):
        orders = {"faults": orders}
    if "fault" in orders:
        orders = {"faults": [orders]}
    if unknown := set(orders) - {"faults", "tempo", "quirks"}:
        raise ValueError(f"unknown order {', '.join(sorted(unknown))}; expected one of: faults, tempo, quirks")
    faults = [read_script(entry) for entry in orders.get("faults", [])]
    tempo = Tempo.parse(orders["tempo"]) if "tempo" in orders else None
    quirks = {str(name): str(value) for name, value in orders.get("quirks", {}).items()}
    for name, value in quirks.items():
        check_quirk(name, value)
    with world.lock:
        for fault in faults:
            world.faults.add(fault)
        world.tempo = tempo or world.tempo
        world.quirks |= quirks
    return {"faults": [fault.word for fault in faults], "tempo": orders.get("tempo"), "quirks": quirks}
