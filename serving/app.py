"""The HTTP service. Routes only: what they do stands in recommend.py, outcomes.py and service.py."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, Any
from urllib.parse import quote

import orjson
from fastapi import Body, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import StreamingResponse
from fastapi.routing import APIRoute
from pydantic import ValidationError
from starlette.exceptions import HTTPException as AnyHTTPException

from features.activity import identifier, parse_event
from nba import errors
from nba.clock import system_now_ms
from nba.domain import Activity
from nba.fields import typed
from nba.settings import Settings
from serving import lane, schemas
from serving.apidocs import add_docs
from serving.auth import Keys
from serving.desk_routes import add_desk
from serving.doors import RECOMMEND_PATH, UNTIL_MS, Doors, Scope, added_headers
from serving.handling import as_json, service_of
from serving.metrics import Metrics
from serving.outcomes import find
from serving.problems import MEDIA_TYPE, of_error, of_validation, problem
from serving.rates import Rates
from serving.service import Service, running
from serving.stream import question_of, stream
from serving.traces import Traces
from serving.view import unified_view

log = logging.getLogger("nba.serving")
_PROBLEM: dict[str, Any] = {"model": schemas.Problem, "content": {MEDIA_TYPE: {}}}


def _answers(model: type, *statuses: int, status: int = 200) -> dict[int | str, dict[str, Any]]:
    """What a call answers, for the documentation; the hot path does not pass through these models."""
    return {status: {"model": model}, **_refusals(*statuses)}


def _refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return dict.fromkeys((400, 401, 403, 413, 421, 422, 429, 503, *statuses), _PROBLEM)


_EVENTS: dict[int | str, dict[str, Any]] = {200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}}


def create_app(settings: Settings, *, clock: Callable[[], int] = system_now_ms) -> FastAPI:
    """The service for these settings; nothing is opened before its lifespan starts."""
    metrics = Metrics()
    keys = Keys(settings.api_keys.get_secret_value() if settings.api_keys else None)
    traces = Traces.wanted()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with running(settings, metrics, clock) as service, traces.sent(service.recommender):
            app.state.service = service
            yield

    app = FastAPI(
        title="nba",
        version="1",
        description="The next best action for a customer service call.",
        lifespan=lifespan,
        # Such a redirect names whatever host was asked for and forgets TLS: a client that follows it sends its key in clear.
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
        # The framework's own traces carry the path, and so the customer's id: ours are in traces.py.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    app.router.route_class = StrictRoute
    app.add_middleware(Doors, keys=keys, metrics=metrics, lane=_lane, rates=Rates(settings.rate_per_s))
    _add_refusals(app, metrics)
    _add_calls(app)
    _add_customers(app)
    _add_operations(app, metrics, keyed=bool(keys))
    add_desk(app, settings, clock)
    add_docs(app)
    traces.add_to(app)
    return app


class StrictRequest(Request):
    """Reads JSON as RFC 8259 has it: no NaN, no half of a surrogate pair, no nesting without end."""

    async def json(self) -> Any:
        """The body. Raises JSONDecodeError."""
        return orjson.loads(await self.body())


class StrictRoute(APIRoute):
    """A route whose request is a StrictRequest."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's own handler, given our kind of request."""
        handler = super().get_route_handler()

        async def strict(request: Request) -> Response:
            return await handler(StrictRequest(request.scope, request.receive))

        return strict


async def _lane(scope: Scope, body: bytes, kind: bytes, scopes: frozenset[str] | None, request_id: str) -> lane.Answer:
    return await lane.recommend(scope["app"].state.service.recommender, body, kind, scopes, request_id)


