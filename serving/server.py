"""How uvicorn serves the application: what the command line passes on, patience with an end, and an end without loss.

uvicorn itself waits for ever for a request that comes in byte by byte (slow loris); here a request has to be complete
within ten seconds of its first byte, or of the connection's opening. And it closes an idle connection in the moment it
is told to stop, also when the client has just sent its next request; here that one is still answered.
"""

from __future__ import annotations

import asyncio
import resource
import secrets
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any, NoReturn

import httptools
import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.supervisors import Multiprocess

from serving.doors import answer_headers
from serving.problems import MEDIA_TYPE, problem

PATIENCE_S = 10.0
DRAIN_S = 20
# How long an idle connection stays open for a request that is already on its way to a service that stops.
FAREWELL_S = 0.5
# How long an answer is still given to a client that has closed its side; one that has gone altogether is the same to see.
LINGER_S = 2.0
_MOST_FILES = 1 << 16
_NOT_HTTP = "this is no HTTP/1.1 request that can be read: mend the client that sent it"


class ImpatientProtocol(HttpToolsProtocol):
    """HTTP/1.1 that closes a connection whose request does not come to an end, and answers what has come when it stops."""

    patience_s = PATIENCE_S
    _limit: asyncio.TimerHandle | None = None
    _leaving = False
    _said_all = False
    _foreign = False
    _offered: bytes | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start waiting for the first request."""
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing to wait for any more."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """What came; a request that offers another protocol (h2c, as Java's client does) is read as the one that it is.

        The parser takes its body for that protocol already, and it would be lost.
        """
        self._unset_keepalive_if_required()
        try:
            while data:
                data = self._fed(data)
        except httptools.HttpParserError:
            self.logger.warning("Invalid HTTP request received.")
            self.send_400_response("")

    def _fed(self, data: bytes) -> bytes:
        """Let the parser have it; what is still to be read."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            if self._offered is not None:
                head, self._offered = self._offered, None
                self.parser = httptools.HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
                return head + data[offer.args[0] :]
        return b""

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        if self._limit is None:
            self._wait()

    def on_message_complete(self) -> None:
        """A request is wholly there."""
        if self._offered is None:
            self._stop_waiting()
            super().on_message_complete()

    def on_headers_complete(self) -> None:
        """A request is known; while the service stops it is the last one of its connection."""
        if self.parser.should_upgrade() and any(name == b"upgrade" for name, _ in self.headers):
            self._offered = self._without_offer()
            return
        super().on_headers_complete()
        if self._leaving:
            self.cycle.keep_alive = False

    def _without_offer(self) -> bytes:
        """The head of the request as it would be without the offer."""
        method, version = self.parser.get_method(), self.parser.get_http_version().encode()
        lines = b"".join(b"%b: %b\r\n" % header for header in self.headers if header[0] != b"upgrade")
        return b"%b %b HTTP/%b\r\n%b\r\n" % (method, self.url, version, lines)

    def eof_received(self) -> bool:  # type: ignore[override]
        """The client sends no more, and may still listen: what has come whole is answered before the connection closes."""
        if self.scheme == "https" or self._limit is not None or not self._busy():
            return False
        self._said_all = True
        self.loop.call_later(LINGER_S, self.transport.close)
        return True

    def on_response_complete(self) -> None:
        """An answer has left; after the last one nothing more comes from a client that has said all."""
        super().on_response_complete()
        if self._foreign and not self._busy():
            self.send_400_response("")
        elif self._said_all and not self._busy():
            self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP is refused as everything else is: a problem document with a request id, and after what came before."""
        self._foreign = True
        if self._busy() and not self.cycle.more_body:
            self.flow.pause_reading()
            return
        request_id = secrets.token_hex(8)
        body = problem(400, _NOT_HTTP, request_id=request_id)
        headers = [*answer_headers("", request_id.encode(), MEDIA_TYPE.encode(), len(body)), (b"connection", b"close")]
        lines = b"".join(b"%b: %b\r\n" % header for header in headers)
        self.transport.write(b"HTTP/1.1 400 Bad Request\r\n" + lines + b"\r\n" + body)
        self.transport.close()

    def shutdown(self) -> None:
        """The service stops: close once everything that has come is answered."""
        if self._busy():
            self.cycle.keep_alive = False
        elif not self._leaving:
            self._leaving = True
            self.loop.call_later(FAREWELL_S, self._farewell)

    def _farewell(self) -> None:
        if not self._busy():
            self.transport.close()

    def _busy(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _wait(self) -> None:
        self._limit = self.loop.call_later(self.patience_s, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None


def options() -> dict[str, Any]:
    """Keyword arguments for uvicorn.run: TLS, host, port and workers are the caller's."""
    return {
        "http": ImpatientProtocol,
        "loop": "auto",
        "log_level": "warning",
        "access_log": False,
        "server_header": False,
        "date_header": False,
        "log_config": None,  # its lines go where ours go: logs.py
        "timeout_keep_alive": 75,
        "timeout_graceful_shutdown": DRAIN_S,
    }


class DrainingWorkers(Multiprocess):
    """Several workers on one socket. It is closed before they drain, or new connections would wait in it for nobody."""

    def terminate_all(self) -> None:
        """Stop every worker."""
        for listener in self.sockets:
            listener.close()
        super().terminate_all()


class TellingServer(uvicorn.Server):
    """One process, which says its port once it listens: with port 0 nobody could know it, and before that nobody can ask."""

    def __init__(self, config: uvicorn.Config, listening: Callable[[int], None]) -> None:
        """`listening` is called once, with the port."""
        super().__init__(config)
        self._listening = listening

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open what the application needs, then the port."""
        await super().startup(sockets)
        if self.started:
            self._listening(self.servers[0].sockets[0].getsockname()[1])


def serve(app: Any, listening: Callable[[int], None], workers: int = 1, **given: Any) -> None:
    """Serve until SIGINT or SIGTERM, drain, and come back: status 0, where uvicorn alone would end by the signal.

    `app`: the application, or for several workers the import path of what makes one.
    """
    _allow_many_connections()
    signal.signal(signal.SIGTERM, _leave)
    config = uvicorn.Config(app, factory=workers > 1, workers=workers, **options() | given)
    if workers == 1:
        _run(TellingServer(config, listening))
        return
    listener = config.bind_socket()
    listening(listener.getsockname()[1])
    supervisor = DrainingWorkers(config, sockets=[listener])
    supervisor.run()
    if any(process.exitcode == STARTUP_FAILURE for process in supervisor.processes):
        sys.exit(1)


def _run(server: uvicorn.Server) -> None:
    with suppress(KeyboardInterrupt):
        server.run()
    if not server.started:
        sys.exit(1)


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    sys.exit(0)


def _allow_many_connections() -> None:
    """A stream is an open file, and the usual soft limit of 1,024 is meant for programs that use select()."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
