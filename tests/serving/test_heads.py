"""Heads of requests: how large they may be, and what does not belong to them."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from contextlib import suppress
from itertools import repeat
from urllib.parse import urlsplit

import pytest

MOST_HEAD_BYTES = 65_536

LINE = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n"
BODY = b'{"customer_id":"c-1"}'
CHUNKED = (
    b"POST /v1/recommend HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    b"transfer-encoding: chunked\r\n\r\n15\r\n" + BODY + b"\r\n"
)
FLOOD = 4 << 20


def said_to(service, *parts: bytes) -> bytes:
    """What the server says until it closes the connection, or until all parts are sent and answered."""
    address = urlsplit(service.url)
    said = b""
    with socket.create_connection((address.hostname, address.port), timeout=20) as client, suppress(ConnectionError):
        for part in parts:
            client.sendall(part)
        while b"\r\n\r\n" not in said and (more := client.recv(65536)):
            said += more
    return said


def flood(start: bytes, again: bytes) -> Iterator[bytes]:
    yield start
    yield from repeat(again * (65536 // len(again)), FLOOD // 65536)
    yield b"\r\n\r\n"


@pytest.mark.parametrize(
    "sent",
    [(LINE, b"a: b\r\n"), (LINE, b"a: " + b"b" * 30000 + b"\r\n"), (LINE + b"a: ", b"b"), (b"GET /healthz?", b"a"),
     (CHUNKED + b"0\r\n", b"a: b\r\n"), (CHUNKED + b"0\r\na: ", b"b"), (CHUNKED + b"5;", b"b")],
    ids=["many headers", "long headers", "one header", "address", "trailers", "one trailer", "chunk extension"],
)  # fmt: skip
def test_a_head_without_end_is_not_kept(keyed, sent):
    """Nobody needs a key to send a head, so it may take no memory: the connection ends long before four megabytes."""
    said = said_to(keyed, *flood(*sent))
    assert b" 200 " not in said[:20]
    assert not said or re.match(rb"HTTP/1.1 (431|401) ", said)
    assert keyed.http.get("/healthz").status_code == 200


def test_a_head_that_is_too_long_is_told(nba):
    """A problem document says how long it may be; the same limit holds whether it comes in one piece or in many."""
    head = LINE + b"a: " + b"b" * MOST_HEAD_BYTES + b"\r\n\r\n"
    for parts in ([head], [head[:50], head[50:40_000], head[40_000:]]):
        start, _, body = said_to(nba, *parts).partition(b"\r\n\r\n")
        assert start.startswith(
            b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: application/problem+json"
        )
        assert "65,536 bytes" in (json.loads(body)["detail"] if body else "65,536 bytes")


def test_a_long_head_and_a_large_body_are_still_answered(nba):
    """Sixty kilobytes of headers, and a megabyte of body behind them or in thousands of chunks, are nothing special."""
    assert said_to(nba, LINE + b"a: " + b"b" * 60_000 + b"\r\n\r\n").startswith(b"HTTP/1.1 200")
    padded = BODY[:-1] + b" " * 900_000 + b"}"
    head = b"POST /v1/recommend HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\na: " + b"b" * 50_000
    assert said_to(nba, head + b"\r\ncontent-length: %d\r\n\r\n" % len(padded), padded).startswith(b"HTTP/1.1 200")
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in BODY[:-1] + b" " * 50_000 + b"}")
    assert said_to(nba, head + b"\r\ntransfer-encoding: chunked\r\n\r\n", chunks, b"0\r\n\r\n").startswith(
        b"HTTP/1.1 200"
    )


def test_what_comes_after_a_body_is_no_header(keyed):
    """A proxy looks at heads: a key in the trailers of a body, which it never saw, opens nothing."""
    assert said_to(keyed, CHUNKED + b"0\r\nauthorization: Bearer boss\r\n\r\n").startswith(b"HTTP/1.1 401")


@pytest.mark.parametrize(
    "path", ["/v1/recommend/", "/v1/recommend%2F", "/v1/outcomes/", "/metrics/", "/desktop/", "/docs/"]
)
def test_nobody_is_sent_to_the_host_that_they_named(keyed, path):
    """A redirect would be made of the Host header, without TLS, and a client that follows it takes its key along."""
    headers = {"Host": "other.example", "Authorization": "Bearer boss"}
    for method in ("GET", "POST"):
        answer = keyed.http.request(method, path, headers=headers)
        assert answer.status_code in (200, 404, 405)
        assert "location" not in answer.headers
    assert (keyed.http.get(path).status_code == 200) == (path in ("/desktop/", "/docs/"))


def test_only_so_many_requests_wait_on_a_connection(nba):
    """A request of twenty bytes takes kilobytes while it waits: a hundred are answered, and then the sender is told."""
    address = urlsplit(nba.url)
    for sent, last in ((100, b""), (10_000, b"wait for their answers first")):
        with socket.create_connection((address.hostname, address.port), timeout=20) as client:
            client.sendall(b"GET /healthz HTTP/1.1\r\n\r\n" * sent)
            said = b""
            while (said.count(b"HTTP/1.1 200") < sent or last not in said) and (more := client.recv(65536)):
                said += more
        assert (said.count(b"HTTP/1.1 200") in range(100, 5_000), last in said) == (True, True)