def _add_calls(app: FastAPI) -> None:
    @app.post(RECOMMEND_PATH, responses=_answers(schemas.RecommendOut, 415))
    async def recommend(asked: schemas.RecommendIn, request: Request) -> Response:
        """The next best action for this customer, now. With `at`: as of that moment (a back-test; needs `admin`)."""
        state = request.scope["state"]
        body, kind = await request.body(), request.headers["content-type"].encode()
        status, answer, media = await _lane(request.scope, body, kind, state["scopes"], state["request_id"])
        return Response(answer, status, media_type=media)

    @app.post("/v1/activity", status_code=202, responses=_answers(schemas.ActivityOut, 415, status=202))
    async def activity(batch: schemas.ActivityIn, request: Request) -> Response:
        """Keep events. Each is checked on its own; repeating an `event_id` changes nothing, and order does not matter."""
        service = service_of(request)
        events, rejected = _parsed(batch.events, service)
        if events:
            await _keep(events, service)
        service.metrics.events(len(events), len(rejected))
        return as_json({"accepted": len(events), "rejected": rejected}, 202)

    @app.post("/v1/outcomes", responses=_answers(schemas.OutcomeOut, 404, 409, 415))
    async def outcomes(body: Annotated[schemas.OutcomeIn, Body()], request: Request) -> Response:
        """What came of a suggestion, or of a customer later. On the disk when this answers; repeating changes nothing."""
        service = service_of(request)
        if isinstance(body, schemas.DelayedOutcomeIn):
            return as_json(await service.outcomes.record_delayed(body))
        return as_json(await service.outcomes.record(body, service.recommender.engine.store))

    @app.get("/v1/interactions/{interaction_id:path}/stream", responses=_EVENTS | _refusals(404))
    async def interaction(
        interaction_id: str,
        request: Request,
        customer_id: str | None = None,
        context: str | None = None,
        explain: bool = False,
    ) -> Response:
        """Server-Sent Events: the last question of this interaction asked anew whenever its customer does something.

        Give `customer_id` where nobody has asked yet; `context` (JSON) replaces that of the last question.
        """
        service = service_of(request)
        try:
            asked, known = await asyncio.to_thread(question_of, service.questions, interaction_id, customer_id, context)
        except ValidationError as error:
            raise RequestValidationError([{**e, "loc": ("query", *e["loc"])} for e in error.errors()]) from error
        typed(asked.context, service.recommender.engine.context_types, "/context")
        _check_room(service, asked.customer_id)
        asked = asked.model_copy(update={"explain": explain})
        events = stream(
            service.recommender, service.listeners, asked, service.metrics,
            at_once="last-event-id" in request.headers, known=known, until_ms=request.scope.get(UNTIL_MS, math.inf),
        )  # fmt: skip
        return StreamingResponse(events, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})

    @app.get("/v1/decisions/{decision_id}", responses=_answers(dict, 404))
    async def decision(decision_id: str, request: Request) -> Response:
        """The whole record of a decision: what was asked, known, scored, withheld and answered."""
        return as_json(await find(service_of(request).journal.folders, decision_id))


def _check_room(service: Service, customer_id: str) -> None:
    if service.listeners.crowded(customer_id):
        raise AnyHTTPException(429, "too many streams about this customer: close those of calls that have ended")


def _parsed(raw: list[Any], service: Service) -> tuple[list[Activity], list[dict[str, Any]]]:
    spec, now_ms = service.recommender.engine.spec, service.clock()
    events, rejected = [], []
    for index, entry in enumerate(raw):
        try:
            events.append(parse_event(entry, spec, now_ms))
        except errors.ActivityError as error:
            rejected.append({"index": index, "error": str(error), "pointer": f"#/events/{index}{quote(error.pointer)}"})
    return events, rejected


async def _keep(events: list[Activity], service: Service) -> None:
    """In Redis, or while it is away in the spool: either way on a disk."""
    try:
        async with asyncio.timeout(service.write_timeout_s):
            await service.recommender.engine.store.append(events)
    except (errors.StoreError, TimeoutError):
        await service.spool.add_events(events)


def _add_customers(app: FastAPI) -> None:
    @app.get("/v1/customers/{customer_id:path}", responses=_answers(schemas.CustomerOut, 404))
    async def customer(customer_id: str, request: Request) -> Response:
        """The unified view: profile, features, the thread over all channels, open issues, contact history."""
        service = service_of(request)
        identifier(customer_id, "/customer_id")
        now_ms, engine = service.clock(), service.recommender.engine
        async with asyncio.timeout(service.write_timeout_s):
            known = await engine.store.read(customer_id, now_ms)
        return as_json(unified_view(engine.config, known, now_ms))

    @app.put("/v1/customers/{customer_id:path}", responses=_answers(schemas.ProfileOut, 415))
    async def put_customer(customer_id: str, body: Annotated[dict[str, Any], Body()], request: Request) -> Response:
        """Replace the profile: a flat object of the fields that features.yaml declares."""
        service = service_of(request)
        identifier(customer_id, "/customer_id")
        engine = service.recommender.engine
        wrapped = set(body) == {"profile"} and isinstance(body["profile"], dict)
        raw, place = (body["profile"], "/profile") if wrapped else (body, "")
        profile = typed(raw, engine.config.features.profile_types, place)
        async with asyncio.timeout(service.write_timeout_s):
            await engine.store.put_profile(customer_id, profile, service.clock())
        return as_json({"customer_id": customer_id, "profile": profile})

    @app.delete("/v1/customers/{customer_id:path}", responses=_answers(schemas.ErasedOut))
    async def erase_customer(customer_id: str, request: Request) -> Response:
        """Erase a customer from the store, the decision log, the spool and so from what is learnt, with a receipt."""
        from serving.forget import forget

        service = service_of(request)
        identifier(customer_id, "/customer_id")
        settings, store = service.settings, service.recommender.engine.store
        file = "being rewritten" if service.own_redis else "not ours"
        receipt = await forget(customer_id, settings.state_dir, store, service.clock(), redis_file=file)
        if service.own_redis:
            await service.rewrite_file(store)
        return as_json(receipt)


