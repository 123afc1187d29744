"""The workers of one state folder know of each other: a file each, locked while its worker lives, and a loopback port.

Two things pass between them: that a reload is due (a file that all look at), and that customers have new activity (a
datagram, so that streams of other workers wake up). Both are hints of what is on the disk or in Redis: one that gets
lost delays something and corrupts nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import socket
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson

from serving.segment import Segment, abandoned, segments

_DIGEST_BYTES = 16
_TOKEN_BYTES = 16
_MOST_A_DATAGRAM = 2_000
Heard = Callable[[bytes], None]


def digest_of(kind: str, name: str) -> bytes:
    """What stands for a customer or an interaction in a datagram."""
    return hashlib.blake2b(f"{kind}:{name}".encode(), digest_size=_DIGEST_BYTES).digest()


class Workers(asyncio.DatagramProtocol):
    """This worker among the others. Made by `open`; `heard` is called with each digest that another worker sends."""

    def __init__(self, folder: Path, heard: Heard, now_ms: int) -> None:
        self._folder, self._heard = folder, heard
        self._own = Segment(folder, "w", now_ms)
        self.done = ""
        self._token = secrets.token_bytes(_TOKEN_BYTES)
        self._others: list[tuple[int, bytes]] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind(("127.0.0.1", 0))
        self._transport: asyncio.DatagramTransport | None = None

    @classmethod
    async def open(cls, folder: Path, heard: Heard, now_ms: int) -> Workers:
        """Join the others. Raises JournalError."""
        workers = cls(folder, heard, now_ms)
        loop = asyncio.get_running_loop()
        workers._transport, _ = await loop.create_datagram_endpoint(lambda: workers, sock=workers._socket)
        workers.say(workers.generation())
        workers.refresh()
        return workers

    def say(self, generation: str) -> None:
        """Tell the others which reload this worker has done; what was said last counts."""
        self.done = generation
        port = self._socket.getsockname()[1]
        status = {"pid": os.getpid(), "port": port, "token": self._token.hex(), "generation": generation}
        self._own.append(orjson.dumps(status))

    def living(self) -> list[dict[str, Any]]:
        """What every living worker said last, this one included; files of dead ones are removed."""
        found = []
        for path in segments(self._folder, "w"):
            with abandoned(path) as handle:
                if handle is not None:
                    path.unlink()
                    continue
            with suppress(OSError, IndexError, orjson.JSONDecodeError):
                found.append(orjson.loads(path.read_bytes().splitlines()[-1]))
        return found

    def refresh(self) -> None:
        """Look who lives now."""
        own = self._token.hex()
        self._others = [(w["port"], bytes.fromhex(w["token"])) for w in self.living() if w["token"] != own]

    def ring(self, digests: Iterable[bytes]) -> None:
        """Tell everybody, this worker too, that something is new of these."""
        wanted = list(digests)
        for digest in wanted:
            self._heard(digest)
        if self._transport is None:
            return
        for port, token in self._others:
            for start in range(0, len(wanted), _MOST_A_DATAGRAM):
                self._transport.sendto(token + b"".join(wanted[start : start + _MOST_A_DATAGRAM]), ("127.0.0.1", port))

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """A ring from another worker; anybody on this machine can send one, so it has to carry our token."""
        if not secrets.compare_digest(data[:_TOKEN_BYTES], self._token):
            return
        for start in range(_TOKEN_BYTES, len(data), _DIGEST_BYTES):
            self._heard(data[start : start + _DIGEST_BYTES])

    def error_received(self, exc: Exception) -> None:
        """A worker that has just gone: the next `refresh` leaves it out."""

    def generation(self) -> str:
        """The reload that everybody should have done; empty before the first."""
        try:
            return (self._folder / "generation").read_text(encoding="ascii")
        except FileNotFoundError:
            return ""

    def order_reload(self) -> str:
        """Tell all workers to reload; gives the name of this reload."""
        name = secrets.token_hex(8)
        hidden = self._folder / f".generation-{name}"
        hidden.write_text(name, encoding="ascii")
        hidden.replace(self._folder / "generation")
        return name

    def close(self) -> None:
        """Leave."""
        if self._transport is not None:
            self._transport.close()
        self._own.close(remove=True)
