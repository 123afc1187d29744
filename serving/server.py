"""How uvicorn serves the application: what the command line passes on, and patience with an end.

uvicorn itself waits for ever for a request that comes in byte by byte (slow loris); here a request has to be complete
within ten seconds of its first byte, or of the connection's opening.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

PATIENCE_S = 10.0
DRAIN_S = 20


class ImpatientProtocol(HttpToolsProtocol):
    """HTTP/1.1 that closes a connection whose request does not come to an end."""

    patience_s = PATIENCE_S
    _limit: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start waiting for the first request."""
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing to wait for any more."""
        self._stop_waiting()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        if self._limit is None:
            self._wait()

    def on_message_complete(self) -> None:
        """A request is wholly there."""
        self._stop_waiting()
        super().on_message_complete()

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
        "timeout_keep_alive": 75,
        "timeout_graceful_shutdown": DRAIN_S,
    }
