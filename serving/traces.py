"""OpenTelemetry traces, when OTEL_EXPORTER_OTLP_ENDPOINT names a collector. Otherwise nothing is imported, and no request
passes anything more than an empty field.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Self

from fastapi import FastAPI

from serving.recommend import Recommender

if TYPE_CHECKING:
    from serving.spans import Spans

log = logging.getLogger("nba.serving")
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


class Traces:
    """Whether traces are sent, and how that begins and ends with the service."""

    def __init__(self, spans: Spans | None) -> None:
        self._spans = spans

    @classmethod
    def wanted(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """As the environment has it. Without the extra the service answers all the same, and says what it lacks."""
        if not any(environment.get(name) for name in _ENDPOINTS):
            return cls(None)
        try:
            from serving.spans import Spans
        except ImportError:
            log.warning(
                "no traces: OTEL_EXPORTER_OTLP_ENDPOINT is set, but the extra is missing: pip install '.[otel]'"
            )
            return cls(None)
        return cls(Spans())

    def add_to(self, app: FastAPI) -> None:
        """A layer around everything else, only where traces are sent."""
        if self._spans is not None:
            from serving.spans import Traced

            app.add_middleware(Traced, spans=self._spans)

    @asynccontextmanager
    async def sent(self, recommender: Recommender) -> AsyncIterator[None]:
        """Send while the service runs; what waits at its end is sent then."""
        if self._spans is None:
            yield
            return
        self._spans.open()
        recommender.on_decided = self._spans.decided
        try:
            yield
        finally:
            await asyncio.to_thread(self._spans.close)
