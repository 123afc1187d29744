"""Routes of the agent desktop: its files, what it shows around the suggestions, tokens of the widget, insights."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, FastAPI, HTTPException, Query, Request, Response
from pydantic import Field

from features.activity import identifier
from features.series import SeriesBook
from nba.clock import format_at
from nba.decide import Request as Question
from nba.errors import NotFoundError
from nba.fields import typed
from nba.settings import Settings
from serving import desk, pages, schemas
from serving.auth import RECOMMEND, WRITE, allowed
from serving.doors import Scope
from serving.gate import Gate, origins_of
from serving.handling import as_json, service_of
from serving.insights import Insights
from serving.outcomes import find
from serving.problems import MEDIA_TYPE
from serving.service import Service
from serving.stream import context_of
from serving.tokens import LONGEST_S, Grant, Tokens, kept_secret, scopes_of

_MOST_SERIES = 24


class TokenIn(schemas.StrictIn):
    """A token for one customer in one interaction."""

    customer_id: schemas.CustomerId
    interaction_id: schemas.Token
    # One complaint is enough: a megabyte of numbers made 450,000, and all other calls waited for twelve seconds.
    scopes: list[str] | None = Field(None, fail_fast=True, description="recommend, outcome; both when left out")
    ttl_s: int = Field(600, ge=10, le=LONGEST_S, description="seconds until it runs out")


def add_desk(app: FastAPI, settings: Settings, clock: Callable[[], int]) -> None:
    """Mount everything of the desktop on the service."""
    router = APIRouter()
    _add_pages(router)
    _add_calls(router)
    _add_insights(router)
    tokens = _tokens(settings)
    _add_tokens(router, tokens)
    app.include_router(router)
    origins = origins_of(settings.widget_origins)
    app.add_middleware(Gate, tokens=tokens, origins=origins, about=_about_decision, clock=clock)


def _add_pages(router: APIRouter) -> None:
    files = pages.load()

    def served(path: str, request: Request) -> Response:
        file = files.get(path)
        if file is None:
            raise NotFoundError("no such file of the desktop: the page is at /desktop")
        status, body, headers = file.answer(request.headers)
        return Response(body, status, headers)

    @router.api_route("/desktop/", methods=["GET", "HEAD"], include_in_schema=False)
    @router.api_route("/desktop", methods=["GET", "HEAD"], include_in_schema=False)
    async def desktop(request: Request) -> Response:
        return served("/desktop", request)

    @router.api_route("/insights/", methods=["GET", "HEAD"], include_in_schema=False)
    @router.api_route("/insights", methods=["GET", "HEAD"], include_in_schema=False)
    async def insights(request: Request) -> Response:
        return served("/insights", request)

    @router.api_route("/desktop/{name}", methods=["GET", "HEAD"], include_in_schema=False)
    async def file(name: str, request: Request) -> Response:
        return served(f"/desktop/{name}", request)


def _add_calls(router: APIRouter) -> None:
    @router.get("/v1/desk")
    async def setup(request: Request) -> Response:
        """What an agent desktop has to know of the config: offers, reasons for calls, authority; in the demo its callers."""
        service = service_of(request)
        return as_json(
            await asyncio.to_thread(desk.setup, service.recommender.engine.config, service.settings.state_dir)
        )

    @router.get("/v1/desk/{customer_id:path}")
    async def view(
        customer_id: str,
        request: Request,
        interaction_id: str | None = None,
        context: str = "{}",
        locale: str | None = None,
        agent_group: str | None = None,
    ) -> Response:
        """Around the suggestions of a call: the customer, their plan beside the others, the likely next question."""
        service = service_of(request)
        recommender = service.recommender
        engine, now_ms = recommender.engine, service.clock()
        identifier(customer_id, "/customer_id")
        known = await recommender.read(engine, customer_id, now_ms)
        asked = Question(
            customer_id, now_ms, "desk", interaction_id=interaction_id, locale=locale, agent_group=agent_group,
            context=typed(context_of(context), engine.context_types, "/context"),
        )  # fmt: skip
        budget_s = service.settings.budget_ms / 1000
        return as_json({"at": format_at(now_ms), **desk.view(engine, known, asked, budget_s, time.monotonic())})

    books: dict[str, SeriesBook] = {}

    @router.get("/v1/series/{customer_id:path}")
    async def series(
        customer_id: str,
        request: Request,
        feature: Annotated[list[str] | None, Query(max_length=_MOST_SERIES)] = None,
    ) -> Response:
        """How features of a customer came about: by calendar month, or by equal spans of a sliding window."""
        service = service_of(request)
        engine, now_ms = service.recommender.engine, service.clock()
        identifier(customer_id, "/customer_id")
        if engine.config.fingerprint not in books:
            books.clear()
            books[engine.config.fingerprint] = SeriesBook(engine.config.features)
        async with asyncio.timeout(service.write_timeout_s):
            log = await engine.store.log(customer_id)
        book = books[engine.config.fingerprint]
        return as_json({"at": format_at(now_ms), "series": desk.series(book, feature or [], log, now_ms)})


def _add_insights(router: APIRouter) -> None:
    kept: dict[int, Insights] = {}

    @router.get("/v1/insights")
    async def insights(request: Request) -> Response:
        """Today in numbers: suggestions, acceptance, violations, latency, what was degraded, experiments."""
        service = service_of(request)
        mine = kept.setdefault(id(service), Insights(service.settings.state_dir))
        now_ms, engine = service.clock(), service.recommender.engine
        return as_json(await asyncio.to_thread(mine.report, engine.config, service.metrics, engine.model, now_ms))


def _add_tokens(router: APIRouter, tokens: Callable[[], Tokens]) -> None:
    @router.post(
        "/v1/tokens", status_code=201, responses={415: {"model": schemas.Problem, "content": {MEDIA_TYPE: {}}}}
    )
    async def token(asked: TokenIn, request: Request) -> Response:
        """A short-lived token for the widget, bound to one customer and interaction. Needs `recommend` and `write`."""
        scopes = request.scope["state"]["scopes"]
        if scopes is not None and not all(allowed(scopes, needed) for needed in (RECOMMEND, WRITE)):
            raise HTTPException(403, "this key may not make tokens: it needs the scopes recommend and write")
        expires_ms = service_of(request).clock() + asked.ttl_s * 1000
        grant = Grant(asked.customer_id, asked.interaction_id, scopes_of(asked.scopes), expires_ms)
        body = {"token": tokens().issue(grant), "expires_at": format_at(expires_ms), "scopes": grant.scopes}
        return as_json(body, 201)


def _tokens(settings: Settings) -> Callable[[], Tokens]:
    """The maker of tokens, made at the first need: a service without a widget keeps no secret."""
    made: list[Tokens] = []

    def tokens() -> Tokens:
        if not made:
            given = settings.token_secret.get_secret_value().encode() if settings.token_secret else None
            made.append(Tokens(given or kept_secret(settings.state_dir)))
        return made[0]

    return tokens


async def _about_decision(scope: Scope, decision_id: str) -> tuple[str, str | None]:
    service: Service = scope["app"].state.service
    record = await find(service.journal.folders, decision_id)
    return record["customer_id"], record["request"]["interaction_id"]
