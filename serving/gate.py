"""What a widget on somebody else's page may do: requests with a token, from the origins that the settings name.

The outermost layer. It answers a browser's question before a cross-origin request (CORS), and holds every request that
carries a token against what that token allows; requests with keys pass through untouched. What it refuses is answered by
doors.py, as every refusal is: with a request id, and counted.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from urllib.parse import parse_qs

import orjson

from nba.errors import InputError, NbaError
from serving.doors import ANSWERED, GRANTED, UNTIL_MS, App, Headers, Message, Receive, Scope, Send, whole_body
from serving.tokens import OUTCOME, PREFIX, RECOMMEND, Grant, Tokens

_MOST_BYTES = 64 << 10
_ORIGIN = re.compile(r"https?://[A-Za-z0-9.-]+(?::\d{1,5})?")
_STREAM = re.compile(r"/v1/interactions/(.+)/stream")
_CALLS = (("POST", "/v1/recommend"), ("POST", "/v1/outcomes"), ("GET", "/v1/series/"), ("GET", "/v1/interactions/"))
# (customer, interaction) that a decision was made for; raises NotFoundError.
AboutDecision = Callable[[Scope, str], Awaitable[tuple[str, str | None]]]


def origins_of(text: str | None) -> frozenset[str]:
    """The origins of `NBA_WIDGET_ORIGINS`, separated by commas or blanks. Raises InputError for what is none."""
    found = re.split(r"[\s,]+", (text or "").strip())
    for origin in filter(None, found):
        if not _ORIGIN.fullmatch(origin):
            raise InputError(
                f"NBA_WIDGET_ORIGINS: {origin!r} is no origin: write scheme and host, such as https://crm.example"
            )
    return frozenset(filter(None, found))


class Gate:
    """The layer; see the module."""

    def __init__(
        self,
        app: App,
        *,
        tokens: Callable[[], Tokens],
        origins: frozenset[str],
        about: AboutDecision,
        clock: Callable[[], int],
    ) -> None:
        self._app, self._tokens, self._origins, self._about, self._clock = app, tokens, origins, about, clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one request through, answer a browser's question, or refuse."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        origin, token = _seen(scope["headers"])
        if origin is None and token is None:  # as calls inside a company are: nothing to hold against anything
            await self._app(scope, receive, send)
            return
        cors = self._cors(origin, scope)
        if cors and scope["method"] == "OPTIONS":
            scope[ANSWERED] = (204, "", [*cors, *_PREFLIGHT])
            await self._app(scope, receive, send)
            return
        answer = _with_headers(send, cors) if cors else send
        if token is None:
            await self._app(scope, receive, answer)
            return
        grant = self._tokens().grant_of(token, self._clock())
        if grant is None:
            headers = [(b"www-authenticate", b'Bearer realm="nba", error="invalid_token"')]
            scope[ANSWERED] = (401, "this token is not valid any more: fetch a new one for this call", headers)
            await self._app(scope, receive, answer)
            return
        body = await whole_body(receive, _MOST_BYTES) if scope["method"] == "POST" else b""
        refusal = await self._beyond(grant, scope, body)
        if refusal is not None:
            scope[ANSWERED] = (403, refusal, [])
            await self._app(scope, receive, answer)
            return
        scope[GRANTED] = frozenset({"recommend", "write"}), _caller(grant)
        scope[UNTIL_MS] = grant.expires_ms
        await self._app(scope, _again(body, receive) if body else receive, answer)

    def _cors(self, origin: str | None, scope: Scope) -> Headers:
        if origin is None or origin not in self._origins:
            return []
        if not any(scope["path"].startswith(prefix) for _, prefix in _CALLS):
            return []
        return [(b"access-control-allow-origin", origin.encode()), (b"vary", b"Origin")]

    async def _beyond(self, grant: Grant, scope: Scope, body: bytes | None) -> str | None:
        """Why this request is more than the token allows; None when it is not."""
        method, path = scope["method"], scope["path"]
        try:
            if (method, path) == ("POST", "/v1/recommend"):
                return _not_asked(grant, _fields(body))
            if (method, path) == ("POST", "/v1/outcomes"):
                return await self._not_reported(grant, _fields(body), scope)
            if method == "GET" and path.startswith("/v1/series/"):
                return _not_read(grant, path.removeprefix("/v1/series/"), grant.interaction_id)
            if method == "GET" and (stream := _STREAM.fullmatch(path)):
                query = parse_qs(scope["query_string"].decode("latin-1"))
                return _not_read(grant, query.get("customer_id", [""])[-1], stream[1])
        except NbaError as error:
            return str(error)
        return "a token of the widget may not do that: use an API key"

    async def _not_reported(self, grant: Grant, fields: dict[str, Any], scope: Scope) -> str | None:
        if OUTCOME not in grant.scopes:
            return "this token may not report outcomes: make one with the scope outcome"
        if not isinstance(fields.get("decision_id"), str):
            return "a token reports what came of a suggestion: give its decision_id"
        about = await self._about(scope, fields["decision_id"])
        return None if about == (grant.customer_id, grant.interaction_id) else _OTHER_CALL


def _caller(grant: Grant) -> bytes:
    """Whose requests are counted together: a call's, however many tokens it has been given."""
    return f"{PREFIX}{grant.customer_id}\n{grant.interaction_id}".encode()


_OTHER_CALL = "this token is for another customer or another call: fetch a new one for this call"
_PREFLIGHT: Headers = [
    (b"access-control-allow-methods", b"GET, POST"),
    (b"access-control-allow-headers", b"authorization, content-type, last-event-id"),
    (b"access-control-max-age", b"600"),
]


def _not_asked(grant: Grant, fields: dict[str, Any]) -> str | None:
    if fields.get("at") is not None:
        return "a token asks about now: leave `at` out"
    return _not_read(grant, fields.get("customer_id"), fields.get("interaction_id"))


def _not_read(grant: Grant, customer_id: object, interaction_id: object) -> str | None:
    if RECOMMEND not in grant.scopes:
        return "this token may not ask: make one with the scope recommend"
    return None if (customer_id, interaction_id) == (grant.customer_id, grant.interaction_id) else _OTHER_CALL


def _fields(body: bytes | None) -> dict[str, Any]:
    if body is None:
        raise InputError(
            f"the body is larger than the {_MOST_BYTES:,} bytes of a request with a token: send a smaller one"
        )
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InputError("the body is not JSON: send one JSON object") from error
    if not isinstance(found, dict):
        raise InputError("the body is not a JSON object: send one")
    return found


_MARK = PREFIX.encode()


def _seen(headers: Sequence[tuple[bytes, bytes]]) -> tuple[str | None, str | None]:
    """Origin, and the token of an Authorization header that carries one."""
    origin = token = None
    for name, value in headers:
        if name == b"origin":
            origin = value.decode("latin-1")
        elif name == b"authorization" and _MARK in value:
            scheme, _, said = value.decode("latin-1").partition(" ")
            if scheme.lower() == "bearer" and said.strip().startswith(PREFIX):
                token = said.strip()
    return origin, token


def _again(body: bytes, receive: Receive) -> Receive:
    """The body once more, for those behind; then what the connection itself says."""
    told = False

    async def replay() -> Message:
        nonlocal told
        if told:
            return await receive()
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


def _with_headers(send: Send, more: Headers) -> Send:
    async def answer(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), *more]
        await send(message)

    return answer
