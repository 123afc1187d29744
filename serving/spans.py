"""The spans of the service. Imports OpenTelemetry's SDK, so that only traces.py may import it, and only when it has to.

A span for each request, a child of the caller's by its `traceparent`; under it read, score, decide and journal of each
decision. The stages are told when the decision has been made, from the times it took anyway. No attribute carries
anything about a person: routes are templates, and of a decision there is its id.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from opentelemetry import context, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from serving.doors import RECOMMEND_PATH, App, Headers, Message, Receive, Scope, Send
from serving.recommend import Watch

STAGES = ("read", "score", "decide", "journal")
_PROPAGATION = (b"traceparent", b"tracestate")
_SERVER_ERROR = 500


class Spans:
    """The spans of one process. `open` before the first one, `close` after the last one."""

    def __init__(self) -> None:
        self._provider = TracerProvider(resource=_resource(), shutdown_on_exit=False)
        self._tracer = self._provider.get_tracer("nba.serving")
        self._caller = TraceContextTextMapPropagator()

    def open(self) -> None:
        """Start sending; endpoint, headers, sampling and batches are those of the OTEL_* variables."""
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))

    def close(self) -> None:
        """Send what waits. Blocks: at most as long as the exporter's timeout."""
        self._provider.shutdown()

    def begin(self, scope: Scope) -> trace.Span:
        """The span of a request, below the caller's where there is one."""
        caller = self._caller.extract(_carrier(scope["headers"]), context.Context())
        told = {"http.request.method": scope["method"], "url.scheme": scope["scheme"]}
        return self._tracer.start_span(scope["method"], caller, trace.SpanKind.SERVER, told)

    def decided(self, decision_id: str, watch: Watch) -> None:
        """The stages of a decision that was made in the request which is being answered."""
        trace.get_current_span().set_attribute("nba.decision_id", decision_id)
        moments = (watch.started, watch.read, watch.scored, watch.decided, watch.written)
        epoch_ns = time.time_ns() - time.perf_counter_ns()
        at_ns = [epoch_ns + int(moment * 1e9) for moment in moments]
        for stage, start, end in zip(STAGES, at_ns, at_ns[1:], strict=False):
            self._tracer.start_span(stage, start_time=start).end(end)


class Traced:
    """The outermost layer, there only when traces are sent."""

    def __init__(self, app: App, *, spans: Spans) -> None:
        self._app, self._spans = app, spans

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one request through and tell of it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        span, status = self._spans.begin(scope), _SERVER_ERROR

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        token = context.attach(trace.set_span_in_context(span))
        try:
            await self._app(scope, receive, answer)
        finally:
            context.detach(token)
            _end(span, scope, status)


def _resource() -> Resource:
    """Who sends: what OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say, `nba` where they name nobody."""
    found = Resource.create({SERVICE_VERSION: version("nba-engine"), SERVICE_INSTANCE_ID: str(os.getpid())})
    named = not str(found.attributes[SERVICE_NAME]).startswith("unknown_service")
    return found if named else found.merge(Resource({SERVICE_NAME: "nba"}))


def _end(span: trace.Span, scope: Scope, status: int) -> None:
    method, path = scope["method"], scope["path"]
    known = RECOMMEND_PATH if path == RECOMMEND_PATH else getattr(scope.get("route"), "path", None)
    told: dict[str, Any] = {"http.response.status_code": status}
    if known is not None:
        told["http.route"] = known
        span.update_name(f"{method} {known}")
    request_id = scope.get("state", {}).get("request_id")
    if request_id is not None:
        told["nba.request_id"] = request_id
    span.set_attributes(told)
    if status >= _SERVER_ERROR:
        span.set_status(trace.StatusCode.ERROR)
    span.end()


def _carrier(headers: Headers) -> Mapping[str, str]:
    return {name.decode(): value.decode("latin-1") for name, value in headers if name in _PROPAGATION}
