"""Web application of the page: HTML, JSON API and media."""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timezone
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import airflow
from fastapi import Depends, FastAPI, HTTPException, Query, Request
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles

from airflow_provider_grokvideo.core.billing.entries import Entry
from airflow_provider_grokvideo.core.bulk.lines import Status
from airflow_provider_grokvideo.core.cards import Card
from airflow_provider_grokvideo.core.purchases.records import Owner
from airflow_provider_grokvideo.links.urls import base_path
from airflow_provider_grokvideo.plugins import chains, media, rows, spend, values
from airflow_provider_grokvideo.plugins import view as views
from airflow_provider_grokvideo.plugins.airflow_rest import Airflow, task_of
from airflow_provider_grokvideo.plugins.gallery import Catalogue
from airflow_provider_grokvideo.plugins.live_status import Polls
from airflow_provider_grokvideo.plugins.tables import TableCache, with_rows
from airflow_provider_grokvideo.plugins.view import Shown

STATIC = Path(__file__).parent / "static"

WEEK = 7 * 86_400.0
"""Default period of the gallery in seconds."""

LONGEST = 400 * 86_400.0
"""Longest period in seconds: a bit more than a year."""

END_OF_TIME = 250_000_000_000.0
"""Latest allowed moment in epoch seconds, in the year 9892."""

MOST = 500
"""Videos on one page."""

ROWS = 100
"""Rows of a table on one page."""

MOST_ROWS = 1_000_000
"""Largest offset of a page of rows; tables have at most 100,000."""

LONGEST_PROMPT = 5_000
"""Characters of a prompt in the gallery; the service takes 4,096."""

NOTHING_YET = "This task has no video yet. It has not submitted a request, or could not write its card to XCom."

NO_CARD = "The card of this task is invalid or of another version of the provider, and cannot be shown."

log = logging.getLogger(__name__)

