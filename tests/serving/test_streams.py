"""How many streams there may be about one customer."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from urllib.parse import urlsplit

from kits.waiting import wait_until


def opened(service, customer: str) -> tuple[socket.socket, int]:
    """A stream, and the status it was answered with."""
    address = urlsplit(service.url)
    client = socket.create_connection((address.hostname, address.port), timeout=20)
    path = f"/v1/interactions/call-{customer}/stream?customer_id={customer}"
    client.sendall(f"GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
    said = b""
    while b": listening" not in said and b"too many" not in said:
        said += client.recv(65536)
    return client, int(said.split()[1])


def test_one_customer_is_not_listened_to_without_end(nba):
    """Each stream is an answer for whatever the customer does, before anybody else's: a hundred, until one of them closes."""
    with ExitStack() as stack:

        def status(customer: str) -> int:
            client, answered = opened(nba, customer)
            streams.append(stack.enter_context(client))
            return answered

        streams: list[socket.socket] = []
        assert {status("c-crowd") for _ in range(100)} == {200}
        assert (status("c-crowd"), status("c-other")) == (429, 200)
        streams[0].close()
        wait_until(lambda: status("c-crowd") == 200)
