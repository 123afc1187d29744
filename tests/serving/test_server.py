"""Clients that mean no good, or are only slow: refused, the others unharmed."""

from __future__ import annotations

import json
import re
import socket
from contextlib import ExitStack, suppress
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kits.waiting import wait_until
from serving.doors import MAX_BODY_BYTES
from serving.rates import Rates
from serving.server import ImpatientProtocol


class Hasty(ImpatientProtocol):
    """Ten seconds are long for a test."""

    patience_s = 0.3


def closed_after(service, sent: bytes) -> bytes:
    """What the server says to a client that sends this and then nothing, until it closes the connection."""
    address = urlsplit(service.url)
    with socket.create_connection((address.hostname, address.port), timeout=20) as client:
        client.sendall(sent)
        said = b""
        while part := client.recv(65536):
            said += part
        return said


def test_a_request_that_does_not_come_to_an_end_is_closed(start):
    """Nothing at all, half a head, half a body: closed; a whole request beside it is answered."""
    service = start(protocol=Hasty)
    head = b"POST /v1/recommend HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 50\r\n"
    for sent in (b"", b"POST /v1/rec", head, head + b'\r\n{"customer_id":'):
        assert b"200" not in closed_after(service, sent)
        assert service.recommend("c-1")["customer_id"] == "c-1"


class Watched(ImpatientProtocol):
    """A minute is long for a test."""

    stalled_s = 0.3
    lost = 0

    def connection_lost(self, exc):
        Watched.lost += 1
        super().connection_lost(exc)


def test_a_client_that_takes_nothing_of_its_answers_is_given_up(start):
    """It asks for more than any buffer holds and reads none of it: let go of, and others are answered meanwhile."""
    service = start(protocol=Watched)
    asked = b"GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nhost: localhost\r\n\r\n"
    with connected(service) as client:
        client.sendall(asked * 20)
        wait_until(lambda: Watched.lost, seconds=20)
        assert service.recommend("c-1")["customer_id"] == "c-1"


def connected(service) -> socket.socket:
    address = urlsplit(service.url)
    return socket.create_connection((address.hostname, address.port), timeout=20)


def test_many_slow_clients_at_once_are_all_closed_and_harm_nobody(start):
    """Two hundred that dribble a byte whenever they may: each is closed in its time, and every call beside them is answered."""
    service = start(protocol=Hasty)
    state = service.app.state.service
    with ExitStack() as stack:
        slow = [stack.enter_context(connected(service)) for _ in range(200)]
        for number, client in enumerate(slow):
            client.sendall(b"POST /v1/recommend HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n"[: 10 + number % 50])
        answered = [service.recommend("c-1")["customer_id"] for _ in range(50)]
        for client in slow:
            with suppress(ConnectionError):  # it may be closed already
                client.sendall(b"x")
        closed = [ended(client) for client in slow]
    assert (answered, closed) == (["c-1"] * 50, [True] * 200)
    assert "nba_streams 0.0" in state.metrics.exposition().decode()


def ended(client: socket.socket) -> bool:
    """Whether the server has closed this connection, or does within the patience of the socket."""
    with suppress(ConnectionError):
        while client.recv(65536):
            pass
    return True


LARGE = MAX_BODY_BYTES + 1
CHUNK = b"%x\r\n%b\r\n"