_MEDIA = "'self' https: http://127.0.0.1:* http://localhost:*"
HEADERS = {
    "Content-Security-Policy": (
        f"default-src 'self'; img-src {_MEDIA} data:; media-src {_MEDIA}; object-src 'none'; base-uri 'none'; "
        "form-action 'self'; frame-ancestors 'self'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


def _owner(
    dag_id: str,
    run_id: str,
    task_id: str,
    map_index: Annotated[str | None, Query()] = None,
    item: Annotated[str | None, Query()] = None,
) -> Owner:
    """Return the task instance of a query, or a row of it; for an unmapped one Airflow leaves its placeholder."""
    index = int(map_index) if map_index and re.fullmatch(r"\d{1,9}", map_index, re.ASCII) else -1
    return Owner(dag_id, run_id, task_id, index, item or None)


Named = Annotated[Owner, Depends(_owner)]


@cache
def application() -> FastAPI:
    """Return the application, built once per process."""
    app = FastAPI(title="Grok videos", docs_url=None, redoc_url=None, openapi_url=None)
    catalogue = Catalogue(newest_first=_release() >= (3, 2))
    polls, shelf, shelves = Polls(), media.MediaCache(), TableCache()
    app.mount("/static", StaticFiles(directory=STATIC), name="static")

    @app.middleware("http")
    async def add_headers(request: Request, call_next: Any) -> Response:
        answer: Response = await call_next(request)
        for name, value in HEADERS.items():
            answer.headers.setdefault(name, value)
        return answer

    @app.get("/")
    async def gallery_page(request: Request) -> Response:
        return await _page(request, "gallery.html")

    @app.get("/video")
    async def video_page(request: Request) -> Response:
        return await _page(request, "video.html")

    @app.get("/request")
    async def request_page(request: Request) -> Response:
        return await _page(request, "request.html")

    @app.get("/api/videos")
    async def videos(
        request: Request,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: Annotated[int, Query(ge=1, le=MOST)] = 60,
    ) -> JSONResponse:
        now = time.time()
        end = now if until is None else min(_epoch(until), END_OF_TIME)
        start = max(0.0, end - LONGEST, end - WEEK if since is None else _epoch(since))
        async with Airflow(request) as user:
            listed, truncated = await catalogue.recent(user, start, end, limit)
            shown = views.joined(listed)
            spent, booked = await spend.of_period(user, shown, start, end)
        videos = await with_rows(shelves, shown, limit)
        return JSONResponse(
            {
                "videos": [view for each in videos if (view := _brief(each, catalogue, now, booked)) is not None],
                "truncated": truncated,
                "shown": len(shown),
                "spend": spent,
                "now": values.iso(now),
            }
        )

    @app.get("/api/video")
    async def one(request: Request, owner: Named, poll: bool = False) -> JSONResponse:
        now = time.time()
        async with Airflow(request) as user:
            found = await _row(shelves, await _shown(user, owner.whole), owner)
            others = [each for each in await catalogue.of_run(user, owner) if _view(each, catalogue, now)]
            found = next(iter(views.joined([found], others)))
            entry = None if found.card.cost_usd else await spend.of_request(owner, found.card.request_id)
            view = _view(found, catalogue, now, entry)
            if view is None:
                raise HTTPException(404, NO_CARD)
            view["notice"] = await _notice(shelf, user, found.card)
        if view["notice"]:
            view["video"] = view["sidecar"] = None
        view["before"] = chains.before(found, others)
        view["chain"] = chains.chain(found, others)
        if poll and view["waiting"] and found.card.conn_id and found.card.request_id:
            job, at = await polls.at(found.card.conn_id, found.card.request_id)
            view = views.polled_at(view, job, at)
        return JSONResponse(view)

    @app.get("/api/rows")
    async def rows_of_table(
        request: Request,
        owner: Named,
        status: Status | None = None,
        offset: Annotated[int, Query(ge=0, le=MOST_ROWS)] = 0,
        limit: Annotated[int, Query(ge=1, le=ROWS)] = 60,
    ) -> JSONResponse:
        async with Airflow(request) as user:
            table = Shown(owner.whole, await _card(user, owner.whole))
        return JSONResponse(await _listed(shelves, table, status, offset, limit))

    @app.get("/api/request")
    async def at_service(request: Request, owner: Named) -> JSONResponse:
        async with Airflow(request) as user:
            card = (await _row(shelves, await _shown(user, owner.whole), owner)).card
        if not card.conn_id or not card.request_id:
            raise HTTPException(404, "This task has no request at xAI")
        job, at = await polls.at(card.conn_id, card.request_id)
        return JSONResponse(views.service_says(card, job, at))

    @app.api_route("/media/{what}", methods=["GET", "HEAD"])
    async def file(request: Request, what: str, owner: Named, download: bool = False) -> Response:
        return await _file(shelf, shelves, request, what, owner, download=download)

    return app


def _release() -> tuple[int, ...]:
    return tuple(map(int, airflow.__version__.split(".")[:2]))


async def _page(request: Request, name: str) -> Response:
    try:
        async with Airflow(request) as user:
            await user.get("/dags", limit=1)
    except HTTPException as refused:
        if refused.status_code == 401:
            login = f'<p>You are not logged in. <a href="{base_path()}/">Log in to Airflow</a>, then come back.</p>'
            return HTMLResponse(f"<!doctype html><title>Grok videos</title>{login}", 401)
    return FileResponse(STATIC / name, media_type="text/html")


async def _file(
    shelf: media.MediaCache, shelves: TableCache, request: Request, what: str, owner: Owner, *, download: bool
) -> Response:
    async with Airflow(request) as user:
        whole = Shown(owner.whole, await _card(user, owner.whole))
        if what == "table":
            return media.respond((await shelves.find(whole.card, owner)).file, request, attachment=True)
        card = (await _row(shelves, whole, owner)).card
        if what == "source":
            return media.respond(await media.source(shelf, user, card, owner), request)
        if what == "poster":
            return media.respond(await media.poster(shelf, user, card), request)
        if what not in ("video", "sidecar"):
            raise HTTPException(404, "Expected video, poster, source, sidecar or table")
        found = await media.video(shelf, user, card)
    if what == "sidecar":
        return JSONResponse(media.sidecar(found))
    return media.respond(found, request, attachment=download)


async def _card(user: Airflow, owner: Owner) -> Card:
    card = await user.card(owner)
    if card is None:
        raise HTTPException(404, NO_CARD)
    return card


async def _shown(user: Airflow, owner: Owner) -> Shown:
    found = await user.task_instance(owner)
    try:
        card = await _card(user, owner)
    except HTTPException as nothing:
        if nothing.status_code == 404:
            ours = str(found.get("operator") or found.get("operator_name")).startswith("GrokVideo")
            told = NOTHING_YET if ours else "This task does not make a Grok video."
            raise HTTPException(404, told) from None
        raise
    return Shown(owner, card, task_of(found))


async def _row(shelves: TableCache, table: Shown, owner: Owner) -> Shown:
    """Return the row of a table that the address names; the task instance itself if it names none."""
    if owner.item is None:
        return table
    row = (await shelves.find(table.card, owner)).row(owner.item)
    if row is None:
        raise HTTPException(404, "The result table has no row of this id")
    return rows.shown(row, table)


async def _listed(shelves: TableCache, table: Shown, status: str | None, offset: int, limit: int) -> dict[str, Any]:
    """Return rows of a table; if it cannot be read, a notice instead of an error: the counts are shown all the same."""
    if table.card.rows is None:
        raise HTTPException(404, "This task does not make a table of videos")
    told: dict[str, Any] = {"rows": [], "number": 0, "counts": {}, "notice": None}
    try:
        found = await shelves.find(table.card, table.owner, believed=0.0)
    except HTTPException as refused:
        return {**told, "notice": refused.detail}
    page, number = found.page(status, offset, limit)
    now = time.time()
    return {**told, "rows": [rows.brief(row, table, now) for row in page], "number": number, "counts": found.counts()}


async def _notice(shelf: media.MediaCache, user: Airflow, card: Card) -> str | None:
    """Return the reason if a delivered video cannot be shown."""
    if not (card.manifest or {}).get("uri"):
        return None
    try:
        await media.video(shelf, user, card)
    except HTTPException as refused:
        return str(refused.detail)
    return None


def _view(shown: Shown, catalogue: Catalogue, now: float, entry: Entry | None = None) -> dict[str, Any] | None:
    """Return the view of a card; None if the card was edited and cannot be shown."""
    try:
        view = views.view(shown, now=now, curve=catalogue.curve(shown.card.kind), root=base_path(), entry=entry)
        json.dumps(view, allow_nan=False, ensure_ascii=False).encode()
    except Exception as problem:  # noqa: BLE001 - one odd card must not hide all others
        log.info("Cannot show the card of %s: %s", shown.owner, problem)
        return None
    return view


def _brief(shown: Shown, catalogue: Catalogue, now: float, booked: Mapping[str, Entry]) -> dict[str, Any] | None:
    """Return the view of a card for the gallery: as :func:`_view`, without fields of the video page."""
    card = shown.card.model_copy(
        update={"parameters": {}, "prompt": shown.card.prompt and shown.card.prompt[:LONGEST_PROMPT]}
    )
    view = _view(replace(shown, card=card), catalogue, now, booked.get(card.request_id or "")) or {}
    return {name: value for name, value in view.items() if name not in ("parameters", "purchases")} or None


def _epoch(moment: datetime) -> float:
    return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()
