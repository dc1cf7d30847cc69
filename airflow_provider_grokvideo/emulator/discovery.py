"""Routes of the key's facts and of the models that it may use (contract §2.1, §2.2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from airflow_provider_grokvideo.emulator import shapes
from airflow_provider_grokvideo.emulator.prices import CLASSIC, LITE, MODEL_15
from airflow_provider_grokvideo.emulator.shapes import Answered
from airflow_provider_grokvideo.emulator.validation import ALIASES
from airflow_provider_grokvideo.emulator.wire import respond
from airflow_provider_grokvideo.emulator.world import KEY_ZDR, World

CREATED = 1_767_225_600
TEAM = "00000000-0000-4000-8000-00000000beef"
USER = "00000000-0000-4000-8000-00000000cafe"
KEY_ID = "00000000-0000-4000-8000-00000000f00d"

_INPUTS = {CLASSIC: ["text", "image", "video"], MODEL_15: ["text", "image", "audio"], LITE: ["text", "image"]}

KeyOf = Callable[[World, Request], str]


def routes(world: World, key_of: KeyOf) -> list[Route]:
    """Return the routes of key facts and models."""

    async def api_key(request: Request) -> Response:
        return respond(Answered(200, _key_facts(key_of(world, request))))

    async def me(request: Request) -> Response:
        key = key_of(world, request)
        if world.quirks["me"] == "404":
            return respond(shapes.error(404, "not-found", "No such operation."))
        return respond(Answered(200, _me(key)))

    async def video_models(request: Request) -> Response:
        key_of(world, request)
        return respond(Answered(200, {"models": [_video_model(name) for name in _INPUTS]}))

    async def video_model(request: Request) -> Response:
        key_of(world, request)
        name = request.path_params["name"]
        name = ALIASES.get(name, name)
        return respond(Answered(200, _video_model(name)) if name in _INPUTS else _unknown(name))

    async def models(request: Request) -> Response:
        key_of(world, request)
        return respond(Answered(200, {"object": "list", "data": [_model(name) for name in _INPUTS]}))

    async def model(request: Request) -> Response:
        key_of(world, request)
        name = request.path_params["name"]
        return respond(Answered(200, _model(name)) if name in _INPUTS else _unknown(name))

    return [
        Route("/v1/api-key", api_key),
        Route("/v1/me", me),
        Route("/v1/video-generation-models", video_models),
        Route("/v1/video-generation-models/{name}", video_model),
        Route("/v1/models", models),
        Route("/v1/models/{name}", model),
    ]


def _key_facts(key: str) -> dict[str, Any]:
    return {
        "redacted_api_key": f"xai-...{key[-4:]}",
        "user_id": USER,
        "name": "emulator",
        "create_time": "2026-01-01T00:00:00Z",
        "modify_time": "2026-01-01T00:00:00Z",
        "modified_by": USER,
        "team_id": TEAM,
        "acls": ["api-key:model:*", "api-key:endpoint:*"],
        "api_key_id": KEY_ID,
        "team_blocked": False,
        "api_key_blocked": False,
        "api_key_disabled": False,
    }


def _me(key: str) -> dict[str, Any]:
    return {
        "user_id": USER,
        "team_id": TEAM,
        "zdr_status": "zdr" if key == KEY_ZDR else "no_zdr",
        "team_blocked": False,
        "api_key": {
            "redacted_api_key": f"xai-...{key[-4:]}",
            "api_key_id": KEY_ID,
            "blocked": False,
            "disabled": False,
        },
    }


def _video_model(name: str) -> dict[str, Any]:
    return {
        **_model(name),
        "fingerprint": "fp_emulator",
        "version": "1.0",
        "input_modalities": _INPUTS[name],
        "output_modalities": ["video"],
        "aliases": [alias for alias, target in ALIASES.items() if target == name],
    }


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "created": CREATED, "object": "model", "owned_by": "xai"}


def _unknown(name: str) -> Answered:
    return shapes.error(404, "not-found", f"The model {name} does not exist or your team has no access to it.")
