"""Ports that nobody listens on, and whether there are any on IPv6."""

from __future__ import annotations

import os
import random
import socket
from contextlib import suppress


def free_port() -> int:
    """One port of this machine."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on; a node of a cluster also takes the port 10,000 above, so they stay below 50,000."""
    found: list[int] = []
    candidates = iter(random.Random(os.getpid()).sample(range(20_000, 50_000), 200))
    while len(found) < count:
        port = next(candidates)
        with socket.socket() as one, socket.socket() as bus:
            try:
                one.bind(("127.0.0.1", port))
                bus.bind(("127.0.0.1", port + 10_000))
            except OSError:
                continue
            found.append(port)
    return found


def has_ipv6() -> bool:
    """Whether this machine can listen on IPv6."""
    with suppress(OSError), socket.create_server(("::1", 0), family=socket.AF_INET6):
        return True
    return False
