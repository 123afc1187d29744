"""What every request passes before and after the routes: one pure ASGI layer, since each layer costs every call.

Request id, key and scope, size of the body, security headers, a count by route and status.
"""

from __future__ import annotations

import itertools
import re
import secrets
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

from fastapi import HTTPException

from serving import logs
from serving.auth import ADMIN, ANY, RECOMMEND, WRITE, Keys, allowed
from serving.lane import NOT_JSON, is_json
from serving.metrics import Metrics
from serving.problems import MEDIA_TYPE, problem
from serving.rates import Rates

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Headers = list[tuple[bytes, bytes]]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
# Scope, body, content type, scopes of the key, request id -> status, body, media type.
Lane = Callable[[Scope, bytes, bytes, frozenset[str] | None, str], Awaitable[tuple[int, bytes, str]]]

MAX_BODY_BYTES = 1 << 20
RECOMMEND_PATH = "/v1/recommend"
GRANTED = "nba.granted"  # in the ASGI scope: the scopes that gate.py vouches for, and for whom; no header can set it
UNTIL_MS = "nba.until_ms"  # in the ASGI scope: when that runs out
ANSWERED = "nba.answered"  # in the ASGI scope: status, detail and headers with which gate.py wants it answered
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,100}")
_OPEN = frozenset({"/healthz", "/readyz", "/docs", "/openapi.json", "/desktop", "/insights"})
_WITH_BODY = ("POST", "PUT")
_NEEDS = (
    ("POST", "/v1/recommend", RECOMMEND),
    ("POST", "/v1/activity", WRITE),
    ("POST", "/v1/outcomes", WRITE),
    ("GET", "/v1/customers/", RECOMMEND),
    ("PUT", "/v1/customers/", WRITE),
    ("DELETE", "/v1/customers/", ADMIN),
    ("GET", "/v1/decisions/", RECOMMEND),
    ("GET", "/v1/interactions/", RECOMMEND),
    ("GET", "/v1/desk", RECOMMEND),
    ("GET", "/v1/series/", RECOMMEND),
    ("POST", "/v1/tokens", WRITE),
    ("POST", "/v1/admin/", ADMIN),
)
_SAFE_HEADERS: Headers = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
]
_FOREIGN_HOST = "without API keys only this machine is served, by its own name: call localhost, or set NBA_API_KEYS"
_FOREIGN_PAGE = "a page of another origin may not do that: send it from here, or set NBA_API_KEYS"
_FILES = ("/desktop", "/insights", "/docs")  # bring a policy and caching of their own: pages.py


def needed_scope(method: str, path: str) -> str | None:
    """The scope that a call needs; None: it is open to everybody. What is not listed needs a key, whichever."""
    if path in _OPEN or path.startswith(("/desktop/", "/docs/")):
        return None
    for known, prefix, scope in _NEEDS:
        if method == known and path.startswith(prefix):
            return scope
    return ANY


def is_near(host: bytes) -> bool:
    """Whether a Host header names this machine or its neighbourhood: an address, localhost, or a name without a dot.

    A page of a stranger can have its own name resolved to 127.0.0.1 and then reads answers as if they were its own (DNS
    rebinding); such a name has a dot, and the browser sends it.
    """
    name = host.rpartition(b":")[0] if host.rpartition(b":")[2].isdigit() else host
    last = name.rstrip(b".").rpartition(b".")[2].lower()
    return last in (name.rstrip(b".").lower(), b"localhost") or last.isdigit() or name.startswith(b"[")


