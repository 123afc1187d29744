"""What every request passes before and after the routes: one pure ASGI layer, since each layer costs every call.

Request id, key and scope, size of the body, security headers, a count by route and status.
"""

from __future__ import annotations

import itertools
import re
import secrets
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from fastapi import HTTPException

from serving.auth import ADMIN, ANY, RECOMMEND, WRITE, Keys, allowed
from serving.metrics import Metrics
from serving.problems import MEDIA_TYPE, problem

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

MAX_BODY_BYTES = 1 << 20
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,100}")
_OPEN = frozenset({"/healthz", "/readyz", "/docs", "/openapi.json", "/desktop"})
_NEEDS = (
    ("POST", "/v1/recommend", RECOMMEND),
    ("POST", "/v1/activity", WRITE),
    ("POST", "/v1/outcomes", WRITE),
    ("GET", "/v1/customers/", RECOMMEND),
    ("PUT", "/v1/customers/", WRITE),
    ("DELETE", "/v1/customers/", ADMIN),
    ("GET", "/v1/decisions/", RECOMMEND),
    ("GET", "/v1/interactions/", RECOMMEND),
    ("POST", "/v1/admin/", ADMIN),
)
_SAFE_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
]
_PAGES = ("/docs", "/desktop")


def needed_scope(method: str, path: str) -> str | None:
    """The scope that a call needs; None: it is open to everybody. What is not listed needs a key, whichever."""
    if path in _OPEN or path.startswith("/desktop/"):
        return None
    for known, prefix, scope in _NEEDS:
        if method == known and path.startswith(prefix):
            return scope
    return ANY


class Doors:
    """The layer. `keys` empty: the service listens on this machine only (auth.check_binding) and lets every call in."""

    def __init__(self, app: App, *, keys: Keys, metrics: Metrics, max_body: int = MAX_BODY_BYTES) -> None:
        self._app, self._keys, self._metrics, self._max_body = app, keys, metrics, max_body
        self._prefix = secrets.token_hex(6).encode()
        self._count = itertools.count(1)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Let one request through, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        request_id, key, length = _looked_at(scope["headers"])
        request_id = request_id or b"%s-%x" % (self._prefix, next(self._count))
        state = scope.setdefault("state", {})
        state["request_id"] = request_id.decode()
        state["scopes"] = None
        status = 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), *_added(scope["path"], request_id)]
            await send(message)

        try:
            refusal = self._refusal(scope, key, length)
            if refusal is not None:
                await _refuse(answer, *refusal, request_id=state["request_id"])
                return
            bounded = receive if length is not None else _bounded(receive, self._max_body)
            await self._app(scope, bounded, answer)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            self._metrics.request(route, status or 500)
            self._metrics.request_seconds.observe(time.perf_counter() - started)

    def _refusal(
        self, scope: MutableMapping[str, Any], key: bytes | None, length: int | None
    ) -> tuple[int, str, list[tuple[bytes, bytes]]] | None:
        if self._keys:
            needed = needed_scope(scope["method"], scope["path"])
            scopes = self._keys.scopes_of(key) if needed else None
            if needed and scopes is None:
                detail = "a key is needed: send Authorization: Bearer KEY, with a key of NBA_API_KEYS"
                return 401, detail, [(b"www-authenticate", b'Bearer realm="nba"')]
            if needed and scopes is not None and not allowed(scopes, needed):
                detail = f"this key may not do that: it needs the scope {needed}"
                return 403, detail, [(b"www-authenticate", b'Bearer realm="nba", error="insufficient_scope"')]
            scope["state"]["scopes"] = scopes
        if length is not None and length > self._max_body:
            return 413, _too_large(self._max_body), [(b"connection", b"close")]
        return None


def _looked_at(headers: list[tuple[bytes, bytes]]) -> tuple[bytes | None, bytes | None, int | None]:
    """Request id, Authorization and Content-Length (None when it is chunked) in one pass."""
    request_id = key = length = None
    chunked = False
    for name, value in headers:
        if name == b"content-length":
            length = int(value) if value.isdigit() else None
        elif name == b"authorization":
            key = value
        elif name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            request_id = value
        elif name == b"transfer-encoding":
            chunked = True
    return request_id, key, None if chunked else length


def _added(path: str, request_id: bytes) -> list[tuple[bytes, bytes]]:
    safe = _SAFE_HEADERS[:-1] if path.startswith(_PAGES) else _SAFE_HEADERS
    return [(b"x-request-id", request_id), *safe]


def _too_large(most: int) -> str:
    return f"the body is larger than {most:,} bytes: send it in smaller parts"


def _bounded(receive: Receive, most: int) -> Receive:
    """A body without a declared length is counted while it comes in."""
    seen = 0

    async def counted() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > most:
            raise HTTPException(413, _too_large(most), {"connection": "close"})
        return message

    return counted


async def _refuse(send: Send, status: int, detail: str, headers: list[tuple[bytes, bytes]], *, request_id: str) -> None:
    body = problem(status, detail, request_id=request_id)
    fixed = [(b"content-type", MEDIA_TYPE.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*fixed, *headers]})
    await send({"type": "http.response.body", "body": body})
