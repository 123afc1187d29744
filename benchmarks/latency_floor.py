"""The floor that a decision is measured against: the same FastAPI and server, a pydantic body in and out of the same
sizes, one Redis GET of the same bytes, nothing else.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from redis.asyncio import Redis

from serving.schemas import RecommendIn, RecommendOut


def create() -> FastAPI:
    """Reads NBA_FLOOR_REDIS, NBA_FLOOR_KEY and NBA_FLOOR_ANSWER (a JSON answer as the engine gives it)."""
    answer: dict[str, Any] = RecommendOut.model_validate_json(os.environ["NBA_FLOOR_ANSWER"]).model_dump()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.redis = Redis.from_url(os.environ["NBA_FLOOR_REDIS"], protocol=2)
        yield
        await app.state.redis.aclose()

    app = FastAPI(lifespan=lifespan)

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.post("/v1/recommend")
    async def recommend(asked: RecommendIn) -> RecommendOut:
        await app.state.redis.get(os.environ["NBA_FLOOR_KEY"])
        return RecommendOut.model_validate(answer)

    return app
