"""A load generator of its own process: keep-alive connections over raw sockets, closed loop or at a constant rate.

At a constant rate a request's time counts from when it was due, so that a stall of the server is seen by every request
that it delayed and not by one.
"""

from __future__ import annotations

import argparse
import json
import selectors
import socket
import sys
import time
from collections import deque


class Connection:
    """One connection with at most one request on its way."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = b""
        self.since = 0.0

    def send(self, request: bytes, since: float) -> None:
        self.since = since
        self.socket.sendall(request)

    def finished(self) -> int:
        """The status when the answer is whole, else 0."""
        part = self.socket.recv(1 << 16)
        if not part:
            raise ConnectionError(f"the server closed the connection after {self._received[:200]!r}")
        data = self._received + part
        end = data.find(b"\r\n\r\n")
        if end < 0:
            self._received = data
            return 0
        head = data[:end].lower()
        length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
        if len(data) < end + 4 + length:
            self._received = data
            return 0
        self._received = data[end + 4 + length :]
        return int(head[9:12])


def request_bytes(path: str, body: bytes, key: str) -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nauthorization: Bearer {key}\r\n"
    )
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


def run(port: int, requests: list[bytes], connections: int, seconds: float, rate: float | None) -> dict[str, object]:
    """Times in microseconds, sorted, and what went wrong."""
    pool = [Connection(port) for _ in range(connections)]
    selector = selectors.DefaultSelector()
    for connection in pool:
        selector.register(connection.socket, selectors.EVENT_READ, connection)
    idle = deque(pool)  # in turn: a server closes a connection that is left alone for some seconds
    times: list[float] = []
    bad = sent = 0
    started = time.perf_counter()
    end = started + seconds
    while True:
        now = time.perf_counter()
        while idle and now < end:
            due = started + sent / rate if rate else now
            if due > now:
                break
            idle.popleft().send(requests[sent % len(requests)], due)
            sent += 1
        if now >= end and len(idle) == connections:
            break
        wait = 0.5 if not rate else max(0.0, min(0.5, started + sent / rate - now)) if idle else 0.5
        for key, _ in selector.select(wait if now < end else 5.0):
            status = key.data.finished()
            if status:
                times.append((time.perf_counter() - key.data.since) * 1e6)
                bad += status != 200
                idle.append(key.data)
    elapsed = time.perf_counter() - started
    times.sort()
    at = {f"p{q}": round(times[min(len(times) - 1, int(len(times) * q / 100))], 1) for q in (50, 90, 99, 99.9)}
    return {
        "requests": len(times),
        "bad": bad,
        "per_s": round(len(times) / elapsed, 1),
        "max": round(times[-1], 1),
        **at,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("--connections", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--key", default="")
    parser.add_argument("--path", default="/v1/recommend")
    given = parser.parse_args()
    bodies = json.load(sys.stdin)
    requests = [request_bytes(given.path, json.dumps(body).encode(), given.key) for body in bodies]
    print(json.dumps(run(given.port, requests, given.connections, given.seconds, given.rate)))


if __name__ == "__main__":
    main()
