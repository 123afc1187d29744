"""Clients that mean no good, or are only slow: refused, the others unharmed."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

from hypothesis import given
from hypothesis import strategies as st

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