@pytest.mark.parametrize("path", ["/v1/recommend", "/v1/activity", "/v1/outcomes", "/v1/customers/c-1"])
@pytest.mark.parametrize("chunked", [False, True], ids=["declared", "chunked"])
def test_a_body_that_is_too_large_is_refused_and_not_kept(start, path, chunked):
    """Declared: before a byte of it is read. In chunks: as soon as it is too much, though its end never comes."""
    service = start()
    method = "PUT" if "customers" in path else "POST"
    head = f"{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n".encode()
    rest = b"transfer-encoding: chunked\r\n\r\n" if chunked else b"content-length: %d\r\n\r\n" % LARGE
    with connected(service) as client:
        client.sendall(head + rest)
        if chunked:
            for _ in range(LARGE // 65536 + 1):
                client.sendall(CHUNK % (65536, b" " * 65536))
        assert client.recv(65536).startswith(b"HTTP/1.1 413")
    assert service.recommend("c-1")["customer_id"] == "c-1"


@pytest.mark.parametrize(
    "sent",
    [b"\x00" * 100, b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"POST /v1/recommend HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
     b"POST /v1/recommend HTTP/1.1\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n{}",
     b"POST /v1/recommend HTTP/1.1\r\ntransfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n{}",
     b"POST /v1/recommend HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", b"GET / HTTP/1.1\r\n no: name\r\n\r\n",
     b"GET / HTTP/1.1\r\na\x00b: c\r\n\r\n"],
)  # fmt: skip
def test_malformed_requests_are_refused(nba, sent):
    """Two lengths, a length and chunks, foreign versions, broken heads: a 400 and an end, never a guess."""
    with connected(nba) as client:
        client.sendall(sent)
        assert client.recv(65536).startswith(b"HTTP/1.1 400")
    assert nba.recommend("c-1")["customer_id"] == "c-1"


QUESTION = b'{"customer_id":"c-1"}'
HEAD = b"POST /v1/recommend HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 21\r\n"
OFFER = b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n"


@pytest.mark.parametrize("cut", [0, 60, len(HEAD + OFFER) + 2, len(HEAD + OFFER) + 9])
def test_a_request_that_offers_another_protocol_is_answered_in_its_own(nba, cut):
    """Java's client offers HTTP/2 with every request: the body is read, in however many pieces, and the connection stays."""
    sent = HEAD + OFFER + b"\r\n" + QUESTION
    with connected(nba) as client:
        for _ in range(2):
            client.sendall(sent[:cut])
            nba.recommend("c-2")  # so that the pieces come apart
            client.sendall(sent[cut:])
            head, _, body = client.recv(65536).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200")
            assert json.loads(body or client.recv(65536))["customer_id"] == "c-1"


def test_a_tunnel_is_refused(nba):
    """CONNECT is another way to leave HTTP, and there is no way back from it."""
    assert b"200" not in closed_after(nba, b"CONNECT localhost:1 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")[:15]


def test_what_came_whole_is_answered_before_what_is_no_http(nba):
    """Three questions and then rubbish in one breath: three answers, in their order, and then the refusal."""
    said = closed_after(nba, (HEAD + b"\r\n" + QUESTION) * 3 + b"rubbish\r\n\r\n")
    assert re.findall(rb"HTTP/1.1 (\d{3}) ", said) == [b"200"] * 3 + [b"400"]


def test_what_is_no_http_is_refused(start):
    """Foreign bytes get a 400 and no more attention."""
    service = start(protocol=Hasty)
    assert closed_after(service, b"\x16\x03\x01\x02\x00\x01\r\n\r\n").startswith(b"HTTP/1.1 400")


@given(st.integers(1, 50), st.lists(st.floats(0, 5), max_size=300))
def test_a_bucket_lets_no_more_through_than_it_may(per_s, waits):
    """Over any stretch: two seconds' worth at once and then `per_s` a second."""
    rates, now, passed = Rates(per_s), 0.0, 0
    for wait in waits:
        now += wait
        passed += rates.allows(b"k", now)
    assert passed <= 2 * per_s + now * per_s + 1e-6


def test_one_key_does_not_use_up_anothers_share():
    """Each has a bucket of its own, and no limit means none."""
    rates = Rates(1)
    assert [rates.allows(b"a", 0.0) for _ in range(3)] == [True, True, False]
    assert rates.allows(b"b", 0.0)
    assert all(Rates(None).allows(b"a", 0.0) for _ in range(1000))


ASKED = b'{"customer_id":"c-1"}'
WHOLE = (
    b"POST /v1/recommend HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 21\r\n\r\n" + ASKED
)


def answered_after_its_end(service, sent: bytes) -> bytes:
    """What a client gets that closes its side as soon as it has said all."""
    with connected(service) as client:
        client.sendall(sent)
        client.shutdown(socket.SHUT_WR)
        said = b""
        with suppress(ConnectionError):
            while part := client.recv(65536):
                said += part
        return said


def test_a_client_that_closes_its_side_still_gets_what_it_asked_for(nba):
    """One question or several at once; half a question gets nothing and is let go of."""
    for count in (1, 5):
        said = answered_after_its_end(nba, WHOLE * count)
        assert (said.count(b"HTTP/1.1 200 OK"), said.count(b'"decision_id"')) == (count, count)
    assert answered_after_its_end(nba, WHOLE[:-5]) == b""


def test_a_stream_whose_listener_has_gone_is_let_go_of(nba):
    """A page that is closed says no more than one that has closed its side: not for long."""
    state = nba.app.state.service
    with connected(nba) as client:
        client.sendall(b"GET /v1/interactions/gone/stream?customer_id=c-1 HTTP/1.1\r\nhost: x\r\n\r\n")
        assert b"200 OK" in client.recv(65536)
        wait_until(lambda: "nba_streams 1.0" in state.metrics.exposition().decode())
    wait_until(lambda: "nba_streams 0.0" in state.metrics.exposition().decode())


@pytest.mark.parametrize(
    "sent",
    [b"\x16\x03\x01\x02\x00\x01", b"GET /v1/customers/\xc3\xbc HTTP/1.1\r\nhost: x\r\n\r\n",
     b"POST /v1/recommend HTTP/1.1\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"],
    ids=["TLS", "raw bytes in the path", "two lengths"],
)  # fmt: skip
def test_what_is_no_http_is_refused_as_everything_else_is(nba, sent):
    """A problem document with a request id, and the headers that every answer has."""
    head, _, body = closed_after(nba, sent).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/problem+json\r\n")
    problem = json.loads(body)
    assert problem["status"] == 400
    assert f"x-request-id: {problem['request_id']}".encode() in head
    assert b"x-content-type-options: nosniff" in head