def _add_operations(app: FastAPI, metrics: Metrics, *, keyed: bool) -> None:
    """`keyed`: strangers may ask /readyz, which then names no address and no folder."""
    told: set[str] = set()

    @app.head("/healthz", include_in_schema=False)
    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        """The process lives."""
        return {"status": "ok"}

    @app.head("/readyz", include_in_schema=False)
    @app.get("/readyz", responses={200: {"model": schemas.ReadyOut}, 503: {"model": schemas.ReadyOut}})
    async def readyz(request: Request) -> Response:
        """Each dependency by name. Without a model or Redis the service still answers, with what it has, and says so."""
        found = await service_of(request).dependencies()
        wrong = {name: state for name, state in found.items() if state != "ok" and name != "model"}
        if wrong.keys() != told:
            log.warning("not ready" if wrong else "ready again", extra={"dependencies": wrong})
            told.clear()
            told.update(wrong)
        if keyed:
            found |= dict.fromkeys(wrong, "not ok: the service's log says why")
        return as_json({"ready": not wrong, "dependencies": found}, 503 if wrong else 200)

    @app.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    async def metrics_text() -> Response:
        """Prometheus."""
        return Response(metrics.exposition(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.post("/v1/admin/reload", responses=_answers(schemas.ReloadOut, 415))
    async def reload(request: Request) -> Response:
        """Serve the promoted model and the config folder as they are now: checked and warmed, then switched at once."""
        return as_json(await service_of(request).reload())


def _add_refusals(app: FastAPI, metrics: Metrics) -> None:
    @app.exception_handler(errors.NbaError)
    async def ours(request: Request, error: errors.NbaError) -> Response:
        status, body = of_error(error, _request_id(request))
        if isinstance(error, errors.JournalError):
            metrics.refusals.inc()
        if status >= 500:
            log.error(
                "refused", extra={"status": status, "request_id": _request_id(request), "error": type(error).__name__}
            )
        return _refusal(status, body)

    @app.exception_handler(TimeoutError)
    async def too_late(request: Request, _: TimeoutError) -> Response:
        return await ours(request, errors.StoreError("Redis did not answer in time: try again, and look at /readyz"))

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        return _refusal(*of_validation(error.errors(), _request_id(request)))

    @app.exception_handler(AnyHTTPException)
    async def http(request: Request, error: AnyHTTPException) -> Response:
        body = problem(error.status_code, error.detail, request_id=_request_id(request))
        return _refusal(error.status_code, body, error.headers)

    @app.exception_handler(405)
    async def by_another_method(request: Request, _: AnyHTTPException) -> Response:
        methods = ", ".join(_methods(app, request.scope["route"]))
        body = problem(405, f"not by {request.method}: this address takes {methods}", request_id=_request_id(request))
        return _refusal(405, body, {"Allow": methods})

    @app.exception_handler(Exception)
    async def unforeseen(request: Request, error: Exception) -> Response:
        name = _request_id(request)
        log.error("unforeseen", extra={"request_id": name}, exc_info=error)
        detail = "this should not have happened: the log has it under the request id"
        # This answer alone does not pass doors.py: the framework gives it outside of every layer.
        added = {key.decode(): value.decode() for key, value in added_headers(request.url.path, name.encode())}
        return _refusal(500, problem(500, detail, request_id=name), added)


def _methods(app: FastAPI, found: Any) -> list[str]:
    """What may be done at the address of a route; the framework names the methods of the first route there alone."""
    routes = [found, *(route for route in app.routes if getattr(route, "path", None) == found.path)]
    return sorted({method for route in routes for method in route.methods})


def _refusal(status: int, body: bytes, headers: Mapping[str, str] | None = None) -> Response:
    again = {"Retry-After": "1"} if status == 503 else {}
    return Response(body, status, {**(headers or {}), **again}, MEDIA_TYPE)


def _request_id(request: Request) -> str:
    return str(request.scope.get("state", {}).get("request_id", ""))