class Doors:
    """The layer. `keys` empty: the service listens on this machine only (auth.check_binding) and lets every call in.

    `lane` answers POST /v1/recommend from its body; everything else goes through the framework.
    """

    def __init__(
        self, app: App, *, keys: Keys, metrics: Metrics, lane: Lane, rates: Rates, max_body: int = MAX_BODY_BYTES
    ) -> None:
        self._app, self._keys, self._metrics, self._lane, self._max_body = app, keys, metrics, lane, max_body
        self._rates = rates
        self._prefix = secrets.token_hex(6).encode()
        self._count = itertools.count(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one request through, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        seen = _seen(scope["headers"])
        if seen.request_id is None:
            seen.request_id = b"%s-%x" % (self._prefix, next(self._count))
        state = scope.setdefault("state", {})
        state["request_id"], state["scopes"] = seen.request_id.decode(), None
        logs.request_id.set(state["request_id"])
        fast = scope["path"] == RECOMMEND_PATH and scope["method"] == "POST"
        route, status = (RECOMMEND_PATH, 500) if fast else ("other", 500)
        try:
            refusal = self._refusal(scope, seen)
            if refusal is not None:
                status = refusal[0]
                await _refuse(send, scope, seen.request_id, *refusal)
            elif fast:
                status = await self._fast(scope, receive, send, seen)
            else:
                status = await self._through(scope, receive, send, seen)
                route = getattr(scope.get("route"), "path", route)
        finally:
            self._metrics.request(route, status, time.perf_counter() - started)

    async def _fast(self, scope: Scope, receive: Receive, send: Send, seen: Seen) -> int:
        body = await whole_body(receive, self._max_body)
        if body is None:
            await _refuse(send, scope, seen.request_id, 413, _too_large(self._max_body), [])
            return 413
        state = scope["state"]
        status, answer, media = await self._lane(scope, body, seen.content_type, state["scopes"], state["request_id"])
        headers = answer_headers(scope["path"], seen.request_id, media.encode(), len(answer))
        if status == 503:
            headers.append((b"retry-after", b"1"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": answer})
        return status

    async def _through(self, scope: Scope, receive: Receive, send: Send, seen: Seen) -> int:
        status = 500

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), *added_headers(scope["path"], seen.request_id)]
            await send(message)

        await self._app(scope, receive if seen.length is not None else _bounded(receive, self._max_body), answer)
        return status

    def _refusal(self, scope: Scope, seen: Seen) -> tuple[int, str, Headers] | None:
        if ANSWERED in scope:
            answered: tuple[int, str, Headers] = scope[ANSWERED]
            return answered
        if GRANTED in scope:  # gate.py has held this request against its token
            scope["state"]["scopes"] = scope[GRANTED][0]
        elif self._keys:
            needed = needed_scope(scope["method"], scope["path"])
            scopes = self._keys.scopes_of(seen.key) if needed else None
            if needed and scopes is None:
                detail = "a key is needed: send Authorization: Bearer KEY, with a key of NBA_API_KEYS"
                return 401, detail, [(b"www-authenticate", b'Bearer realm="nba"')]
            if needed and scopes is not None and not allowed(scopes, needed):
                detail = f"this key may not do that: it needs the scope {needed}"
                return 403, detail, [(b"www-authenticate", b'Bearer realm="nba", error="insufficient_scope"')]
            scope["state"]["scopes"] = scopes
        elif (stranger := _stranger(scope, seen)) is not None:
            return stranger
        if scope["path"] not in _OPEN and not self._rates.allows(_who(scope, seen), time.monotonic()):
            return 429, "too many requests from this key or address: slow down", [(b"retry-after", b"1")]
        if seen.length is not None and seen.length > self._max_body:
            return 413, _too_large(self._max_body), []
        return _compressed(scope, seen) if scope["path"] == RECOMMEND_PATH else _unreadable(scope, seen)


def _stranger(scope: Scope, seen: Seen) -> tuple[int, str, Headers] | None:
    """Where there are no keys: what a page of somebody else's may not do in the browser of this machine."""
    method = scope["method"]
    if not is_near(seen.host):
        return (421, _FOREIGN_HOST, []) if needed_scope(method, scope["path"]) else None
    # A POST that says nothing of JSON is sent without asking us first, whatever page it comes from.
    asks_first = method in ("GET", "HEAD", "OPTIONS") or is_json(seen.content_type)
    return None if asks_first or _is_ours(scope["headers"]) else (403, _FOREIGN_PAGE, [])


def _is_ours(headers: Headers) -> bool:
    """Whether no page sends this, or one of this machine; `null` is a page that hides where it is from."""
    origins = [value.partition(b"://") for name, value in headers if name == b"origin"]
    return all(mark and is_near(host) for _, mark, host in origins)


def _who(scope: Scope, seen: Seen) -> bytes:
    """Whose requests are counted together: those of a call that has a token, of a key that was let in, however its header is
    written, or of an address.
    """
    if GRANTED in scope:
        caller: bytes = scope[GRANTED][1]
        return caller
    if scope["state"]["scopes"] is not None and seen.key is not None:
        return seen.key.partition(b" ")[2].strip()
    return str((scope.get("client") or ("",))[0]).encode()


def _unreadable(scope: Scope, seen: Seen) -> tuple[int, str, Headers] | None:
    """What the framework would let pass: foreign bytes as U+FFFD, so that two ids become one; a body of another type as none."""
    for part, name in ((scope.get("raw_path") or b"", "path"), (scope["query_string"], "query")):
        try:
            unquote_to_bytes(part).decode()
        except UnicodeDecodeError:
            return 400, f"the {name} is not UTF-8: percent-encode the UTF-8 bytes of each id", []
    if scope["method"] in _WITH_BODY and seen.content_type and seen.length != 0 and not is_json(seen.content_type):
        return 415, NOT_JSON, []
    return _compressed(scope, seen)


def _compressed(scope: Scope, seen: Seen) -> tuple[int, str, Headers] | None:
    """A body that is JSON once it is unpacked is told so, in the words of RFC 9110, 15.5.16."""
    if scope["method"] not in _WITH_BODY or seen.encoding.lower() in (b"", b"identity"):
        return None
    return 415, "the body has to come as it is: send it without Content-Encoding", [(b"accept-encoding", b"identity")]


@dataclass(slots=True)
class Seen:
    """What the headers say. `length` is None for a body that comes in chunks."""

    request_id: bytes | None = None
    key: bytes | None = None
    content_type: bytes = b""
    encoding: bytes = b""
    length: int | None = None
    host: bytes = b""


_TAKEN = {
    b"content-type": "content_type", b"authorization": "key", b"host": "host", b"content-encoding": "encoding",
}  # fmt: skip


def _seen(headers: Headers) -> Seen:
    seen = Seen()
    chunked = False
    for name, value in headers:
        if name == b"content-length":
            seen.length = int(value) if value.isdigit() else None
        elif name in _TAKEN:
            setattr(seen, _TAKEN[name], value)
        elif name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            seen.request_id = value
        elif name == b"transfer-encoding":
            chunked = True
    if chunked:
        seen.length = None
    return seen


async def whole_body(receive: Receive, most: int) -> bytes | None:
    """The body; None when it is too large."""
    message = await receive()
    body: bytes = message.get("body", b"")
    if not message.get("more_body"):
        return body if len(body) <= most else None
    parts, size = [body], len(body)
    while message.get("more_body") and size <= most:
        message = await receive()
        parts.append(message.get("body", b""))
        size += len(parts[-1])
    return b"".join(parts) if size <= most else None


def answer_headers(path: str, request_id: bytes | None, media: bytes, length: int) -> Headers:
    """The headers of an answer that the framework does not make."""
    return [(b"content-type", media), (b"content-length", b"%d" % length), *added_headers(path, request_id)]


def added_headers(path: str, request_id: bytes | None) -> Headers:
    """What every answer carries."""
    safe = _SAFE_HEADERS[:-2] if path.startswith(_FILES) else _SAFE_HEADERS
    return [(b"x-request-id", request_id or b""), *safe]


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
            raise HTTPException(413, _too_large(most))
        return message

    return counted


async def _refuse(send: Send, scope: Scope, request_id: bytes | None, status: int, detail: str, more: Headers) -> None:
    if status == 204:  # a browser's question before a request from another origin
        body, headers = b"", added_headers(scope["path"], request_id)
    else:
        body = problem(status, detail, request_id=scope["state"]["request_id"])
        headers = answer_headers(scope["path"], request_id, MEDIA_TYPE.encode(), len(body))
    headers = [*headers, *more]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
