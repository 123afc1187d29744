"""How uvicorn serves the application: what the command line passes on, patience with an end, and an end without loss.

uvicorn itself waits for ever for a request that comes in byte by byte (slow loris); here a request has to be complete
within ten seconds of its first byte, or of the connection's opening. And it closes an idle connection in the moment it
is told to stop, also when the client has just sent its next request; here that one is still answered. Its parser keeps a
head of any size, so that one connection without a key could take all memory; here a head has an end. And it waits for ever
for a client that takes nothing of its answer; here such a connection is given up.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import resource
import secrets
import signal
import socket
import sys
import termios
import time
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from types import FrameType
from typing import Any, NoReturn

import httptools
import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.supervisors.multiprocess import Multiprocess, Process

from serving.doors import answer_headers
from serving.problems import MEDIA_TYPE, problem

log = logging.getLogger("nba.serving")
PATIENCE_S = 10.0
DRAIN_S = 20
# How long an idle connection stays open for a request that is already on its way to a service that stops.
FAREWELL_S = 0.5
# How long an answer is still given to a client that has closed its side; one that has gone altogether is the same to see.
LINGER_S = 2.0
# How long an answer waits for a client that takes nothing of it at all.
STALLED_S = 60.0
# A start costs seconds of a processor, which those that serve would miss.
START_AGAIN_S = 10.0
MOST_HEAD_BYTES = 64 << 10
MOST_WAITING = 100
_MOST_FILES = 1 << 16
_NOT_HTTP = 400, "this is no HTTP/1.1 request that can be read: mend the client that sent it"
_TOO_LONG = (
    431,
    f"the head of this request is larger than {MOST_HEAD_BYTES:,} bytes: send a shorter address and fewer headers",
)
_TOO_MANY = 400, f"more than {MOST_WAITING} requests wait on this connection: wait for their answers first"


class ImpatientProtocol(HttpToolsProtocol):
    """HTTP/1.1 that closes a connection whose request does not come to an end, and answers what has come when it stops."""

    patience_s = PATIENCE_S
    stalled_s = STALLED_S
    _stalled: asyncio.TimerHandle | None = None
    _limit: asyncio.TimerHandle | None = None
    _leaving = False
    _said_all = False
    _foreign = False
    _offered: bytes | None = None
    _refused = _NOT_HTTP
    _since_body = 0  # bytes since the last one of a body or message: heads, trailers, what stands between chunks

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start waiting for the first request."""
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing to wait for any more."""
        self._stop_waiting()
        self._stop_watching()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """What came; a request that offers another protocol (h2c, as Java's client does) is read as the one that it is.

        The parser takes its body for that protocol already, and it would be lost.
        """
        self._unset_keepalive_if_required()
        if self._foreign:
            return
        self._since_body += len(data)
        try:
            while data:
                data = self._fed(data)
        except httptools.HttpParserError:
            self.logger.warning("Invalid HTTP request received.")
            self.send_400_response("")
        else:
            if self._since_body > MOST_HEAD_BYTES:
                self._refused = _TOO_LONG
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

    def on_body(self, body: bytes) -> None:
        """A part of a body; how large it may be is for doors.py to say."""
        self._since_body = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """A request is wholly there."""
        self._since_body = 0
        if self._offered is None:
            self._stop_waiting()
            super().on_message_complete()

    def on_headers_complete(self) -> None:
        """A request is known; while the service stops it is the last one of its connection."""
        if self._since_body > MOST_HEAD_BYTES and self._head_bytes() > MOST_HEAD_BYTES:
            self._refuse(_TOO_LONG)
        if len(self.pipeline) >= MOST_WAITING:
            self._refuse(_TOO_MANY)
        self._since_body = 0
        if self.parser.should_upgrade() and any(name == b"upgrade" for name, _ in self.headers):
            self._offered = self._without_offer()
            return
        super().on_headers_complete()
        self.headers = []  # the request has its own: what comes after the body was held against nothing and is no header
        if self._leaving:
            self.cycle.keep_alive = False

    def _refuse(self, why: tuple[int, str]) -> NoReturn:
        """From within the parser, which stops and says that it did."""
        self._refused = why
        raise ValueError(why[1])

    def _head_bytes(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

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
        """What cannot be read is refused as everything else is: a problem document with a request id, after what came before."""
        self._foreign = True
        if self._busy() and not self.cycle.more_body:
            self.flow.pause_reading()
            return
        request_id = secrets.token_hex(8)
        status, detail = self._refused
        body = problem(status, detail, request_id=request_id)
        headers = [*answer_headers("", request_id.encode(), MEDIA_TYPE.encode(), len(body)), (b"connection", b"close")]
        lines = b"".join(b"%b: %b\r\n" % header for header in headers)
        line = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n".encode()
        self.transport.write(line + lines + b"\r\n" + body)
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

    def pause_writing(self) -> None:
        """The client is behind: it may be slow, but it has to take something."""
        super().pause_writing()
        self._watch()

    def resume_writing(self) -> None:
        """It has caught up."""
        super().resume_writing()
        self._stop_watching()

    def _watch(self) -> None:
        self._stalled = self.loop.call_later(self.stalled_s, self._look, self._owed())

    def _owed(self) -> int:
        """Bytes that the client has not taken, here and in the kernel: that takes more of ours only when megabytes have left."""
        owed = self.transport.get_write_buffer_size()
        with suppress(OSError):
            handle = self.transport.get_extra_info("socket").fileno()
            owed += int.from_bytes(fcntl.ioctl(handle, termios.TIOCOUTQ, bytes(4)), sys.byteorder)
        return owed

    def _look(self, before: int) -> None:
        if self._owed() >= before:
            self.transport.abort()  # to close it would wait for the client as well
        else:
            self._watch()

    def _stop_watching(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

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


class Port(socket.socket):
    """A port that several workers share. A worker that is handed it opens a listener of its own there, and the kernel spreads
    the connections over all listeners (SO_REUSEPORT).

    Of one listener for all, a worker that is awake takes what comes at once: all 16 connections of a client could go to
    one of two workers, and stayed there for as long as they were kept alive, at half the throughput. The price: what waits to
    be accepted by a worker that is killed ends with it, and while none lives a connection is refused where it had waited.
    """

    def __reduce__(self) -> tuple[Callable[..., socket.socket], tuple[Any, ...]]:
        """How it is handed over."""
        return _listener_at, (self.family, self.getsockname())


def _listener_at(family: socket.AddressFamily, address: tuple[Any, ...]) -> socket.socket:
    listener = socket.socket(family)
    for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
        listener.setsockopt(socket.SOL_SOCKET, option, 1)
    listener.bind(address)
    return listener


def _shared(bound: socket.socket) -> socket.socket:
    """The port for several workers. It was bound without sharing, so that one that is taken is known to be."""
    if sys.platform != "linux":
        return bound  # elsewhere the kernel does not spread
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    return Port(fileno=bound.detach())


class DrainingWorkers(Multiprocess):
    """Several workers on one port. It is let go of before they drain, or new connections would wait in it for nobody.

    A worker that cannot start again (its config has been broken, its disk fails) ends no other: it is tried again now and
    then. Where nobody else serves the service ends, as uvicorn has it.
    """

    _again_s = 0.0

    def keep_subprocess_alive(self) -> None:
        """Start again who has died."""
        if self.should_exit.is_set():
            return
        if len(self.processes) < self.processes_num and time.monotonic() >= self._again_s:
            self._start_one()
        super().keep_subprocess_alive()
        failed = [process for process in self.processes if process.exitcode == STARTUP_FAILURE]
        others = [process for process in self.processes if process not in failed]
        if failed and any(process.is_ready(self.config.timeout_worker_healthcheck) for process in others):
            self.should_exit.clear()  # set for a failed start, and for nothing else in here
            self.processes[:] = others
            self._again_s = time.monotonic() + START_AGAIN_S
            log.error("a worker did not start: the others serve on, and it is tried again in %g s", START_AGAIN_S)

    def _start_one(self) -> None:
        process = Process(self.config, self.sockets)
        process.start()
        self.processes.append(process)

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
    listener = _shared(config.bind_socket())
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
